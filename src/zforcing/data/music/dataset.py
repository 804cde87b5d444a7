"""Polyphonic music as piano rolls, which of a piano's 88 keys sound at each step: what all data sets of music share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from ...errors import UserError
from ...files.midi import TimeStep
from ...files.paths import user_path
from ...files.rolls import PITCHES
from ...observations import DataDescription, MusicFormat, ObservationSpec
from ...settings import Count, Range
from ..module import DataModule
from ..splits import Split
from .rolls import Collection, Rolls

StepsPerQuarter = Annotated[int, Range(at_least=1, at_most=480)]  # what can be written as MIDI
SecondsPerStep = Annotated[float, Range(at_least=0.001, at_most=3)]  # the same


@dataclass(frozen=True)
class MusicDataModule(DataModule):
    """Piano rolls: a step is 88 numbers, 0 or 1. Papers report nats per step."""

    chunk_steps: Count | None = field(default=None, kw_only=True)  # a subclass' path comes first
    """scored steps of the pieces that training sequences are cut into, the last one shorter; without it, none are"""

    @property
    @abstractmethod
    def first_observation(self) -> Literal["scored", "conditioned"]:
        """Whether a sequence's first step counts in the likelihood, or is only conditioned on."""

    @property
    @abstractmethod
    def time_step(self) -> TimeStep:
        """How long a step is: which MIDI files are read in, and written in."""

    @property
    def reads_drums(self) -> bool:
        """Whether percussion in MIDI files is read too."""
        return False

    @abstractmethod
    def read_splits(self) -> dict[Split, Collection]:
        """All splits."""

    def describe(self) -> DataDescription:
        """88 binary numbers a step, and how long training sequences are."""
        train = Rolls(self._music["train"], first=self._first, chunk=self.chunk_steps)
        return DataDescription(
            name=self.name,
            spec=self._spec,
            longest=int(train.lengths.max()) - self._first,
            format=self._format.at_tempo(self._music["train"].tempo),
        )

    def load(self, split: Split, description: DataDescription) -> Rolls:
        """One split. All splits are read, so that a bad test set fails early."""
        check_trained_on(self.name, self.first_observation, self._format, description)
        chunk = self.chunk_steps if split == "train" else None
        return Rolls(self._music[split], first=self._first, chunk=chunk).described_as(description)

    @property
    def _spec(self) -> ObservationSpec:
        return ObservationSpec("binary", PITCHES, self.first_observation)

    @property
    def _first(self) -> int:
        """How many steps of a sequence are not scored."""
        return self._spec.unscored_steps

    @property
    def _format(self) -> MusicFormat:
        return MusicFormat.of_steps(*self.time_step, drums=self.reads_drums)

    @cached_property
    def _music(self) -> dict[Split, Collection]:
        """All splits, cached."""
        return self.read_splits()


def existing_path(path: str, *, is_folder: bool, what: str) -> tuple[Path, str]:
    """The file or folder that data.path names, and what a message calls it. Raises UserError where it isn't there."""
    source = f"data.path {path}"
    if not path:
        raise UserError(f"data.path is empty; name {what}")
    file = user_path(path, source)
    if not file.exists():
        raise UserError(f"{source}: no such file or folder; a relative path starts at {Path.cwd()}")
    if file.is_dir() != is_folder:
        raise UserError(f"{source}: is {'a folder' if file.is_dir() else 'a file'}; name {what}")
    return file, source


def check_trained_on(name: str, first_observation: str, music: MusicFormat, description: DataDescription) -> None:
    """Raises UserError where data `name` isn't what the model was trained on."""
    trained = description.format
    if not isinstance(trained, MusicFormat):
        raise UserError(
            f"data {name} holds music, but the model was trained on data {description.name}: name its own data"
        )
    if description.spec.first_observation != first_observation:
        raise UserError(
            f"data.first_observation is {first_observation}, but the model was trained with "
            f"{description.spec.first_observation}: set data.first_observation to "
            f"{description.spec.first_observation}"
        )
    in_seconds = music.seconds_per_step is not None or trained.seconds_per_step is not None
    # the tempo is that of the files, unless a step's length in seconds is written as one
    for key in ("steps_per_quarter", *(["quarters_per_minute"] if in_seconds else []), "lowest_pitch"):
        if getattr(music, key) != getattr(trained, key):
            raise UserError(
                f"a step of the data has {key} {getattr(music, key)}, but the model was trained with "
                f"{getattr(trained, key)}: set data.steps_per_quarter or data.seconds_per_step to match"
            )
