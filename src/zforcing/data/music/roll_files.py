"""A file that holds a roll, or a few, to go on from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import UserError
from ...files.archives import open_npz
from ...files.midi import TimeStep, read_midi
from ...files.pickles import read_pickle
from ...files.reading import Array, listed, readable, user_path
from ...files.rolls import Roll, from_matrix, from_pitches
from ...observations import DataDescription, Example
from .midi_folder import MIDI
from .rolls import to_example

PICKLES = frozenset((".pickle", ".pkl"))


def read_rolls(path: str, description: DataDescription, step: TimeStep, *, drums: bool = False) -> list[Example]:
    """The rolls in a file as a model of music reads them; a step of a MIDI file is `step`.

    A MIDI file; an .npz with an array `x` [T, 88] or [n, T, 88], as samples are written; or a pickle of one sequence,
    [step: (MIDI number, ...)]. Raises UserError for anything else, and where nothing would be left to score.
    """
    file = user_path(path, path)
    if file.is_dir():
        raise UserError(f"{path}: is a folder; name one file of it")
    if not file.is_file():
        raise UserError(f"{path}: no such file; a relative path starts at {Path.cwd()}")
    rolls = _rolls(file, path, step, drums)
    if min(map(len, rolls)) <= description.spec.conditions_on_first:
        raise UserError(f"{path}: has 1 step; the model conditions on a sequence's first one, and needs 2 or more")
    return [to_example(roll) for roll in rolls]


def _rolls(file: Path, source: str, step: TimeStep, drums: bool) -> list[Roll]:
    suffix = file.suffix.lower()
    if suffix in MIDI:
        return [read_midi(file, step, drums=drums)[0]]
    if suffix in PICKLES:
        return [from_pitches(read_pickle(file, source), f"{source}: its sequence")]
    if suffix == ".npz":
        return [from_matrix(matrix, f"{source}: array 'x'") for matrix in _matrices(file, source)]
    raise UserError(f"{source}: its suffix is {file.suffix!r}; it must be .mid, .midi, .npz, .pickle or .pkl")


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
