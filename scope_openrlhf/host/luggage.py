"""What rides along in OpenRLHF's own containers: packed and unpacked here alone.

where                     what                                      packed by          read by
label of a prompt         JSON of a Problem and its place           run/plan           rollout, trainer, step_metrics
response["scored"]        Scored                                    rollout            rollout (the generator)
info["scored"]            a Scored of each row                      rollout            step_metrics, contexts    1
info["teacher_log_probs"] (T,) float of each row, or (0,)           rollout            experience                1
info["teacher_topk"]      (ids, log-probs) of each row, (T, K)      rollout, contexts  update                    2
info["dropped"]           (rows,) 1.0 where nothing may be trained  rollout            experience                3
info["grader_failed"]     (rows,) 1.0 where nobody knows            rollout            step_metrics              3
info["weight"], ["path"]  (rows,) the algorithm's                   experience         update                    2
info["health"]            (rows,) 1.0 where the vocabulary is read experience         update                    2
info["return"]            (rows,) the reward                        experience         OpenRLHF's own logs       3
1: taken out on the driver by `pack_signal`. 2: taken out on the worker, before the loss, by `unpack_signal`. 3: stays,
and OpenRLHF averages it like a metric.

OpenRLHF splits lists in `info` by row and batches them anew without padding; it pads tensors with zeros, and a zero is
a log-prob like any other, so log-probs travel in lists.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scope_openrlhf.data.problem import Problem
from scope_openrlhf.equations.batch import Attempt
from scope_openrlhf.teacher.contract import Score, TeacherError

PROMPT_COLUMN, LABEL_COLUMN = "prompt", "label"
"""Columns of prompts.jsonl, which OpenRLHF's PromptDataset reads."""
CUT = "they were truncated, which algorithm.truncated=drop leaves out"


@dataclass(frozen=True, slots=True)
class Scored:
    """What a rollout brings along beside its tokens."""

    attempt: Attempt
    score: Score | TeacherError | None
    """None where the algorithm asked for none."""
    asked: float
    answered: float
    """Seconds since the epoch; the time that the teacher took, also in its queue, lies between."""
    undecided: str
    """Why the grader could not decide; empty where it could."""

    @property
    def why_dropped(self) -> str:
        """Why nothing may be trained on it; empty where something may."""
        if self.attempt.route != "drop":
            return ""
        if self.undecided:
            return f"the grader could not decide ({self.undecided})"
        if isinstance(self.score, TeacherError):
            return "the teacher gave no score"
        return CUT if self.attempt.truncated else "their responses held no token"


def pack_label(problem: Problem, place: int) -> str:
    """place: number of the problem in the run, counted from 0. A problem that comes again has another one."""
    return json.dumps({key: value for key, value in asdict(problem).items() if value is not None} | {"order": place})


def unpack_label(label: str) -> tuple[Problem, int]:
    """The problem and its place in the run."""
    row = json.loads(label)
    place = row.pop("order")
    return Problem(**row), place


def prompt_lines(asked: Iterable[tuple[Problem, str]]) -> str:
    """The text of prompts.jsonl: the problems of a run in their order, with their prompts as they are rendered."""
    rows = ({PROMPT_COLUMN: text, LABEL_COLUMN: pack_label(p, place)} for place, (p, text) in enumerate(asked))
    return "".join(json.dumps(row) + "\n" for row in rows)


def read_prompts(file: Path) -> list[Problem]:
    """The problems of prompts.jsonl in their order."""
    with file.open() as lines:
        return [unpack_label(json.loads(line)[LABEL_COLUMN])[0] for line in lines]


def pack_response(response: dict[str, Any], attempt: Attempt, score: Score | TeacherError | None, asked: float,
                  undecided: str = "") -> None:  # fmt: skip
    """Put the verdict and the teacher's answer into what OpenRLHF's agent returns.

    undecided: why the grader could not decide; empty where it could.
    """
    response["reward"] = response["scores"] = float(attempt.route == "right")
    response["extra_logs"] = {"grader_failed": float(bool(undecided)), "dropped": float(attempt.route == "drop")}
    response["scored"] = Scored(attempt, score, asked, time.time(), undecided)
    # arrays, which Ray hands to the driver as they are; of a list it would pickle each number
    for tokenwise, kind in (("observation_tokens", np.int32), ("rollout_log_probs", np.float32)):
        if response.get(tokenwise) is not None:
            response[tokenwise] = np.array(response[tokenwise], kind)


def pack_scores(experience: Any, scored: Scored, top_k: int) -> None:
    """Put one rollout's score into its Experience, cut to the rollout's T positions; of no position without a score."""
    teacher, score, width = torch.empty(0), scored.score, experience.action_mask.shape[1]
    if isinstance(score, Score):
        teacher = torch.from_numpy(score.logprobs)[:width]
    experience.info["teacher_log_probs"], experience.info["scored"] = [teacher], [scored]
    if top_k and isinstance(score, Score):
        topk = torch.from_numpy(score.topk_ids)[:width], torch.from_numpy(score.topk_logprobs)[:width]
        pack_topk(experience, [topk])
    elif top_k:
        pack_topk(experience, [no_topk(top_k)])


def no_topk(top_k: int) -> tuple[Tensor, Tensor]:
    """The (ids, log-probs) of a row that was not scored: no position."""
    return torch.zeros(0, top_k, dtype=torch.int32), torch.zeros(0, top_k)


def pack_topk(experience: Any, rows: list[tuple[Tensor, Tensor]]) -> None:
    """rows: (ids, log-probs) of each row, both (T, K)."""
    experience.info["teacher_topk"] = rows


def scored_of(experience: Any) -> list[Scored]:
    """The luggage of each row."""
    return experience.info["scored"]


def teacher_logp_of(experience: Any) -> list[Tensor]:
    """(T,) of each row, of no position where the teacher gave no score."""
    return experience.info["teacher_log_probs"]


def dropped_of(experience: Any) -> Tensor:
    """Whether each row must train nothing, (rows,) bool."""
    return torch.as_tensor(experience.info["dropped"]).bool()


def grader_failed_of(experience: Any) -> bool:
    """Whether the grader of a single rollout could not decide."""
    return bool(experience.info["grader_failed"][0])


def pack_signal(experience: Any, weight_N: Tensor, path_N: Tensor, health: bool) -> None:
    """Put in what the loss needs, and take out what only the driver needed.

    health: whether the metrics of the vocabulary are wanted.
    """
    experience.info["weight"], experience.info["path"] = weight_N.float(), path_N
    experience.info["health"] = torch.full(path_N.shape, float(health))
    experience.info["return"] = experience.rewards.float()
    del experience.info["teacher_log_probs"], experience.info["scored"]  # their part is in the advantages


def path_of(experience: Any) -> Tensor:
    """(rows,) int, -1 where a row is on no path. `info` may hold a list of numbers instead of a tensor."""
    return torch.as_tensor(experience.info["path"])


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What the loss of a micro-batch needs beside OpenRLHF's own fields."""

    weight_N: Tensor
    path_N: Tensor
    health: bool
    """Whether the metrics of its vocabulary are wanted."""
    topk: list[tuple[Tensor, Tensor]] | None
    """(ids, log-probs) of each row; None without top-k."""


def unpack_signal(experience: Any, device: torch.device) -> Unpacked:
    """The luggage of a micro-batch, which then holds none of it."""
    path_N = path_of(experience).to(device)
    weight_N = torch.as_tensor(experience.info.pop("weight"), device=device)
    health = torch.as_tensor(experience.info.pop("health")).bool().any().item()
    del experience.info["path"]
    return Unpacked(weight_N, path_N, health, experience.info.pop("teacher_topk", None))
