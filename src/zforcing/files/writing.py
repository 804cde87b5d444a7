"""Where a file that the user names is written, and how: under another name, and renamed once it is whole."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from safetensors import SafetensorError

from ..errors import UserError
from .paths import user_path

HIDDEN, PARTIAL = ".zforcing-", ".partial"
LOCK, HELD = ".lock", ".held"  # the latter is there once the former is locked
REFUSED = (errno.EPERM, errno.EACCES, errno.EROFS)
UNLOCKED = (OSError, NotImplementedError)  # where a lock isn't free, or a file system has none
UNWRITTEN = (OSError, SafetensorError)  # what is raised where a disk is full, or a folder may only be read


def file_to_write(path: str | Path) -> Path:
    """The path of a file to write. Raises UserError where it is a folder, or its folder isn't there."""
    file = user_path(str(path), str(path))
    if file.is_dir():
        raise UserError(f"{path}: is a folder; name a file in it")
    if not file.parent.is_dir():
        raise UserError(f"{path}: there is no folder {file.parent} to write it to")
    return file


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where they aren't there. Raises UserError where that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{folder}: not a directory, or inside of a file; name another folder") from None
    except OSError as error:
        raise UserError(f"{folder}: can't be made ({reason(error)}){_remedy(error)}") from error


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Another place, in the same folder, to write a file to under its name. It moves to its own place at the end of the
    block, and is removed where the block fails; what was there stays till then. A link stays, and leads to it.

    Raises:
        UserError: It can't be written.
    """
    place = Path(os.path.realpath(file))
    try:
        with hidden_folder(place.parent) as made:
            yield made / file.name
            (made / file.name).replace(place)
    except UNWRITTEN as error:
        raise UserError(f"{file}: can't be written ({reason(error)}){_remedy(error)}") from error


@contextmanager
def whole_files(folder: Path) -> Iterator[Path]:
    """A hidden folder, in one that is there, to write files into. At the end of the block they move to the one that was
    there; none does where the block fails.

    Raises:
        UserError: They can't be written.
    """
    try:
        with hidden_folder(folder) as made:
            yield made
            for file in made.iterdir():
                if file.name not in (LOCK, HELD):
                    file.replace(folder / file.name)
    except UNWRITTEN as error:
        raise UserError(f"{folder}: can't be written to ({reason(error)}){_remedy(error)}") from error


@contextmanager
def hidden_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder in one that is there, for the block. Those of processes that were killed are removed first: they
    were locked, and their locks are free. Raises OSError.
    """
    for place in folder.glob(f"{HIDDEN}*{PARTIAL}"):
        with suppress(*UNLOCKED):  # nor may others' be looked into
            if (place / HELD).is_file():
                with _lock(place):
                    shutil.rmtree(place, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=HIDDEN, suffix=PARTIAL, dir=folder, ignore_cleanup_errors=True) as made,
        _held(Path(made)),
    ):
        yield Path(made)


def _held(made: Path) -> AbstractContextManager[object]:
    """The lock of a new hidden folder, which says that it is held; none where the file system has no locks."""
    try:
        lock = _lock(made)
    except UNLOCKED:
        return nullcontext()
    (made / HELD).touch()
    return lock


def _lock(made: Path) -> AbstractContextManager[object]:
    from filelock import FileLock  # takes a moment

    return FileLock(made / LOCK).acquire(blocking=False)


def reason(error: Exception) -> str:
    """Why a file couldn't be written, as the system says it."""
    return getattr(error, "strerror", None) or " ".join(str(error).split())


def _remedy(error: Exception) -> str:
    refused = isinstance(error, OSError) and error.errno in REFUSED
    return "; name another place, or make this one writable" if refused else ""
