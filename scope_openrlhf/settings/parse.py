"""Values of YAML -> the typed fields of a dataclass, and `a.b=value` into the tree of values."""

import dataclasses
import typing
from collections.abc import Iterable
from datetime import date
from typing import Any

from scope_openrlhf.settings.errors import ConfigError, nearest
from scope_openrlhf.settings.ranges import check_ranges


def build(cls: type, raw: Any, prefix: str = "") -> Any:
    """An instance of a dataclass from the values of a section.

    prefix: the section's name and a dot, for errors. Raises ConfigError for an unknown key (naming the nearest known
    one), a missing one, or a value of the wrong type or out of its range.
    """
    if not isinstance(raw, dict):
        raise ConfigError(f"{prefix.rstrip('.')} must be a section of keys, got {raw!r}")
    known = {key_of(f): f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    values = {}
    for key, value in raw.items():
        if key not in known:
            raise ConfigError(f"unknown key {prefix}{key}; {nearest(f'{prefix}{key}', [prefix + k for k in known])}")
        name = known[key].name
        values[name] = convert(hints[name], value, f"{prefix}{key}")
    for key, f in known.items():
        if f.name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{prefix}{key} is missing{_what_to_set(hints[f.name], prefix + key)}")
    section = cls(**values)
    check_ranges(section, lambda name: prefix + name)
    return section


def key_of(field: dataclasses.Field) -> str:
    """The key of a field. `from` is a word of Python, so its field is from_."""
    return field.name.rstrip("_")


def _what_to_set(hint: Any, key: str) -> str:
    if dataclasses.is_dataclass(hint):
        return f"; it is a section with {', '.join(f.name for f in dataclasses.fields(hint))}"
    return f"; set {key} in the config or pass {key}=..."


def convert(hint: Any, value: Any, key: str) -> Any:
    """The value as the type that the field asks for. Raises ConfigError naming the key."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        if value not in inner or isinstance(value, bool):
            raise ConfigError(f"{key} must be one of {', '.join(map(str, inner))}, got {value!r}")
        return value
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, f"{key}.")
    if origin is list:
        if not isinstance(value, list):
            raise ConfigError(f"{key} must be a list, got {type(value).__name__}")
        return [convert(inner[0], v, f"{key}[{i}]") for i, v in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{key} must be a section of keys, got {value!r}")
        return value if inner[1] is Any else {str(k): convert(inner[1], v, f"{key}.{k}") for k, v in value.items()}
    return _convert_scalar(hint, value, key)


def _convert_scalar(hint: Any, value: Any, key: str) -> Any:
    if hint is float and type(value) in (int, float):
        return float(value)
    if hint is float and isinstance(value, str):  # YAML reads 2e-4 as text
        try:
            return float(value)
        except ValueError:
            pass
    if hint is str and isinstance(value, date):  # YAML reads 2024-07-26 as one
        return value.isoformat()
    if hint is str and value is None:  # `eval.path=` on a command line
        return ""
    if type(value) is not hint:
        raise ConfigError(f"{key} must be of type {hint.__name__}, got {value!r}")
    return value


def set_key(raw: dict, key: str, value: Any, sections: Iterable[str]) -> None:
    """Put a value at a dotted key of a config's raw values. sections: the names of a config's keys, for errors."""
    section, _, rest = key.partition(".")
    if section == "openrlhf" and rest:  # its keys hold dots themselves, so nested and dotted spellings meet here
        raw["openrlhf"] = flatten(raw.get("openrlhf") or {}) | {rest: value}
    elif section == "algorithm" and rest and isinstance(raw.get("algorithm"), str):
        raw["algorithm"] = {"name": raw["algorithm"], rest: value}
    elif rest:
        if not isinstance(raw.setdefault(section, {}), dict):
            raise ConfigError(f"{section} is no section, so {key} cannot be set; {nearest(section, sections)}")
        set_key(raw[section], rest, value, sections)
    else:
        raw[section] = value


def flatten(section: dict, prefix: str = "") -> dict[str, Any]:
    """A tree of sections as one level. Example: {"actor": {"adam.lr": 1}} -> {"actor.adam.lr": 1}."""
    flat: dict[str, Any] = {}
    for key, value in section.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
