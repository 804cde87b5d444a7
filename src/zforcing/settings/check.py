"""The check that all settings share: a dataclass's values fit the types and the ranges that its fields declare."""

from __future__ import annotations

import sys
from dataclasses import fields
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import SHOWN, UserError
from .ranges import Range

WORDS = {int: "a whole number", float: "a finite number", bool: "true or false", str: "text", type(None): "null"}


def check(config: Any, section: str) -> None:
    """Refuse a dataclass's values that don't fit its fields.

    Raises:
        UserError: one line that holds every problem.
    """
    problems = problems_of(config, section)
    if problems:
        raise UserError("; ".join(problems))


def problems_of(config: Any, section: str) -> list[str]:
    """What is wrong with the values of a dataclass, a line for each field, named SECTION.FIELD; [] if nothing is."""
    hints = hints_of(type(config))  # type: ignore[arg-type]  # classes have a hash
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    unfits = {name: unfit(value, hints[name]) for name, value in values.items()}
    return [
        f"{section}.{name} is {brief(values[name])}; it must be {expected}"
        for name, expected in unfits.items()
        if expected
    ]


def unfit(value: Any, hint: Any) -> str:
    """What the value should be, in words, where it doesn't fit the type; "" where it does.

    An int, float, bool or str field holds one (a float also an int; no bool passes for a number; floats are finite), a
    Literal field one of its values, a list of text texts, a dict of text texts by
    name, `Annotated[..., Range(...)]` what is in the range, and None
    only fits where the field allows it. Other types aren't looked at.
    """
    if not fits_type(value, hint):
        return in_words(hint) + (", and of 64 bits" if isinstance(value, int) and not is_of_64_bits(value) else "")
    ranges = ranges_of(hint) if isinstance(value, int | float) else []  # null and words have none
    missed = [str(one) for one in ranges if value not in one]
    return " and ".join(missed) + (", or null" if takes_null(hint) else "") if missed else ""


def must_be(value: object, cls: type[Any] | tuple[type[Any], ...], name: str, like: str) -> None:
    """Refuse an argument of another class: one of a function, where no dataclass says what it takes.

    Args:
        value: what was given.
        cls: what it must be an instance of, or one of several.
        name: of the argument.
        like: what to give, for the message.

    Raises:
        UserError: one line.
    """
    if not isinstance(value, cls):
        what = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
        raise UserError(f"{name} is {what}; it must be {like}")


def must_fit(value: object, hint: Any, name: str) -> None:
    """Refuse an argument that doesn't fit a type such as `Count` or `Seed`. Raises UserError, one line."""
    expected = unfit(plain(value), hint)
    if expected:
        raise UserError(f"{name} is {brief(value)}; it must be {expected}")


def brief(value: object) -> str:
    """A value for a message: what it looks like, in `SHOWN` characters at most."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        text = f"a number of {value.bit_length()} bits" if isinstance(value, int) else type(value).__name__
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def plain(value: Any) -> Any:
    """A number of NumPy's as Python's, which settings are. NumPy isn't imported: the commands' help does without."""
    is_scalar = type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()
    return value.item() if is_scalar else value


@cache
def hints_of(cls: type[Any]) -> dict[str, Any]:
    """The types of a dataclass's fields, with their ranges."""
    return get_type_hints(cls, include_extras=True)


def fits_type(value: Any, hint: Any) -> bool:
    """Whether the value is of the type, whatever its range."""
    if get_origin(hint) is Annotated:
        return fits_type(value, get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return any(fits_type(value, choice) for choice in get_args(hint))
    if get_origin(hint) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(hint))
    if hint == list[str]:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if hint == dict[str, str]:
        return isinstance(value, dict) and all(isinstance(one, str) for pair in value.items() for one in pair)
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and abs(value) <= sys.float_info.max  # False for NaN
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and is_of_64_bits(value)
    return isinstance(value, hint) if hint in (bool, str, type(None)) else True


def is_of_64_bits(value: int) -> bool:
    """Whether torch and numpy can count with it."""
    return -(2**63) <= value < 2**63


def ranges_of(hint: Any) -> list[Range]:
    """The ranges of a type, also of one that may be null instead."""
    if get_origin(hint) is Annotated:
        return [one for one in get_args(hint)[1:] if isinstance(one, Range)]
    if get_origin(hint) in (Union, UnionType):
        return [one for choice in get_args(hint) for one in ranges_of(choice)]
    return []


def takes_null(hint: Any) -> bool:
    """Whether None fits."""
    return type(None) in get_args(hint) if get_origin(hint) in (Union, UnionType) else hint in (None, type(None))


def takes_mapping(hint: Any) -> bool:
    """Whether texts by name fit."""
    return dict[str, str] in get_args(hint) if get_origin(hint) in (Union, UnionType) else hint == dict[str, str]


def in_words(hint: Any) -> str:
    """What fits a type."""
    if get_origin(hint) is Annotated:
        return in_words(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(in_words(choice) for choice in get_args(hint))
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    if hint == dict[str, str]:
        return "texts by name such as {a: b}"
    return "a list of texts such as [a, b]" if hint == list[str] else WORDS.get(hint, str(hint))


def as_typed(value: Any, hint: Any) -> Any:
    """A value that fits, with whole numbers as floats where the setting is a float."""
    if get_origin(hint) is Annotated:
        return as_typed(value, get_args(hint)[0])
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    bare = [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in kinds]
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole and float in bare and int not in bare else value
