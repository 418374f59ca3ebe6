"""Replies of servers of models, as types: whatever is no such reply is refused here, before anybody computes with it.

JSON is read strictly: text and booleans are no numbers, NaN and infinities are none either, and an object that says a
key twice says nothing. Keys that nobody asks for are ignored.
"""

from typing import Annotated, Any, Generic, Literal, NotRequired, TypeVar

import jiter
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveInt, ValidationError
from typing_extensions import TypedDict  # pydantic takes the standard library's from Python 3.12 on

SENTINEL = -9999.0
"""What vLLM's server sends in place of a log-prob of minus infinity: it and what is below it is no number."""
ROUNDING = 1e-6
"""How far a log-prob in nats may lie above 0: a softmax in float32 rounds there, and what lies higher is none."""

Id = Annotated[int, Field(ge=0, lt=10**9)]
"""Of a token. As a key it is text: decimal digits, without leading zeros."""
Key = Annotated[str, Field(pattern="^(0|[1-9][0-9]{0,8})$")]
First = Annotated[int, Field(ge=0, le=0)]
"""Index of the only choice."""
Ended = Literal["stop", "length"]
"""Why a response ends where it ends; a response that ends by anything else is none."""


class Reply(BaseModel):
    """An object of JSON. By itself one of which nothing is read."""

    model_config = ConfigDict(strict=True, frozen=True)


class ModelCard(Reply):
    """A model that is served. Example: {"id": "qwen", "root": "Qwen/Qwen3-8B", "max_model_len": 4096}."""

    id: Annotated[str, Field(min_length=1)]
    root: str | None = None
    max_model_len: PositiveInt | None = None


class ModelList(Reply):
    """Reply of GET /v1/models."""

    data: list[ModelCard]


class Tokens(Reply):
    """Reply of POST /tokenize."""

    tokens: list[Id]


class WorkerTemperature(Reply):
    """What one worker of an engine says: `teacher.replica.EngineTemperature.get_temperature`."""

    temperature: Annotated[FiniteFloat, Field(gt=0)]
    since: FiniteFloat


class WorkerTemperatures(Reply):
    """Reply of POST /collective_rpc, where every worker was asked for its temperature."""

    results: Annotated[list[WorkerTemperature], Field(min_length=1)]


class TokenLogprob(TypedDict):
    """What a position says of one token. Example: {"logprob": -0.1, "rank": 1}."""

    logprob: Annotated[float, Field(gt=SENTINEL, le=ROUNDING)]
    rank: NotRequired[PositiveInt | None]
    """1 for the likeliest of the vocabulary."""


Position = dict[Key, TokenLogprob]
"""By id, the token that the prompt holds there, and the likeliest ones that were asked for."""


class ScoredChoice(Reply):
    """The prompt's log-probs, as vLLM adds them to a choice: of its first token there is none."""

    index: First = 0
    finish_reason: Ended = "length"
    prompt_logprobs: list[Position | None] | None = None


class WrittenChoice(Reply):
    """A response by its tokens, as vLLM adds them to a choice."""

    index: First = 0
    finish_reason: Ended
    token_ids: list[Id] | None = None


class SampledChoice(Reply):
    """A response by its text."""

    index: First = 0
    finish_reason: Ended
    text: str


class Usage(Reply):
    """Number of tokens of a response."""

    completion_tokens: Annotated[int, Field(ge=0)]


ChoiceT = TypeVar("ChoiceT", ScoredChoice, WrittenChoice, SampledChoice)
ReplyT = TypeVar("ReplyT", bound=Reply)


class Completion(Reply, Generic[ChoiceT]):
    """Reply of POST /v1/completions to a request of one response."""

    model: str | None = None
    choices: Annotated[list[ChoiceT], Field(min_length=1, max_length=1)]


class CountedCompletion(Completion[SampledChoice]):
    """The same with its number of tokens."""

    usage: Usage


def parse(reply: type[ReplyT], text: bytes) -> ReplyT:
    """The reply that text is. Raises ValueError, saying what is wrong and where."""
    try:
        found: Any = jiter.from_json(text, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as error:
        raise ValueError(f"no JSON ({error})") from None
    try:
        return reply.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "the reply"
        got = "" if isinstance(first["input"], dict | list) else f", got {first['input']!r}"
        raise ValueError(f"{where}: {first['msg']}{got}") from None
