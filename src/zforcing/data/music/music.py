"""Polyphonic music as piano rolls: which of a piano's 88 keys sound at each step. Papers report nats per step.

N. Boulanger-Lewandowski, Y. Bengio, P. Vincent, "Modeling temporal dependencies in high-dimensional sequences:
application to polyphonic music generation and transcription", ICML 2012 (https://arxiv.org/abs/1206.6392).

Numbers compare only where the files are the same. The SRNN authors read the same four sets in steps of their own, in
about twice as many for the JSB chorales, and their nats per step have nothing to do with those of the pickles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from ...errors import UserError
from ...files.midi import SUFFIXES as MIDI
from ...files.midi import TimeStep
from ...files.pickles import PICKLES
from ...files.reading import user_path
from ...files.rolls import PITCHES
from ...observations import DataDescription, MusicFormat, ObservationSpec
from ..module import DataModule
from ..splits import Split, check_random_split
from .known import compare_with_known
from .midi_folder import load_midi, split_midi
from .polyphonic import read_mat_music, read_pickled_music
from .rolls import Collection, Rolls, Splits, refuse_short
from .srnn import read_srnn_music

LAYOUTS = ("pickle", "mat", "srnn", "midi")
SUFFIXES = {**dict.fromkeys(PICKLES, "pickle"), ".mat": "mat", ".npz": "srnn"}
STEPS_PER_QUARTER = {"midi": 4}
ELSEWHERE = 2  # the other files don't say how long a step is: an eighth note is a choice
OF_MIDI = ("drums", "skip_unreadable", "valid_fraction", "test_fraction", "split_seed")
LACKING = {**dict.fromkeys(OF_MIDI, "midi"), "streams": "srnn", "continue_streams": "srnn"}


@dataclass(frozen=True)
class Music(DataModule):
    """Piano rolls from the files that papers report on, or from MIDI files. A step is 88 numbers, 0 or 1."""

    name: ClassVar[str] = "music"

    path: str = ""
    """file of a published set (.pickle, .mat, or the SRNN authors' .npz), or folder of MIDI files"""

    layout: Literal["auto", "pickle", "mat", "srnn", "midi"] = "auto"
    """what data.path is: pickle or mat (Boulanger-Lewandowski's sequences), srnn (the SRNN authors' windows), midi (a
    folder; splits by folders train, valid or dev, and test, else at random by file); auto looks which"""

    first_observation: Literal["scored", "conditioned"] | None = None
    """whether a sequence's first step counts in the likelihood, or is only conditioned on; without it, as those who
    made the layout report: conditioned for srnn, which has no other, scored for the others"""

    steps_per_quarter: int | None = None
    """steps in a quarter note: which MIDI files are read in (4 without it), and written in. Other files don't say what
    a step is; without it, samples of them are written in eighth notes (2)"""

    seconds_per_step: float | None = None
    """length of a step in seconds, at the tempo of each MIDI file, in place of data.steps_per_quarter"""

    drums: bool = False
    """midi: whether percussion tracks are in too"""

    chunk_steps: int | None = None
    """scored steps of the pieces that training sequences are cut into, the last one shorter; without it, none are"""

    streams: int | None = None
    """srnn: how many streams stand side by side in the file; without it, what its name says (batchsize16), or 16"""

    continue_streams: bool = True
    """srnn: whether the training windows of a stream are one sequence, as its authors train (with
    data.first_observation as it is, training.batch_size 16 and training.truncated_bptt_steps 100), or each window is a
    sequence of its own, as each validation window is"""

    valid_fraction: float = 0.1
    """midi: share of the files to validate on, where they have no folder of their own; one at least"""

    test_fraction: float = 0.1
    """midi: share of the files to test on, where they have no folder of their own; one at least"""

    split_seed: int = 1234
    """midi: which files are validated and tested on, where they have no folder of their own"""

    skip_unreadable: bool = False
    """midi: whether to leave out files that can't be used (damaged, without notes), or refuse them"""

    def __post_init__(self) -> None:
        if self.layout not in ("auto", *LAYOUTS):
            raise UserError(f"data.layout is {self.layout!r}; it must be auto, {' or '.join(LAYOUTS)}")
        if self.first_observation not in (None, "scored", "conditioned"):
            raise UserError(f"data.first_observation is {self.first_observation!r}; it must be scored or conditioned")
        for field in ("chunk_steps", "streams", "steps_per_quarter"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise UserError(f"data.{field} is {value}; it must be 1 or more")
        check_random_split(
            valid_fraction=self.valid_fraction, test_fraction=self.test_fraction, split_seed=self.split_seed
        )
        check_step(self.steps_per_quarter, self.seconds_per_step)

    def describe(self) -> DataDescription:
        """88 binary numbers a step, and how long training sequences are."""
        train = Rolls(self._music["train"], first=self._first, chunk=self.chunk_steps)
        return DataDescription(
            name="music",
            spec=ObservationSpec("binary", PITCHES, self._first_observation),
            longest=int(train.lengths.max()) - self._first,
            format=self._format,
        )

    def load(self, split: Split, description: DataDescription) -> Rolls:
        """One split. All splits are read, so that a bad test set fails early."""
        self._check_settings(description)
        chunk = self.chunk_steps if split == "train" else None
        return Rolls(self._music[split], first=self._first, chunk=chunk).described_as(description)

    @cached_property
    def _file(self) -> Path:
        if not self.path:
            raise UserError("data.path is empty; name a .pickle, .mat or .npz file of music, or a folder of MIDI files")
        file = user_path(self.path, self._source)
        if not file.exists():
            raise UserError(f"{self._source}: no such file or folder; a relative path starts at {Path.cwd()}")
        return file

    @property
    def _source(self) -> str:
        return f"data.path {self.path}"

    @cached_property
    def _layout(self) -> str:
        """What data.path is, with the settings that it has no use for refused."""
        layout = self._found_layout() if self.layout == "auto" else self.layout
        if self._file.is_dir() != (layout == "midi"):
            kind = "a folder" if self._file.is_dir() else "a file"
            raise UserError(
                f"{self._source}: is {kind}; data.layout {layout} reads a {'folder' if layout == 'midi' else 'file'}"
            )
        for field, owner in LACKING.items():
            if layout != owner and getattr(self, field) != getattr(Music, field):
                raise UserError(
                    f"data.{field} is {getattr(self, field)}, but data.layout {layout}: only {owner} has a use for it; "
                    f"leave it out"
                )
        return layout

    def _found_layout(self) -> str:
        if self._file.is_dir():
            return "midi"
        suffix = self._file.suffix.lower()
        if suffix in MIDI:
            raise UserError(f"{self._source}: is one MIDI file; name a folder of them")
        if suffix not in SUFFIXES:
            raise UserError(
                f"{self._source}: its suffix is {self._file.suffix!r}; it must be {', '.join(sorted(SUFFIXES))}, or a "
                f"folder of MIDI files; or say what it is in data.layout"
            )
        return SUFFIXES[suffix]

    @property
    def _first_observation(self) -> Literal["scored", "conditioned"]:
        if self._layout == "srnn" and self.first_observation == "scored":
            raise UserError(
                "data.first_observation is scored, but data.layout srnn: a window's first step is the one before it, "
                "read and not scored; leave data.first_observation out"
            )
        return self.first_observation or ("conditioned" if self._layout == "srnn" else "scored")

    @property
    def _first(self) -> int:
        """How many steps of a sequence are not scored."""
        return 1 if self._first_observation == "conditioned" else 0

    @property
    def _step(self) -> TimeStep:
        default = STEPS_PER_QUARTER.get(self._layout, ELSEWHERE)
        return TimeStep(self.steps_per_quarter or default, self.seconds_per_step)

    @property
    def _format(self) -> MusicFormat:
        return MusicFormat.of_steps(*self._step, drums=self.drums)

    @cached_property
    def _music(self) -> dict[Split, Collection]:
        """All splits; kept, for each is asked for."""
        if self._layout == "midi":
            shares: dict[Split, float] = {"test": self.test_fraction, "valid": self.valid_fraction}
            return load_midi(
                self._file,
                split_midi(self._file, shares, seed=self.split_seed, source=self._source),
                self._step,
                drums=self.drums,
                first=self._first,
                skip_unreadable=self.skip_unreadable,
                source=self._source,
            )
        splits = self._read()
        refuse_short(splits, self._first, self._source)
        notes = compare_with_known(splits, self._source)
        return {split: Collection(rolls, origin=notes.get(split, "")) for split, rolls in splits.items()}

    def _read(self) -> Splits:
        match self._layout:
            case "pickle":
                return read_pickled_music(self._file, self._source)
            case "mat":
                return read_mat_music(self._file, self._source)
            case _:
                return read_srnn_music(self._file, self._source, streams=self.streams, joined=self.continue_streams)

    def _check_settings(self, description: DataDescription) -> None:
        """The settings must ask for what the model was trained on."""
        check_trained_on("music", self._first_observation, self._format, description)


def check_step(steps_per_quarter: int | None, seconds_per_step: float | None) -> None:
    """Raises UserError for a step that can't be written as MIDI, or that is given twice."""
    if seconds_per_step is None:
        if steps_per_quarter is not None and steps_per_quarter > 480:
            raise UserError(f"data.steps_per_quarter is {steps_per_quarter}; it must be 480 or less")
        return
    if steps_per_quarter is not None:
        raise UserError(
            f"data.steps_per_quarter is {steps_per_quarter} and data.seconds_per_step {seconds_per_step}: they say the "
            f"same; leave one of them out"
        )
    if not 0.001 <= seconds_per_step <= 3:
        raise UserError(f"data.seconds_per_step is {seconds_per_step}; it must be a number of seconds, 0.001 to 3")


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
            f"{description.spec.first_observation}: set it so"
        )
    for field in ("steps_per_quarter", "quarters_per_minute", "lowest_pitch"):
        if getattr(music, field) != getattr(trained, field):
            raise UserError(
                f"a step of the data has {field} {getattr(music, field)}, but the model was trained with "
                f"{getattr(trained, field)}: set data.steps_per_quarter or data.seconds_per_step so"
            )
