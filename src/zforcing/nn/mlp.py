"""Feed-forward networks, with an activation that is clamped, and the Gaussian head of priors and posteriors."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import diagonal_gaussian
from ..recurrence import Loop, Value, equations


def clamp(x: Tensor, limit: float | None) -> Tensor:
    """Clamp x to [-limit, limit], with zero gradient at and beyond the limits; None doesn't clamp."""
    return x if limit is None else F.hardtanh(x, -limit, limit)  # its backward is one pass, that of torch.clamp four


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

    def record(self, loop: Loop, x: Value) -> None:
        """Record the activation of x in a loop, in place."""
        equations.leaky_relu(loop, x, self.slope)
        equations.clamp(loop, x, self.limit)


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

    def record(self, loop: Loop, preactivation: Value) -> Value:
        """Record the same in a loop."""
        hidden = preactivation
        self.activation.record(loop, hidden)
        for linear in self.more:
            hidden = equations.linear(loop, hidden, tensor_of(linear, "weight"), bias=tensor_of(linear, "bias"))
            self.activation.record(loop, hidden)
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

    def record(self, loop: Loop, preactivation: Value) -> Value:
        """Record everything after the first linear map in a loop; `preactivation` is that map's output."""
        return self.hidden.record(loop, preactivation)


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

    def record(self, loop: Loop, preactivation: Value) -> Value:
        """Record everything after the first linear map in a loop; `preactivation` is that map's output."""
        hidden = self.hidden.record(loop, preactivation)
        return equations.linear(loop, hidden, self.second.weight, bias=self.second.bias)


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
        return self.of(self.parameters_of(features))

    def parameters_of(self, features: Tensor) -> Tensor:
        """Compute mean and log-variance, [..., F] -> [..., 2 Z]."""
        return clamp(self.mlp(features), self.limit)

    @staticmethod
    def of(parameters: Tensor) -> Distribution:
        """Return the Gaussian with mean and log-variance [..., 2 Z]."""
        return diagonal_gaussian(*parameters.chunk(2, dim=-1))

    def record(self, loop: Loop, preactivation: Value) -> Value:
        """Record everything after the first linear map in a loop; returns mean and log-variance, [n, 2 Z]."""
        parameters = self.mlp.record(loop, preactivation)
        equations.clamp(loop, parameters, self.limit)
        return parameters

    def record_joint(self, loop: Loop, x: Value, given: Tensor) -> Value:
        """Record the whole network of [x, given_t] in a loop, given [T, B, G]; returns what `record` does."""
        weight, given_weight = self.mlp.first.weight.split([x.size, given.shape[-1]], dim=1)
        bias = self.mlp.first.bias
        return self.record(loop, equations.linear(loop, x, weight, bias=bias, given=given, given_weight=given_weight))


def tensor_of(module: nn.Module, name: str) -> Tensor:
    """Get a parameter, or the tensor that torch.func.functional_call has put in its place."""
    tensor: Tensor = getattr(module, name)
    return tensor
