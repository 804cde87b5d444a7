"""A folder of MIDI files: which there are, which split each is in, and which of them can be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

import numpy as np

from ...errors import UserError
from ...files.midi import SUFFIXES, TEMPO, TimeStep, read_midi, read_tempo
from ...files.reading import Unreadable, printable
from ...settings import Seed, Share
from .. import folders
from ..splits import Split, SplitFiles, check_random_split, split_off
from .dataset import MusicDataModule, SecondsPerStep, StepsPerQuarter, existing_path
from .rolls import Collection, list_reasons


@dataclass(frozen=True)
class MidiFolder(MusicDataModule):
    """MIDI files below a folder. Folders train, valid (or validation, val, dev) and test are the splits, where there
    are such; a split without a folder is split off the training files at random.
    """

    name: ClassVar[str] = "midi-folder"

    path: str = ""
    """folder of MIDI files"""

    first_observation: Literal["scored", "conditioned"] = "scored"
    """whether a sequence's first step counts in the likelihood, or is only conditioned on"""

    steps_per_quarter: StepsPerQuarter | None = None
    """steps in a quarter note; 4 without it and without data.seconds_per_step"""

    seconds_per_step: SecondsPerStep | None = None
    """length of a step in seconds, at the tempo of each file, in place of data.steps_per_quarter"""

    drums: bool = False
    """whether percussion tracks are in too"""

    valid_fraction: Share = 0.1
    """share of the files to validate on, where they have no folder of their own; one at least"""

    test_fraction: Share = 0.1
    """share of the files to test on, where they have no folder of their own; one at least"""

    split_seed: Seed = 1234
    """which files are validated and tested on, where they have no folder of their own"""

    skip_unreadable: bool = False
    """whether to leave out files that can't be used (damaged, without notes), or refuse them"""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_random_split(valid_fraction=self.valid_fraction, test_fraction=self.test_fraction)
        if self.steps_per_quarter is not None and self.seconds_per_step is not None:
            raise UserError(
                f"data.steps_per_quarter is {self.steps_per_quarter} and data.seconds_per_step "
                f"{self.seconds_per_step}: both say how long a step is; leave one of them out"
            )

    @property
    def time_step(self) -> TimeStep:
        return TimeStep(self.steps_per_quarter or 4, self.seconds_per_step)

    @property
    def reads_drums(self) -> bool:
        return self.drums

    def read_splits(self) -> dict[Split, Collection]:
        root, source = existing_path(self.path, is_folder=True, what="a folder of MIDI files")
        shares: dict[Split, float] = {"test": self.test_fraction, "valid": self.valid_fraction}
        return load_midi(
            root,
            split_midi(root, shares, seed=self.split_seed, source=source),
            self.time_step,
            drums=self.drums,
            first=self._first,
            skip_unreadable=self.skip_unreadable,
            source=source,
        )


def split_midi(root: Path, shares: Mapping[Split, float], *, seed: int, source: str) -> SplitFiles:
    """The files of each split, by folders train, valid (or dev) and test; what has none is split off at random by file.

    Raises UserError for a split without files, or none left to train on, or files that may be there twice.
    """
    split_folders = folders.split_folders(root, "data.path")
    if split_folders and "train" not in split_folders:
        there = " and ".join(folder.name for some in split_folders.values() for folder in some)
        raise UserError(f"{source}: has a folder {there} but none named train; add it")
    below = split_folders or {"train": [root]}
    files = {split: [file for one in some for file in _midi_below(one, root)] for split, some in below.items()}
    for split, names in files.items():
        if not names:
            where = f"in its folder of the {split} split" if split_folders else "below it"
            raise UserError(f"{source}: no MIDI files {where}; their names end in {' or '.join(sorted(SUFFIXES))}")
    missing: dict[Split, float] = {split: share for split, share in shares.items() if split not in files}
    if not missing:
        return files
    folders.refuse_two_forms(files["train"], source)
    return files | split_off(files["train"], missing, seed=seed, what=f"{source}: MIDI files")


def origins(root: Path, files: SplitFiles) -> dict[Split, str]:
    """What a reader should know of the splits: which were cut at random, and what outside their folders isn't read."""
    split_folders = folders.split_folders(root, "data.path")
    remarks: dict[Split, str] = {
        split: folders.cut_remark(split, "the training files")
        for split in files
        if split not in {*split_folders, "train"}
    }
    used = {name for names in files.values() for name in names}
    unread = sorted({PurePosixPath(name).parts[0] for name in _midi_below(root, root) if name not in used})
    return remarks | {"train": folders.unread_remark(unread)}


def _midi_below(folder: Path, root: Path) -> list[str]:
    return folders.find_files(folder, root, lambda file: file.suffix.lower() in SUFFIXES)


def load_midi(
    root: Path, files: SplitFiles, step: TimeStep, *, drums: bool, first: int, skip_unreadable: bool, source: str
) -> dict[Split, Collection]:
    """All files as rolls of more than `first` steps.

    Raises UserError about the files that can't be used, or with `skip_unreadable` about a split of which none is left.
    """
    music: dict[Split, Collection] = {}
    wrong: dict[str, str] = {}
    origin = origins(root, files)
    for split, names in files.items():
        music[split] = replace(_load(root, names, step, drums=drums, first=first), origin=origin.get(split, ""))
        wrong |= music[split].wrong
        if skip_unreadable and not music[split].rolls:
            raise UserError(
                f"{source}: of {len(names)} MIDI files none is left in the {split} split; correct them, or take them "
                f"out of the folder: {list_reasons(music[split].wrong)}"
            )
    if wrong and not skip_unreadable:
        _refuse(wrong, sum(map(len, files.values())), source)
    return music


def _load(root: Path, names: Sequence[str], step: TimeStep, *, drums: bool, first: int) -> Collection:
    """The files that can be used, and what is wrong with each of the others."""
    rolls, tempos, left_out, endless, wrong = [], list[float](), 0, 0, dict[str, str]()
    for name in names:
        try:
            roll, foreign, unended = read_midi(root / name, step, drums=drums)
        except Unreadable as error:
            wrong[name] = error.reason
            continue
        if len(roll) <= first:
            wrong[name] = "has 1 step, and data.first_observation conditioned needs 2 or more; remove it"
            continue
        rolls.append(roll)
        tempos.append(read_tempo(root / name))
        left_out, endless = left_out + foreign, endless + unended
    named = {printable(name): reason for name, reason in wrong.items()}
    tempo = float(np.median(tempos)) if tempos else TEMPO
    return Collection(rolls, wrong=named, left_out=left_out, endless=endless, tempo=tempo)


def _refuse(wrong: Mapping[str, str], total: int, source: str) -> None:
    raise UserError(
        f"{source}: {len(wrong)} of {total} MIDI files can't be used; leave them out by data.skip_unreadable true, or "
        f"correct them: {list_reasons(wrong)}"
    )
