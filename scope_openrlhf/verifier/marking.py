"""Words, units and currencies of an answer, put into ⟦...⟧ so that no rule of mathematics reads them."""

import re

from scope_openrlhf.verifier.vocabulary import FUNCTIONS, LABELS, UNITS

_TEXT = re.compile(r"\\(?:text|textbf|textrm|textit|texttt|textsf|textnormal|mbox|hbox)\s*\{((?:[^{}]|\^\{-?\d+\})*)\}")
_ROMAN = re.compile(
    r"\\(?:mathrm|operatorname\*?|mathbf|mathit|mathsf|mathtt|boldsymbol|bm|rm|bf)\s*\{((?:[^{}]|\^\{-?\d+\})*)\}"
)
_MEASURED = re.compile(
    r"(?:\d|\\(?:mathrm|text)\s*\{[^{}]*\}(?:\^\{?-?\d+\}?)?|⟧(?:\^\{?-?\d+\}?)?)(?:\s|~|/|\\cdot|\\[,;!: ])*$"
)
_SOLAR = re.compile(r"(?<=\d|\})(\s|~|\\[,;])*(?:\\mathrm\s*\{\s*~?([MLR])\s*\}|([MLR]))_\s*\{?\s*\\odot\s*\}?\s*\.?$")
_UNIT_FRACTION = re.compile(
    r"(?<=\d)(?:\s|\\[,; ])*\\[dt]?frac\s*\{\\(?:mathrm|text)\{([^{}]*)\}((?:\^\{?\d\}?)?)\}"
    r"\s*\{\\(?:mathrm|text)\{([^{}]*)\}((?:\^\{?\d\}?)?)\}"
)
_COUNTS = re.compile(
    r"-?\d[\d.,]*(?: [a-zA-Z]+)*(?:(?:,\s*(?:(?:and|or) )?| (?:and|or) )-?\d[\d.,]*(?: (?!and\b|or\b)[a-zA-Z]+)*)+"
)
_CHOICES = re.compile(r"\(?[A-Z][a-z]*\)?(?:(?:,\s*(?:(?:and|or) )?| (?:and|or) )\(?[A-Z][a-z]*\)?)+")
_FOREIGN = re.compile(r"⟦[^⟧]*⟧|(?<![^\W\d_]|\\)[a-zA-Z]*[^\W\d_a-zA-Z][^\W\d_]*(?: [^\W\d_]+)*")


def marked_words(text: str) -> str:
    """Put words, units and currencies into ⟦...⟧."""
    text = re.sub(r"\\text\{(\w+)\}(?=\s*_\s*\{?\d)", r"\1", text)  # digits in a base
    text = _UNIT_FRACTION.sub(r"⟦\1⟧\2/⟦\3⟧\4", text)
    for _ in range(3):  # one inside another
        text = _TEXT.sub(lambda m: _word(m[1]), text)
    text = _ROMAN.sub(_roman, text)
    text = _SOLAR.sub(lambda m: f"⟦{m[2] or m[3]}sun⟧", text)
    text = re.sub(r"(?<=\d)(?:\s|~|\\[,; ])*\\Omega\s*\.?$", "⟦ohm⟧", text)
    text = re.sub(r"_\s*(?:\{\s*⟦([^⟧]*)⟧\s*\}|⟦([^⟧]*)⟧)", lambda m: f"_{{{m[1] or m[2]}}}", text)
    text = re.sub(r"(?:故?选|答案[是为]?)\s*:?\s*(?=[A-Z]\b)", "", text)
    text = _FOREIGN.sub(lambda m: m[0] if m[0][0] == "⟦" else f"⟦{m[0]}⟧", text)
    text = re.sub(r"\\\$|\\textdollar(?![a-zA-Z])", "⟦dollars⟧", text)
    text = re.sub(r"£|\\(?:text|pound)?sterling(?![a-zA-Z])|\\pounds(?![a-zA-Z])", "⟦GBP⟧", text)
    return re.sub(r"€|\\(?:text)?euro(?![a-zA-Z])", "⟦euros⟧", text)


def _word(content: str) -> str:
    """Content of \\text{}: numbers as they are, words in ⟦...⟧, with what joins them and commas outside."""
    content = content.replace("$", "").strip(" ~").replace("~", " ").replace("\\⟦dollars⟧", "⟦dollars⟧")
    content = re.sub(r"\\mu\s*(?=[a-zA-Z])", "u", content)
    if re.fullmatch(r"[-+=\d.,:;/%\\\s()\[\]]*", content) and content:  # numbers and signs in \text{} are what they are
        return content.strip("\\")
    if content in (r"\&", "&"):
        return "⟦and⟧"
    if (core := content.strip(" ,;")) and core != content.strip():
        start = content.index(core)
        return content[:start] + _word(core) + content[start + len(core) :]
    if joined := re.fullmatch(r"((?:and|or)\s+)?(.*?)(,?\s+(?:and|or)\s*)?", content, re.DOTALL):
        before, inside, behind = joined[1], joined[2], joined[3]
        if inside and (before or behind):
            return (
                (f"⟦{before.strip()}⟧" if before else "")
                + _word(inside)
                + (f"⟦{behind.strip(' ,')}⟧" if behind else "")
            )
    if _COUNTS.fullmatch(content) or _CHOICES.fullmatch(content):
        pieces = re.split(r"(?:,\s*)?\b(and|or)\b|,\s*(?=[\dA-Z(-])", content)
        if len(pieces) == 1:
            return f"⟦{content}⟧"
        return "".join(f"⟦{p}⟧" if p in ("and", "or") else "," if p is None else _word(p) for p in pieces if p != "")
    if (
        (said := re.fullmatch(r"([^\d:]{1,40}):\s*(\S.*)", content))
        and len(said[1]) > 1
        and set(said[1].lower().split()) <= LABELS
    ):
        return _word(said[2])
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
    if measured and content in UNITS and not re.match(r"\s*[\w({\\]", match.string[match.end() :].replace(r"\,", " ")):
        return f"⟦{content}⟧"  # 12 min, but min of something
    if content in FUNCTIONS:
        return f"\\{content} "
    return f"⟦{content}⟧" if re.search("[a-zA-Z]", content) else content
