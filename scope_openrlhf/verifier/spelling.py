"""One spelling for what TeX and people spell in many ways.

Plain string work over at most MAX_ANSWER_CHARS characters; nothing is evaluated.
"""

import functools
import re
from collections.abc import Callable

from scope_openrlhf.verifier.brackets import TooMuch
from scope_openrlhf.verifier.characters import plain_characters
from scope_openrlhf.verifier.marking import marked_words

MAX_ANSWER_CHARS = 2_000
"""Characters of an answer that is read."""
MAX_WRITTEN_CHARS = 3_000
"""Characters that it may have in TeX: a sign such as ½ is eleven there."""
_SPACES = re.compile(
    r"\\(?:quad|qquad|thinspace|enspace|displaystyle|textstyle|limits|nolimits|nobreak|hfill)(?![a-zA-Z])"
    r"|\\[;: ]|~|\\hspace\*?\{[^{}]*\}|\\(?:phantom|hphantom|vphantom)\{[^{}]*\}"
)
_RENAMED = {
    name: to
    for names, to in {
        "dfrac tfrac cfrac sfrac nicefrac flatfrac": r"\frac",
        "dbinom tbinom": r"\binom",
        "lVert rVert Vert": r"\|",
        "lvert rvert vert": "|",
        "smallsetminus backslash": r"\setminus ",
        "nin": r"\notin ",
        "R reals Reals": r"\mathbb{R}",
        "Z": r"\mathbb{Z}",
        "N": r"\mathbb{N}",
        "Q": r"\mathbb{Q}",
        "parallel": r"\parallel ",
        "dots dotsc dotsb dotsm dotsi dotso ldots cdots hdots": r"\ldots ",
        "coloneqq triangleq equals": "=",
        "leqslant leq leqq": r"\le ",
        "geqslant geq geqq": r"\ge ",
        "neq": r"\ne ",
        "lt": "<",
        "gt": ">",
        "varnothing empty": r"\emptyset ",
        "lbrace": r"\{",
        "rbrace": r"\}",
        "lbrack": "[",
        "rbrack": "]",
        "land wedge": "⟦and⟧",
        "lor vee": "⟦or⟧",
        "therefore implies Rightarrow because": " ",
        "bot": r"\perp ",
        "bigcup": r"\cup ",
        "ast": r"\cdot ",
        "colon": ":",
        "varepsilon": r"\epsilon",
        "varphi": r"\phi",
        "vartheta": r"\theta",
        "varrho": r"\rho",
        "varsigma": r"\sigma",
        "varkappa": r"\kappa",
        "varpi": r"\pi",
    }.items()
    for name in names.split()
}
"""Command -> the one that stands for it."""
_NAME = re.compile(r"\\([a-zA-Z]+)")
_SYNONYMS: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"\.\.\.+"), r"\\ldots "),
    (re.compile(r":="), "="),
    (re.compile(r"!="), r"\\ne "),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r">="), r"\\ge "),
    (re.compile(r"(?<=[a-zA-Z]) (?=\()"), ""),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"(?<=[a-zA-Z}]) ?// ?(?=[a-zA-Z\\])"), r"\\parallel "),
]
_SYNONYMS_IN_TEX: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"\\not\s*\\in(?![a-zA-Z])"), r"\\notin "),
    (re.compile(r"\\not\s*="), r"\\ne "),
    (re.compile(r"\\mid\s*\\mid(?![a-zA-Z])"), r"\\parallel "),
    (re.compile(r"\\mathcal\s*\{?([ONUBPLFC])\}?(?=\s*\()"), r"\1"),
    (re.compile(r"([a-zA-Z])\s*:\s*([a-zA-Z])\s*\\mapsto(?![a-zA-Z])"), r"\1(\2)="),
    (re.compile(r"\\(overline|bar)\s*(\{[a-zA-Z]\}|(?<=[a-z]) [a-z])"), r"\\bar\2"),
    *[(re.compile(r"\\(max|min|gcd|lcm)\s*\\\{([^{}]*)\\\}"), r"\\\1(\2)")] * 3,  # one inside another
    (
        re.compile(
            r"\^\s*(?:\{\s*(?:\\(?:top|intercal|mathsf\{T\}|mathrm\{T\})|⟦T⟧)\s*\}|\\(?:top|intercal)(?![a-zA-Z]))"
        ),
        r"^{\\top}",
    ),
    (re.compile(r"\\\{\s*\\\}"), r"\\emptyset "),
    (re.compile(r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\(?:degree|textdegree)(?![a-zA-Z])"), r"^\\circ "),
    (re.compile(r"\^\s*\{\s*((?:\\prime\s*)+)\}"), lambda m: "'" * m[1].count("prime")),
    (re.compile(r"\^\s*\\prime(?![a-zA-Z])"), "'"),
    (re.compile(r"(\\triangle[^\\]*)\\sim(?![a-zA-Z])"), r"\1\\similar "),
    (re.compile(r"(\\triangle[^\\]*)\\cong(?![a-zA-Z])"), r"\1\\congruent "),
    (re.compile(r"\\(?:simeq|cong|sim)(?=\s*-?[\d.])"), r"\\approx "),
    (re.compile(r"\\(?:simeq|cong)(?![a-zA-Z])"), r"\\congruent "),
    (re.compile(r"^([^|]*)\\\|(?=[^|]*$)"), r"\1\\parallel "),
]
_DELIMITERS = re.compile(r"\\(?:left|right)\s*\.|\\(?:left|right|middle|[bB]igg?[lrm]?)(?![a-zA-Z])\s*")
_FRAC = re.compile(r"\\(?:frac|binom)(?![a-zA-Z])\s*")
_COMMAND = re.compile(r"\\(?:sqrt|text|mathrm|overline|bar|vec|hat)\s*\{[^{}]*\}|\\[a-zA-Z]+|[0-9a-zA-Z]")
_THOUSANDS = re.compile(
    r"(?<![\d.,])(\d{1,3})"
    r"((?:(?:\{,\}|\\[,;:]|\\!|,\s*\\!\s*|~|\{\\[,;:]\}|\\ |(?<=\d) (?=\d{3}(?!\d))|')\d{3})+)(?![\d])"
)

_TYPEFACE = re.compile(r"\\(?:bf|it|sf|tt|tiny|small|large|Large|LARGE|huge|Huge|normalsize|mathstrut)(?![a-zA-Z])\s*")
_UNIT_VECTOR = re.compile(
    r"\\(?:hat|vec)\s*\{\s*\\(?:mathbf|boldsymbol|bm)\s*\{\s*([ijk])\s*\}\s*\}"
    r"|\\(?:hat|vec)\s*(?:\{\s*)?\\([ij])math\s*\}?|\\(?:mathbf|boldsymbol|bm|vec)\s*\{\s*([ijk])\s*\}"
)
_CONDITION = re.compile(
    r"(?<=[^\s,])(?:, ?| )?(?:⟦,? ?(?:for|where|with) (?!no)[^⟧]*⟧|⟦,? ?(?:for|where|with)⟧|\\forall)"
    r"[^,⟦=]*(?:⟦[^⟧]*⟧[^,⟦=]*)*$"
)
"""Words behind an answer that say over what its letters range: "for all n", "where C is a constant"."""
_QUANTIFIERS = {"all", "any", "every", "each", "constant", "constants", "arbitrary", "where"}
_OF_LETTERS = _QUANTIFIERS | {
    "for", "with", "is", "are", "a", "an", "and", "real", "number", "numbers", "integer", "integers", "positive",
    "nonnegative", "non", "negative", "natural", "complex", "parameter", "denotes",
}  # fmt: skip
"""Words of which such a condition is made: with others, or without one that says "all", it narrows the answer."""
_RANGE = re.compile(r"(?:, ?|\s)⟦?\(?([a-zA-Z])⟦?\)? ?\\in ?\\mathbb\{([RZ])\}$")
_ALIGNED = re.compile(
    r"\\(?:begin|end)\{(?:aligned|alignedat|align|gathered|gather|split|equation|eqnarray|math)\*?\}(?:\{\d\})?"
)


_PLAIN = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?")
"""What is in the one spelling already: nine answers of ten."""


@functools.lru_cache(4096)
def clean(text: str) -> str:
    """Write an answer in the one spelling; ⟦...⟧ holds what was \\text{...}. Raises TooMuch."""
    if _PLAIN.fullmatch(text):
        return text
    text = re.sub(r"[\s⟦⟧⏎]+", " ", text[:MAX_ANSWER_CHARS]).strip(" `")
    text = re.sub(r"(?:(?:\\[,;:! ]|~) ?){3,}", r"\\ ", text)
    text = re.sub(r"^\*\*(?=[^*])|(?<=[^*])\*\*$", "", text)  # bold letters of Markdown
    text = _one_line(plain_characters(text))
    if len(text) > MAX_WRITTEN_CHARS:
        raise TooMuch(f"written out it has more than {MAX_WRITTEN_CHARS} characters")
    text = _undecorated(text)
    text = marked_words(text)
    text = _plain_mathematics(text)
    text = re.sub(r"(?<=\d)\s*\^\s*(?:\{\s*o\s*\}|⟦o⟧|o(?![a-z]))", r"^\\circ", text)
    text = re.sub(r"(?<=\d)\s*⟦to⟧\s*(?=\d)", ":", text)
    text = re.sub(r"\s+", " ", text).strip()
    text = _without_conditions(text)
    text = re.sub(r"^[\s.,;:*]+(?=\S)(?<![.])", "", text).rstrip(" ;:*")
    while text.endswith("\\"):  # a space of TeX's, of which the space is gone
        text = text[:-1].rstrip(" ;:*.,")
    return text if text.endswith("...") else text.rstrip(" .,")


def _without_conditions(text: str) -> str:
    """Take away what only says over what the letters of an answer range: "2n for all n", "3k, k in Z"."""
    if r"\begin" in text:
        return text
    found = _CONDITION.search(text)
    if found and not _is_range(text[: found.start()]):
        words = set(re.findall("[a-z]{2,}|a", re.sub(r"\\[a-z]+|[^⟦]*(?=⟦)|⟧[^⟦]*", " ", found[0].lower())))
        quantified = words & _QUANTIFIERS or r"\forall" in found[0]
        if quantified and words <= _OF_LETTERS and r"\mathbb{Q}" not in found[0]:
            text = text[: found.start()]
    found = _RANGE.search(text)
    if found and found[1] in text[: found.start()] and (found[2] == "R" or not _is_range(text[: found.start()])):
        text = text[: found.start()]
    return text


def _is_range(text: str) -> bool:
    """Whether a text is an interval or an inequality, which a condition makes smaller."""
    return bool(re.search(r"[<>]|\\(?:le|ge|ne|cup|cap)(?![a-zA-Z])|^[(\[]", text))


def _one_line(text: str) -> str:
    """Write the rows of aligned equations in one line, and the ends of a matrix's rows as ⏎."""
    if r"\begin" not in text:
        return text.replace("\\\\", " ")
    text = re.sub(r"\\\\\s*\[\s*-?[\d.]+\s*(?:pt|em|ex|mm|cm|in)\s*\]", r"\\\\", text).replace("\\\\", "⏎")
    if _ALIGNED.search(text):
        text = _ALIGNED.sub(" ", text).strip(" ⏎")
        if r"\begin" not in text:
            text = text.replace("&", " ")
            text = re.sub(r"⏎\s*(?==|\\(?:le|ge|approx)|[<>])", " ", text).replace("⏎", ", ")
    return text


def _undecorated(text: str) -> str:
    """Take away boxes, colours and typefaces; write unit vectors, sets of numbers and binomials in one way."""
    text = re.sub(r"\\(?:x?cancel|bcancel|sout)\s*\{[^{}]*\}", "", text)
    text = re.sub(
        r"\\(?:boxed|fbox|mathop|ensuremath|(?<!\^\{\\)(?<!\^\\)underline|underbrace|mathopen|mathclose)\s*\{",
        "{",
        text,
    )
    text = re.sub(r"\\math(?:bin|rel|ord|op|inner|punct)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\(mathrm|mathbf|mathsf|vec|hat)\s+([a-zA-Z])(?![a-zA-Z])", r"\\\1{\2}", text)
    text = re.sub(r"(?<![a-zA-Z_^}\]])\{ ?(\\?[a-zA-Z]+) ?\}(?=[_^])", r"\1", text)
    text = re.sub(r"\{\{([^{}]*)\}\}", r"{\1}", text)
    text = re.sub(r"\\(?:phantom|hphantom|vphantom)\s*\{[^{}]*\}|\\checkmark(?![a-zA-Z])|[✓✔✅☑]", "", text)
    text = re.sub(r"\\(?:boldsymbol|bm|pmb|mathbf|mathrm|mathit)\s*\{(?=[^{}]*\\(?:frac|sqrt))", "{", text)
    text = re.sub(r"\\color\s*\{[^{}]*\}|\\textcolor\s*\{[^{}]*\}", "", text)
    text = _TYPEFACE.sub("", text)
    text = _UNIT_VECTOR.sub(lambda m: rf"\hat{{{m[1] or m[2] or m[3]}}}", text)
    text = re.sub(r"\\mathbb\s*\{?\s*([A-Z])(?![a-zA-Z])\s*\}?", r"\\mathbb{\1}", text)
    text = re.sub(r"\{([^{}]*)\\choose(?![a-zA-Z])([^{}]*)\}", r"\\binom{\1}{\2}", text)
    text = re.sub(r"\{([^{}]*)\\over(?![a-zA-Z])([^{}]*)\}", r"\\frac{\1}{\2}", text)
    text = re.sub(r"\\(?:text)?(?:mu|micro)\s*(?=[a-zA-Z]{1,2}\s*\})", "u", text)
    text = re.sub(r"(?<=\d)\{\.\}(?=\d)", ".", text)
    return text.replace("{:}", ":").replace("{}", "").replace(r"{^\circ}", r"^\circ")


def _plain_mathematics(text: str) -> str:
    """Take away dollar signs, spacing and separators of thousands; write signs, roots and fractions in one way."""
    text = re.sub(r"\$|\\[()]|\\\[|\\\]", "", text)
    text = _THOUSANDS.sub(lambda m: m[1] + re.sub(r"\D", "", m[2]), text)
    text = text.replace(r"\!", "").replace(r"\,", " ")
    text = _SPACES.sub(" ", text)
    text = _NAME.sub(lambda m: _RENAMED.get(m[1], m[0]), _DELIMITERS.sub("", text))
    for pattern, replacement in _SYNONYMS:
        text = pattern.sub(replacement, text)
    return _tex_arguments(text) if "\\" in text or "_" in text else text


def _tex_arguments(text: str) -> str:
    """Put braces round arguments and write TeX's spellings of signs in one way."""
    for pattern, replacement in _SYNONYMS_IN_TEX:
        text = pattern.sub(replacement, text)
    text = re.sub(r"\^\s*(\d)(?=\s+\d)", r"^{\1}", text)  # cos^3 3x
    text = re.sub(r"\\sqrt\s*(\[[^\[\]]*\])?\s*([0-9]+|[a-zA-Z](?![a-zA-Z]*\()|\\[a-zA-Z]+)", r"\\sqrt\1{\2}", text)
    text = re.sub(r"\\sqrt\s+(?=[({\[])", r"\\sqrt", text)
    text = _braced_arguments(text)
    text = re.sub(r"([\^_])\s*(\\[td]?frac(?:\{[^{}]*\}){2}|\\sqrt\{[^{}]*\})", r"\1{\2}", text)
    text = re.sub(r"\\(vec|hat|bar|d?dot|tilde|overline|widehat|mathcal)\s+([a-zA-Z])", r"\\\1{\2}", text)
    text = re.sub(r"_\{⟦base ?⟧ ?(\w+)\}", r"_{\1}", text)
    text = re.sub(r"_\s*(\\[a-zA-Z]+|[0-9a-zA-Z*])", r"_{\1}", text)
    text = re.sub(r"_\{\s*([^{}]*?)\s*\}", r"_{\1}", text)
    text = re.sub(
        r"\(\s*(?:\\[bp]?mod|⟦mod⟧|mod)\s*(?=[^a-zA-Z])\{?([^(){}]*)\}?\s*\)|\\p?mod\s*(\d+|[a-z])(?![a-zA-Z])",
        r"\\pmod{\1\2}",
        text,
    )
    power = r"((?:\^\{?\d\}?)?)"
    text = re.sub(rf"\\frac\{{⟦([^⟧]*)⟧{power}\}}\{{⟦([^⟧]*)⟧{power}\}}", r"⟦\1⟧\2/⟦\3⟧\4", text)
    text = re.sub(r"(\.\d*)\\dot\s*\{?(\d)\}?(\d*)\\dot\s*\{?(\d)\}?", r"\1\\overline{\2\3\4}", text)
    return re.sub(r"\\(bar|overline|dot)\s*(\d)", r"\\overline{\2}", text)


def _braced_arguments(text: str) -> str:
    """Put braces round the arguments of fractions and binomials: \\frac12, \\frac{1}2, \\binom nk and \\frac\\pi2."""
    pieces, at = [], 0
    while match := _FRAC.search(text, at):
        pieces.append(text[at : match.end()].rstrip())
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


def squeeze(text: str) -> str:
    """Take away spaces, but for those between two digits: "1 2" is not 12."""
    return re.sub(r"(?<!\d) +| +(?!\d)", "", text)
