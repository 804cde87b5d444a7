"""`SequenceDataset`: a split of sequences, as every model reads it."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ..errors import UserError
from ..files.rows import TimeColumn
from ..models import DensityModel
from ..observations import DataDescription, Example, ObservationSpec
from .fingerprint import Fingerprint


class SequenceDataset(Dataset[Example], ABC):
    """A split of N sequences: a `torch.utils.data.Dataset` of `Example`s.

    Attributes:
        lengths: [N] int64, steps of each sequence, the first one included; known without reading a sequence.
        description: how the examples were read (kind, size, normalization), or None.
        skipped: how many files were left out because they couldn't be read.
        unknown: of text, how many symbols aren't in the vocabulary; None for other data.
        remark: what else a reader should know, such as what was left out; may be empty.
        time_column: when the steps were, for tables of results; None where nothing ordered them.

    Example:
        class Walks(SequenceDataset):
            lengths = np.full(100, 20)

            def __getitem__(self, index):
                noise = np.random.default_rng(index).standard_normal((20, 1))
                return Example(noise.cumsum(axis=0).astype(np.float32))
    """

    lengths: NDArray[np.int64]
    description: DataDescription | None = None
    skipped: int = 0
    unknown: int | None = None
    remark: str = ""
    time_column: TimeColumn | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    @abstractmethod
    def __getitem__(self, index: int) -> Example:
        """The sequence with this number, 0..N-1."""

    def piece(self, index: int, start: int, stop: int) -> Example:
        """Return steps start..stop-1 of a sequence; override it where that reads less than the whole sequence.

        Args:
            index: number of the sequence.
            start: first step, 0 or more.
            stop: step after the last, more than `start` and at most the sequence's length.
        """
        return self[index].cut(start, stop)

    def at_epoch(self, epoch: int) -> SequenceDataset:
        """Return the data set of a training epoch: itself, unless its sequences are drawn anew each epoch.

        Args:
            epoch: counted from 0.

        Returns:
            As many sequences, as long as in epoch 0, a pure function of the epoch: a run can resume anywhere.
        """
        return self

    def described_as(self, description: DataDescription) -> Self:
        """Return the same sequences as a model of that description reads them.

        Sequences that are read from files are normalized as they are loaded: `DataModule.load(split, description)`.

        Args:
            description: the model's.

        Returns:
            The data set with this description.

        Raises:
            UserError: the examples were read by another description.
        """
        known = self.description
        if known == description:
            return self
        if known is not None and replace(known, name=description.name, longest=description.longest) != description:
            raise UserError(
                f"these sequences of data {known.name} were read as {known.spec}, {known.normalization}, but the model "
                f"was trained on {description.spec}, {description.normalization}; load them by the model's "
                f"description: data.load(split, model.description)"
            )
        other = copy.copy(self)
        other.description = description
        return other

    def fingerprint(self) -> str:
        """Return 12 hexadecimal digits, equal for equal numbers in the same order and units; reads every sequence.

        The units are those of the examples: data normalized in another way has another fingerprint.
        """
        return Fingerprint(self.lengths).digits(self.__getitem__)


class InMemory(SequenceDataset):
    """A data set of `Example`s in memory. ids: [N] of the sequences, such as the names of their files; or numbers."""

    def __init__(
        self, examples: Sequence[Example], ids: Sequence[Any] | None = None, *, time_column: TimeColumn | None = None
    ):
        self.examples, self.time_column = list(examples), time_column
        self.ids = list(range(len(self.examples)) if ids is None else ids)
        self.lengths = np.array([len(e.x) for e in self.examples], dtype=np.int64)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]


def check_dataset(data: Any, name: str) -> None:
    """Raise UserError about what isn't a `SequenceDataset`; the message says how to make one."""
    if isinstance(data, SequenceDataset):
        return
    what = type(data).__name__
    if hasattr(data, "describe") and callable(getattr(data, "load", None)):  # of a data frame it may be a column
        remedy = f"{what}.load(split, description) gives the sequences of a split"
    elif hasattr(data, "dataset") and hasattr(data, "indices"):
        remedy = "split Sequences by their own split(), or take some of them by data[indices]"
    elif isinstance(data, Dataset):
        remedy = "Sequences.from_dataset reads a data set of torch's"
    elif hasattr(data, "columns"):
        remedy = "Sequences.from_frame reads data frames"
    else:
        remedy = "Sequences(x) takes a list of arrays [T, D]"
    raise UserError(f"{name} is a {what}; it must be Sequences, or another SequenceDataset: {remedy}")


def description_for(spec: ObservationSpec, data: SequenceDataset) -> DataDescription | None:
    """How a model that has no description yet reads data: as the data itself says, but with the model's own spec, which
    `described_as` refuses where it doesn't fit. None where the data says nothing.
    """
    known = data.description
    return known if known is None or known.spec == spec else replace(known, spec=spec)


def description_of(model: DensityModel, data: SequenceDataset) -> DataDescription:
    """How a model reads data: by its own description, else as `description_for` says, else without normalization."""
    known = model.description or description_for(model.spec, data)
    return known or DataDescription("data", model.spec, longest=int(data.lengths.max()))
