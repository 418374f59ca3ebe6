"""Answer text -> what kind of thing it is: number, list, interval, matrix, relation, words, or mathematics for sympy to judge.

Everything here is plain string work in one pass or a few over at most MAX_ANSWER_CHARS: no sympy, nothing evaluated.
"""

import itertools
import re
import unicodedata
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

MAX_ANSWER_CHARS = 2_000
MAX_DEPTH = 30
MAX_EXPONENT = 1_000


class TooDeep(ValueError):
    """Brackets nested beyond MAX_DEPTH."""


@dataclass(frozen=True)
class Number:
    """Example, "4.50\\%": Number(Fraction(9, 2), places=Fraction(1, 100), mark="%")."""

    value: Fraction
    places: Fraction | None = None
    """The unit of the last figure of a decimal with two figures or more; None: an exact number."""
    mark: str = ""
    """"%" or "deg"."""
    unit: str = ""


@dataclass(frozen=True)
class Math:
    text: str
    unit: str = ""


@dataclass(frozen=True)
class Words:
    text: str
    """Folded: lower case, no articles, no punctuation at the ends."""
    plain: str = ""
    """The same as it was written, where no \\text{} says that it is none of a formula."""


@dataclass(frozen=True)
class Items:
    """Several answers or a set, in any order."""

    items: tuple
    names: tuple[str, ...] = ()
    """Left sides where each item has another one: "x = 1, y = 2"."""


@dataclass(frozen=True)
class Bracket:
    """(a, b], (a, b, c), [a, b]: an interval or a tuple."""

    opened: str
    items: tuple
    closed: str


@dataclass(frozen=True)
class Union:
    parts: tuple


@dataclass(frozen=True)
class Matrix:
    rows: tuple[tuple, ...]


@dataclass(frozen=True)
class Relation:
    left: str
    sign: str
    """=, !=, < or <= (greater is turned round)."""
    right: str


@dataclass(frozen=True)
class Based:
    """101_2. A number in a stated base is its digits and that base."""

    digits: str
    base: str


@dataclass(frozen=True)
class Ratio:
    parts: tuple


# --- clean: one spelling for what TeX and people spell in many ways

_UNICODE = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "×": r"\times ", "✕": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/",
    "≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∞": r"\infty ", "π": r"\pi ", "θ": r"\theta ",
    "α": r"\alpha ", "β": r"\beta ", "λ": r"\lambda ", "μ": r"\mu ", "ω": r"\omega ", "φ": r"\phi ", "∪": r"\cup ", "∩": r"\cap ",
    "∈": r"\in ", "∅": r"\emptyset ", "±": r"\pm ", "′": "'", "°": r"^\circ ", "º": r"^\circ ", "√": r"\sqrt ", "⁄": "/", "∕": "/",
    "“": "", "”": "", "‘": "'", "’": "'", "％": r"\%", "\u00a0": " ", "\u2009": r"\,", "\u202f": r"\,", "\u2002": " ", "\u2003": " ", "\u200b": "", "⟨": r"\langle ", "⟩": r"\rangle ",
    "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅛": r"\frac{1}{8}",
}  # fmt: skip
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_SUBSCRIPT = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_TEXT = re.compile(r"\\(?:text|textbf|textrm|textit|texttt|textsf|textnormal|mbox|hbox)\s*\{([^{}]*)\}")
_ROMAN = re.compile(r"\\(?:mathrm|operatorname\*?|mathbf|mathit|mathsf|mathtt|boldsymbol|bm|rm|bf)\s*\{([^{}]*)\}")
FUNCTIONS = [
    "arcsin",
    "arccos",
    "arctan",
    "arccot",
    "arcsec",
    "arccsc",
    "arsinh",
    "arcosh",
    "artanh",
    "sinh",
    "cosh",
    "tanh",
    "coth",
    "sin",
    "cos",
    "tan",
    "cot",
    "sec",
    "csc",
    "ln",
    "log",
    "exp",
    "sqrt",
    "max",
    "min",
    "gcd",
    "lcm",
    "det",
    "lim",
    "sup",
    "inf",
    "mod",
    "deg",
    "arg",
    "Re",
    "Im",
]
GREEK = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "pi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "chi",
    "psi",
    "omega",
]
_SPACES = re.compile(
    r"\\(?:quad|qquad|thinspace|enspace|displaystyle|textstyle|limits|nolimits|nobreak|hfill)(?![a-zA-Z])"
    r"|\\[;: ]|~|\\hspace\*?\{[^{}]*\}|\\(?:phantom|hphantom|vphantom)\{[^{}]*\}"
)
_SYNONYMS: list[tuple[re.Pattern[str], Any]] = [
    (re.compile(r"\\(?:left|right)\s*\.|\\(?:left|right|middle|[bB]igg?[lrm]?)(?![a-zA-Z])\s*"), ""),
    (re.compile(r"(?<=[a-zA-Z]) (?=\()"), ""),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\(?:leqslant|leq|leqq)(?![a-zA-Z])"), r"\\le "),
    (re.compile(r"\\(?:geqslant|geq|geqq)(?![a-zA-Z])"), r"\\ge "),
    (re.compile(r"\\neq(?![a-zA-Z])|!=|\\not\s*="), r"\\ne "),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r">="), r"\\ge "),
    (re.compile(r"\\lt(?![a-zA-Z])"), "<"),
    (re.compile(r"\\gt(?![a-zA-Z])"), ">"),
    (re.compile(r"\\(?:varnothing|empty)(?![a-zA-Z])|\\\{\s*\\\}"), r"\\emptyset "),
    (re.compile(r"\\(?:lbrace)(?![a-zA-Z])"), r"\\{"),
    (re.compile(r"\\(?:rbrace)(?![a-zA-Z])"), r"\\}"),
    (re.compile(r"\\(?:lbrack)(?![a-zA-Z])"), "["),
    (re.compile(r"\\(?:rbrack)(?![a-zA-Z])"), "]"),
    (re.compile(r"\\(?:lvert|rvert|vert)(?![a-zA-Z])"), "|"),
    (re.compile(r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\(?:degree|textdegree)(?![a-zA-Z])"), r"^\\circ "),
    (re.compile(r"\^\s*\{\s*((?:\\prime\s*)+)\}"), lambda m: "'" * m[1].count("prime")),
    (re.compile(r"\^\s*\\prime(?![a-zA-Z])"), "'"),
    (re.compile(r"\\(?:land|wedge)(?![a-zA-Z])"), "⟦and⟧"),
    (re.compile(r"\\(?:lor|vee)(?![a-zA-Z])"), "⟦or⟧"),
    (re.compile(r"\\(?:therefore|implies|Rightarrow|because)(?![a-zA-Z])"), " "),
    (re.compile(r"\\(?:simeq|cong|sim)(?![a-zA-Z])"), r"\\approx "),
    (re.compile(r"\\bigcup(?![a-zA-Z])"), r"\\cup "),
    (re.compile(r"\\ast(?![a-zA-Z])"), r"\\cdot "),
    (re.compile(r"\\colon(?![a-zA-Z])"), ":"),
    (re.compile(r"\*\*"), "^"),
]
_FRAC = re.compile(r"\\frac(?![a-zA-Z])\s*")
_COMMAND = re.compile(r"\\[a-zA-Z]+(?:\{[^{}]*\})?|[0-9a-zA-Z]")
_THOUSANDS = re.compile(r"(?<![\d.,])(\d{1,3})((?:(?:\{,\}|\\,|\\!|,\s*\\!\s*|~|\{\\,\}|\\ |(?<=\d) (?=\d{3}(?!\d))|')\d{3})+)(?![\d])")


_TYPEFACE = re.compile(r"\\(?:bf|it|sf|tt|tiny|small|large|Large|LARGE|huge|Huge|normalsize|mathstrut)(?![a-zA-Z])\s*")
_UNIT_VECTOR = re.compile(
    r"\\(?:hat|vec)\s*\{\s*\\(?:mathbf|boldsymbol|bm)\s*\{\s*([ijk])\s*\}\s*\}|\\(?:hat|vec)\s*(?:\{\s*)?\\([ij])math\s*\}?|\\(?:mathbf|boldsymbol|bm|vec)\s*\{\s*([ijk])\s*\}"
)


def clean(text: str) -> str:
    """The same answer in one spelling; ⟦...⟧ holds what was \\text{...}."""
    text = "".join(_UNICODE.get(c, c) for c in text[:MAX_ANSWER_CHARS])
    if r"\begin" in text:
        text = re.sub(r"\\\\\s*\[\s*-?[\d.]+\s*(?:pt|em|ex|mm|cm|in)\s*\]", r"\\\\", text)
    text = text.replace("\\\\", "⏎" if r"\begin" in text else " ")  # the end of a matrix's row
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+", lambda m: "^{" + m[0].translate(_SUPERSCRIPT) + "}", text)
    text = re.sub(r"[₀₁₂₃₄₅₆₇₈₉]+", lambda m: "_{" + m[0].translate(_SUBSCRIPT) + "}", text)
    text = "".join(unicodedata.normalize("NFKC", c) if "\uff00" <= c <= "\uffef" else c for c in text)
    text = re.sub(r"\\(?:boxed|fbox|mathop|ensuremath|underline|cancel)\s*\{", "{", text)
    text = re.sub(r"\\color\s*\{[^{}]*\}|\\textcolor\s*\{[^{}]*\}", "", text)
    text = _TYPEFACE.sub("", text)
    text = _UNIT_VECTOR.sub(lambda m: rf"\hat{{{m[1] or m[2] or m[3]}}}", text)
    text = re.sub(r"\\mathbb\s*([A-Z])", r"\\mathbb{\1}", text)
    text = re.sub(r"\{([^{}]*)\\choose(?![a-zA-Z])([^{}]*)\}", r"\\binom{\1}{\2}", text)
    text = text.replace("{.}", ".").replace("{}", "").replace(r"{^\circ}", r"^\circ")
    for _ in range(3):  # one inside another
        text = _TEXT.sub(lambda m: _word(m[1]), text)
    text = _ROMAN.sub(_roman, text)
    text = re.sub(
        r"(?<=\d|\})(\s|~|\\[,;])*(?:\\mathrm\s*\{\s*~?([MLR])\s*\}|([MLR]))_\s*\{?\s*\\odot\s*\}?\s*\.?$",
        lambda m: f"⟦{m[2] or m[3]}sun⟧",
        text,
    )
    text = re.sub(r"(?<=\d)(?:\s|~|\\[,;])*\\Omega\s*\.?$", "⟦ohm⟧", text)
    text = re.sub(r"_\s*(?:\{\s*⟦([^⟧]*)⟧\s*\}|⟦([^⟧]*)⟧)", lambda m: f"_{{{m[1] or m[2]}}}", text)
    text = re.sub(r"\\\$|\\text(?:dollar|sterling|euro)|[€£]", "⟦dollars⟧", text)
    text = re.sub(r"\$|\\[()]|\\\[|\\\]", "", text)
    text = _THOUSANDS.sub(lambda m: m[1] + re.sub(r"\D", "", m[2]), text)
    text = text.replace(r"\!", "").replace(r"\,", " ")
    text = _SPACES.sub(" ", text)
    for pattern, replacement in _SYNONYMS:
        text = pattern.sub(replacement, text)
    text = re.sub(r"\\sqrt\s*(?=[0-9a-zA-Z])([0-9]+|[a-zA-Z])", r"\\sqrt{\1}", text)
    text = re.sub(r"\\sqrt\s+(?=[({\[])", r"\\sqrt", text)
    text = _braced_fractions(text)
    text = re.sub(r"\\frac\{⟦([^⟧]*)⟧\}\{⟦([^⟧]*)⟧\}", r"⟦\1⟧/⟦\2⟧", text)
    text = re.sub(r"\\(bar|overline|dot)\s*(\d)", r"\\overline{\2}", text)
    text = re.sub(r"(?<=\d)\s*\^\s*(?:\{\s*o\s*\}|⟦o⟧|o(?![a-z]))", r"^\\circ", text)
    text = re.sub(r"(?<=\d)\s*⟦to⟧\s*(?=\d)", ":", text)
    text = re.sub(r"(?<=\S)[,\s]*(?:⟦\s*,?\s*(?:for|where|when|with|whenever)\b[^⟧]*⟧|\\forall).*$", "", text)  # "2n for all n" is 2n
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"^[\s.,;:*]+(?=\S)(?<![.])|[\s;:*]+$", "", text)
    return text if text.endswith("...") else text.rstrip(" .,")


def _braced_fractions(text: str) -> str:
    """\\frac12, \\frac{1}2, \\frac\\pi2 -> \\frac{1}{2}, ..."""
    pieces, at = [], 0
    while match := _FRAC.search(text, at):
        pieces.append(text[at : match.start()] + r"\frac")
        at = match.end()
        for _ in range(2):
            while text[at : at + 1] == " ":
                at += 1
            if text[at : at + 1] == "{":
                break  # an argument in braces may hold fractions: go on inside it
            if not (single := _COMMAND.match(text, at)):
                break
            pieces.append(f"{{{single[0]}}}")
            at = single.end()
    text = "".join(pieces) + text[at:]
    # behind a first argument in braces, a second one without
    at = 0
    while match := _FRAC.search(text, at):
        at = match.end()
        end = _end_of_braces(text, at)
        start = end + len(text[end:]) - len(text[end:].lstrip(" "))
        if end > at and text[start : start + 1] != "{" and (single := _COMMAND.match(text, start)):
            text = f"{text[:end]}{{{single[0]}}}{text[single.end() :]}"
    return text


def _end_of_braces(text: str, start: int) -> int:
    """Where the braces that open at start have closed; start itself if none open there."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return i + 1 if i > start else start
    return start


def _word(content: str) -> str:
    content = content.replace("$", "").strip(" ~").replace("~", " ").replace("\\⟦dollars⟧", "⟦dollars⟧")
    if re.fullmatch(r"[-+=\d.,:;/%\\\s]*", content) and content:  # numbers and signs in \text{} are what they are
        return content.strip("\\")
    if re.fullmatch(r"[\d\s.,;]+\b(and|or)\b[\d\s.]+", content):
        return re.sub(r"(and|or)", r"⟦\1⟧", content)
    if match := re.fullmatch(r"(-?[\d.,:/]*\d)\s*([a-zA-Z][a-zA-Z.\s]*)", content):
        return f"{match[1]}⟦{match[2].strip()}⟧"
    return f"⟦{content.strip()}⟧" if content.strip() else " "


_MEASURED = re.compile(r"(?:\d|\\(?:mathrm|text)\s*\{[^{}]*\}(?:\^\{?-?\d+\}?)?|⟧(?:\^\{?-?\d+\}?)?)(?:\s|~|/|\\cdot|\\[,;!: ])*$")


def _roman(match: re.Match) -> str:
    content = match[1].replace("~", " ").strip()
    before = match.string[: match.start()]
    measured = match[1][:1] in "~ " or _MEASURED.search(before)
    if re.fullmatch(r"[a-zA-Z]", content) and not (measured and content in UNITS):
        before = before.rstrip(" ~\\,;!")
        return f" {content}" if before[-1:] == "\\" or before[-1:].isalpha() else content
    if content in FUNCTIONS:
        return f"\\{content} "
    return f"⟦{content}⟧" if re.search("[a-zA-Z]", content) else content


# --- units

UNITS = {
    word: names.split()[0]
    for names in (
        "m meter meters metre metres", "cm centimeter centimeters centimetre centimetres", "mm millimeter millimeters", "km kilometer kilometers kilometre kilometres",
        "nm nanometer nanometers", "kg kilogram kilograms", "g gram grams gm", "mg milligram milligrams", "s sec secs second seconds", "min mins minute minutes",
        "ms millisecond milliseconds", "h hr hrs hour hours", "day days", "week weeks", "month months", "yr year years", "inch inches in", "ft foot feet", "yd yard yards",
        "mile miles mi", "mph", "kph", "dollars dollar USD bucks", "cents cent", "lb lbs pound pounds", "oz ounce ounces", "Hz hertz", "kHz", "MHz", "GHz", "N newton newtons",
        "J joule joules", "kJ", "W watt watts", "kW", "MW", "V volt volts", "A amp amps ampere amperes", "K kelvin", "Pa pascal pascals", "kPa", "mol mole moles", "L l liter liters litre litres",
        "ml mL milliliter milliliters", "eV", "keV", "MeV", "GeV", "erg ergs", "C coulomb coulombs", "F", "T tesla", "rad radian radians", "deg degree degrees", "AU", "pc", "kpc", "Mpc",
        "dyne dynes", "u amu", "atm", "am AM", "pm PM", "north", "south", "east", "west", "euros euro EUR", "Msun", "Lsun", "Rsun", "ohm ohms", "bar", "M", "cal", "kcal", "angstrom angstroms", "unit units", "square", "cubic", "per", "percent",
    )
    for word in names.split()
}  # fmt: skip
_PLAIN_UNIT = re.compile(r"^(.*[\d})\]])(?:( +)|(?=[a-zA-Z]))([a-zA-Z]+(?:(?:\s*/\s*|\s+|\s*\\cdot\s*)[a-zA-Z]+|\^\{?-?\d+\}?)*)$")
_COUNTED = {"unit", "square", "cubic", "per", ""}


def unit_of(text: str) -> str:
    """km/h and kilometers per hour -> km/h. Words that are no units stay as they are."""
    text = re.sub(r"[⟦⟧{}]|\\cdot|\\", " ", re.sub(r"\^\s*\{?\s*(-?\d+)\s*\}?", r" ^\1 ", text.replace(".", ""))).replace("/", " / ")
    text = re.sub(r"\bsquare (\w+)", r"\1 ^2", re.sub(r"\bcubic (\w+)", r"\1 ^3", text))
    words = [UNITS.get(w, UNITS.get(w.lower(), w)) for w in text.replace(" per ", " / ").split()]
    return " ".join(w for w in words if w not in _COUNTED)


def split_unit(text: str, plain: bool) -> tuple[str, str]:
    """("5", "cm") of "5⟦cm⟧"; plain: of "5 cm" too. The unit is empty where there is none."""
    start = text.find("⟦")
    while start > 0:
        rest = text[start:]
        if re.fullmatch(r"(?:⟦[^⟧]*⟧|\^\s*\{?\s*-?\d+\s*\}?|[\s/.*]|\\cdot|\\times)+", rest) and re.search(
            r"[\w})\]!|%]\s*$|circ\s*$", text[:start]
        ):
            return text[:start].strip(), unit_of(rest)
        start = text.find("⟦", start + 1)
    match = _PLAIN_UNIT.match(text) if plain else None
    if match:
        value, space, tail = match[1], match[2], match[3]
        words = re.findall("[a-zA-Z]+", tail)
        known = [w in UNITS or (len(w) > 2 and w.lower() in UNITS) for w in words]
        wordlike = [len(w) > 3 and w.lower() not in GREEK and w not in FUNCTIONS for w in words]
        fits = all(k or w for k, w in zip(known, wordlike, strict=True)) if space else all(known) and len(words[0]) > 1
        if fits and value.count("{") == value.count("}"):
            return value.strip(), unit_of(tail)
    return text, ""


# --- numbers

_DECIMAL = r"(?:\d+\.?\d*|\.\d+)"
_SCIENTIFIC = re.compile(
    rf"(?P<sign>[+-]?)(?:(?P<mantissa>{_DECIMAL})(?:(?:\\times|\\cdot|\*|x|X)10\^(?:\{{(?P<a>[+-]?\d+)\}}|(?P<b>[+-]?\d+))|[eE](?P<c>[+-]?\d+))|10\^(?:\{{(?P<d>[+-]?\d+)\}}|(?P<e>\d+))(?:(?:\\times|\\cdot|\*)(?P<after>{_DECIMAL}))?)"
)
_PLAIN_DECIMAL = re.compile(rf"[+-]?{_DECIMAL}")
_REPEATING = re.compile(r"([+-]?)(\d*)\.(\d*)\\(?:overline|bar|dot)\{(\d+)\}")
_COMMAS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_MIXED = re.compile(r"([+-]?)(\d+)\s*\\frac\{(\d+)\}\{(\d+)\}|([+-]?)(\d+) (\d+)/(\d+)")


def parse_number(text: str) -> Number | None:
    """Integer, decimal, fraction, mixed number, power of ten, repeating decimal, percent, degrees; None for anything else."""
    text = text.strip()
    mark = ""
    if found := re.search(r"\s*(?:\\%|%|⟦\s*(?:\\?%|percent)\s*⟧|\s(?:percent|percentage))\s*$", text):
        text, mark = text[: found.start()], "%"
    elif found := re.search(r"\s*(?:\^\\circ|⟦\s*degrees?\s*⟧|\sdegrees?)\s*$", text):
        text, mark = text[: found.start()], "deg"
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
    if re.search(r"\d\s+[\d.]|,\s|\s[eE]\b", text):  # two numbers side by side are not one
        return None
    text = text.replace(" ", "")
    if not text or depth > 3:
        return None
    if match := re.fullmatch(r"([+-]?)\(([+-]?[^()]*)\)", text):
        inner = _bare_number(match[2], depth + 1)
        return inner and (Number(-inner.value, inner.places) if match[1] == "-" else inner)
    if _COMMAS.fullmatch(text):
        text = text.replace(",", "")
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
    """A number with a point or a power of ten states its figures; an integer is exact."""
    whole, _, digits = text.lstrip("+-").partition(".")
    scale = Fraction(10) ** power
    figures = len((whole + digits).lstrip("0"))
    stated = ("." in text or power) and figures > 1
    return Number(
        Fraction(text.rstrip(".") if text.strip("+-.") else "0") * scale, Fraction(1, 10 ** len(digits)) * scale if stated else None
    )


# --- structure

_OPEN, _CLOSE = {"(": ")", "[": "]", "{": "}"}, {")", "]", "}"}
_SIGNS = {"=": "=", "<": "<", ">": ">", r"\le": "<=", r"\ge": ">=", r"\ne": "!=", r"\in": "in", r"\approx": "~"}
_SIGN = re.compile(r"\\(?:le|ge|ne|in|approx)(?![a-zA-Z])|[=<>]")
_NAME = re.compile(
    r"(?:\\[a-zA-Z]+(?:\{[a-zA-Z]+\})?|[a-zA-Z])(?:_(?:\{[^{}]*\}|\w))?'*(?:\([^()=]*\))?|\\frac\{d\^?\{?\d?\}?\s*\w*\}\{d\s*\w\^?\{?\d?\}?\}"
    r"|\\(?:sin|cos|tan|cot|sec|csc|ln|log|angle|overline|triangle|vec)\s*\{?\s*\\?\w+\s*\}?|\|?[A-Z]{1,4}\|?|\[[A-Z]+\]|P\([^()=]*\)|⟦[^⟧]*⟧|[a-zA-Z]{3,}"
)


_SIGNED = re.compile(r"\\pm(?![a-zA-Z])|\\mp(?![a-zA-Z])|\+/-")
_IN_BASE = re.compile(
    r"[({⟦]*([0-9A-Za-z]*\d[0-9A-Za-z]*)[)}⟧]*\s*(?:_\s*(?:\{\s*[⟦(]*\s*(\w+)\s*[⟧)]*\s*\}|(\d))(?:\s*⟦[^⟧]*⟧)?|⟦\s*\(?(?:in )?base[ -](\w+)\)?\s*⟧)"
)


def split_top(text: str, separator: re.Pattern) -> list[str]:
    """The pieces between separators that stand in no bracket."""
    pieces, depth, start, i = [], 0, 0, 0
    while i < len(text):
        c = text[i]
        if c == "⟦" and not separator.match(text, i):
            i = max(text.find("⟧", i), i)
        elif text.startswith(r"\begin", i):
            depth += 1
        elif text.startswith(r"\end", i):
            depth -= 1
        elif c == "\\" and text[i + 1 : i + 2] in ("{", "}"):
            depth += 1 if text[i + 1] == "{" else -1
            i += 1
        elif c in _OPEN:
            depth += 1
        elif c in _CLOSE:
            depth -= 1
        elif depth == 0 and (match := separator.match(text, i)) and match.end() > i:
            pieces.append(text[start:i])
            start = i = match.end()
            continue
        i += 1
    return [*pieces, text[start:]]


_LIST = re.compile(r"[,;]|⟦\s*(?:,\s*)?(?:and|or)\s*⟧|\s(?:and|or)\s")
_SEMICOLON = re.compile(r";")
_ALTERNATIVE = re.compile(r"⟦\s*(?:,\s*)?or\s*⟧|\sor\s")
_MATRIX = re.compile(r"\\begin\{([pbB]?matrix|smallmatrix|array)\}(?:\{[^{}]*\})?(.*)\\end\{\1\}", re.DOTALL)
_LANGLE = re.compile(r"\\langle(?![a-zA-Z])(.*)\\rangle$")


def parse(text: str, plain_units: bool = True, commas_separate: bool = False, depth: int = 0):
    """A cleaned answer as one of the forms above. Raises TooDeep.

    plain_units: "5 m" is 5 metres rather than five times m. commas_separate: "1,234" is two numbers rather than one.
    """
    if depth == 0 and _depth(text) > MAX_DEPTH:
        raise TooDeep(f"brackets nested deeper than {MAX_DEPTH}")

    def inner(piece: str):
        return parse(piece, plain_units, commas_separate, depth + 1)

    text = text.strip()
    while text[:1] == "{" and _closes_at_end(text):
        text = text[1:-1].strip()
    if match := _MATRIX.search(text):
        rows = [tuple(inner(cell) for cell in split_top(row, re.compile("&"))) for row in match[2].split("⏎") if row.strip()]
        factor, behind = text[: match.start()].strip().rstrip("([ "), text[match.end() :].strip(" )].")
        if not factor and not behind:
            return Matrix(tuple(rows))
        if not behind and not re.search(r"[=<>⟦]|\\begin|\\in(?![a-z])", factor):
            cells = [split_top(row, re.compile("&")) for row in match[2].split("⏎") if row.strip()]
            scale = "-1" if factor == "-" else factor.removesuffix(r"\cdot").removesuffix(r"\times").strip()
            return Matrix(tuple(tuple(Math(rf"({scale})\cdot({cell.strip()})") for cell in row) for row in cells))
    if (match := _LANGLE.match(text)) is not None:
        return Bracket("(", tuple(inner(p) for p in split_top(match[1], _LIST)), ")")
    if text.startswith(r"\{") and text.endswith(r"\}") and _closes_at_end(text):
        return _set(text[2:-2], inner)
    if match := _IN_BASE.fullmatch(text):
        words = {
            "two": "2",
            "three": "3",
            "four": "4",
            "five": "5",
            "six": "6",
            "seven": "7",
            "eight": "8",
            "nine": "9",
            "ten": "10",
            "sixteen": "16",
        }
        base = match[2] or match[3] or match[4]
        return Based(match[1].lstrip("0").upper() or "0", words.get(base.lower(), base))
    if not (commas_separate and "," in text) and (number := _quantity(text, plain_units)):
        return number
    parts = split_top(text, re.compile(r"\\cup(?![a-zA-Z])"))
    if len(parts) > 1:
        return Union(tuple(inner(p) for p in parts))
    items = split_top(text, _SEMICOLON)
    items = items if len(items) > 1 else split_top(text, _LIST)
    items = [p for p in items if p.strip(" .")]
    if len(items) > 1:
        return _several(text, items, inner)
    if len(parts) == 1 and text[:1] in ("(", "[", "]") and text[-1:] in (")", "]", "[") and len(text) > 1:
        pieces = split_top(text[1:-1], _LIST)
        if len(pieces) > 1 and (text[0] == "]" or text[-1] == "[" or _closes_at_end(text)):
            turned = {"]": "(", "[": ")"}
            opened, closed = (turned["]"] if text[0] == "]" else text[0]), (turned["["] if text[-1] == "[" else text[-1])
            if (
                opened + closed == "()"
                and re.fullmatch(r"-\s*\\infty", pieces[0].strip())
                and re.fullmatch(r"\+?\s*\\infty", pieces[1].strip())
            ):
                return Math(r"\mathbb{R}")
            return _with_signs(opened, [inner(p) for p in pieces], closed)
    return _single(text, plain_units, inner)


def _depth(text: str) -> int:
    deepest = depth = 0
    for c in text:
        depth += (c in _OPEN) - (c in _CLOSE)
        deepest = max(deepest, depth)
    return deepest


def _quantity(text: str, plain_units: bool) -> Number | None:
    """A number, with the unit behind it or the currency before it."""
    if number := parse_number(text):
        return number
    if (lead := re.match(r"([+-]?)⟦dollars⟧\s*", text)) and (number := parse_number(lead[1] + text[lead.end() :])):
        return replace(number, unit="dollars")
    value, unit = split_unit(text, plain_units)
    number = parse_number(value) if value != text else None
    return number and replace(number, unit=unit)


def _with_signs(opened: str, items: list, closed: str):
    """(0, ±2) is two pairs, (±3, ±2) are four."""
    choices = [i.items if isinstance(i, Items) and not i.names else (i,) for i in items]
    if all(len(c) == 1 for c in choices) or not all(len(c) in (1, 2) for c in choices) or len(items) > 4:
        return Bracket(opened, tuple(items), closed)
    return Items(tuple(Bracket(opened, chosen, closed) for chosen in itertools.product(*choices)))


def _closes_at_end(text: str) -> bool:
    """Whether the bracket that opens the text closes with its last character."""
    depth, i = 0, 0
    while i < len(text):
        step = 2 if text[i] == "\\" and text[i + 1 : i + 2] in ("{", "}") else 1
        c = text[i + step - 1]
        depth += (c in _OPEN) - (c in _CLOSE)
        i += step
        if depth == 0:
            return i == len(text)
    return False


def _set(content: str, inner):
    """{1, 2}; {x : 2 < x}, {x in R | 2 < x} are their conditions."""
    parts = split_top(content, re.compile(r":|\\mid(?![a-zA-Z])|\|"))
    if len(parts) == 2 and re.fullmatch(r"\s*[a-zA-Z]\s*(\\in.*)?", parts[0]):
        return inner(parts[1])
    return Items(tuple(itertools.chain.from_iterable(_spread(inner(p)) for p in split_top(content, _LIST) if p.strip())))


def _several(text: str, pieces: list[str], inner):
    """A list; "x = 1, x = 2" and "x = 1, 2" are their values, "x = 1, y = 2" keeps the names; inequalities with "or" are a union."""
    sides = [split_top(p, re.compile("=")) for p in pieces]
    names = [s[0].strip() if len(s) == 2 and _NAME.fullmatch(s[0].strip()) else "" for s in sides]
    if names[0] and all(n in ("", names[0]) for n in names):
        return Items(tuple(inner(s[-1]) for s in sides))
    if all(names) and len(set(names)) == len(names):
        return Items(tuple(inner(s[1]) for s in sides), tuple(names))
    forms = tuple(itertools.chain.from_iterable(_spread(inner(p)) for p in pieces))
    if all(isinstance(f, Bracket | Union) for f in forms) and len(split_top(text, _ALTERNATIVE)) > 1:
        return Union(forms)
    return Items(forms)


def _spread(form) -> tuple:
    """±2 inside a list is two of its items."""
    return form.items if isinstance(form, Items) and not form.names else (form,)


def _single(text: str, plain_units: bool, inner):
    lead = re.match(r"⟦([^⟧]*)⟧\s*[:=]?\s*(?=[^\s⟦])", text)
    if lead and not re.match(r"[\^/]", text[lead.end() :]):
        return inner(text[lead.end() :])
    text = re.sub(r"^(?:\\approx|=|:)\s*", "", text)
    if match := re.fullmatch(r"(?:the answer is|answer|approximately|about|exactly|equals|is)\s*:?\s+(?=\S)(.*)", text, re.IGNORECASE):
        return inner(match[1])
    relation = _relation(text, inner)
    if relation is not None:
        return relation
    if re.search(r"\\(?:pm|mp)(?![a-zA-Z])|\+/-", text):
        return Items(tuple(inner(_SIGNED.sub(lambda m, s=s: s[m[0] == r"\mp"], text)) for s in ("+-", "-+")))  # type: ignore[misc]
    value, unit = split_unit(text, plain_units)
    if value != text:
        return Math(value, unit)
    parts = split_top(text, re.compile(":"))
    if len(parts) > 1 and all(parse_number(p) for p in parts):
        return Ratio(tuple(parse_number(p) for p in parts))
    if "⟦" in text and re.fullmatch(r"(?:⟦[^⟧]*⟧|[\s.,!?])*", text):
        return Words(fold(re.sub("[⟦⟧]", " ", text)))
    if re.fullmatch(r"\(?[A-Za-z][A-Za-z '\-.!?]*\)?", text) and re.search("[A-Za-z]{2}", text) and not re.search(" -|- ", text):
        return Words(fold(text), text)
    return Math(re.sub(r"^\(([A-Z])\)$", r"\1", text))


def _relation(text: str, inner):
    """x = 3 is its value, 2 < x < 5 an interval; None where there is no relation sign outside brackets."""
    pieces = split_top(text, _SIGN)
    if len(pieces) < 2:
        return None
    signs, at = [], len(pieces[0])
    for piece in pieces[1:]:
        match = _SIGN.match(text, at)
        assert match
        signs.append(_SIGNS[match[0]])
        at = match.end() + len(piece)
    pieces = [p.strip() for p in pieces]
    if signs == ["in"]:
        return inner(pieces[1])
    if "~" in signs and all(s in "=~" for s in signs):  # what stands before the first "about" is exact
        exact = signs.index("~")
        return inner(" = ".join(pieces[: exact + 1])) if exact or not _is_name(pieces[0]) else inner(pieces[1])
    if all(s == "=" for s in signs):
        first, last = pieces[0], pieces[-1]
        if not first:
            return inner(last)
        if _is_name(first) or (len(pieces) == 2 and first[:1] == "(" and re.fullmatch(r"\([a-zA-Z\s,_{}\d\\]+\)", first)):
            return Named(first.replace(" ", ""), inner(last))
        if len(pieces) == 2 and _is_name(last) and parse_number(first):
            return Named(last, inner(first))
        if not any(re.search("[a-zA-Z⟦]", re.sub(r"\\[a-zA-Z]+", "", p)) for p in pieces) and parse_number(last):  # arithmetic: 1 + 2 = 3
            return inner(last)
        return Relation(first, "=", last)
    greater = {">": "<", ">=": "<="}
    if all(s in greater for s in signs):
        pieces, signs = pieces[::-1], [greater[s] for s in signs[::-1]]
    if all(s in ("<", "<=") for s in signs):
        if len(pieces) == 3 and _is_name(pieces[1]):
            return Bracket("[" if signs[0] == "<=" else "(", (inner(pieces[0]), inner(pieces[2])), "]" if signs[1] == "<=" else ")")
        if len(pieces) == 2 and _is_name(pieces[0]) and not _is_name(pieces[1]):
            return Bracket("(", (Math(r"-\infty"), inner(pieces[1])), "]" if signs[0] == "<=" else ")")
        if len(pieces) == 2 and _is_name(pieces[1]) and not _is_name(pieces[0]):
            return Bracket("[" if signs[0] == "<=" else "(", (inner(pieces[0]), Math(r"\infty")), ")")
    return Relation(pieces[0], signs[0], pieces[1]) if len(pieces) == 2 else Math(text)


def _is_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) and not text[:1].isdigit() and not parse_number(text) and text not in (r"\pi", r"\infty", "e", "i")


@dataclass(frozen=True)
class Named:
    """x = 3."""

    name: str
    value: object


def squeeze(text: str) -> str:
    """Without spaces, but for those between two digits: "1 2" is not 12."""
    return re.sub(r"(?<!\d) +| +(?!\d)", "", text)


def fold(text: str) -> str:
    words = re.sub(r"[^\w\s]", " ", text.casefold()).split()
    return " ".join(w for w in words if w not in ("a", "an", "the", "is", "are", "answer") or len(words) == 1)
