"""Relative paths of data in a run's configuration, kept relative to the run, so that a project's folder may move.

`paths_from: ../..` in a file of settings says where the relative paths of its data start, from the file's own folder.
Without it, as in runs of before and most recipes, they start where the command is run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import UserError

KEY = "paths_from"


def kept_in(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration's plain values as a file in `folder` keeps them, where the command runs in the current one."""
    if not any(_is_relative(path) for path in _paths(values).values()):
        return dict(values)
    try:
        start = os.path.relpath(Path.cwd(), folder.absolute())
    except ValueError:  # Windows: on another drive
        start = str(Path.cwd())
    return {KEY: Path(start).as_posix()} | dict(values)


def found_from(folder: Path, values: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """The inverse: values of a file in `folder` with paths that start in the current one, and without `paths_from`.

    A path at which nothing is, while something is there from the current folder, stays as it is: the run alone was
    moved. Raises UserError where `paths_from` is no text.
    """
    rest = {key: value for key, value in values.items() if key != KEY}
    start = values.get(KEY)
    if start is None:
        return rest
    if not isinstance(start, str):
        raise UserError(f"{where}: {KEY} is {start!r}; it must be a folder, from the one that this file is in")
    base = (folder / Path(start).expanduser()).resolve()
    moved = {name: _from_here(base, path) for name, path in _paths(rest).items() if _is_relative(path)}
    return rest | {"data": dict(rest["data"]) | moved} if moved else rest


def same_paths(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values with absolute paths of data, to compare configurations by."""
    absolute = {
        name: str(Path(path).resolve()) if _is_relative(path) else path for name, path in _paths(values).items()
    }
    return dict(values) | {"data": dict(values["data"]) | absolute} if absolute else dict(values)


def _paths(values: Mapping[str, Any]) -> dict[str, str]:
    """The data's settings that hold paths, and are given."""
    from ...data import DATA, DataModule  # imports torch, which most recipes are read without

    data = values.get("data")
    if not isinstance(data, Mapping):
        return {}
    name = data.get("name")
    known = DATA[name] if isinstance(name, str) and name in DATA else DataModule
    return {key: data[key] for key in known.paths if isinstance(data.get(key), str) and data[key]}


def _is_relative(path: str) -> bool:
    return not (Path(path).is_absolute() or path.startswith("~"))


def _from_here(base: Path, path: str) -> str:
    if base == Path.cwd().resolve() or (not (base / path).exists() and Path(path).exists()):
        return path
    return os.path.relpath(base / path)
