"""The JSON schema of a config, from which editors complete keys and show what they mean.

`make docs` writes it beside this file. It says what a config's text may hold; what goes together is checked by `plan`.
"""

import dataclasses
import typing
from pathlib import Path
from typing import Annotated, Any, Never

from scope_openrlhf.run.keys import about, flags, knobs_of, known_algorithms
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.meanings import Key, keys_of
from scope_openrlhf.settings.parse import key_of
from scope_openrlhf.settings.ranges import Range, range_of
from scope_openrlhf.settings.sections import TeacherConfig

FILE = Path(__file__).with_name("config.schema.json")
TYPES = {int: "integer", float: "number", str: "string", bool: "boolean", dict: "object", Any: "object"}
EXPONENT = r"^[+-]?[0-9.]+[eE][+-]?[0-9]+$"
"""A number that YAML 1.1 reads as a text: 2e-4."""


def schema() -> dict[str, Any]:
    """The schema of a whole config."""
    whole = section(Config)
    whole["properties"] |= {
        "algorithm": algorithm(),
        "algorithms": {**whole["properties"]["algorithms"], "properties": presets(), "additionalProperties": False},
        "openrlhf": openrlhf(whole["properties"]["openrlhf"]["description"]),
        "teachers": {**whole["properties"]["teachers"], "additionalProperties": section(TeacherConfig)},
    }
    # the base may hold what every config needs
    whole["anyOf"] = [{"required": whole.pop("required")}, {"required": ["base"]}]
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "A run of scope-train", **whole}


def section(cls: type) -> dict[str, Any]:
    """The schema of a dataclass and of the sections in it."""
    fields, hints = dataclasses.fields(cls), typing.get_type_hints(cls)
    properties = {key.name: of_key(key) for key in keys_of(cls)}
    inner = {f.name: section(hints[f.name]) for f in fields if dataclasses.is_dataclass(hints[f.name])}
    missing = dataclasses.MISSING
    required = [f.name for f in fields if f.default is missing and f.default_factory is missing]
    return {
        "type": "object",
        "properties": {key_of(f): (properties | inner)[key_of(f)] for f in fields},
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }


def of_key(key: Key) -> dict[str, Any]:
    """The schema of one key."""
    return described(key) | of_type(key.hint)


def described(key: Key) -> dict[str, Any]:
    """What a key means, as editors show it."""
    return {"description": key.meaning + ("" if key.default == "-" else f" Default: {key.default}.")}


def of_type(hint: Any) -> dict[str, Any]:
    """The schema of what a field may hold."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return of_type(inner[0]) | bounds(range_of(hint) or Range())
    if origin is typing.Literal:
        return {"enum": list(inner)}
    if origin is list:
        return {"type": "array", "items": of_type(inner[0])}
    if hint is Never:
        return {"not": {}}
    if hint is float:
        return {"type": ["number", "string"], "pattern": EXPONENT}
    if hint is str:
        return {"type": ["string", "null"]}  # `eval.path:` is an empty one
    return {"type": TYPES[origin or hint]}


def bounds(within: Range) -> dict[str, Any]:
    """The schema of a range; one with a number beside it is told in words alone."""
    if within.off is not None:
        return {}
    names = {"minimum": within.least, "maximum": within.most}
    names |= {"exclusiveMinimum": within.above, "exclusiveMaximum": within.below}
    return {name: bound for name, bound in names.items() if bound is not None}


def algorithm() -> dict[str, Any]:
    """The section of the algorithm: its name alone, or an object of its name and its knobs."""
    names = {name: {"const": name, "description": about(name)} for name in known_algorithms()}
    with_knobs = [
        {
            "type": "object",
            "properties": {"name": names[name], **knobs},
            "required": ["name"],
            "additionalProperties": False,
        }
        for name, knobs in ((name, knob_properties(name)) for name in names)
    ]
    return {"description": keys_by_name()["algorithm"].meaning, "anyOf": [{"enum": list(names)}, *with_knobs]}


def presets() -> dict[str, Any]:
    """Knobs by the name of their algorithm."""
    return {
        name: {"type": "object", "properties": knob_properties(name), "additionalProperties": False}
        for name in known_algorithms()
    }


def knob_properties(name: str) -> dict[str, Any]:
    """The knobs of an algorithm."""
    return {key.name.removeprefix("algorithm."): of_key(key) for key in knobs_of(name)}


def keys_by_name() -> dict[str, Key]:
    """The keys at the top of a config."""
    return {key.name: key for key in keys_of(Config)}


def openrlhf(meaning: str) -> dict[str, Any]:
    """OpenRLHF's flags, spelled with dots; sections in sections are taken as they are."""
    spelled = {key.name.removeprefix("openrlhf."): key for key in flags()}
    nested = {name.split(".")[0]: {"type": "object"} for name in spelled if "." in name}
    properties = {name: described(key) | nullable(of_type(key.hint)) for name, key in spelled.items()}
    return {
        "type": "object",
        "description": meaning,
        "properties": properties | nested,
        "additionalProperties": False,
    }


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that also takes null, which leaves a flag out, and for a list of one that one."""
    if "not" in schema:
        return schema
    if schema.get("type") == "array":
        return {"anyOf": [schema, schema["items"], {"type": "null"}]}
    return {"anyOf": [schema, {"type": "null"}]}
