"""Gold answers from outside: one reading for training, evaluation, audit and reward, and what cannot be graded."""


class NoGold(ValueError):
    """A value that is no gold answer, and why."""


def read_gold(value: object) -> str:
    """The gold answer in a value of somebody's data, as text. Raises NoGold.

    value: a text, a number, a list of them, or a text that holds one of these as JSON.
    """
    raise NotImplementedError


def why_ungradable(gold: str) -> str | None:
    """Why no answer can be graded against a gold that read_gold gave; None where it can."""
    return None
