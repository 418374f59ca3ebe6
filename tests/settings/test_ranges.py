"""Every number of a config has a range, and what is outside is told in one kind of sentence."""

import dataclasses
import math
import re
import typing

import pytest

from scope_openrlhf import algorithms
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.ranges import Range, range_of

MINIMAL = {"name": "r", "data": {"path": "d.jsonl"}, "student": {"path": "s"}, "teacher": {"path": "t"}}


def numbers(cls: type, prefix: str = "") -> dict[str, Range | None]:
    """The range of each key of a dataclass, and of its sections, that is a number."""
    plain, full = typing.get_type_hints(cls), typing.get_type_hints(cls, include_extras=True)
    found: dict[str, Range | None] = {}
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(plain[field.name]):
            found |= numbers(plain[field.name], f"{prefix}{field.name}.")
        elif plain[field.name] in (int, float):
            found[prefix + field.name] = range_of(full[field.name])
    return found


def outside(within: Range) -> list[float]:
    """Numbers just outside the bounds of a range."""
    low = [within.least - 1] if within.least is not None else []
    low += [within.above] if within.above is not None else []
    high = [within.most + 1] if within.most is not None else []
    high += [within.below] if within.below is not None else []
    return [number for bound in (low, high) for number in bound if number != within.off] or [math.inf]


KEYS = numbers(Config)
KNOBS = {(name, knob): r for name in algorithms.known() for knob, r in numbers(algorithms.load(name).Config).items()}


@pytest.mark.parametrize("key", KEYS)
def test_a_number_outside_its_range_is_told_with_its_key(key):
    within = KEYS[key]
    assert within, f"{key} has no range"
    section, _, name = key.rpartition(".")
    for number in outside(within):
        raw = MINIMAL | ({section: MINIMAL.get(section, {}) | {name: number}} if section else {name: number})
        with pytest.raises(ConfigError, match=f"^{re.escape(f'{key} must be {within}, got {number}')}"):
            Config.from_dict(raw)


@pytest.mark.parametrize("name, knob", KNOBS)
def test_a_knob_outside_its_range_is_told_with_its_key(name, knob):
    within = KNOBS[name, knob]
    assert within, f"algorithm.{knob} of {name} has no range"
    for number in outside(within):
        with pytest.raises(ConfigError, match=f"^{re.escape(f'algorithm.{knob} must be {within}, got {number}')}"):
            algorithms.load(name, **{knob: number})


@pytest.mark.parametrize("teachers", [{"math": {"path": "m", "replicas": 0}}])
def test_a_number_of_a_further_teacher_has_the_same_range(teachers):
    with pytest.raises(ConfigError, match=r"teachers\.math\.replicas must be at least 1, got 0"):
        Config.from_dict(MINIMAL | {"teachers": teachers})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_no_number_of_a_config_is_infinite(number):
    with pytest.raises(ConfigError, match=r"teacher\.hang_seconds must be finite and above 0, got"):
        Config.from_dict(MINIMAL | {"teacher": {"path": "t", "hang_seconds": number}})


def test_a_range_says_what_it_holds():
    assert str(Range(above=0, most=1)) == "above 0 and at most 1"
    assert 1 in Range(above=0, most=1) and 0 not in Range(above=0, most=1)
    assert str(Range(least=1, off=-1)) == "at least 1, or -1"
    assert -1 in Range(least=1, off=-1) and 0 not in Range(least=1, off=-1)
    assert math.inf in Range(above=0, infinite=True) and math.nan not in Range(infinite=True)
