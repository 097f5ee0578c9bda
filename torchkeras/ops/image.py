"""``keras.ops.image``: functions of images, gathered from the files by subject.

As in Keras they are ``ops.image.<name>`` alone: there is no ``ops.resize``.
"""

from torchkeras.ops.image_colors import *  # noqa: F403
from torchkeras.ops.image_filters import *  # noqa: F403
from torchkeras.ops.image_patches import *  # noqa: F403
from torchkeras.ops.image_sizes import *  # noqa: F403
from torchkeras.ops.image_warps import *  # noqa: F403
