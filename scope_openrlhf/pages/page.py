"""A page of one file. It needs no network, and runs no script but those of this project."""

import base64
import hashlib
import html
import json
from pathlib import Path
from typing import Any

from scope_openrlhf.files.disk import write_whole

HERE = Path(__file__).parent
SCRIPTS = ("katex.min.js", "page.js", "chart.js")
"""What every page has, in the order in which it is read."""
CLIPPED = 4_000
"""Characters of a clipped text that are kept: a quarter at its beginning, the rest at its end."""


def write_page(file: Path, title: str, source: Path, data: Any) -> None:
    """Write a page, whole or not at all. Raises OSError.

    source: its HTML; its style and its script lie beside it under the same name. data: what the script reads; texts
    from models and data sets go there and nowhere else.
    """
    scripts = [*((HERE / name).read_text("utf-8") for name in SCRIPTS), source.with_suffix(".js").read_text("utf-8")]
    pieces = {
        "TITLE": html.escape(title),
        # the browser runs these scripts and no other
        "HASHES": " ".join(f"'sha256-{digest(script)}'" for script in scripts),
        "STYLE": (HERE / "page.css").read_text("utf-8") + source.with_suffix(".css").read_text("utf-8"),
        "BODY": source.read_text("utf-8"),
        "DATA": json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        "SCRIPTS": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    before, *rest = (HERE / "page.html").read_text("utf-8").split("@@")
    page = before + "".join(pieces[p] if i % 2 == 0 else p for i, p in enumerate(rest))
    # half a surrogate pair is no text, but JSON can spell it
    write_whole(file, page.encode("utf-8", "backslashreplace").decode())


def digest(script: str) -> str:
    """SHA-256 of a script as a page's policy names it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def clip(text: str, most: int = CLIPPED) -> str:
    """Head and tail of a text of more characters than `most`."""
    if len(text) <= most:
        return text
    head = most // 4
    return f"{text[:head]}\n\n[... {len(text) - most} characters left out ...]\n\n{text[head - most :]}"
