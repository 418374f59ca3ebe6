"""What a config resolves to, as every worker of the run gets it: nothing in it is left open.

No raw config can be mistaken for these types: they are made by run/plan.py alone.
"""

import dataclasses
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scope_openrlhf.settings.parse import build
from scope_openrlhf.settings.sections import StudentConfig, TeacherSettings

RUN_VARIABLE = "SCOPE_RUN"
"""Set in the environment of every worker of a run: its `Run` as JSON."""


@dataclass(frozen=True, kw_only=True)
class Teacher(TeacherSettings):
    """One teacher of a run. `revision` is the commit that was found, `path` absolute where it is a folder."""

    name: str
    """Name that problems give it; empty for the teacher of problems that name none."""
    wrote: str
    """What of the config says which model it is, for messages: `teacher.path`, `teachers.math.path`, or the copy of
    `student.path`."""
    temperature: float
    """Temperature of its log-probs."""
    max_model_len: int
    """Tokens of its longest request, and one more that vLLM must generate."""

    @property
    def title(self) -> str:
        """Example: "the teacher math"."""
        return f"the teacher {self.name}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that can work."""

    name: str
    folder: str
    """Absolute: runs/<name>."""
    seed: int
    student: StudentConfig
    """With an absolute path where it is a folder."""
    algorithm: dict[str, Any]
    """Its name and its knobs."""
    teachers: dict[str, Teacher]
    """Teachers that the algorithm asks, by name; empty where it asks none."""
    health_every: int = 1
    """Steps from one reading of the student's whole vocabulary to the next; 0: none."""
    began: int = 0
    """Step of another run's checkpoint that this one started from; its teachers may have been others. 0: from none."""

    @property
    def run_dir(self) -> Path:
        return Path(self.folder)

    @property
    def teacher_temperature(self) -> float:
        """Temperature of the log-probs of all teachers; NaN without one."""
        return next((t.temperature for t in self.teachers.values()), math.nan)

    @property
    def drop_budget(self) -> int:
        """Rollouts of a step that may go unscored, by whichever teacher."""
        return next((t.drop_budget for t in self.teachers.values()), 0)

    @property
    def replay(self) -> bool:
        """Whether scores come from the score log alone."""
        return any(t.replay for t in self.teachers.values())

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def of_this_worker(cls) -> "Run":
        """The run that this process works for, from its environment."""
        return build(cls, json.loads(os.environ[RUN_VARIABLE]))
