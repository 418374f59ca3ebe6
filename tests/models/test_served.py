"""The door to servers of models: what comes back is a reply of its type, or an error that names the server."""

import asyncio
import contextlib
import gzip
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import faked, http

from scope_openrlhf.models.replies import ModelList, WorkerTemperatures, parse
from scope_openrlhf.models.served import ModelServer, ServerError, root

GOOD = {"data": [{"id": "m", "root": "org/m"}]}


def ask(url: str, patience_seconds: float = 5.0, most_bytes: int = 10_000) -> ModelList:
    async def once():
        server = ModelServer(url, "SCOPE_EVAL_API_KEY", patience_seconds)
        try:
            return await server.ask(ModelList, "GET", "/v1/models", most_bytes=most_bytes)
        finally:
            await server.close()

    return asyncio.run(once())


def chunks(*parts: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


def drip(path, body):
    yield b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"
    for _ in range(100):
        time.sleep(0.05)
        yield b" "


BODY = json.dumps(GOOD).encode()
ANSWERS = {
    "HTML": (http(b"<html>Bad\ngateway</html>", kind="text/html"), "it is text/html.*it said: <html>Bad gateway"),
    "JSON that is called text": (http(GOOD, kind="text/plain"), "it is text/plain, not application/json"),
    "events": (http(b"data: {}\n\n", kind="text/event-stream"), "it is text/event-stream"),
    "half a JSON": (http(BODY[:20]), "no JSON .EOF while parsing.*it said: {\"data\": \\["),
    "nothing": (http(b""), "no JSON .EOF.*it said: nothing"),
    "two documents": (http(BODY + BODY), "no JSON .trailing characters"),
    "a list": (http([GOOD]), "the reply: Input should be a valid dictionary"),
    "null": (http(None), "the reply: Input should be a valid dictionary.*got None"),
    "an error with 200": (http({"error": {"message": "busy"}}), 'data: Field required.*it said: {"error": {.*busy'),
    "another charset": (http(json.dumps(GOOD).encode("utf-16"), kind="application/json; charset=utf-16"), "no JSON"),
    "Latin-1": (http('{"data": [{"id": "é"}]}'.encode("latin-1")), "no JSON .invalid unicode"),
    "half a surrogate": (http(b'{"data": [{"id": "\\ud83d"}]}'), "no JSON"),
    "a key twice": (http(b'{"data": [{"id": "m", "id": "n"}]}'), 'no JSON .Detected duplicate key "id"'),
    "NaN": (http(b'{"data": [{"id": "m", "created": NaN}]}'), "no JSON"),
    "a deep nest": (http(b"[" * 5000), "no JSON .recursion limit"),
    "too much": (http(b" " * 20_000), "it is longer than 10000 bytes"),
    "too much, packed": (http(gzip.compress(b" " * 10**7), "content-encoding: gzip"), "it is longer than 10000 bytes"),
    "gzip that is none": (http(BODY, "content-encoding: gzip"), "Error: "),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", "answered 204: nothing"),
    "a redirect": (http(b"", "location: http://127.0.0.1:9", status="302 Found"), "answered 302"),
    "404": (http({"error": "none"}, status="404 Not Found"), 'answered 404: {"error": "none"}'),
    "500 in HTML": (http(b"<p>\x1b[31mOops" * 90, status="500 No", kind="text/html"), r"500: <p> \[31mO.{,200}\.\.\.$"),
    "chunks cut short": (chunks(BODY[:10]), "ClientPayloadError"),
    "a body cut short": (http(BODY)[:-3], "ClientPayloadError"),
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n", "Error: "),
    "a closed connection": (b"", "ServerDisconnectedError"),
    "a header without end": (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, "Error: "),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_whatever_else_a_server_says_is_an_error_that_names_it_and_quotes_it(name):
    answer, message = ANSWERS[name]
    with faked(lambda *_: answer) as url, pytest.raises(ServerError, match=message) as error:
        ask(url)
    assert str(error.value).startswith(f"{url}/v1/models") and len(str(error.value)) < 700


@pytest.mark.parametrize("answer", [drip, lambda *_: iter(lambda: time.sleep(0.1) or b"", None)])
def test_a_reply_that_does_not_end_is_an_error_when_patience_ends(answer):
    with faked(answer) as url, pytest.raises(ServerError, match="TimeoutError: not answered within 0.3 s"):
        ask(url, patience_seconds=0.3)


@pytest.mark.parametrize(
    "url", ["host:8000", "http://", "http://[", "http://h:99999", "ftp://h", "http://127.0.0.1:1", ""]
)
def test_an_address_where_nobody_is_is_an_error(url):
    with pytest.raises(ServerError):
        ask(url)


def test_v1_and_slashes_at_the_end_of_an_address_change_nothing():
    with faked(lambda path, _: http(GOOD if path == "/v1/models" else {})) as url:
        assert {ask(url + end).data[0].id for end in ("", "/", "/v1", "/v1/", "//v1//")} == {"m"}
    assert root("http://v1") == "http://v1" and root("http://h/below/v1") == "http://h/below"


def test_only_a_status_that_will_not_change_is_a_refusal():
    assert [s for s in (None, 302, 400, 404, 408, 429, 500, 503) if ServerError("", s).refused] == [302, 400, 404]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["results", "since", "7"]), inner),
    max_leaves=6,
)


@settings(max_examples=500, deadline=None, database=None)
@given(st.binary(max_size=60) | JSON.map(lambda tree: json.dumps(tree).encode()))
def test_no_bytes_bring_another_error_than_a_value_error(text):
    for reply in (ModelList, WorkerTemperatures):
        with contextlib.suppress(ValueError):
            assert isinstance(parse(reply, text), reply)
