"""How a run that had started comes to its end."""


class RunError(RuntimeError):
    """A run that started and could not go on. The message says why and where to look."""


class LostError(RunError):
    """Ray lost a part of the run, or nothing moves any more: another attempt may go further."""
