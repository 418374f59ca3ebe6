"""The lm-eval model "scope-vllm": what is in the store comes from there, what is not is sampled and put there as it finishes."""

import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, TextIO

from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from tqdm import tqdm

from scope_eval.engines import EngineGroup, EngineSettings, Request, Sampler, Server
from scope_eval.grade import Response
from scope_eval.store import Sample, Store
from scope_openrlhf.checks import check_model, positions
from scope_openrlhf.config import ConfigError
from scope_openrlhf.data import sample_seed


@register_model("scope-vllm")
class ScopeVLLM(LM):
    """Each sample has its own seed, which depends on (run seed, task, item, number) alone: engines, order and batching change nothing.

    Engines start when the first sample is missing. Without a store (plain lm-eval), samples live as long as this does.
    """

    def __init__(
        self,
        pretrained: str,
        revision: str = "",
        seed: int = 1,
        engines: int = 1,
        tensor_parallel_size: int = 1,
        dtype: str = "bfloat16",
        gpu_memory_utilization: float = 0.9,
        ray_address: str = "local",
        base_url: str = "",
        served_model: str = "",
        template_args: dict | None = None,
        chat: bool = True,
        store: Store | None = None,
        benchmarks: dict[str, int] | None = None,
        progress_to: TextIO = sys.stderr,
        **_,
    ) -> None:
        """template_args: for the chat template. chat: whether contexts come through it, and so hold their special tokens.

        benchmarks: the number in the store of each task.
        """
        from transformers import AutoTokenizer

        super().__init__()
        self.positions = positions(check_model(pretrained, "--model", revision))
        self.tokenizer = AutoTokenizer.from_pretrained(pretrained, revision=revision or "main")
        self.settings = partial(
            EngineSettings, path=pretrained, revision=revision, engines=int(engines), tensor_parallel_size=int(tensor_parallel_size), dtype=dtype,
            gpu_memory_utilization=float(gpu_memory_utilization), seed=int(seed), ray_address=ray_address,
        )  # fmt: skip
        self.server = (base_url, served_model)
        self.template_args, self.chat = template_args or {}, chat
        self.store, self.benchmarks = store, benchmarks or {}
        self.kept: dict[tuple[int, str, int], Sample] = {}
        self.sampler: Sampler | None = None
        self.run_seed = int(seed)
        self.bar: Callable[..., tqdm] = partial(
            tqdm, file=progress_to, unit="sample", smoothing=0.05, mininterval=1.0 if progress_to.isatty() else 10.0, dynamic_ncols=True
        )

    @property
    def tokenizer_name(self) -> str:
        return self.tokenizer.name_or_path.replace("/", "__")

    def apply_chat_template(self, chat_history: list[dict], add_generation_prompt: bool = True) -> str:
        return self.tokenizer.apply_chat_template(
            chat_history, tokenize=False, add_generation_prompt=add_generation_prompt, **self.template_args
        )

    def generate_until(self, requests, disable_tqdm: bool = False) -> list[str]:
        """A Response for each. lm-eval repeats the same request once per sample."""
        tasks = {name: self.benchmarks.get(name, i) for i, name in enumerate(dict.fromkeys(r.task_name for r in requests))}
        drawn: Counter = Counter()
        keys = []
        for request in requests:
            item = (tasks[request.task_name], str(request.doc.get("id", request.doc_id)))
            keys.append((*item, drawn[item]))
            drawn[item] += 1
        have = {(b, *key) for b in tasks.values() for key in self.store.have(b)} if self.store else set(self.kept)
        missing = [(key, request) for key, request in zip(keys, requests, strict=True) if key not in have]
        if missing:
            self._sample(missing, len(requests))
        samples = (self._kept(key) for key in keys)
        return [Response(s.text, s.finish_reason) for s in samples]

    def _kept(self, key: tuple[int, str, int]) -> Sample:
        return self.store.get(*key) if self.store else self.kept[key]

    def _sample(self, missing: list[tuple[tuple[int, str, int], Any]], total: int) -> None:
        prompts: dict[str, list[int]] = {}
        todo, longest = [], (0, "")
        for (benchmark, item, number), request in missing:
            context, options = request.args
            if context not in prompts:
                prompts[context] = self.tokenizer(context, add_special_tokens=not self.chat)["input_ids"]
            params = sampling_params(options) | {"seed": sample_seed(self.run_seed, request.task_name, item, number)}
            todo.append(Request(benchmark, item, number, prompts[context], params))
            longest = max(longest, (len(prompts[context]) + params["max_tokens"], item))
        if longest[0] > self.positions:
            most = self.positions - max(map(len, prompts.values()))
            raise ConfigError(
                f"{longest[1]} and its longest response need {longest[0]} tokens, the model has {self.positions} positions; "
                + (f"set --max-tokens {most} or less" if most > 0 else "its problem alone does not fit")
            )
        if self.sampler is None:
            url, served = self.server
            self.sampler = Server(url, served) if url else EngineGroup(self.settings(max_model_len=longest[0]))
        tokens = 0
        with self.bar(total=total, initial=total - len(missing)) as bar:
            for finished in self.sampler.sample(todo):
                if self.store:
                    self.store.add(finished)
                else:
                    self.kept |= {(key, s.item, s.number): s for key, s in finished}
                tokens += sum(s.tokens for _, s in finished)
                bar.update(len(finished))
                bar.set_postfix_str(f"{tokens / max(bar.format_dict['elapsed'], 1e-3):.0f} tokens/s", refresh=False)

    def loglikelihood(self, requests, disable_tqdm: bool = False):
        raise ValueError("scope-vllm samples answers; it has no log-likelihood tasks")

    def loglikelihood_rolling(self, requests, disable_tqdm: bool = False):
        raise ValueError("scope-vllm samples answers; it has no log-likelihood tasks")

    def close(self) -> None:
        """Free the engines, so that another model can be loaded."""
        if self.sampler is not None:
            self.sampler.close()
            self.sampler = None


def sampling_params(options: dict) -> dict:
    """lm-eval's generation_kwargs under vLLM's names. Raises ConfigError for one that is neither."""
    known = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    extra = options.keys() - {*known, "until", "max_gen_toks", "do_sample"}
    if extra:
        raise ConfigError(
            f"scope-vllm does not know generation_kwargs {', '.join(sorted(extra))}; known: {', '.join(known)}, until, max_gen_toks"
        )
    params = {k: options[k] for k in known if k in options} | {"max_tokens": int(options["max_gen_toks"])}
    params.setdefault("temperature", 0.0)
    return params | ({"stop": options["until"]} if options.get("until") else {})
