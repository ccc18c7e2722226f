"""`python -m keras_detblocks` is the command `detblocks`."""

import sys

from .cli import main

sys.exit(main())
