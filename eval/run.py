"""scope-eval: sample, grade and score models on held-out problems through lm-eval.

scope-eval run  --model PATH --data FILE --samples 16 --out DIR
scope-eval pair --before PATH --after PATH --data FILE --samples 16 --out DIR
scope-eval pair --run runs/NAME          # a training run: its student against its model, as its config says
"""

import argparse
import dataclasses
import json
import logging
import os
import sys
from pathlib import Path
from typing import TextIO

import yaml

from scope_eval import metrics
from scope_openrlhf.checks import check_model
from scope_openrlhf.config import Config, ConfigError
from scope_openrlhf.terminal import quiet

TASKS = Path(__file__).parent / "tasks"
DEFAULTS = {"samples": 16, "temperature": 0.6, "top_p": 1.0, "max_tokens": 96, "seed": 1}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scope-eval", description="Avg@n and Pass@n with problem-clustered standard errors.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="score one model")
    run.add_argument("--model")
    pair = commands.add_parser("pair", help="score two models on the same problems, paired by problem")
    pair.add_argument("--run", type=Path, help="a training run: its student, its model and its config's eval section are the defaults")
    pair.add_argument("--before")
    pair.add_argument("--after")
    for command in (run, pair):
        command.add_argument("--data", help=".jsonl with id, problem, answer and optionally stratum")
        command.add_argument("--samples", type=int, help="n: samples of each problem (default 16)")
        command.add_argument("--temperature", type=float, help="default 0.6")
        command.add_argument("--top-p", type=float, help="default 1.0")
        command.add_argument("--max-tokens", type=int, help="longest response (default 96)")
        command.add_argument("--seed", type=int, help="default 1")
        command.add_argument("--limit", type=int, help="only the first problems")
        command.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    try:
        models = complete(options)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with quiet(options.out / "eval.log") as (out, err):
        results = [evaluate(model, options, err) for model in models]
        if options.command == "run":
            (result,) = results
            write_samples(options.out / "samples.jsonl", result["samples"])
            (options.out / "results.json").write_text(json.dumps(describe(options.model, result, options), indent=2) + "\n")
            print_table({"model": metrics.score(result["correct"])}, options.samples, len(result["correct"]), out)
        else:
            for name, result in zip(("before", "after"), results, strict=True):
                write_samples(options.out / f"samples_{name}.jsonl", result["samples"])
            before, after = results
            summary = compare(before, after, options.samples)
            (options.out / "pair.json").write_text(json.dumps(summary, indent=2) + "\n")
            print_table({k: summary[k] for k in ("before", "after", "difference")}, options.samples, summary["n"], out)
    return 0


def complete(options) -> list[str]:
    """Fill in what was not given, from the run or the defaults; return the models. Raises ConfigError for what cannot work."""
    defaults: dict = dict(DEFAULTS)
    if run := getattr(options, "run", None):
        if not (run / "config.yaml").is_file():
            raise ConfigError(f"{run} is no run: there is no {run / 'config.yaml'}")
        config = Config.from_dict(yaml.safe_load((run / "config.yaml").read_text()))
        defaults = dataclasses.asdict(config.eval) | {"seed": config.seed, "before": config.student.path, "after": str(run / "model")}
        defaults |= {"data": defaults.pop("path") or None, "out": run / "eval"}
    for name, value in defaults.items():
        if getattr(options, name, None) is None:
            setattr(options, name, value)
    names = ["model"] if options.command == "run" else ["before", "after"]
    for name in [*names, "data", "out"]:
        if getattr(options, name) is None:
            raise ConfigError(f"--{name} is missing")
    if not Path(options.data).is_file():
        raise ConfigError(f"--data: there is no {options.data}")
    if options.samples < 1:
        raise ConfigError(f"--samples must be at least 1, got {options.samples}")
    models = [getattr(options, name) for name in names]
    for name, model in zip(names, models, strict=True):
        check_model(model, f"--{name}")
    options.out.mkdir(parents=True, exist_ok=True)
    return models


def evaluate(model: str, options, progress_to: TextIO) -> dict:
    """{"correct": (problems, n) bool, "strata": one per problem, "samples": rows} of a model on the data, through lm-eval."""
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from scope_eval.backend import ScopeVLLM

    logging.getLogger("lm_eval").setLevel(logging.WARNING)
    task = {  # lm-eval reads it from a file, which stays with the results and says how they were made
        "include": str(TASKS / "scope_tiny.yaml"),
        "task": "scope_tiny",
        "dataset_kwargs": {"data_files": {"test": options.data}},
        "repeats": options.samples,
        "filter_list": [{"name": "all", "filter": [{"function": "take_first_k", "k": options.samples}]}],
        "generation_kwargs": {
            "until": [], "do_sample": True, "temperature": options.temperature, "top_p": options.top_p, "max_gen_toks": options.max_tokens,
        },
    }  # fmt: skip
    task_file = (options.out / "task.yaml").absolute()
    task_file.write_text(yaml.safe_dump(task, sort_keys=False))
    lm = ScopeVLLM(model, seed=options.seed, progress_to=progress_to)
    try:
        results = simple_evaluate(
            lm, tasks=[str(task_file)], task_manager=TaskManager(include_path=str(TASKS)), apply_chat_template=True,
            limit=options.limit, bootstrap_iters=0, log_samples=True,
        )  # fmt: skip
        records = lm.records
    finally:
        lm.close()
    rows, correct, strata = [], [], []
    for sample in sorted(results["samples"]["scope_tiny"], key=lambda s: s["doc_id"]):
        doc = sample["doc"]
        correct.append([v == "right" for v in sample["verdicts"]])
        strata.append(doc.get("stratum", "all"))
        for i, (text, verdict) in enumerate(zip(sample["resps"][0], sample["verdicts"], strict=True)):
            record = records["scope_tiny", sample["doc_id"], i]
            rows.append({"id": doc["id"], "sample": i, "response": text, "verdict": verdict} | record)
    return {"correct": correct, "strata": strata, "samples": rows}


def compare(before: dict, after: dict, samples: int) -> dict:
    """Scores of both, their paired difference, and the same by stratum."""
    strata = {}
    for stratum in dict.fromkeys(before["strata"]):
        rows = [i for i, s in enumerate(before["strata"]) if s == stratum]
        strata[stratum] = {name: metrics.score([r["correct"][i] for i in rows]) for name, r in (("before", before), ("after", after))}
    return {
        "n": len(before["correct"]),
        "k": samples,
        "before": metrics.score(before["correct"]),
        "after": metrics.score(after["correct"]),
        "difference": metrics.paired_difference(before["correct"], after["correct"]),
        "strata": strata,
    }


def describe(model: str, result: dict, options) -> dict:
    """results.json of one model."""
    score = metrics.score(result["correct"])
    truncated = sum(r["finish_reason"] == "length" for r in result["samples"]) / len(result["samples"])
    settings = {k: getattr(options, k) for k in ("samples", "temperature", "top_p", "max_tokens", "seed", "limit")}
    correct, n = result["correct"], options.samples
    benchmark = {
        "problems": len(correct), "samples": n, "truncated": truncated, "avg": score["avg"], "stderr_avg": score["stderr_avg"],
        "avg_ci": metrics.avg_interval(correct), "pass": metrics.pass_curve(correct), "stderr_pass": score["stderr_pass"],
        "pass_ci": metrics.pass_interval(correct, n), "best_with_replacement": metrics.best_with_replacement(correct, n),
    }  # fmt: skip
    return {"model": model, "settings": settings, "benchmarks": {Path(options.data).stem: benchmark}}


def write_samples(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def print_table(scores: dict[str, dict], samples: int, problems: int, out: TextIO) -> None:
    print(f"{f'{problems} problems, {samples} samples each':<32}{f'Avg@{samples}':<18}{f'Pass@{samples}'}", file=out)
    for name, s in scores.items():
        stderr = s["stderr_avg" if "stderr_avg" in s else "stderr"]
        print(
            f"  {name:<30}{100 * s['avg']:6.2f} +- {100 * stderr:.2f}    {100 * s['pass']:6.2f} +- {100 * s['stderr_pass']:.2f}", file=out
        )


if __name__ == "__main__":
    sys.exit(main())
