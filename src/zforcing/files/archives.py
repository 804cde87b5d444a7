"""Reading .npz and .npy files of sequences: arrays, with lengths or sequence names in other arrays."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from ..errors import UserError
from .cells import names_nothing
from .reading import Array, listed, readable
from .rows import Layout, Order, Rows, grouped
from .size_limit import refuse_larger

RANKS = (
    "[N, T, D] and [N, T] are read as N sequences of T steps, [R, D] and [R] as flat rows with an array of lengths "
    "or with data.sequence"
)


def read_npz(file: Path, layout: Layout, source: str) -> Rows:
    """Read the sequences of an archive's array `layout.array`; see `read` in sequences.py."""
    arrays = _load(file, layout, source)
    values, observed = arrays["array"], arrays.get("observed")
    what = f"{source}: array {layout.array!r}"
    _check_numbers(values, what)
    if observed is not None and (observed.dtype != bool or observed.shape != values.shape):
        raise UserError(
            f"{source}: array {layout.observed!r} is {_shape(observed)}; it must be bool {list(values.shape)} like "
            f"{layout.array!r}, True where a number was observed"
        )
    if "sequence" in arrays:
        order = _named(values, arrays["sequence"], layout, source)
    elif "lengths" in arrays:
        order = _with_lengths(values, arrays["lengths"], layout, source)
    else:
        order = _equally_long(values, what)
    mask = None if observed is None else order.apply(observed)
    inputs = (
        None
        if layout.inputs is None
        else _inputs(arrays["inputs"], values, order, f"{source}: array {layout.inputs!r}")
    )
    return Rows(source, order.apply(values), order.lengths, mask, order.names, inputs=inputs, at=order.rows_of(values))


def _inputs(inputs: Array, values: Array, order: Order, what: str) -> Array:
    """Rows [R, U] of an array of inputs, which must be laid out as the observations."""
    _check_numbers(inputs, what)
    steps = values.shape[: order.axes]
    if inputs.shape[: order.axes] != steps or inputs.ndim > order.axes + 1:
        raise UserError(
            f"{what} is {_shape(inputs)}; it must be {list(steps)} or have one more axis, U numbers for each step of "
            f"the observations {list(values.shape)}"
        )
    return order.apply(inputs)


def read_npy(file: Path, source: str) -> Rows:
    """Read the sequences of an array [N, T, D] or [N, T]; see `read` in sequences.py."""
    with file.open("rb") as stream:
        if stream.read(6) != b"\x93NUMPY":  # NumPy would take it for a pickle, and suggest allow_pickle=True
            raise UserError(f"{source}: is not an .npy file; write it with numpy.save")
    with readable(source):
        values: Array = np.load(file, allow_pickle=False)
    what = f"{source}: its array"
    _check_numbers(values, what)
    order = _equally_long(values, what)
    return Rows(source, order.apply(values), order.lengths, at=order.rows_of(values))


@contextmanager
def open_npz(file: Path, source: str) -> Iterator[NpzFile]:
    """Open an .npz archive within a `with` block. Raises UserError if it isn't one, or unpacks to too much."""
    if not zipfile.is_zipfile(file):  # also of a truncated archive, whose directory at the end is missing
        raise UserError(f"{source}: is not an .npz archive, or a truncated one; write it with numpy.savez")
    with file.open("rb") as stream:  # NumPy leaves one that it opens itself open where the archive is damaged
        with readable(source):
            archive = np.load(stream, allow_pickle=False)
        if not isinstance(archive, NpzFile) or archive.zip is None:  # an .npy file with an archive behind it
            raise UserError(f"{source}: is not an .npz archive; write it with numpy.savez")
        with archive:
            refuse_larger(sum(member.file_size for member in archive.zip.infolist()), file, source)
            yield archive


def _load(file: Path, layout: Layout, source: str) -> dict[str, Array]:
    """The archive's arrays, by the setting that names them."""
    # Names of the rows' sequences also determine their lengths.
    grouping = "lengths" if layout.sequence is None else "sequence"
    settings = ["array", "observed", grouping, *([] if layout.inputs is None else ["inputs"])]
    array_names = {setting: getattr(layout, setting) for setting in settings}
    with open_npz(file, source) as archive:
        for setting, name in array_names.items():
            optional = setting in ("lengths", "observed") and name == getattr(Layout, setting)
            if name not in archive.files and not optional:
                raise UserError(f"{source}: has no array {name!r}, it has {listed(archive.files)}; set data.{setting}")
        with readable(source):
            arrays = {setting: archive[name] for setting, name in array_names.items() if name in archive.files}
    for setting, array in arrays.items():
        if not isinstance(array, np.ndarray):  # NumPy returns bytes for other members of a zip file
            raise UserError(f"{source}: {array_names[setting]!r} is not an array; write the file with numpy.savez")
    return arrays


def _shape(array: Array) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _check_numbers(values: Array, what: str) -> None:
    if values.dtype.kind not in "biuf":
        raise UserError(f"{what} holds {values.dtype}; save real numbers, integers or bools")
    if not 1 <= values.ndim <= 3:
        raise UserError(f"{what} has the shape {list(values.shape)}; {RANKS}")
    if values.size == 0:
        raise UserError(f"{what} is empty, its shape is {list(values.shape)}; save 1 step or more")


def _equally_long(values: Array, what: str) -> Order:
    if values.ndim == 1:
        raise UserError(f"{what} has the shape {list(values.shape)}, no lengths and no data.sequence; {RANKS}")
    sequences, steps = values.shape[:2]
    return Order(2, slice(None), np.full(sequences, steps, dtype=np.int64))


def _with_lengths(values: Array, lengths: Array, layout: Layout, source: str) -> Order:
    """The array is padded if there are as many lengths as rows, concatenated if the lengths sum to the rows."""
    what = f"{source}: array {layout.lengths!r}"
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise UserError(f"{what} is {_shape(lengths)}; save one integer per sequence, its number of steps")
    if (lengths < 1).any():
        index = int(np.argmax(lengths < 1))
        raise UserError(f"{what} is {lengths[index]} at {index} (counted from 0); every sequence needs 1 step or more")
    most = math.prod(values.shape[:2])  # steps; also prevents an int64 overflow below
    if (lengths > most).any():
        index = int(np.argmax(lengths > most))
        raise UserError(
            f"{what} is {lengths[index]} at {index} (counted from 0), more than {layout.array!r} "
            f"{list(values.shape)} holds; save the true lengths"
        )
    steps = lengths.astype(np.int64)
    rows, total = len(values), int(steps.sum())
    padded = values.ndim > 1 and len(steps) == rows
    concatenated = values.ndim < 3 and total == rows
    if padded and concatenated and values.shape[1] > 1:
        raise UserError(
            f"{what} is 1 everywhere and {layout.array!r} {list(values.shape)}: {values.shape[1]} features, or 1 step "
            f"and its padding? Save {layout.array!r} as [N, T, D]"
        )
    if padded:
        return _padded(steps, values.shape[1], what)
    if concatenated:
        return Order(1, slice(None), steps)
    raise UserError(
        f"{what} has {len(steps)} entries that sum to {total}, and {layout.array!r} the shape {list(values.shape)}; "
        f"save one per sequence of a padded array [N, T, D] or [N, T], or for flat rows lengths that sum to the rows"
    )


def _padded(lengths: NDArray[np.int64], steps: int, what: str) -> Order:
    if lengths.max() > steps:
        index = int(np.argmax(lengths))
        raise UserError(
            f"{what} is {lengths[index]} at {index} (counted from 0), but the array ends after {steps} steps; "
            f"save the true lengths"
        )
    exists = np.arange(steps) < lengths[:, None]  # [N, T]
    return Order(2, np.flatnonzero(exists), lengths)


def _named(values: Array, names: Array, layout: Layout, source: str) -> Order:
    if values.ndim == 3:
        raise UserError(
            f"{source}: array {layout.array!r} has the shape {list(values.shape)}; where data.sequence names the rows "
            f"it must be [R, D] or [R]"
        )
    what = f"{source}: array {layout.sequence!r}"
    if names.shape != values.shape[:1]:
        raise UserError(f"{what} is {_shape(names)}; it must be [{len(values)}], a name per row of {layout.array!r}")
    if names.dtype.kind not in "biufUS":
        raise UserError(f"{what} holds {names.dtype}; name sequences by numbers or strings")
    if names.dtype.kind == "f" and np.isnan(names).any():
        raise UserError(f"{what} is NaN at row {int(np.argmax(np.isnan(names)))} (counted from 0); name every sequence")
    order = grouped(names)
    assert order.names is not None, "rows of names are grouped by them"
    for name in order.names.tolist() if names.dtype.kind in "US" else ():
        if names_nothing(str(name, "latin-1") if isinstance(name, bytes) else name):
            row = int(np.argmax(names == name))
            raise UserError(f"{what} is {name!r} at row {row} (counted from 0); name every sequence")
    return order
