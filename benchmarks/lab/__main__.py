"""``python -m dermedge.benchmarks.lab``: the command line of the experiments."""

import sys

from dermedge.benchmarks.lab.cli import main

if __name__ == "__main__":
    sys.exit(main())
