"""Read a file of sequences: .npz, .npy, .csv or .parquet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from .archives import read_npy, read_npz
from .parquet import parquet_columns, parquet_features, read_parquet
from .paths import user_path
from .rows import Layout, Rows
from .tables import csv_columns, csv_features, read_csv

ARRAYS = (".npz", ".npy")
TABLES = (".csv", ".parquet")


def read(path: str, layout: Layout, *, setting: str, suffixes: Sequence[str] = (*ARRAYS, *TABLES)) -> Rows:
    """Read all sequences of a file.

    Args:
        path: The file; its suffix is its format.
        layout: Names of its arrays or columns.
        setting: The setting that names the file, for messages.
        suffixes: Those that it may have.

    Returns:
        The sequences.

    Raises:
        UserError: The file can't be read, or its arrays or columns can't be sequences.
    """
    file, source = find(path, setting, suffixes), f"{setting} {path}"
    match file.suffix.lower():
        case ".npz":
            return read_npz(file, layout, source)
        case ".npy":
            return read_npy(file, source)
        case ".csv":
            return read_csv(file, layout, source)
        case _:
            return read_parquet(file, layout, source)


def feature_names(path: str, layout: Layout, *, setting: str) -> tuple[str, ...]:
    """Read the names of a table's features from its header. See `read`."""
    file, source = find(path, setting, TABLES), f"{setting} {path}"
    return (csv_features if file.suffix.lower() == ".csv" else parquet_features)(file, layout, source)


def column_names(file: Path, source: str) -> list[str]:
    """Read the names of all columns of a .csv or .parquet file from its header."""
    return csv_columns(file, source) if file.suffix.lower() == ".csv" else parquet_columns(file, source)


def find(path: str, setting: str, suffixes: Sequence[str] = (*ARRAYS, *TABLES)) -> Path:
    """Find the file of sequences that a setting names. Raises UserError if it can't be read, or by its suffix."""
    kinds = f"{', '.join(suffixes[:-1])} or {suffixes[-1]}"
    if not path:
        raise UserError(f"{setting} is empty; name a {kinds} file of sequences")
    source = f"{setting} {path}"
    file = user_path(path, source)
    if file.is_dir():
        raise UserError(f"{source}: is a folder; name a {kinds} file")
    if file.suffix.lower() not in suffixes:
        lacking = "" if file.exists() else "no such file, and "
        raise UserError(f"{source}: {lacking}its suffix is {file.suffix!r}; it must be {kinds}")
    if not file.exists():
        raise UserError(f"{source}: no such file; a relative path starts at {Path.cwd()}")
    if not os.access(file, os.R_OK):
        raise UserError(f"{source}: permission denied; make it readable")
    return file
