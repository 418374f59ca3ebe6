"""Units of measure and counted things behind a number."""

import re

from scope_openrlhf.verifier.vocabulary import FUNCTIONS, GREEK, NO_UNITS, PREFIXED, UNITS

_PLAIN_UNIT = re.compile(
    r"^(.*[\d})\]])(?:( +)|(?=[a-zA-Z]))([a-zA-Z]+(?:(?:\s*/\s*|\s+|\s*\\cdot\s*)[a-zA-Z]+|\^\{?-?\d+\}?)*)$"
)
_COUNTED = {"unit", "square", "cubic", "per", ""}


def _says_more(words: str) -> bool:
    """Whether words behind a number change it, as "million" and "or more" do."""
    return not NO_UNITS.isdisjoint(re.findall("[a-z]+", words.lower()))


def unit_of(text: str) -> str:
    """One spelling of a unit: km/h for "kilometers per hour". Words that are no units stay as they are."""
    text = re.sub(
        r"[⟦⟧{}]|\\cdot|\\", " ", re.sub(r"\^\s*\{?\s*(-?\d+)\s*\}?", r" ^\1 ", text.replace(".", ""))
    ).replace("/", " / ")
    text = re.sub(r"\bsquare (\w+)", r"\1 ^2", re.sub(r"\bcubic (\w+)", r"\1 ^3", text))
    words = [
        UNITS.get(w, (UNITS.get(w.lower()) if len(w) > 2 else None) or w) for w in text.replace(" per ", " / ").split()
    ]
    return " ".join(w for w in words if w not in _COUNTED)


def split_unit(text: str, plain: bool) -> tuple[str, str]:
    """Split a value from its unit: "5⟦cm⟧" into "5" and "cm", with plain also "5 cm". Without a unit that is empty."""
    start = text.find("⟦")
    while start > 0:
        rest = text[start:]
        nothing_else = not re.sub(r"⟦[^⟧]*⟧|\^\s*\{?\s*-?\d+\}?|[\s/.*}]|\\cdot|\\times", "", rest)
        if nothing_else and not _says_more(rest) and re.search(r"[\w})\]!|%]$", text[:start].rstrip()):
            return text[:start].strip(), unit_of(rest)
        start = text.find("⟦", start + 1)
    match = _PLAIN_UNIT.match(text) if plain else None
    if match and not _says_more(match[3]):
        value, space, tail = match[1], match[2], match[3]
        words = re.findall("[a-zA-Z]+", tail)
        known = [w in UNITS or (space and w in PREFIXED) or (len(w) > 2 and w.lower() in UNITS) for w in words]
        wordlike = [len(w) > 3 and w.lower() not in GREEK and w not in FUNCTIONS for w in words]
        fits = all(k or w for k, w in zip(known, wordlike, strict=True)) if space else all(known) and len(words[0]) > 1
        if fits and value.count("{") == value.count("}"):
            return value.strip(), unit_of(tail)
    return text, ""
