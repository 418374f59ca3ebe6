"""What the user gives a chat template, and what that makes of it."""

import chats
import pytest

from scope_openrlhf.data.templates import Keys, check_template
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.sections import StudentConfig

KEYS = Keys("student.template_args", "student.template_date", "data.system")


def check(template: str, system: str = "", **args) -> list[str]:
    return check_template(chats.tokenizer(template), StudentConfig(path="m", template_args=args), system, KEYS)


@pytest.mark.parametrize(
    "template, system, args, message",
    [
        ("thinks", "", {"enable_thnking": False},
         "student.template_args: the chat template of m reads no enable_thnking; did you mean enable_thinking?"),
        ("ignores", "", {"enable_thinking": False}, "reads no enable_thinking; it reads none"),
        ("thinks", "", {"tokenize": True}, "reads no tokenize; known: enable_thinking"),
        ("thinks", "", {"messages": []}, "reads no messages"),
        ("thinks", "", {"chat_template": "x"}, "reads no chat_template"),
        ("dates", "", {"date_string": 5}, "student.template_args {'date_string': 5} cannot be given: .* refuses it"),
        ("refuses", "Be brief.", {}, r"data.system cannot be given: .*role not supported.*leave data.system out"),
        ("ignores", "Be brief.", {}, "data.system cannot be given: the chat template leaves out the system message"),
    ],
)  # fmt: skip
def test_what_a_template_does_not_take_is_refused_by_its_key(template, system, args, message):
    with pytest.raises(ConfigError, match=message):
        check(template, system, **args)


def test_a_template_that_takes_no_question_is_refused():
    broken = chats.tokenizer("thinks")
    broken.chat_template = "{{ raise_exception('never') }}"
    with pytest.raises(ConfigError, match=r"m cannot be asked anything: .*never.*mend its chat template"):
        check_template(broken, StudentConfig(path="m"), "", KEYS)


@pytest.mark.parametrize(
    "template, message",
    [
        ("\n{% for m in messages %}", "the chat template of m cannot be read .its line 2 is none that Jinja reads"),
        ("{{ messages | nofilter }}", "cannot be read .*No filter named 'nofilter'"),
        ("<|user|>{{ messages[0].role }}", "the chat template of m leaves out what it is asked"),
        ("", "leaves out what it is asked"),
    ],
)
def test_a_broken_template_is_told(template, message):
    broken = chats.tokenizer("thinks")
    broken.chat_template = template
    with pytest.raises(ConfigError, match=message):
        check_template(broken, StudentConfig(path="m"), "", KEYS)


def test_an_argument_that_changes_nothing_and_a_date_are_said():
    assert check("thinks", "Be brief.", enable_thinking=False) == []
    (idle,) = check("thinks", enable_thinking="false")  # a text, which the template does not take for false
    assert idle == "student.template_args: enable_thinking 'false' changes nothing in what the model is asked"
    (dated,) = check("dates")
    assert "prints today's date; it is given 2024-07-26 (student.template_date)" in dated
    assert check("dates", date_string="today") == []
