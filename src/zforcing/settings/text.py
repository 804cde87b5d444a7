"""What a word of the command line says, for a setting of a known type."""

from __future__ import annotations

import re
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ..errors import SHOWN
from .check import in_words, takes_null, unfit

WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)")
LONGEST = 100  # characters of a whole number: Python refuses thousands
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
MAPPING = re.compile(r"\{(.*)\}")
LIST = re.compile(r"\[(.*)\]")


def read(text: str, hint: Any) -> Any:
    """The value that the text stands for.

    Whole numbers are decimal (010 and 1e3 are none), `true` and `false` the only truth values, `null` is None where the
    setting may be null, a list of texts is `[a, b]`, texts by name are `{a: b}`, and text is taken as it is.

    Raises:
        ValueError: it doesn't fit; the message goes on from the option's name: "is x; it must be a whole number".
    """
    if text == "null" and takes_null(hint):
        return None
    for kind in alternatives(hint):
        value = _read_as(text, kind)
        if value is not None and (expected := unfit(value, hint)):
            raise ValueError(f"is {_short(text)}; it must be {expected}")
        if value is not None:
            return value
    raise ValueError(f"is {_short(text) or 'empty'}; it must be {in_words(hint)}")


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def alternatives(hint: Any) -> list[Any]:
    """The types that a value may have, without their ranges and null; text, which all words are, last."""
    if get_origin(hint) is Annotated:
        return alternatives(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        kinds = [kind for choice in get_args(hint) for kind in alternatives(choice)]
        return sorted((kind for kind in kinds if kind is not type(None)), key=lambda kind: kind is str)
    return [hint]


def _read_as(text: str, kind: Any) -> Any:
    """The value, or None where the text is no such thing."""
    if get_origin(kind) is Literal:
        return next((choice for choice in get_args(kind) if str(choice) == text), None)
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower())
    if kind is int:
        return int(text) if WHOLE.fullmatch(text) and len(text) <= LONGEST else None
    if kind is float:
        return float(text) if NUMBER.fullmatch(text) else None
    if kind == list[str]:
        match = LIST.fullmatch(text)
        return match and [part.strip().strip("'\"") for part in match[1].split(",") if part.strip()]
    if kind == dict[str, str]:
        match = MAPPING.fullmatch(text)
        return match and _pairs(match[1])
    return text if kind is str else None


def _pairs(inside: str) -> dict[str, str] | None:
    """`a: b, c: d`; None where it isn't that."""
    parts = [part.rpartition(":") for part in inside.split(",") if part.strip()]
    named = {name.strip().strip("'\""): value.strip().strip("'\"") for name, colon, value in parts if colon}
    return named if len(named) == len(parts) else None
