"""Find files in folders, and the folders of the splits."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

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
    """Walk a folder and its subfolders with the names of their files. Links are followed, each folder once."""

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: can't be listed ({error.strerror}); check its permissions") from error

    visited = set()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        real = os.path.realpath(parent)
        if real in visited:  # a link to a folder that was here already, or that this one is in
            folders.clear()
            continue
        visited.add(real)
        yield Path(parent), files


def find_files(folder: Path, root: Path, accept: Callable[[Path], bool]) -> list[str]:
    """List the files below a folder that `accept` takes, relative to the root, sorted, without hidden ones.

    Links are followed, each folder once. Raises UserError for a folder that may not be listed.
    """
    paths = []
    for parent, names in walk(folder):
        for file in (parent / name for name in names if not name.startswith(".")):
            is_other = file.exists() and not file.is_file()  # a broken link is reported later
            if not is_other and accept(file):
                paths.append(file.relative_to(root).as_posix())
    return sorted(paths)


def folders_in(root: Path, setting: str = "data.root") -> list[Path]:
    """List the subfolders of a folder, without hidden ones; `setting` names the folder in messages."""
    try:
        return sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"{setting} {root}: can't be listed ({error.strerror}); check its permissions") from error


def split_folders(root: Path, setting: str = "data.root") -> dict[Split, list[Path]]:
    """The folders of each split that has some, by their names; see `by_split`."""
    return by_split(folders_in(root, setting), f"{setting} {root}", lambda folder: folder.name, "the folder of ")


def by_split(
    entries: Sequence[Path], source: str, name_of: Callable[[Path], str], role: str = ""
) -> dict[Split, list[Path]]:
    """Which files or folders are a split's: the one with its name in any case, else all that have it among their words
    (train-clean-100 and train-other-500; ptb.valid).

    Raises UserError where two have a split's name and nothing else; `source` and `role` are for the message.
    """
    found: dict[Split, list[Path]] = {}
    for split, names in NAMES.items():
        whole = [entry for entry in entries if name_of(entry).lower() in names]
        if len(whole) > 1:
            raise UserError(
                f"{source}: {' and '.join(entry.name for entry in whole)} are both {role}the {split} split; leave one "
                "of them"
            )
        if some := whole or [entry for entry in entries if _splits_among_words(name_of(entry)) == [split]]:
            found[split] = some
    return found


def _splits_among_words(name: str) -> list[Split]:
    words = {*re.split(r"[^a-z]+", name.lower())}
    return [split for split, names in NAMES.items() if not words.isdisjoint(names)]


def in_two_forms(names: Sequence[str]) -> list[str]:
    """Files of one folder that differ in their suffixes alone (u0.wav and u0.flac): perhaps one sequence each."""
    by_stem = defaultdict(list)
    for name in names:
        by_stem[str(PurePosixPath(name).with_suffix(""))].append(name)
    return [name for files in by_stem.values() if len(files) > 1 for name in files]


def refuse_two_forms(names: Sequence[str], source: str) -> None:
    """Raise UserError about files that may be one sequence, which a random split may train on and test on."""
    twice = in_two_forms(names)
    if twice:
        first, second = map(printable, twice[:2])
        raise UserError(
            f"{source}: {first} and {second} may be the same in two forms, and a random split could train on one and "
            f"test on the other; leave one of them out"
        )


# ---- remarks


def cut_remark(split: Split, what: str) -> str:
    """The remark that a split was cut at random from `what`, the training data."""
    return f"cut at random from {what} (data.{split}_fraction)"


def unread_remark(names: Sequence[str]) -> str:
    """The remark about files and folders that belong to no split and may be misspelt; empty if there are none."""
    some = ", ".join([*map(printable, names[:SHOWN]), *(["..."] if len(names) > SHOWN else [])])
    return f"{some} isn't read: no split has this name" if names else ""
