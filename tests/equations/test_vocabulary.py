import math
import os
import subprocess
import sys

import pytest
import torch

from scope_openrlhf.equations.chunks import read_in_chunks
from scope_openrlhf.equations.vocabulary import NOT_SCORED, Wanted, read_vocabulary, topk_logp

ALL = Wanted(temperature=0.6, entropy=True, top_k=True, health=True)


def made_up(dtype=torch.float64, positions=7, hidden=5, vocabulary=11):
    """(hidden states, weight, bias, tokens that follow, the teacher's top 2), of which positions 2 and 5 have none."""
    rng = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in
                       ((positions, hidden), (vocabulary, hidden), (vocabulary,)))  # fmt: skip
    ids = torch.randint(vocabulary, (positions,), generator=rng)
    topk = torch.stack([torch.randperm(vocabulary, generator=rng)[:2] for _ in range(positions)])
    topk[[2, 5]] = NOT_SCORED
    return *(t.to(dtype).requires_grad_() for t in (x, weight, bias)), ids, topk


def plainly(x, weight, bias, ids, topk):
    """The same numbers the plain way, by autograd over all logits."""
    logp = ((x @ weight.T + bias) / 0.6).log_softmax(-1)
    scored = topk[:, 0] >= 0
    chosen = logp[scored].gather(1, topk[scored])
    of_topk = torch.cat([chosen, (1 - chosen.exp().sum(1, keepdim=True)).log()], dim=1)
    return logp.gather(1, ids[:, None])[:, 0], -(logp.exp() * logp).sum(1), of_topk


def total_of(logp, entropy, topk):
    """A scalar that depends on each of them differently."""
    at = torch.arange(1.0, len(logp) + 1)
    return (logp * at).sum() + (entropy * at.sqrt()).sum() + (topk * torch.tensor([1.0, -2.0, 0.5])).sum()


@pytest.mark.parametrize("size", [11, 22, 33, 1000])
def test_numbers_and_gradients_in_chunks_are_those_of_all_logits_at_once(size):
    given = made_up()
    plain = plainly(*given)
    total_of(*plain).backward()
    expected = [p.grad.clone() for p in given[:3]]
    for p in given[:3]:
        p.grad = None
    reading = ALL.named(read_vocabulary(ALL, *given, size=size))
    scored = given[4][:, 0] >= 0
    assert reading.topk[~scored].isnan().all() and reading.topk_concentration[~scored].isnan().all()
    for found, wanted in zip((reading.logp, reading.entropy, reading.topk[scored]), plain, strict=True):
        assert torch.allclose(found, wanted, rtol=1e-13, atol=1e-13)
    total_of(reading.logp, reading.entropy, reading.topk[scored]).backward()
    for p, wanted in zip(given[:3], expected, strict=True):
        assert torch.allclose(p.grad, wanted, rtol=1e-12, atol=1e-13)
    assert torch.allclose(reading.spread, plain[1].detach(), rtol=1e-13)


def test_without_a_weight_the_chunks_are_of_the_logits_themselves():
    x, weight, bias, ids, topk = made_up()
    logits = (x @ weight.T + bias).detach().requires_grad_()
    reading = ALL.named(read_vocabulary(ALL, logits, None, None, ids, topk, size=22))
    scored = topk[:, 0] >= 0
    total_of(reading.logp, reading.entropy, reading.topk[scored]).backward()
    again = logits.detach().clone().requires_grad_()
    logp = (again / 0.6).log_softmax(-1)
    chosen = logp[scored].gather(1, topk[scored])
    of_topk = torch.cat([chosen, (1 - chosen.exp().sum(1, keepdim=True)).log()], dim=1)
    total_of(logp.gather(1, ids[:, None])[:, 0], -(logp.exp() * logp).sum(1), of_topk).backward()
    assert torch.allclose(logits.grad, again.grad, rtol=1e-12, atol=1e-13)


def test_a_frozen_head_gets_no_gradient_and_no_positions_are_no_error():
    x, weight, bias, ids, _ = made_up()
    weight.requires_grad_(False), bias.requires_grad_(False)
    plain = Wanted()
    (logp,) = read_vocabulary(plain, x, weight, bias, ids)
    logp.sum().backward()
    assert x.grad is not None and weight.grad is None
    (none,) = read_vocabulary(plain, x[:0], weight, bias, ids[:0])
    assert none.shape == (0,)


def test_bfloat16_gradients_of_the_head_are_summed_over_the_chunks_in_float32():
    """200 positions of gradient 1/512 each beside one of 1: in bfloat16 the sum would stay 1, for 1/512 is below half
    its last digit there."""

    def rows(logits, *, again):
        return [logits[:, 0].float()], []

    x = torch.full((201, 1), 1 / 512, dtype=torch.bfloat16)
    x[0] = 1.0
    weight = torch.ones(1, 1, dtype=torch.bfloat16, requires_grad=True)
    (found,) = read_in_chunks(rows, x, weight, None, size=1)
    found.sum().backward()
    assert weight.grad.item() == pytest.approx(1 + 200 / 512, rel=2**-8)


def test_a_token_that_the_student_does_not_have_is_named():
    x, weight, bias, ids, topk = made_up()
    topk[0, 0] = 11
    with pytest.raises(ValueError, match="names token 11, which the student's 11 logits do not have"):
        read_vocabulary(ALL, x, weight, bias, ids, topk)


def test_entropy_of_a_coin_and_a_certainty_and_how_concentrated_the_others_are():
    logits = torch.tensor([[0.0, 0.0, -90.0, -90.0], [90.0, 0.0, 0.0, 0.0]])
    wanted = Wanted(health=True)
    reading = wanted.named(read_vocabulary(wanted, logits, None, None, torch.tensor([0, 0]), size=4))
    assert reading.logp.tolist() == pytest.approx([-math.log(2), 0])
    assert reading.spread.tolist() == pytest.approx([math.log(2), 0])
    assert reading.concentration.tolist() == pytest.approx([1, 1 / 3])  # the others are one token, or three alike


def test_a_bucket_that_float32_cannot_subtract_is_still_told():
    """Token 0 has all but e^-30 of the mass: 1 - p is 0 in float32, the bucket's log-prob is -30 + log 3."""
    logits = torch.tensor([[30.0, 0.0, 0.0, 0.0]])
    found = topk_logp(logits, logits.logsumexp(-1), torch.tensor([[0]]))
    assert found[0].tolist() == pytest.approx([0, -30 + math.log(3)], abs=1e-5)


PEAK = """
import sys, torch
from scope_openrlhf.equations.vocabulary import Wanted, read_vocabulary
positions, vocabulary, size = map(int, sys.argv[1:])
def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
x = torch.randn(positions, 16, requires_grad=True)
weight = torch.randn(vocabulary, 16, requires_grad=True)
ids = torch.randint(vocabulary, (positions,))
topk = torch.arange(8).expand(positions, 8)
wanted = Wanted(0.6, top_k=True, health=True)
def step(positions):
    found = read_vocabulary(wanted, x[:positions], weight, None, ids[:positions], topk[:positions], size=size)
    reading = wanted.named(found)
    (reading.logp.sum() + reading.topk.exp().sum()).backward()
step(size // vocabulary)
before = peak()
step(positions)
print(peak() - before, 4 * positions * vocabulary)
"""


def test_more_positions_take_no_more_memory():
    """4,096 positions of 8,192 words are 128 MiB of logits in float32: beyond the first chunk of 8 MiB nothing grows
    but what belongs to a position alone."""
    words = [sys.executable, "-c", PEAK, "4096", "8192", str(2**21)]
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed is given back
    said = subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout
    took, logits = map(int, said.split())
    assert took < 0.2 * logits, took / logits
