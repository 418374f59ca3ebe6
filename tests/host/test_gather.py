"""Experience objects as we make them and put them together, against OpenRLHF's own."""

from dataclasses import fields
from types import SimpleNamespace

import torch

from scope_openrlhf.host import machine

machine.install()

from openrlhf.trainer.ppo_utils.experience import Experience  # noqa: E402
from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator  # noqa: E402

from scope_openrlhf.host.gather import MASK, experience_of, joined  # noqa: E402

THEIRS = Experience.concat_experiences


def response(prompt: int, said: int, right: bool, engine_logp: bool = False) -> dict:
    ids = list(range(100, 100 + prompt + said))
    return {
        "prompt": "p", "label": "l", "images": None, "mm_train_inputs": None, "observation_tokens": ids,
        "action_ranges": [(prompt, prompt + said)], "truncated": said > 3, "reward": float(right),
        "scores": float(right), "rollout_log_probs": [-0.5 * i for i in range(len(ids))] if engine_logp else None,
        "extra_logs": {"dropped": 0.0, "grader_failed": 1.0},
    }  # fmt: skip


def same(ours: Experience, theirs: Experience) -> None:
    for name in (f.name for f in fields(Experience)):
        a, b = getattr(ours, name), getattr(theirs, name)
        for x, y in [(a[k], b[k]) for k in b] if isinstance(b, dict) else [(a, b)]:
            if isinstance(y, torch.Tensor):
                assert torch.equal(x, y.to(x.dtype)) and x.dtype in (y.dtype, MASK), name
            else:
                assert x == y, name


RESPONSES = [response(3, 2, True), response(2, 5, False), response(4, 1, True), response(1, 9, False)]


def test_an_experience_is_openrlhfs_own_but_for_the_bytes_of_its_masks():
    for of in (*RESPONSES, response(3, 2, True, engine_logp=True), response(2, 12, True, engine_logp=True)):
        same(
            experience_of(of, max_len=8),
            SamplesGenerator._process_response_into_experience(SimpleNamespace(), of, max_len=8),
        )


def test_joined_rollouts_are_openrlhfs_own_and_the_rollouts_become_views_of_them():
    rollouts = [experience_of(r, max_len=8) for r in RESPONSES]
    for i, rollout in enumerate(rollouts):
        rollout.index, rollout.info["scored"] = [i], [f"luggage {i}"]
    theirs = THEIRS(rollouts, 7)
    ours = joined(rollouts, 7)
    same(ours, theirs)
    assert ours.sequences.shape == (4, 8) and ours.sequences[2].tolist() == [100, 101, 102, 103, 104, 7, 7, 7]
    ours.sequences[2, 0] = 55
    assert rollouts[2].sequences.tolist() == [[55, 101, 102, 103, 104]]
