"""Paths that users name."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from ..errors import UserError

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # of two letters or more: C:/ is a drive


def user_path(name: str, source: str) -> Path:
    """Make a path of this machine from a name, expanding ~.

    Args:
        name: As the user wrote it.
        source: What messages call it.

    Raises:
        UserError: ~ names a user without a home folder, or the name is an address (s3://...), a pipe or a device.
    """
    if ADDRESS.match(name):
        raise UserError(f"{source}: is an address; only files and folders of this machine are read and written")
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:  # pathlib's error for a home that it can't find
        raise UserError(
            f"{source}: has no home folder for {name.split('/')[0]}; write ./{name} if it is a name"
        ) from error
    refuse_special(path, source)
    return path


def refuse_special(path: Path, source: str) -> None:
    """Raise UserError about a pipe, a device or a socket, from which reading may never end."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # whoever opens it says why it can't be
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError(f"{source}: is a pipe, a device or a socket; name a regular file")
