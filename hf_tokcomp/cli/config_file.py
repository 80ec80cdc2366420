"""`--config FILE.yaml`: options from a file, overridden by those on the command line."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ..messages import did_you_mean

FLAG = "--config"


def defaults_from(file: Path, params: Sequence[Any]) -> dict[str, Any]:
    """Read the values in a file, by parameter.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not valid YAML, or has an unknown key or a value whose form does not fit its option.
    """
    by_key = {_key(param): param for param in params if FLAG not in param.opts}
    given = read_yaml(file)
    for key in given:
        if key not in by_key:
            raise ValueError(f"{file}: there is no argument {key}{did_you_mean(str(key), list(by_key))}")
    values = {}
    for key, value in given.items():
        if value is not None:
            values[by_key[key].name] = _value(file, key, value, by_key[key])
    return values


def read_yaml(file: Path) -> dict[str, Any]:
    """Read the names and values in a YAML file; names may be written with dashes instead of underscores.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not valid YAML, or is not a mapping.
    """
    import yaml

    if not file.is_file():
        raise FileNotFoundError(f"There is no file {file} with arguments.")
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file} must hold names and values, such as `learning_rate: 1.0e-4`.")
    return {str(name).replace("-", "_"): value for name, value in values.items()}


def as_word(value: Any) -> str:
    """A value as a single command line word: lists and dicts as JSON, booleans in lower case."""
    return json.dumps(value) if isinstance(value, dict | list | bool) else str(value)


def named_file(args: Sequence[str], valued: Collection[str]) -> Path | None:
    """The ``--config`` file, the last one if it is given several times; None if it is not given.

    Args:
        args: the command line.
        valued: the options that take a value; the value itself may look like an option.
    """
    found = None
    rest = iter(args)
    for arg in rest:
        if arg == "--":
            break
        if arg.startswith(f"{FLAG}="):
            found = Path(arg.partition("=")[2])
        elif arg == FLAG:
            found = Path(next(rest, ""))
        elif arg in valued:
            next(rest, None)
    return found


def _key(param: Any) -> str:
    """The key of a parameter in a file: its longest option name, or the argument name."""
    names = param.opts if param.param_type_name == "option" else [param.name]
    return str(max(names, key=len)).lstrip("-").replace("-", "_")


def _value(file: Path, key: str, value: Any, param: Any) -> Any:
    """A value in the form used on the command line.

    Raises:
        ValueError: it has the wrong form.
    """
    if getattr(param, "is_flag", False):
        if not isinstance(value, bool):
            raise ValueError(f"{file}: {key} is true or false, not {as_word(value)}.")
        return value
    if param.multiple or param.nargs == -1:
        return [as_word(each) for each in (value if isinstance(value, list) else [value])]
    if isinstance(value, list):
        return ",".join(map(as_word, value))  # as in --retention-ratio 1/2,1/4
    return as_word(value)
