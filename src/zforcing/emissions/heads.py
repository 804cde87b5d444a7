"""The plain heads: a Gaussian, Bernoulli variables, a softmax."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, MixtureSameFamily

from ..distributions import Softmax, at_least_float32, diagonal_gaussian


class Emission(nn.Module, ABC):
    """features [..., F] -> a distribution with batch [...] over observations [D], or over categories []."""

    @abstractmethod
    def forward(self, features: Tensor) -> Distribution:
        """p(x_t | features)."""


class GaussianEmission(Emission):
    """N(mean, diag(std^2)), std = min_std + exp(log_variance / 2); one linear layer gives mean and log-variance.

    `min_std` (in units of the normalized data) bounds the density from above: without it the likelihood of data with
    exact repeats (silence, a sensor at its limit) has no maximum. 0, as published, by default. It changes likelihoods.
    """

    def __init__(self, features: int, size: int, *, min_std: float = 0.0):
        super().__init__()
        self.linear = nn.Linear(features, 2 * size)
        self.min_std = min_std

    def forward(self, features: Tensor) -> Distribution:
        """Batch [...], event [D]."""
        mean, log_variance = self.linear(features).chunk(2, dim=-1)
        return diagonal_gaussian(mean, log_variance, min_std=self.min_std)


class GaussianMixtureEmission(Emission):
    """sum_i w_i N(mean_i, diag(std_i^2)) over the whole of x_t, w = softmax(logits), std = min_std + exp(log_var / 2).

    The components are of vectors, not of single numbers: RNN-GMM and VRNN-GMM of J. Chung et al., NIPS 2015 (20 of them
    there, with std = softplus(.) + 1e-4). `min_std` as for `GaussianEmission`.
    """

    def __init__(self, features: int, size: int, *, components: int, min_std: float = 0.0):
        super().__init__()
        self.size, self.components, self.min_std = size, components, min_std
        self.linear = nn.Linear(features, components * (1 + 2 * size))

    def forward(self, features: Tensor) -> Distribution:
        """Batch [...], event [D]."""
        k, D = self.components, self.size
        logits, mean, log_variance = at_least_float32(self.linear(features)).split([k, k * D, k * D], dim=-1)
        each = diagonal_gaussian(mean.unflatten(-1, (k, D)), log_variance.unflatten(-1, (k, D)), min_std=self.min_std)
        return MixtureSameFamily(Categorical(logits=logits, validate_args=False), each, validate_args=False)


class BernoulliEmission(Emission):
    """D independent Bernoulli variables.

    `logit_clamp` bounds the logits, as the Z-Forcing authors' Theano code does on MNIST (8, which keeps at least
    3.35e-4 nats a pixel); None, by default, doesn't.
    """

    def __init__(self, features: int, size: int, *, logit_clamp: float | None = None):
        super().__init__()
        self.linear = nn.Linear(features, size)
        self.logit_clamp = logit_clamp

    def forward(self, features: Tensor) -> Distribution:
        """Batch [...], event [D]."""
        logits = at_least_float32(self.linear(features))
        if self.logit_clamp is not None:
            logits = logits.clamp(-self.logit_clamp, self.logit_clamp)
        return Independent(Bernoulli(logits=logits, validate_args=False), 1, validate_args=False)


class CategoricalEmission(Emission):
    """softmax(linear(features)) over the categories 0..size-1. The start symbol is no category and is never emitted."""

    def __init__(self, features: int, size: int):
        super().__init__()
        self.linear = nn.Linear(features, size)

    def forward(self, features: Tensor) -> Categorical:
        """Batch [...], event []."""
        return Softmax(at_least_float32(self.linear(features)))
