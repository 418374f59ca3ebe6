"""The numbers that OpenRLHF's flags may hold. Its own parser takes any, and fails once its engines stand."""

from typing import Any

from scope_openrlhf.settings.ranges import Range

COUNT, COUNT_OR_ZERO = Range(least=1), Range(least=0)
COUNT_OR_OFF = Range(least=1, off=-1)
"""Steps between two events; -1: never."""
POSITIVE, NOT_NEGATIVE = Range(above=0), Range(least=0)
SHARE, SHARE_OR_ZERO = Range(above=0, most=1), Range(least=0, most=1)
NOT_ALL = Range(least=0, below=1)
ANY = Range()

OF_AN_OPTIMISER = {
    "adam.lr": POSITIVE,
    "adam.betas": NOT_ALL,
    "adam.eps": POSITIVE,
    "adam.weight_decay": NOT_NEGATIVE,
    "muon.lr": POSITIVE,
    "muon.momentum": NOT_ALL,
    "muon.ns_steps": COUNT,
    "lr_warmup_ratio": SHARE_OR_ZERO,
    "min_lr_ratio": SHARE_OR_ZERO,
    "max_norm": NOT_NEGATIVE,
}
MODELS = ("actor", "critic", "ref", "reward")
RANGES: dict[str, Range] = {
    **{f"{model}.{what}": COUNT for model in MODELS for what in ("num_nodes", "num_gpus_per_node")},
    **{f"{model}.{flag}": within for model in MODELS[:2] for flag, within in OF_AN_OPTIMISER.items()},
    "actor.aux_loss_coef": NOT_NEGATIVE,
    "critic.freezing_steps": Range(least=-1),
    "critic.value_clip": POSITIVE,
    "vllm.num_engines": COUNT,
    "vllm.tensor_parallel_size": COUNT,
    "vllm.gpu_memory_utilization": SHARE,
    "rollout.batch_size": COUNT,
    "rollout.micro_batch_size": COUNT,
    "rollout.n_samples_per_prompt": COUNT,
    "rollout.max_new_tokens": COUNT,
    "rollout.max_tokens_per_gpu": COUNT,
    "rollout.temperature": POSITIVE,
    "rollout.top_p": SHARE,
    "train.batch_size": COUNT,
    "train.micro_batch_size": COUNT,
    "train.max_epochs": COUNT,
    "train.max_tokens_per_gpu": COUNT,
    "train.async_queue_size": COUNT,
    "train.ema_beta": SHARE_OR_ZERO,
    "data.max_len": COUNT,
    "data.dataloader_num_workers": COUNT_OR_ZERO,
    "ds.zero_stage": Range(least=0, most=3),
    "ds.zpg": COUNT,
    "ds.tensor_parallel_size": COUNT,
    "ds.ring_attn_size": COUNT,
    "ds.ring_attn_head_stride": COUNT,
    "ds.lora.rank": COUNT_OR_ZERO,
    "ds.lora.alpha": COUNT,
    "ds.lora.dropout": NOT_ALL,
    "algo.advantage.is_correction_threshold": NOT_NEGATIVE,
    "algo.advantage.lambd": SHARE_OR_ZERO,
    "algo.advantage.gamma": SHARE_OR_ZERO,
    "algo.kl.target": POSITIVE,
    "algo.kl.horizon": COUNT,
    "algo.dynamic_filtering_range": SHARE_OR_ZERO,
    "reward.clip_range": ANY,
    "reward.overlong_penalty_factor": NOT_NEGATIVE,
    "eval.steps": COUNT_OR_OFF,
    "eval.temperature": NOT_NEGATIVE,
    "eval.n_samples_per_prompt": COUNT,
    "ckpt.save_steps": COUNT_OR_OFF,
    "ckpt.max_num": COUNT,
    "ckpt.max_mem": Range(above=0, infinite=True),
    "logger.logging_steps": COUNT,
    "local_rank": Range(least=-1),
}
"""Every flag of OpenRLHF that takes numbers and is passed on."""


def check_flag(flag: str, value: Any) -> None:
    """Raise ConfigError for a number outside its flag's range. What is no number is left to OpenRLHF's parser."""
    for one in value if isinstance(value, list) else [value]:
        try:
            number = float(one)
        except (TypeError, ValueError):
            continue
        if flag in RANGES and not isinstance(one, bool):
            RANGES[flag].check(int(number) if number.is_integer() else number, f"openrlhf.{flag}")
