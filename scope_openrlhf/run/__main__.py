"""`python -m scope_openrlhf.run` is the command scope-train."""

import sys

from scope_openrlhf.run.cli import main

if __name__ == "__main__":
    sys.exit(main())
