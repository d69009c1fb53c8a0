"""`python -m tumorlens` does what the command `tumorlens` does."""

import sys

from tumorlens.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
