"""The address of a server that somebody else runs, as the user writes it."""

from urllib.parse import urlsplit

from scope_openrlhf.settings import api_keys

EXAMPLE = "http://host:8000"


def fault(url: str) -> str | None:
    """Why a text is no address of a server, which follows the key; None where it is one."""
    if api_keys.with_secret(url):
        return f"must be an address alone, for instance {EXAMPLE}: no user, no password, no parameters"
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:  # brackets of IPv6, a port that is no number
        sound = False
    if not sound or any(c.isspace() for c in url):
        return f"must be an address that begins with http:// or https://, for instance {EXAMPLE}; it is {url!r:.80}"
    return None
