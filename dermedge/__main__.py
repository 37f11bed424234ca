"""Runs the command line of dermedge for `python -m dermedge`."""

import sys

from dermedge.cli import main

sys.exit(main())
