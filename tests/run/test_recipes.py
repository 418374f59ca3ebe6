"""The recipes in examples/ against what was published: flags as OpenRLHF's parser resolves them, knobs as they count.

The values here were read off the published scripts and papers, each in its own units, not off the recipes: batches in
prompts, lengths as prompt and response.
"""

import re
import shlex
from functools import reduce
from pathlib import Path

import pytest

from scope_openrlhf.run.cli import main
from scope_openrlhf.run.plan import make_plan
from scope_openrlhf.settings.config import Config

RECIPES = {file.stem: file for file in sorted(Path("examples").glob("*.yaml")) if not file.stem.startswith("cpu_")}

ADAMW = {"betas": [0.9, 0.999], "decay": 0.01, "schedule": "constant", "warmup": 0.0, "norm": 1.0}
"""verl's and EasyR1's optimiser where a script says nothing."""
SCOPE = ADAMW | {
    "prompts": 256, "samples": 8, "mini_batch": 256, "prompt": 2048, "response": 12288, "temperature": 0.6,
    "top_p": 1.0, "lr": 5e-5, "normalize": "tokens", "clip": (0.2, 0.2), "dual_clip": 3.0, "steps": 100,
}  # fmt: skip
R1 = {"student": "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "teacher": "Skywork/Skywork-OR1-Math-7B"}
QWEN = {"student": "Qwen/Qwen3-1.7B-Base", "teacher": "Qwen/Qwen3-8B"}
GRPO = {"algorithm": "grpo", "teacher": None}
WEIGHTED = {"algorithm": "scope", "tau": 1.0}
PUBLISHED = {
    "scope_r1_1.5b": SCOPE | R1 | WEIGHTED,
    "scope_qwen3_1.7b": SCOPE | QWEN | WEIGHTED,
    "scope_r1_1.5b_80gb": SCOPE | R1 | WEIGHTED | {"prompts": 32, "mini_batch": 32},
    "scope_r1_1.5b_24gb": SCOPE | R1 | WEIGHTED | {
        "prompts": 16, "mini_batch": 16, "prompt": 1024, "response": 6144, "lr": 1e-4, "lora": (64, 128),
    },
    "opd_r1_1.5b": SCOPE | R1 | {"algorithm": "opd", "samples": 1},
    "opd_qwen3_1.7b": SCOPE | QWEN | {"algorithm": "opd", "samples": 1},
    "opd_g8_r1_1.5b": SCOPE | R1 | {"algorithm": "opd"},
    "opd_g8_qwen3_1.7b": SCOPE | QWEN | {"algorithm": "opd"},
    "grpo_r1_1.5b": SCOPE | R1 | GRPO,
    "grpo_qwen3_1.7b": SCOPE | QWEN | GRPO | {"response": 10240},
    "rlsd_qwen3_8b": ADAMW | {
        "algorithm": "rlsd", "student": "Qwen/Qwen3-8B", "teacher": None, "prompts": 256, "samples": 8,
        "mini_batch": 256, "prompt": 16384, "response": 4096, "temperature": 1.0, "top_p": 1.0, "lr": 1e-6,
        "normalize": "tokens", "clip": (0.2, 0.28), "dual_clip": 3.0, "mix": 0.5, "mix_steps": 60, "clip_weight": 0.2,
        "mix_first_step": 1, "context_scorer": "student",
    },
    "cepo_qwen3_1.7b": ADAMW | {
        "algorithm": "cepo", "student": "Qwen/Qwen3-1.7B", "teacher": None, "prompts": 32, "samples": 8,
        "mini_batch": 16, "prompt": 768, "response": 2048, "temperature": 1.0, "top_p": 1.0, "lr": 5e-6, "steps": 50,
        "normalize": "tokens", "clip": (0.2, 0.28), "dual_clip": 3.0, "mix": 0.5, "mix_steps": 25, "clip_weight": 0.2,
        "no_wrong": "grpo", "lora": (16, 64),
    },
    "smepo_qwen3_8b": ADAMW | {
        "algorithm": "smepo", "student": "Qwen/Qwen3-8B-Base", "teacher": None, "prompts": 32, "samples": 8,
        "mini_batch": 8, "prompt": 4096, "response": 12288, "temperature": 0.8, "top_p": 1.0, "lr": 1e-6, "steps": 500,
        "normalize": "sequences", "clip": (0.0, 5.0), "dual_clip": 3.0, "ratio": 1.0, "cut": "line",
        "decay": 0.1, "schedule": "cosine_with_min_lr", "least_rate": 0.0, "warmup": 0.1,
    },
    "opsd_qwen3_1.7b": ADAMW | {
        "algorithm": "opsd", "student": "Qwen/Qwen3-1.7B", "teacher": "Qwen/Qwen3-1.7B", "prompts": 32, "samples": 1,
        "mini_batch": 32, "response": 2048, "temperature": 1.1, "top_p": 0.95, "lr": 2e-4, "decay": 0.0,
        "divergence": "topk_jsd", "context_scorer": "initial", "lora": (64, 128),
    },
    "sdpo_qwen3_8b": ADAMW | {
        "algorithm": "sdpo", "student": "Qwen/Qwen3-8B", "teacher": "Qwen/Qwen3-8B", "prompts": 32, "samples": 8,
        "mini_batch": 32, "prompt": 2048, "response": 8192, "temperature": 1.0, "top_p": 1.0, "lr": 1e-5,
        "divergence": "topk_jsd", "top_k": 100, "truncated_feedback": "", "no_answer_feedback": "",
        "schedule": "constant_with_warmup", "warmup": 10 / 200, "steps": 200,
        "correction": ("token", "clip", [0.0, 2.0]),
    },
}  # fmt: skip
"""mini_batch: prompts an optimiser step. lora: rank and alpha. decay: Adam's weight decay. least_rate: share of lr."""

ONE_GPU = ("scope_r1_1.5b_80gb", "scope_r1_1.5b_24gb")
"""Recipes of ours for one card: what they change of the published one stands in the table too."""

FLAGS = {
    "prompts": "rollout.batch_size",
    "samples": "rollout.n_samples_per_prompt",
    "response": "rollout.max_new_tokens",
    "temperature": "rollout.temperature",
    "top_p": "rollout.top_p",
    "lr": "actor.adam.lr",
    "betas": "actor.adam.betas",
    "decay": "actor.adam.weight_decay",
    "schedule": "actor.lr_scheduler",
    "warmup": "actor.lr_warmup_ratio",
    "least_rate": "actor.min_lr_ratio",
    "norm": "actor.max_norm",
}
"""Names here -> OpenRLHF's flags, where they mean the same."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A hundred and twenty-eight problems with every column that a recipe names, and no hub."""
    import datasets  # a second
    import huggingface_hub.constants

    row = {"prompt": [{"role": "user", "content": "1+1?"}], "reward_model": {"ground_truth": "2"}, "answer": "2"}
    row |= {"problem": "1+1?", "question": "1+1?", "solution": r"It is \boxed{2}.", "teacher_ds": "1+1=2\nIt is 2."}
    row |= {"final_answer": "2"}
    file = tmp_path_factory.mktemp("data") / "d.parquet"
    datasets.Dataset.from_list([row] * 256).to_parquet(str(file))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        yield f"data.path={file}"


def found(recipe: str, data: str) -> dict:
    """What a recipe resolves to, under the names of the table."""
    plan = make_plan(Config.load(RECIPES[recipe], [data]), dry=True)
    args, knobs = plan.args, plan.algorithm.knobs
    values = vars(knobs) | {name: reduce(getattr, flag.split("."), args) for name, flag in FLAGS.items()}
    correction = args.algo.advantage
    return values | {
        "algorithm": plan.run.algorithm["name"],
        "student": plan.run.student.path,
        "teacher": next((t.path for t in plan.run.teachers.values()), None),
        "mini_batch": args.train.batch_size // args.rollout.n_samples_per_prompt,
        "prompt": args.data.max_len - args.rollout.max_new_tokens,
        "betas": list(args.actor.adam.betas),
        "clip": (knobs.clip_low, knobs.clip_high),
        "lora": (args.ds.lora.rank, args.ds.lora.alpha),
        "steps": plan.steps,
        "correction": (
            correction.is_correction_level,
            correction.is_correction_mode,
            correction.is_correction_threshold,
        ),
    }


def test_the_table_has_every_recipe():
    assert PUBLISHED.keys() == RECIPES.keys()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_resolves_to_what_was_published(recipe, data):
    values = found(recipe, data)
    assert {name: values[name] for name in PUBLISHED[recipe]} == PUBLISHED[recipe]
    assert "dual_clip" in PUBLISHED[recipe] or values["dual_clip"] == 0.0
    assert values["truncated"] == "wrong"


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_names_its_sources_and_a_plan_that_fits(recipe, data, capfd):
    text = RECIPES[recipe].read_text()
    base = re.search(r"^base: (\S+)$", text, re.MULTILINE)
    gpus = 1 if recipe in ONE_GPU else 8
    if not base:
        assert "github.com/" in text and re.search(r" at [0-9a-f]{7},", text)
    command, *_ = re.findall(r"^#\s+scope-train (plan .*)$", text, re.MULTILINE)
    assert shlex.split(command)[2] == str(RECIPES[recipe]) and Config.load(RECIPES[recipe], []).name == recipe
    assert main([*shlex.split(command), data]) == 0
    assert f"dry run of {recipe}: {PUBLISHED[recipe]['algorithm']}, {gpus} GPUs" in capfd.readouterr().out


def test_a_recipe_for_one_card_says_how_large_it_must_be(capfd):
    for recipe, fits, not_in in (("scope_r1_1.5b_24gb", "24", "22"), ("scope_r1_1.5b_80gb", "80", "48")):
        command = ["plan", "--config", str(RECIPES[recipe]), "--gpu-memory"]
        assert main([*command, fits]) == 0 and f"memory, of {fits} GiB a GPU" in capfd.readouterr().out
        assert main([*command, not_in]) == 2 and "it does not fit: " in capfd.readouterr().err
