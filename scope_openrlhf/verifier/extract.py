"""Extraction of the answer from a response.

The answer is the last complete \\boxed{} after the last closed think tag, or several boxes that belong together.
"""

import re
from itertools import pairwise

MAX_RESPONSE_CHARS = 1_000_000
"""Characters of a response that are read, from its end."""

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_SENTENCE_END = re.compile(r"[.!?:](?:\s|$)|\n\s*\n")
_JOINING = re.compile(
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
    boxes = _complete_boxes(text)
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


def _complete_boxes(text: str) -> list[tuple[int, int, str]]:
    """List (start, end, content) of the closed boxes, outermost ones only, in one pass over the text."""
    starts = {m.end() - 1: m.start() for m in _BOX.finditer(text)}
    if not starts:
        return []
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
    return boxes


def _guess(text: str) -> list[str]:
    """What a text without boxes says last: behind "the answer is", else its last number."""
    said = _LENIENT.findall(text[-5_000:])
    if said:
        return [said[-1].strip(" $*")]
    numbers = _NUMBER.findall(text[-5_000:])
    return numbers[-1:]
