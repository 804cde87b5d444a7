"""The four sets of polyphonic music that papers report on, as their authors published them and as others pass them on.

N. Boulanger-Lewandowski, Y. Bengio, P. Vincent, "Modeling temporal dependencies in high-dimensional sequences:
application to polyphonic music generation and transcription", ICML 2012 (https://arxiv.org/abs/1206.6392): Nottingham,
JSB chorales, MuseData and Piano-midi.de, each with the authors' split.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...errors import UserError
from ...files.mat import read_mat
from ...files.pickles import read_pickle
from ...files.reading import Array, listed
from ...files.rolls import PITCHES, from_matrix, from_pitches
from ..splits import SPLITS, Split
from .rolls import Splits

MOST_SHARED = 16  # steps for each byte of a pickle, which may say one thing in many places


def read_pickled_music(file: Path, source: str) -> Splits:
    """The authors' pickles: {split: [sequence: [step: (MIDI number, ...)]]}."""
    content = read_pickle(file, source)
    if not isinstance(content, dict):
        raise UserError(f"{source}: holds a {type(content).__name__}; it must be a dict of {', '.join(SPLITS)}")
    splits = {split: _sequences(content, split, source) for split in SPLITS}
    steps = sum(len(sequence) for split in splits.values() for sequence in split if isinstance(sequence, list | tuple))
    if steps > MOST_SHARED * file.stat().st_size:
        raise UserError(
            f"{source}: repeats the same steps so many times, {steps} in all, that it can't be music; copy it again"
        )
    return {
        split: [
            from_pitches(sequence, f"{source}: sequence {number} (counted from 0) of the {split} split")
            for number, sequence in enumerate(sequences)
        ]
        for split, sequences in splits.items()
    }


def read_mat_music(file: Path, source: str) -> Splits:
    """MATLAB's files, `traindata`, `validdata` and `testdata`: cell arrays [1, N] of matrices [T, 88] of 0 and 1.

    As in S. Bai, J. Z. Kolter, V. Koltun, "An empirical evaluation of generic convolutional and recurrent networks for
    sequence modeling", 2018 (https://arxiv.org/abs/1803.01271).
    """
    content = read_mat(file, source)
    return {
        split: [
            from_matrix(matrix, f"{source}: sequence {number} (counted from 0) of {split}data")
            for number, matrix in enumerate(_cells(content, f"{split}data", source))
        ]
        for split in SPLITS
    }


def _sequences(content: dict[Any, Any], split: Split, source: str) -> Any:
    if split not in content:
        raise UserError(f"{source}: has no split {split!r}, it has {listed([str(k) for k in content])}")
    sequences = content[split]
    if not isinstance(sequences, list | tuple):
        raise UserError(f"{source}: its {split} split is a {type(sequences).__name__}; it must be a list of sequences")
    return sequences


def _cells(content: dict[str, Array | list[Array]], name: str, source: str) -> Array | list[Array]:
    if name not in content:
        raise UserError(f"{source}: has no variable {name!r}, it has {listed([*content])}")
    cells = content[name]
    if isinstance(cells, np.ndarray) and cells.ndim != 3:
        raise UserError(
            f"{source}: {name} is {type(cells).__name__}; it must be a cell array of matrices [T, {PITCHES}]"
        )
    return cells  # savemat makes one array of matrices of one size
