"""Texts that end in a loop, and texts that do not."""

import random
import time

import pytest

from scope_openrlhf.equations.repetition import ends_in_a_loop

BLOCK = "Wait, let me check this step once more, since 3 + 4 = 7. "
LOOPS = {
    "a sentence four times": "First. " + BLOCK * 4,
    "the last time is cut": "First. " + BLOCK * 5 + BLOCK[:20],
    "one character": "So " + "0" * 300,
    "a word": "the answer " + "is " * 80,
    "a block in which a phrase comes twice": ("x = 1, so x = 1, and so on and so on and so on. " * 3 + "z") * 4,
    "blanks at the end": BLOCK * 5 + "\n\n  ",
}
OTHERS = {
    "nothing": "",
    "a short answer": "48-6=42;\\boxed{42}",
    "three times": "First. " + BLOCK * 3,
    "four times, but short": "First. " + "is " * 60,
    "a loop that the text came out of": BLOCK * 20 + "The answer is \\boxed{7}.",
    "counting on": ", ".join(map(str, range(500))),
    "words by chance": " ".join(random.Random(1).choices(["so", "then", "hence", "we", "add", "it"], k=2_000)),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_text_that_ends_in_a_loop_is_found(name):
    assert ends_in_a_loop(LOOPS[name])


@pytest.mark.parametrize("name", OTHERS)
def test_a_text_that_does_not_end_in_a_loop_is_left_alone(name):
    assert not ends_in_a_loop(OTHERS[name])


def test_a_long_hostile_text_takes_no_time():
    text = ("a" * 200 + "b") * 5_000 + "a" * 100
    began = time.perf_counter()
    ends_in_a_loop(text)
    assert time.perf_counter() - began < 0.5
