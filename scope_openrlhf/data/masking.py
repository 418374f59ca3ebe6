r"""What of a worked solution may be shown in a prompt (SMEPO, arXiv 2605.25198).

The way stays; values, code and the answer become blanks.

"Step 2: so 3x = 12.\nThe answer is \boxed{4}." -> "Step 2: so [NUMBER]x = [NUMBER].\nThe answer is \boxed{[NUMBER]}."

Hidden: numbers with their powers of ten, fractions, roots of numbers and percent signs; exponents, for a power is a
value (x^2 -> x^[NUMBER]); code blocks; the gold answer; all that a box holds. An open code block or box reaches to the
end. Shown: numbers of steps, cases, equations, list items and headings; indexes, for x_1 and x_{12} are names (the base
of a logarithm is a value); signs, which may be operators (3-5 -> [NUMBER]-[NUMBER]), except in a box; units and
suffixes (5 cm, 3rd). Number words (seven) are not masked.
"""

import re
from collections.abc import Iterator
from dataclasses import astuple, dataclass


@dataclass(frozen=True, slots=True)
class Placeholders:
    """What stands for what is hidden.

    Masking twice changes nothing as long as none is empty, holds a digit or is a piece of the answer.
    """

    number: str = "[NUMBER]"
    code: str = "[CODE]"
    entity: str = "[ENTITY]"


DEFAULT = Placeholders()

_NEVER = "(?!)"
_GAP = "[ \t]{0,3}"
_SIGN = "[-+\u2212\u00b1]?"
_SUPERSCRIPT = "\u00b2\u00b3\u00b9\u2070\u2074-\u2079"
_VULGAR = "\u00bc-\u00be\u2150-\u215f\u2189"  # 1/4 to 7/8 in one character
_LETTER = rf"[^\W\d_{_SUPERSCRIPT}{_VULGAR}]"  # a digit bounds a word: it becomes a blank, which bounds it too
# Numbers, the longest spelling first. Possessive (++) where a failure would otherwise try every shorter run of digits.
_INTEGER = r"(?:\d{1,3}(?:(?:,(?:\\!)?|\{,\}|\\[,!])\d{3})++(?!\d)|\d++)"  # 1,234  1{,}234  1\,234  1,\!234
_DECIMAL = rf"(?:{_INTEGER}(?:\.\d*+\\(?:overline|bar)\{{\d++\}}|\.\d++)?[{_VULGAR}]?|(?<!\w)\.\d++|[{_VULGAR}])"
# 10^{-5}  10^5  10**5
_TEN = rf"10(?:\^\{{ ?{_SIGN}\d++ ?\}}|\^{_SIGN}\d++|\*\*{_SIGN}\d++|[\u207a\u207b]?[{_SUPERSCRIPT}]++)"
_PIECE = (
    rf"(?:{_DECIMAL}{_GAP}(?:\\times|\\cdot|[*xX\u00d7\u00b7]){_GAP}{_TEN}|{_DECIMAL}[eE]{_SIGN}\d++|{_TEN}|{_DECIMAL})"
)
_ARGUMENT = rf"{_GAP}(?:\{{{_GAP}{_SIGN}{_PIECE}{_GAP}\}}|\d)"
_FRACTION = rf"\\[dtc]?frac{_ARGUMENT}{_ARGUMENT}"  # \frac{-3}{4}  \dfrac12
_ROOT = rf"\\sqrt(?:\[\d++\])?{_ARGUMENT}|[\u221a-\u221c]{_PIECE}"  # \sqrt[3]{5}
_QUOTIENT = rf"{_PIECE}(?:{_GAP}[/\u2044]{_GAP}{_PIECE})*+"  # 3/4, and dates: 12/25/2024
_NUMBER = rf"(?:{_FRACTION}|{_ROOT}|{_QUOTIENT}|[{_SUPERSCRIPT}]++)(?: ?\\?%(?! ?\d))?"  # 45 \%, not 7 % 3
_ONLY_NUMBER = re.compile(
    rf"{_SIGN}\s*+(?:{_NUMBER}\s*+){{1,2}}(?:\^\{{?\\circ\}}?|\u00b0)?"
)  # two: 2\frac12, 3\sqrt{2}

# Structural numbers. Not "round 37", "approaches 0", "option 3"; not a lone "48." in a line, nor "#### 48".
_LABEL = (
    "step|case|subcase|part|stage|phase|method|equation|eqn|eq|inequality|formula|theorem|lemma|corollary|proposition|"
    "definition|remark|example|exercise|problem|question|figure|fig|table|section|chapter|appendix|property|rule|"
    "condition|assumption|observation"
)
_PLACE = r"[#(]?\d{1,3}(?:\.\d{1,2})*\)?"
_LABELLED = (
    rf"(?<!this )(?<!that )(?<!each )(?<!{_LETTER})(?i:"
    # Equations (1) and (2)
    rf"(?:{_LABEL})s(?:\.[ ~]?|[ \u00a0~]){_PLACE}(?:, ?{_PLACE})*,? ?(?:and|or|to|&|-|\u2013) ?{_PLACE}"
    rf"|(?:(?:{_LABEL})s?|claim)(?:\.[ ~]?|[ \u00a0~]){_PLACE})"  # Step 3, Eq.~(4)
    r"(?![^\W_]|[/^%]|\\%|[.,]?\d)"
)
_MARKER = r"^[ \t]*(?:[-+*>][ \t]+)?(?:\*\*)?\(?\d{1,2}[.):](?:\*\*)?(?=[ \t]+\S)"  # 1.  2)  (3)  4:  - 5.  **6.**
_HEADING = r"^#{1,6}[ \t]+\d{1,2}(?:\.\d{1,2})*[.):](?=\s|\Z)"  # ## 3.
_TAG = r"\\(?:tag|eqref|ref|label)\*?\{[^{}\n]{0,40}\}"
# x_{1,2}; not a bound, not the base of a logarithm, which is a value, not a blank ___5
_INDEX = r"_{2,}|(?<!log)(?<!\\int)(?<!\\sum)(?<!\\prod)(?<!\|)_(?:\d++|\{\d++(?:, ?\d++)*+\})"
_STRUCTURE = f"{_LABELLED}|{_MARKER}|{_HEADING}|{_TAG}|{_INDEX}"

_CODE = r"(?:(?P<ticks>`{3,9})|^[ \t]*(?P<waves>~{3,9})).*?(?:(?(ticks)(?P=ticks)|(?P=waves))|\Z)"
_FENCED = re.compile(_CODE, re.DOTALL | re.MULTILINE)
_BRACE = re.compile(r"(?P<box>\\{1,3}(?:boxed|fbox)[ \t]*\{)|\\.|(?P<open>\{)|(?P<close>\})", re.DOTALL)


def mask_trace(trace: str, answer: str = "", placeholders: Placeholders = DEFAULT) -> str:
    r"""The trace with blanks (SMEPO, arXiv 2605.25198).

    answer: the gold answer; where it is no number it is hidden wherever it stands as a whole, a single letter only
    where it is an option: "(B)", "option B", "answer is B".
    Example, answer "Paris": "Paris has 2 airports" -> "[ENTITY] has [NUMBER] airports".
    """
    kept = "|".join(re.escape(p) for p in astuple(placeholders) if p) or _NEVER
    entity = _entity(answer)
    pattern = re.compile(
        f"(?P<kept>{kept})|(?P<entity>{entity})|(?P<structure>{_STRUCTURE})|(?P<number>{_NUMBER})", re.MULTILINE
    )
    option = len(_bare(answer)) == 1  # its match ends with the letter; what stands before the letter stays

    def hide(match: re.Match[str]) -> str:
        if match.lastgroup == "entity":
            return (match[0][:-1] if option else "") + placeholders.entity
        return placeholders.number if match.lastgroup == "number" else match[0]

    text = _FENCED.sub(lambda _: placeholders.code, trace)
    parts, end = [], 0
    for start, stop in _boxes(text):
        content = text[start:stop].strip()
        parts.append(pattern.sub(hide, text[end:start]))
        if content and content not in astuple(placeholders):
            content = placeholders.number if _ONLY_NUMBER.fullmatch(_bare(content)) else placeholders.entity
        parts.append(content)
        end = stop
    return "".join(parts) + pattern.sub(hide, text[end:])


def leaks(masked: str, answer: str, placeholders: Placeholders = DEFAULT) -> bool:
    """Whether the gold answer, as it is spelled, still stands in a masked trace as a whole token.

    Numbers that masking leaves count: "Step 3" leaks the answer 3. 12 does not leak in 120; 1234 does in 1,234. Of a
    number, another spelling (0.5, 1/2) is not seen.
    """
    for placeholder in filter(None, astuple(placeholders)):
        masked = masked.replace(placeholder, "\0")
    plain = _bare(answer)
    if plain and any(_bare(masked[start:stop]) == plain for start, stop in _boxes(masked)):
        return True
    if not _ONLY_NUMBER.fullmatch(plain):
        return re.search(_entity(answer), masked, re.MULTILINE) is not None
    return re.search(_whole(_joined(plain)), _joined(masked)) is not None


# Where a trace cannot be cut, then where it can; "Step 1.", "e.g." and "5! = 120" end nothing.
_NO_CUT = (
    rf"{_CODE}|\$\$.*?(?:\$\$|\Z)|(?<!\\)\$[^$\n]*\$|\\\[.*?(?:\\\]|\Z)|\\\(.*?(?:\\\)|\Z)"
    r"|\\begin\{(?P<math>align|equation|gather|multline|eqnarray)\*?\}.*?(?:\\end\{(?P=math)|\Z)"
    rf"|(?:{_STRUCTURE})\.?|^[ \t]*[A-Za-z][.)][ \t]|\b(?i:e\.g|i\.e|cf|vs|resp|approx|w\.l\.o\.g|s\.t|eqs?|figs?)\."
)
_CUT = re.compile(
    rf"{_NO_CUT}|(?P<end>(?=\r?\n)|(?<![.!?])[.!?]++[\"')\]*]*+(?=\s++[^a-z=+*/<>-]|\s*+\Z))", re.DOTALL | re.MULTILINE
)


def prefix(trace: str, ratio: float) -> str:
    """The first part of a trace: at most `ratio` of its characters, cut at the last end of a sentence or line in them.

    Example: prefix("Add. Then divide.", 0.5) == "Add."; "" where nothing ends in time; never cut in code, formulas or
    boxes. Raises ValueError outside [0, 1]. Partial traces are the coarser way, of which SMEPO speaks.
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio {ratio} is not between 0 and 1")
    if ratio == 1:
        return trace
    parts, end, cut, limit = [], 0, 0, int(len(trace) * ratio)
    for start, stop in _boxes(trace):
        parts += [trace[end:start], "_" * (stop - start)]  # nothing ends in a box
        end = stop
    for match in _CUT.finditer("".join(parts) + trace[end:]):
        if match.end() > limit:
            break
        cut = match.end() if match["end"] is not None else cut
    return trace[:cut].rstrip()


def whole_lines(trace: str, ratio: float) -> str:
    """The first `ratio` of a trace's characters without the line that they end in; of a single line, all of them.

    Example: whole_lines("a\\nb\\nc", 1.0) == "a\\nb". As SMEPO's published code cuts, which counts tokens.
    """
    shown = trace[: int(len(trace) * ratio)]
    return shown.rpartition("\n")[0] if "\n" in shown else shown


def _boxes(text: str) -> Iterator[tuple[int, int]]:
    r"""(start, end) of what the outermost \boxed{...} hold; of one that is never closed, to the end of the text."""
    start = depth = 0
    for match in _BRACE.finditer(text):
        if not depth and match["box"]:
            start, depth = match.end(), 1
        elif depth and (match["box"] or match["open"]):
            depth += 1
        elif depth and match["close"]:
            depth -= 1
            if not depth:
                yield start, match.start()
    if depth:
        yield start, len(text)


def _bare(answer: str) -> str:
    r"""An answer without dollars, wrappers and the brackets of an option: "$\text{(B)}$" -> "B"."""
    answer = answer.replace(r"\$", "").replace("$", "")
    for _ in range(3):  # more wrappers are no answer but an attack
        answer = answer.strip().removesuffix(".")
        wrapped = re.fullmatch(r"\\(?:boxed|fbox|mbox|text[a-z]*|mathrm|mathbf)[ \t]*\{(.*)\}", answer, re.DOTALL)
        answer = wrapped[1].strip() if wrapped and _balanced(wrapped[1]) else answer
    option = re.fullmatch(r"\(?[ \t]*([A-Za-z])[ \t]*\)?", answer)
    return option[1] if option else answer


def _balanced(text: str) -> bool:
    depth = 0
    for brace in re.findall(r"[{}]", text):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def _entity(answer: str) -> str:
    """A pattern of the places where an answer that is no number stands; for a letter it ends with that letter."""
    plain = _bare(answer)
    if not re.search(r"[^\W_]", plain) or not _balanced(plain) or _ONLY_NUMBER.fullmatch(plain):
        return _NEVER
    if not re.fullmatch("[A-Za-z]", plain):
        return f"(?i:{_whole(plain)})"
    # "A" may be the article: sure after "option" and "answer is" as a capital, else where the sentence ends with it
    opening = r"[\s*$({]{0,8}(?:\\text[a-z]{0,4}\{\(?)?"
    closed = r"(?=[ \t]*+(?:[.,;)}$]|$))"
    sure = (
        rf"(?<!{_LETTER})(?i:options?|choices?|answer\s+is){opening}{plain}(?!{_LETTER})" if plain.isupper() else _NEVER
    )
    ends = rf"(?<!{_LETTER})(?i:option|choice|answer)(?:\s+is|\s*[:=])?{opening}{plain}{closed}"
    return rf"{sure}|{ends}|(?<!{_LETTER})\(\s?{plain}(?=\s?\))"


def _whole(answer: str) -> str:
    """A pattern of the answer as a whole token, whatever the spaces in it; fractions of any size."""
    tokens = re.findall(r"\\[A-Za-z]+|[^\W\d_]+|\d+|\S", answer)
    pattern = r"\s*+".join(r"\\[dt]?frac" if re.fullmatch(r"\\[dt]?frac", t) else re.escape(t) for t in tokens)
    before = r"(?<!\d)(?<!\d[.,])" if answer[0].isdigit() else rf"(?<!{_LETTER})(?<!\\)" if answer[0].isalpha() else ""
    after = r"(?!\d|[.,]\d)" if answer[-1].isdigit() else f"(?!{_LETTER})" if answer[-1].isalpha() else ""
    return before + pattern + after


def _joined(text: str) -> str:
    """The text without separators of thousands: 1,234 -> 1234."""
    return re.sub(r"(?<=\d)(?:,(?:\\!)?|\{,\}|\\[,!])(?=\d{3}(?!\d))", "", text)
