"""What a run is doing, said by its parts and watched by its driver."""

import contextlib
import time
from pathlib import Path


class Stage:
    """What a run is doing, in a file of its folder for each part that says it, for whoever waits for it (train.py).

    It is no loss if the disk is full and it cannot be written.
    """

    def __init__(self, run_dir: Path, part: str = "run") -> None:
        self.file = run_dir / "logs" / f"stage.{part}"

    def __call__(self, what: str) -> None:
        with contextlib.suppress(OSError):
            self.file.write_text(what)

    def goes_on(self) -> None:
        """The same stage still makes progress."""
        with contextlib.suppress(OSError):
            self.file.touch()

    def begin(self, what: str) -> None:
        """The first stage of an attempt: what others said before counts no more."""
        for file in self.file.parent.glob("stage.*"):
            file.unlink(missing_ok=True)
        self(what)

    def stalled(self, seconds: float) -> str:
        """The stages, the newest first, if nothing has moved for so long; empty otherwise."""
        files = sorted(self.file.parent.glob("stage.*"), key=lambda f: -f.stat().st_mtime)
        if not files or time.time() - files[0].stat().st_mtime < seconds:
            return ""
        return "; ".join(text for f in files if (text := f.read_text())) or "nothing known"
