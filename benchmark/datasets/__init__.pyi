from .arrays import Arrays as Arrays
from .catalogue import (
    available as available,
    checksum as checksum,
    default_root as default_root,
    describe as describe,
    load as load,
    present as present,
    recipe as recipe,
    shape as shape,
    source as source,
)
from .images import (
    Dataset as Dataset,
    Indices as Indices,
    LabelledImages as LabelledImages,
    Pixels as Pixels,
    Shape as Shape,
    image_digests as image_digests,
    random_dataset as random_dataset,
)
from .placement import Images as Images, on_device as on_device, uploaded as uploaded
from .provider import first_difference as first_difference
