"""The stage at which a run is, said by its parts and watched by its driver."""

import contextlib
import time
from pathlib import Path


class Stage:
    """The stage of one part of a run, in a file of the run's folder. Example: logs/stage.generator.

    It is no loss if the disk is full and it cannot be written.
    """

    def __init__(self, run_dir: Path, part: str = "run") -> None:
        """part: name of who says it."""
        self.file = run_dir / "logs" / f"stage.{part}"

    def __call__(self, what: str) -> None:
        """Say that a stage begins. what: in words, for messages."""
        with contextlib.suppress(OSError):
            self.file.write_text(what)

    def goes_on(self) -> None:
        """Say that the same stage still makes progress."""
        with contextlib.suppress(OSError):
            self.file.touch()

    def begin(self, what: str) -> None:
        """Say the first stage of an attempt: what other parts said before counts no more."""
        for file in self.file.parent.glob("stage.*"):
            file.unlink(missing_ok=True)
        self(what)

    def stalled(self, seconds: float) -> str:
        """Stages of all parts, the newest first, if none has moved for so long; empty otherwise."""
        files = sorted(self.file.parent.glob("stage.*"), key=lambda f: -f.stat().st_mtime)
        if not files or time.time() - files[0].stat().st_mtime < seconds:
            return ""
        return "; ".join(text for f in files if (text := f.read_text())) or "nothing known"
