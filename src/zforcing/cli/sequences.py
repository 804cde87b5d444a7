"""The sequences that a command takes as data, and where what it makes of them goes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from ..data import InMemory, SequenceDataset
from ..data.own_files import read_own
from ..data.splits import Split
from ..training.runs.trained import Trained
from .out import TABLES, file_for, file_name, stem_of
from .sources import OWN, is_path, read_contents, refuse_misspelt


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
    if not OWN.fullmatch(source):
        refuse_misspelt(source, sentences=kind.is_text)
    if OWN.fullmatch(source) or (kind.is_text and not is_path(source)):
        contents = read_contents(source, trained)
        examples = [kind.whole(example) for example in contents.examples]
        return InMemory(examples, time_column=contents.time_column).described_as(description)
    if may_have_gaps:
        description = replace(description, spec=replace(description.spec, missing=True))
    return read_own(source, description).described_as(description)


def out_file(
    options: Namespace,
    trained: Trained,
    folder: str,
    *parts: str,
    suffixes: Sequence[str] = TABLES,
    ending: str = "csv",
) -> Path:
    """The file of --out, or one in a folder of its or of the run that is named by what was read and these parts."""
    stem = stem_of(options, name_of(options), *parts)
    return file_for(options, suffixes, folder=trained.folder / folder, stem=stem, ending=ending)


def name_of(options: Namespace) -> str:
    """Of a file's name: what was read."""
    return source_of(options) if options.file is None else file_name(options.file)
