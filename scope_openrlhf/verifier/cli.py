"""scope-grade: grade a file of answers with the verifier that training and evaluation use, or audit a file of gold answers.

    scope-grade --input cases.jsonl --output verdicts.jsonl [--workers N] [--timeout S]
    scope-grade --audit benchmark.jsonl

Rows {"gold", "response"} in; the same rows with {"verdict", "extracted", "reason", "seconds"} out, in order.
Exit code 0: every row has a verdict. 1: some lines were malformed and are left out. 2: the files cannot be read or written.
An audit reads rows {"answer"} or {"gold"} and lists golds that are no mathematics, cannot be read, or refuse a common spelling; exit code 0.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scope_openrlhf.verifier import Grader, GraderError
from scope_openrlhf.verifier.audit import audit

CHUNK = 2_000
"""Rows that are read, graded and written at a time: a file may be larger than memory."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scope-grade", description="Grade answers against gold answers.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--input", type=Path, help='.jsonl with rows {"gold", "response"}')
    what.add_argument(
        "--audit", type=Path, metavar="FILE", help=".jsonl of a benchmark: list the golds that a rule cannot grade"
    )
    parser.add_argument("--output", type=Path, help="where the verdicts go; needed with --input")
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes for what needs algebra (default: one a core)",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=5.0,
        metavar="S",
        help="seconds for one answer before it counts as failed (default 5)",
    )
    parser.add_argument("--memory", type=int, default=1024, metavar="MIB", help="memory of a worker (default 1024)")
    parser.add_argument(
        "--lenient", action="store_true", help='without a box take what follows "the answer is", else the last number'
    )
    parser.add_argument(
        "--significant-figures", action="store_true", help="a gold decimal accepts what rounds to it at its own figures"
    )
    options = parser.parse_args(argv)
    if options.input and not options.output:
        parser.error("--input needs --output")
    if options.workers < 1 or not 0 < options.timeout < 1e6 or options.memory < 256:
        parser.error("--workers must be at least 1, --timeout above 0, --memory at least 256")
    if options.input and options.input.exists() and options.output.exists() and options.input.samefile(options.output):
        parser.error("--output must be another file than --input")
    grader = Grader(options.workers, options.timeout, options.memory)
    try:
        return print_audit(options.audit, grader) if options.audit else grade(options, grader)
    except (OSError, UnicodeDecodeError, GraderError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        grader.close()


def grade(options: argparse.Namespace, grader: Grader) -> int:
    from tqdm import tqdm

    def verdict(row: dict) -> str:
        start = time.perf_counter()
        v = grader.verify(
            row["gold"], row["response"], lenient=options.lenient, significant=options.significant_figures
        )
        seconds = round(time.perf_counter() - start, 6)
        return (
            json.dumps(row | {"verdict": v.verdict, "extracted": v.extracted, "reason": v.reason, "seconds": seconds})
            + "\n"
        )

    malformed, counts = 0, Counter[str]()
    size = options.input.stat().st_size
    with (
        options.output.open("w") as out,
        ThreadPoolExecutor(2 * options.workers) as threads,
        tqdm(total=size, unit="B", unit_scale=True, desc="grading", mininterval=1.0) as progress,
    ):
        for rows, bad, read in chunks(options.input):
            malformed += bad
            for line in threads.map(verdict, rows):
                out.write(line)
                counts[json.loads(line)["verdict"]] += 1
            progress.update(read)
    print(
        ", ".join(f"{name} {counts[name]}" for name in ("right", "wrong", "failed")) + f"; malformed lines {malformed}",
        file=sys.stderr,
    )
    return 1 if malformed else 0


def chunks(file: Path) -> Iterator[tuple[list[dict], int, int]]:
    """(sound rows, number of malformed lines, bytes read), a malformed line being named on stderr."""
    rows: list[dict] = []
    bad = size = 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            size += len(line)
            if line.strip():
                try:
                    rows.append(sound(json.loads(line)))
                except (ValueError, TypeError) as error:
                    bad += 1
                    print(
                        f'{file}, line {number}: not a row {{"gold", "response"}} ({error}); left out', file=sys.stderr
                    )
            if len(rows) >= CHUNK:
                yield rows, bad, size
                rows, bad, size = [], 0, 0
    yield rows, bad, size


def sound(row) -> dict:
    if not isinstance(row, dict):
        raise TypeError(f"it is a {type(row).__name__}")
    for key in ("gold", "response"):
        if not isinstance(row.get(key), str):
            raise TypeError(f"{key} must be text" if key in row else f"{key} is missing")
    return row


def print_audit(file: Path, grader: Grader) -> int:
    golds = []
    for number, line in enumerate(file.read_text().split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
                golds.append((str(row.get("id", number)), str(row["answer"] if "answer" in row else row["gold"])))
            except (ValueError, KeyError, AttributeError) as error:
                print(
                    f'{file}, line {number}: not a row with "answer" or "gold" ({error!r}); left out', file=sys.stderr
                )
    findings = audit(golds, grader)
    for f in findings:
        print(f"{f.id}\t{f.kind}\t{f.gold!r}\t{f.example}")
    kinds = Counter(f.kind for f in findings)
    print(
        f"{file.name}: {len(golds)} golds; "
        + ", ".join(f"{k} {kinds[k]}" for k in ("no mathematics", "not readable", "spelling"))
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
