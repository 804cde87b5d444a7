"""The sequences that a command takes as data, and where what it makes of them goes."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from ..data import InMemory, SequenceDataset
from ..data.own_files import read_own
from ..data.splits import Split
from ..tasks.columns import table_file
from ..training.runs.trained import Trained
from .sample import file_name, stem_of
from .sources import OWN, is_path, read_contents


def source_of(options: Namespace) -> str:
    """What a command reads: FILE, or the name of a split."""
    source: str = options.file or options.split or "test"
    return source


def sequences_of(source: str, trained: Trained, *, may_have_gaps: bool = False) -> SequenceDataset:
    """A split by its name; a file or folder, with the names that its sequences have there; some of the run's own
    sequences, or text itself, see `sources.HELP`.

    Args:
        source: See above.
        trained: Of whose data.
        may_have_gaps: Whether a file may have gaps where the training data had none.

    Raises:
        UserError: There is no such split, sequence or file.
    """
    description = trained.description
    if source in get_args(Split):
        return trained.data.load(cast(Split, source), description).described_as(description)
    kind = description.format
    if OWN.fullmatch(source) or (kind.is_text and not is_path(source)):
        contents = read_contents(source, trained)
        examples = [kind.whole(example) for example in contents.examples]
        return InMemory(examples, time_column=contents.time_column).described_as(description)
    if may_have_gaps:
        description = replace(description, spec=replace(description.spec, missing=True))
    return read_own(source, description).described_as(description)


def check_out(options: Namespace, what: str, *others: str) -> None:
    """Before anything is computed: raise UserError where --out is no .csv or .npz file (nor one of other suffixes), or
    has no folder.
    """
    if options.out is not None:
        table_file(options.out, what, *others)


def out_file(options: Namespace, trained: Trained, folder: str, *parts: str, ending: str = "csv") -> Path:
    """--out, or a file in a folder of the run, which is made, that is named by what was read and these parts."""
    if options.out is not None:
        return Path(options.out)
    path = trained.folder / folder
    path.mkdir(exist_ok=True)
    return path / f"{stem_of(options, name_of(options), *parts)}.{ending}"


def name_of(options: Namespace) -> str:
    """Of a file's name: what was read."""
    return source_of(options) if options.file is None else file_name(options.file)
