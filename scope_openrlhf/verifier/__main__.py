"""Entry of `python -m scope_openrlhf.verifier`, the same command as scope-grade."""

import sys

from scope_openrlhf.verifier.cli import main

if __name__ == "__main__":
    sys.exit(main())
