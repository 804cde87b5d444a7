"""The emission of mixed observations, whose columns are independent given the features."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import ColumnProduct, Factor, at_least_float32
from ..observations import Column, neighbours
from .heads import Emission
from .settings import EmissionSettings


def factors_of(columns: Sequence[Column], settings: EmissionSettings) -> list[Factor]:
    """The densities of columns in their order, those of equal neighbours together."""
    return [
        Factor(count, column.num_parameters(settings), partial(column.density, settings=settings))
        for column, count in neighbours(columns)
    ]


class MixedEmission(Emission):
    """The product of each column's own density.

    Args:
        features: F.
        columns: D of them.
        settings: Those that columns read.
    """

    def __init__(self, features: int, columns: Sequence[Column], settings: EmissionSettings):
        super().__init__()
        self.factors = factors_of(columns, settings)
        self.linear = nn.Linear(features, sum(factor.columns * factor.size for factor in self.factors))

    def forward(self, features: Tensor) -> Distribution:
        """Return p(x_t | features), batch [...], event [D]."""
        return ColumnProduct(at_least_float32(self.linear(features)), self.factors)
