"""A run looks for its served teachers before it starts anything."""

import socket
import time

import pytest
import resolved
from served import faked, http, sound

from scope_openrlhf.run import teachers
from scope_openrlhf.settings.errors import ConfigError


@pytest.fixture
def mute():
    """Address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_teacher_of_whose_servers_none_answers_is_told_within_the_limit(mute, monkeypatch):
    monkeypatch.setattr(teachers, "LOOK_SECONDS", 0.5)
    start = time.monotonic()
    with pytest.raises(ConfigError, match=r"teachers.math.urls: no server answers.*not answered within 0.5 s; .*:1/v1"):
        teachers.require_served({"math": resolved.teacher(path="", urls=[mute, "http://127.0.0.1:1"])})
    assert time.monotonic() - start < 1.5  # both are asked at once


def test_one_server_that_answers_will_do_and_a_replay_needs_none(mute, monkeypatch):
    monkeypatch.setattr(teachers, "LOOK_SECONDS", 0.5)
    with faked(lambda path, body: http(sound(path, body))) as url:
        teachers.require_served({"": resolved.teacher(path="", urls=[mute, url])})
    teachers.require_served({"": resolved.teacher(path="", urls=[mute], replay=True, score_log="x")})
