"""What data call a prompt, and what the model gets of it."""

import json

import chats
import numpy as np
import pytest

from scope_openrlhf.data.prompts import as_text, folded, read_prompt, unfolded, with_system
from scope_openrlhf.settings.sections import StudentConfig

ASKED = [{"role": "user", "content": "1+1?"}]
BRIEF = {"role": "system", "content": "Be brief."}
STUDENT = StudentConfig(path="m")


@pytest.mark.parametrize(
    "value, prompt",
    [
        ("1+1?", "1+1?"),
        ("[1, 2]: their sum?", "[1, 2]: their sum?"),
        ('{"role": "user"} has how many letters?', '{"role": "user"} has how many letters?'),
        (ASKED, ASKED),
        (ASKED[0], ASKED),
        (tuple(ASKED), ASKED),
        ([{"role": "USER", "content": "1+1?", "name": None}], ASKED),
        ([{"from": "human", "value": "1+1?"}], ASKED),
        ([{"from": "system", "value": "Be brief."}, {"from": "human", "value": "1+1?"}], [BRIEF, *ASKED]),
        ([{"role": None, "content": None, "from": "human", "value": "1+1?"}], ASKED),  # of both forms in one file
        ([{"role": "user", "content": [{"type": "text", "text": "1+1"}, {"type": "text", "text": "?"}]}],
         [{"role": "user", "content": "1+1\n?"}]),
        ('[{"role": "user", "content": "1+1?"}]', ASKED),
        (np.array([{"role": "user", "content": np.array([{"type": "text", "text": "1+1?"}])}]), ASKED),
        ([{"role": "system", "content": ""}, *ASKED], [{"role": "system", "content": ""}, *ASKED]),
    ],
)  # fmt: skip
def test_a_prompt_is_text_or_messages_however_data_spell_it(value, prompt):
    assert read_prompt(value) == prompt


@pytest.mark.parametrize(
    "value, message",
    [
        (7, "it is 7, of type int: neither a text nor chat messages"),
        (None, "it is missing"),
        (json.loads('{"a":' * 900 + "1" + "}" * 900), "it is nested too deeply"),
        ("What is in <image>?", "it holds <image>, the place of a picture that nobody is shown"),
        (
            '{"conversations": [{"from": "human", "value": "1+1?"}]}',
            "neither role nor content but the keys conversations",
        ),
        (
            r'[{"role": "user", "content": "\pi"}]',
            "a text of messages that is not JSON: Invalid .escape at character 31",
        ),
        ('[{"role": "user", "role": "system", "content": "1+1?"}]', "a text of messages that has the key 'role' twice"),
        (True, "it is True, of type bool"),
        ("  \n", "it is empty"),
        ("half \ud800", "it holds half a surrogate pair"),
        ([], "an empty list of messages"),
        (["1+1?"], r"a list of str \('1\+1\?'\), not of messages"),
        ([{"role": "user", "content": None}], "its message 1 has no text as its content but None"),
        ([{"role": "user"}], "its message 1 has no text as its content but None"),
        ([{"role": "user", "content": " "}], "its message 1 is empty"),
        ([{"role": "user", "content": "\udc00"}], "its message 1 holds half a surrogate pair"),
        ([{"role": "user", "content": [{"type": "image"}]}], "its message 1 holds a part of type 'image'"),
        ([{"role": "user", "content": ["1+1?"]}], "its message 1 holds a part of type 'str'"),
        ([BRIEF], "its last message is of role system; it must end with the user's"),
        ([*ASKED, {"from": "gpt", "value": "2"}], "its last message is of role assistant"),
        ([{"role": "tool", "content": "2"}], "its message 1 has the role 'tool'; known are system, user, assistant"),
        ({"messages": ASKED}, "its message 1 has neither role nor content but the keys messages"),
        (str(ASKED), "a text of messages as Python prints them"),
    ],
)
def test_anything_else_is_told_in_a_sentence(value, message):
    with pytest.raises(ValueError, match=message):
        read_prompt(value)


def test_a_system_prompt_stands_before_problems_that_bring_none():
    assert with_system("1+1?", "Be brief.") == with_system(ASKED, "Be brief.") == [BRIEF, *ASKED]
    assert with_system([BRIEF, *ASKED], "Be long.") == [BRIEF, *ASKED] and with_system("1+1?", "") == "1+1?"


def test_what_was_folded_into_a_text_comes_back_with_what_was_written_after_it():
    assert folded(ASKED) == folded("1+1?") == "1+1?" and unfolded("1+1?\n\nThink.") == "1+1?\n\nThink."
    text = folded([BRIEF, *ASKED])
    assert unfolded(text) == [BRIEF, *ASKED] == read_prompt(text)
    assert unfolded(f"{text}\n\nThink.") == [BRIEF, {"role": "user", "content": "1+1?\n\nThink."}]


@pytest.mark.parametrize(
    "text", ['[{"role": "x"}] has how many roles?', '[{"role": "', f"{json.dumps(ASKED)}: what is it?"]
)
def test_a_text_that_begins_as_messages_is_asked_in_evaluation_as_in_training(text):
    assert read_prompt(text) == text and unfolded(folded(text)) == [{"role": "user", "content": text}]
    assert unfolded(folded(text) + "\n\nThink.") == [{"role": "user", "content": f"{text}\n\nThink."}]


def test_a_text_that_nobody_folded_stays():
    assert unfolded('[{"role": "x"}] has how many roles?') == '[{"role": "x"}] has how many roles?'


def test_a_template_gets_its_arguments_and_a_date_that_stands_still():
    thinks = chats.tokenizer("thinks")
    assert as_text(thinks, "1+1?", STUDENT) == "<|user|>1+1?<|assistant|>"
    quick = StudentConfig(path="m", template_args={"enable_thinking": False})
    assert as_text(thinks, "1+1?", quick) == "<|user|>1+1?<|assistant|><think></think>"
    dates = chats.tokenizer("dates")
    assert as_text(dates, "1+1?", STUDENT) == "Today: 26 Jul 2024;<|user|>1+1?<|assistant|>"
    later = StudentConfig(path="m", template_date="2030-01-02")
    assert as_text(dates, "1+1?", later) == "Today: 02 Jan 2030;<|user|>1+1?<|assistant|>"
    own = StudentConfig(path="m", template_args={"date_string": "today"})
    assert as_text(dates, "1+1?", own) == "Today: today;<|user|>1+1?<|assistant|>"


def test_a_template_that_refuses_or_ignores_a_system_prompt_is_told_and_one_that_edits_it_is_not():
    with pytest.raises(ValueError, match=r"the chat template refuses it \(System role not supported\)"):
        as_text(chats.tokenizer("refuses"), [BRIEF, *ASKED], STUDENT)
    with pytest.raises(ValueError, match="the chat template leaves out the system message 'Be brief.'"):
        as_text(chats.tokenizer("ignores"), [BRIEF, *ASKED], STUDENT)
    quiet = {"role": "system", "content": "Be /no_think brief."}
    said = as_text(chats.tokenizer("edits"), [quiet, *ASKED], STUDENT)
    assert said == "<|system|>Be  brief.<|user|>1+1?<|assistant|>"
