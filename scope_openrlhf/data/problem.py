"""The noun of this room: one row of the data, checked."""

from dataclasses import dataclass

from scope_openrlhf.data.prompts import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem with what its verifier, its teacher and its algorithm need.

    Example: Problem(id="train-7", prompt="1+1?", answer="2")
    """

    id: str
    prompt: Prompt
    """Text or chat messages, with `data.system` and the algorithm's hint where they give one."""
    answer: str
    """Gold."""
    teacher: str | None = None
    """Name of its teacher, empty for the one of rows that name none. None: the run has one teacher or none."""
    trace: str | None = None
    """Worked solution, empty where the data have none. None: the algorithm shows none."""
    hinted: bool | None = None
    """Whether the prompt carries a hint. None: the algorithm puts none into prompts."""
    leaks: bool | None = None
    """Whether that hint gives the answer away."""
