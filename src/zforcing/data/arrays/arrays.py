"""The user's own sequences in NumPy files.

How an array is read follows from its rank and from the other arrays in the file:

    x [N, T, D], x [N, T]                   N sequences of T steps, of D numbers or of one number per step
    x [N, T, D], x [N, T] and lengths [N]   the same, padded on the right
    x [R, D], x [R] and lengths [N]         lengths that sum to R: the sequences' rows one after the other
    x [R, D], x [R] and a name per row [R]  flat rows; those of one name are one sequence, in the file's order

An array [T, D] that is one long sequence must be saved as [1, T, D]. A .npy file holds one array, [N, T, D] or [N, T].
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ...errors import UserError
from ...files.paths import user_path
from ...files.rows import Layout, Rows
from ...files.sequences import ARRAYS, TABLES, read
from ...observations import TableFormat
from ..suspicious import flat_rows
from .dataset import FileDataModule

OF_ARCHIVES = ("array", "lengths", "observed", "sequence", "inputs")


@dataclass(frozen=True)
class Arrays(FileDataModule):
    """Sequences in an .npz archive, which may hold their lengths and a mask of what is observed too; or in an .npy
    file.
    """

    name: ClassVar[str] = "arrays"

    array: str = Layout.array
    """.npz: array of the observations, [N, T, D], [N, T], or flat rows [R, D] or [R]"""

    lengths: str = Layout.lengths
    """.npz: array of the sequences' lengths in steps, used if it is there and data.sequence isn't set"""

    observed: str = Layout.observed
    """.npz: bool array like the observations, False where one is missing, used if it is there"""

    sequence: str | None = None
    """.npz: array with the name of each row's sequence (its rows may stand anywhere)"""

    inputs: str | None = None
    """.npz: array of known inputs, such as control signals, which models read and nobody scores: [N, T, U], [N, T],
    [R, U] or [R], like the observations"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sequence is not None and self.lengths != Layout.lengths:
            raise UserError(f"data.sequence {self.sequence} needs no data.lengths {self.lengths}; leave one out")

    @property
    def format(self) -> TableFormat:
        return TableFormat(None, self.sequence, self.array, self.lengths, self.observed, self.inputs)

    def read_file(self, path: str, *, setting: str, labelled: tuple[str, ...] = ()) -> Rows:
        suffix = Path(path).suffix.lower()
        if suffix in TABLES:
            raise UserError(
                f"{setting} {path}: is a table; set --data.name table, or take recipe table-zforcing-aux or table-rnn"
            )
        if suffix == ".npy":
            self._refuse_names(f"{setting} {path}")
        layout = Layout(self.array, self.lengths, self.observed, self.sequence, inputs=self.inputs)
        return read(path, layout, setting=setting, suffixes=ARRAYS)

    def suspicions(self) -> list[str]:
        found = super().suspicions()
        if not self.path.lower().endswith(".npz") or self.sequence is not None:
            return found
        flat = flat_rows(
            user_path(self.path, "data.path"), f"data.path {self.path}", array=self.array, lengths=self.lengths
        )
        return found if flat is None else [*found, flat]

    def _refuse_names(self, source: str) -> None:
        """Raise UserError about a setting that names one of several arrays: the file has only one."""
        for name in OF_ARCHIVES:
            value = getattr(self, name)
            if value != getattr(Layout, name):
                raise UserError(
                    f"{source}: data.{name} is {value!r}, but an .npy file is one array; leave data.{name} out, or "
                    f"save an .npz"
                )
