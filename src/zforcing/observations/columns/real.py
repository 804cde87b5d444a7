"""Columns of real numbers: standardized, with a Gaussian or a mixture of Gaussians."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from torch import Tensor
from torch.distributions import Distribution

from ...distributions import GaussianScalar
from ...files.reading import Array
from .base import Column, DensitySettings, Known, Refusal


@dataclass(frozen=True)
class RealColumn(Column):
    """N(x; mean, std^2), or a mixture of `components` of them, of the standardized number."""

    name: ClassVar[str] = "real"
    scaled: ClassVar[bool] = True
    mixes: ClassVar[bool] = True

    @classmethod
    def refused(cls, values: Array) -> Refusal:
        return Refusal(np.zeros(values.shape, dtype=bool), "")

    @classmethod
    def fit(cls, known: Known) -> Self:
        return cls()

    def num_parameters(self, settings: DensitySettings) -> int:
        return GaussianScalar(settings.components, settings.min_std).size

    def density(self, parameters: Tensor, settings: DensitySettings) -> Distribution:
        return GaussianScalar(settings.components, settings.min_std)(parameters)
