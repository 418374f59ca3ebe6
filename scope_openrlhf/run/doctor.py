"""scope-train doctor: one table of what this machine has, what will be slow or fail, and what to type."""

import tempfile
from pathlib import Path
from typing import TextIO

from scope_openrlhf.platform.facts import Facts, gather
from scope_openrlhf.run.diagnosis import Asked, Row, diagnose
from scope_openrlhf.run.errors import RunError
from scope_openrlhf.run.terminal import quiet
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError

GIB = 2**30


def doctor(config: Config | None) -> None:
    """Print the table. Raises RunError if a run cannot start so."""
    with tempfile.TemporaryDirectory() as folder, quiet(Path(folder) / "log") as (out, _):
        facts = gather(config.runs if config else "runs")
        asked, why = asked_of(config, facts) if config else (None, "")
        rows = diagnose(facts, asked) + ([Row("config", "FAIL", why)] if why else [])
        show(rows, f"Python {facts.python}, {facts.cores} cores" + (f"; {config.name}" if config else ""), out)
    if failed := [row.what for row in rows if row.state == "FAIL"]:
        raise RunError(f"a run cannot start: {', '.join(failed)}")


def asked_of(config: Config, facts: Facts) -> tuple[Asked | None, str]:
    """(what the config asks of a machine, why that cannot be told)."""
    try:
        # the training stack, which may be missing, as the table then says
        from scope_openrlhf.run import memory
        from scope_openrlhf.run.dry_run import fits
        from scope_openrlhf.run.plan import make_plan

        plan = make_plan(config, dry=True)
        shapes = memory.shapes_of(plan.run)
        smallest = min((gpu.total_gib for gpu in facts.gpus), default=0.0)
        too_large = fits(plan, shapes, smallest)[1] if smallest else []
    except ModuleNotFoundError:
        return None, ""
    except ConfigError as error:
        return None, str(error)
    args, started = plan.args, [t for t in plan.run.teachers.values() if t.started_here]
    params = next(iter(shapes.values())).params
    kept = args.ckpt.max_num + 1 if args.ckpt.save_steps > 0 else 1
    shares = [args.vllm.gpu_memory_utilization, *(t.gpu_memory_utilization for t in started)]
    models = [config.student.path, *(t.path for t in started)]
    return Asked(
        gpus=plan.gpus,
        address=config.ray.address,
        engine_share=max(shares),
        ring=args.ds.ring_attn_size > 1,
        checkpoint_gib=(14 * kept + 2) * params / GIB,  # bf16, and in fp32 params and Adam's two averages
        host_gib=0.0 if facts.gpus else sum(memory.of_this_machine(plan, shapes).values()),
        missing_models=tuple(dict.fromkeys(model for model in models if not _is_here(model))),
        too_large=tuple(too_large),
    ), plan.missing


def _is_here(model: str) -> bool:
    """Whether a model is a folder, or in the cache of Hugging Face."""
    if not model or Path(model).is_dir():
        return True
    from huggingface_hub import try_to_load_from_cache  # of the training stack

    return isinstance(try_to_load_from_cache(model, "config.json"), str)


def show(rows: list[Row], title: str, out: TextIO) -> None:
    """The table as text: a line each, and below it what to type."""
    print(f"scope-train doctor: {title}", file=out)
    for row in rows:
        print(f"  {row.what:<14}{row.state:<6}{row.found}", file=out)
        if row.advice:
            print(f"{'':<22}-> {row.advice}", file=out)
    counts = {state: sum(row.state == state for row in rows) for state in ("FAIL", "slow")}
    said = [f"{counts['FAIL']} will fail" if counts["FAIL"] else "a run can start", f"{counts['slow']} will be slow"]
    print("; ".join(said), file=out, flush=True)
