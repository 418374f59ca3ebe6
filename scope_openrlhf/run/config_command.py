"""`scope-train config`: what every key means, what a config sets it to, and where it was set."""

import dataclasses
import itertools
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

from scope_openrlhf.run.keys import about, flags, knobs, knobs_of, known_algorithms, sections
from scope_openrlhf.run.plan import Plan, make_plan
from scope_openrlhf.settings.config import Config, read_raw
from scope_openrlhf.settings.errors import ConfigError, nearest
from scope_openrlhf.settings.meanings import Key, spelled
from scope_openrlhf.settings.parse import flatten

FLAGS = "openrlhf"


@dataclass(frozen=True, slots=True)
class Source:
    """What a config sets, and where."""

    values: dict[str, Any]
    """By dotted key."""
    of_file: set[str]
    of_command_line: set[str]
    resolved: dict[str, str]
    """What a run makes of a value that leaves something open, by dotted key; empty where nobody asked."""

    def shown(self, key: Key) -> str:
        """The value of a key and where it was set. Example: "0 (default), resolved to 100"."""
        value = spelled(self.values[key.name]) if key.name in self.values else key.default
        told = f"{value} ({self.origin(key.name)})"
        return f"{told}, resolved to {self.resolved[key.name]}" if key.name in self.resolved else told

    def origin(self, key: str) -> str:
        """Where a key was set."""
        for where, keys in (("command line", self.of_command_line), ("file", self.of_file)):
            if any(found == key or found.startswith(f"{key}.") for found in keys):
                return where
        return "default"


def read_source(path: str, overrides: list[str], resolve: bool) -> Source:
    """What a config file and overrides set. resolve: also what a run would make of it, which takes the models.

    Raises ConfigError for a config that cannot work.
    """
    config = Config.load(path, overrides)
    file, both = flat(read_raw(path, [])), flat(read_raw(path, overrides))
    given = {override.partition("=")[0] for override in overrides}
    given |= {key for key in both if file.get(key) != both[key] or any(key.startswith(f"{name}.") for name in given)}
    preset = {f"algorithm.{knob}" for knob in config.algorithm if knob != "name"} - both.keys()
    values = flat(config.to_dict())
    resolved = resolved_values(make_plan(config, dry=True)) if resolve else {}
    return Source(values, file.keys() | preset, given, resolved)


def flat(raw: dict) -> dict[str, Any]:
    """A config's values by dotted key. What is no section of ours, as arguments of a template, also stands whole."""
    raw = dict(raw)
    if isinstance(raw.get("algorithm"), str):
        raw["algorithm"] = {"name": raw["algorithm"]}
    whole = {key.name: _at(raw, key.name) for key in itertools.chain(*sections().values())}
    return flatten(raw) | {name: value for name, value in whole.items() if value is not None}


def _at(raw: dict, name: str) -> Any:
    """The object at a dotted key; None where there is none."""
    value: Any = raw
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else None


def resolved_values(plan: Plan) -> dict[str, str]:
    """What a run makes of keys that leave something open, where it differs from what stands there."""
    config = plan.config
    found: dict[str, Any] = {"steps": plan.steps, "ray.num_gpus": plan.gpus}
    if teacher := plan.run.teachers.get(""):
        found |= {"teacher.temperature": teacher.temperature, "teacher.max_model_len": teacher.max_model_len}
        found |= {"teacher.revision": teacher.revision, "teacher.path": teacher.path}
    found |= {f"{FLAGS}.{flag}": value for flag, value in flatten(_tree(plan.args)).items()}
    given = flat(config.to_dict())
    open_keys = {key: value for key, value in found.items() if spelled(given.get(key)) != spelled(value)}
    return {key: spelled(value) for key, value in open_keys.items() if value not in (None, "", False)}


def _tree(args: Any) -> dict[str, Any]:
    """OpenRLHF's resolved flags as sections."""
    return {name: _tree(value) if hasattr(value, "__dict__") else value for name, value in vars(args).items()}


def show(names: list[str], source: Source | None, out: TextIO) -> None:
    """Print the keys of these names, all without one. Raises ConfigError with the nearest for an unknown name."""
    parts = [part for name in names for part in explained(name)] if names else list(everything(source))
    for title, text, keys in parts:
        print(f"\n{title}" + (f"\n{wrapped(text, '')}" if text else ""), file=out)
        for key in keys:
            print(f"\n  {key.name}: {source.shown(key) if source else f'default {key.default}'}", file=out)
            print(wrapped(key.meaning, "      "), file=out)


Part = tuple[str, str, list[Key]]
"""A title, what is to be said below it, and keys."""


def everything(source: Source | None) -> Iterator[Part]:
    """All keys; of OpenRLHF's flags those that are set."""
    for name, keys in sections().items():
        yield (f"[{name}]" if name else "[the run]"), "", keys
    yield "[algorithm]", "Each is a knob of all algorithms, or of those that are named.", all_knobs()
    chosen = [key for key in flags() if source.origin(key.name) != "default"] if source else []
    yield "[openrlhf]", "Flags of OpenRLHF's train_ppo_ray; `scope-train config openrlhf` lists all.", chosen


def all_knobs() -> list[Key]:
    """The knobs of all algorithms, each with the algorithms that have it."""
    every = len(known_algorithms())
    return [
        key if len(names) == every else dataclasses.replace(key, meaning=f"{', '.join(names)}: {key.meaning}")
        for key, names in knobs()
    ]


def explained(name: str) -> list[Part]:
    """What there is to say of a section, an algorithm or a key. Raises ConfigError with the nearest name."""
    name = name.strip(".")
    found = sections()
    algorithm = name.removeprefix("algorithm.").removeprefix("algorithms.")
    if algorithm in known_algorithms():
        return [(f"[algorithm {algorithm}]", about(algorithm), knobs_of(algorithm))]
    if name in ("algorithm", "algorithms"):
        lines: list[Part] = [(f"[algorithm {one}]", about(one), []) for one in known_algorithms()]
        return [*lines, ("[algorithm]", "Knobs, by the algorithms that have them.", all_knobs())]
    if name == "teachers" or name.startswith("teachers."):
        _, _, key = name.removeprefix("teachers.").rpartition(".")
        return explained("teacher" if name.count(".") < 2 else f"teacher.{key}")
    if name in found and name:
        return [(f"[{name}]", "", found[name])]
    if name == FLAGS or name.startswith(f"{FLAGS}."):
        return [("[openrlhf]", "", flags_of(name))]
    ours = [*itertools.chain(*found.values()), *all_knobs()]
    if keys := [key for key in ours if key.name == name]:
        return [(f"[{name.rpartition('.')[0] or 'the run'}]", "", keys)]
    return [(f"[keys that end with {name}]", "", keys_that_end_with(name, ours))]


def keys_that_end_with(name: str, ours: list[Key]) -> list[Key]:
    """The keys whose last parts are a name, flags too. Raises ConfigError with the nearest of all names."""
    every = [*ours, *flags()]
    if keys := [key for key in every if key.name.endswith(f".{name}")]:
        return keys
    titles = [*filter(None, sections()), *(f"algorithm.{one}" for one in known_algorithms()), FLAGS]
    raise ConfigError(f"there is no {name}; {nearest(name, [*titles, *(key.name for key in every)])}")


def flags_of(name: str) -> list[Key]:
    """The flags of OpenRLHF that a name begins. Raises ConfigError with the nearest."""
    known = flags()
    keys = [key for key in known if name == FLAGS or key.name == name or key.name.startswith(f"{name}.")]
    if not keys:
        raise ConfigError(f"there is no {name}; {nearest(name, [key.name for key in known])}")
    return keys


def wrapped(text: str, indent: str) -> str:
    """A text in lines that fit the terminal."""
    width = min(shutil.get_terminal_size().columns, 100)
    return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
