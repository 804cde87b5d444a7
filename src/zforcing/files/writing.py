"""Where a file that the user names is written, and how: under another name, and renamed once it is whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ..errors import UserError
from .paths import user_path

UNWRITTEN = (OSError, SafetensorError)  # what is raised where a disk is full, or a folder may only be read


def file_to_write(path: str | Path) -> Path:
    """The path of a file to write. Raises UserError where it is a folder, or its folder isn't there."""
    file = user_path(str(path), str(path))
    if file.is_dir():
        raise UserError(f"{path}: is a folder; name a file in it")
    if not file.parent.is_dir():
        raise UserError(f"{path}: there is no folder {file.parent} to write it to")
    return file


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Another name, of the same ending and in the same folder, to write a file under. It gets its own name at the end
    of the block, and is removed where the block fails; what was there stays till then.

    Raises:
        UserError: It can't be written.
    """
    part = file.with_name(f".{file.stem}-{os.getpid()}{file.suffix}")
    try:
        yield part
        part.replace(file)
    except UNWRITTEN as error:
        raise UserError(f"{file}: can't be written ({reason(error)})") from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_files(folder: Path) -> Iterator[Path]:
    """A hidden folder, in one that is there, to write files into. At the end of the block they move to the one that was
    there; none does where the block fails.

    Raises:
        UserError: They can't be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".", dir=folder, ignore_cleanup_errors=True) as made:
            yield Path(made)
            for file in Path(made).iterdir():
                file.replace(folder / file.name)
    except UNWRITTEN as error:
        raise UserError(f"{folder}: can't be written to ({reason(error)})") from error


def reason(error: Exception) -> str:
    """Why a file couldn't be written, as the system says it."""
    return getattr(error, "strerror", None) or " ".join(str(error).split())
