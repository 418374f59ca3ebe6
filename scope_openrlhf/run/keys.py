"""Every key of a config: those of its sections, the knobs of the algorithms, and the flags of OpenRLHF."""

import dataclasses
import sys
import typing
from typing import Annotated, Any, Never

from scope_openrlhf import algorithms
from scope_openrlhf.algorithms.base.contract import Algorithm, Knobs
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.flag_ranges import RANGES
from scope_openrlhf.settings.meanings import Key, allowed, keys_of, spelled


def sections() -> dict[str, list[Key]]:
    """The keys of each section by its name, in the order of a config; those at the top by an empty one."""
    found = {"": keys_of(Config)}
    for name, hint in typing.get_type_hints(Config).items():
        if dataclasses.is_dataclass(hint):
            found[name] = keys_of(typing.cast(type, hint), f"{name}.")
    return found


def known_algorithms() -> dict[str, type[Algorithm]]:
    """The algorithms by name: SCOPE first, the others by the alphabet."""
    names = sorted(algorithms.known(), key=lambda name: (name != "scope", name))
    return {name: type(algorithms.load(name)) for name in names}


def knobs_of(name: str) -> list[Key]:
    """The knobs of an algorithm, its own first."""
    common = [f.name for f in dataclasses.fields(Knobs)]
    found = keys_of(known_algorithms()[name].Config, "algorithm.")
    return sorted(found, key=lambda key: key.name.removeprefix("algorithm.") in common)


def knobs() -> list[tuple[Key, list[str]]]:
    """All knobs with the algorithms that have them: those that all have first; one for each default."""
    having: dict[tuple[str, str, str], tuple[Key, list[str]]] = {}
    for name in known_algorithms():
        for key in keys_of(known_algorithms()[name].Config, "algorithm."):
            having.setdefault((key.name, key.default, key.meaning), (key, []))[1].append(name)
    order = [f"algorithm.{f.name}" for f in dataclasses.fields(Knobs)]
    common = sorted((row for row in having if row[0] in order), key=lambda row: order.index(row[0]))
    return [having[row] for row in [*common, *(row for row in having if row not in common)]]


def about(algorithm: str) -> str:
    """What the file of an algorithm says of it, up to its first empty line."""
    text = sys.modules[known_algorithms()[algorithm].__module__].__doc__ or ""
    return " ".join(text.split("\n\n")[0].split())


def flags() -> list[Key]:
    """The flags of OpenRLHF, with what becomes of those that this plugin sets or refuses."""
    from scope_openrlhf.host.flags import REFUSED, derived_flags, openrlhf_parser  # brings OpenRLHF: seconds

    anybody = Config.from_dict({"name": "any", "data": {"path": ""}, "student": {"path": ""}})
    ours = {flag: key for flag, (_, key) in derived_flags(anybody).items()}
    found = []
    for action in openrlhf_parser()._actions:
        name = action.option_strings[0].removeprefix("--")
        if name.startswith("-"):
            continue
        hint: Any = bool if action.nargs == 0 else action.type or str
        if action.choices:
            hint = typing.Literal[tuple(action.choices)]
        if name in RANGES:
            hint = Annotated[hint, RANGES[name]]
        default = "false" if action.nargs == 0 else spelled(action.default)
        text = " ".join((action.help or "A flag of OpenRLHF's train_ppo_ray.").split())
        text += allowed(hint)
        if action.nargs not in (None, 0):
            hint = list[hint]
        if name in ours:
            text, default, hint = f"Set by this plugin; change {ours[name]}.", "-", Never
        elif name in REFUSED:
            text, hint = f"Refused: {REFUSED[name]}.", typing.Literal[False]
        found.append(Key(f"openrlhf.{name}", text, default, hint))
    return found
