"""Torch's kernels that stand in for compiled ones: attention of packed samples, and Adam.

Axes: M tokens of all samples in a row, V the vocabulary.
"""

import copy
from functools import partial

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen3Config

from scope_openrlhf.platform import varlen
from scope_openrlhf.run.gpu_check.judged import Found, Numbers, judge, working_type

LENGTHS = (70, 1, 300, 129)
"""Tokens of the packed samples."""
STEPS = 20
"""Of Adam."""


def attention(device: str, lengths: tuple[int, ...] = LENGTHS) -> Found:
    """Packed samples by torch's variable-length attention, against padded rows by its sdpa: log-probs and gradient."""
    size = dict(vocab_size=512, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4)
    window = dict(use_sliding_window=True, sliding_window=32, layer_types=["sliding_attention"] * 2)
    configs = {
        "causal": Qwen3Config(**size, num_key_value_heads=4, head_dim=64),
        "grouped heads": Qwen3Config(**size, num_key_value_heads=2, head_dim=128),
        "window": Qwen2Config(**size, num_key_value_heads=1, **window),
    }
    varlen.register()
    dtype = working_type(device)
    exact: Numbers = {}
    plain: Numbers = {}
    ours: Numbers = {}
    for name, config in configs.items():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").to(dtype)
        samples = [torch.randint(config.vocab_size, (n,)) for n in lengths]
        weights_MV = torch.randn(sum(lengths), config.vocab_size, dtype=torch.float64)
        numbers = partial(_log_probs_and_gradient, name, model, samples, weights_MV)
        exact |= numbers(packed=False, device="cpu", dtype=torch.float64)
        plain |= numbers(packed=False, device=device, dtype=dtype)
        ours |= numbers(packed=True, device=device, dtype=dtype)
    return judge(exact, plain, ours, dtype)


def _log_probs_and_gradient(
    name: str,
    model: torch.nn.Module,
    samples: list[Tensor],
    weights_MV: Tensor,
    *,
    packed: bool,
    device: str,
    dtype: torch.dtype,
) -> Numbers:
    """Of a copy of the model there, with the samples one after the other in a row, or padded to rows of one length."""
    model = copy.deepcopy(model).to(device, dtype)
    model.set_attn_implementation(varlen.NAME if packed else "sdpa")
    if packed:
        places = torch.cat([torch.arange(len(s)) for s in samples])[None]
        logits_MV = model(torch.cat(samples)[None].to(device), position_ids=places.to(device)).logits[0]
    else:
        rows = torch.nn.utils.rnn.pad_sequence(samples, batch_first=True).to(device)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(s) for s in samples], batch_first=True).to(device)
        logits_MV = model(rows, attention_mask=mask).logits[mask.bool()]
    logp_MV = logits_MV.to(torch.promote_types(dtype, torch.float32)).log_softmax(-1)
    (logp_MV * weights_MV.to(device)).sum().backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    named = {"log-probs": logp_MV.detach(), "gradient": gradient}
    return {f"{what}, {name}": value.double().cpu() for what, value in named.items()}


def adam(device: str, size: int = 100_000) -> Found:
    """Torch's fused AdamW, which runs ask of DeepSpeed, on params in float32 with gradients that were bf16."""
    rng = torch.Generator().manual_seed(0)
    start = torch.randn(size, generator=rng)
    gradients = [torch.randn(size, generator=rng).bfloat16() for _ in range(STEPS)]

    def moved(where: str, dtype: torch.dtype, **kind: bool) -> Numbers:
        param = torch.nn.Parameter(start.to(where, dtype, copy=True))
        optimizer = torch.optim.AdamW([param], lr=1e-3, betas=(0.9, 0.95), weight_decay=0.01, **kind)
        for gradient in gradients:
            param.grad = gradient.to(where, dtype)
            optimizer.step()
        return {f"way of {STEPS} steps": param.detach().double().cpu() - start.double()}

    exact = moved("cpu", torch.float64, foreach=False)
    plain, ours = (moved(device, torch.float32, **kind) for kind in ({"foreach": False}, {"fused": True}))
    return judge(exact, plain, ours, torch.float32)
