"""Units of measure and counted things behind a number."""

import re

from scope_openrlhf.verifier.numbers import parse_number
from scope_openrlhf.verifier.vocabulary import CHANGING, COUNTED, FUNCTIONS, GREEK, PREFIXED, PREPOSITIONS, UNITS

_PLAIN_UNIT = re.compile(
    r"^(.*[\d})\]])(?:( +)|(?=[a-zA-Z]))([a-zA-Z]+(?:(?:\s*/\s*|\s+|\s*\\cdot\s*)[a-zA-Z]+|\^\{?-?\d+\}?)*)$"
)
_IN_BRACKETS = re.compile(r"^(.*[\d})\]])\s*\(\s*⟦?\s*([a-zA-Z][a-zA-Z ]+?)\s*⟧?\s*\)$")
_SAYS_NOTHING = {"unit", "square", "cubic", "per", ""}
_PART = re.compile(r"(?!months)\w{2,}ths|\w*illions?|lakhs?|crores?")
"""Parts and multiples: sixteenths, quadrillions. (Months are none.)"""
_NO_NOUNS = {
    "fails",
    "misses",
    "works",
    "holds",
    "remains",
    "equals",
    "makes",
    "does",
    "gets",
    "becomes",
    "exists",
    "plus",
    "minus",
    "less",
    "times",
    "has",
    "was",
    "yes",
    "versus",
    "thus",
    "this",
    "gives",
}
"""Words that end as a plural does."""


def decorates(words: str) -> bool:
    """Whether words behind a number leave its value as it is: a unit, a counted thing, or words that describe one.

    "cm", "square units", "red apples" and "ways to go" do; "k", "dozen", "when n" and "odd" do not.
    """
    words = re.sub("[⟦⟧]", " ", words)
    found = re.findall(r"[^\W\d_]+", words)
    lowered = [w.lower() for w in found]
    if not CHANGING.isdisjoint(lowered) or any(_PART.fullmatch(w) for w in lowered):
        return False
    if lowered[:2] == ["of", "the"]:
        return True
    if not found:
        return not re.search(r"[^\s().,!/^{}\d-]", words)
    if all(_is_unit(w) for w in found):
        return True
    if not words.isascii():  # a counted thing in another script or with an accent: 个, mètres
        return len(found) == 1
    head = next((i for i, w in enumerate(lowered) if i and w in PREPOSITIONS), len(found))
    return _is_noun(found[head - 1]) and all(len(w) > 2 or _is_unit(w) for w in found[: head - 1])


def _is_unit(word: str) -> bool:
    return word in UNITS or word in PREFIXED or (len(word) > 2 and word.lower() in UNITS)


def _is_noun(word: str) -> bool:
    """Whether a word names a unit or a counted thing; plurals are told by their s."""
    lower = word.lower()
    plural = len(word) > 3 and lower.endswith("s") and lower not in _NO_NOUNS
    return _is_unit(word) or lower in COUNTED or (plural and lower not in GREEK and lower not in FUNCTIONS)


def unit_of(text: str) -> str:
    """One spelling of a unit: "h^-1 km" for "kilometers per hour". Words that are no units stay as they are."""
    text = re.sub(
        r"[⟦⟧{}()]|\\cdot|\\", " ", re.sub(r"\^\s*\{?\s*(-?\d+)\s*\}?", r" ^\1 ", text.replace(".", ""))
    ).replace("/", " / ")
    text = re.sub(r"\b(?:square|sq) (\w+)", r"\1 ^2", re.sub(r"\b(?:cubic|cu) (\w+)", r"\1 ^3", text))
    text = re.sub(r"\bmph\b", "mile / h", re.sub(r"\bk(?:ph|mh)\b", "km / h", text)).replace(" per ", " / ")
    powers: list[tuple[str, int]] = []
    sign = 1
    for word in text.split():
        if word == "/":
            sign = -1
        elif word[0] == "^" and powers and re.fullmatch(r"\^-?\d+", word):
            powers[-1] = powers[-1][0], powers[-1][1] * int(word[1:])
        elif (
            name := UNITS.get(word, (UNITS.get(word.lower()) if len(word) > 2 else None) or word)
        ) not in _SAYS_NOTHING:
            powers.append((name, sign))
    if all(name in UNITS.values() or name in PREFIXED for name, _ in powers):
        powers.sort()
    return " ".join(name if power == 1 else f"{name}^{power}" for name, power in powers)


def split_unit(text: str, plain: bool) -> tuple[str, str]:
    """Split a value from its unit: "5⟦cm⟧" into "5" and "cm", with plain also "5 cm". Without a unit that is empty."""
    start = text.find("⟦")
    while start > 0:
        rest = text[start:]
        nothing_else = not re.sub(r"⟦[^⟧]*⟧|\^\s*\{?\s*-?\d+\}?|[\s/.*})]|\\cdot|\\times", "", rest)
        before = text[:start].rstrip()
        if before.endswith("(") and rest.rstrip(" .").endswith(")"):
            before, rest = before[:-1].rstrip(), rest.rstrip(" .")[:-1]
        if nothing_else and decorates(rest) and re.search(r"[\w})\]!|%]$", before) and _balanced(before):
            return before, unit_of(rest)
        start = text.find("⟦", start + 1)
    if plain and (match := _IN_BRACKETS.match(text)) and decorates(match[2]) and _balanced(match[1]):
        return match[1].strip(), unit_of(match[2])
    match = _PLAIN_UNIT.match(text) if plain else None
    if match and decorates(match[3]):
        value, space, tail = match[1], match[2], match[3]
        words = re.findall("[a-zA-Z]+", tail)
        known = [w in UNITS or (space and w in PREFIXED) or (len(w) > 2 and w.lower() in UNITS) for w in words]
        wordlike = [len(w) > 3 and w.lower() not in GREEK and w not in FUNCTIONS for w in words]
        fits = all(k or w for k, w in zip(known, wordlike, strict=True)) if space else all(known) and len(words[0]) > 1
        # of one letter only behind a plain number: r^2 h is a product
        if (
            fits
            and _balanced(value)
            and (all(len(w) > 1 for w in words) or (parse_number(value) and (len(words) == 1 or "/" in tail)))
        ):
            return value.strip(), unit_of(tail)
    return text, ""


def _balanced(text: str) -> bool:
    """Whether every bracket that opens in a text closes in it."""
    return text.count("{") == text.count("}") and text.count("(") == text.count(")")
