from .catalogue import STUDIES as STUDIES, find as find
