"""Whether a text ends in a loop, as models do that repeat themselves until the length limit cuts them."""

LOOPED, TIMES, KEY = 200, 4, 40
"""A text ends in a loop if its end says one thing at least TIMES in a row, over LOOPED characters or more; KEY
characters that stand there twice are where the search begins."""
CANDIDATES = 50
"""Distances that are tried at most, so that hostile texts cost no time."""


def ends_in_a_loop(text: str) -> bool:
    """Whether the end of a text is one piece at least four times in a row, 200 characters or more together.

    Blanks at the end do not count, and the last time may be cut.
    """
    text = text.rstrip()
    if len(text) < LOOPED:
        return False
    key, at = text[-KEY:], len(text) - KEY
    for _ in range(CANDIDATES):
        at = text.rfind(key, 0, at + KEY - 1)
        distance = len(text) - KEY - at
        if at < 0 or TIMES * distance > len(text):
            return False
        looped = max(LOOPED, TIMES * distance)
        if text[-looped:-distance] == text[distance - looped :]:
            return True
    return False
