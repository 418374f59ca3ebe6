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
_LETTER = re.compile(r"\\[a-zA-Z]+|([a-zA-Z])_(?:\{([^{}]*)\}|(\w))|(?<!_\{)[IT]")
_MIXED = re.compile(r"(?<![\w.}\\])(\d+)\s*\\frac\{(\d+)\}\{(\d+)\}")
_DERIVATIVE = re.compile(
    r"\\frac\s*\{\s*d\s*(\^\{?2\}?)?\s*(\\?[a-zA-Z]+)\s*\}\s*\{\s*d\s*[a-zA-Z]\s*(?:\^\{?2\}?)?\s*\}"
)
_ACCENT = re.compile(
    r"\\(dot|ddot|hat|vec|bar|tilde|overline)\s*(?:\{\s*\\?([a-zA-Z]+)\s*\}|(?<=[a-z])\s+([a-zA-Z])|\\([a-z]+))"
)


class Unreadable(ValueError):
    """Text that latex2sympy cannot read."""


_KNOWN = {
    *FUNCTIONS, *GREEK, *(letter.capitalize() for letter in GREEK), "frac", "cdot", "times", "div", "left", "right",
    "infty", "binom", "lfloor", "rfloor", "lceil", "rceil", "sum", "prod", "int", "pm", "mp", "emptyset", "cup", "cap",
    "setminus", "in", "mathbb", "begin", "end", "le", "ge", "ne", "to", "partial", "overline", "bar", "limits",
    "epsilon", "arcsinh", "arccosh", "arctanh", "max", "min", "operatorname", "mathrm", "text", "hat", "vec", "dot",
    "ddot", "tilde", "mathcal", "oint", "iint", "differentialD", "log", "lg", "prime", "circ", "approx", "subset",
}  # fmt: skip
"""Commands that the parser knows; any other one is a symbol of its own."""
_COMMAND = re.compile(r"\\([a-zA-Z]+)(?:_\{([^{}]*)\})?")
_NORM = re.compile(r"\\\|([^|]*)\\\|(_\{[^{}]*\})?")
_DOUBLE_FACTORIAL = re.compile(r"(?<![\d.])(\d{1,4})!!(?!!)")
_OPERATOR = re.compile(
    r"\\(det|arg|deg|Re|Im|sup|inf|mod)(?![a-zA-Z])(?!\s*\(?\\begin)\s*(?:\(([^()]*)\)|([a-zA-Z])(?![a-zA-Z]))?"
)
_NOTATION = re.compile(r"(?:\\math(?:bb|cal|frak|sf)|[A-Z]|Z_)[^=<>&+]{0,80}")
"""Names of spaces and groups, such as C([0,1]), which are the same where they are spelled alike."""
_SPECIAL = re.compile(r"([JYIKPHLTU]_\{[^{}]*\}|(?<![a-zA-Z\\}])[fgh]'*)\s*\(([^()]*[^()a-zA-Z][^()]*)\)")
_GIVEN = re.compile(
    r"(?:\\mathbb\{([EP])\}|(?<![a-zA-Z])([EP])|\\(Pr))\s*[\[(]([^()\[\]|]*)(?:\\mid|\|)([^()\[\]|]*)[\])]"
)
_ARGUMENT = re.compile(
    r"(\\(?:log|ln|sin|cos|tan|cot|sec|csc)(?:_\{[^{}]*\})?(?:\^\{?\w+\}?)?)\s*((?:\d+|[a-zA-Z]|\\(?:"
    + "|".join(GREEK)
    + r")(?![a-zA-Z])|\s)+?)\s*(?=\\(?:cdot|times|log|ln|sin|cos|tan|cot|sec|csc)(?![a-zA-Z]))"
)
"""A function whose argument ends before a sign of multiplication or another function."""
_GCD = re.compile(r"\\(gcd|lcm)\s*\(([^()]*)\)")
_DECIMAL = re.compile(r"(?<![\d.\w])(\d*)\.(\d+)(?![\d.])|(?<![\d.\w])(\d+)\.(?![\d.])")
_GEOMETRIC = re.compile(r"\\(angle|triangle)\s*\{?([A-Z]{1,4})\}?")


@functools.lru_cache(maxsize=4096)
def read(text: str) -> sympy.Basic:
    """Read LaTeX without evaluating it: an expression, a relation, a set or a logical formula. Raises Unreadable."""
    text = _plain_letters(_plain_symbols(_plain_functions(text)))
    if re.search(r"\d\s+\.?\d|\d'", text):
        raise Unreadable(text)  # the parser would read "1 2" as 12
    try:
        return latex2sympy(text.strip(), conversion_config=_CONVERSION, normalization_config=_NORMALIZATION)
    except RecursionError:
        raise
    except Exception as error:  # border to a parser: any of its exceptions means that it cannot read this
        if _NOTATION.fullmatch(text.strip()):
            return sympy.Symbol(re.sub(r"\s|\\cdot|\((?=\[)|(?<=\])\)", "", text))
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
    text = re.sub(r"(\\(?:sum|prod|int)_\{[^{}]*\})\s*\^\s*([A-Za-z])", r"\1^{\2}", text)
    text = re.sub(r"\^\s*e(?![a-zA-Z])", "^{e}", text)
    text = re.sub(r"\\lg(?![a-zA-Z])", r"\\log_{10}", text)
    text = re.sub(r"\\log\s*_\s*(?:\{\s*e\s*\}|e)", r"\\ln ", text)
    text = re.sub(r"\\log\s*_\s*(?:\{([^{}]*)\}|(\w))\s*(\d+)", lambda m: rf"\log_{{{m[1] or m[2]}}}({m[3]})", text)
    text = _MIXED.sub(lambda m: rf"({m[1]}+\frac{{{m[2]}}}{{{m[3]}}})" if int(m[2]) < int(m[3]) else m[0], text)
    text = _DERIVATIVE.sub(lambda m: _accented("ddot" if m[1] else "dot", m[2].lstrip("\\")), text)
    return text


def _plain_symbols(text: str) -> str:
    """Write decimals as fractions, so that they are exact, and whatever the parser does not know as one symbol."""
    text = _DECIMAL.sub(_fraction, text)
    text = _DOUBLE_FACTORIAL.sub(lambda m: _double_factorial(int(m[1])), text)
    text = re.sub(r"⟦([^⟧]*)⟧", lambda m: _symbol("word", m[1].casefold()), text)
    text = _NORM.sub(lambda m: _symbol("norm", _even(m[1]) + (m[2] or "")), text)
    text = re.sub(r"(_\{[^{}]*\})\s*\^\s*\{?0\}?", r"^{0}\1", text)
    text = re.sub(r"(\\[A-Z][a-z]+|[A-Z])\s*\^\s*\{?0\}?\s*_\{([^{}]*)\}", lambda m: _symbol(m[1], "0" + m[2]), text)
    text = re.sub(r"(?<![a-zA-Z\\])([a-zA-Z])\s*\[([a-zA-Z,\s]+)\]", lambda m: _symbol(m[1], f"[{m[2]}]"), text)
    text = _GIVEN.sub(_of_given, text)
    text = _SPECIAL.sub(lambda m: _symbol(m[1], f"({m[2]})"), text)
    text = re.sub(r"\\mathbb\{Z\}\s*/\s*\(?(\w+)(?:\s*\\mathbb\{Z\})?\)?|\\mathbb\{Z\}_\{(\w+)\}", _of_residues, text)
    text = re.sub(r"(?<![a-zA-Z])C_\{(\d+)\}\s*\^\s*(?:\{(\d+)\}|(\d))", r"\\binom{\1}{\2\3}", text)
    text = _GCD.sub(_of_letters, text)
    text = _OPERATOR.sub(lambda m: _symbol(m[1], m[2] or m[3] or ""), text)
    text = re.sub(r"(?<![a-zA-Z\\])C\s*\((\w+),\s*(\w+)\)", r"(\\binom{\1}{\2})", text)
    # side by side the parser would add them
    text = re.sub(r"(\\binom\{[^{}]*\}\{[^{}]*\})\s*(?=\\binom|\\frac|\\sqrt|[\w(])", r"\1\\cdot ", text)
    text = re.sub(r"\(([^()]*)\)!!(?!!)|(?<![\w}])([a-z])!!(?!!)", lambda m: _symbol("!!", m[1] or m[2]), text)
    text = re.sub(r"\\(max|min)\(([^()]*)\\\1\(([^()]*)\)", r"\\\1(\2\3", text)
    text = _ARGUMENT.sub(r"\1(\2)", text)
    text = _GEOMETRIC.sub(lambda m: _symbol(m[1], min(m[2], m[2][::-1]) if m[1] == "angle" else m[2]), text)
    return _COMMAND.sub(lambda m: m[0] if m[1] in _KNOWN else _symbol(m[1], m[2] or ""), text)


def _fraction(match: re.Match[str]) -> str:
    whole, digits = (match[3], "") if match[3] else (match[1], match[2])
    return rf"(\frac{{{int(whole + digits or '0')}}}{{1{'0' * len(digits)}}})"


def _double_factorial(n: int) -> str:
    """n!! by factorials, which are not computed here."""
    k = n // 2
    return rf"(2^{{{k}}}\cdot {k}!)" if n % 2 == 0 else rf"(\frac{{{n}!}}{{2^{{{k}}}\cdot {k}!}})"


def _symbol(kind: str, content: str) -> str:
    """One symbol for what the parser cannot read, the same for the same content."""
    # in digits, since the parser finds words in a subscript
    return f" Z_{{q{''.join(f'{ord(c):03d}' for c in (kind + content).replace(' ', ''))}}}"


def _even(content: str) -> str:
    """What stands in a norm, where y - x is x - y."""
    terms = content.replace(" ", "").split("-")
    return "-".join(sorted(terms)) if len(terms) == 2 and all(terms) else content


def _of_residues(match: re.Match[str]) -> str:
    return _symbol("residues", match[1] or match[2])


def _of_given(match: re.Match[str]) -> str:
    """E(XY | Z) as a symbol; in a product of letters their order says nothing."""
    sides = (
        "".join(sorted(side.replace(" ", ""))) if side.replace(" ", "").isalpha() else side
        for side in match.groups()[3:]
    )
    return _symbol(match[1] or match[2] or "P", "|".join(sides))


def _of_letters(match: re.Match[str]) -> str:
    """gcd(m, n) as a symbol, in any order; with numbers alone it is computed."""
    if not re.search("[a-zA-Z]", match[2]):
        return match[0]
    return _symbol(match[1], ",".join(sorted(p.strip() for p in match[2].split(","))))


def _plain_letters(text: str) -> str:
    """Write letters with primes, accents and subscripts as the parser takes them for symbols."""
    # gamma and Gamma, which the parser applies to what follows unless they are plain letters
    text = re.sub(r"\\(gamma(?![a-zA-Z])|Gamma(?![a-zA-Z]|\s*\())", r" Z_{\1letter}", text)
    text = _LETTER.sub(_rename, text)
    if not re.search(r"\\int|\\frac\s*\{\s*d[^{}]*\}\s*\{\s*d", text):  # dv is a product, and no differential
        text = re.sub(r"\\[a-zA-Z]+|_\{[^{}]*\}|d", lambda m: _symbol("d", "") if m[0] == "d" else m[0], text)
    text = re.sub(r"([a-zA-Z]|(?<=\}))('+)", lambda m: f"{m[1]}_{{prime{len(m[2])}}}", text)
    text = _ACCENT.sub(lambda m: _accented(m[1], m[2] or m[3] or m[4]), text)
    for _ in range(2):
        text = re.sub(r"_\{([^{}]*)\}\s*_(?:\{(\w*)\}|(\w))", lambda m: f"_{{{m[1]}{m[2] or m[3]}}}", text)
    text = re.sub(r"\\mathcal\s*\{?([A-Z])\}?", r"\1_{cal}", text)
    return text


def _accented(accent: str, letter: str) -> str:
    """A letter with an accent, as a letter with a subscript; a dot is a prime."""
    mark = "prime" + str(accent.count("d")) if "dot" in accent else accent
    return f"{letter}_{{{mark}}}" if len(letter) == 1 else _symbol(letter, mark)


def _rename(match: re.Match[str]) -> str:
    """Rename E_1, I_0, e_x and I, which the parser takes for constants; a subscript is letters and digits."""
    if match[0] == "I":
        return " Z_{current}"
    if match[0] == "T":  # which the parser takes for a transposition, as an upper limit too
        return _symbol("T", "")
    if not match[1]:
        return match[0]
    subscript = match[2] or match[3] or ""
    subscript = re.sub(r"\s", "", subscript)
    signed = subscript if subscript[:1] in ("+", "-") else f"+{subscript}"
    terms = sorted(re.findall(r"[+-][^+-]+", signed))  # n-k-1 is n-1-k
    if not subscript.isalnum():
        subscript = "q" + "".join(f"{ord(c):03d}" for c in "".join(terms))
    return f" Z_{{q{match[1]}{subscript}}}" if match[1] in "EIei" else f" {match[1]}_{{{subscript}}}"
