"""One numeric check: `python -m scope_openrlhf.run.gpu_check.numbers CHECK DEVICE [...]` prints a line of JSON.

A process for each, since a kernel that fails takes the CUDA context with it.
"""

import json
import sqlite3
import sys
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from scope_openrlhf.run.gpu_check import kernels, vocabulary
from scope_openrlhf.run.gpu_check.judged import Found, spelled, working_type

SEQUENCES = 64
"""Scores of a teacher that are computed again."""
NEARER = 10
"""Times that they must be nearer to their temperature than to temperature 1."""


def teacher(device: str, scores: str, model: str, temperature: str) -> Found:
    """Scores that a run's teacher gave, in its score_log, against transformers' own forward in float64 on the CPU."""
    from scope_openrlhf.teacher.probe import tolerated  # brings Ray, which the other checks do without

    kind = working_type(device)
    reference = AutoModelForCausalLM.from_pretrained(model, dtype=kind, attn_implementation="sdpa").double()
    gaps: list[Tensor] = []
    gaps_at_1: list[Tensor] = []
    for ids, given in _scores(scores):
        with torch.no_grad():
            logits = reference(ids[None]).logits[0, :-1]
        for found, t in ((gaps, float(temperature)), (gaps_at_1, 1.0)):
            logp = (logits / t).log_softmax(-1).gather(-1, ids[1:, None])[:, 0]
            found.append((given - logp).abs())
    if not gaps:
        return Found(False, "the teacher has scored nothing")
    gap, gap_at_1 = torch.cat(gaps), torch.cat(gaps_at_1)
    ok = gap.max().item() <= tolerated(spelled(kind)) and NEARER * gap.mean() <= gap_at_1.mean()
    said = f"{len(gaps)} scores, {spelled(kind)}: {gap.mean():.1e} nats from Hugging Face, at most {gap.max():.1e}"
    return Found(bool(ok), f"{said}; temperature 1 would be {gap_at_1.mean():.1e} off")


def _scores(file: str) -> Iterator[tuple[Tensor, Tensor]]:
    """(token ids, log-probs of all but the first) of the first rows of a score_log."""
    with sqlite3.connect(file) as db:
        rows = db.execute("SELECT tokens, logprobs FROM scores LIMIT ?", (SEQUENCES,)).fetchall()
    for tokens, logprobs in rows:
        ids, given = np.frombuffer(tokens, np.int32), np.frombuffer(logprobs, np.float32)
        yield torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(given.astype(np.float64))


CHECKS: dict[str, Callable[..., Found]] = {
    "attention": kernels.attention,
    "loss": vocabulary.loss,
    "vocabulary": vocabulary.vocabulary,
    "adam": kernels.adam,
    "teacher": teacher,
}

if __name__ == "__main__":
    check, *arguments = sys.argv[1:]
    found = CHECKS[check](*arguments)
    print(json.dumps({"ok": found.ok, "said": found.said}))
