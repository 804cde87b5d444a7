"""The check that all settings share: a dataclass's values are of the types that its fields declare."""

from __future__ import annotations

import sys
from dataclasses import fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


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
