"""One spelling for what TeX and people spell in many ways.

Plain string work over at most MAX_ANSWER_CHARS characters; nothing is evaluated.
"""

import re
import unicodedata
from collections.abc import Callable

from scope_openrlhf.verifier.vocabulary import FUNCTIONS, UNITS

MAX_ANSWER_CHARS = 2_000
_UNICODE = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "×": r"\times ", "✕": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ",
    "∙": r"\cdot ", "÷": "/", "≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge ", "≠": r"\ne ",
    "≈": r"\approx ", "∞": r"\infty ", "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ",
    "λ": r"\lambda ", "μ": r"\mu ", "ω": r"\omega ", "φ": r"\phi ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
    "∅": r"\emptyset ", "±": r"\pm ", "′": "'", "°": r"^\circ ", "º": r"^\circ ", "√": r"\sqrt ", "⁄": "/",
    "∕": "/", "“": "", "”": "", "‘": "'", "’": "'", "％": r"\%", "\u00a0": " ", "\u2009": r"\,", "\u202f": r"\,",
    "\u2002": " ", "\u2003": " ", "\u200b": "", "⟨": r"\langle ", "⟩": r"\rangle ", "½": r"\frac{1}{2}",
    "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅛": r"\frac{1}{8}",
}  # fmt: skip
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_SUBSCRIPT = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_TEXT = re.compile(r"\\(?:text|textbf|textrm|textit|texttt|textsf|textnormal|mbox|hbox)\s*\{([^{}]*)\}")
_ROMAN = re.compile(r"\\(?:mathrm|operatorname\*?|mathbf|mathit|mathsf|mathtt|boldsymbol|bm|rm|bf)\s*\{([^{}]*)\}")
_SPACES = re.compile(
    r"\\(?:quad|qquad|thinspace|enspace|displaystyle|textstyle|limits|nolimits|nobreak|hfill)(?![a-zA-Z])"
    r"|\\[;: ]|~|\\hspace\*?\{[^{}]*\}|\\(?:phantom|hphantom|vphantom)\{[^{}]*\}"
)
_SYNONYMS: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
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
_THOUSANDS = re.compile(
    r"(?<![\d.,])(\d{1,3})((?:(?:\{,\}|\\,|\\!|,\s*\\!\s*|~|\{\\,\}|\\ |(?<=\d) (?=\d{3}(?!\d))|')\d{3})+)(?![\d])"
)

_TYPEFACE = re.compile(r"\\(?:bf|it|sf|tt|tiny|small|large|Large|LARGE|huge|Huge|normalsize|mathstrut)(?![a-zA-Z])\s*")
_UNIT_VECTOR = re.compile(
    r"\\(?:hat|vec)\s*\{\s*\\(?:mathbf|boldsymbol|bm)\s*\{\s*([ijk])\s*\}\s*\}"
    r"|\\(?:hat|vec)\s*(?:\{\s*)?\\([ij])math\s*\}?|\\(?:mathbf|boldsymbol|bm|vec)\s*\{\s*([ijk])\s*\}"
)
_MEASURED = re.compile(
    r"(?:\d|\\(?:mathrm|text)\s*\{[^{}]*\}(?:\^\{?-?\d+\}?)?|⟧(?:\^\{?-?\d+\}?)?)(?:\s|~|/|\\cdot|\\[,;!: ])*$"
)
_SOLAR = re.compile(r"(?<=\d|\})(\s|~|\\[,;])*(?:\\mathrm\s*\{\s*~?([MLR])\s*\}|([MLR]))_\s*\{?\s*\\odot\s*\}?\s*\.?$")
_CONDITION = re.compile(r"(?<=\S)[,\s]*(?:⟦\s*,?\s*(?:for|where|when|with|whenever)\b[^⟧]*⟧|\\forall)[^,⟦]*$")


def clean(text: str) -> str:
    """Write an answer in the one spelling; ⟦...⟧ holds what was \\text{...}."""
    text = _plain_characters(text[:MAX_ANSWER_CHARS])
    text = _undecorated(text)
    text = _marked_words(text)
    text = _plain_mathematics(text)
    text = re.sub(r"(?<=\d)\s*\^\s*(?:\{\s*o\s*\}|⟦o⟧|o(?![a-z]))", r"^\\circ", text)
    text = re.sub(r"(?<=\d)\s*⟦to⟧\s*(?=\d)", ":", text)
    text = _CONDITION.sub("", text)  # "2n for all n" is 2n
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"^[\s.,;:*]+(?=\S)(?<![.])|[\s;:*]+$", "", text)
    return text if text.endswith("...") else text.rstrip(" .,")


def _plain_characters(text: str) -> str:
    """Replace characters beyond ASCII by TeX, and the ends of a matrix's rows by ⏎."""
    text = "".join(_UNICODE.get(c, c) for c in text)
    if r"\begin" in text:
        text = re.sub(r"\\\\\s*\[\s*-?[\d.]+\s*(?:pt|em|ex|mm|cm|in)\s*\]", r"\\\\", text)
    text = text.replace("\\\\", "⏎" if r"\begin" in text else " ")
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+", lambda m: "^{" + m[0].translate(_SUPERSCRIPT) + "}", text)
    text = re.sub(r"[₀₁₂₃₄₅₆₇₈₉]+", lambda m: "_{" + m[0].translate(_SUBSCRIPT) + "}", text)
    return "".join(unicodedata.normalize("NFKC", c) if "\uff00" <= c <= "\uffef" else c for c in text)


def _undecorated(text: str) -> str:
    """Take away boxes, colours and typefaces; write unit vectors, sets of numbers and binomials in one way."""
    text = re.sub(r"\\(?:boxed|fbox|mathop|ensuremath|underline|cancel)\s*\{", "{", text)
    text = re.sub(r"\\color\s*\{[^{}]*\}|\\textcolor\s*\{[^{}]*\}", "", text)
    text = _TYPEFACE.sub("", text)
    text = _UNIT_VECTOR.sub(lambda m: rf"\hat{{{m[1] or m[2] or m[3]}}}", text)
    text = re.sub(r"\\mathbb\s*([A-Z])", r"\\mathbb{\1}", text)
    text = re.sub(r"\{([^{}]*)\\choose(?![a-zA-Z])([^{}]*)\}", r"\\binom{\1}{\2}", text)
    return text.replace("{.}", ".").replace("{}", "").replace(r"{^\circ}", r"^\circ")


def _marked_words(text: str) -> str:
    """Put words, units and currencies into ⟦...⟧."""
    for _ in range(3):  # one inside another
        text = _TEXT.sub(lambda m: _word(m[1]), text)
    text = _ROMAN.sub(_roman, text)
    text = _SOLAR.sub(lambda m: f"⟦{m[2] or m[3]}sun⟧", text)
    text = re.sub(r"(?<=\d)(?:\s|~|\\[,;])*\\Omega\s*\.?$", "⟦ohm⟧", text)
    text = re.sub(r"_\s*(?:\{\s*⟦([^⟧]*)⟧\s*\}|⟦([^⟧]*)⟧)", lambda m: f"_{{{m[1] or m[2]}}}", text)
    text = re.sub(r"\\\$|\\textdollar(?![a-zA-Z])", "⟦dollars⟧", text)
    text = re.sub(r"£|\\(?:text|pound)?sterling(?![a-zA-Z])|\\pounds(?![a-zA-Z])", "⟦GBP⟧", text)
    return re.sub(r"€|\\(?:text)?euro(?![a-zA-Z])", "⟦euros⟧", text)


def _plain_mathematics(text: str) -> str:
    """Take away dollar signs, spacing and separators of thousands; write signs, roots and fractions in one way."""
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
    return re.sub(r"\\(bar|overline|dot)\s*(\d)", r"\\overline{\2}", text)


def _braced_fractions(text: str) -> str:
    """Put braces round the arguments of fractions: \\frac12, \\frac{1}2 and \\frac\\pi2."""
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
    """Position where the braces that open at start have closed; start itself if none open there."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return i + 1 if i > start else start
    return start


def _word(content: str) -> str:
    """Content of \\text{}: numbers as they are, words in ⟦...⟧."""
    content = content.replace("$", "").strip(" ~").replace("~", " ").replace("\\⟦dollars⟧", "⟦dollars⟧")
    if re.fullmatch(r"[-+=\d.,:;/%\\\s]*", content) and content:  # numbers and signs in \text{} are what they are
        return content.strip("\\")
    if re.fullmatch(r"[\d\s.,;]+\b(and|or)\b[\d\s.]+", content):
        return re.sub(r"(and|or)", r"⟦\1⟧", content)
    if match := re.fullmatch(r"(-?[\d.,:/]*\d)\s*([a-zA-Z][a-zA-Z.\s]*)", content):
        return f"{match[1]}⟦{match[2].strip()}⟧"
    return f"⟦{content.strip()}⟧" if content.strip() else " "


def _roman(match: re.Match[str]) -> str:
    """Content of \\mathrm{} and its like: a letter, a function, or a unit or word in ⟦...⟧."""
    content = match[1].replace("~", " ").strip()
    before = match.string[: match.start()]
    measured = match[1][:1] in "~ " or _MEASURED.search(before[-60:])
    if re.fullmatch(r"[a-zA-Z]", content) and not (measured and content in UNITS):
        before = before.rstrip(" ~\\,;!")
        return f" {content}" if before[-1:] == "\\" or before[-1:].isalpha() else content
    if content in FUNCTIONS:
        return f"\\{content} "
    return f"⟦{content}⟧" if re.search("[a-zA-Z]", content) else content


def squeeze(text: str) -> str:
    """Take away spaces, but for those between two digits: "1 2" is not 12."""
    return re.sub(r"(?<!\d) +| +(?!\d)", "", text)
