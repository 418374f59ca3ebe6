"""Gaps between a vLLM engine and its trainer after each of several syncs, for test_cpu.py.

Prints as JSON {params that moved: largest gap in nats}.
"""

import json
import os

from scope_openrlhf.platform import cpu

cpu.install()
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
import torch  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402
from vllm import LLM, SamplingParams  # noqa: E402
from vllm.inputs import TokensPrompt  # noqa: E402

STUDENT, IDS = "examples/tiny/student", [3, 9, 6, 4, 7, 8, 5, 9, 10, 11, 6, 12]
GROUPS = ("embed_tokens", "q_proj", "v_proj", "o_proj", "gate_proj", "layernorm", "model.norm")


def gap(engine: LLM, trainer) -> float:
    """Largest difference in nats between the two, over the tokens of IDS."""
    params = SamplingParams(max_tokens=1, prompt_logprobs=1)
    said = engine.generate([TokensPrompt(prompt_token_ids=IDS)], params, use_tqdm=False)
    theirs = torch.tensor([said[0].prompt_logprobs[i][IDS[i]].logprob for i in range(1, len(IDS))])
    with torch.no_grad():
        logp = trainer(torch.tensor([IDS])).logits.log_softmax(-1)[0, :-1]
    return (theirs - logp.gather(1, torch.tensor(IDS[1:])[:, None])[:, 0]).abs().max().item()


if __name__ == "__main__":
    engine = LLM(
        STUDENT,
        max_model_len=128,
        enforce_eager=True,
        gpu_memory_utilization=0.1,
        enable_prefix_caching=False,
        dtype="bfloat16",
        worker_extension_cls="openrlhf.trainer.ray.vllm_worker_wrap.WorkerWrap",
    )
    trainer = AutoModelForCausalLM.from_pretrained(STUDENT, dtype=torch.float32)
    start = {name: param.detach().clone() for name, param in trainer.named_parameters()}
    worker = engine.llm_engine.model_executor.driver_worker.worker
    worker.pending = []
    gaps = {}
    for group in GROUPS:
        for name, param in trainer.named_parameters():
            noise = 0.05 * torch.randn(param.shape, generator=torch.Generator().manual_seed(1))
            param.data.copy_(start[name] + noise * (group in name))
        sent = [(name, param.detach().clone()) for name, param in trainer.named_parameters()]
        for i, (name, param) in enumerate(sent, 1):
            broadcast = staticmethod(lambda tensor, src, param=param: tensor.copy_(param))
            worker.sync_group = type("Group", (), {"broadcast": broadcast})
            worker.update_weight(name, param.dtype, param.shape, empty_cache=i == len(sent))
        gaps[group] = gap(engine, trainer)
    print(json.dumps(gaps))
