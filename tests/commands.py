"""Commands that several tests start as processes of their own."""

import sys

TINY_RUN = [sys.executable, "-m", "scope_openrlhf.run", "run", "--config", "examples/cpu_tiny.yaml"]
"""scope-train run on the embedded default; key=value overrides follow."""
