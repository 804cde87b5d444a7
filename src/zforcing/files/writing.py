"""Where a file that the user names is written."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from .paths import user_path


def file_to_write(path: str | Path) -> Path:
    """The path of a file to write. Raises UserError where it is a folder, or its folder isn't there."""
    file = user_path(str(path), str(path))
    if file.is_dir():
        raise UserError(f"{path}: is a folder; name a file in it")
    if not file.parent.is_dir():
        raise UserError(f"{path}: there is no folder {file.parent} to write it to")
    return file
