"""Values as Python and numpy print them, read back or refused."""

import pytest

from scope_openrlhf.files.printed import read_printed


@pytest.mark.parametrize("value", [["2", "3"], ["it's", '"3"'], {"ground_truth": "\\pi", "style": None}, ("2", 3)])
def test_what_python_prints_is_read(value):
    assert read_printed(repr(value)) == value


def test_what_numpy_prints_is_a_list_and_not_one_text():
    assert read_printed("['2' '3']") == read_printed("['2'\n \"3\"]") == ["2", "3"]


@pytest.mark.parametrize("text", [r"{'a': '\pi'}", "{'a': 1, 'a': 2}", "['2' '3', '4']", "['2'", "[x]", "[" * 10_000])
def test_what_nobody_prints_is_refused(text):
    with pytest.raises(ValueError, match="is nothing that Python prints"):
        read_printed(text)
