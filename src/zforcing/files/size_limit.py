"""How much a compressed file may unpack to: what it declares is checked before it is read.

A file of some kilobytes may unpack to terabytes. One that unpacks to more than `DEFAULT` gigabytes, and to more than it
takes itself, is refused unless the environment's ZFORCING_MAX_GIGABYTES allows more.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

from ..errors import UserError

VARIABLE = "ZFORCING_MAX_GIGABYTES"
DEFAULT = 4.0
GIGABYTE = 10**9


def most_bytes() -> int:
    """What a compressed file may unpack to. Raises UserError where the environment says anything but a size."""
    said = os.environ.get(VARIABLE) or str(DEFAULT)
    try:
        gigabytes = float(said)
    except ValueError:
        gigabytes = float("nan")
    if not 0 < gigabytes <= 10**9:
        raise UserError(
            f"{VARIABLE} is {said!r} in the environment; it must be a number of gigabytes above 0, as in 16"
        )
    return int(gigabytes * GIGABYTE)


def refuse_larger(size: int, file: Path, source: str) -> None:
    """Raise UserError where `size` bytes, which a file unpacks to, are more than may be and than the file takes."""
    most = most_bytes()
    if size > max(most, file.stat().st_size):
        raise UserError(
            f"{source}: unpacks to {size / GIGABYTE:.3g} GB, more than {most / GIGABYTE:.3g}; if the file is sound, "
            f"set {VARIABLE} in the environment to more"
        )


class Bounded(io.RawIOBase):
    """A stream that unpacks a file, up to what may be; it raises UserError where more comes."""

    def __init__(self, unpacked: BinaryIO | io.BufferedIOBase, file: Path, source: str):
        self.unpacked, self.file, self.source = unpacked, file, source
        self.size, self.checked = 0, most_bytes()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer, which Python passes as one
        part = self.unpacked.read(len(buffer))
        buffer[: len(part)] = part
        self.size += len(part)
        if self.size > self.checked:
            refuse_larger(self.size, self.file, self.source)
        return len(part)

    def close(self) -> None:
        self.unpacked.close()
        super().close()
