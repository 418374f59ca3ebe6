"""What the pages cost: a run of 1,000 steps; 1,547 problems with 32 samples each, evaluated and compared.

    python tests/bench_pages.py RUN     RUN: the folder of a run, whose rows are repeated

It prints the file's size, the processor's seconds to write it (median of 3, with the numbers of an evaluation or a
comparison), the writer's memory, and, where there is a chromium, seconds until it is drawn and its script's memory.
"""

import contextlib
import json
import multiprocessing
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scope_eval import commands, evaluate
from scope_eval.store import Grade, Sample, Store
from scope_openrlhf.run.page import RunPage

STEPS, PROBLEMS, SAMPLES, TIMES = 1_000, 1_547, 32, 3
TOKENS = 256
"""Tokens of a rollout with numbers, as a run keeps of a long response."""
SENTENCES = (
    "Let $x$ be the number that we look for, so that $x^2 - {a}x + {b} = 0$. ",
    "We have \\[\\frac{{{a}}}{{{b}}} = \\sqrt{{{c}}}\\] and therefore $x \\le {b}$.\n\n",
    "Wait, that does not hold for {a}; let me check it again. ",
    "Since {a} and {b} have no common divisor, {c} divides the product. ",
)


def long_run(source: Path, folder: Path) -> Path:
    """A run of STEPS steps from the rows of a short one, its rollouts as long as those of a reasoning model."""
    folder.mkdir()
    shutil.copy(source / "config.yaml", folder)
    for name in ("metrics.jsonl", "rollouts.jsonl"):
        rows = [json.loads(line) for line in (source / name).read_text().splitlines()]
        steps: dict[int, list[dict]] = {}
        for row in rows:
            steps.setdefault(row["step"], []).append(row)
        held = list(steps.values())
        with (folder / name).open("w") as file:
            for step in range(1, STEPS + 1):
                for row in held[step % len(held)]:
                    file.write(
                        json.dumps(row | {"step": step} | ({"of": STEPS} if "of" in row else longer(row))) + "\n"
                    )
    return folder


def longer(row: dict) -> dict:
    """A rollout's texts and its numbers by token, repeated to their full length."""
    times = TOKENS // max(1, len(row["tokens"])) + 1
    lists = {k: (row[k] * times)[:TOKENS] for k in ("tokens", "student", "teacher", "token_weight") if row[k]}
    return lists | {"response": (row["response"] * 200)[:6_000], "length": 2_000, "head": TOKENS // 2}


def evaluated(folder: Path, chance: float) -> Path:
    """An evaluation of PROBLEMS problems with responses of 1 to 2 kB. chance: of a right one, at the mean problem."""
    folder.mkdir()
    rng = random.Random(str(chance))
    store = Store(folder / "samples.sqlite")
    store.db.execute("PRAGMA synchronous=OFF")
    rows = [
        {"id": f"problem-{i}", "problem": said(random.Random(i), 400), "answer": str(i % 1_000)}
        for i in range(PROBLEMS)
    ]
    settings = {"temperature": 0.6, "seed": 1, "example_prompt": "1+1?"}
    about = {"model": folder.name, "data": {"from": "file", "of": PROBLEMS}, "notes": [], "published": False}
    number = store.begin("all", {"files": folder.name}, "d", settings, rows, about)
    for row in rows:
        solved = min(1.0, max(0.0, rng.gauss(chance, 0.35)))
        grades, samples = [], []
        for n in range(SAMPLES):
            right = rng.random() < solved
            answer = row["answer"] if right else str(rng.randrange(1_000))
            grades.append(
                Grade("right" if right else "wrong", answer, "same" if right else "different", 0 if right else n)
            )
            text = said(rng, rng.randrange(1_000, 2_000)) + f"\\boxed{{{answer}}}"
            stop = "length" if rng.random() < 0.02 else "stop"
            samples.append(
                (number, Sample(row["id"], n, text, len(text) // 3, stop, rng.getrandbits(48), "vLLM 0.29.0 #0"))
            )
        store.add(samples)
        store.put_grades(number, {row["id"]: grades})
    store.finish(number, PROBLEMS, SAMPLES, {"math-verify": "0.9"})
    store.close()
    return folder


def said(rng: random.Random, characters: int) -> str:
    """A text with formulas."""
    text = ""
    while len(text) < characters:
        text += rng.choice(SENTENCES).format(a=rng.randrange(99), b=rng.randrange(99), c=rng.randrange(99))
    return text


def rewrite(run: Path) -> list[float]:
    """Seconds of each write of a run's page; the first one reads all of the run, as after a resume."""
    page = RunPage(run)
    return [seconds_of(page.write) for _ in range(TIMES + 1)]


def report(folder: Path) -> list[float]:
    """Seconds of the numbers and the page of an evaluation."""

    def write() -> None:
        with contextlib.closing(Store(folder / "samples.sqlite")) as store:
            evaluate.write_results(store, folder)

    return [seconds_of(write) for _ in range(TIMES)]


def compare(a: Path, b: Path, out: Path) -> list[float]:
    """Seconds of the numbers and the page of two evaluations."""
    return [seconds_of(lambda: commands.compare_and_write({"A": a, "B": b}, out)) for _ in range(TIMES)]


def seconds_of(make: Callable[[], object]) -> float:
    """Seconds of the processor that something takes, whatever else the machine does."""
    began = time.process_time()
    make()
    return time.process_time() - began


def measured(make: Callable[..., list[float]], args: tuple) -> tuple[list[float], float]:
    """(seconds of each time, MiB of memory at most) of what makes a page."""
    return make(*args), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def opened(file: Path) -> str:
    """What a browser says of a page: until it is ready, until it is drawn, and what its script holds."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        return "not opened: there is no chromium"
    from selenium import webdriver  # where there is no browser it may be missing too

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000"):
        options.add_argument(flag)
    seconds = []
    for _ in range(TIMES):
        browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
        try:
            browser.execute_cdp_cmd("Performance.enable", {})
            browser.get(f"file://{file}")
            ask = "return performance.timing.domContentLoadedEventEnd - performance.timing.navigationStart"
            ready = browser.execute_script(ask)
            frame = "requestAnimationFrame(() => setTimeout(() => arguments[0](performance.now())))"
            seconds.append((ready / 1000, browser.execute_async_script(frame) / 1000))
            found = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        finally:
            browser.quit()
    ready, drawn = (statistics.median(of) for of in zip(*seconds, strict=True))
    heap = next(m["value"] for m in found if m["name"] == "JSHeapUsedSize") / 2**20
    return f"ready in {ready:.2f} s, drawn in {drawn:.2f} s, {heap:.0f} MiB in the browser"


def main() -> int:
    """Make the pages and print a line for each."""
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "rollouts.jsonl").exists():
        print("error: name the folder of a run, for instance runs/tiny_scope", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run = long_run(Path(sys.argv[1]), place / "run")
        a, b = evaluated(place / "a", 0.4), evaluated(place / "b", 0.5)
        for name, make, args, file in (
            (f"run of {STEPS:,} steps", rewrite, (run,), run / "report.html"),
            (f"evaluation of {PROBLEMS:,} x {SAMPLES}", report, (a,), a / "report.html"),
            (f"comparison of {PROBLEMS:,} x {SAMPLES}", compare, (a, b, place / "out"), place / "out" / "compare.html"),
        ):
            with multiprocessing.get_context("spawn").Pool(1) as pool:  # its memory is of this page alone
                seconds, memory = pool.apply(measured, (make, args))
            again = statistics.median(seconds[-TIMES:])
            first = f" (the first time {seconds[0]:.1f} s)" if len(seconds) > TIMES else ""
            written = f"{file.stat().st_size / 1e6:.1f} MB, written in {again:.2f} s{first} with {memory:.0f} MiB"
            print(f"{name}: {written}; {opened(file)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
