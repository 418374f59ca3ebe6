"""Matrices, column vectors, unit vectors and values by cases of a cleaned answer."""

import re
from collections.abc import Callable

from scope_openrlhf.verifier.brackets import closes_at_end, split_top
from scope_openrlhf.verifier.forms import Bracket, Cases, Form, Math, Matrix, Words

_MATRIX = re.compile(r"\\begin\{([pbB]?matrix|smallmatrix|array)\}(?:\{[^{}]*\})?(.*)\\end\{\1\}", re.DOTALL)
_CASES = re.compile(r"\\?\{?\s*\\begin\{([dr]?cases|array)\}(?:\{[^{}]*\})?(.*)\\end\{\1\}$", re.DOTALL)
_TRANSPOSED = re.compile(r"\s*\^\s*(?:\{?\s*\\top\s*\}?|\{?\s*T\s*\}?|\{?\s*t\s*\}?)$")
_UNIT_VECTOR = re.compile(r"\\hat\{([ijkxyz])\}")
_IF = re.compile(r"^\s*(?:⟦\s*,?\s*(?:if|for|when|where)\s*⟧|(?:if|for|when|where)\s)\s*")

Inner = Callable[[str], Form]


def parse_table(text: str, inner: Inner) -> Form | None:
    """Read a matrix, a transposed row, or values by cases; None for anything else."""
    if ("cases}" in text or text.startswith(r"\{")) and (match := _CASES.fullmatch(text)):
        return _cases(match[2], inner)
    if behind := _TRANSPOSED.search(text):
        rows = inner(text[: behind.start()]) if text[0] in "([\\" and _whole(text[: behind.start()]) else None
        if isinstance(rows, Matrix):
            return Matrix(tuple(zip(*rows.rows, strict=True))) if len({len(r) for r in rows.rows}) == 1 else None
        if isinstance(rows, Bracket):
            return Matrix(tuple((cell,) for cell in rows.items))
        return None
    return _matrix(text, inner) if r"\begin" in text else None


def _whole(text: str) -> bool:
    """Whether a text is one matrix or stands in one pair of brackets."""
    return bool(_MATRIX.fullmatch(text.strip())) or closes_at_end(text.strip())


def _matrix(text: str, inner: Inner) -> Form | None:
    """Read a matrix, with the factor before it multiplied into its cells; None for anything else."""
    match = _MATRIX.search(text)
    if not match:
        return None
    cells = [split_top(row, re.compile("&")) for row in match[2].replace(r"\hline", "").split("⏎") if row.strip()]
    rows = tuple(tuple(inner(cell) for cell in row) for row in cells)
    factor, behind = text[: match.start()].strip().rstrip("([ "), text[match.end() :].strip(" )].")
    if not factor and not behind:
        return rows[0][0] if match[1] == "array" and len(rows) == 1 and len(rows[0]) == 1 else Matrix(rows)
    if behind or re.search(r"[=<>⟦]|\\begin|\\in(?![a-z])|\\equiv", factor):
        return None
    scale = "-1" if factor == "-" else factor.removesuffix(r"\cdot").removesuffix(r"\times").strip()
    return Matrix(tuple(tuple(Math(rf"({scale})\cdot({cell.strip()})") for cell in row) for row in cells))


def _cases(content: str, inner: Inner) -> Form | None:
    """Read the rows "value & condition"; the condition may also stand behind a comma or an "if".

    Equations below each other are a list.
    """
    if "&" not in content and "⟦" not in content and all("=" in row for row in content.split("⏎") if row.strip()):
        return inner(", ".join(row.strip(" ,.;") for row in content.split("⏎") if row.strip()))
    branches = []
    for row in content.split("⏎"):
        if not row.strip(" ,.;&"):
            continue
        cells = split_top(row, re.compile("&"))
        if len(cells) == 1:
            cells = split_top(row, re.compile(r",(?=[^,]*$)|⟦\s*,?\s*(?:if|for|when)\s*⟧"))
        if len(cells) > 2:
            cells = [cells[0], " ".join(cells[1:])]
        if len(cells) != 2:
            return None
        condition = _IF.sub("", cells[1].strip(" ,.;")).strip(" ,.;")
        condition = re.sub(r"⟦\s*(?:if|for|when)\s+", "⟦", condition)
        branches.append((inner(cells[0].strip(" ,;")), inner(condition) if condition else Words("otherwise")))
    return Cases(tuple(branches)) if branches else None


def spoken_cases(text: str, inner: Inner) -> Cases | None:
    """Read "2 if n is even, 7 if n is odd" as cases; None for anything else."""
    if "⟦if" not in text and "⟦when" not in text:
        return None
    pieces = [p for p in split_top(text, re.compile(r"[,;]|⟦\s*(?:and|otherwise)\s*⟧")) if p.strip()]
    rows = [re.fullmatch(r"(.+?)⟦\s*(?:if|when)\b\s*([^⟧]*)⟧(.*)", p.strip()) for p in pieces]
    if len(rows) < 2 or not all(rows):
        return None
    branches = [(inner(row[1]), inner(f"⟦{row[2]}⟧{row[3]}".removeprefix("⟦⟧").strip())) for row in rows if row]
    return Cases(tuple(branches))


def vector_of(text: str, inner: Inner) -> Matrix | None:
    """Read 3i - 2j + k with hats as a column of three; None for anything else."""
    if not _UNIT_VECTOR.search(text):
        return None
    parts: dict[str, str] = {}
    signs = ["+", *re.findall(r"[+-]", _outside_brackets(text))]
    terms = split_top(text, re.compile(r"[+-]"))
    for sign, term in zip(signs, terms, strict=False):
        if not term.strip():
            continue
        match = re.fullmatch(r"(.*?)\s*(?:\\cdot\s*)?\\hat\{([ijkxyz])\}", term.strip())
        if not match or r"\hat" in match[1] or match[2] in parts:
            return None
        parts[match[2]] = (sign if sign == "-" else "") + (match[1].strip() or "1")
    axes = "ijk" if set(parts) <= set("ijk") else "xyz"
    if not set(parts) <= set(axes):
        return None
    return Matrix(tuple((inner(parts.get(axis, "0")),) for axis in axes), axes=True)


def _outside_brackets(text: str) -> str:
    """What of a text stands in no bracket."""
    depth, found = 0, []
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        if depth == 0:
            found.append(c)
    return "".join(found)
