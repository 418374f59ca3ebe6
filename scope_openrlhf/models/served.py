"""The one door to servers of models: a request goes out, a typed reply comes back, or an error that names the server.

Servers speak OpenAI's protocol, and vLLM's additions to it.
"""

import math
import os
import re

import aiohttp

from scope_openrlhf.models.replies import ReplyT, parse
from scope_openrlhf.settings import api_keys

MODEST_BYTES = 2**24
"""Longest reply where no log-probs and no responses come."""
BYTES_PER_TOKEN = 1024
"""More than a server says of one token: its id, its log-prob, its rank and its text."""
CONNECT_SECONDS = 30.0
"""Longest wait for a connection, of whatever patience."""


class ServerError(RuntimeError):
    """No usable reply. The message names the server and what it said, shortened and without keys."""

    def __init__(self, message: str, status: int | None = None) -> None:
        """status: of HTTP, where it is none of a reply."""
        super().__init__(api_keys.masked(message))
        self.status = status

    @property
    def refused(self) -> bool:
        """Whether the server will not do it, however often it is asked."""
        return self.status is not None and self.status < 500 and self.status not in (408, 409, 425, 429)


class ModelServer:
    """A server by its address, with or without the /v1 that clients of OpenAI's write at its end.

    Used from one event loop, and to be closed after use.
    """

    def __init__(self, url: str, key_variable: str, patience_seconds: float, through_proxy: bool = False) -> None:
        """key_variable: of the environment, that holds the API key. patience_seconds: longest wait for a whole reply.

        through_proxy: go through the proxies that the environment names.
        """
        self.root = root(url)
        self.key_variable, self.patience_seconds, self.through_proxy = key_variable, patience_seconds, through_proxy
        self.session: aiohttp.ClientSession | None = None

    async def ask(
        self,
        reply: type[ReplyT],
        verb: str,
        path: str,
        body: dict | None = None,
        most_bytes: int = MODEST_BYTES,
        most_seconds: float = math.inf,
    ) -> ReplyT:
        """The reply to a request. Raises ServerError.

        path: below the root, for instance /v1/models. most_seconds: longest wait for it, where that is less than the
        server's patience.
        """
        where, seconds = f"{self.root}{path}", min(most_seconds, self.patience_seconds)
        try:
            status, kind, said = await self._fetch(verb, where, body, most_bytes, seconds)
        except Exception as error:  # border: a server can break HTTP in ways for which aiohttp has no class
            what = api_keys.masked(" ".join(str(error).split()))[:300] or f"not answered within {seconds:g} s"
            raise ServerError(f"{where}: {type(error).__name__}: {what}") from None
        if status != 200:
            raise ServerError(f"{where} answered {status}: {quoted(said)}", status)
        try:
            if len(said) > most_bytes:
                raise ValueError(f"it is longer than {most_bytes} bytes, which no such reply is")
            if not kind.endswith(("/json", "+json")):
                raise ValueError(f"it is {kind}, not application/json")
            return parse(reply, said)
        except ValueError as error:
            what = api_keys.masked(str(error))[:300]
            raise ServerError(f"{where} gave no reply of its kind: {what}; it said: {quoted(said)}") from None

    async def close(self) -> None:
        """End the connection; the server is somebody else's."""
        if self.session:
            await self.session.close()

    async def _fetch(
        self, verb: str, url: str, body: dict | None, most_bytes: int, seconds: float
    ) -> tuple[int, str, bytes]:
        """Status, content type and body, of which little more than most_bytes is read."""
        if self.session is None:
            key = os.environ.get(self.key_variable)
            self.session = aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {key}"} if key else {},
                # whoever asks says how much is under way at once; vLLM closes connections after some seconds and after
                # each 500, and the next request down such a one would fail
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                trust_env=self.through_proxy,
            )
        said = bytearray()
        # a key does not follow a redirect
        limit = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        async with self.session.request(verb, url, json=body, allow_redirects=False, timeout=limit) as response:
            async for chunk in response.content.iter_any():
                said += chunk
                if len(said) > most_bytes:
                    break
            return response.status, response.content_type, bytes(said)


def root(url: str) -> str:
    """An address without /v1 and slashes at its end. Example: http://host:8000/v1/ -> http://host:8000."""
    return re.sub(r"(?<=[^/:])(/+v1)?/*$", "", url)


def quoted(said: bytes) -> str:
    """The beginning of what a server said, in one line, without keys."""
    text = api_keys.masked(said[: 2**16].decode(errors="replace"))
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return f"{line[:200]}{'...' if len(line) > 200 else ''}" or "nothing"


def room(tokens: int) -> int:
    """Longest reply, in bytes, that says something of so many tokens."""
    return MODEST_BYTES + BYTES_PER_TOKEN * tokens
