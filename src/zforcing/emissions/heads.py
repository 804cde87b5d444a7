"""Emissions with one linear layer: a Gaussian, a mixture of Gaussians, Bernoulli variables, a softmax."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, MixtureSameFamily

from ..distributions import Softmax, at_least_float32, diagonal_gaussian


class Emission(nn.Module, ABC):
    """Base class: a module from features [..., F] to a distribution of one observation."""

    @abstractmethod
    def forward(self, features: Tensor) -> Distribution:
        """Return p(x_t | features), with batch [...] and event [D], or [] for categories."""


class GaussianEmission(Emission):
    """A diagonal Gaussian N(mean, diag(std^2)), std = min_std + exp(log_variance / 2).

    Args:
        features: F.
        size: D.
        min_std: The smallest standard deviation, in units of the normalized data. It bounds the density: the likelihood
            of data with exact repeats (silence, a sensor at its limit) has no maximum without it. 0, as published, by
            default; another value changes likelihoods.
    """

    def __init__(self, features: int, size: int, *, min_std: float = 0.0):
        super().__init__()
        self.linear = nn.Linear(features, 2 * size)
        self.min_std = min_std

    def forward(self, features: Tensor) -> Distribution:
        """Return p(x_t | features), batch [...], event [D]."""
        mean, log_variance = self.linear(features).chunk(2, dim=-1)
        return diagonal_gaussian(mean, log_variance, min_std=self.min_std)


class GaussianMixtureEmission(Emission):
    """A mixture of k diagonal Gaussians over vectors, sum_i w_i N(mean_i, diag(std_i^2)).

    w = softmax(logits), std = min_std + exp(log_variance / 2). It is the emission of RNN-GMM and VRNN-GMM (J. Chung et
    al., NIPS 2015, arXiv 1506.02216), who use 20 components and std = softplus(.) + 1e-4.

    Args:
        features: F.
        size: D.
        components: k.
        min_std: As for `GaussianEmission`.
    """

    def __init__(self, features: int, size: int, *, components: int, min_std: float = 0.0):
        super().__init__()
        self.size, self.components, self.min_std = size, components, min_std
        self.linear = nn.Linear(features, components * (1 + 2 * size))

    def forward(self, features: Tensor) -> Distribution:
        """Return p(x_t | features), batch [...], event [D]."""
        k, D = self.components, self.size
        logits, mean, log_variance = at_least_float32(self.linear(features)).split([k, k * D, k * D], dim=-1)
        each = diagonal_gaussian(mean.unflatten(-1, (k, D)), log_variance.unflatten(-1, (k, D)), min_std=self.min_std)
        return MixtureSameFamily(Categorical(logits=logits, validate_args=False), each, validate_args=False)


class BernoulliEmission(Emission):
    """D independent Bernoulli variables.

    Args:
        features: F.
        size: D.
        logit_clamp: Clamp the logits to plus or minus this, as the Z-Forcing authors' Theano code does on MNIST (8: at
            least 3.35e-4 nats per pixel); None doesn't clamp.
    """

    def __init__(self, features: int, size: int, *, logit_clamp: float | None = None):
        super().__init__()
        self.linear = nn.Linear(features, size)
        self.logit_clamp = logit_clamp

    def forward(self, features: Tensor) -> Distribution:
        """Return p(x_t | features), batch [...], event [D]."""
        logits = at_least_float32(self.linear(features))
        if self.logit_clamp is not None:
            logits = logits.clamp(-self.logit_clamp, self.logit_clamp)
        return Independent(Bernoulli(logits=logits, validate_args=False), 1, validate_args=False)


class CategoricalEmission(Emission):
    """A softmax over the categories 0..size-1. The start symbol isn't one of them and is never emitted."""

    def __init__(self, features: int, size: int):
        super().__init__()
        self.linear = nn.Linear(features, size)

    def forward(self, features: Tensor) -> Categorical:
        """Return p(x_t | features), batch [...], event []."""
        return Softmax(at_least_float32(self.linear(features)))
