"""Bach's chorales from the corpus that ships inside the package music21: no download.

They are much of what the set "JSB chorales" is made of, but neither its split nor its time step: nats per step don't
compare with those that papers report on JSB (for them, see `polyphonic_music`).

Source: M. S. Cuthbert, C. Ariza, "music21: a toolkit for computer-aided musicology and symbolic music data", ISMIR
2010.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ...errors import UserError
from ...files.midi import TimeStep
from ...files.reading import Array, readable
from ...files.rolls import HIGHEST, LOWEST, PITCHES, Roll
from ...settings import Seed
from ..splits import Split, split_off
from .dataset import MusicDataModule, StepsPerQuarter
from .rolls import Collection

SHARES: dict[Split, float] = {"test": 77 / 382, "valid": 76 / 382}  # those of JSB's 382 chorales


@dataclass(frozen=True)
class Chorales(MusicDataModule):
    """350 chorales in four voices, most of them; split at random by chorale, about 60/20/20 %.

    A pitch sounds in a step if it sounds when the step begins: what is shorter and begins later is left out. Many
    chorales are settings of one tune, and a tune may be in more than one split.
    """

    name: ClassVar[str] = "chorales"
    paper: ClassVar[str] = (
        "M. S. Cuthbert, C. Ariza, "
        '"music21: A Toolkit for Computer-Aided Musicology and Symbolic Music Data", ISMIR 2010'
    )

    steps_per_quarter: StepsPerQuarter = 2
    """steps in a quarter note: 2 reads them in eighth notes, in which nearly all of them move"""

    first_observation: Literal["scored", "conditioned"] = "scored"
    """whether a chorale's first step counts in the likelihood, or is only conditioned on"""

    split_seed: Seed = 0
    """which chorales are validated and tested on"""

    @property
    def time_step(self) -> TimeStep:
        return TimeStep(self.steps_per_quarter)

    def read_splits(self) -> dict[Split, Collection]:
        """A minute the first time, which the user's cache keeps."""
        notes = cached_chorales()
        names = split_off(sorted(notes), SHARES, seed=self.split_seed, what="music21: chorales")
        return {
            split: Collection([roll_of_notes(notes[name], self.steps_per_quarter) for name in members])
            for split, members in names.items()
        }


def roll_of_notes(notes: Array, steps_per_quarter: int) -> Roll:
    """Notes [N, 3] (MIDI pitch, begin and end in quarter notes) -> [T, 88]: 1 where a pitch sounds as a step begins."""
    pitch = notes[:, 0].astype(np.int64)
    on_piano = (pitch >= LOWEST) & (pitch <= HIGHEST)
    start, stop = np.ceil(notes[on_piano, 1:] * steps_per_quarter - 1e-6).astype(np.int64).T
    roll = np.zeros((max(1, int(stop.max())), PITCHES), dtype=np.uint8)
    for column, first, last in zip(pitch[on_piano] - LOWEST, start, stop, strict=True):
        roll[first:last, column] = 1
    return roll


def cached_chorales() -> dict[str, Array]:
    """The notes [N, 3] of each chorale, by its name in the corpus; from the user's cache once they are there.

    The cache is an .npz below $XDG_CACHE_HOME/zforcing, or ~/.cache/zforcing, for each version of music21.
    """
    corpus = _import_music21()
    file = _cache_folder() / f"chorales-1-music21-{version('music21')}.npz"  # 1: of what is in it
    cached = _read_cache(file)
    if cached is not None:
        return cached
    names = sorted(set(corpus.chorales.Iterator(returnType="filename")))  # some chorales have two numbers
    notes = {name: parse_chorale(name) for name in names}
    _write_cache(file, notes)
    return notes


def parse_chorale(name: str) -> Array:
    """[N, 3] float64: the notes of all voices of a work in the corpus, as pitch, begin and end in quarter notes."""
    corpus = _import_music21()
    from music21 import converter

    work = corpus.manager.getWork(name)
    files = [Path(file) for file in (work if isinstance(work, list) else [work])]
    own = name.rpartition("/")[2]  # bwv244.3 finds bwv244.32 too, and bwv277 one chorale in two formats
    file = min(files, key=lambda file: (file.stem != own, file.suffix != ".mxl"))
    # Without music21's own cache, which holds pickles in a folder that anyone may write to.
    score: Any = converter.parse(file, forceSource=True, storePickle=False)
    rows = [
        (pitch.midi, float(note.offset), float(note.offset + note.quarterLength))
        for note in score.flatten().notes
        for pitch in note.pitches
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def _import_music21() -> Any:
    try:
        from music21 import corpus
    except ImportError as error:
        raise UserError("data chorales needs music21; pip install 'zforcing[chorales]'") from error
    return corpus


def _cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".cache") / "zforcing"


def _read_cache(file: Path) -> dict[str, Array] | None:
    """The cached notes; None if the cache is missing or damaged."""
    try:
        with file.open("rb") as stream, readable(str(file)), np.load(stream, allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, UserError):
        return None


def _write_cache(file: Path, notes: dict[str, Array]) -> None:
    """Write the cache atomically. Where that fails, the next run reads the corpus again."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            whole = Path(folder) / file.name
            np.savez_compressed(whole, **notes)  # type: ignore[arg-type]  # its stub takes them for allow_pickle
            whole.replace(file)
    except OSError:
        pass
