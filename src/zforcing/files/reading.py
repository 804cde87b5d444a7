"""Opening files that users name, and errors of reading them."""

from __future__ import annotations

import gzip
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import UserError
from .paths import refuse_special
from .size_limit import Bounded

Array = NDArray[Any]
GZIP = b"\x1f\x8b"
REASON = 300  # characters
LISTED, LONGEST = 100, 1500  # names, and characters of all of them


def opened(file: Path) -> io.BufferedIOBase:
    """Open a file for reading bytes, decompressing it if it is compressed by gzip, whatever its name.

    Reading raises UserError where it unpacks to too much, see size_limit.py.
    """
    refuse_special(file, str(file))
    with file.open("rb") as stream:
        compressed = stream.read(len(GZIP)) == GZIP
    if not compressed:
        return file.open("rb")
    return io.BufferedReader(Bounded(gzip.open(file, "rb"), file, printable(file)))


@contextmanager
def readable(source: str) -> Iterator[None]:
    """Turn any error of a library that reads a file into a UserError, within a `with` block around that call.

    For damaged files NumPy alone raises eight types of error, such as MemoryError and tokenize.TokenError.

    Args:
        source: The file's name in messages.

    Raises:
        UserError: Anything was raised within.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of a damaged header, say, which Python parses
            yield
    except UserError:
        raise
    except Exception as error:  # whatever a library raises on a damaged file, see above
        if "Object arrays" in str(error):  # NumPy's message suggests allow_pickle, which can execute arbitrary code
            raise UserError(
                f"{source}: holds Python objects, which are not read; save ragged sequences as one padded array with "
                f"an array of lengths, or as flat rows with the name of each row's sequence"
            ) from error
        reason = brief_reason(error)
        raise UserError(f"{source}: cannot be read ({reason}); if it is damaged, save or download it again") from error


def brief_reason(error: BaseException) -> str:
    """What a library says of a file, in one line that no content of the file makes longer than `REASON`."""
    said = " ".join(str(error)[: 10 * REASON].split()) or type(error).__name__
    return said if len(said) <= REASON else f"{said[:REASON]}..."


def listed(names: Sequence[str]) -> str:
    """Join names for a message, `nothing` if there are none; of very many the first."""
    text = ", ".join(names[:LISTED]) or "nothing"
    if len(names) <= LISTED and len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}... ({len(names)} in all)"


class Unreadable(UserError):
    """A recording or MIDI file that can't be used.

    Args:
        file: The file.
        reason: What is wrong, and what to do; an attribute, too.
    """

    def __init__(self, file: Path, reason: str):
        super().__init__(f"{printable(file)}: {reason}")
        self.reason = reason


def printable(name: str | Path) -> str:
    """Escape bytes of a file's name that aren't UTF-8, for messages."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")
