"""A config's file, and the one that it starts from (`base`), as one tree of values."""

from pathlib import Path

import yaml

from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.parse import flatten


def read_file(path: Path, through: tuple[Path, ...] = ()) -> dict:
    """The values of a config's file over those of its base. through: the files that led here. Raises ConfigError."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the config {path}: {error.strerror}{_named_by(through)}") from None
    except (yaml.YAMLError, ValueError) as error:  # bytes that are no UTF-8; a date that there is not
        raise ConfigError(f"{path} is not YAML: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold keys and values, it holds {type(raw).__name__}")
    if isinstance(raw.get("algorithm"), str):
        raw["algorithm"] = {"name": raw["algorithm"]}
    base = raw.pop("base", None)
    if not base:
        return raw
    if not isinstance(base, str):
        raise ConfigError(f"base must be the path of a config file, got {base!r} in {path}")
    through = (*through, path.resolve())
    if (below := (path.parent / base).resolve()) in through:
        raise ConfigError(f"{path} has {base} as its base, which starts from {path} itself; remove one of the two")
    return _merged(read_file(below, through), raw)


def _named_by(through: tuple[Path, ...]) -> str:
    return f"; it is the base of {through[-1]}" if through else ""


def _merged(base: dict, own: dict) -> dict:
    """The values of `own` over those of `base`, section by section."""
    merged = base | own
    for key in base.keys() & own.keys():
        if key == "openrlhf" and isinstance(base[key], dict) and isinstance(own[key], dict):
            merged[key] = flatten(base[key]) | flatten(own[key])  # nested and dotted spellings meet here
        elif isinstance(base[key], dict) and isinstance(own[key], dict):
            another = key == "algorithm" and "name" in own[key]
            merged[key] = own[key] if another else _merged(base[key], own[key])
    return merged
