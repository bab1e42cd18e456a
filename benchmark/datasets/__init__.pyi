from .catalogue import (
    FOLDER as FOLDER,
    Spec as Spec,
    available as available,
    checksum as checksum,
    describe as describe,
    load as load,
    present as present,
    recipe as recipe,
    shape as shape,
)
from .decoding import Form as Form, decoded as decoded
from .images import (
    Dataset as Dataset,
    Indices as Indices,
    LabelledImages as LabelledImages,
    Pixels as Pixels,
    Shape as Shape,
)
from .placement import Images as Images, on_device as on_device
from .random_images import random_dataset as random_dataset
