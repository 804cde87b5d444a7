"""Polyphonic music as piano rolls: which of a piano's 88 keys sound at each step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...files.archives import open_npz
from ...files.audio import write_wav
from ...files.midi import SUFFIXES, TEMPO, TimeStep, held_notes, import_symusic, read_midi, read_tempo, write_midi
from ...files.paths import user_path
from ...files.pianoroll import write_pianoroll
from ...files.pickles import PICKLES, read_pickle
from ...files.reading import Array, listed, readable
from ...files.rolls import Roll, from_matrix, from_pitches
from ...files.synthesizer import RATE, Sounding, synthesize
from ..checks import is_number, is_size
from ..example import Example
from ..spec import ObservationSpec
from .base import Described, Format
from .drawn import Drawn, Written, join

SLOWEST, FASTEST = 4.0, 100_000.0  # quarters a minute: a MIDI file has 24 bits for microseconds per quarter
SECONDS_GRID = 4  # steps in what is written as a quarter note, where a step is set in seconds
MOST_STEPS = 256  # of a sample by default: what was trained on may be one piece after another
PICTURED = 8  # piano rolls in one picture
HEARD = 8  # sequences that are rendered as sound: half a minute takes 1.4 MB


@dataclass(frozen=True)
class MusicFormat(Format):
    """An observation is a step of a piano roll: 1 where a pitch sounds, else 0.

    lowest_pitch:        MIDI number of the first of them (21 is A0, a piano's lowest key); the others follow it
    steps_per_quarter:   steps in a quarter note
    quarters_per_minute: the tempo of what is written: the median of the files trained on, where it is known
    seconds_per_step:    a step's length at the tempo of a MIDI file that is read; None: by its quarter notes
    drums:               whether percussion is read too
    """

    name = "music"
    endings = ("png", "mid", "wav")
    reads = tuple(sorted(SUFFIXES))

    lowest_pitch: int = 21
    steps_per_quarter: int = 2
    quarters_per_minute: float = TEMPO
    seconds_per_step: float | None = None
    drums: bool = False

    def __post_init__(self) -> None:
        if type(self.lowest_pitch) is not int or not 0 <= self.lowest_pitch <= 127:
            raise UserError(f"data.format.lowest_pitch is {self.lowest_pitch!r}; it must be a MIDI number, 0 to 127")
        if not (is_size(self.steps_per_quarter) and self.steps_per_quarter <= 480):
            raise UserError(
                f"data.format.steps_per_quarter is {self.steps_per_quarter!r}; it must be a whole number, 1 to 480"
            )
        tempo, seconds = self.quarters_per_minute, self.seconds_per_step
        if not (is_number(tempo) and SLOWEST <= tempo <= FASTEST):
            raise UserError(f"data.format.quarters_per_minute is {tempo!r}; it must be a number, 4 to 100000")
        if seconds is not None and not (is_number(seconds) and 0 < seconds < float("inf")):
            raise UserError(f"data.format.seconds_per_step is {seconds!r}; it must be a positive number, or null")

    @classmethod
    def of_steps(cls, per_quarter: int, seconds: float | None, *, drums: bool = False) -> MusicFormat:
        """Steps of a quarter note's `per_quarter`-th part, or of so many seconds. Where the tempo isn't known it is 120
        quarters a minute: a choice.
        """
        if seconds is None:
            return cls(steps_per_quarter=per_quarter, drums=drums)
        tempo = 60 / (SECONDS_GRID * seconds)
        return cls(steps_per_quarter=SECONDS_GRID, quarters_per_minute=tempo, seconds_per_step=seconds, drums=drums)

    def at_tempo(self, quarters_per_minute: float) -> MusicFormat:
        """What is written at this tempo, as far as MIDI has it; the same where a step is so many seconds."""
        if self.seconds_per_step is not None:
            return self
        return replace(self, quarters_per_minute=min(max(quarters_per_minute, SLOWEST), FASTEST))

    @property
    def step(self) -> TimeStep:
        """What MIDI files are read in."""
        return TimeStep(self.steps_per_quarter, self.seconds_per_step)

    def problems(self, spec: ObservationSpec) -> list[str]:
        """Every number of an observation is a pitch."""
        if spec.kind == "binary" and self.lowest_pitch + spec.size <= 128:
            return []
        return [
            (
                f"data.format is {self} for {spec.kind} observations of size {spec.size}; they must be binary, with "
                "MIDI numbers up to 127"
            )
        ]

    @property
    def extra(self) -> str | None:
        """MIDI files are read and written by symusic."""
        return "midi"

    def read(self, path: str, description: Described) -> list[Example]:
        """The rolls in a file.

        A MIDI file; an .npz with an array `x` [T, 88] or [n, T, 88], as samples are written; or a pickle of one
        sequence, [step: (MIDI number, ...)]. Raises UserError for anything else, and where nothing would be left to
        score.
        """
        file = user_path(path, path)
        if file.is_dir():
            raise UserError(f"{path}: is a folder, not a regular file; name one file of it")
        if not file.is_file():
            raise UserError(f"{path}: no such file or directory; a relative path starts at {Path.cwd()}")
        rolls = _rolls(file, path, self.step, self.drums)
        if min(map(len, rolls)) <= description.spec.conditions_on_first:
            raise UserError(f"{path}: has 1 step; the model conditions on a sequence's first one, and needs 2 or more")
        return [Example(roll.astype(np.float32)) for roll in rolls]

    def continuing(self, path: str) -> MusicFormat:
        """At the tempo of the MIDI file that is gone on from, if it is one."""
        file = user_path(path, path)
        is_midi = file.suffix.lower() in SUFFIXES and file.is_file()
        return self.at_tempo(read_tempo(file)) if is_midi else self

    def show(self, path: Path, drawn: Drawn, description: Described) -> Written:
        """STEM.png with the first of them as piano rolls, the beginnings in grey, STEM-I.mid of each sequence, or why
        these can't be written, and STEM-I.wav of the first ones, to listen to.
        """
        prefixes = drawn.prefixes
        rolls = join(None if prefixes is None else [0.5 * roll for roll in prefixes], drawn.each)
        write_pianoroll(Path(f"{path}.png"), rolls[:PICTURED])
        files, lacking = [f"{path}.png"], lacks_symusic(f"{path}-000.mid")
        for i, roll in enumerate(drawn.whole):
            if lacking is None:
                files.append(f"{path}-{i:03d}.mid")
                self.write_midi(Path(files[-1]), roll)
            if i < HEARD:
                files.append(f"{path}-{i:03d}.wav")
                write_wav(files[-1], self.sound(roll), RATE)
        return Written(tuple(files), lacking=lacking)

    def sound(self, roll: Array) -> NDArray[np.int16]:
        """[T, D] -> 16-bit samples at `files.synthesizer.RATE`, at the format's tempo."""
        step = 60 / (self.quarters_per_minute * self.steps_per_quarter)
        held = held_notes(roll)
        notes = [Sounding(self.lowest_pitch + key, start * step, steps * step) for key, start, steps in held]
        return synthesize(notes, len(roll) * step)

    def write_midi(self, path: Path, roll: Array) -> None:
        """One roll [T, D] as a MIDI file."""
        write_midi(
            path,
            roll,
            lowest_pitch=self.lowest_pitch,
            steps_per_quarter=self.steps_per_quarter,
            quarters_per_minute=self.quarters_per_minute,
        )

    def default_steps(self, description: Described) -> int:
        """As long as what was trained on, up to 256."""
        return min(description.longest, MOST_STEPS)


def lacks_symusic(what: str) -> str | None:
    """Why MIDI files can't be written, if they can't."""
    try:
        import_symusic(what)
    except UserError as error:
        return str(error)
    return None


def _rolls(file: Path, source: str, step: TimeStep, drums: bool) -> list[Roll]:
    suffix = file.suffix.lower()
    if suffix in SUFFIXES:
        return [read_midi(file, step, drums=drums)[0]]
    if suffix in PICKLES:
        return [from_pitches(read_pickle(file, source), f"{source}: its sequence")]
    if suffix == ".npz":
        return [from_matrix(matrix, f"{source}: array 'x'") for matrix in _matrices(file, source)]
    raise UserError(f"{source}: its suffix is {file.suffix!r}; it must be .mid, .midi, .npz, .p, .pickle or .pkl")


def _matrices(file: Path, source: str) -> Array:
    """[n, T, 88]."""
    with open_npz(file, source) as archive, readable(source):
        names = list(archive.files)
        x = archive["x"] if "x" in names else None
    if not isinstance(x, np.ndarray):
        raise UserError(f"{source}: has no array 'x', it has {listed(names)}")
    if x.ndim not in (2, 3) or len(x) == 0:
        raise UserError(f"{source}: array 'x' is {list(x.shape)}; it must be [T, 88], or [n, T, 88] for n rolls")
    return x if x.ndim == 3 else x[None]
