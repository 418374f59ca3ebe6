"""Command scope-grade: grade a file of answers as training and evaluation do, or audit a file of gold answers.

Exit code of `run`: 0, every row has a verdict; 1, some lines were malformed and are left out; 2, the files cannot be
read or written. An audit ends with 0, or with 2 where the file cannot be read.
130, 143: interrupted, by Ctrl-C or SIGTERM.
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
from typing import Any

from scope_openrlhf.files.rows import check_row, read_json, read_row, read_text
from scope_openrlhf.settings.command_line import CommandLine, end_on_sigterm
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.verifier.audit import audit
from scope_openrlhf.verifier.gold import HOLDERS, NoGold, read_gold, why_no_answer
from scope_openrlhf.verifier.grader import MIB, SECONDS, Grader, Verdict
from scope_openrlhf.verifier.pool import GraderError

CHUNK = 2_000
"""Rows that are read, graded and written at a time: a file may be larger than memory."""
SECONDS_BETWEEN_LINES = 5.0
"""Seconds from one line of progress to the next, at least."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = parse(sys.argv[1:] if argv is None else argv)
    ended = end_on_sigterm()
    grader = Grader(options.workers, options.timeout, options.memory)
    try:
        return print_audit(options.input, grader) if options.command == "audit" else grade(options, grader)
    except (OSError, ConfigError, GraderError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command begins anew", file=sys.stderr)
        return 143 if ended.is_set() else 130
    finally:
        grader.close()


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    return command_line().parser


def command_line() -> CommandLine:
    """The commands of scope-grade and their flags."""
    line = CommandLine(
        "scope-grade",
        "Grade answers against gold answers, or audit the gold answers of a benchmark.",
        "docs/grader.md is about the grader",
    )
    run = line.add(
        "run",
        "Grade each row of a file, and write the same rows with verdict (right, wrong or failed), extracted, reason "
        "and seconds.",
        "scope-grade run answers.jsonl --out verdicts.jsonl --workers 2\n"
        '  where answers.jsonl has rows {"gold": "1/2", "response": "so it is \\\\boxed{0.5}"}',
        "grader.md",
    )
    run.add_argument("input", type=Path, metavar="INPUT.jsonl", help='rows {"gold", "response"}')
    run.add_argument("--out", type=Path, required=True, metavar="VERDICTS.jsonl", help="file of the verdicts")
    check = line.add(
        "audit",
        "List the gold answers of a benchmark that are no mathematics, cannot be read as mathematics, or refuse a "
        "common spelling.",
        'scope-grade audit benchmark.jsonl\n  where benchmark.jsonl has rows {"id": "7", "answer": "1/2"}',
        "grader.md",
    )
    check.add_argument("input", type=Path, metavar="FILE.jsonl", help='rows {"answer"}, {"gold"} or verl\'s')
    for command in (run, check):
        _add_limits(command)
    run.add_argument(
        "--lenient", action="store_true", help='without a box take what follows "the answer is", else the last number'
    )
    run.add_argument(
        "--significant-figures", action="store_true", help="a gold decimal accepts what rounds to it at its own figures"
    )
    return line


def _add_limits(command: argparse.ArgumentParser) -> None:
    """Add the options that bound the workers."""
    command.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes for what needs algebra (default: one a core)",
    )
    command.add_argument(
        "--timeout",
        type=float,
        default=SECONDS,
        metavar="S",
        help=f"CPU seconds for one answer before it counts as failed (default {SECONDS:g})",
    )
    command.add_argument("--memory", type=int, default=MIB, metavar="MIB", help=f"memory of a worker (default {MIB})")


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the options. Ends the process with code 2 where they cannot be meant."""
    line = command_line()
    options, whole = line.parse(_with_command(argv)), line.parser
    if options.workers < 1 or not 0 < options.timeout < 1e6 or options.memory < 256:
        whole.error("--workers must be at least 1, --timeout above 0, --memory at least 256")
    if (
        options.command == "run"
        and options.out.exists()
        and options.input.exists()
        and options.out.samefile(options.input)
    ):
        whole.error("--out must be another file than the input")
    return options


def _with_command(argv: list[str]) -> list[str]:
    """Put `--input A --output B` and `--audit FILE`, as this command was called before, into sub-commands."""
    before = argparse.ArgumentParser(prog="scope-grade", usage="scope-grade run|audit ...", add_help=False)
    what = before.add_mutually_exclusive_group()
    what.add_argument("--input")
    what.add_argument("--audit")
    before.add_argument("--output")
    if not argv or not argv[0].startswith("-"):
        return argv
    options, others = before.parse_known_args(argv)
    if options.input is not None:
        if options.output is None:
            before.error("--input needs --output")
        return ["run", options.input, "--out", options.output, *others]
    if options.audit is not None:
        of_run = ("--lenient", "--significant-figures")  # an audit took these too, and did nothing with them
        return [
            "audit",
            options.audit,
            *(flag for flag in others if not (len(flag) > 2 and any(f.startswith(flag) for f in of_run))),
        ]
    return argv


def grade(options: argparse.Namespace, grader: Grader) -> int:
    """Grade a file; returns the exit code. The last line on stderr counts the verdicts."""

    def verdict(row: dict[str, Any]) -> dict[str, Any]:
        try:
            gold = read_gold(row["gold"])
            if why := why_no_answer(gold):
                raise NoGold(why)
            v = grader.verify(gold, row["response"], lenient=options.lenient, significant=options.significant_figures)
        except NoGold as error:
            v = Verdict("failed", None, f"gold: {error}")
        seconds = round(v.seconds, 6)
        return row | {"verdict": v.verdict, "extracted": v.extracted, "reason": v.reason, "seconds": seconds}

    malformed = done = 0
    counts = Counter[str]()
    size = options.input.stat().st_size
    told = time.monotonic()
    with options.out.open("w") as out, ThreadPoolExecutor(2 * options.workers) as threads:
        for rows, bad, read in chunks(options.input):
            malformed += bad
            for row in threads.map(verdict, rows):
                out.write(json.dumps(row) + "\n")
                counts[row["verdict"]] += 1
            done += read
            if time.monotonic() - told > SECONDS_BETWEEN_LINES:
                told = time.monotonic()
                share = f", {done / size:.0%} of the file" if size else ""  # a pipe has no size
                print(f"{counts.total()} rows graded{share}", file=sys.stderr)
    print(
        ", ".join(f"{name} {counts[name]}" for name in ("right", "wrong", "failed")) + f"; malformed lines {malformed}",
        file=sys.stderr,
    )
    return 1 if malformed else 0


def chunks(file: Path) -> Iterator[tuple[list[dict[str, Any]], int, int]]:
    """Yield (sound rows, number of malformed lines, bytes read); each malformed line is named on stderr."""
    rows: list[dict[str, Any]] = []
    bad = size = 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            size += len(line)
            if line.strip():
                try:
                    # half a surrogate in a response is a wrong answer rather than no row
                    rows.append(_sound(check_row(read_json(line.decode("utf-8-sig")), halves=False)))
                except ValueError as error:
                    bad += 1
                    _say_left_out(file, number, '{"gold", "response"}', error)
            if len(rows) >= CHUNK:
                yield rows, bad, size
                rows, bad, size = [], 0, 0
    yield rows, bad, size


def _sound(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row where it is one; raises ValueError where it has no gold or the response is no text."""
    if "gold" not in row:
        raise ValueError("gold is missing")
    if not isinstance(row.get("response"), str):
        raise ValueError("response must be text" if "response" in row else "response is missing")
    return row


def print_audit(file: Path, grader: Grader) -> int:
    """Audit a file of gold answers; returns the exit code."""
    golds: list[tuple[str, object]] = []
    if file.suffix.lower() in (".json", ".csv", ".parquet"):
        raise ConfigError(
            f"{file}: an audit reads JSON lines, a .jsonl; scope-train plan checks the golds of other files"
        )
    for number, line in enumerate(read_text(file, str(file)).split("\n"), 1):
        if line.strip():
            try:
                row = read_row(line)
                if not row.keys() & set(HOLDERS):
                    raise ValueError(f"has none of {', '.join(HOLDERS)}")
                golds.append((str(row.get("id", number)), row))
            except ValueError as error:
                _say_left_out(file, number, 'with "answer" or "gold"', error)
    if not golds:
        raise ConfigError(f"{file} holds no row with {', '.join(HOLDERS[:-1])} or {HOLDERS[-1]}")
    findings = audit(golds, grader)
    for f in findings:
        print(f"{' '.join(f.id.split())}\t{f.kind}\t{f.gold!r}\t{f.example}")
    kinds = Counter(f.kind for f in findings)
    print(
        f"{file.name}: {len(golds)} golds; "
        + ", ".join(f"{k} {kinds[k]}" for k in ("no mathematics", "not readable", "spelling"))
    )
    return 0


def _say_left_out(file: Path, number: int, wanted: str, error: object) -> None:
    """Name a malformed line on stderr."""
    print(f"{file}, line {number}: not a row {wanted} ({error}); left out", file=sys.stderr)
