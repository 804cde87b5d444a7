"""Read and write MIDI files as piano rolls.

A roll has the pitches that sound at each step, not the onsets: a held note looks like a repeated one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .midi_events import notes_without_end
from .reading import Unreadable, printable
from .rolls import HIGHEST, LOWEST, PITCHES, Roll

SUFFIXES = frozenset((".mid", ".midi"))
TEMPO = 120.0  # quarters a minute, where a file doesn't say: MIDI's own rule
LONGEST = 1_000_000  # steps; a damaged file may seem to last for years


class TimeStep(NamedTuple):
    """The duration of a step: `seconds` at the file's own tempo, or 1 / `per_quarter` of a quarter note if None."""

    per_quarter: int
    seconds: float | None = None


@dataclass(frozen=True, eq=False)
class Notes:
    """N notes, in steps."""

    pitch: NDArray[np.int64]  # [N], MIDI numbers
    start: NDArray[np.int64]  # [N], first step
    stop: NDArray[np.int64]  # [N], the step after the last one

    @property
    def playable(self) -> NDArray[np.bool_]:
        """Which notes are in a piano's range, [N]."""
        return (self.pitch >= LOWEST) & (self.pitch <= HIGHEST)

    def roll(self) -> Roll:
        """The roll [T, 88] of the notes in a piano's range (there must be one), from their first step to the last."""
        playable = self.playable
        pitch, start, stop = self.pitch[playable] - LOWEST, self.start[playable], self.stop[playable]
        begin = int(start.min())
        roll = np.zeros((int(stop.max()) - begin, PITCHES), dtype=np.uint8)
        reached = [0] * PITCHES  # thousands of notes may overlap: each step is written once
        order = np.argsort(start, kind="stable")
        for p, first, last in zip(*(v[order].tolist() for v in (pitch, start - begin, stop - begin)), strict=True):
            roll[max(first, reached[p]) : last, p] = 1
            reached[p] = max(last, reached[p])
        return roll


class Music(NamedTuple):
    """The roll [T, 88] of a file, and how many notes aren't in it: outside of a piano's range, and without an end."""

    roll: Roll
    foreign: int
    endless: int


def read_midi(file: Path, step: TimeStep, *, drums: bool = False) -> Music:
    """Read all tracks of a file as one roll, without the silence before the first and after the last note.

    A note starts and ends at the nearest step (halves are rounded up) and lasts at least one.

    Args:
        file: The MIDI file, format 0 or 1.
        step: The duration of a step.
        drums: Whether to read percussion tracks.

    Returns:
        The roll, and how many notes aren't in it.

    Raises:
        Unreadable: The file can't be read or has no note.
    """
    notes = _in_steps(_parsed(file), step, drums=drums)
    endless = notes_without_end(file.read_bytes(), drums=drums)
    if not notes.playable.any():
        never = f", and {endless} that never end{'s' * (endless == 1)}" if endless else ""
        raise Unreadable(
            file, f"has no note from {LOWEST} to {HIGHEST}{'' if drums else ', drums left out'}{never}; remove it"
        )
    steps = int(notes.stop.max())
    if steps > LONGEST:
        raise Unreadable(file, f"has {steps} steps, more than {LONGEST}; is it damaged, or a step too short?")
    return Music(notes.roll(), int((~notes.playable).sum()), endless)


def read_tempo(file: Path) -> float:
    """The tempo of a MIDI file, in quarters per minute: of several the median over its quarter notes, 120 without any.

    Raises:
        Unreadable: The file can't be read.
    """
    score = _parsed(file)
    tempos = _tempos(score)
    ends = [*(time for time, _ in tempos[1:]), max(score.end(), tempos[-1][0] + 1)]
    played = sorted((qpm, end - time) for (time, qpm), end in zip(tempos, ends, strict=True))
    reached = np.cumsum([ticks for _, ticks in played])
    return float(played[int(np.searchsorted(reached, reached[-1] / 2))][0])


def _tempos(score: Any) -> list[tuple[int, float]]:
    """The tick from which each tempo holds, and its quarters a minute; of several at one tick the last holds."""
    by_tick = {0: TEMPO}
    for tempo in sorted(score.tempos, key=lambda tempo: tempo.time):
        by_tick[tempo.time] = tempo.qpm
    return list(by_tick.items())


def import_symusic(what: str) -> Any:
    """Import the optional package symusic; `what` begins the message if it isn't installed."""
    try:
        import symusic
    except ImportError as error:
        raise UserError(f"{what}: MIDI needs symusic; pip install 'zforcing[midi]'") from error
    return symusic


def _parsed(file: Path) -> Any:
    """The file as a symusic.Score in ticks."""
    symusic = import_symusic(printable(file))
    if not file.is_file():
        raise Unreadable(file, f"no such file; a relative path starts at {Path.cwd()}")
    if _has_patterns(file):
        raise Unreadable(file, "holds independent patterns (MIDI format 2); save it as format 0 or 1")
    try:
        score = symusic.Score(file)
    except Exception as error:  # its C++ parser may throw anything; a damaged file must not stop reading a folder
        reason = " ".join(str(error).split())
        raise Unreadable(file, f"is not a MIDI file that symusic can read ({reason}); repair or remove it") from error
    if score.ticks_per_quarter < 1:
        raise Unreadable(file, "has no ticks per quarter note; repair or remove it")
    return score


def _has_patterns(file: Path) -> bool:
    """Whether the header (`MThd`, its length, the format) has format 2."""
    with file.open("rb") as opened:
        header = opened.read(10)
    return header.startswith(b"MThd") and header[8:] == b"\0\2"


def _in_steps(score: Any, step: TimeStep, *, drums: bool) -> Notes:
    """Convert the notes of a score in ticks to steps, percussion only if `drums`."""
    columns = [track.notes.numpy() for track in score.tracks if drums or not track.is_drum]
    pitch, time, duration = (
        np.concatenate([np.zeros(0), *(c[name] for c in columns)]) for name in ("pitch", "time", "duration")
    )
    if step.seconds is None:
        rate = step.per_quarter / score.ticks_per_quarter
        begin, end = time * rate, (time + duration) * rate
    else:
        begin, end = (_seconds(ticks, score) / step.seconds for ticks in (time, time + duration))
    start = nearest(begin)
    return Notes(pitch.astype(np.int64), start, np.maximum(nearest(end), start + 1))


def _seconds(ticks: NDArray[np.float64], score: Any) -> NDArray[np.float64]:
    """When ticks are, by the score's tempos; symusic's own seconds have 32 bits, too few for a step of 0.1 s."""
    tempos = _tempos(score)
    since = np.array([tick for tick, _ in tempos], dtype=np.float64)
    per_tick = np.array([60 / (qpm * score.ticks_per_quarter) for _, qpm in tempos])
    reached = np.concatenate([[0.0], np.cumsum(np.diff(since) * per_tick[:-1])])
    place = np.searchsorted(since, ticks, side="right") - 1
    seconds: NDArray[np.float64] = reached[place] + (ticks - since[place]) * per_tick[place]
    return seconds


def nearest(steps: NDArray[np.float64]) -> NDArray[np.int64]:
    """Round to the nearest step; halves are rounded up, also if a rounding error made them slightly smaller."""
    return np.floor(steps + 0.5 + 1e-6).astype(np.int64)


TICKS = 480  # per quarter note of a written file, approximately
VELOCITY = 80  # of MIDI's 0 to 127: a roll has no loudness


def write_midi(
    path: Path, roll: NDArray[Any], *, lowest_pitch: int, steps_per_quarter: int, quarters_per_minute: float
) -> None:
    """Write a roll as a MIDI file with one piano track.

    Args:
        path: The file.
        roll: [T, D] of 0 and 1.
        lowest_pitch: The MIDI number of column 0.
        steps_per_quarter: Steps in a quarter note.
        quarters_per_minute: The tempo.

    Raises:
        UserError: symusic isn't installed, or `roll` isn't a roll.
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
    """Find the notes of a roll [T, D]: (column, first step, number of steps) of each run of ones, ordered by time."""
    values = np.asarray(roll)
    if values.ndim != 2 or not ((values == 0) | (values == 1)).all():
        raise UserError(f"{values.dtype} {list(values.shape)} is not a piano roll; it must be [T, D] of 0 and 1")
    silence = np.zeros((1, values.shape[1]), dtype=np.int8)
    changes = np.diff(np.concatenate([silence, values.astype(np.int8), silence]), axis=0).T  # [D, T + 1]
    column, start = np.nonzero(changes == 1)
    _, stop = np.nonzero(changes == -1)
    order = np.lexsort((column, start))
    notes = np.stack([column, start, stop - start], axis=1)[order]
    return [(int(c), int(s), int(n)) for c, s, n in notes]
