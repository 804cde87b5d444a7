"""What every data set is: a description that goes with the model, and splits of sequences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UserError
from ..sequences import ObservationSpec, SequenceBatch, missing_mark

Split = Literal["train", "valid", "test"]
Array = NDArray[Any]


@dataclass(frozen=True)
class Normalization:
    """x = (raw - mean) / std, per feature, with the mean and the standard deviation of the training split.

    log p(raw) = log p(x) - sum over the scored numbers of ln std.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(cls, rows: Array) -> Normalization:
        """From the training split's rows [N, D], NaN where nothing is observed. A constant feature keeps std 1."""
        mean = np.asarray(np.nanmean(rows, axis=0, dtype=np.float64))
        std = np.asarray(np.nanstd(rows, axis=0, dtype=np.float64))
        # By its range: the standard deviation of a constant 0.1 comes out as 1e-15, and its density as e^34.
        constant = (np.nanmin(rows, axis=0) == np.nanmax(rows, axis=0)) | (std == 0)
        return cls(tuple(mean.tolist()), tuple(np.where(constant, 1.0, std).tolist()))

    def apply(self, raw: Array) -> Array:
        """[..., D] in the data's units -> float32 in units of the standard deviation."""
        normalized: Array = ((raw - np.asarray(self.mean)) / np.asarray(self.std)).astype(np.float32)
        return normalized

    def invert(self, x: Array) -> Array:
        """[..., D] in units of the standard deviation -> the data's units."""
        raw: Array = x * np.asarray(self.std) + np.asarray(self.mean)
        return raw


@dataclass(frozen=True)
class DataDescription:
    """What a model must keep of the data that it was trained on; written beside its weights.

    name:          the data set's name
    spec:          what an observation is
    normalization: how real observations were scaled, or None
    image_shape:   (height, width) when a sequence is an image read pixel by pixel or row by row, or None
    longest:       the most scored steps in a training sequence: how long samples are unless told otherwise
    """

    name: str
    spec: ObservationSpec
    longest: int
    normalization: Normalization | None = None
    image_shape: tuple[int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> DataDescription:
        """The inverse of `to_json`."""
        scaling, shape = values["normalization"], values["image_shape"]
        return cls(
            name=values["name"],
            spec=ObservationSpec(**values["spec"]),
            longest=values["longest"],
            normalization=scaling and Normalization(tuple(scaling["mean"]), tuple(scaling["std"])),
            image_shape=shape and (shape[0], shape[1]),
        )


@dataclass(frozen=True)
class Example:
    """One sequence: x [T, D] float32 (normalized), or [T] int64; observed like x, bool, or None when all of it is."""

    x: Array
    observed: Array | None = None


class SequenceDataset(ABC):
    """One split. `lengths` [N] (steps, the first one included) is known without reading a sequence."""

    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)

    @abstractmethod
    def __getitem__(self, index: int) -> Example:
        """The sequence with this number."""


class InMemory(SequenceDataset):
    """Sequences that fit in memory."""

    def __init__(self, examples: Sequence[Example]):
        self.examples = list(examples)
        self.lengths = np.array([len(e.x) for e in self.examples], dtype=np.int64)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]


class DataModule(ABC):
    """A data set: a frozen dataclass whose fields are its settings. Adding one is one file and one registry line."""

    @abstractmethod
    def describe(self) -> DataDescription:
        """What the model keeps; computed from the training split alone."""

    @abstractmethod
    def load(self, split: Split, description: DataDescription) -> SequenceDataset:
        """One split, scaled as `description` (the trained model's, when there is one) says.

        Raises UserError when the split is empty or doesn't fit the description.
        """

    def true_log_likelihood(self, example: Example) -> float | None:
        """log p(x) of a sequence under the process that made it, nats, for synthetic data; None where nobody knows."""
        return None


def collate(examples: Sequence[Example], spec: ObservationSpec) -> SequenceBatch:
    """Pad B sequences on the right with zeros; move the first observation into `start` where it is conditioned on."""
    first = 1 if spec.conditions_on_first else 0
    lengths = torch.tensor([len(e.x) - first for e in examples], dtype=torch.int64)
    if int(lengths.min()) < 1:
        raise UserError(f"a sequence of {first} steps has nothing to score: every sequence needs {first + 1} or more")
    steps = int(lengths.max())

    def pad(values: Sequence[Array]) -> torch.Tensor:
        out = torch.zeros(len(values), steps, *values[0].shape[1:], dtype=torch.from_numpy(values[0][:0]).dtype)
        for row, value in zip(out, values, strict=True):
            row[: len(value) - first] = torch.from_numpy(value[first:])
        return out

    x = pad([e.x for e in examples])
    missing = any(e.observed is not None for e in examples)
    seen = [np.ones(e.x.shape, dtype=bool) if e.observed is None else e.observed for e in examples] if missing else None
    if first:
        start = torch.stack([torch.as_tensor(e.x[0]) for e in examples])
        if seen is not None:
            known = torch.stack([torch.as_tensor(s[0]) for s in seen])
            start = torch.where(known, start, torch.full_like(start, missing_mark(start)))
    else:
        start = spec.blank(len(examples), device=x.device, dtype=x.dtype)
    batch = SequenceBatch(x, lengths, start, None if seen is None else pad(seen))
    return batch.sanitized() if missing else batch
