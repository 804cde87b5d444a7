"""Columns of positive numbers: the logarithm is read, and has a Gaussian or a mixture of Gaussians.

Log-normal, not gamma: durations, amounts and energies are spread over orders of magnitude, on which a gamma's variance
(mean^2 / shape) and its tail e^-x are too narrow; mean and variance of the logarithm are two numbers a linear layer can
say, and a mixture in the logarithm approximates any positive density, a gamma too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, LogNormal, MixtureSameFamily, Normal

from ...distributions import GaussianScalar
from ...files.reading import Array
from ..checks import must_be_finite
from .base import Column, DensitySettings, Known, Refusal


class PositiveNormal(LogNormal):
    """torch's log-normal, which also says at 0 and below that nothing is there: log p is -inf, its gradient 0."""

    def log_prob(self, value: Tensor) -> Tensor:
        inside = value > 0
        log_p: Tensor = super().log_prob(torch.where(inside, value, 1.0))  # type: ignore[no-untyped-call]  # torch's is
        return torch.where(inside, log_p, -torch.inf)


@dataclass(frozen=True)
class PositiveColumn(Column):
    """log x = center + spread y with y ~ N(mean, std^2), or a mixture:  log p(x) = log N(y) - log spread - log x.

    center, spread: mean and standard deviation of the training split's log x.
    """

    name: ClassVar[str] = "positive"
    mixes: ClassVar[bool] = True

    center: float
    spread: float

    def __post_init__(self) -> None:
        must_be_finite(self.center, "columns.center")
        must_be_finite(self.spread, "columns.spread", above=0)

    @classmethod
    def refused(cls, values: Array) -> Refusal:
        return Refusal(~(values > 0), "positive numbers are above 0: correct the data, or declare the column real")

    @classmethod
    def fit(cls, known: Known) -> Self:
        logarithm = np.log(known.values.astype(np.float64))
        constant = logarithm.min() == logarithm.max()
        return cls(float(logarithm.mean()), 1.0 if constant else float(logarithm.std()))

    def unfit(self, values: Array) -> Refusal:
        lost = values.astype(np.float32) == 0
        return Refusal(lost, "it is so small that float32 holds 0: multiply the column, or declare it real")

    def read(self, x: Tensor) -> Tensor:
        inside = x > 0
        standardized = (torch.log(torch.where(inside, x, 1.0)) - self.center) / self.spread
        return torch.where(inside, standardized, 0.0)[..., None]

    def num_parameters(self, settings: DensitySettings) -> int:
        return GaussianScalar(settings.components, settings.min_std).size

    def density(self, parameters: Tensor, settings: DensitySettings) -> Distribution:
        standardized = GaussianScalar(settings.components, settings.min_std)(parameters)
        if isinstance(standardized, MixtureSameFamily):
            weights = Categorical(logits=standardized.mixture_distribution.logits, validate_args=False)
            each = self._of_logarithm(standardized.component_distribution)
            return MixtureSameFamily(weights, each, validate_args=False)
        return self._of_logarithm(standardized)

    def _of_logarithm(self, y: Any) -> Distribution:
        """The density of x, from that of the standardized logarithm."""
        assert isinstance(y, Normal), "a Gaussian, or several"
        return PositiveNormal(self.center + self.spread * y.loc, self.spread * y.scale, validate_args=False)
