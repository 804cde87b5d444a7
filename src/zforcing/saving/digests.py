"""SHA-256 digests of a folder's files, in the format of `sha256sum`: that what is read is what was written.

In a checkpoint's folder, `sha256sum --check SHA256SUMS` checks them too.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection
from pathlib import Path

from ..errors import UserError

SUMS = "SHA256SUMS"
LINE = re.compile(r"([0-9a-f]{64})  ([^/\\]+)")


def digest_of(file: Path) -> str:
    """The SHA-256 digest of a file's content, in hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def write_digests(folder: Path, names: Collection[str]) -> None:
    """Write the digests of these files of a folder."""
    lines = [f"{digest_of(folder / name)}  {name}\n" for name in sorted(names)]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8", newline="\n")


def read_digests(folder: Path) -> dict[str, str] | None:
    """The digests that were written into a folder, by file; None where there are none (of before there were digests).

    Raises:
        UserError: They are damaged, or no file.
    """
    file = folder / SUMS
    if not os.path.lexists(file):
        return None
    if not file.is_file():
        raise UserError(f"{file} is no regular file: {REMEDY}")
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{file} can't be read: {error}") from None
    matches = [LINE.fullmatch(line) for line in lines]
    found = {match[2]: match[1] for match in matches if match is not None}
    if len(found) < len(lines) or not found:
        raise UserError(f"{file} is damaged: {REMEDY}")
    return found


REMEDY = "restore a copy (if it was edited on purpose, delete SHA256SUMS of its folder)"


def stored_digest(file: Path) -> str:
    """The digest of a file, as it was written down beside it; else of its content."""
    return (read_digests(file.parent) or {}).get(file.name) or digest_of(file)


def check_digests(folder: Path, names: Collection[str]) -> None:
    """Check that these files are as they were written; those of a folder without digests are taken as they are.

    Raises:
        UserError: One has changed, is missing though it was written, or wasn't written with the others.
    """
    digests = read_digests(folder)
    if digests is None:
        return
    for name in names:
        file = folder / name
        if name in digests and not file.is_file():
            raise UserError(f"{file} is missing: the checkpoint is incomplete")
        if file.is_file() and digest_of(file) != digests.get(name):
            raise UserError(f"{file} isn't as it was written (its SHA-256 differs): {REMEDY}")
