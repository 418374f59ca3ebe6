"""Exact numbers: integers, decimals, fractions, mixed numbers and powers of ten, read without sympy."""

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_EXPONENT = 1_000


@dataclass(frozen=True)
class Number:
    """A number with its figures and unit.

    Example, "4.50\\%": Number(Fraction(9, 2), places=Fraction(1, 100), mark="%")
    """

    value: Fraction
    places: Fraction | None = None
    """Value of one in the last place of a decimal with two figures or more; None: an exact number."""
    mark: str = ""
    """Sign behind the number: "%", "deg" or none."""
    unit: str = ""


_DECIMAL = r"(?:\d++(?:\.\d*+)?|\.\d++)"
_SCIENTIFIC = re.compile(
    rf"(?P<sign>[+-]?)(?:(?P<mantissa>{_DECIMAL})"
    r"(?:(?:\\times|\\cdot|\*|x|X)10\^(?:\{(?P<a>[+-]?\d+)\}|(?P<b>[+-]?\d+))|[eE](?P<c>[+-]?\d+))"
    rf"|10\^(?:\{{(?P<d>[+-]?\d+)\}}|(?P<e>\d+))(?:(?:\\times|\\cdot|\*)(?P<after>{_DECIMAL}))?)"
)
_PLAIN_DECIMAL = re.compile(rf"[+-]?{_DECIMAL}")
_REPEATING = re.compile(r"([+-]?)(\d*+)\.(\d*+)\\(?:overline|bar|dot)\{(\d+)\}")
_ANGLE = re.compile(r"(\d+)\s*\^\\circ\s*(\d+)\s*'(?!')(?:\s*(\d+)\s*'')?")
_MIXED = re.compile(r"([+-]?)(\d++)\s*\\frac\{(\d++)\}\{(\d++)\}|([+-]?)(\d++) (\d++)/(\d++)")


def parse_number(text: str) -> Number | None:
    """Read an integer, decimal, fraction, mixed number, power of ten or repeating decimal, in percent or degrees too.

    None for anything else.
    """
    text = text.strip()
    mark = ""
    if found := re.search(r"\s*(?:\\%|%|⟦\s*(?:\\?%|percent)\s*⟧|\s(?:percent|percentage))\s*$", text):
        text, mark = text[: found.start()], "%"
    elif found := re.search(r"\s*(?:\^\\circ|⟦\s*deg(?:rees?)?\s*⟧|\sdeg(?:rees?)?)\s*$", text):
        text, mark = text[: found.start()], "deg"
    if angle := _ANGLE.fullmatch(text):
        return Number(sum(Fraction(part or 0) / 60**k for k, part in enumerate(angle.groups())), None, "deg")
    number = _bare_number(text.strip())
    return number and Number(number.value, number.places, mark)


def _bare_number(text: str, depth: int = 0) -> Number | None:
    while text[:1] == "{" and text[-1:] == "}" and text.count("{") == 1:
        text = text[1:-1].strip()
    if match := _MIXED.fullmatch(text):
        sign, whole, top, bottom = match.groups()[:4] if match[2] else match.groups()[4:]
        if 0 < int(top) < int(bottom):
            value = int(whole) + Fraction(int(top), int(bottom))
            return Number(-value if sign == "-" else value)
    if re.search(r"\d\s+[\d.]|,\s|\s[eE]\b|[eE][+-]?\s", text):  # two numbers side by side are not one
        return None
    text = text.replace(" ", "")
    if not text or depth > 3:
        return None
    if match := re.fullmatch(r"([+-]?)\(([+-]?[^(),]*)\)", text):
        inner = _bare_number(match[2], depth + 1)
        return inner and (Number(-inner.value, inner.places) if match[1] == "-" else inner)
    if _PLAIN_DECIMAL.fullmatch(text) and text.isascii():
        return _decimal(text, 0)
    if match := _SCIENTIFIC.fullmatch(text):
        power = int(match["a"] or match["b"] or match["c"] or match["d"] or match["e"])
        number = _decimal(match["mantissa"] or match["after"] or "1", power) if abs(power) <= MAX_EXPONENT else None
        return number and (Number(-number.value, number.places) if match["sign"] == "-" else number)
    if match := _REPEATING.fullmatch(text):
        sign, whole, fixed, again = match.groups()
        value = int(whole or "0") + Fraction(
            int(fixed or "0") * (10 ** len(again) - 1) + int(again), 10 ** len(fixed) * (10 ** len(again) - 1)
        )
        return Number(-value if sign == "-" else value)
    match = re.fullmatch(r"([+-]?)\\frac\{([^{}]+)\}\{([^{}]+)\}|()([^/()]+)/([^/()]+)", text)
    if match:
        sign, top, bottom = match.groups()[:3] if match[2] else match.groups()[3:]
        a, b = _bare_number(top, depth + 1), _bare_number(bottom, depth + 1)
        if a and b and b.value:
            return Number((-1 if sign == "-" else 1) * a.value / b.value)
    return None


def _decimal(text: str, power: int) -> Number:
    """Read digits times ten to a power.

    A number with a point or a power of ten states its figures; an integer is exact.
    """
    whole, _, digits = text.lstrip("+-").partition(".")
    scale = Fraction(10) ** power
    figures = len((whole + digits).lstrip("0"))
    stated = ("." in text or power) and figures > 1
    return Number(
        Fraction(text.rstrip(".") if text.strip("+-.") else "0") * scale,
        Fraction(1, 10 ** len(digits)) * scale if stated else None,
    )
