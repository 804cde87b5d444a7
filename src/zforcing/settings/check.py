"""The check that all settings share: a dataclass's values are of the types that its fields declare."""

from __future__ import annotations

import math
import sys
from dataclasses import fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import UserError


def check_types(config: Any, section: str) -> list[str]:
    """What is wrong with the values of a dataclass, a line for each field, named SECTION.FIELD; [] if nothing is.

    An int, float, bool or str field holds one (a float also an int; no bool passes for a number; floats are finite), a
    Literal field one of its values, and None only fits where the field allows it. Other types aren't looked at.
    """
    hints = get_type_hints(type(config))
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    return [
        f"{section}.{name} is {value!r}; it must be {_said(hints[name])}"
        for name, value in values.items()
        if not _fits(value, hints[name])
    ]


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, choice) for choice in get_args(hint))
    if get_origin(hint) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(hint))
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and abs(value) <= sys.float_info.max  # False for NaN
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint) if hint in (bool, str, type(None)) else True


def _said(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_said(choice) for choice in get_args(hint))
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    names = {int: "a whole number", float: "a finite number", bool: "true or false", str: "text", type(None): "null"}
    return names.get(hint, str(hint))


__all__ = ["check_settings", "check_types"]


def check_settings(config: Any, *, section: str = "model") -> None:
    """Refuse values of the wrong type, sizes below 1, probabilities outside [0, 1), clamps that are not positive, and
    negative floors and seeds.

    Raises UserError, one line that holds every problem.
    """
    problems = check_types(config, section)
    for field in fields(config):
        name, value = field.name, getattr(config, field.name)
        if not isinstance(value, int | float) or not abs(value) < math.inf:
            continue  # null, or of a wrong type and named already
        if name.endswith(("_size", "_layers")) and value < 1:
            problems.append(f"{section}.{name} is {value}; it must be 1 or more")
        elif name == "dropout" and not 0 <= value < 1:
            problems.append(f"{section}.{name} is {value}; it must be 0 or more and less than 1")
        elif name.endswith("_clamp") and value <= 0:
            problems.append(f"{section}.{name} is {value}; it must be positive, or null for no clamp")
        elif name == "min_scale" and value <= 0:
            problems.append(f"{section}.{name} is {value}; it must be positive")
        elif name == "components" and value < 1:
            problems.append(f"{section}.{name} is {value}; it must be 1 or more")
        elif name.startswith("min_") and value < 0:
            problems.append(f"{section}.{name} is {value}; it must be 0 or more")
        elif name.endswith("_seed") and value < 0:
            problems.append(f"{section}.{name} is {value}; it must be 0 or more, or null")
    if problems:
        raise UserError("; ".join(problems))
