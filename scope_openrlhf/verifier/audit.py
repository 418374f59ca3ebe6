"""Audit of gold answers: those that rules cannot grade are found before a model is evaluated on them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from scope_openrlhf.verifier.compare import readings
from scope_openrlhf.verifier.forms import Based, Items, Math, Matrix, Words
from scope_openrlhf.verifier.gold import NoGold, read_gold, why_no_answer, why_ungradable
from scope_openrlhf.verifier.grader import Grader
from scope_openrlhf.verifier.kinds import has_words
from scope_openrlhf.verifier.numbers import Number
from scope_openrlhf.verifier.spelling import clean


@dataclass(frozen=True)
class Finding:
    """A gold answer that needs a look.

    Example: Finding("minerva-38", "-1./3", "spelling", "\\\\frac{-1}{3}")
    """

    id: str
    gold: str
    kind: str
    """One of three.

    no mathematics: it is graded as text alone. not readable: it is no answer, or an answer in other words cannot be
    graded. spelling: a common spelling is refused.
    """
    example: str


def audit(rows: Iterable[tuple[str, object]], grader: Grader) -> list[Finding]:
    """List what is wrong with golds. rows: (id, gold) pairs, each gold as the data have it."""
    findings = []
    for name, value in rows:
        try:
            gold = read_gold(value)
        except NoGold as error:
            findings.append(Finding(name, f"{value!r:.200}", "not readable", str(error)))
            continue
        if why := why_no_answer(gold):
            findings.append(Finding(name, gold, "not readable", why))
            continue
        if has_words(readings(clean(gold), gold=True)[0]):
            findings.append(Finding(name, gold, "no mathematics", ""))
        if why := why_ungradable(gold, grader):
            findings.append(Finding(name, gold, "not readable", why))
        for spelling in spellings(gold):
            verdict = grader.verify(gold, rf"\boxed{{{spelling}}}")
            if not verdict.right:
                findings.append(Finding(name, gold, "spelling", f"{spelling}: {verdict.verdict}, {verdict.reason}"))
    return findings


def spellings(gold: str) -> list[str]:
    """Other ways to write a gold answer that a model is likely to choose."""
    form = readings(clean(gold), gold=True)[0]
    found = [
        gold,
        f"{gold}.",
        f"${gold}$",
        gold.replace(r"\frac", r"\dfrac"),
        gold.replace("(", r"\left(").replace(")", r"\right)"),
    ]
    if isinstance(form, Number) and not form.mark:
        v = form.value
        found.append(rf"\frac{{{v.numerator}}}{{{v.denominator}}}" if v.denominator > 1 else f"{v.numerator}.0")
        if v.denominator == 1 and abs(v) >= 1000:
            found += [f"{v.numerator:,}".replace(",", sep) for sep in (",", "{,}", r"\,")]
        if v and (10_000 <= abs(v) < 10**300 or 10**-300 < abs(v) < 0.001):
            mantissa, power = f"{float(v):.15e}".split("e")
            mantissa = mantissa.rstrip("0").rstrip(".")
            if float(f"{mantissa}e{power}") == float(v) and len(mantissa) < 14:
                found += [
                    rf"{mantissa} \times 10^{{{int(power)}}}",
                    rf"{mantissa}\cdot10^{{{int(power)}}}",
                    f"{mantissa}e{int(power)}",
                ]
        found += [f"x = {gold}", rf"{gold} \text{{ units}}"]
    elif isinstance(form, Items):
        pieces = re.split(r",", gold)
        if len(pieces) == len(form.items) and not re.search(r"[\\{(\[]", gold):
            found.append(", ".join(p.strip() for p in reversed(pieces)))
    elif isinstance(form, Math | Matrix):
        found.append(gold.replace("+", " + ").replace("-", " - "))
    elif isinstance(form, Words):
        found += [rf"\text{{{gold}}}" if "\\" not in gold else gold, gold.upper() if "\\" not in gold else gold]
    elif isinstance(form, Based):
        found.append(re.sub(r"_\{?(\w+)\}?$", r"_{\1}", gold))
    return list(dict.fromkeys(found))
