from .catalogue import STUDIES as STUDIES, Study as Study, find as find
