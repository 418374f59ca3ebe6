"""An lm-eval model over a vLLM engine, which keeps what lm-eval's own drops: finish reason, token count and seed per sample."""

import gc
import os
import sys
from collections import Counter
from functools import partial
from typing import TextIO

from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from tqdm import tqdm

from scope_openrlhf import cpu_platform
from scope_openrlhf.config import RUN_VARIABLE
from scope_openrlhf.data import sample_seed


@register_model("scope-vllm")
class ScopeVLLM(LM):
    """Samples of one request get different seeds; a sample's seed depends on (run seed, task, item, sample) alone."""

    def __init__(self, pretrained: str, seed: int = 1, max_model_len: int | None = None, gpu_memory_utilization: float = 0.9,
                 progress_to: TextIO = sys.stderr, **_) -> None:  # fmt: skip
        super().__init__()
        os.environ.setdefault(RUN_VARIABLE, "eval")
        if cpu_platform.active():
            os.environ |= {k: v for k, v in cpu_platform.environment().items() if k != "OMP_NUM_THREADS"}
            gpu_memory_utilization = min(gpu_memory_utilization, 0.1)
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the engine in this process: nothing is left when it ends
        from vllm import LLM

        self.seed = seed
        self.progress = partial(tqdm, file=progress_to, mininterval=1.0 if progress_to.isatty() else 10.0)
        self.llm = LLM(pretrained, max_model_len=max_model_len, gpu_memory_utilization=gpu_memory_utilization,
                       enforce_eager=cpu_platform.active(), enable_prefix_caching=False, seed=seed)  # fmt: skip
        self.tokenizer = self.llm.get_tokenizer()
        self.records: dict[tuple[str, int, int], dict] = {}

    @property
    def tokenizer_name(self) -> str:
        return self.tokenizer.name_or_path.replace("/", "__")

    def apply_chat_template(self, chat_history: list[dict], add_generation_prompt: bool = True) -> str:
        return self.tokenizer.apply_chat_template(chat_history, tokenize=False, add_generation_prompt=add_generation_prompt)

    def generate_until(self, requests, disable_tqdm: bool = False) -> list[str]:
        from vllm import SamplingParams

        drawn: Counter = Counter()
        keys, prompts, params = [], [], []
        for request in requests:  # lm-eval repeats the same object once per sample
            context, options = request.args
            item = (request.task_name, request.doc_id)
            key = (*item, drawn[item])
            drawn[item] += 1
            keys.append(key)
            prompts.append({"prompt_token_ids": self.tokenizer(context, add_special_tokens=False)["input_ids"]})
            params.append(SamplingParams(
                temperature=options.get("temperature", 0.0), top_p=options.get("top_p", 1.0), max_tokens=options["max_gen_toks"],
                stop=options.get("until") or None, seed=sample_seed(self.seed, *key)))  # fmt: skip
        outputs = self.llm.generate(prompts, params, use_tqdm=self.progress)
        for key, p, output in zip(keys, params, outputs, strict=True):
            sample = output.outputs[0]
            self.records[key] = {"finish_reason": sample.finish_reason, "tokens": len(sample.token_ids), "seed": p.seed}
        return [output.outputs[0].text for output in outputs]

    def loglikelihood(self, requests, disable_tqdm: bool = False):
        raise ValueError("scope-vllm samples answers; it has no log-likelihood tasks")

    def loglikelihood_rolling(self, requests, disable_tqdm: bool = False):
        raise ValueError("scope-vllm samples answers; it has no log-likelihood tasks")

    def close(self) -> None:
        """Free the engine, so that another model can be loaded in this process."""
        from vllm.distributed import cleanup_dist_env_and_memory

        del self.llm
        gc.collect()
        cleanup_dist_env_and_memory()
