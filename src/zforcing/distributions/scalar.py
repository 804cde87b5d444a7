"""Families of distributions of a single number, from the outputs of a head for it.

Each maps parameters [..., P] to a distribution with batch [...] and event []; `size` is P.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, MixtureSameFamily, Normal

from .gaussian import at_least_float32
from .logistic import DiscretizedLogisticMixture


@dataclass(frozen=True)
class GaussianScalar:
    """N(mean, std^2), std = min_std + exp(log_variance / 2), or a mixture of k with weights softmax(logits)."""

    components: int = 1
    min_std: float = 0.0

    @property
    def size(self) -> int:
        """P: mean and log-variance of each component, and its logit if there are several."""
        return 2 if self.components == 1 else 3 * self.components

    def __call__(self, parameters: Tensor) -> Distribution:
        """Return the distribution of parameters [..., P], batch [...]."""
        parameters = at_least_float32(parameters)
        if self.components == 1:
            mean, log_variance = parameters.unbind(-1)
            return self._normal(mean, log_variance)
        logits, mean, log_variance = parameters.chunk(3, dim=-1)
        weights = Categorical(logits=logits, validate_args=False)
        return MixtureSameFamily(weights, self._normal(mean, log_variance), validate_args=False)

    def _normal(self, mean: Tensor, log_variance: Tensor) -> Normal:
        std = torch.exp(0.5 * log_variance)
        return Normal(mean, std + self.min_std if self.min_std else std, validate_args=False)


@dataclass(frozen=True)
class LogisticScalar:
    """A discretized mixture of k logistics over `levels` levels. Scales are at least `min_scale` level steps."""

    levels: int
    components: int = 1
    min_scale: float = 0.1

    @property
    def size(self) -> int:
        """P: logit, mean and log-scale of each component."""
        return 3 * self.components

    def __call__(self, parameters: Tensor) -> Distribution:
        """Return the distribution of parameters [..., P], batch [...]."""
        logits, mean, log_scale = at_least_float32(parameters).chunk(3, dim=-1)
        least = math.log(self.min_scale * 2 / (self.levels - 1))
        return DiscretizedLogisticMixture(logits, mean, log_scale.clamp(min=least), levels=self.levels)

    def first_parameters(self) -> Tensor:
        """Initial values [P] of a head: equal weights, means spread over [-0.5, 0.5], scales of a tenth."""
        k = self.components
        means = torch.linspace(-0.5, 0.5, k) if k > 1 else torch.zeros(1)
        return torch.cat([torch.zeros(k), means, torch.full((k,), -2.3)])


@dataclass(frozen=True)
class BernoulliScalar:
    """1 with probability sigmoid(logit), the logit clamped to [-logit_clamp, logit_clamp] unless that is None."""

    logit_clamp: float | None = None
    size = 1

    def __call__(self, parameters: Tensor) -> Distribution:
        """Return the distribution of parameters [..., 1], batch [...]."""
        logits = at_least_float32(parameters[..., 0])
        if self.logit_clamp is not None:
            logits = logits.clamp(-self.logit_clamp, self.logit_clamp)
        return Bernoulli(logits=logits, validate_args=False)
