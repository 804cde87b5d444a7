"""Folders of files: which there are, and which folders hold a split."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..errors import UserError
from ..files.reading import printable
from .splits import Split

NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test",),
}
SHOWN = 8  # names in one message


def walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder below this one, itself included, and the names of its files. Links are followed, each folder once."""

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: can't be listed ({error.strerror}); check its permissions") from error

    seen = set()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        real = os.path.realpath(parent)
        if real in seen:  # a link to a folder that was here already, or that this one is in
            folders.clear()
            continue
        seen.add(real)
        yield Path(parent), files


def find_files(folder: Path, root: Path, wanted: Callable[[Path], bool]) -> list[str]:
    """The files below a folder that are wanted, relative to the root, sorted; hidden ones are left out.

    Links are followed, each folder once. Raises UserError for a folder that may not be listed.
    """
    found = []
    for parent, names in walk(folder):
        for file in (parent / name for name in names if not name.startswith(".")):
            is_other = file.exists() and not file.is_file()  # a link to nothing is worth a word
            if not is_other and wanted(file):
                found.append(file.relative_to(root).as_posix())
    return sorted(found)


def folders_in(root: Path, setting: str = "data.root") -> list[Path]:
    """The folders directly in a folder, hidden ones left out; a message about it names its setting."""
    try:
        return sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"{setting} {root}: can't be listed ({error.strerror}); check its permissions") from error


def split_folders(root: Path, setting: str = "data.root") -> dict[Split, Path]:
    """The folders of splits, by their names in any case; those that there are. Two for one split are refused."""
    found: dict[Split, Path] = {}
    for split, names in NAMES.items():
        folders = [folder for folder in folders_in(root, setting) if folder.name.lower() in names]
        if len(folders) > 1:
            raise UserError(
                f"{setting} {root}: {' and '.join(f.name for f in folders)} are both the folder of the {split} split; "
                f"leave one of them"
            )
        if folders:
            found[split] = folders[0]
    return found


# ---- splits


def told_cut(split: Split, what: str) -> str:
    """For a data set's remark: that a split was cut at random from `what` is trained on."""
    return f"cut at random from {what} (data.{split}_fraction)"


def told_unread(names: Sequence[str]) -> str:
    """For a data set's remark: files and folders beside those of the splits, which may be misspelt; empty without."""
    some = ", ".join([*map(printable, names[:SHOWN]), *(["..."] if len(names) > SHOWN else [])])
    return f"{some} isn't read: no split is called so" if names else ""
