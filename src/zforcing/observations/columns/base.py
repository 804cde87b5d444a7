"""What a kind of column is: which values it may have, how a model reads them, and which density they get."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from ...files.reading import Array


class DensitySettings(Protocol):
    """The settings of emissions that columns read (`zforcing.emissions.EmissionSettings`)."""

    @property
    def components(self) -> int:
        """k of mixtures."""

    @property
    def min_std(self) -> float:
        """The smallest standard deviation, in units of the normalized data."""

    @property
    def logit_clamp(self) -> float | None:
        """The largest logit of a 0/1 column."""


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of a column before a kind is fitted to it.

    values: [n], observed ones of the training split; labels: what the codes 0, 1, ... stand for, of text; size: how
    many categories the user declared.
    """

    values: Array
    labels: tuple[str, ...] | None = None
    size: int | None = None


@dataclass(frozen=True, eq=False)
class Refusal:
    """Values that a column can't have. wrong: bool, like the values; why: a message's end, what to do."""

    wrong: NDArray[np.bool_]
    why: str


class Column(ABC):
    """A kind of column of `mixed` observations; a frozen dataclass, whose fields are what was fitted to the data.

    x is one number of an observation as models read it: in the user's units, but for columns that are `scaled`. A new
    kind is one file: a subclass with a `name`, registered by `zforcing.register` (docs/columns.md shows one).

    Attributes:
        name: the name in `kinds` and in saved files.
        scaled: whether x is (raw - mean) / std with the training split's mean and standard deviation.
        discrete: whether p(x) is a probability, and no density.
        ordered: whether a distance between two values means something.
        mixes: whether the density can be a mixture (`components`).
        takes_labels: whether cells may hold text, as names of categories.
        takes_size: whether the user may declare how many values there are, as in `category(5)`.
        num_read: R, how many numbers models read of x.
    """

    name: ClassVar[str]
    scaled: ClassVar[bool] = False
    discrete: ClassVar[bool] = False
    ordered: ClassVar[bool] = True
    mixes: ClassVar[bool] = False
    takes_labels: ClassVar[bool] = False
    takes_size: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def refused(cls, values: Array) -> Refusal:
        """The values [...], in the user's units, that no column of this kind has."""

    @classmethod
    @abstractmethod
    def fit(cls, known: Known) -> Self:
        """The column of a training split, none of whose values is refused; there is one at least."""

    def unfit(self, values: Array) -> Refusal | None:
        """The values [...] that a model of this column can't read, though its kind has them; None: there are none."""
        return None

    @property
    def num_read(self) -> int:
        """How many numbers `read` gives of x."""
        return 1

    def read(self, x: Tensor) -> Tensor:
        """What a model reads of x, [...] -> [..., R]: finite, also where x is 0 because nothing is there."""
        return x[..., None]

    @abstractmethod
    def num_parameters(self, settings: DensitySettings) -> int:
        """P, the parameters of `density`."""

    @abstractmethod
    def density(self, parameters: Tensor, settings: DensitySettings) -> Distribution:
        """The distribution of x, batch [...], event [], from the outputs of a linear layer.

        Args:
            parameters: [..., P], in float32 or better. At 0 they say what the training split says on average.
            settings: those of the emission.

        Returns:
            A distribution whose log_prob is finite and has finite gradients, or is -inf with gradient 0, also at 0.
        """

    def cell(self, value: float) -> str:
        """A value in the user's units as a cell of a table."""
        return str(value)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, the name first."""
        values: dict[str, Any] = asdict(self)  # type: ignore[call-overload]  # subclasses are dataclasses
        return {"name": self.name} | values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_json`, from the values without the name."""
        return cls(**values)


def labels_of(column: Column) -> tuple[str, ...] | None:
    """What the codes 0, 1, ... of a column stand for; None for one of numbers."""
    labels: tuple[str, ...] | None = getattr(column, "labels", None)
    return labels
