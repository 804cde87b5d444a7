"""Names of files as users write them."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import UserError


def user_path(name: str, source: str) -> Path:
    """The path, ~ being the user's home. `source` is what a message calls it.

    Raises UserError about the home of a user that there isn't.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError as error:  # all that pathlib says of a home that it can't find
        raise UserError(
            f"{source}: has no home folder for {name.split('/')[0]}; write ./{name} if it is a name"
        ) from error


Array = NDArray[Any]
GZIP = b"\x1f\x8b"


def opened(file: Path) -> io.BufferedIOBase:
    """The file's bytes, unpacked if they are gzip's, whatever the file is called."""
    with file.open("rb") as stream:
        packed = stream.read(len(GZIP)) == GZIP
    return gzip.open(file, "rb") if packed else file.open("rb")


@contextmanager
def readable(source: str) -> Iterator[None]:
    """Put around a library's reading, and nothing of ours: whatever it raises is a UserError about the file.

    On damaged files numpy alone raises eight kinds of error, MemoryError and tokenize.TokenError among them.
    """
    try:
        yield
    except Exception as error:
        if "Object arrays" in str(error):  # numpy's own words lead to allow_pickle, which may run any code
            raise UserError(
                f"{source}: holds Python objects, which are not read; save ragged sequences as one padded array with "
                f"an array of lengths, or as flat rows with the name of each row's sequence"
            ) from error
        reason = " ".join(str(error).split())
        raise UserError(f"{source}: cannot be read ({reason}); write it again if it is damaged") from error


def listed(names: Sequence[str]) -> str:
    """What there is instead of what was asked for."""
    return ", ".join(names) or "nothing"


class Unreadable(UserError):
    """A recording that can't be used. `reason` is the message without the file: what is wrong, and what to do."""

    def __init__(self, file: Path, reason: str):
        super().__init__(f"{printable(file)}: {reason}")
        self.reason = reason


def printable(name: str | Path) -> str:
    """A file's name with what isn't UTF-8 in it spelled out, so that a message can hold it."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")
