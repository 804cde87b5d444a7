"""MIDI files as piano rolls.

A roll says which pitches sound, not which are struck: a note that goes on looks like one that is struck again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .reading import Unreadable, printable
from .rolls import HIGHEST, LOWEST, PITCHES, Roll

SUFFIXES = frozenset((".mid", ".midi"))
LONGEST = 1_000_000  # steps; a damaged file may last for years


class TimeStep(NamedTuple):
    """How long a step is: so many `seconds` at the file's own tempo, or else a quarter note's `per_quarter`-th part."""

    per_quarter: int
    seconds: float | None = None


@dataclass(frozen=True, eq=False)
class Notes:
    """N notes: MIDI pitch, first step, and the step after the last one, each [N]."""

    pitch: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    @property
    def playable(self) -> NDArray[np.bool_]:
        """[N]: which of them a piano has."""
        return (self.pitch >= LOWEST) & (self.pitch <= HIGHEST)

    def roll(self) -> Roll:
        """[T, 88] of the notes that a piano has, one at least, from the first step of them to the last."""
        kept = self.playable
        pitch, start, stop = self.pitch[kept] - LOWEST, self.start[kept], self.stop[kept]
        begin = int(start.min())
        roll = np.zeros((int(stop.max()) - begin, PITCHES), dtype=np.uint8)
        for p, first, last in zip(pitch.tolist(), (start - begin).tolist(), (stop - begin).tolist(), strict=True):
            roll[first:last, p] = 1
        return roll


def read_midi(file: Path, step: TimeStep, *, drums: bool = False) -> tuple[Roll, int]:
    """All tracks of a file as one roll [T, 88], and how many notes were left out because no piano has their pitch.

    A note begins and ends at the nearest step (halves go up) and lasts one at least. Silence before the first and after
    the last note is left out, as are percussion tracks unless `drums`.

    Raises Unreadable (a UserError) when the file can't be read or holds no note.
    """
    notes = _in_steps(_parsed(file), step, drums=drums)
    if not notes.playable.any():
        raise Unreadable(
            file, f"has no note from {LOWEST} to {HIGHEST}{'' if drums else ', drums left out'}; remove it"
        )
    steps = int(notes.stop.max())
    if steps > LONGEST:
        raise Unreadable(file, f"lasts {steps} steps, more than {LONGEST}; is it damaged, or a step too short?")
    return notes.roll(), int((~notes.playable).sum())


def import_symusic(what: str) -> Any:
    """The optional package that reads and writes MIDI; `what` needs it, for the message."""
    try:
        import symusic
    except ImportError as error:
        raise UserError(f"{what}: MIDI needs symusic; pip install 'zforcing[midi]'") from error
    return symusic


def _parsed(file: Path) -> Any:
    """A symusic.Score in ticks."""
    symusic = import_symusic(printable(file))
    if not file.is_file():
        raise Unreadable(file, f"no such file; a relative path starts at {Path.cwd()}")
    if _has_patterns(file):
        raise Unreadable(file, "holds patterns that don't sound together (format 2); save it as format 0 or 1")
    try:
        score = symusic.Score(file)
    except Exception as error:  # whatever its parser in C++ throws; a damaged file must not end the reading of a folder
        reason = " ".join(str(error).split())
        raise Unreadable(file, f"is no MIDI file that symusic reads ({reason}); mend it or remove it") from error
    if score.ticks_per_quarter < 1:
        raise Unreadable(file, "has no ticks per quarter note; mend it or remove it")
    return score


def _has_patterns(file: Path) -> bool:
    """Whether the header, `MThd` and its length, says format 2."""
    with file.open("rb") as opened:
        header = opened.read(10)
    return header.startswith(b"MThd") and header[8:] == b"\0\2"


def _in_steps(score: Any, step: TimeStep, *, drums: bool) -> Notes:
    """All notes, percussion only if `drums`, from a score in ticks."""
    rate = step.per_quarter / score.ticks_per_quarter if step.seconds is None else 1 / step.seconds
    timed = score if step.seconds is None else score.to("second")
    columns = [track.notes.numpy() for track in timed.tracks if drums or not track.is_drum]
    pitch, time, duration = (
        np.concatenate([np.zeros(0), *(c[name] for c in columns)]) for name in ("pitch", "time", "duration")
    )
    start = nearest(time * rate)
    return Notes(pitch.astype(np.int64), start, np.maximum(nearest((time + duration) * rate), start + 1))


def nearest(steps: NDArray[np.float64]) -> NDArray[np.int64]:
    """The nearest whole step; halves go up, also those that rounding left a little short."""
    return np.floor(steps + 0.5 + 1e-6).astype(np.int64)


TICKS = 480  # of a MIDI file in a quarter note, about
VELOCITY = 80  # of MIDI's 0 to 127: a roll knows no loudness


def write_midi(
    path: Path, roll: NDArray[Any], *, lowest_pitch: int, steps_per_quarter: int, quarters_per_minute: float
) -> None:
    """A roll [T, D] of 0 and 1 as a MIDI file of one track, piano.

    Raises UserError where symusic isn't installed, or the roll is none.
    """
    symusic = import_symusic(str(path))
    per_step = max(1, TICKS // steps_per_quarter)
    score = symusic.Score(per_step * steps_per_quarter)
    score.tempos.append(symusic.Tempo(0, quarters_per_minute))
    track = symusic.Track(name="zforcing", program=0, is_drum=False)
    for pitch, start, steps in held_notes(roll):
        track.notes.append(symusic.Note(start * per_step, steps * per_step, lowest_pitch + pitch, VELOCITY))
    score.tracks.append(track)
    score.dump_midi(path)


def held_notes(roll: NDArray[Any]) -> list[tuple[int, int, int]]:
    """(column, first step, steps) of each stretch of ones in a column of a roll [T, D], in the order of time."""
    values = np.asarray(roll)
    if values.ndim != 2 or not ((values == 0) | (values == 1)).all():
        raise UserError(f"a roll of {values.dtype} {list(values.shape)} is no music; it must be [T, D] of 0 and 1")
    silence = np.zeros((1, values.shape[1]), dtype=np.int8)
    changes = np.diff(np.concatenate([silence, values.astype(np.int8), silence]), axis=0).T  # [D, T + 1]
    column, start = np.nonzero(changes == 1)
    _, stop = np.nonzero(changes == -1)
    order = np.lexsort((column, start))
    notes = np.stack([column, start, stop - start], axis=1)[order]
    return [(int(c), int(s), int(n)) for c, s, n in notes]
