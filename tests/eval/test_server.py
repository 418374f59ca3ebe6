"""Sampling from a server that says something else than a sample: asked again, then an error that quotes it."""

import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import faked, http, sound

from scope_eval.sampler import Request, SamplingError
from scope_eval.server import Server
from scope_openrlhf.settings.errors import ConfigError


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(Server, "pause_seconds", 0.001)
    monkeypatch.setattr(Server, "patience_seconds", 60.0)


def requests(count: int = 1) -> list[Request]:
    params = {"temperature": 0.6, "top_k": 20, "max_tokens": 8}
    return [Request(0, "a", i, [5, 7, 9], params | {"seed": i}) for i in range(count)]


def drawn(url: str, count: int = 1) -> list:
    return [sample for finished in Server(url, "").sample(requests(count)) for _, sample in finished]


def completion(**changed) -> dict:
    """A sound completion with other fields in its choice; `usage` is beside it."""
    reply = sound("/v1/completions", {"prompt": [5, 7, 9]})
    usage = changed.pop("usage", reply["usage"])
    return reply | {"choices": [reply["choices"][0] | changed], "usage": usage}


BROKEN = {
    "an error with 200": (http({"error": {"message": "busy"}}), "choices: Field required.*it said: .*busy"),
    "choices null": (http(completion() | {"choices": None}), "choices: Input should be a valid list"),
    "no choice": (http(completion() | {"choices": []}), "choices: List should have at least 1 item"),
    "two choices": (http(completion() | {"choices": completion()["choices"] * 2}), "choices: List should have at most"),
    "another index": (http(completion(index=1)), "index: Input should be less than or equal to 0"),
    "text null": (http(completion(text=None)), "text: Input should be a valid string, got None"),
    "text of numbers": (http(completion(text=7)), "text: Input should be a valid string, got 7"),
    "half a surrogate": (http(completion(text="\ud800")), "no JSON"),
    "ended by nothing": (http(completion(finish_reason=None)), "finish_reason: Input should be 'stop' or 'length'"),
    "aborted": (http(completion(finish_reason="abort")), "finish_reason: .*got 'abort'"),
    "no usage": (http(completion(usage=None)), "usage: Input should be a valid dictionary"),
    "usage without tokens": (http(completion(usage={"prompt_tokens": 3})), "usage.completion_tokens: Field required"),
    "tokens null": (http(completion(usage={"completion_tokens": None})), "usage.completion_tokens: .*got None"),
    "tokens in text": (http(completion(usage={"completion_tokens": "2"})), "completion_tokens: .*got '2'"),
    "fewer than no tokens": (http(completion(usage={"completion_tokens": -1})), "completion_tokens: .*got -1"),
    "too many tokens": (http(completion(usage={"completion_tokens": 9})), "counts 9 tokens where 8 were asked for"),
    "HTML": (http(b"<html>", kind="text/html"), "it is text/html.*it said: <html>"),
    "half a JSON": (http(b'{"choices": [{'), "no JSON"),
    "events": (http(b"data: {}\n\n", kind="text/event-stream"), "it is text/event-stream"),
    "503": (http(b"later", status="503 Busy"), "answered 503: later"),
    "a closed connection": (b"", "ServerDisconnectedError"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_sample_is_asked_for_again_and_then_an_error_that_quotes_the_server(name):
    answer, message = BROKEN[name]
    asked = []

    def says(path, body):
        asked.append(path)
        # the sixth answer of the first round and the fourth of the second one
        return http(sound(path, body)) if path == "/v1/models" or len(asked) == 12 else answer

    with faked(says) as url:
        with pytest.raises(SamplingError, match=message) as error:
            drawn(url)
        assert url in str(error.value) and "run the same again" in str(error.value) and len(asked) == 7
        assert [(s.text, s.tokens, s.finish_reason) for s in drawn(url)] == [("so 2", 2, "stop")]


def test_silence_ends_all_attempts_together_when_patience_ends(monkeypatch):
    monkeypatch.setattr(Server, "patience_seconds", 0.6)

    def says(path, body):
        if path == "/v1/models":
            return http(sound(path, body))
        return [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", *(time.sleep(0.1) or b" " for _ in range(9))]

    start = time.monotonic()
    with faked(says) as url, pytest.raises(SamplingError, match="0.6 s; run the same again"):
        drawn(url)
    assert 0.6 <= time.monotonic() - start < 1.2


def test_a_broken_sample_costs_no_other():
    def says(path, body):
        return http(completion(text=None) if body.get("seed") == 13 else sound(path, body))

    found = []
    with faked(says) as url, pytest.raises(SamplingError, match="text: Input should be a valid string"):
        for finished in Server(url, "").sample(requests(100)):
            found += finished
    assert {s.number for _, s in found} == set(range(100)) - {13}


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (http({"data": []}), "--base-url .* serves no model$"),
        (http({"data": None}), "data: Input should be a valid list"),
        (http({"data": [{"id": None}]}), "data.0.id: Input should be a valid string"),
        (http([]), "the reply: Input should be a valid dictionary"),
        (http(b"<html>", kind="text/html"), "it is text/html"),
        (http(b'{"data": ['), "no JSON"),
        (http({}, status="401 No"), "answered 401.*put the key that it wants into SCOPE_EVAL_API_KEY"),
    ],
)
def test_a_server_that_does_not_say_what_it_serves_is_refused_before_anything_is_asked(models, message):
    with faked(lambda path, body: models) as url, pytest.raises(ConfigError, match=message):
        Server(url, "")


def test_v1_at_the_end_of_an_address_is_taken():
    with faked(lambda path, body: http(sound(path, body))) as url:
        for end in ("", "/", "/v1", "/v1/"):
            assert [s.engine for s in drawn(url + end)] == [f"{url}/v1"]


def test_answers_of_another_model_than_the_first_are_refused():
    def says(path, body):
        return http(sound(path, body) | ({"model": "n"} if body.get("seed") else {}))

    with faked(says) as url:
        server = Server(url, "")
        (((_, first),),) = server.sample(requests(1))
        assert first.text == "so 2"
        with pytest.raises(SamplingError, match="answered by the model n, and before by m"):
            list(server.sample(requests(2)))


VALUES = st.sampled_from([None, True, "", "stop", -9999.0, 0, 1, 10**400, float("nan"), [], {}, [None]])
FIELDS = st.sampled_from(["index", "finish_reason", "text", "choices", "usage", "completion_tokens", "model"])


def test_no_broken_reply_brings_another_error():
    now: dict[str, bytes] = {}

    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.dictionaries(FIELDS, VALUES, min_size=1, max_size=3), st.integers(0, 3))
    def holds(changed, cut):
        reply = completion()
        for part in (reply, reply["usage"], reply["choices"][0]):
            part |= {key: value for key, value in changed.items() if key in part}
        text = json.dumps(reply).encode()
        now["/v1/completions"] = http(text[: len(text) // 2] if cut == 3 else text)
        try:
            assert all(isinstance(s.text, str) and s.tokens >= 0 for s in drawn(url))
        except SamplingError as error:
            assert url in str(error)

    with faked(lambda path, body: now.get(path) or http(sound(path, body))) as url:
        holds()
