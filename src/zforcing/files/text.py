"""Files of text in UTF-8."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from .paths import refuse_special


def read_text(file: Path) -> str:
    """A file in UTF-8. Raises UserError when it can't be read, or is in another encoding."""
    refuse_special(file, str(file))
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: can't be read ({error.strerror}); check the path and its permissions") from error
    if b"\0" in raw:
        line = raw.count(b"\n", 0, raw.index(b"\0")) + 1
        raise UserError(f"{file}: line {line} holds the byte 0, so it is no text in UTF-8 (UTF-16?); save it as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{file}: line {line} is not UTF-8 (byte {error.start} of the file, 0x{raw[error.start]:02x}); save the "
            f"file as UTF-8"
        ) from error


def split_lines(text: str) -> list[str]:
    """The lines, without their ends; an end behind the last one begins none."""
    lines = text.split("\n")  # not `splitlines`, which ends a line at ten more characters
    return lines[:-1] if lines[-1] == "" else lines
