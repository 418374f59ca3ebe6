"""Benchmark of the grader (make bench-verifier): 1,547 problems x 32 samples, against math-verify.

math-verify is called one by one, as lm-eval does. Golds are those of the benchmarks where DATA_DIR names their folder,
else of the same kinds. Of each problem's answers some 60% are right in one of several spellings, the rest wrong, 5%
need algebra; one in a thousand is hostile. math-verify takes minutes for what ours does in seconds, so it gets every
16th case, hostile ones included, in the main thread with its own time limit on; both are then compared by time per
case. Before it, the accuracy of both on the tables of cases, by kind with TABLES=1 in the environment, and the CPU time
that the slowest of 20,000 mutated answers costs the caller. The tables are regression figures: what they showed is
mended.
"""

import json
import logging
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from math_verify import parse
from math_verify import verify as same_mathematics
from mutations import mutated, string_seconds
from spellings import CASES, HOSTILE, rows
from tqdm import tqdm

from scope_openrlhf.verifier import Grader
from scope_openrlhf.verifier.audit import spellings

PROBLEMS, SAMPLES, EVERY = 1_547, 32, 16
HARD = [
    (r"\sin^2 x", r"1-\cos^2 x"),
    (r"\frac{x+y}{2}", r"\frac{x}{2}+\frac{y}{2}"),
    (r"\sqrt{50}", r"5\sqrt{2}"),
    (r"(x+1)^3", "x^3+3x^2+3x+1"),
    (r"\ln 8", r"3\ln 2"),
    (r"\frac{1}{1-x}", r"\frac{-1}{x-1}"),
]
"""Gold answers and right answers that only algebra finds equal."""


def golds(rng: random.Random) -> list[str]:
    """Gold answers of the six benchmarks, or as many of the same kinds."""
    if folder := os.environ.get("DATA_DIR"):
        files = [Path(folder) / f"{b}.jsonl" for b in ("aime24", "aime25", "amc23", "math500", "minerva", "olympiad")]
        return [json.loads(line)["answer"] for f in files for line in f.read_text().splitlines()]
    kinds = [gold for entries in CASES.values() for gold, *_ in entries]
    return [str(rng.randint(0, 999)) if rng.random() < 0.6 else rng.choice(kinds) for _ in range(PROBLEMS)]


def cases(rng: random.Random) -> list[tuple[str, str]]:
    """Pairs of gold answer and response; a response is 2,000 characters of reasoning and an answer."""
    thinking = r"We compute $\frac{a}{b} + x_1$ step by step, so $1 + 2 = 3$. " * 35
    hostile = list(HOSTILE.values())
    found = []
    for gold in golds(rng):
        right = spellings(gold)
        wrong = [str(rng.randint(-50, 2000)) for _ in range(3)]
        wrong += [rf"\frac{{{rng.randint(1, 9)}}}{{{rng.randint(2, 99)}}}", rf"\sqrt{{{rng.randint(2, 99)}}}"]
        for _ in range(SAMPLES):
            draw, g = rng.random(), gold
            if draw < 0.001:
                answer = rng.choice(hostile)
            elif draw < 0.05:
                g, answer = rng.choice(HARD)
                answer = answer.replace("x", rng.choice("xxxy"))
            else:
                answer = rng.choice(right if draw < 0.62 else wrong)
            found.append((g, f"{thinking} So the answer is $\\boxed{{{answer}}}$."))
    return found


def by_math_verify(gold: str, response: str) -> bool:
    """Whether math-verify finds the response right."""
    try:
        return bool(same_mathematics(parse(f"\\boxed{{{gold}}}"), parse(response)))
    except Exception:  # lm-eval counts whatever goes wrong as not right
        return False


def print_tables() -> None:
    """Print how many verdicts of each table are right, ours and math-verify's, and how many wrong answers are taken."""
    grader = Grader()
    ours_table = [{"kind": k, "gold": g, "response": r, "expect": v == "right"} for k, g, r, v in rows()]
    print("table, rows: verdicts right, wrong answers taken for right (ours; math-verify)")
    for name in ("spellings.py", "stranger", "reported", "blind", "attacks", "hostile"):
        file = Path(__file__).with_name(f"{name}.jsonl")
        table = ours_table if name == "spellings.py" else [json.loads(line) for line in file.read_text().splitlines()]
        table = [row for row in table if not row.get("debatable") and row.get("expected") != "failed"]
        kinds: dict[str, list[tuple[int, int, int, int]]] = {}
        with ThreadPoolExecutor(4) as threads:
            graded = list(threads.map(lambda row: grader.verify(row["gold"], row["response"]).verdict, table))
        for row, verdict in zip(table, graded, strict=True):
            expect = row["expect"] if "expect" in row else row["expected"] == "right"
            # hostile answers are not for math-verify, whose limit of time does not hold for all of them
            theirs = name != "hostile" and by_math_verify(row["gold"], row["response"])
            found = (verdict == ("right" if expect else "wrong"), verdict == "right" and not expect)
            scores = (*found, theirs == expect, theirs and not expect)
            kinds.setdefault(row.get("kind", name), []).append(tuple(map(int, scores)))
        groups = {name: [s for scores in kinds.values() for s in scores]}
        for label, scores in (groups | (kinds if os.environ.get("TABLES") else {})).items():
            a, b, c, d = map(sum, zip(*scores, strict=True))
            print(f"{label}, {len(scores)}: {a}, {b}" + (f"; {c}, {d}" if name != "hostile" else ""))
    grader.close()


def main() -> None:
    logging.disable(logging.ERROR)
    print_tables()
    seconds = sorted(string_seconds(gold, answer) for gold, answer in tqdm(mutated(20_000, seed=0), total=20_000))
    print(
        f"20,000 mutated answers cost the caller {1e3 * seconds[10_000]:.2f} ms at the median, "
        f"{1e3 * seconds[-20]:.0f} ms at the 99.9th percentile, {1e3 * seconds[-1]:.0f} ms at most, of CPU time"
    )

    todo = cases(random.Random(1))
    grader = Grader()  # afresh: nothing remembered, no worker up
    start = time.perf_counter()
    with ThreadPoolExecutor(4) as threads:
        graded = threads.map(lambda case: grader.verify(*case), todo)
        verdicts = [g.verdict for g in tqdm(graded, total=len(todo), desc="ours", mininterval=2)]
    ours_seconds = time.perf_counter() - start
    grader.close()
    sample = todo[::EVERY]
    start = time.perf_counter()
    theirs = [by_math_verify(*case) for case in tqdm(sample, desc="math-verify", mininterval=2)]
    other_seconds = time.perf_counter() - start
    counts = {v: verdicts.count(v) for v in ("right", "wrong", "failed")}
    differ = sum((v == "right") != t for v, t in zip(verdicts[::EVERY], theirs, strict=True))
    print(
        f"ours: {len(todo)} cases in {ours_seconds:.1f} s, {counts}; "
        f"math-verify: {len(sample)} of them in {other_seconds:.1f} s; {differ} of these {len(sample)} verdicts differ"
    )
    ours, other = len(todo) / ours_seconds, len(sample) / other_seconds
    rates = {"ratio": round(ours / other, 1), "ours": round(ours), "other": round(other)}
    print(json.dumps({"name": "verifier", **rates, "unit": "cases/s", "n": len(sample)}))


if __name__ == "__main__":
    main()
