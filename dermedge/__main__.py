"""`python -m dermedge`: the command line."""

import sys

from dermedge.cli import main

sys.exit(main())
