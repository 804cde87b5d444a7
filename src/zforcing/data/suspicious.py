"""What looks wrong with data, as small checks: each gives a message that says what to do, or None.

Nothing is refused: what looks wrong may be meant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from ..files.archives import open_npz
from ..files.paths import user_path
from ..files.reading import Array, listed, readable
from ..observations import ObservationSpec
from .dataset import InMemory, SequenceDataset
from .memory import Sequences

LARGE = 10_000_000  # numbers; of more nobody wants to wait for a look at each
FEW = 10  # steps, below which chance explains much
SHOWN = 5  # columns in a message

Columns = list[NDArray[np.float64]]  # of each sequence [T, D], NaN where something is missing


def suspicions(train: SequenceDataset, valid: SequenceDataset | None) -> list[str]:
    """What looks wrong with a training split, and with a validation split beside it."""
    same = None if valid is None else same_content(train, valid)
    return of_columns(train) + ([] if same is None else [same])


def of_columns(train: SequenceDataset) -> list[str]:
    """What looks wrong with the real columns of people's own sequences, in the training split."""
    if not isinstance(train, Sequences) or count_numbers(train) > LARGE:
        return []
    real = real_columns(train.description.spec)
    if not real:
        return []
    names = train.names or tuple(f"feature {i}" for i in range(train.description.spec.size))
    x, names = [sequence[:, real] for sequence in train.to_arrays()], tuple(names[i] for i in real)
    found = [check(x, names) for check in COLUMN_CHECKS]
    return [message for message in found if message is not None]


def real_columns(spec: ObservationSpec) -> list[int]:
    """The numbers of the columns of reals."""
    if spec.columns is not None:
        return [i for i, column in enumerate(spec.columns) if column.scaled]
    return list(range(spec.size)) if spec.kind == "real" else []


def constant_columns(x: Columns, names: Sequence[str]) -> str | None:
    """Columns that never change."""
    low, high = np.nanmin(np.stack([_low(s) for s in x]), 0), np.nanmax(np.stack([_high(s) for s in x]), 0)
    which = np.flatnonzero(low == high)
    if not len(which) or sum(map(len, x)) < 2:
        return None
    return (
        f"{_called(which, names)} {_is(which, 'is the same', 'are each the same')} at every training step: nothing is "
        f"learned from it, and its density has no upper limit; leave it out"
    )


def index_columns(x: Columns, names: Sequence[str]) -> str | None:
    """Columns that count up by 1 inside of every sequence, or through the whole data."""
    if sum(map(len, x)) < FEW or max(map(len, x)) < 3:
        return None
    inside = [(np.diff(s, axis=0) == 1).all(0) for s in x if len(s) > 1]
    which = np.flatnonzero(np.logical_and.reduce(inside))
    if not len(which):
        return None
    return (
        f"{_called(which, names)} {_is(which, 'counts', 'count')} up by 1 inside of every sequence: an index, or the "
        f"time? As a feature it is easy to predict and makes every likelihood look good; leave it out, or sort by it "
        f"(order)"
    )


def two_valued_columns(x: Columns, names: Sequence[str]) -> str | None:
    """Columns of real data that hold two numbers only."""
    rows = np.concatenate(x)
    if len(rows) < FEW:
        return None
    which = np.array([i for i, column in enumerate(rows.T) if _has_two_values(column)], dtype=np.int64)
    if not len(which):
        return None
    values = listed([f"{value:.9g}" for value in np.unique(rows[~np.isnan(rows[:, which[0]]), which[0]])])
    return (
        f"{_called(which, names)} {_is(which, 'holds', 'hold')} only two values ({values}): a Gaussian of it is no "
        f"probability, and its density has no upper limit; give it a kind of its own by kinds (binary, category), or "
        f"leave it out"
    )


COLUMN_CHECKS: tuple[Callable[[Columns, Sequence[str]], str | None], ...] = (
    constant_columns,
    index_columns,
    two_valued_columns,
)


def same_content(train: SequenceDataset, valid: SequenceDataset, name: str = "the validation split") -> str | None:
    """The same sequences in both splits: in the same order, or, of real data, all of the second in the first."""
    if not _is_at_hand(train) or not _is_at_hand(valid):
        return None
    if np.array_equal(train.lengths, valid.lengths) and train.fingerprint() == valid.fingerprint():
        return (
            f"the training split and {name} are the same sequences: what is measured on the second says nothing about "
            f"new data; take other sequences"
        )
    description = train.description
    if description is None or not real_columns(description.spec):
        return None
    known = {_digest(train, i) for i in range(len(train))}
    if not all(_digest(valid, i) in known for i in range(len(valid))):
        return None
    return (
        f"all {len(valid)} sequences of {name} are in the training split too: what is measured on them says "
        f"nothing about new data; leave them out of one of the two"
    )


def same_file(path: str, other: str, *, name: str) -> str | None:
    """One file as training data and as that of another split."""
    if user_path(path, f"data.path {path}").resolve() != user_path(other, f"data.{name}_path {other}").resolve():
        return None
    return (
        f"data.{name}_path is the file that is trained on, data.path: what is measured on it says nothing about new "
        f"data; leave data.{name}_path out (the split is taken from data.path then), or name another file"
    )


def flat_rows(file: Path, source: str, *, array: str, lengths: str) -> str | None:
    """An array [R, D] of an .npz without `lengths`, which is read as R sequences, where another array [N] of whole
    numbers sums to R.
    """
    with open_npz(file, source) as archive, readable(source):
        shape, _ = _header(archive, array)
        if len(shape) != 2 or lengths in archive.files:
            return None
        assert archive.zip is not None, "an open archive has its file"
        members = archive.zip.namelist()
        for name in (name for name in archive.files if f"{name}.npy" in members):  # others are no arrays
            of, dtype = _header(archive, name)
            if name != array and len(of) == 1 and dtype.kind in "iu" and _are_lengths(archive[name], shape[0]):
                return (
                    f"{source}: {array} {list(shape)} is read as {shape[0]} sequences of {shape[1]} steps of one "
                    f"number, but {name} {list(of)} sums to {shape[0]}: if these are the lengths of sequences whose "
                    f"rows stand one after the other, set data.lengths {name}"
                )
    return None


def _header(archive: NpzFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and type of an array, without reading it."""
    assert archive.zip is not None, "an open archive has its file"
    with archive.zip.open(f"{name}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    return shape, dtype


def _are_lengths(x: Array, rows: int) -> bool:
    return bool(1 < len(x) < rows and x.min() >= 1 and int(x.sum()) == rows)


def _called(which: NDArray[np.int64], names: Sequence[str]) -> str:
    """column 'a'; columns 'a', 'b', ..."""
    shown = listed([repr(names[i]) for i in which[:SHOWN]]) + (", ..." if len(which) > SHOWN else "")
    return f"column{'' if len(which) == 1 else 's'} {shown}"


def _is(which: NDArray[np.int64], one: str, several: str) -> str:
    return one if len(which) == 1 else several


def _low(x: Array) -> Array:
    low: Array = np.where(np.isnan(x), np.inf, x).min(0)
    return low


def _high(x: Array) -> Array:
    high: Array = np.where(np.isnan(x), -np.inf, x).max(0)
    return high


def _has_two_values(column: Array) -> bool:
    known = column[~np.isnan(column)]
    if len(known) < FEW:
        return False
    low, high = known.min(), known.max()
    return bool(low < high and ((known == low) | (known == high)).all())


def _is_at_hand(data: SequenceDataset) -> bool:
    """Whether a look at every number is cheap."""
    return isinstance(data, Sequences | InMemory) and count_numbers(data) <= LARGE


def count_numbers(data: SequenceDataset) -> int:
    """How many numbers a split has; a category is one."""
    spec = None if data.description is None else data.description.spec
    return int(data.lengths.sum()) * (1 if spec is None or spec.kind == "categorical" else spec.size)


def _digest(data: SequenceDataset, index: int) -> bytes:
    example = data[index]
    observed = b"" if example.observed is None else example.observed.tobytes()
    return hashlib.sha256(np.ascontiguousarray(example.x).tobytes() + observed).digest()
