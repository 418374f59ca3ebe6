"""Choice of the rollouts that rollouts.jsonl keeps of a step, and their numbers by token.

Kept are the rollouts of the first prompt, those of most weight on each path, and the wrong ones that lie farthest from
the teacher. Of each, the first and the last tokens: the cost of a step is bounded, however long its responses are.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scope_openrlhf.equations.batch import Rollouts, Signal

OF_GROUP, HEAVIEST, FARTHEST = 8, 2, 2
"""Most rollouts of the first prompt, of each path, and of the wrong ones."""
HEAD, TAIL = 128, 128
"""Tokens at both ends of a response whose numbers are kept."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A rollout that is kept, and why."""

    index: int
    """Its row in Rollouts."""
    positions: list[int]
    """Response positions of the tokens whose numbers are kept."""
    numbers: dict[str, Any]
    """group, why, path, weight, scored_by, head (how many of the tokens stand before the cut), and lists by token:
    student, teacher, token_weight."""


def kept_of(rollouts: Rollouts, signal: Signal, paths: tuple[str, ...]) -> list[Kept]:
    """The rollouts of a step that are kept, in the order of the step. paths: names, in the order of signal.path_N."""
    other_NT, scored_by = other_scores(rollouts)
    gap_N = mean_gaps(rollouts, other_NT)
    why: dict[int, list[str]] = {i: [] for i in (rollouts.group_N == 0).nonzero().flatten().tolist()[:OF_GROUP]}
    for number, path in enumerate(paths):
        for i in highest(signal.weight_N, signal.path_N == number, HEAVIEST):
            why.setdefault(i, []).append(f"most weight on {path}")
    for i in highest(gap_N, ~rollouts.right_N & gap_N.isfinite(), FARTHEST):
        why.setdefault(i, []).append("wrong and farthest from the teacher")
    kept = []
    for i in sorted(why):
        positions = both_ends(rollouts.mask_NT[i].nonzero().flatten())
        numbers = numbers_of(i, positions, rollouts, signal, other_NT)
        p = int(signal.path_N[i])
        about = {"group": int(rollouts.group_N[i]), "why": why[i], "path": paths[p] if p >= 0 else None}
        about |= {"scored_by": scored_by if numbers["teacher"] else None, "head": min(HEAD, len(positions))}
        kept.append(Kept(i, positions.tolist(), about | numbers))
    return kept


def both_ends(positions: Tensor) -> Tensor:
    """The first and the last of the positions."""
    return positions if len(positions) <= HEAD + TAIL else torch.cat([positions[:HEAD], positions[-TAIL:]])


def other_scores(rollouts: Rollouts) -> tuple[Tensor, str]:
    """The log-probs beside the student's own, (N, T), and who gave them: the teacher, else the last context."""
    if rollouts.context_logp and not rollouts.teacher_mean_N.isfinite().any():
        name = list(rollouts.context_logp)[-1]
        return rollouts.context_logp[name], f"context {name}"
    return rollouts.teacher_logp_NT, "teacher"


def mean_gaps(rollouts: Rollouts, other_NT: Tensor) -> Tensor:
    """Mean over each rollout's tokens of log p_S - log p_T, (N,); NaN where somebody gave no score."""
    gap_NT = (rollouts.student_logp_NT - other_NT).masked_fill(~rollouts.mask_NT, 0.0)
    return gap_NT.sum(dim=1) / rollouts.mask_NT.sum(dim=1)


def highest(value_N: Tensor, member_N: Tensor, most: int) -> list[int]:
    """Indices of the highest values among the members, at most so many."""
    where = member_N.nonzero().flatten()
    return where[value_N[where].argsort(descending=True, stable=True)[:most]].tolist()


def numbers_of(i: int, positions: Tensor, rollouts: Rollouts, signal: Signal, other_NT: Tensor) -> dict[str, Any]:
    """Weight of rollout i and its numbers by token, None where it has none."""
    advantage_T, weight = signal.advantage_NT[i], signal.weight_N[i].item()
    # a path of likelihood alone has no advantages: there the weight itself stands before each token
    factor_T = advantage_T if advantage_T.any() else torch.ones_like(advantage_T)
    other_T, on_a_path = other_NT[i][positions], signal.path_N[i] >= 0
    return {
        "weight": round(weight, 4) if on_a_path else None,
        "student": rounded(rollouts.student_logp_NT[i][positions]),
        "teacher": rounded(other_T) if other_T.isfinite().all() else None,
        "token_weight": rounded(weight * factor_T[positions]) if on_a_path else None,
    }


def rounded(value_T: Tensor) -> list[float]:
    """Numbers as they are written: three decimals say enough for a colour."""
    return [round(v, 3) + 0.0 for v in value_T.double().tolist()]  # no -0.0
