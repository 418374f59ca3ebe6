"""scope-grade: grade a file of answers with the verifier that training and evaluation use.

    scope-grade --input cases.jsonl --output verdicts.jsonl

Rows {"gold", "response"} in; the same rows with {"verdict", "extracted", "reason", "seconds"} out, in order.
Exit code 0: every row has a verdict. 1: some lines were malformed and are left out. 2: the file cannot be read.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from scope_openrlhf.verifier import verify


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scope-grade", description="Grade answers against gold answers.")
    parser.add_argument("--input", required=True, type=Path, help='.jsonl with rows {"gold", "response"}')
    parser.add_argument("--output", required=True, type=Path)
    options = parser.parse_args(argv)
    try:
        lines = options.input.read_text().splitlines()
    except OSError as error:
        print(f"error: cannot read {options.input}: {error.strerror}", file=sys.stderr)
        return 2
    malformed = 0
    with options.output.open("w") as out:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                gold, response = row["gold"], row["response"]
                if not (isinstance(gold, str) and isinstance(response, str)):
                    raise TypeError("gold and response must be text")
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                malformed += 1
                print(f'{options.input}, line {number}: not a row {{"gold", "response"}} ({error!r}); left out', file=sys.stderr)
                continue
            start = time.perf_counter()
            verdict = verify(gold, response)
            seconds = round(time.perf_counter() - start, 6)
            row |= {"verdict": verdict.verdict, "extracted": verdict.extracted, "reason": verdict.reason, "seconds": seconds}
            out.write(json.dumps(row) + "\n")
            if sys.stderr.isatty() and number % 100 == 0:
                print(f"\r{number}/{len(lines)}", end="", file=sys.stderr)
    return 1 if malformed else 0


if __name__ == "__main__":
    sys.exit(main())
