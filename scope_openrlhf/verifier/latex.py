"""Reading of LaTeX as a sympy expression, by latex2sympy2-extended."""

import functools
import re

import sympy
from latex2sympy2_extended import NormalizationConfig, latex2sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig

from scope_openrlhf.verifier.vocabulary import FUNCTIONS, GREEK

_CONVERSION = ConversionConfig(interpret_as_mixed_fractions=True, lowercase_symbols=False)
_NORMALIZATION = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=False, nits=False, boxed="none", equations=False
)
_PLAIN_NAMES = re.compile(
    r"(?:np\.|math\.)?(?<![\\a-zA-Z])("
    + "|".join(sorted([*FUNCTIONS, *GREEK, "infty", "infinity", "inf"], key=len, reverse=True))
    + r")(?![a-zA-Z])"
)
_LETTER = re.compile(r"\\[a-zA-Z]+|([a-zA-Z])_(?:\{([^{}]*)\}|(\w))|(?<!_\{)I")
_MIXED = re.compile(r"(?<![\w.}\\])(\d+)\s*\\frac\{(\d+)\}\{(\d+)\}")
_DERIVATIVE = re.compile(r"\\frac\s*\{\s*d\s*(\^\{?2\}?)?\s*([a-zA-Z])\s*\}\s*\{\s*d\s*[a-zA-Z]\s*(?:\^\{?2\}?)?\s*\}")
_ACCENT = re.compile(r"\\(dot|ddot|hat|vec|bar|tilde|overline)\s*(?:\{\s*([a-zA-Z])\s*\}|(?<=[a-z])\s+([a-zA-Z]))")


class Unreadable(ValueError):
    """Text that latex2sympy cannot read."""


@functools.lru_cache(maxsize=4096)
def read(text: str) -> sympy.Basic:
    """Read LaTeX without evaluating it: an expression, a relation, a set or a logical formula. Raises Unreadable."""
    if text.count("⟦"):
        raise Unreadable(text)
    text = _plain_letters(_plain_functions(text))
    if re.search(r"\d\s+\.?\d", text):
        raise Unreadable(text)  # the parser would read "1 2" as 12
    try:
        return latex2sympy(text.strip(), conversion_config=_CONVERSION, normalization_config=_NORMALIZATION)
    except RecursionError:
        raise
    except Exception as error:  # border to a parser: any of its exceptions means that it cannot read this
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def _plain_functions(text: str) -> str:
    """Write percent, degrees, powers of ten, functions, mixed numbers and derivatives as the parser knows them."""
    text = re.sub(r"(\d+\.?\d*|\.\d+)\s*(?:\\%|%)", r"(\1/100)", text)
    text = re.sub(r"(\d+\.?\d*|\.\d+)\s*\^\\circ", r"(\1\\pi/180)", text)
    text = re.sub(r"(\d+\.?\d*|\.\d+)[eE]([+-]?\d{1,3})(?![\w])", r"\1\\cdot 10^{\2}", text)
    text = _PLAIN_NAMES.sub(lambda m: {"infinity": r"\infty ", "inf": r"\infty "}.get(m[1], f"\\{m[1]} "), text)
    text = re.sub(
        r"\\(sqrt|exp)\s*\(([^()]*)\)", lambda m: rf"\sqrt{{{m[2]}}}" if m[1] == "sqrt" else rf"e^{{{m[2]}}}", text
    )
    text = re.sub(r"\\exp\s*\{([^{}]*)\}", r"e^{\1}", text)
    text = re.sub(r"\\lg(?![a-zA-Z])", r"\\log_{10}", text)
    text = re.sub(r"\\log\s*_\s*(?:\{\s*e\s*\}|e)", r"\\ln ", text)
    text = re.sub(r"\\log\s*_\s*(?:\{([^{}]*)\}|(\w))\s*(\d+)", lambda m: rf"\log_{{{m[1] or m[2]}}}({m[3]})", text)
    text = _MIXED.sub(lambda m: rf"({m[1]}+\frac{{{m[2]}}}{{{m[3]}}})" if int(m[2]) < int(m[3]) else m[0], text)
    text = _DERIVATIVE.sub(lambda m: f"{m[2]}_{{prime{2 if m[1] else 1}}}", text)
    return text


def _plain_letters(text: str) -> str:
    """Write letters with primes, accents and subscripts as the parser takes them for symbols."""
    # gamma and Gamma, which the parser applies to what follows unless they are plain letters
    text = re.sub(r"\\(gamma(?![a-zA-Z])|Gamma(?![a-zA-Z]|\s*\())", r" Z_{\1letter}", text)
    text = _LETTER.sub(_rename, text)
    text = re.sub(r"([a-zA-Z]|(?<=\}))('+)", lambda m: f"{m[1]}_{{prime{len(m[2])}}}", text)
    text = _ACCENT.sub(
        lambda m: f"{m[2] or m[3]}_{{{'prime' + str(m[1].count('d')) if 'dot' in m[1] else m[1]}}}", text
    )
    for _ in range(2):
        text = re.sub(r"_\{([^{}]*)\}\s*_(?:\{(\w*)\}|(\w))", lambda m: f"_{{{m[1]}{m[2] or m[3]}}}", text)
    text = re.sub(r"\\mathcal\s*\{?([A-Z])\}?", r"\1_{cal}", text)
    return text


def _rename(match: re.Match[str]) -> str:
    """Rename E_1, I_0, e_x and I, which the parser takes for constants; a subscript is letters and digits."""
    if match[0] == "I":
        return " Z_{current}"
    if not match[1]:
        return match[0]
    subscript = re.sub(r"[^0-9a-zA-Z]", "", match[2] or match[3] or "")
    return f" Z_{{q{match[1]}{subscript}}}" if match[1] in "EIei" else f" {match[1]}_{{{subscript}}}"
