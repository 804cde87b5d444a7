"""Columns of 0 and 1, with a Bernoulli variable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor
from torch.distributions import Distribution

from ...distributions import BernoulliScalar
from ...files.reading import Array
from .base import Column, DensitySettings, Known, Refusal


@dataclass(frozen=True)
class BinaryColumn(Column):
    """P(1) = sigmoid(logit)."""

    name: ClassVar[str] = "binary"
    discrete: ClassVar[bool] = True
    ordered: ClassVar[bool] = False

    @classmethod
    def refused(cls, values: Array) -> Refusal:
        return Refusal((values != 0) & (values != 1), "a binary column is 0 or 1: correct the data, or its kind")

    @classmethod
    def fit(cls, known: Known) -> Self:
        return cls()

    def num_parameters(self, settings: DensitySettings) -> int:
        return BernoulliScalar.size

    def density(self, parameters: Tensor, settings: DensitySettings) -> Distribution:
        return BernoulliScalar(settings.logit_clamp)(parameters)

    def cell(self, value: float) -> str:
        return str(int(value))
