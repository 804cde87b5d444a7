"""Columns of counts, 0, 1, 2, ...: the logarithm of 1 + x is read, and the density is a negative binomial."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, NegativeBinomial

from ...files.reading import Array
from ..checks import must_be_finite
from .base import Column, DensitySettings, Known, Refusal

LARGEST = 2**24  # whole numbers up to here are exact in float32
LOG_DISPERSION = (
    15.0  # beyond e^15 it is a Poisson in all digits; below e^-15 the mean needs counts that no float holds
)


class DoubleNegativeBinomial(NegativeBinomial):
    """torch's negative binomial, of parameters and counts in float64: the gamma functions of large counts cancel."""

    def log_prob(self, value: Tensor) -> Tensor:
        log_p: Tensor = super().log_prob(value.double())  # type: ignore[no-untyped-call]  # torch's is
        return log_p


@dataclass(frozen=True)
class CountColumn(Column):
    """P(x) = Γ(r + x) / (Γ(r) x!) (r / (r + m))^r (m / (r + m))^x, with mean m and variance m + m^2 / r.

    m = mean e^a and r = e^b of the parameters a and b.

    mean: of the training split's counts; center, spread: mean and standard deviation of its log(1 + x).
    """

    name: ClassVar[str] = "count"
    discrete: ClassVar[bool] = True

    mean: float
    center: float
    spread: float

    def __post_init__(self) -> None:
        must_be_finite(self.center, "columns.center")
        must_be_finite(self.mean, "columns.mean", above=0)
        must_be_finite(self.spread, "columns.spread", above=0)

    @classmethod
    def refused(cls, values: Array) -> Refusal:
        wrong = (values < 0) | (values != np.floor(values)) | (values > LARGEST)
        return Refusal(wrong, f"a count is a whole number, 0..{LARGEST}: correct the data, or declare the column real")

    @classmethod
    def fit(cls, known: Known) -> Self:
        counts = known.values.astype(np.float64)
        logarithm = np.log1p(counts)
        constant = logarithm.min() == logarithm.max()
        mean = max(float(counts.mean()), 1 / (1 + len(counts)))  # of zeros too
        return cls(mean, float(logarithm.mean()), 1.0 if constant else float(logarithm.std()))

    def read(self, x: Tensor) -> Tensor:
        return ((torch.log1p(x.clamp(min=0)) - self.center) / self.spread)[..., None]

    def num_parameters(self, settings: DensitySettings) -> int:
        return 2

    def density(self, parameters: Tensor, settings: DensitySettings) -> Distribution:
        log_ratio, log_r = parameters.double().unbind(-1)
        log_r = log_r.clamp(-LOG_DISPERSION, LOG_DISPERSION)
        logits = math.log(self.mean) + log_ratio - log_r  # m / r = p / (1 - p)
        return DoubleNegativeBinomial(torch.exp(log_r), logits=logits, validate_args=False)

    def cell(self, value: float) -> str:
        return str(int(value))
