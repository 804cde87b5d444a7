"""Settings as JSON and back: a type is a word, or a mapping that says what is made of which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, astuple
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from .fields import Setting
from .ranges import Range

PLAIN = {
    "int": int,
    "float": float,
    "bool": bool,
    "text": str,
    "null": type(None),
    "texts": list[str],
    "texts by name": dict[str, str],
}


def setting_to_json(setting: Setting) -> list[Any]:
    """[name, type, about, default]; without a default where it must be given."""
    default = [] if setting.default is MISSING else [setting.default]
    return [setting.name, type_to_json(setting.hint), setting.about, *default]


def setting_from_json(given: list[Any]) -> Setting:
    """The inverse."""
    name, kind, about, *default = given
    return Setting(name, type_from_json(kind), default[0] if default else MISSING, about)


def type_to_json(hint: Any) -> Any:
    """A type that settings have. Raises TypeError for another."""
    if get_origin(hint) is Annotated:
        kind, *ranges = get_args(hint)
        if all(isinstance(one, Range) for one in ranges):
            return {"of": type_to_json(kind), "ranges": [list(astuple(one)) for one in ranges]}
    if get_origin(hint) in (Union, UnionType):
        return {"any": [type_to_json(one) for one in get_args(hint)]}
    if get_origin(hint) is Literal:
        return {"one": list(get_args(hint))}
    for word, kind in PLAIN.items():
        if hint == kind or (hint is None and word == "null"):
            return word
    raise TypeError(f"{hint} is no type of a setting")


def type_from_json(given: Any) -> Any:
    """The inverse."""
    if not isinstance(given, Mapping):
        return PLAIN[given]
    if "any" in given:
        return Union[tuple(type_from_json(one) for one in given["any"])]  # noqa: UP007  # of as many as there are
    if "one" in given:
        return Literal[tuple(given["one"])]
    return Annotated[(type_from_json(given["of"]), *(Range(*one) for one in given["ranges"]))]
