"""`python -m torchkeras script.py`: see :mod:`torchkeras.compat.launcher`."""

import sys

from torchkeras.compat.launcher import main

if __name__ == "__main__":
    main(sys.argv[1:])
