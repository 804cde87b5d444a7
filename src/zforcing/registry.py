"""Models, bounds, data sets, formats and callbacks by the name that recipes, saved models and the command line use.

    @zforcing.register
    class DeepMarkov(SequenceModel):
        name = "deep_markov"
        Config = DeepMarkovConfig

Each room that has such classes declares their family, a live mapping from names to classes (`zforcing.MODELS`). Nobody
copies it, so that later registrations count. An installed package registers its classes by entry points of the group
"zforcing", each a class or a module that registers some; they are loaded when a name isn't known, or all are listed.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from .errors import UserError

T = TypeVar("T")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_families: list[Family[Any]] = []
_groups = ["zforcing"]  # of entry points that have not been loaded yet
_broken: list[str] = []  # messages about entry points that can't be loaded


class Family(Mapping[str, type[T]]):
    """The registered classes of one kind by name, a live mapping that only `register` changes.

    Args:
        kind: the word for one of them in messages, such as "model".
        base: the class that they all derive from.
        classes: those that come with the package.
        settings: the attribute that holds a class's settings, a dataclass; "" where the class itself is one.
    """

    def __init__(self, kind: str, base: type[Any], *, classes: Iterable[type[T]] = (), settings: str = ""):
        self.kind, self.base, self._settings = kind, base, settings
        self._classes: dict[str, type[T]] = {}
        _families.append(self)
        for cls in classes:
            self.add(cls)

    def __getitem__(self, name: str) -> type[T]:
        if name not in self._classes:
            _load_entry_points()
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        _load_entry_points()
        return iter(list(self._classes))

    def __len__(self) -> int:
        _load_entry_points()
        return len(self._classes)

    def __repr__(self) -> str:
        return f"<registered as {self.kind}: {', '.join(self)}>"

    def find(self, name: object, *, setting: str, besides: Iterable[str] = ()) -> type[T]:
        """The class of this name.

        Args:
            name: the name.
            setting: the setting or option that it comes from, for the message.
            besides: other names that it may have there, for the message.

        Raises:
            UserError: nothing of that name is registered.
        """
        if isinstance(name, str) and name in self:
            return self[name]
        if not self:
            raise UserError(f"unknown {setting} {name!r}; no {self.kind} is registered{_and_broken()}")
        raise UserError(f"{unknown(name, [*self, *besides], setting=setting)}{_and_broken()}")

    def settings_of(self, name: str) -> type[Any]:
        """The dataclass of a registered class's settings."""
        settings: type[Any] = self._settings_of(self[name])
        return settings

    def add(self, cls: type[T]) -> None:
        """Register a class of this family. Raises UserError where it can't be one."""
        what = f"{cls.__module__}.{cls.__qualname__} can't be registered as a {self.kind}"
        if inspect.isabstract(cls):
            missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
            raise UserError(f"{what}: it is abstract; define {missing}")
        name = getattr(cls, "name", None)
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise UserError(
                f"{what}: its `name` is {name!r}; give the class one of letters, digits, '_', '-' and '.', "
                'such as name = "my_model"'
            )
        if not is_dataclass(self._settings_of(cls)):
            raise UserError(f"{what}: {self._settings_rule}")
        taken = self._classes.get(name)
        if taken is not None and not _is_same(taken, cls):
            raise UserError(
                f"{what}: the name {name!r} is taken by {taken.__module__}.{taken.__qualname__}; give it another `name`"
            )
        self._classes[name] = cls

    @property
    def _settings_rule(self) -> str:
        if self._settings:
            return f"its `{self._settings}` must be a dataclass, its settings"
        return "it must be a dataclass, whose fields are its settings (@register stands above @dataclass)"

    def _settings_of(self, cls: type[T]) -> Any:
        return getattr(cls, self._settings, None) if self._settings else cls


def unknown(name: object, known: Iterable[str], *, setting: str) -> str:
    """What to say of a name that is none of those known. setting: the setting or option that it comes from."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"unknown {setting} {name!r}{hint}; it is one of {', '.join(names)}"


def _and_broken() -> str:
    return f"; {'; '.join(_broken)}" if _broken else ""


def register(cls: type[T]) -> type[T]:
    """Register a class by its `name`, for recipes, the command line and `load`. Also a decorator.

    Args:
        cls: a subclass of `DensityModel`, `Bound`, `DataModule`, `Format`, `Callback` or `Player`. A class that is
            defined again, as when a notebook cell is rerun, replaces the old one.

    Returns:
        The class itself.

    Raises:
        UserError: it has no such base, it is abstract, it has no name, or another class has that name.

    Example:
        A bound of your own (docs/extending.md shows a whole one)::

            @zforcing.register
            @dataclass(frozen=True)
            class Mine(Bound):
                name = "mine"
    """
    candidate: object = cls
    for family in _families:
        if isinstance(candidate, type) and issubclass(candidate, family.base):
            family.add(cls)
            return cls
    bases = ", ".join(family.base.__name__ for family in _families)
    what = f"{cls.__module__}.{cls.__qualname__}" if isinstance(candidate, type) else f"this {type(candidate).__name__}"
    raise UserError(f"{what} can't be registered: it must be a class derived from one of {bases}")


def import_source(source: str) -> None:
    """Import a module by its name, or a Python file by its path, for what it registers; once per process.

    Raises:
        UserError: it doesn't exist, or fails when it is imported.
    """
    path = Path(source).expanduser()
    if is_file(source) and not path.is_file():
        raise UserError(f"can't import {source}: no such file or directory")
    if is_file(source) and any(getattr(m, "__file__", None) == str(path.resolve()) for m in list(sys.modules.values())):
        return
    try:
        if is_file(source):
            _import_file(path.resolve())
        else:
            importlib.import_module(source)
    except UserError as error:
        raise UserError(f"can't import {source}: {error}") from error
    except Exception as error:  # whatever the user's own code raises
        raise UserError(f"can't import {source}: {_in_one_line(error)}") from error


def is_file(source: str) -> bool:
    """Whether what is to be imported is a file's path, not a module's name."""
    return source.endswith(".py") or "/" in source or "\\" in source


def _import_file(path: Path) -> None:
    name = path.stem if path.stem not in sys.modules else f"{path.stem}_{abs(hash(path)):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError("it is not a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their annotations there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _load_entry_points() -> None:
    """Once. One that can't be loaded is named in a warning, and stops no other."""
    while _groups:
        for point in entry_points(group=_groups.pop()):
            try:
                _load(point)
            except Exception as error:  # noqa: BLE001  # whatever another package raises
                of = f" of {point.dist.name}" if point.dist is not None else ""
                _broken.append(f"entry point {point.name} = {point.value}{of} can't be loaded: {_in_one_line(error)}")
                warnings.warn(_broken[-1], RuntimeWarning, stacklevel=3)


def _load(point: EntryPoint) -> None:
    loaded = point.load()
    if not inspect.ismodule(loaded):
        register(loaded)


def _is_same(old: type[Any], new: type[Any]) -> bool:
    """Whether it is one class, or its definition was run again."""
    return (old.__module__, old.__qualname__) == (new.__module__, new.__qualname__)


def _in_one_line(error: BaseException) -> str:
    """An error's type and message, and where it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {' '.join(str(error).split())} ({last.filename}, line {last.lineno})"
