"""Reading a file of sequences, by its suffix."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import UserError
from .archives import read_npy, read_npz
from .reading import user_path
from .rows import Layout, Rows
from .tables import csv_columns, csv_features, parquet_columns, parquet_features, read_csv, read_parquet

SUFFIXES = ".npz, .npy, .csv or .parquet"
ARRAY_SETTINGS = ("array", "lengths", "observed")
LACKS = {
    ".npz": ("columns",),
    ".npy": (*ARRAY_SETTINGS, "sequence", "columns"),
    ".csv": ARRAY_SETTINGS,
    ".parquet": ARRAY_SETTINGS,
}


def read(path: str, layout: Layout, *, setting: str) -> Rows:
    """All sequences of a file. `setting` named it, for messages.

    Raises UserError when the file can't be read, or its arrays or columns can't be sequences.
    """
    file, source = find(path, setting), f"{setting} {path}"
    _refuse_unused_settings(file, layout, source)
    match file.suffix.lower():
        case ".npz":
            return read_npz(file, layout, source)
        case ".npy":
            return read_npy(file, source)
        case ".csv":
            return read_csv(file, layout, source)
        case _:
            return read_parquet(file, layout, source)


def feature_names(path: str, layout: Layout, *, setting: str) -> tuple[str, ...] | None:
    """What a file calls its features, from its header alone; None for arrays, which don't name them."""
    file, source = find(path, setting), f"{setting} {path}"
    match file.suffix.lower():
        case ".csv":
            return csv_features(file, layout, source)
        case ".parquet":
            return parquet_features(file, layout, source)
        case _:
            return None


def column_names(file: Path, source: str) -> list[str]:
    """All columns of a .csv or .parquet file, from its header alone."""
    return csv_columns(file, source) if file.suffix.lower() == ".csv" else parquet_columns(file, source)


def find(path: str, setting: str) -> Path:
    """The file of sequences that `setting` names. Raises UserError where there is none, or it is of another kind."""
    if not path:
        raise UserError(f"{setting} is empty; name a {SUFFIXES} file of sequences")
    source = f"{setting} {path}"
    file = user_path(path, source)
    if file.is_dir():
        raise UserError(f"{source}: is a folder; name a {SUFFIXES} file")
    if file.suffix.lower() not in LACKS:
        raise UserError(f"{source}: its suffix is {file.suffix!r}; it must be {SUFFIXES}")
    if not file.exists():
        raise UserError(f"{source}: no such file; a relative path starts at {Path.cwd()}")
    if not os.access(file, os.R_OK):
        raise UserError(f"{source}: may not be read; check its permissions")
    return file


def _refuse_unused_settings(file: Path, layout: Layout, source: str) -> None:
    """A setting that this kind of file has no use for is a mistake, not to be passed over."""
    suffix = file.suffix.lower()
    for name in LACKS[suffix]:
        value = getattr(layout, name)
        if value != getattr(Layout, name):
            raise UserError(
                f"{source}: data.{name} is {value!r}, of which a {suffix} file has none; leave data.{name} out"
            )
