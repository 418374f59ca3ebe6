"""The gradient of an optimiser step does not depend on how its batch is cut, on real DeepSpeed and gloo."""

import json
import os
import subprocess
import sys
from socket import socket

import pytest
import torch

from scope_openrlhf import algorithms
from scope_openrlhf.host import machine

machine.install()

TOKENS = {f"micro {m}": [f"openrlhf.train.micro_batch_size={m}"] for m in (1, 2, 4, 8)}
DYNAMIC = {"dynamic": ["openrlhf.train.dynamic_batch_enable=true", "openrlhf.train.max_tokens_per_gpu=60"]}
PACKED = {"packed": [*TOKENS["micro 4"], "openrlhf.ds.packing_samples=true"]}
SEQUENCES = {
    f"{name}, sequences": [*overrides, "algorithm.normalize=sequences"]
    for name, overrides in (TOKENS | DYNAMIC).items()
}
TOP_K = {
    f"{name}, top-k": [*overrides, "algorithm.divergence=topk_reverse", "algorithm.top_k=3"]
    for name, overrides in (TOKENS | DYNAMIC | PACKED).items()
    if name not in ("micro 1", "micro 4")
}
VARIANTS = TOKENS | DYNAMIC | SEQUENCES | TOP_K


def run_ranks(tmp_path, world: int, variants: dict) -> dict:
    with socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    out = tmp_path / f"{world}.pt"
    env = os.environ | {"WORLD_SIZE": str(world), "LOCAL_RANK": "0"}
    env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [
        subprocess.Popen(
            [sys.executable, "tests/host/gradient_worker.py", str(out), json.dumps(variants)],
            env=env | {"RANK": str(r)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for r in range(world)
    ]
    said = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert all(rank.returncode == 0 for rank in ranks), said[0][-3000:]
    return torch.load(out)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("ranks")
    one = run_ranks(tmp_path, 1, VARIANTS)
    two = run_ranks(tmp_path, 2, {k: v for k, v in VARIANTS.items() if "8" not in k})
    return {f"1 rank, {k}": v for k, v in one.items()} | {f"2 ranks, {k}": v for k, v in two.items()}


def relative_difference(a: dict, b: dict) -> float:
    flat = [torch.cat([g[name].flatten().double() for name in sorted(a)]) for g in (a, b)]
    return ((flat[0] - flat[1]).norm() / flat[0].norm()).item()


@pytest.mark.parametrize(("what", "cuts"), [("tokens", 8), ("sequences", 8), ("top-k", 6)])
def test_any_micro_batch_any_number_of_ranks_and_dynamic_batching_give_the_same_gradient(results, what, cuts):
    kind = lambda name: name.split(", ")[2] if name.count(", ") == 2 else "tokens"  # noqa: E731
    group = {k: v for k, v in results.items() if kind(k) == what}
    whole = group.pop("1 rank, micro 8" + (f", {what}" if what != "tokens" else ""))
    differences = {name: relative_difference(whole["gradient"], r["gradient"]) for name, r in group.items()}
    assert len(differences) == cuts
    assert max(differences.values()) <= 1e-5, differences
    for name, r in group.items():
        assert r["metrics"] == pytest.approx(whole["metrics"], rel=1e-4), name
    shares = [v for k, v in whole["metrics"].items() if k.startswith("grad_share")]
    assert len(shares) == 2 and sum(shares) == pytest.approx(1) and min(shares) > 0


def test_the_two_normalisations_differ(results):
    by_tokens, by_sequences = results["1 rank, micro 8"], results["1 rank, micro 8, sequences"]
    assert relative_difference(by_tokens["gradient"], by_sequences["gradient"]) > 0.01


def test_the_loss_of_a_path_is_its_sum_over_its_own_count(results):
    """Computed by hand from the same rows: the sum of w * -log p over the path's tokens, divided by their number."""
    sys.path.insert(0, "tests/host")
    from gradient_worker import rows
    from openrlhf.models import Actor

    student = Actor("examples/tiny/student", attn_implementation="sdpa", temperature=0.6).eval()
    total, count = 0.0, 0
    for row in rows():
        if row.info["path"].item() == 0:
            with torch.no_grad():
                logp = student(row.sequences, row.action_mask, row.attention_mask)
            total += -(row.info["weight"] * logp * row.action_mask).sum().item()
            count += row.action_mask.sum().item()
    assert results["2 ranks, micro 2"]["metrics"]["loss_student"] == pytest.approx(total / count, rel=1e-4)


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_read_of_the_logits_stands_at_the_token_that_it_is_about(packed):
    """The teacher names the very token that follows: its student log-prob must be the one that OpenRLHF took of it."""
    from openrlhf.models import Actor
    from transformers import AutoModelForCausalLM

    from scope_openrlhf.host.actor import Asked, ScopeActor
    from scope_openrlhf.host.path_loss import PathLoss

    attention = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    sequences = torch.tensor([[3, 9, 6, 4, 7, 8], [3, 5, 4, 11, 0, 0]]) * attention
    action = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 1, 0, 0]])
    of_student = {"attn_implementation": "sdpa", "temperature": 0.6, "packing_samples": packed}
    logp = Actor("examples/tiny/student", **of_student).eval()(sequences, action, attention)
    actor = ScopeActor("examples/tiny/student", **of_student).eval()
    loss = PathLoss(algorithms.load("opd", divergence="topk_forward", top_k=2))
    topk = [(torch.stack([row[1:], (row[1:] + 1) % 24], dim=1), torch.full((5, 2), -1.0)) for row in sequences]
    topk[1] = tuple(t[:3] for t in topk[1])  # a row ends where its tokens end
    loss.bind(torch.ones(2), torch.zeros(2, dtype=torch.long), torch.tensor([3.0]), topk, width=5)
    actor.asked = Asked(health=True, topk_NTK=loss.topk_ids_NTK)
    ours, output = actor(sequences, action, attention, return_output=True)
    loss.take(output.reading)
    assert torch.allclose(ours, logp, atol=1e-6) and torch.equal(ours, actor(sequences, action, attention))

    on = action.bool()
    assert torch.allclose(loss.topk.student_logp_NTJ[..., 0][on], logp[on], atol=1e-5)
    assert torch.allclose(loss.topk.student_logp_NTJ.exp().sum(-1)[on], torch.ones(3))
    assert loss.topk.teacher_logp_NTJ[1, 3:].isnan().all() and loss.topk.teacher_logp_NTJ[1, :3].isfinite().all()
    model = AutoModelForCausalLM.from_pretrained("examples/tiny/student", dtype=torch.float32)
    plain = model(sequences, attention_mask=attention)
    p = (plain.logits / 0.6).softmax(-1)[:, :-1][on]
    entropy, concentration = output.reading.spread[on], output.reading.concentration[on]
    others = p.scatter(1, sequences[:, 1:][on][:, None], 0.0)
    assert torch.allclose(entropy, -(p * p.log()).sum(-1), atol=1e-5)
    assert torch.allclose(concentration, (others**2).sum(-1) / others.sum(-1) ** 2, rtol=1e-3)
