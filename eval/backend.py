"""The lm-eval model "scope-vllm": samples of the store come from there; missing ones are drawn and put there."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TextIO

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from tqdm import tqdm

from scope_eval.engines import EngineGroup, EngineSettings
from scope_eval.grade import ResponseText, grade_samples
from scope_eval.sampler import Request, Sampler, SamplingError
from scope_eval.server import Server
from scope_eval.store import Sample, Store
from scope_openrlhf.data.order import sample_seed
from scope_openrlhf.data.prompts import as_text, unfolded, with_system
from scope_openrlhf.models.loading import check_model, positions
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.ranges import Range
from scope_openrlhf.settings.sections import DATE, StudentConfig

Key = tuple[int, str, int]
"""(number of the benchmark in the store, item, number of the sample)."""
NO_LOG_LIKELIHOOD = "scope-vllm samples answers; it has no log-likelihood tasks"


@register_model("scope-vllm")
class ScopeVLLM(LM):
    """A model under test.

    Each sample has its own seed, which depends on (run seed, task, item, number) alone, not on engines, order or
    batching. Engines start when the first sample is missing. Without a store (plain lm-eval), samples live as long as
    this does.
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
        template_date: str = DATE,
        chat: bool = True,
        store: Store | None = None,
        progress_to: TextIO = sys.stderr,
        **_: Any,
    ) -> None:
        """Load the tokenizer and check the model; lm-eval may give numbers as texts.

        template_args, template_date: for the chat template.
        chat: whether contexts come through the chat template, and so hold their special tokens.
        Raises ConfigError for a model that cannot be loaded, or a server that does not answer.
        """
        from transformers import AutoTokenizer  # it takes seconds, which plain lm-eval's --help need not wait for

        super().__init__()
        self.positions = positions(check_model(pretrained, "--model", revision))
        # False, not None: transformers would ask whoever sits at the terminal whether the model's files may run
        self.tokenizer = AutoTokenizer.from_pretrained(pretrained, revision=revision or "main", trust_remote_code=False)
        self.settings = partial(
            EngineSettings,
            model=pretrained,
            revision=revision,
            engines=int(engines),
            tensor_parallel_size=int(tensor_parallel_size),
            dtype=dtype,
            gpu_memory_utilization=float(gpu_memory_utilization),
            seed=int(seed),
            ray_address=ray_address,
        )
        self.student = StudentConfig(path=pretrained, template_args=template_args or {}, template_date=template_date)
        self.chat = chat
        self.store, self.progress_to = store, progress_to
        self.benchmarks: dict[str, int] = {}
        """The number in the store of each task; with a store, to be filled before anything is asked for."""
        self.kept: dict[Key, Sample] = {}
        self.sampler: Sampler | None = Server(base_url, served_model) if base_url else None
        self.run_seed = int(seed)
        self.bar: Callable[..., tqdm] = partial(
            tqdm,
            file=progress_to,
            unit="sample",
            smoothing=0.05,
            mininterval=1.0 if progress_to.isatty() else 10.0,
            dynamic_ncols=True,
        )

    @property
    def tokenizer_name(self) -> str:
        """Name of the tokenizer in lm-eval's results."""
        return self.tokenizer.name_or_path.replace("/", "__")

    def apply_chat_template(self, chat_history: list[dict], add_generation_prompt: bool = True) -> str:
        """The prompt of a chat, whose last message may be a folded prompt.

        Raises ConfigError for what the model's template refuses, and for a task that begins the response.
        """
        if not add_generation_prompt:
            raise ConfigError("scope-vllm does not begin responses; use a task without gen_prefix")
        *before, last = chat_history
        prompt = unfolded(last["content"])
        if isinstance(prompt, str):
            prompt = chat_history
        elif before:
            prompt = with_system(prompt, before[0]["content"])
        try:
            return as_text(self.tokenizer, prompt, self.student)
        except ValueError as error:
            raise ConfigError(f"{error}; see --system and --template-args, or give --no-chat") from None

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """A ResponseText for each request. lm-eval repeats the same request once per sample."""
        drawn: Counter[tuple[int, str]] = Counter()
        keys: list[Key] = []
        for request in requests:
            item = (self._number(request), str(request.doc.get("id", request.doc_id)))
            keys.append((*item, drawn[item]))
            drawn[item] += 1
        have = (
            {(b, *key) for b in {b for b, *_ in keys} for key in self.store.have(b)} if self.store else set(self.kept)
        )
        if not have.issuperset(keys):
            self._sample(list(zip(keys, requests, strict=True)), have)
        if self.store:
            return self._graded(self.store, keys)
        samples = (self.kept[key] for key in keys)
        return [ResponseText(s.text, s.finish_reason) for s in samples]

    def _number(self, request: Instance) -> int:
        """The number of a request's task in the store; without one, of the task under these generation_kwargs."""
        if self.store:
            return self.benchmarks[str(request.task_name)]
        return self.benchmarks.setdefault(
            f"{request.task_name} {json.dumps(request.args[1], sort_keys=True)}", len(self.benchmarks)
        )

    def _sample(self, asked: list[tuple[Key, Any]], have: set[Key]) -> None:
        """Sample what is missing.

        All that is asked for decides how long a request may be, so that an engine is the same after an interruption.
        """
        prompts: dict[str, list[int]] = {}
        todo, asked_for = [], {}
        for (benchmark, item, number), request in asked:
            context, options = request.args
            if context not in prompts:
                prompts[context] = self.tokens(context)
            params = sampling_params(options) | {"seed": sample_seed(self.run_seed, request.task_name, item, number)}
            if (benchmark, item, number) not in have:
                todo.append(Request(benchmark, item, number, prompts[context], params))
            asked_for[item] = (context, params["max_tokens"])
        longest = self.check_room(asked_for)
        if self.sampler is None:
            self.sampler = EngineGroup(self.settings(max_model_len=longest))
        tokens = 0
        with self.bar(total=len(asked), initial=len(asked) - len(todo)) as bar:
            for finished in self.sampler.sample(todo):
                self._keep(finished)
                tokens += sum(s.tokens for _, s in finished)
                bar.update(len(finished))
                bar.set_postfix_str(f"{tokens / max(bar.format_dict['elapsed'], 1e-3):.0f} tokens/s", refresh=False)

    def tokens(self, context: str) -> list[int]:
        """Token ids of a prompt."""
        return self.tokenizer(context, add_special_tokens=not self.chat)["input_ids"]

    def check_room(self, asked: dict[str, tuple[str, int]]) -> int:
        """Number of tokens of the longest of these prompts with its longest response.

        asked: prompt and largest number of tokens of a response by the name of the problem. Raises ConfigError where
        that is more than the model has positions.
        """
        sizes = {item: (len(self.tokens(context)), most) for item, (context, most) in asked.items()}
        item, (size, most) = max(sizes.items(), key=lambda of_item: sum(of_item[1]))
        if size + most > self.positions:
            room = self.positions - max(size for size, _ in sizes.values())
            raise ConfigError(
                f"{item} and its longest response need {size + most} tokens, the model has {self.positions} "
                "positions; " + (f"set --max-tokens {room} or less" if room > 0 else "its problem alone does not fit")
            )
        return size + most

    def _keep(self, finished: list[tuple[int, Sample]]) -> None:
        """Put finished samples where they stay. Raises SamplingError for one that was cut off by its sampler."""
        for _, s in finished:
            if s.finish_reason not in ("stop", "length"):
                raise SamplingError(f"{s.item}, sample {s.number}: it ended by {s.finish_reason}, which is no answer")
        if self.store:
            self.store.add(finished)
        else:
            self.kept |= {(key, s.item, s.number): s for key, s in finished}

    def _graded(self, store: Store, keys: list[Key]) -> list[str]:
        """The responses of the store with their grades, which are made here and stay there."""
        grades = {}
        for benchmark in store.benchmarks():
            if asked := [(item, number) for b, item, number in keys if b == benchmark["id"]]:
                problems, samples = len({item for item, _ in asked}), 1 + max(number for _, number in asked)
                grades[benchmark["id"]] = grade_samples(store, benchmark, problems, samples, self.progress_to)
        found = []
        for b, item, number in keys:
            sample = store.get(b, item, number)
            found.append(ResponseText(sample.text, sample.finish_reason, grades[b][item][number]))
        return found

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list:
        """Raise ValueError: there is no such task here."""
        raise ValueError(NO_LOG_LIKELIHOOD)

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list:
        """Raise ValueError: there is no such task here."""
        raise ValueError(NO_LOG_LIKELIHOOD)

    def close(self) -> None:
        """Free the engines, so that another model can be loaded."""
        if self.sampler is not None:
            self.sampler.close()
            self.sampler = None


RANGES = {
    "temperature": Range(least=0),
    "top_p": Range(above=0, most=1),
    "top_k": Range(least=-1),
    "min_p": Range(least=0, most=1),
    "repetition_penalty": Range(above=0),
    "max_tokens": Range(least=1),
}
"""Of what a task's file may say, too."""


def sampling_params(options: dict) -> dict[str, Any]:
    """lm-eval's generation_kwargs under vLLM's names, all of them.

    Raises ConfigError for an unknown one, or one out of its range.
    """
    known = {"temperature": 0.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
    extra = options.keys() - {*known, "until", "max_gen_toks", "do_sample"}
    if extra:
        raise ConfigError(
            f"scope-vllm does not know generation_kwargs {', '.join(sorted(extra))}; known: {', '.join(known)}, until, "
            "max_gen_toks"
        )
    if "max_gen_toks" not in options:
        raise ConfigError("scope-vllm needs max_gen_toks among a task's generation_kwargs")
    params = known | {k: options[k] for k in known if k in options} | {"max_tokens": int(options["max_gen_toks"])}
    if options.get("do_sample") is False:
        params["temperature"] = 0.0
    for name, within in RANGES.items():
        within.check(params[name], f"--{name.replace('_', '-')}")
    return params | ({"stop": options["until"]} if options.get("until") else {})
