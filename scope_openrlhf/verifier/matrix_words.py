"""Products of matrices, whose letters have an order: X^T X is not X X^T."""

import re
from collections import Counter

from scope_openrlhf.verifier.brackets import split_top

_TELLS = re.compile(
    r"([A-Z])\s*([A-Z])\s*-\s*\2\s*\1(?![A-Z])|\\top"
    r"|\([A-Z]\s*[A-Z]+\)\s*\^\s*\{?\s*-1\}|[A-Z]\s*\^\s*(?=\{-1\}|[^{]|\{[^-])\{?\s*(?:-1|T|\*|\\ast|\\dagger|H)\s*\}?"
)
_TOKEN = re.compile(
    r"([A-Z](?:_\{[^{}]*\})?)\s*(?:\^\s*(?:\{\s*([^{}]*)\s*\}|(\\[a-z]+|\w|\*)))?"
    r"|(\\[a-zA-Z]+|[a-z])(?:_\{[^{}]*\})?(?:\^\{[^{}]*\}|\^\w)?|(\d+(?:/\d+)?|\\frac\{\d+\}\{\d+\})|\\cdot|\s+"
)


def order_matters(text: str) -> bool:
    """Whether an expression is of matrices: a capital letter is transposed or inverted, beside another one."""
    if not _TELLS.search(text) or (r"\frac" in text and r"\top" not in text):
        return False
    letters = re.findall("[a-zA-Z]", re.sub(r"\\[a-zA-Z]+|\^\{?T\}?", "", text))
    return len(letters) > 1 or r"\top" in text or "T}" in text


def same_products(gold: str, answer: str) -> bool:
    """Whether two sums of products are the same, term by term, with the order of the capital letters kept."""
    gold, answer = (re.sub(r"\^\s*(?:\{\s*(?:\\top|T)\s*\}|\\top|T)", "^{T}", text) for text in (gold, answer))
    g, a = _terms(gold), _terms(answer)
    plain = [re.sub(r"\\cdot|\s", "", text) for text in (gold, answer)]
    return plain[0] == plain[1] or (g is not None and g == a)


def _terms(text: str) -> Counter[tuple[str, tuple[str, ...], tuple[str, ...]]] | None:
    """Count of (number, other factors in any order, matrices in their order); None for what is no such sum."""
    found: Counter[tuple[str, tuple[str, ...], tuple[str, ...]]] = Counter()
    signs = re.findall(r"[+-]", re.sub(r"\{[^{}]*\}", "", text))
    terms = split_top(text, re.compile("[+-]"))
    for sign, term in zip(["+", *signs], terms, strict=False):
        if not term.strip():
            continue
        number, factors, matrices, at = "", [], [], 0
        while at < len(term):
            match = _TOKEN.match(term, at)
            if not match or match.end() == at:
                return None
            if match[1]:
                matrices.append(f"{match[1]}^{(match[2] or match[3] or '1').strip()}")
            elif match[4] and len(match[4]) == 1:
                matrices.append(match[0].replace(" ", ""))  # a vector, as like as not
            elif match[4]:
                factors.append(match[0].replace(" ", ""))
            elif match[5]:
                number += f"{match[5]} "
            at = match.end()
        found[(sign + (number or "1"), tuple(sorted(factors)), tuple(matrices))] += 1
    return found
