"""The rows of a GPU check, the checklist that they fill, and the file of it that goes into a bug report."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["PASS", "FAIL", "SKIP"]

CHECKLIST: tuple[tuple[str, str], ...] = (
    ("`make setup PROFILE=gpu` on a machine with a driver, and `scope-train doctor` there", "machine"),
    ("torch's variable-length attention in bf16, forward and backward, against sdpa", "attention"),
    ("its speed against flash-attn", ""),
    ("loss, health and gradients from chunks of a vocabulary in bf16, against float64", "loss"),
    ("the memory of that at 8,192 x 151,936 logits, against `scope-train plan`", "vocabulary"),
    ("torch's fused AdamW on CUDA, against float64", "adam"),
    ("the embedded default on one GPU: every engine on it, ZeRO 2, packed samples", "run"),
    ("the same, killed and resumed", "resume"),
    ("sync of params by CUDA IPC; `vllm_kl` in bf16 (some 1e-2 are expected)", "sync"),
    ("engines, teachers and a student that sleep in turns on one GPU", "sleep"),
    ("vLLM's CUDA graphs, attention and sampling without `nvcc`, on the card that is named", "graphs"),
    ("a teacher's log-probs at the student's temperature, against Hugging Face", "teacher"),
    ("memory of the embedded default against `scope-train plan`", "memory"),
    ("packed samples with gradient checkpointing, and LoRA on top", "lora"),
    ("the embedded default and the doctor on two and on eight GPUs", ""),
    ("sync of params by NCCL", ""),
    ("torch's fused AdamW under ZeRO 1 and 3, and with `ds.adam_offload`", ""),
    ("Muon with torch's Adam beside it", ""),
    ("a head without a GPU, and workers with some", ""),
    ("memory and seconds of a recipe against `scope-train plan`", ""),
    ("ring attention and tensor parallel training", ""),
    ("a GPU that is cut into slices (MIG)", ""),
)
"""What has to be seen on a GPU once, and the check that shows it, empty for none. docs/gpu.md holds the same lines."""
TAIL = 60
"""Lines of each log of a failed check that go into the report."""
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
"""Variables of the environment whose values a report never holds."""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one check."""

    check: str
    state: State
    said: str
    """Numbers, what went wrong, or why it was skipped."""
    seconds: float = 0.0


def checklist(rows: Sequence[Row] = (), card: str = "") -> list[str]:
    """The checklist in Markdown, with what the checks found. card: the GPU they ran on; only there a line is ticked."""
    found = {row.check: row for row in rows}
    lines = []
    for text, check in CHECKLIST:
        row = found.get(check)
        ticked = "x" if row and row.state == "PASS" and card else " "
        which = f"gpu-check: {check}" if check else "no check"
        what = f"; {row.state} on {card or 'a CPU'}: {row.said}" if row else ""
        lines.append(f"- [{ticked}] {text} ({which}{what})")
    return lines


def line(row: Row) -> str:
    """A row as the terminal shows it."""
    return f"  {row.check:<12}{row.state:<6}{row.seconds:>5.0f} s  {row.said}"


def totals(rows: Sequence[Row]) -> str:
    """How many checks ended how."""
    count = Counter[str](row.state for row in rows)
    return ", ".join(f"{count[state]} {state}" for state in ("PASS", "FAIL", "SKIP"))


def report(rows: Sequence[Row], card: str, versions: str, doctor: str, logs: dict[str, list[Path]]) -> str:
    """The file to attach, in Markdown. doctor: its table. logs: of each check; those of failed ones are shown."""
    cell = [f"| {r.check} | {r.state} | {r.seconds:.0f} | {r.said.replace('|', '/')} |" for r in rows]
    parts = [
        f"# gpu-check: {totals(rows)} on {card or 'a CPU, where nothing is shown of GPUs'}",
        versions,
        "\n".join(["| check | | seconds | |", "|---|---|---|---|", *cell]),
        "## The checklist of docs/gpu.md",
        "\n".join(checklist(rows, card)),
        "## scope-train doctor",
        f"```\n{doctor.strip()}\n```",
    ]
    for row in rows:
        for log in logs.get(row.check, ()) if row.state == "FAIL" else ():
            parts += [f"## {row.check}: the end of {log.name}", f"```\n{tail(log)}\n```"]
    return without_secrets("\n\n".join(parts) + "\n")


def tail(log: Path) -> str:
    """The last lines of a log; of one that is not there, that it is not."""
    try:
        return "\n".join(log.read_text(errors="replace").replace("```", "'''").splitlines()[-TAIL:])
    except OSError as error:
        return f"({error.strerror})"


def without_secrets(text: str) -> str:
    """The text without values of variables that look like secrets, and without passwords in addresses."""
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= 6:
            text = text.replace(value, f"<{name}>")
    return re.sub(r"://[^/\s@]+@", "://<password>@", text)
