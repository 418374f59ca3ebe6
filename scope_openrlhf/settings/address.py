"""The address of a server that somebody else runs, or of a Ray, as the user writes it."""

import re
from urllib.parse import urlsplit

from scope_openrlhf.settings import api_keys
from scope_openrlhf.settings.errors import ConfigError

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


def check_ray(text: str, key: str) -> None:
    """Raise ConfigError naming the key unless the text says which Ray: local, auto, or an address with its port."""
    if not re.fullmatch(r"local|auto|(ray://)?\S+:\d{1,5}", text):
        raise ConfigError(f"{key} must be local, auto or host:port, got {text!r}")
