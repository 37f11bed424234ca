"""``python -m dermedge.benchmarks.lab``: the front door of the laboratory."""

import sys

from dermedge.benchmarks.lab.cli import main

if __name__ == "__main__":
    sys.exit(main())
