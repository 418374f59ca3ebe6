"""Grader of training and of evaluation: (gold, response) -> right | wrong | failed."""

from scope_openrlhf.verifier.compare import Rules
from scope_openrlhf.verifier.grader import Grader, Verdict, verify
from scope_openrlhf.verifier.pool import GraderError

__all__ = ["Grader", "GraderError", "Rules", "Verdict", "verify"]
