"""`python -m scope_eval.study`: the command scope-eval study."""

import sys

from scope_eval.cli import main

if __name__ == "__main__":
    sys.exit(main(["study", *sys.argv[1:]]))
