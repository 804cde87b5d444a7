"""`DataModule`: the base class of the data sets that recipes and commands know by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from ..observations import DataDescription, Example
from ..settings import check
from .dataset import SequenceDataset
from .splits import Split


class DataModule(ABC):
    """A data set with splits: a frozen dataclass whose fields are its settings.

    A subclass defines `name`, `describe` and `load`, and is registered by `zforcing.register`.

    Attributes:
        name: what recipes and the command line call it.
        paper: what to cite, as `DensityModel.paper` has it; "" where there is nothing.
        paths: the names of the settings that hold paths; a run keeps relative ones relative to itself.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    paths: ClassVar[tuple[str, ...]] = ("path", "valid_path", "test_path", "root")

    def __post_init__(self) -> None:
        """Refuse settings that don't fit their fields. Raises UserError, one line."""
        check(self, "data")

    @classmethod
    def is_like(cls, other: type[DataModule]) -> bool:
        """Whether another class reads the same kind of observations: the two share a base class."""
        return bool(set(cls.__mro__) & set(other.__mro__) - set(DataModule.__mro__))

    @abstractmethod
    def describe(self) -> DataDescription:
        """Describe the data for a model to keep, from the training split only.

        Returns:
            Kind and size of an observation, normalization, longest sequence and format.

        Raises:
            UserError: the data can't be found or read, or a setting doesn't fit it.
        """

    @abstractmethod
    def load(self, split: Split, description: DataDescription) -> SequenceDataset:
        """Load a split.

        Args:
            split: "train", "valid" or "test".
            description: how to normalize it: a trained model's, or what `describe` returns.

        Returns:
            The sequences, with this description (`SequenceDataset.described_as`).

        Raises:
            UserError: the split is empty or doesn't fit the description.
        """

    def suspicions(self) -> list[str]:
        """What looks wrong with the files and the settings, each in one line that says what to do; read without them.

        What looks wrong with the numbers is found by `zforcing.data.suspicious`, whatever the data set.
        """
        return []

    def true_log_likelihood(self, example: Example) -> float | None:
        """log p(x) of a sequence, in nats, under the process that generated it; None where that is unknown."""
        return None
