"""People's own sequences, from .npz, .npy, .csv or .parquet files.

How an array is read follows from its rank and from what is saved beside it:

    x [N, T, D], x [N, T]                   N sequences of T steps, of D numbers or of one number per step
    x [N, T, D], x [N, T] and lengths [N]   the same, padded on the right
    x [R, D], x [R] and lengths [N]         lengths that sum to R: the sequences' rows one after the other
    x [R, D], x [R] and a name per row [R]  flat rows; those of one name are one sequence, in the file's order
    .csv, .parquet                          flat rows; without a column of names the file is one sequence

An array [T, D] that is one long sequence must be saved as [1, T, D].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...files.reading import listed
from ...files.rows import Layout, Rows
from ...files.sequences import feature_names, read
from ...observations import DataDescription, ObservationSpec, TableFormat, check_kind, check_values, with_gaps
from ..declared import Declared
from ..memory import Given, Sequences
from ..module import DataModule
from ..splits import Split, check_random_split, cut


@dataclass(frozen=True)
class Arrays(DataModule):
    """Sequences of real, binary or categorical observations, of fixed or ragged length, with or without gaps.

    A split without a file of its own is split off `path` by whole sequences, at random.
    """

    name: ClassVar[str] = "arrays"

    path: str = ""
    """file of sequences, .npz, .npy, .csv or .parquet: the training split, and whatever has no file of its own"""

    valid_path: str | None = None
    """file of the validation split; without it the split is taken from data.path"""

    test_path: str | None = None
    """file of the test split; without it the split is taken from data.path"""

    valid_fraction: float = 0.1
    """share of data.path's sequences to validate on, where there is no data.valid_path; one sequence at least"""

    test_fraction: float = 0.1
    """share of data.path's sequences to test on, where there is no data.test_path; one sequence at least"""

    split_seed: int = 0
    """which sequences of data.path are validated and tested on; the test split depends on nothing else but its share"""

    kind: Literal["real", "binary", "categorical"] = "real"
    """what a step holds: real (numbers), binary (0 or 1) or categorical (one integer from 0)"""

    categories: int | None = None
    """how many categories there are; without it, the largest in the training split plus 1 (numbered from 0)"""

    array: str = "x"
    """.npz: array of the observations, [N, T, D], [N, T], or flat rows [R, D] or [R]"""

    lengths: str = "lengths"
    """.npz: array of the sequences' lengths in steps, used if it is there and data.sequence isn't set"""

    observed: str = "observed"
    """.npz: bool array like the observations, False where one is missing, used if it is there"""

    sequence: str | None = None
    """.npz array, .csv or .parquet column with the name of each row's sequence (its rows may stand anywhere)"""

    columns: list[str] | None = None
    """.csv, .parquet: columns of the features; without it, all but data.sequence"""

    missing: Literal["refuse", "allow"] = "refuse"
    """whether NaN (an empty .csv cell, a .parquet null) means a missing value, or a mistake"""

    normalize: bool = True
    """real data: subtract the training split's mean and divide by its standard deviation, per feature"""

    first_observation: Literal["scored", "conditioned"] = "scored"
    """whether a sequence's first observation counts in the likelihood, or is only conditioned on"""

    def __post_init__(self) -> None:
        self._declared.check("data.")
        if self.missing not in ("refuse", "allow"):
            raise UserError(f"data.missing is {self.missing!r}; it must be refuse or allow")
        if self.sequence is not None and self.lengths != Layout.lengths:
            raise UserError(f"data.sequence {self.sequence} needs no data.lengths {self.lengths}; leave one out")
        check_random_split(
            valid_fraction=self.valid_fraction,
            test_fraction=self.test_fraction,
            split_seed=self.split_seed,
            used=self._shares.keys(),
        )

    def describe(self) -> DataDescription:
        """What an observation is, how it is scaled and how long sequences are, from the training split."""
        return self._declared.describe(self._take(self._file("train"), "train"), "arrays")

    def load(self, split: Split, description: DataDescription) -> Sequences:
        """One split. All of the file that it is in must fit the description, so that a test set fails early."""
        self._check_settings(description.spec)
        file = self._file(split)
        check_values(file, description.spec)
        return Sequences.of_rows(self._take(file, split), Given(description))

    @property
    def _declared(self) -> Declared:
        missing = True if self.missing == "allow" else None
        files = TableFormat(None, self.sequence, self.array, self.lengths, self.observed)
        return Declared(self.kind, self.categories, self.normalize, self.first_observation, missing, files)

    @property
    def _shares(self) -> dict[Split, float]:
        """Of `path`'s sequences, for the splits without a file of their own."""
        shares: dict[Split, float] = {}
        if self.test_path is None:
            shares["test"] = self.test_fraction
        if self.valid_path is None:
            shares["valid"] = self.valid_fraction
        return shares

    @property
    def _layout(self) -> Layout:
        columns = None if self.columns is None else tuple(self.columns)
        return Layout(self.array, self.lengths, self.observed, self.sequence, columns)

    @cached_property
    def _shared(self) -> Rows:
        """The file of `path`, kept: up to three splits are read from it."""
        return self._read(self.path, "data.path")

    def _file(self, split: Split) -> Rows:
        """All sequences of the file that holds a split."""
        own = {"train": None, "valid": self.valid_path, "test": self.test_path}[split]
        if own is None:
            return self._shared
        rows = self._read(own, f"data.{split}_path")
        if rows.columns is not None and self.columns is None:
            self._check_names(rows.columns, rows.source)
        return rows

    def _check_names(self, names: tuple[str, ...], source: str) -> None:
        """The same columns in another order would pass for the same features."""
        trained_on = feature_names(self.path, self._layout, setting="data.path")
        if trained_on is not None and names != trained_on:
            raise UserError(
                f"{source}: its features are {listed(names)}, those of data.path {listed(trained_on)}; name those to "
                f"use in data.columns"
            )

    def _read(self, path: str, setting: str) -> Rows:
        rows = read(path, self._layout, setting=setting)
        self._declared.check_steps(rows)
        known = with_gaps(rows, allowed=self.missing == "allow")
        check_kind(known, self.kind)
        return known

    def _take(self, file: Rows, split: Split) -> Rows:
        """The sequences of a split, from all those of its file."""
        if split != "train" and split not in self._shares:
            return file
        members = self._members(len(file.lengths), file.source)[split]
        return file.take(np.isin(np.arange(len(file.lengths)), members))

    def _members(self, sequences: int, source: str) -> dict[Split, NDArray[np.int64]]:
        """For each split that is taken from `path`, the numbers of its sequences."""
        if sequences < 1 + len(self._shares):
            raise UserError(
                f"{source}: holds {sequences} sequence(s), too few for train, {' and '.join(self._shares)}; name the "
                f"sequence of each row in data.sequence, or give the splits files of their own, "
                f"{' and '.join(f'data.{s}_path' for s in self._shares)}"
            )
        lower = " or ".join(f"data.{s}_fraction" for s in self._shares)
        return cut(sequences, self._shares, seed=self.split_seed, what=f"{source}: sequences", remedy=f"lower {lower}")

    def _check_settings(self, spec: ObservationSpec) -> None:
        """The settings must ask for what the model was trained on."""
        settings: list[tuple[str, str, str]] = [
            ("kind", self.kind, spec.kind),
            ("first_observation", self.first_observation, spec.first_observation),
        ]
        if self.categories is not None:
            settings.append(("categories", str(self.categories), str(spec.size)))
        for field, given, trained in settings:
            if given != trained:
                raise UserError(f"data.{field} is {given}, but the model was trained with {trained}: set it so")
