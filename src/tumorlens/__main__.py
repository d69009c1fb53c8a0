"""`python -m tumorlens` opens the app; with arguments it is `tumorlens`.

Tested in `tests/cli/scale/test_batch.py`.
"""

import sys

from tumorlens.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["serve"]))
