"""make bench-vocabulary: loss, health and top-k of 1,024 positions of 151,936 words, forward and backward.

Ours reads the vocabulary in chunks from the hidden states (equations/vocabulary.py). The other is OpenRLHF's plain
path: all logits in float32, its own log-probs and entropy of them, and the top k and the concentration of all of them
at once. Both in turns, each time in a process of its own, whose peak is read beyond what stood before the forward. Then
ours alone at 8,192 positions, whose logits would be 4.6 GiB.
"""

import json
import os
import statistics
import subprocess
import sys
import time

import torch
from bench_weights import resident

from scope_openrlhf.equations.vocabulary import Reading, Wanted, concentration_of, read_vocabulary, topk_logp

TIMES, POSITIONS, MANY, VOCABULARY, HIDDEN, TOP_K, TEMPERATURE = 3, 1_024, 8_192, 151_936, 896, 8, 0.6
"""HIDDEN is that of Qwen2.5-0.5B."""


def ours(x, weight, ids, topk) -> Reading:
    wanted = Wanted(TEMPERATURE, top_k=True, health=True)
    return wanted.named(read_vocabulary(wanted, x, weight, None, ids, topk))


def plain(x, weight, ids, topk) -> Reading:
    from scope_openrlhf.host import machine

    machine.install()
    from openrlhf.models.utils import compute_entropy, log_probs_from_logits

    logits = (x @ weight.T).to(torch.float32).div_(TEMPERATURE)
    with torch.no_grad():
        entropy = compute_entropy(logits)
        others = [concentration_of(logits.clone(), chosen) for chosen in (ids[:, None], topk)]
    logp = log_probs_from_logits(logits, ids)
    return Reading(logp, None, topk_logp(logits, logits.logsumexp(-1), topk), entropy, *others)


def measure(read, positions: int) -> dict:
    """Seconds, MiB at the peak, and a few numbers of forward and backward."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(positions, HIDDEN, generator=rng).requires_grad_()
    weight = torch.randn(VOCABULARY, HIDDEN, generator=rng).div_(HIDDEN**0.5 / 3).requires_grad_()
    ids = torch.randint(VOCABULARY, (positions,), generator=rng)
    topk = torch.randint(VOCABULARY - TOP_K, (positions, 1), generator=rng) + torch.arange(TOP_K)
    read(x[:1], weight, ids[:1], topk[:1])  # what is imported and set up once
    before, start = resident("VmRSS"), time.perf_counter()
    reading = read(x, weight, ids, topk)
    loss = reading.logp.sum() + reading.topk.exp().mul(torch.arange(1.0, TOP_K + 2)).sum()
    loss.backward()
    seconds, peak = time.perf_counter() - start, resident("VmHWM") - before
    health = [v.double().mean().item() for v in (reading.spread, reading.concentration, reading.topk_concentration)]
    numbers = [loss.item(), x.grad.double().norm().item(), weight.grad.double().norm().item(), *health]
    return {"seconds": seconds, "peak": peak, "numbers": numbers}


def apart(read: str, positions: int) -> dict:
    """The same in a process of its own."""
    # what is freed is given back at once, so that the peak is of what is held
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "TORCH_COMPILE_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, __file__, read, str(positions)], env=env, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    found: dict[str, list[dict]] = {"ours": [], "plain": []}
    for _ in range(TIMES):
        for read, measured in found.items():
            measured.append(apart(read, POSITIONS))
    pairs = zip(found["ours"][0]["numbers"], found["plain"][0]["numbers"], strict=True)
    apart_by = max(abs(a - b) / abs(b) for a, b in pairs)
    print(f"loss, gradients and health agree within {apart_by:.0e}")
    median = {of: {k: statistics.median(m[k] for m in ms) for k in ("seconds", "peak")} for of, ms in found.items()}
    logits = 4 * POSITIONS * VOCABULARY / 2**20
    for of, m in median.items():
        print(f"{of}: {m['seconds']:.1f} s, {m['peak']:.0f} MiB at the peak, {m['peak'] / logits:.2f} x the logits")
    seconds = median["plain"]["seconds"] / median["ours"]["seconds"]
    print(f"seconds: ours {seconds:.2f} times as fast", flush=True)
    many, logits = apart("ours", MANY), 4 * MANY * VOCABULARY / 2**20
    print(
        f"ours at {MANY:,} positions: {many['seconds']:.0f} s, {many['peak']:.0f} MiB at the peak, "
        f"{many['peak'] / logits:.2f} x their logits of {logits:.0f} MiB"
    )
    mib = {of: round(m["peak"]) for of, m in median.items()}
    numbers = {"ratio": round(mib["plain"] / mib["ours"], 2), "ours": mib["ours"], "other": mib["plain"]}
    print(json.dumps({"name": "vocabulary", **numbers, "unit": "MiB", "n": TIMES}))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        print(json.dumps(measure({"ours": ours, "plain": plain}[sys.argv[1]], int(sys.argv[2]))))
