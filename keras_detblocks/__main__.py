"""`python -m keras_detblocks` is the command `detblocks`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
