"""`python -m scope_eval`: the command scope-eval."""

import sys

from scope_eval.cli import main

if __name__ == "__main__":
    sys.exit(main())
