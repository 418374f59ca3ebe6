"""The line of a remote traceback that is shown."""

from scope_openrlhf.platform.cluster import last_line


def test_of_a_remote_traceback_the_line_that_says_what_happened_is_shown():
    assert last_line(ValueError("ray::Engine()\n  File x\n\nValueError: no room\n  ")) == "ValueError: no room"


def test_the_pointer_to_pydantics_website_says_nothing():
    said = "1 validation error\n  Value error, no such model\n    For further information visit https://errors"
    assert last_line(ValueError(said)) == "Value error, no such model"


def test_an_error_without_words_is_shown_by_its_name():
    assert last_line(KeyError()) == "KeyError"
