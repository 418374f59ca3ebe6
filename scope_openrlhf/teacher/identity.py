"""Who a teacher is, so that scores and checkpoints of one are never taken for another's."""

from pathlib import Path

from scope_openrlhf.files.fingerprint import files_fingerprint
from scope_openrlhf.models.served import root
from scope_openrlhf.settings.resolved import Teacher
from scope_openrlhf.teacher.contract import TeacherError


def teacher_identity(teacher: Teacher) -> dict[str, str]:
    """What two teachers must have in common to be the same one.

    Path or URLs, dtype, quantization where there is one, and temperature; the commit of a hub id, or a fingerprint of
    the files of a folder.
    """
    who = {
        "path": teacher.path,
        "urls": " ".join(map(root, teacher.urls)),
        "dtype": teacher.dtype,
        "temperature": f"{teacher.temperature:g}",
    }
    if teacher.quantization:
        who["quantization"] = teacher.quantization
    if teacher.revision:
        who["revision"] = teacher.revision
    if Path(teacher.path).is_dir():
        who["files"] = files_fingerprint(teacher.path)
    return who


def identities(teachers: dict[str, Teacher]) -> dict[str, str]:
    """The identities of a run's teachers in one table, as checkpoints keep it. Keys: "path", "math.path", ..."""
    return {f"{name}.{k}".lstrip("."): v for name, t in teachers.items() for k, v in teacher_identity(t).items()}


def refuse_another_teacher(saved: dict[str, str] | None, now: dict[str, str]) -> None:
    """Raise TeacherError if a checkpoint was trained with a teacher that differs from the present one, or with none.

    saved, now: `identities` of then and now; None of a run without a teacher.
    """
    if saved is None:
        raise TeacherError(
            "the checkpoint was trained without a teacher, and this run has one; train under another name"
        )
    keys = sorted(now.keys() | saved.keys())
    # a checkpoint of before commits were kept tells nothing of them; a server may move, and the probe asks it who it is
    moved = [k for k in keys if k.endswith("urls") and saved.get(k) and now.get(k)]
    known = [k for k in keys if k not in moved and (k in saved or not k.endswith("revision"))]
    changed = [f"{k} ({saved.get(k)} then, {now.get(k)} now)" for k in known if now.get(k) != saved.get(k)]
    if changed:
        raise TeacherError(
            f"the checkpoint was trained with another teacher; it differs in {', '.join(changed)}. "
            "Put the old one back, or train under another name"
        )


def refuse_other_scores(teacher: Teacher, then: list[float] | None, now: list[float], tolerance: float) -> None:
    """Raise TeacherError if a teacher scores the probe otherwise than it did at the checkpoint.

    Behind a URL there may be another model. then, now: log-probs of the probe's tokens, in nats; then is None or empty
    where the checkpoint holds none. tolerance: in nats, on each.
    """
    gap = max((abs(a - b) for a, b in zip(then or [], now, strict=False)), default=0.0)
    if gap > tolerance or (then and len(then) != len(now)):
        raise TeacherError(
            f"{teacher.title} scores a sequence {gap:.3g} nats away from what it did when the checkpoint was written "
            f"(tolerated {tolerance}): it is another model, dtype or temperature. Put the old one back, or train under "
            "another name"
        )
