"""Checkpoints that are whole or not there.

They are written beside the old ones, named when every byte is on the disk, and checked before a resume.

checkpoints/_actor/global_step25/      DeepSpeed's files, and MANIFEST to check them by
checkpoints/_actor/latest              the newest of them; DeepSpeed loads what it names
checkpoints/_actor/global_step50.part  under way; what a killed run leaves of it is deleted
checkpoints/torn/                      what was found damaged, by step
"""

import json
import shutil
from pathlib import Path

from scope_openrlhf.files.disk import to_disk, write_whole
from scope_openrlhf.files.fingerprint import files_fingerprint

MANIFEST, PART = "MANIFEST", ".part"
"""Name of the file, which has no suffix so that the fingerprint does not count it; suffix of a folder under way."""


def begin(folder: Path, tag: str) -> Path:
    """Make an empty folder to write checkpoint `tag` into, and return it."""
    part = folder / f"{tag}{PART}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    return part


def commit(part: Path, keep: int, max_bytes: float = float("inf")) -> Path:
    """Give a written checkpoint its name and point `latest` to it; only then delete the oldest ones.

    part: from `begin`. keep, max_bytes: how many checkpoints may stay, and of what size together; the newest always
    does. Returns the checkpoint's folder. Raises OSError if the disk does not take it; the one before stays then.
    """
    whole, folder = part.with_suffix(""), part.parent
    files = {file.name: file.stat().st_size for file in part.iterdir() if file.is_file()}
    (part / MANIFEST).write_text(json.dumps({"bytes": files, "fingerprint": files_fingerprint(part, files)}))
    for file in [*part.iterdir(), part]:
        to_disk(file)
    shutil.rmtree(whole, ignore_errors=True)
    part.rename(whole)
    write_whole(folder / "latest", whole.name)
    *older, newest = by_step(folder)
    while older and (len(older) >= keep or _size([*older, newest]) > max_bytes):
        shutil.rmtree(older.pop(0))
    return whole


def recover(checkpoints: Path) -> list[str]:
    """Make `latest` name the newest whole checkpoint, and move damaged ones to torn/.

    checkpoints: folder of a run's checkpoints. Returns what was found damaged, a sentence for each.
    """
    folder, said = checkpoints / "_actor", []
    if not folder.exists():
        return []
    for part in folder.glob(f"*{PART}"):
        shutil.rmtree(part, ignore_errors=True)
    if (folder / latest(checkpoints)).is_dir() and latest(checkpoints) and not any(folder.glob(f"*/{MANIFEST}")):
        return []  # of a version that wrote no manifests: DeepSpeed named it when it was written
    while (found := by_step(folder)) and (fault := damage(found[-1])):
        torn = checkpoints / "torn" / found[-1].name
        torn.parent.mkdir(exist_ok=True)
        shutil.rmtree(torn, ignore_errors=True)
        found[-1].rename(torn)
        previous = by_step(folder)
        instead = (
            f"going on from {previous[-1].name}" if previous else "there is no other, so the run starts again at step 0"
        )
        said.append(f"checkpoint {torn.name} is torn ({fault}), see {torn}; {instead}")
    if found and latest(checkpoints) != found[-1].name:
        write_whole(folder / "latest", found[-1].name)
    if not found:
        shutil.rmtree(folder)  # OpenRLHF takes an empty folder for a checkpoint
    return said


def latest(checkpoints: Path) -> str:
    """Name of the checkpoint that a resume would load; empty if there is none.

    checkpoints: folder of a run's checkpoints.
    """
    file = checkpoints / "_actor" / "latest"
    return file.read_text() if file.exists() else ""


def damage(checkpoint: Path) -> str:
    """Fault of a checkpoint, in words; empty if it is as it was written. checkpoint: its folder."""
    try:
        manifest = json.loads((checkpoint / MANIFEST).read_text())
    except (OSError, ValueError):
        return f"no readable {MANIFEST}"
    for name, size in manifest["bytes"].items():
        file = checkpoint / name
        if not file.exists():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size:,} of {size:,} bytes"
    if files_fingerprint(checkpoint, manifest["bytes"]) != manifest["fingerprint"]:
        return "its files are not those that were written"
    return ""


def by_step(folder: Path) -> list[Path]:
    """Folders of the checkpoints that have their final names, oldest first."""
    return sorted((p for p in folder.glob("global_step*") if step_of(p.name)), key=lambda p: step_of(p.name))


def step_of(tag: str) -> int:
    """Step of a checkpoint by its name: 25 of global_step25, 0 of any other name."""
    number = tag.removeprefix("global_step")
    return int(number) if number.isdigit() else 0


def _size(folders: list[Path]) -> int:
    return sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())
