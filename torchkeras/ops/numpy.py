"""``keras.ops.numpy``: numpy's functions, gathered from the files by subject."""

from torchkeras.ops.creation import *  # noqa: F403
from torchkeras.ops.elementwise import *  # noqa: F403
from torchkeras.ops.products import *  # noqa: F403
from torchkeras.ops.reductions import *  # noqa: F403
from torchkeras.ops.searching import *  # noqa: F403
from torchkeras.ops.shapes import *  # noqa: F403
from torchkeras.ops.vectorizing import *  # noqa: F403
