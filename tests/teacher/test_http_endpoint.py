"""What a `vllm serve` answers, as it is read: a score, or an error that names the server, and another one is asked."""

import asyncio
import copy
import json

import pytest
import resolved
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import faked, http, sound

from scope_openrlhf.teacher import connect, identity
from scope_openrlhf.teacher.client import TeacherClient
from scope_openrlhf.teacher.contract import TeacherError, check_completion, check_score
from scope_openrlhf.teacher.http_endpoint import HttpEndpoint, parse_positions

TOKENS = [5, 7, 9]


def test_an_answer_over_http_is_read_by_token_id_and_rank():
    positions = [
        {"7": {"logprob": -2.0, "rank": 3}, "4": {"logprob": -0.1, "rank": 1}, "9": {"logprob": -1.0, "rank": 2}},
        {"9": {"logprob": -0.2, "rank": 1}, "4": {"logprob": -3.0, "rank": 2}},
    ]
    score = parse_positions([5, 7, 9], positions, 2, "url")
    assert score.token_ids.tolist() == [7, 9] and score.topk_ids.tolist() == [[4, 9], [9, 4]]
    assert score.logprobs.tolist() == pytest.approx([-2.0, -0.2])
    with pytest.raises(TeacherError, match="position 1 holds no log-prob of token 8, which was sent; it said: {.7"):
        parse_positions([5, 8, 9], positions, 2, "url")
    with pytest.raises(TeacherError, match="position 2 lacks some of the 3 likeliest"):
        parse_positions([5, 7, 9], positions, 3, "url")
    with pytest.raises(TeacherError, match="position 1 holds more tokens than were asked for"):
        parse_positions([5, 7, 9], positions, 1, "url")


def with_endpoints(urls: list[str], ask, deadline: float = 5.0):
    """What `ask` makes of a client of these servers at temperature 0.6."""

    async def once():
        client = TeacherClient([HttpEndpoint(url, 0.6, deadline) for url in urls], deadline, pause_seconds=0.05)
        try:
            return await ask(client)
        finally:
            await client.close()

    return asyncio.run(once())


def score(*urls: str, top_k: int = 2, deadline: float = 5.0):
    return with_endpoints(list(urls), lambda client: client.score(TOKENS, top_k), deadline)


def answering(broken: dict[str, bytes]):
    """A sound teacher but for the answers to these paths."""
    return faked(lambda path, body: broken.get(path) or http(sound(path, body)))


def without(path: tuple, **put) -> bytes:
    """The sound score of TOKENS whose element at a path is gone, or replaced by what is put."""
    reply = sound("/v1/completions", {"prompt": TOKENS, "prompt_logprobs": 2})
    *way, last = path
    inner = reply
    for key in way:
        inner = inner[key]
    if put:
        inner[last] = put["by"]
    else:
        del inner[last]
    return http(reply)


CHOICE = ("choices", 0)
POSITIONS = (*CHOICE, "prompt_logprobs")
ENTRY = (*POSITIONS, 1, "7")
EXTRA = {"7": {"logprob": -1.0, "rank": 3}}
BROKEN = {
    "an error with 200": (http({"error": {"message": "busy"}}), "choices: Field required.*it said: .*busy"),
    "no choices": (without(("choices",)), "choices: Field required"),
    "choices null": (without(("choices",), by=None), "choices: Input should be a valid list"),
    "no choice": (without(("choices",), by=[]), "choices: List should have at least 1 item"),
    "two choices": (without(("choices",), by=[{"finish_reason": "stop"}] * 2), "choices: List should have at most 1"),
    "another index": (without((*CHOICE, "index"), by=1), "choices.0.index: Input should be less than or equal to 0"),
    "ended by nothing": (without((*CHOICE, "finish_reason"), by=None), "finish_reason: Input should be 'stop' or"),
    "aborted": (without((*CHOICE, "finish_reason"), by="abort"), "finish_reason: Input should be .*got 'abort'"),
    "a list": (http([1]), "the reply: Input should be a valid dictionary"),
    "null": (http(None), "the reply: Input should be a valid dictionary"),
    "HTML": (http(b"<html>", kind="text/html"), "it is text/html.*it said: <html>"),
    "half a JSON": (http(b'{"choices": [{'), "no JSON"),
    "the sentinel": (without((*ENTRY, "logprob"), by=-9999.0), "logprob: Input should be greater than -9999, got -9"),
    "below the sentinel": (without((*ENTRY, "logprob"), by=-1e30), "logprob: Input should be greater than -9999"),
    "a positive log-prob": (without((*ENTRY, "logprob"), by=0.01), "logprob: Input should be less than or equal to 0"),
    "text": (without((*ENTRY, "logprob"), by="-1.0"), "logprob: Input should be a valid number, got '-1.0'"),
    "a boolean": (without((*ENTRY, "logprob"), by=False), "logprob: Input should be a valid number, got False"),
    "null for a number": (without((*ENTRY, "logprob"), by=None), "logprob: Input should be a valid number, got None"),
    "400 digits": (without((*ENTRY, "logprob"), by=-(10**400)), "logprob: Input should be a valid number"),
    "no log-prob": (without((*ENTRY, "logprob")), "7.logprob: Field required"),
    "NaN": (without((*ENTRY, "logprob"), by=float("nan")), "no JSON"),
    "no rank": (without((*POSITIONS, 1, "100", "rank")), "position 1 lacks some of the 2 likeliest tokens"),
    "rank null": (without((*POSITIONS, 2, "101", "rank"), by=None), "position 2 lacks some of the 2 likeliest tokens"),
    "a rank twice": (without((*POSITIONS, 1, "101", "rank"), by=1), "position 1 lacks some of the 2 likeliest tokens"),
    "rank true": (without((*POSITIONS, 1, "100", "rank"), by=True), "rank: Input should be a valid integer"),
    "a key that is no integer": (without((*POSITIONS, 1, "seven"), by=EXTRA["7"]), "String should match pattern"),
    "a key with zeros before": (without((*POSITIONS, 1, "07"), by=EXTRA["7"]), "String should match pattern"),
    "another token": (without(ENTRY), "position 1 holds no log-prob of token 7, which was sent; it said: {.100"),
    "a token too many": (without((*POSITIONS, 1, "4"), by=EXTRA["7"]), "position 1 holds more tokens than were asked"),
    "no leading null": (without((*POSITIONS, 0)), "sent 2 prompt_logprobs, the first being {.*; due were 3"),
    "a position for null": (without((*POSITIONS, 0), by=EXTRA), "sent 3 prompt_logprobs, the first being {"),
    "null for a position": (without((*POSITIONS, 2), by=None), "position 2 holds no log-prob of token 9.*said: None"),
    "one position too many": (without(POSITIONS, by=[None, EXTRA, EXTRA, EXTRA]), "sent 4 prompt_logprobs.*due were 3"),
    "one position too few": (without(POSITIONS, by=[None, EXTRA]), "sent 2 prompt_logprobs.*due were 3"),
    "no positions": (without(POSITIONS), "answered without prompt_logprobs; it must be a vLLM server"),
    "by another model": (without(("model",), by="n"), "answered by the model n, asked was m"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_score_is_refused_by_name_and_asked_again_of_another_server(name):
    answer, message = BROKEN[name]
    with answering({"/v1/completions": answer}) as bad, answering({}) as good:
        with pytest.raises(TeacherError, match=message) as error:
            score(bad, deadline=0.3)
        assert bad in str(error.value)
        assert score(bad, good).logprobs.tolist() == [-1.0, -1.0]
        assert score(bad, good).topk_ids.tolist() == [[100, 101], [100, 101]]


@pytest.mark.parametrize("results", [[], [None], [{"temperature": 0.6}], [{"temperature": True, "since": 1.0}], "0.6"])
@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_a_temperature_that_is_not_told_is_not_taken_for_the_one_that_is_due(results, temperature):
    async def once(url):
        endpoint = HttpEndpoint(url, temperature)
        try:
            await endpoint.score(TOKENS, 0)
        finally:
            await endpoint.close()

    said = "/collective_rpc gave no reply of its kind: results"
    with answering({"/collective_rpc": http({"results": results})}) as url, pytest.raises(TeacherError, match=said):
        asyncio.run(once(url))


@pytest.mark.parametrize(("status", "taken"), [("404 Not Found", True), ("500 No", True), ("503 Busy", False)])
def test_a_server_that_knows_no_temperature_scores_at_1(status, taken):
    async def once(url):
        endpoint = HttpEndpoint(url, 1.0)
        try:
            return await endpoint.score(TOKENS, 0)
        finally:
            await endpoint.close()

    with answering({"/collective_rpc": http({}, status=status)}) as url:
        if taken:
            assert asyncio.run(once(url)).logprobs.tolist() == [-1.0, -1.0]
        else:
            with pytest.raises(TeacherError, match="answered 503"):
                asyncio.run(once(url))


@pytest.mark.parametrize("broken", [{"tokens": [3, "5"]}, {"tokens": None}, {"tokens": [True]}, {"tokens": [-1]}, []])
def test_a_server_that_does_not_say_how_it_reads_is_refused(broken):
    with answering({"/tokenize": http(broken)}) as url, pytest.raises(TeacherError, match=f"{url}/tokenize gave no"):
        with_endpoints([url], lambda client: client.endpoints[0].open("1+1", [3, 5, 7], 10))
    with answering({"/v1/models": http({"data": []})}) as url, pytest.raises(TeacherError, match="serves no model"):
        with_endpoints([url], lambda client: client.endpoints[0].open("1+1", [3, 5, 7], 10))


def test_a_completion_that_is_none_is_refused():
    def write(url, deadline=0.3):
        return with_endpoints([url], lambda client: client.generate(TOKENS, 2, seed=1), deadline)

    with answering({}) as url:
        assert write(url, 5.0).token_ids == [7, 9]
    for field, value, message in (
        ("token_ids", None, "answered without token_ids"),
        ("token_ids", [7, "9"], "token_ids.1: Input should be a valid integer"),
        ("token_ids", [7, 2**31], "token_ids.1: Input should be less than"),
        ("token_ids", [7, 9, 9], "wrote 3 tokens where 2 were asked for"),
        ("finish_reason", "abort", "finish_reason: Input should be 'stop' or 'length'"),
    ):
        answer = without((*CHOICE, field), by=value)
        with answering({"/v1/completions": answer}) as url, pytest.raises(TeacherError, match=message):
            write(url)


def test_a_server_that_serves_another_model_after_a_restart_is_not_believed():
    serves = {"id": "m", "root": "org/m"}

    def answer(path, body):
        if path == "/v1/models":
            return http({"data": [serves]})
        if path == "/v1/completions" and body["model"] != serves["id"]:
            return http({"error": "no such model"}, status="404 Not Found")
        return http(sound(path, body))

    async def before_and_after(client):
        assert (await client.score(TOKENS)).logprobs.tolist() == [-1.0, -1.0]
        serves.update(id="n", root="org/n")
        with pytest.raises(TeacherError, match=r"serves n \(org/n\) now, but m \(org/m\) before; serve that one again"):
            await client.score(TOKENS)
        serves.update(id="m", root="org/m")
        return await client.score(TOKENS)

    with faked(answer) as url:
        assert with_endpoints([url], before_and_after, deadline=0.5).logprobs.tolist() == [-1.0, -1.0]


def test_another_model_under_the_same_name_is_seen_at_temperature_1_as_well():
    roots = iter(["org/m"] * 3 + ["org/n"] * 9)

    def answer(path, body):
        if path == "/collective_rpc":
            return http({}, status="404 Not Found")
        return http({"data": [{"id": "m", "root": next(roots)}]} if path == "/v1/models" else sound(path, body))

    async def twice(endpoint):
        await endpoint.score(TOKENS, 0)
        await endpoint.score(TOKENS, 0)
        with pytest.raises(TeacherError, match=r"serves m \(org/n\) now, but m \(org/m\) before"):
            await endpoint.score(TOKENS, 0)
        await endpoint.close()

    with faked(answer) as url:
        asyncio.run(twice(HttpEndpoint(url, 1.0)))


def test_v1_at_the_end_of_an_address_is_taken_and_makes_no_other_teacher():
    with answering({}) as url:
        assert score(f"{url}/v1").logprobs.tolist() == score(f"{url}/v1/").logprobs.tolist() == [-1.0, -1.0]
    with_v1, plain = (resolved.teacher(path="", urls=[u]) for u in ("http://h:8000/v1", "http://h:8000"))
    assert identity.teacher_identity(with_v1) == identity.teacher_identity(plain)
    assert [e.name for e in connect.connect(with_v1)] == ["http://h:8000"]


def test_a_silent_server_costs_a_request_half_its_deadline_and_then_another_is_asked():
    def silent(path, body):
        yield http(sound(path, body))[:-1]  # and never the last byte
        asyncio.run(asyncio.sleep(3))

    with faked(silent) as bad, answering({}) as good:
        assert score(bad, good, deadline=1.0).logprobs.tolist() == [-1.0, -1.0]
        with pytest.raises(TeacherError, match=f"{bad} was still silent at the deadline"):
            score(bad, deadline=0.3)


JSON = st.recursive(
    st.sampled_from([None, True, "", "m", "stop", -9999.0, -1.0, 0, 1, 10**400, float("nan"), float("-inf")]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["7", "logprob"]), inner, max_size=2),
    max_leaves=4,
)


def places(tree) -> list[tuple]:
    """(container, key) of everything inside a JSON."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else []
    return [(tree, key) for key in keys] + [place for key in keys for place in places(tree[key])]


@st.composite
def broken(draw, replies: dict) -> tuple[str, bytes]:
    """A path, and its sound reply with one to three elements replaced or removed, perhaps cut off."""
    path = draw(st.sampled_from(sorted(replies)))
    reply = {"whole": copy.deepcopy(replies[path])}
    for _ in range(draw(st.integers(1, 3))):
        if there := places(reply):
            container, key = draw(st.sampled_from(there))
            if draw(st.booleans()):
                container[key] = draw(JSON)
            else:
                del container[key]
    text = json.dumps(reply.get("whole")).encode()
    return path, http(text[: draw(st.sampled_from([len(text)] * 9 + [len(text) // 2]))])


ASKED = {"prompt": TOKENS, "prompt_logprobs": 2}
SOUND = {path: sound(path, ASKED) for path in ("/v1/models", "/collective_rpc", "/v1/completions")}


def test_no_broken_reply_brings_another_error_or_keeps_a_fleet_from_going_on():
    now: dict[str, bytes] = {}

    @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(broken(SOUND))
    def holds(case):
        now.clear()
        now[case[0]] = case[1]
        score(bad, good)

        async def alone(client):
            try:
                check_score(TOKENS, await client.endpoints[0].score(TOKENS, 2), 2, bad)
                check_completion(await client.endpoints[0].generate(TOKENS, 2, 1), 2, bad)
            except TeacherError as error:
                assert bad in str(error)

        with_endpoints([bad], alone)

    with faked(lambda path, body: now.get(path) or http(sound(path, body))) as bad, answering({}) as good:
        holds()
