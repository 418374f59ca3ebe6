"""make bench-driver: what a step costs the driver itself, and its share of a whole step.

At 1,000, 10,000 and 100,000 rollouts of 1,000 tokens. Ours is the real path: responses as rollout engines give them ->
OpenRLHF's Experience objects -> the trainer's train_step, with OpenRLHF's concatenation and its hand-over to eight
training ranks through Ray's object store. Engines that compute nothing stand at both ends, and their seconds are left
out. Each size runs in a process of its own, with one thread, as in a run. The other is a GRPO step of plain OpenRLHF:
1,000 rollouts of 1,000 tokens by the tiny student, on real Ray, vLLM and DeepSpeed.
"""

import copy
import json
import os
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import ray
from bench_weights import resident
from openrlhf.utils.agent import SingleTurnAgentExecutor

from scope_openrlhf.host import machine
from scope_openrlhf.platform import cpu
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.resolved import RUN_VARIABLE, Run

SIZES = {1_000: 5, 10_000: 3, 100_000: 1}
"""Rollouts, and how often they are measured; the first is the size of the comparison."""
ZERO_COPY = {"RAY_ENABLE_ZERO_COPY_TORCH_TENSORS": "1"}  # as OpenRLHF sets it; Ray reads it when it is imported
PLAIN_STEPS, SAMPLES, PROMPT, TOKENS, RANKS, VOCABULARY = 2, 8, 24, 1_000, 8, 151_936


class AgentExecutor(SingleTurnAgentExecutor):
    """OpenRLHF's own executor, but every rollout goes on to its 1,000th token.

    The rollout engine of the plain step loads it from this file.
    """

    def __init__(self) -> None:
        super().__init__(remote_rm_url=[str(Path("scope_openrlhf/verifier/reward.py").absolute())])

    async def execute(self, prompt, label, sampling_params, *args, **kwargs):
        sampling_params = copy.copy(sampling_params)
        sampling_params.ignore_eos = True
        return await super().execute(prompt, label, sampling_params, *args, **kwargs)


def start_ray(**kwargs) -> None:
    env = cpu.environment() | ZERO_COPY | {"PYTHONPATH": str(Path(__file__).parent.absolute()), RUN_VARIABLE: "bench"}
    os.environ |= env  # the driver of a run is itself a worker
    hook = {"env_vars": env, "worker_process_setup_hook": "scope_openrlhf.host.machine.install"}
    ray.init(include_dashboard=False, log_to_driver=False, runtime_env=hook, **kwargs)


def plain(folder: Path) -> dict[str, list[float]]:
    """Seconds of each GRPO step of plain OpenRLHF, by stage; its own command line, its own log."""
    model = shutil.copytree("examples/tiny/student", folder / "student")
    # the tiny student has 128 positions
    for name, key in (("config.json", "max_position_embeddings"), ("tokenizer_config.json", "model_max_length")):
        (model / name).write_text(json.dumps(json.loads((model / name).read_text()) | {key: 2 * TOKENS}))
    os.environ["OMP_NUM_THREADS"] = "2"  # its stages take turns, so each may have both cores
    machine.install()
    start_ray(num_cpus=4, num_gpus=2, object_store_memory=2**30)
    rollouts = min(SIZES)
    flags = {
        "actor.model_name_or_path": model,
        "data.prompt_dataset": Path("examples/tiny/train.jsonl").absolute(),
        "data.input_key": "problem",
        "data.label_key": "answer",
        "data.apply_chat_template": None,
        "data.max_len": TOKENS + 64,
        "rollout.temperature": 0.6,
        "data.max_samples": PLAIN_STEPS * rollouts // SAMPLES,
        "train.agent_func_path": Path(__file__).absolute(),
        "algo.advantage.estimator": "group_norm",
        "algo.kl.init_coef": 0,
        "rollout.batch_size": rollouts // SAMPLES,
        "rollout.n_samples_per_prompt": SAMPLES,
        "rollout.max_new_tokens": TOKENS,
        "rollout.micro_batch_size": 20,
        "train.batch_size": rollouts,
        "train.micro_batch_size": 20,
        "actor.num_gpus_per_node": 1,
        "vllm.num_engines": 1,
        "vllm.enforce_eager": None,
        "vllm.gpu_memory_utilization": 0.1,
        "ds.zero_stage": 2,
        "ds.attn_implementation": "sdpa",
        "ckpt.output_dir": folder / "model",
        "ckpt.path": folder / "checkpoints",
        "logger.tensorboard_dir": folder,
        "logger.wandb.run_name": "plain",
    }
    words = [(f"--{flag}", value and str(value)) for flag, value in flags.items()]
    sys.argv = ["openrlhf", *(word for pair in words for word in pair if word is not None)]
    runpy.run_module("openrlhf.cli.train_ppo_ray", run_name="__main__")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(folder / "plain"))
    log.Reload()
    assert {e.value for e in log.Scalars("train/rollout/response_length_mean")} == {TOKENS}
    stages = ("generation", "make_experience", "ppo_train", "broadcast", "step_total")
    return {stage: [round(e.value, 2) for e in log.Scalars(f"train/timing/{stage}")] for stage in stages}


class Rank:
    """Stand-in for a training rank.

    It answers `forward` with log-probs of the right shape, and takes whatever else it is sent.
    """

    def __init__(self) -> None:
        self.seconds, self.mib = 0.0, {"forward": 0.0, "log-probs": 0.0, "append": 0.0}
        self.execute_batch = SimpleNamespace(remote=self.work)

    def work(self, method: str, chunk: ray.ObjectRef, start: int, end: int) -> ray.ObjectRef:
        import torch

        clock = time.perf_counter()
        masks = ray.get(chunk)["action_mask"] if method == "forward" else []
        answer = ray.put([-torch.rand(mask.shape) for mask in masks])
        self.mib[method] += stored([chunk])
        self.mib["log-probs"] += stored([answer])
        self.seconds += time.perf_counter() - clock
        return answer


def stored(refs: list) -> float:
    """MiB that objects take in the object store."""
    return sum(found["object_size"] for found in ray.experimental.get_object_locations(refs).values()) / 2**20


def response(rng, order: int) -> dict:
    """Response of 1,000 tokens, as the AgentExecutor of host/rollout.py gives it.

    Every other one is right, by chance; the teacher scored those that are not.
    """
    import numpy as np

    from scope_openrlhf.data.problem import Problem
    from scope_openrlhf.equations.batch import Attempt
    from scope_openrlhf.host import luggage
    from scope_openrlhf.teacher.contract import Score

    ids, right = rng.integers(5, VOCABULARY, PROMPT + TOKENS, dtype=np.int32), bool(rng.random() < 0.5)
    none = np.zeros((len(ids) - 1, 0), np.int32)
    score = None
    if not right:
        logprobs = -rng.random(len(ids) - 1, dtype=np.float32)
        score = Score(ids[1:], logprobs, none, none.astype(np.float32))
    problem = Problem(id=f"train-{order}", prompt="1+1?" * 10, answer="57")
    attempt = Attempt(problem, "1+1=2;" * (TOKENS // 2), "57", "right" if right else "wrong")
    packed = {
        "prompt": problem.prompt,
        "label": luggage.pack_label(problem, order),
        "images": None,
        "mm_train_inputs": None,
        "observation_tokens": ids.tolist(),
        "action_ranges": [(PROMPT, PROMPT + TOKENS)],
        "rollout_log_probs": None,
        "truncated": False,
    }
    luggage.pack_response(packed, attempt, score, asked=time.time() - 0.1)
    return packed


def driver(rollouts: int, repeats: int, folder: Path) -> dict:
    """Seconds of each step by part, MiB through the object store, and MiB of this process at the peak."""
    machine.install()
    import numpy as np
    import torch
    import transformers
    from openrlhf.trainer.ppo_trainer import BasePPOTrainer
    from openrlhf.trainer.ray.launcher import RayActorGroup

    from scope_openrlhf.files.stage import Stage
    from scope_openrlhf.host import flags
    from scope_openrlhf.host.rollout import ScopeSamplesGenerator
    from scope_openrlhf.host.trainer import ScopeTrainer

    torch.set_num_threads(1)
    start_ray(num_cpus=1, object_store_memory=max(2**28, 100_000 * rollouts))
    overrides = [
        f"rollout.batch_size={rollouts // SAMPLES}",
        f"train.batch_size={rollouts}",
        "rollout.micro_batch_size=8",
        "train.micro_batch_size=1",
        f"data.max_len={PROMPT + TOKENS}",
        f"actor.num_gpus_per_node={RANKS}",
    ]
    config = Config.load("examples/cpu_tiny.yaml", [f"runs={folder}", *(f"openrlhf.{o}" for o in overrides)])
    (config.run_dir / "logs").mkdir(parents=True)
    (config.run_dir / "prompts.jsonl").touch()
    of_config = {"folder": str(config.run_dir), "student": config.student, "algorithm": config.algorithm}
    run = Run(name="r", seed=1, teachers={}, **of_config)
    os.environ[RUN_VARIABLE] = run.to_json()
    strategy = SimpleNamespace(args=flags.resolve_args(config))
    tokenizer = transformers.AutoTokenizer.from_pretrained(config.student.path)
    ranks, rank = RayActorGroup.__new__(RayActorGroup), Rank()
    ranks._actor_handlers, ranks.duplicate_actors, ranks.async_run_method = [rank] * RANKS, 1, lambda **_: [ray.put({})]
    trainer = ScopeTrainer.__new__(ScopeTrainer)
    BasePPOTrainer.__init__(trainer, strategy, ranks, None, None, None, None, tokenizer)
    trainer.exchange_parts()
    generator = ScopeSamplesGenerator(
        top_k=0,
        sleepers=[],
        patience_seconds=1.0,
        stage=Stage(config.run_dir),
        strategy=strategy,
        prompts_dataloader=None,
        eval_dataloader=None,
        vllm_engines=None,
    )
    parts = ("responses -> rollouts", "train_step", "of it compute_advantages_and_returns")
    seconds: dict[str, list[float]] = {part: [] for part in parts}
    weigh = trainer.experience_maker.compute_advantages_and_returns

    def clocked(experiences):
        start = time.perf_counter()
        experiences = weigh(experiences)
        seconds["of it compute_advantages_and_returns"].append(time.perf_counter() - start)
        return experiences

    trainer.experience_maker.compute_advantages_and_returns = clocked
    rng, before, peak = np.random.default_rng(0), resident("VmRSS"), 0.0
    for step in range(repeats):
        groups = [ray.put([response(rng, order) for _ in range(SAMPLES)]) for order in range(rollouts // SAMPLES)]
        mib, rank.seconds, rank.mib = stored(groups), 0.0, dict.fromkeys(rank.mib, 0.0)
        samples, start = [], time.perf_counter()
        while groups:
            for row in ray.get(groups.pop()):
                samples.append(generator._process_response_into_experience(row, max_len=PROMPT + TOKENS))
        ready = time.perf_counter()
        trainer.train_step(samples, step)
        seconds["responses -> rollouts"].append(ready - start)
        seconds["train_step"].append(time.perf_counter() - ready - rank.seconds)
        # of the first step: what a process has once taken it does not all give back
        peak = peak or resident("VmHWM") - before
    return {"seconds": seconds, "peak": peak, "mib": {"responses": mib} | rank.mib}


def measure(*words) -> dict:
    """Answer of one of the functions above, called in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, *map(str, words), folder]
        done = subprocess.run(command, env=os.environ | ZERO_COPY, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    own = {}
    for rollouts, repeats in SIZES.items():
        found = measure("driver", rollouts, repeats)
        part = {name: statistics.median(s) for name, s in found["seconds"].items()}
        own[rollouts] = part["responses -> rollouts"] + part["train_step"]
        parts = ", ".join(f"{k} {v:.2f}" for k, v in part.items())
        stored_mib = ", ".join(f"{k} {v:.0f}" for k, v in found["mib"].items())
        print(
            f"{rollouts:>7} rollouts: {own[rollouts]:.2f} s, {1000 * own[rollouts] / rollouts:.2f} per 1,000 "
            f"({parts}); {found['peak']:.0f} MiB at the peak, {1000 * found['peak'] / rollouts:.0f} per 1,000; "
            f"MiB through the object store: {stored_mib}",
            flush=True,
        )
    most, least = (1000 * pick(own[n] / n for n in SIZES) for pick in (max, min))
    verdict = "linear" if most < 2 * least else "NOT linear"
    print(f"{verdict}: from {least:.2f} to {most:.2f} s per 1,000 rollouts", flush=True)
    stages, small = measure("plain"), min(SIZES)
    plain_step = f"plain OpenRLHF, GRPO, {small} rollouts of {TOKENS} tokens by the tiny student"
    print(f"{plain_step}: seconds {json.dumps(stages)}")
    ours, other = own[small], statistics.median(stages["step_total"])
    print(f"the driver's own part, {ours:.2f} s, is {ours / other:.2%} of such a step")
    times = {"ratio": round(other / ours), "ours": round(ours, 2), "other": round(other, 1)}
    print(json.dumps({"name": "driver", **times, "unit": "s", "n": PLAIN_STEPS}))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        what, *numbers, folder = sys.argv[1:]
        found = {"driver": driver, "plain": plain}[what](*map(int, numbers), Path(folder))
        print(f"\n{json.dumps(found)}")
        ray.shutdown()
