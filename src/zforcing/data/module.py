"""What every data set is: a description that goes with the model, and splits of sequences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from ..observations import DataDescription, Example
from ..settings import check
from .dataset import SequenceDataset
from .splits import Split


class DataModule(ABC):
    """A data set: a frozen dataclass whose fields are its settings. Adding one is one file and one registry line."""

    name: ClassVar[str]  # as recipes and the command line know it

    def __post_init__(self) -> None:
        """Refuse settings that don't fit their fields. Raises UserError, one line."""
        check(self, "data")

    @classmethod
    def is_like(cls, other: type[DataModule]) -> bool:
        """Whether the two read the same kind of observations from other files: they share a base class."""
        return bool(set(cls.__mro__) & set(other.__mro__) - set(DataModule.__mro__))

    @abstractmethod
    def describe(self) -> DataDescription:
        """What the model keeps; computed from the training split alone."""

    @abstractmethod
    def load(self, split: Split, description: DataDescription) -> SequenceDataset:
        """One split, scaled as `description` (the trained model's, when there is one) says, and which carries it
        (`SequenceDataset.described_as`).

        Raises UserError when the split is empty or doesn't fit the description.
        """

    def true_log_likelihood(self, example: Example) -> float | None:
        """log p(x) of a sequence under the process that made it, nats, for synthetic data; None where nobody knows."""
        return None
