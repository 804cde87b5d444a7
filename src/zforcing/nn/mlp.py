"""Feed-forward networks, with an activation that is clamped, and the Gaussian head of priors and posteriors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import diagonal_gaussian


def clamp(x: Tensor, limit: float | None) -> Tensor:
    """Clamp x to [-limit, limit], with zero gradient at and beyond the limits; None doesn't clamp."""
    return x if limit is None else F.hardtanh(x, -limit, limit)  # its backward is one pass, that of torch.clamp four


def join(*parts: Tensor | None) -> Tensor:
    """Concatenate the last dimension. What is empty or None is left out; a single tensor is returned as it is."""
    held = [part for part in parts if part is not None and part.shape[-1]]
    return held[0] if len(held) == 1 else torch.cat(held, dim=-1)


class ClampedLeakyReLU(nn.Module):
    """max(x, slope x), clamped to [-limit, limit]: the activation of SRNN and Z-Forcing (slope 1/3, limit 3).

    With slope 0 and no limit it is the ReLU.
    """

    def __init__(self, limit: float | None = 3.0, slope: float = 1 / 3):
        super().__init__()
        self.limit, self.slope = limit, slope

    def forward(self, x: Tensor) -> Tensor:
        """Apply the activation to each element."""
        return clamp(F.leaky_relu(x, self.slope), self.limit)


class HiddenLayers(nn.Module):
    """The hidden layers after a network's first linear map: its activation, then `layers` - 1 layers [H] -> [H]."""

    def __init__(self, size: int, *, layers: int = 1, slope: float = 1 / 3, activation_limit: float | None = 3.0):
        super().__init__()
        self.activation = ClampedLeakyReLU(activation_limit, slope)
        self.more = nn.ModuleList(nn.Linear(size, size) for _ in range(layers - 1))

    def forward(self, preactivation: Tensor) -> Tensor:
        """Compute the last hidden layer from the first linear map's output, [..., H] -> [..., H]."""
        hidden: Tensor = self.activation(preactivation)
        for linear in self.more:
            hidden = self.activation(linear(hidden))
        return hidden


class FeatureNet(nn.Module):
    """A network whose output is its last hidden layer, [..., F] -> [..., H]."""

    def __init__(
        self,
        features: int,
        hidden: int,
        *,
        layers: int = 1,
        slope: float = 1 / 3,
        activation_limit: float | None = 3.0,
    ):
        super().__init__()
        self.first = nn.Linear(features, hidden)
        self.hidden = HiddenLayers(hidden, layers=layers, slope=slope, activation_limit=activation_limit)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the features, [..., F] -> [..., H]."""
        out: Tensor = self.hidden(self.first(x))
        return out


class MLP(nn.Module):
    """A multilayer perceptron with `layers` hidden layers and a linear output, [..., F] -> [..., O]."""

    def __init__(
        self,
        features: int,
        hidden: int,
        out: int,
        *,
        layers: int = 1,
        slope: float = 1 / 3,
        activation_limit: float | None = 3.0,
    ):
        super().__init__()
        self.first = nn.Linear(features, hidden)
        self.hidden = HiddenLayers(hidden, layers=layers, slope=slope, activation_limit=activation_limit)
        self.second = nn.Linear(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the output, [..., F] -> [..., O]."""
        out: Tensor = self.second(self.hidden(self.first(x)))
        return out


class GaussianHead(nn.Module):
    """A diagonal Gaussian of size Z with (mean, log-variance) = MLP(features), clamped to [-limit, limit].

    The second half of the output is log sigma^2, as in the Z-Forcing authors' code (their paper writes log sigma).
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        size: int,
        *,
        limit: float | None,
        layers: int = 1,
        slope: float = 1 / 3,
        activation_limit: float | None = 3.0,
    ):
        super().__init__()
        self.mlp = MLP(features, hidden, 2 * size, layers=layers, slope=slope, activation_limit=activation_limit)
        self.limit = limit

    def forward(self, features: Tensor) -> Distribution:
        """Return the Gaussian of features [..., F], batch [...], event [Z]."""
        return diagonal_gaussian(*self.parameters_of(features).chunk(2, dim=-1))

    def parameters_of(self, features: Tensor) -> Tensor:
        """Compute mean and log-variance, [..., F] -> [..., 2 Z]."""
        return clamp(self.mlp(features), self.limit)
