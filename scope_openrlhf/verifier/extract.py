"""Extraction of the answer from a response.

The answer is the last complete \\boxed{} after the last closed think tag, or several boxes that belong together.
"""

import re
from itertools import pairwise

MAX_RESPONSE_CHARS = 1_000_000
"""Characters of a response that are read, from its end."""

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BARE_BOX = re.compile(
    r"\\(?:boxed|fbox)\s*(-?\d+(?:[.,/]\d+)*|(?<=\s)[a-zA-Z](?![a-zA-Z])|\\(?!text|left)[a-zA-Z]+(?:\{[^{}]*\}){0,2})"
)
"""A box without braces, \\boxed5 or \\boxed\\pi: the number, letter or command behind it is meant."""
_DECORATION = re.compile(r"\\(?:text\w*|mathrm|mathbf|[lc]?dots|q?quad|[,;:! _])")
_ECHO = {"your", "the", "my", "a", "final", "correct", "numerical", "here", "goes", "in", "put", "is", "最终", "你的"}
_ECHO_OF_ANSWER = {"answer", "answers", "result", "solution", "答案", "最终答案", "réponse", "respuesta", "ответ"}
_SENTENCE_END = re.compile(r"[.!?:](?:\s|$)|\n\s*\n")
_JOINING = re.compile(
    r"[a-zA-Z](?:_\{?\w+\}?)?\s*=(?=[\s$]*$)|"
    r"\\[,;!() ]|\\q?quad|\\text|[\s$,;{}()]|\b(?:and|or|either|maybe|possibly|perhaps|alternatively)\b"
)
"""What may stand between boxes that belong together."""
_LENIENT = re.compile(
    r"(?:answer|result|value)\s*(?:is|=|:)\s*:?\s*\**\s*"
    r"(\$[^$\n]{1,200}\$|\\\([^\n]{1,200}?\\\)|[^\s\n][^\n]{0,200}?)(?=\.?\s*(?:\n|$)|\.\s)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:\s*/\s*\d+)?%?")


def extract_answers(response: str, lenient: bool = False) -> list[str]:
    """Content of the last box, and of those in the same breath: "\\boxed{2} and \\boxed{3}". Empty: no complete box.

    A later box in another sentence is a correction, and only it counts.
    lenient: where there is no box, take what follows the last "the answer is", else the last number of the text.
    """
    text = response[-MAX_RESPONSE_CHARS:].rpartition("</think>")[2]
    boxes = [box for box in _complete_boxes(text) if not _says_nothing(box[2])]
    if not boxes:
        return _guess(text) if lenient else []
    boxes = boxes[-20:]
    answers = [boxes[-1][2]]
    for (_, end, content), (start, _, _) in reversed(list(pairwise(boxes))):
        between = text[end:start]
        if len(between) > 60 or _SENTENCE_END.search(between) or _JOINING.sub("", between):
            break
        answers.insert(0, content)
    return answers


def _says_nothing(content: str) -> bool:
    """Whether a box only says where the answer goes: it is empty, or holds dots or "your answer here"."""
    if len(content) > 100 or re.search(r"\d|\\[{}]", content):
        return False
    content = _DECORATION.sub(" ", content)
    words = {w.lower() for w in re.findall(r"[^\W_]+", content)}
    if re.sub(r"[\w\s.…(){}\[\]<>⟨⟩$*-]", "", content):
        return False
    return not words or (words <= _ECHO | _ECHO_OF_ANSWER and bool(words & _ECHO_OF_ANSWER))


def _complete_boxes(text: str) -> list[tuple[int, int, str]]:
    """List (start, end, content) of the closed boxes, outermost ones only, in one pass over the text."""
    starts = {m.end() - 1: m.start() for m in _BOX.finditer(text)}
    bare = [(m.start(), m.end(), m[1]) for m in _BARE_BOX.finditer(text)]
    if not starts:
        return bare
    boxes: list[tuple[int, int, str]] = []
    open_braces: list[int] = []
    i = min(starts)
    while i < len(text):
        if text[i] == "\\" and i not in starts:
            i += 2  # \{, \} and \\ open and close nothing
            continue
        if text[i] == "{":
            open_braces.append(i)
        elif text[i] == "}" and open_braces:
            begin = open_braces.pop()
            if begin in starts:
                while boxes and boxes[-1][0] > starts[begin]:
                    boxes.pop()  # boxes inside this one
                boxes.append((starts[begin], i + 1, text[begin + 1 : i].strip()))
        elif text[i] == "}":
            open_braces.clear()
        i += 1
    outside = [b for b in bare if not any(start < b[0] < end for start, end, _ in boxes[-40:])]
    return sorted(boxes + outside)


def _guess(text: str) -> list[str]:
    """What a text without boxes says last: behind "the answer is", else its last number."""
    said = _LENIENT.findall(text[-5_000:])
    if said:
        return [said[-1].strip(" $*")]
    numbers = _NUMBER.findall(text[-5_000:])
    return numbers[-1:]
