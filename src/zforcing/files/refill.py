"""Write a file of sequences again with its gaps filled: all that was there stays as it stands."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .archives import open_npz
from .parquet import read_whole, write_whole
from .reading import Array
from .rows import Layout
from .writing import whole_file

OUT = {".csv": (".csv",), ".parquet": (".parquet",), ".npz": (".npz",), ".npy": (".npz", ".npy")}


@dataclass(frozen=True, eq=False)
class Fillings:
    """M numbers and their places in a file.

    rows: [M], of the file, from 0; features: [M], from 0; columns: [D], the features' names in a table; values: [M], in
    the user's units; texts: [M], the same as cells; of_text: [D], whether a column holds text.
    """

    rows: NDArray[np.int64]
    features: NDArray[np.int64]
    columns: tuple[str, ...]
    values: Array
    texts: Sequence[str]
    of_text: Sequence[bool]

    def of(self, feature: int) -> NDArray[np.int64]:
        """Which of them are of a feature."""
        return np.flatnonzero(self.features == feature)


def can_refill(file: Path, out: Path) -> bool:
    """Whether a file of the suffix of `out` is that of `file` with gaps filled."""
    return out.suffix.lower() in OUT.get(file.suffix.lower(), ())


def refill(file: Path, out: Path, fillings: Fillings, layout: Layout) -> None:
    """Write `file` to `out`, whose suffix `can_refill` it.

    Args:
        file: Was read by this layout.
        out: May be the same file.
        fillings: What is written anew.
        layout: Of the file.

    Raises:
        UserError: It can't be written.
    """
    write = {".csv": _csv, ".parquet": _parquet, ".npz": _npz, ".npy": _npy}[file.suffix.lower()]
    with whole_file(out) as part:
        write(file, part, fillings, layout)


def _csv(file: Path, out: Path, fillings: Fillings, _: Layout) -> None:
    """Cells are copied as text."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        header, *body = [cells for cells in csv.reader(text) if cells]
    places = [[name.strip() for name in header].index(name) for name in fillings.columns]
    for row, feature, cell in zip(fillings.rows, fillings.features, fillings.texts, strict=True):
        body[row][places[feature]] = cell
    with out.open("w", encoding="utf-8", newline="") as text:
        csv.writer(text, lineterminator="\n").writerows([header, *body])


def _parquet(file: Path, out: Path, fillings: Fillings, _: Layout) -> None:
    columns: dict[str, list[Any]] = {}
    table = read_whole(file)
    for feature in np.unique(fillings.features).tolist():
        name, chosen = fillings.columns[feature], fillings.of(feature)
        cells = table[name].to_pylist()
        for m in chosen:
            cells[fillings.rows[m]] = fillings.texts[m] if fillings.of_text[feature] else float(fillings.values[m])
        columns[name] = cells
    write_whole(out, table, columns)


def _npz(file: Path, out: Path, fillings: Fillings, layout: Layout) -> None:
    """All arrays; what was filled counts as observed."""
    with open_npz(file, str(file)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    given = arrays[layout.array]
    arrays[layout.array] = _filled(given, fillings)
    if layout.observed in arrays:
        arrays[layout.observed] = _put(arrays[layout.observed], fillings, np.ones(len(fillings.values), dtype=bool))
    with out.open("wb") as stream:  # NumPy adds .npz to the name OUT.NPZ
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # its stub takes them for allow_pickle


def _npy(file: Path, out: Path, fillings: Fillings, layout: Layout) -> None:
    write_array(out, _filled(np.load(file, allow_pickle=False), fillings), name=layout.array)


def write_array(out: Path, x: Array, *, name: str = Layout.array) -> None:
    """A .npy, or a .npz with this array."""
    with out.open("wb") as stream:  # NumPy adds .npy to the name OUT.NPY
        if out.suffix.lower() == ".npy":
            np.save(stream, x)
        else:
            np.savez_compressed(stream, **{name: x})  # type: ignore[arg-type]  # its stub takes it for allow_pickle


def _filled(x: Array, fillings: Fillings) -> Array:
    """Of the array's own type, but where it has no fractions and a filling does."""
    fits = x.dtype.kind == "f" or bool((fillings.values.astype(x.dtype) == fillings.values).all())
    return _put(x if fits else x.astype(np.float64), fillings, fillings.values)


def _put(x: Array, fillings: Fillings, values: Array) -> Array:
    """A copy with values in the flattened array's rows."""
    whole = x.reshape(-1, len(fillings.columns)).copy()
    whole[fillings.rows, fillings.features] = values
    return whole.reshape(x.shape)
