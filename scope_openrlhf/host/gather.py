"""A step's rollouts on the driver: OpenRLHF's Experience objects, made and put together without a copy too many.

The same values as OpenRLHF's own, which pads each field of each rollout apart and takes eight bytes for each element of
a mask. Axes: T response positions of a row.
"""

from dataclasses import fields
from typing import Any

import numpy as np
import torch
from openrlhf.trainer.ppo_utils.experience import Experience
from torch import Tensor

MASK = torch.int8
"""Type of both masks; whoever counts with them widens them."""


def experience_of(response: dict[str, Any], max_len: int) -> Experience:
    """A response of a rollout engine as an Experience of one row, cut to max_len tokens."""
    ids = torch.from_numpy(np.array(response["observation_tokens"], np.int64))[None, :max_len]
    length = ids.shape[1]
    action = torch.zeros(1, length - 1, dtype=MASK)
    # position t predicts token t + 1
    spans = [(max(start - 1, 0), min(end, length) - 1) for start, end in response["action_ranges"]]
    for start, end in spans:
        action[:, start:end] = 1
    first, last = min(start for start, _ in spans), max(end for _, end in spans)
    engine_logp = response["rollout_log_probs"]
    if engine_logp is not None:
        engine_logp = torch.from_numpy(np.array(engine_logp[1:max_len], np.float32))[None]
    reward = torch.tensor([response["reward"]])
    info = {"response_clip_ratio": torch.tensor([length >= max_len]), "reward": reward, "score": reward}
    return Experience(
        sequences=ids,
        attention_mask=torch.ones(1, length, dtype=MASK),
        action_mask=action,
        rollout_log_probs=engine_logp,
        prompts=[response["prompt"]],
        labels=[response["label"]],
        images=[None],
        mm_train_inputs=[None],
        rewards=reward,
        scores=reward,
        response_length=torch.tensor([max(last - first, 0)]),
        truncated=torch.tensor([response["truncated"]]),
        total_length=torch.tensor([float(length)]),
        info=info | {name: torch.tensor([value]) for name, value in response["extra_logs"].items()},
    )


def joined(rollouts: list[Experience], pad_token_id: int) -> Experience:
    """Rollouts of one row each as one Experience, padded on the right.

    Stands in Experience.concat_experiences. The rollouts then hold views of it instead of tensors of their own.
    """
    parts: dict[str, Any] = {}
    for name in (f.name for f in fields(Experience)):
        values = [getattr(r, name) for r in rollouts]
        if name == "info":
            parts[name] = {key: _chained([r.info[key] for r in rollouts]) for key in rollouts[0].info}
        elif Experience.is_step_tensor_field(name) and values[0] is not None:
            parts[name] = _stacked(values, pad_token_id if name == "sequences" else 0)
            for i, (rollout, value) in enumerate(zip(rollouts, values, strict=True)):
                setattr(rollout, name, parts[name][i : i + 1, : value.shape[1]])
        else:
            parts[name] = _chained(values)
    return Experience(**parts)


def _stacked(rows: list[Tensor], fill: int) -> Tensor:
    """Rows of (1, T) -> (rows, longest T)."""
    whole = rows[0].new_full((len(rows), max(row.shape[1] for row in rows)), fill)
    for i, row in enumerate(rows):
        whole[i, : row.shape[1]] = row[0]
    return whole


def _chained(values: list) -> Any:
    """Lists one after the other, or tensors of one number; None of nothing."""
    if values[0] is None:
        return None
    return torch.cat(values) if isinstance(values[0], Tensor) else [item for value in values for item in value]
