"""`python -m editvec` is the command `editvec`."""

import sys

from editvec.cli import main

if __name__ == "__main__":
    sys.exit(main())
