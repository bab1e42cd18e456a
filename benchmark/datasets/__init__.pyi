from .arrays import Arrays as Arrays
from .catalogue import (
    available as available,
    checksum as checksum,
    default_root as default_root,
    describe as describe,
    fetch as fetch,
    load as load,
    present as present,
    recipe as recipe,
    shape as shape,
    source as source,
)
from .decoding import Form as Form, decoded as decoded
from .digests import image_digests as image_digests
from .images import (
    Dataset as Dataset,
    Indices as Indices,
    LabelledImages as LabelledImages,
    Pixels as Pixels,
    Shape as Shape,
)
from .labels import first_difference as first_difference
from .placement import Images as Images, on_device as on_device
from .random_images import random_dataset as random_dataset
