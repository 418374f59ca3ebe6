"""The config that `scope-train init` writes: the keys that matter, each with a line of meaning."""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from scope_openrlhf import algorithms
from scope_openrlhf.run.schema import FILE

PLACES = ("laptop", "gpu", "cluster")
"""Where a run may be: CPUs alone, one GPU, or a Ray of many."""
SEQUENCE = {"laptop": 1024, "gpu": 4096, "cluster": 8192}
"""Tokens of a prompt with its response, where the model has room for them."""
BATCH = {"laptop": (8, 4), "gpu": (64, 8), "cluster": (128, 8)}
"""Prompts of a step, and samples of each."""
HINT = 64
"""Tokens that are kept for what an algorithm shows beside a problem."""
ON_A_PLACE = {
    "laptop": """\
  rollout.micro_batch_size: 4
  train.micro_batch_size: 4
  vllm.enforce_eager: true
  vllm.gpu_memory_utilization: 0.1        # on CPUs: share of the machine's memory
  ds.attn_implementation: sdpa
""",
    "gpu": """\
  train.colocate_all: true                # student and rollout engine take turns on the GPU
  vllm.enable_sleep: true
  ds.enable_sleep: true
  vllm.gpu_memory_utilization: 0.35       # share of the GPU for the rollout engine
  rollout.micro_batch_size: 4
  train.micro_batch_size: 1               # raise it if the GPU has room
  ds.attn_implementation: flash_attention_2
  ds.packing_samples: true
  actor.gradient_checkpointing_enable: true
""",
    "cluster": """\
  train.colocate_all: true                # student and rollout engines take turns on the same GPUs
  vllm.enable_sleep: true
  ds.enable_sleep: true
  vllm.gpu_memory_utilization: 0.7        # share of each GPU for its rollout engine
  rollout.micro_batch_size: 2             # of each GPU
  train.micro_batch_size: 1               # of each GPU
  ds.attn_implementation: flash_attention_2
  ds.packing_samples: true
  actor.gradient_checkpointing_enable: true
""",
}
TEACHER = {
    "laptop": """\
  gpu_memory_utilization: 0.1             # on CPUs: share of the machine's memory
  enforce_eager: true
""",
    "gpu": """\
  placement: colocate                     # on the student's GPU
  gpu_memory_utilization: 0.25
""",
    "cluster": """\
  replicas: 4                             # engines, each on a GPU of its own
  gpu_memory_utilization: 0.7
""",
}


def written(answers: Any, file: Path, rows: int, longest: int, limit: int) -> str:
    """The text of a config.

    file: that will hold it. rows: number of problems. longest, limit: tokens of the longest prompt, positions of the
    model; 0: unknown.
    """
    where, schema = answers.where, os.path.relpath(FILE, file.parent)
    gpus = 4 if where == "cluster" else 1
    prompts, samples = BATCH[where]
    prompts = min(prompts, 1 << (rows.bit_length() - 1))
    asks = algorithms.load(answers.algorithm).asks
    # a teacher's request and a hint must fit beside the response
    max_len = min(SEQUENCE[where], limit - 1) if limit else SEQUENCE[where]
    shown = min(HINT, max_len // 4) if asks.contexts or asks.hinted_prompts else 0
    response = max(max_len - (longest or max_len // 4) - shown, 1)
    teacher = ""
    if asks.teacher:
        path = f"  path: {quoted(answers.teacher)}    # scores; its tokenizer must be the student's\n"
        teacher = f"teacher:\n{path if answers.teacher else ''}{TEACHER[where]}"
    return aligned(f"""\
# yaml-language-server: $schema={schema}
# Written by `scope-train init`. `scope-train config` says what every key means, `scope-train plan` checks this file.
name: {quoted(file.stem)}    # the run's folder is runs/<name>
seed: 1
steps: 0                                  # rollout batches to train on; 0: one pass over the data

data:
  path: {quoted(answers.data)}
  prompt_key: {quoted(answers.prompt_key)}    # column of the problem
  answer_key: {quoted(answers.answer_key)}    # column of the gold answer
  # system: Put your final answer within \\boxed{{}}.    # if no problem asks for the box
student:
  path: {quoted(answers.model)}
{teacher}algorithm: {answers.algorithm}    # its knobs: scope-train config algorithm.{answers.algorithm}
# eval: {{path: heldout.jsonl, samples: 16, max_tokens: {response}}}    # scored before and after training
ray:
  address: {"auto" if where == "cluster" else "local"}    # local: a Ray of its own; auto: the one that runs

openrlhf:                                 # any flag of OpenRLHF's train_ppo_ray
  rollout.batch_size: {prompts}    # prompts of a step
  rollout.n_samples_per_prompt: {samples}
  rollout.temperature: {0.6 if answers.teacher else 1.0}
  rollout.max_new_tokens: {response}    # longest response
  data.max_len: {max_len}    # longest prompt with its response
  train.batch_size: {prompts * samples}    # rollouts of an optimiser step
  actor.adam.lr: {"1.0e-5" if where == "laptop" else "1.0e-6"}
  actor.max_norm: 1.0
  actor.num_gpus_per_node: {gpus}
  vllm.num_engines: {gpus}
  ds.zero_stage: 2
{ON_A_PLACE[where]}  ckpt.save_steps: 25                     # steps between checkpoints
""")


def aligned(text: str) -> str:
    """The text with the comments behind keys in one column, where there is room."""
    lines = (re.fullmatch(r"(\s*[^#\s].*?) +# (.*)", line) or line for line in text.splitlines())
    return "".join((line if isinstance(line, str) else f"{line[1]:<40}  # {line[2]}") + "\n" for line in lines)


def quoted(value: str) -> str:
    """A text as it may stand in YAML."""
    return yaml.safe_dump(value, width=10_000).splitlines()[0]
