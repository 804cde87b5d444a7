"""The settings of a dataclass, each with its dotted name, its type, its default and the string under the field."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Any

from .check import hints_of


@dataclass(frozen=True)
class Setting:
    """One setting. name: dotted; hint: its type; default: MISSING where it must be given; about: what it means."""

    name: str
    hint: Any
    default: Any
    about: str = ""


def settings_in(cls: type[Any], prefix: str, default: Any = MISSING) -> Iterator[Setting]:
    """The settings of a dataclass, those of dataclasses inside it too.

    Args:
        cls: the dataclass.
        prefix: what its fields' names stand behind, such as "training".
        default: an instance whose values are the defaults; without one, the fields' own.
    """
    hints, about = hints_of(cls), field_docstrings(cls)  # type: ignore[arg-type]  # classes have a hash
    for field in fields(cls):
        if not field.init:
            continue
        name, hint = f"{prefix}.{field.name}", hints[field.name]
        value = getattr(default, field.name) if default is not MISSING else _default(field)
        if is_dataclass(hint):
            yield from settings_in(hint, name, value)  # type: ignore[arg-type]  # is_dataclass admits instances
        else:
            yield Setting(name, hint, value, about.get(field.name, ""))


def made(cls: type[Any], prefix: str, values: Mapping[str, Any]) -> Any:
    """An instance of the dataclass from its settings' values by dotted name, all of which are there."""
    arguments: dict[str, Any] = {}
    hints = hints_of(cls)  # type: ignore[arg-type]  # classes have a hash
    for field in fields(cls):
        name, hint = f"{prefix}.{field.name}", hints[field.name]
        if field.init:
            arguments[field.name] = made(hint, name, values) if is_dataclass(hint) else values[name]  # type: ignore[arg-type]  # as above
    return cls(**arguments)


@cache
def field_docstrings(cls: type[Any]) -> dict[str, str]:
    """The string under each field of a class and its bases, in one line; none where the source isn't there."""
    strings: dict[str, str] = {}
    for one in reversed(cls.__mro__[:-1]):
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(one))).body[0]
        except (OSError, TypeError, SyntaxError):
            continue
        if isinstance(body, ast.ClassDef):
            strings |= dict(_documented(body))
    return strings


def _documented(body: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, under in zip(body.body, body.body[1:], strict=False):
        match field, under:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(about))):
                yield name, " ".join(about.split())


def _default(field: Any) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
