"""The sequences of a file or a folder that a user names for a trained model, which the training data needn't be there
for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files.paths import user_path
from ..files.reading import Unreadable, listed, printable
from ..files.rows import TimeColumn
from ..observations import Contents, DataDescription, contents_of
from .dataset import InMemory
from .folders import SHOWN, find_files, in_two_forms


def read_own(path: str, description: DataDescription, *, skip_unreadable: bool = False) -> InMemory:
    """Read whole sequences, in the units of the model's training data, without gaps unless that has some.

    Args:
        path: a file of the model's format, or a folder: all files of the format below it, by name.
        description: of the model's data.
        skip_unreadable: of a folder: leave out recordings and MIDI files that can't be used, and count them.

    Returns:
        The sequences, each with its end symbol if the format has one; their ids are the names that a file gives them,
        and those of a folder its files' names.

    Raises:
        UserError: there is no such file, none in the folder, or one that can't be read.
    """
    folder, kind = user_path(path, path), description.format
    if not folder.is_dir():
        contents = contents_of(kind, path, description)
        return _whole([contents], description, contents.names, path)
    files = _files_in(folder, path, description)
    found: list[Contents] = []
    ids: list[str] = []
    skipped = 0
    for name in files:
        try:
            found.append(contents_of(kind, str(folder / name), description))
            size = len(found[-1].examples)
            ids += [name] if size == 1 else [f"{name}:{i}" for i in range(size)]
        except Unreadable:
            if not skip_unreadable:
                raise
            skipped += 1
    if not found:
        raise UserError(f"{path}: none of its {len(files)} files can be used")
    data = _whole(found, description, ids, path)
    data.skipped, data.remark = skipped, f"{len(files) - skipped} files"
    return data


def _whole(files: list[Contents], description: DataDescription, ids: list[Any] | None, path: str) -> InMemory:
    examples = [description.format.whole(example) for contents in files for example in contents.examples]
    gaps = [i for i, example in enumerate(examples) if example.observed is not None and not example.observed.all()]
    if gaps and not description.spec.missing:
        raise UserError(
            f"{path}: observation {gaps[0] if ids is None else ids[gaps[0]]} is not whole, and the model was trained "
            f"on whole ones: `zforcing continue` completes a beginning, `zforcing impute` what is missing"
        )
    data = InMemory(examples, ids, time_column=TimeColumn.joined([contents.time_column for contents in files]))
    data.unknown = description.format.unknown_in(data.examples)
    return data


def _files_in(folder: Path, path: str, description: DataDescription) -> list[str]:
    """The format's files below a folder, sorted. Raises UserError where there are none, or some may be there twice."""
    kind = description.format
    if not kind.reads:
        raise UserError(f"{path}: is a folder; format {kind.name} reads files: name one of it")
    names = find_files(folder, folder, lambda file: file.suffix.lower() in kind.reads)
    if not names:
        raise UserError(f"{path}: has no file that ends in {listed(kind.reads)}; the model reads these")
    twice = in_two_forms(names)
    if twice:
        raise UserError(
            f"{path}: {', '.join(map(printable, twice[:SHOWN]))} may be the same sequences in two forms (samples are "
            f"written so); leave one of them in the folder, or name a file"
        )
    return names
