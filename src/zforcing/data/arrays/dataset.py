"""Sequences in the user's own files: what arrays and tables share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...files.rows import Rows
from ...observations import (
    DataDescription,
    ObservationSpec,
    TableFormat,
    check_kind,
    check_values,
    with_gaps,
    with_labels_of,
)
from ...settings import Count, Seed
from ..declared import Declared, FixedDescription
from ..divide import Shares, edges_in_time
from ..memory import Sequences
from ..module import DataModule
from ..splits import SPLITS, Index, Split, check_random_split, cut
from ..suspicious import same_file


@dataclass(frozen=True)
class FileDataModule(DataModule):
    """Sequences of real, binary, categorical or mixed observations, of fixed or ragged length, with or without gaps. A
    subclass says of which files.

    A split without a file of its own is split off `path`: by whole sequences, at random, or by time.
    """

    path: str = ""
    """file of sequences: the training split, and whatever has no file of its own"""

    valid_path: str | None = None
    """file of the validation split; without it the split is taken from data.path"""

    test_path: str | None = None
    """file of the test split; without it the split is taken from data.path"""

    valid_fraction: float = 0.1
    """share of data.path's sequences to validate on, where there is no data.valid_path; one sequence at least"""

    test_fraction: float = 0.1
    """share of data.path's sequences to test on, where there is no data.test_path; one sequence at least"""

    split: Literal["sequence", "time"] = "sequence"
    """how data.path is split: by whole sequences, at random; or by time: the first steps of each sequence are trained
    on, the next validated and the last tested on"""

    split_seed: Seed = 0
    """which sequences of data.path are validated and tested on; the test split depends on nothing else but its share"""

    kind: Literal["real", "binary", "categorical", "mixed"] = "real"
    """what a step holds: real (numbers), binary (0 or 1), categorical (one integer from 0) or mixed (of several kinds)
    """

    kinds: Literal["auto"] | dict[str, str] | list[str] | None = None
    """mixed data: real, positive, count, binary or category for each column, as in {pen: binary}, or a list in their
    order; auto, and columns without one: as their numbers in the training split look"""

    categories: Count | None = None
    """how many categories there are; without it, the largest in the training split plus 1 (numbered from 0)"""

    missing: Literal["refuse", "allow"] = "refuse"
    """whether NaN (an empty .csv cell, a .parquet null) means a missing value, or a mistake"""

    normalize: bool = True
    """real data, and inputs: subtract the training split's mean and divide by its standard deviation, per feature"""

    first_observation: Literal["scored", "conditioned"] = "scored"
    """whether a sequence's first observation counts in the likelihood, or is only conditioned on"""

    window: Count | None = None
    """scored steps of the windows that training sequences are cut into, the last one shorter; without it, none are"""

    stride: Count | None = None
    """steps from the start of one such window to that of the next; without it, every step is scored once"""

    evaluation_window: Count | None = None
    """the same as data.window for the validation and test sequences, each window of which is a sequence of its own"""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._declared.check("data.")
        check_random_split(
            valid_fraction=self.valid_fraction,
            test_fraction=self.test_fraction,
            used=self._shares.keys(),
        )
        if self.split == "time" and not self._shares:
            raise UserError(
                "data.split time splits data.path, but both other splits have files of their own: leave data.split "
                "out, or data.valid_path and data.test_path"
            )
        if self.stride is not None and self.window is None:
            raise UserError(f"data.stride is {self.stride}, but there are no windows: set data.window too")

    def describe(self) -> DataDescription:
        """What an observation is, how it is scaled and how long sequences are, from the training split."""
        description = self._declared.describe(self._take(self._file("train"), "train"), self.name)
        longest = description.longest if self.window is None else min(self.window, description.longest)
        return replace(description, longest=longest)

    def load(self, split: Split, description: DataDescription) -> Sequences:
        """One split. All of the file that it is in must fit the description, so that a test set fails early."""
        self._check_settings(description.spec)
        file = with_labels_of(self._file(split, _names_of_categories(description)), description.spec)
        check_values(file, description.spec)
        whole = self._take(file, split)
        remark = file.remark if split == "train" or split not in self._shares else ""  # once for each file
        data = Sequences.of_rows(whole, FixedDescription(description, self._kinds_remark(whole, split)), remark=remark)
        window = self.window if split == "train" else self.evaluation_window
        if window is None:
            return data
        stride = self.stride if split == "train" else None
        return data.windows(window + description.spec.unscored_steps, stride).described_as(description)

    def _kinds_remark(self, rows: Rows, split: Split) -> str:
        """What was recognized of the kinds, once; what looks wrong with real columns is among the suspicions."""
        if split != "train" or self._declared.row_kind != "mixed":
            return ""
        return self._declared.resolved(rows).remark(rows)

    def suspicions(self) -> list[str]:
        own = {"valid": self.valid_path, "test": self.test_path}
        found = [same_file(self.path, path, name=name) for name, path in own.items() if path is not None]
        return [message for message in found if message is not None]

    @property
    @abstractmethod
    def format(self) -> TableFormat:
        """What files a model of this data reads."""

    @abstractmethod
    def read_file(self, path: str, *, setting: str, labelled: tuple[str, ...] = ()) -> Rows:
        """All sequences of a file that `setting` (`data.test_path`) named; the cells of columns that are `labelled` are
        text, also where they look like numbers. Raises UserError where it has none.
        """

    def takes_from_training_file(self, split: Split) -> bool:
        """Whether the split is a part of data.path: if that grows, sequences move between the splits."""
        return split in self._shares

    @property
    def may_miss(self) -> bool:
        """Whether a model has to know missing values, whatever the training split has."""
        return self.missing == "allow"

    @property
    def _declared(self) -> Declared:
        missing = True if self.may_miss else None
        return Declared(
            self.kind, self.categories, self.normalize, self.first_observation, missing, self.format, self.kinds
        )

    @property
    def _shares(self) -> dict[Split, float]:
        """Of `path`'s sequences, for the splits without a file of their own."""
        shares: dict[Split, float] = {}
        if self.test_path is None:
            shares["test"] = self.test_fraction
        if self.valid_path is None:
            shares["valid"] = self.valid_fraction
        return shares

    @cached_property
    def _shared(self) -> Rows:
        """The file of `path`, cached: up to three splits are read from it."""
        return self._read(self.path, "data.path")

    def _file(self, split: Split, labelled: tuple[str, ...] = ()) -> Rows:
        """All sequences of the file that holds a split; see `read_file`."""
        own = {"train": None, "valid": self.valid_path, "test": self.test_path}[split]
        if own is not None:
            return self._read(own, f"data.{split}_path", labelled)
        is_text = all(name in _columns_of_text(self._shared) for name in labelled)
        return self._shared if is_text else self._read(self.path, "data.path", labelled)

    def _read(self, path: str, setting: str, labelled: tuple[str, ...] = ()) -> Rows:
        rows = self.read_file(path, setting=setting, labelled=labelled)
        self._declared.check_steps(rows)
        known = with_gaps(rows, allowed=self.missing == "allow")
        check_kind(known, self._declared.row_kind)
        return known

    def _take(self, file: Rows, split: Split) -> Rows:
        """The sequences of a split, from all those of its file."""
        if split != "train" and split not in self._shares:
            return file
        if self.split == "time":
            return file.between(*self._in_time(file)[split])
        members = self._members(len(file.lengths), file.source)[split]
        return file.take(np.isin(np.arange(len(file.lengths)), members))

    def _in_time(self, file: Rows) -> dict[Split, tuple[Index, Index]]:
        """The first step of each split in each sequence, and the step after its last."""
        shares: Shares = {"train": 1 - sum(self._shares.values())}
        shares |= {split: self._shares[split] for split in SPLITS if split in self._shares}
        return edges_in_time(
            file.lengths,
            shares,
            least=1 + (self.first_observation == "conditioned"),
            name=lambda index: f"{file.source}: {file.sequence(index)}",
            remedy="set data.split to sequence",
        )

    def _members(self, sequences: int, source: str) -> dict[Split, NDArray[np.int64]]:
        """For each split that is taken from `path`, the numbers of its sequences."""
        if sequences < 1 + len(self._shares):
            raise UserError(
                f"{source}: holds {sequences} sequence(s), too few for train, {' and '.join(self._shares)}; name the "
                f"sequence of each row in data.sequence, set data.split time, or give the splits files of their own, "
                f"{' and '.join(f'data.{s}_path' for s in self._shares)}"
            )
        lower = " or ".join(f"data.{s}_fraction" for s in self._shares)
        return cut(sequences, self._shares, seed=self.split_seed, what=f"{source}: sequences", remedy=f"lower {lower}")

    def _check_settings(self, spec: ObservationSpec) -> None:
        """The settings must ask for what the model was trained on."""
        settings: list[tuple[str, str, str]] = [
            ("kind", self._declared.row_kind, spec.kind),
            ("first_observation", self.first_observation, spec.first_observation),
        ]
        if self.categories is not None:
            settings.append(("categories", str(self.categories), str(spec.size)))
        for field, value, trained in settings:
            if value != trained:
                raise UserError(
                    f"data.{field} is {value}, but the model was trained with {trained}: set data.{field} to {trained}"
                )


def _names_of_categories(description: DataDescription) -> tuple[str, ...]:
    """The columns whose cells are names of categories."""
    return description.format.labelled(description.spec) if isinstance(description.format, TableFormat) else ()


def _columns_of_text(rows: Rows) -> list[str]:
    return [name for name, labels in zip(rows.columns or (), rows.labels or (), strict=False) if labels is not None]
