"""Atomic writes: files and folders that exist completely or not at all, also after a power cut."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..errors import UserError
from ..files.paths import refuse_special
from .digests import SUMS, check_digests, write_digests

DIGEST = "sha256"  # of a JSON object, among its names

T = TypeVar("T")


class Writing:
    """`with Writing(folder) as temporary`: fill the temporary folder, which then replaces `folder` as a whole.

    It gets the digests of its files. A crash at any moment leaves the old or the new one for `current` to find.

    Args:
        folder: What is written.
        edited: Names of files that people edit, which so have no digests.
        room: Where the temporary and the old folder are meanwhile, on the same file system: of a place that a user has
            named, what has their names beside it may be the user's own. None: beside it, where `current` looks.
    """

    def __init__(self, folder: Path, *, edited: Collection[str] = (), room: Path | None = None):
        self.folder, self.edited = folder, {*edited, SUMS}
        beside = folder if room is None else room / folder.name
        self.temporary, self.old = beside.with_name(folder.name + ".partial"), _old(beside)

    def __enter__(self) -> Path:
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir(parents=True)
        return self.temporary

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._replace()
        finally:
            shutil.rmtree(self.temporary, ignore_errors=True)  # of a write that failed: it leaves the old one

    def _replace(self) -> None:
        write_digests(self.temporary, {file.name for file in self.temporary.iterdir()} - self.edited)
        for path in (*self.temporary.iterdir(), self.temporary):
            sync(path)
        if self.folder.exists():
            shutil.rmtree(self.old, ignore_errors=True)
            self.folder.rename(self.old)
        self.temporary.rename(self.folder)
        sync(self.folder.parent)
        shutil.rmtree(self.old, ignore_errors=True)


def current(folder: Path) -> Path:
    """The folder, or the old one if a crash came between the two renames."""
    return _old(folder) if not folder.exists() and _old(folder).exists() else folder


def read_current(folder: Path, read: Callable[[Path], T]) -> T | None:
    """What is read of `current(folder)`, once more where a write replaced it meanwhile; None where there is none."""
    while (place := current(folder)).is_dir():
        before = _identity(place)
        try:
            return read(place)
        except UserError:
            if before is not None and _identity(place) == before:
                raise
    return None


def _identity(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except OSError:
        return None


def _old(folder: Path) -> Path:
    return folder.with_name(folder.name + ".old")


def remove_leftovers(folder: Path) -> None:
    """Remove what writes that were killed have left in a folder: `*.partial`, and `*.old` beside the newer one.

    Hidden ones stay: others may be writing there (`files.writing`).
    """
    for path in [*folder.glob("[!.]*.partial"), *folder.glob("*.old")]:
        if path.suffix == ".old" and not path.with_suffix("").exists():
            continue  # the only one: `current` finds it
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file atomically."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        sync(partial)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk (Windows can't be asked for the latter)."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(values, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file, which is as it was written where its folder has digests.

    Raises:
        UserError: There is none, or it has changed; NaN and Infinity are not JSON.
    """
    try:
        check_digests(path.parent, [path.name])
        refuse_special(path, str(path))
        values = parse_json(path.read_text("utf-8"))
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path} is missing: the checkpoint is incomplete") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} can't be read: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged: it holds no JSON object")
    return values


def parse_json(text: str) -> Any:
    """As `json.loads`, without the NaN and Infinity that JSON doesn't have.

    Raises:
        ValueError: It isn't JSON, or isn't what `with_digest` made.
    """
    values = json.loads(text, parse_constant=_refuse)
    if isinstance(values, dict) and DIGEST in values and values[DIGEST] != _digest(values):
        raise ValueError(f"it isn't as it was written: its {DIGEST} differs; if you edited it, take that line out")
    return values


def with_digest(values: dict[str, Any]) -> str:
    """The values as JSON, and the SHA-256 digest of that, by which `parse_json` notices a change of any of them."""
    return json.dumps(values | {DIGEST: _digest(values)}, indent=1)


def _digest(values: dict[str, Any]) -> str:
    others = {name: value for name, value in values.items() if name != DIGEST}
    return hashlib.sha256(json.dumps(json.loads(json.dumps(others)), sort_keys=True).encode()).hexdigest()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
