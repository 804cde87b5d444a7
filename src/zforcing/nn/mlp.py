"""Feed-forward nets: what turns the features of a state into the parameters of a density, or into other features."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import diagonal_gaussian
from ..recurrence import Loop, Value, equations


def clamp(x: Tensor, limit: float | None) -> Tensor:
    """x clamped to [-limit, limit]; None leaves it alone. No gradient at the limits."""
    return x if limit is None else F.hardtanh(x, -limit, limit)  # whose gradient is one pass, that of clamp four


class ClampedLeakyReLU(nn.Module):
    """max(x, slope x) clamped to [-limit, limit]: SRNN's and Z-Forcing's activation (slope 1/3, limit 3). With slope 0
    and no limit it is the ReLU.
    """

    def __init__(self, limit: float | None = 3.0, slope: float = 1 / 3):
        super().__init__()
        self.limit, self.slope = limit, slope

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return clamp(F.leaky_relu(x, self.slope), self.limit)

    def record(self, loop: Loop, x: Value) -> None:
        """Its equations, in place."""
        equations.leaky_relu(loop, x, self.slope)
        equations.clamp(loop, x, self.limit)


class HiddenLayers(nn.Module):
    """What follows a net's first linear map: its activation, and `layers` - 1 more layers [H] -> [H] with theirs."""

    def __init__(self, size: int, *, layers: int = 1, slope: float = 1 / 3, activation_limit: float | None = 3.0):
        super().__init__()
        self.activation = ClampedLeakyReLU(activation_limit, slope)
        self.more = nn.ModuleList(nn.Linear(size, size) for _ in range(layers - 1))

    def forward(self, preactivation: Tensor) -> Tensor:
        """The first map's output -> the last hidden layer, [..., H]."""
        hidden: Tensor = self.activation(preactivation)
        for linear in self.more:
            hidden = self.activation(linear(hidden))
        return hidden

    def record(self, loop: Loop, preactivation: Value) -> Value:
        """The equations of the same."""
        hidden = preactivation
        self.activation.record(loop, hidden)
        for linear in self.more:
            hidden = equations.linear(loop, hidden, tensor_of(linear, "weight"), bias=tensor_of(linear, "bias"))
            self.activation.record(loop, hidden)
        return hidden


class FeatureNet(nn.Module):
    """A net whose output is its last hidden layer, [..., F] -> [..., H]. Options are those of `HiddenLayers`."""

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
        """The whole net."""
        out: Tensor = self.hidden(self.first(x))
        return out

    def record(self, loop: Loop, preactivation: Value) -> Value:
        """The equations of the rest of the net, for a loop over time in which the first layer was computed already."""
        return self.hidden.record(loop, preactivation)


class MLP(nn.Module):
    """Hidden layers (one, unless told otherwise) and a linear map: second(hidden(first(x))). [..., F] -> [..., O]."""

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
        """The whole net."""
        out: Tensor = self.second(self.hidden(self.first(x)))
        return out

    def record(self, loop: Loop, preactivation: Value) -> Value:
        """The equations of the rest of the net, for a loop over time in which the first layer was computed already."""
        hidden = self.hidden.record(loop, preactivation)
        return equations.linear(loop, hidden, self.second.weight, bias=self.second.bias)


class GaussianHead(nn.Module):
    """(mean, log-variance) = MLP(features), both clamped to [-limit, limit]: a diagonal Gaussian over [Z].

    The second half of the output is log sigma^2, as in the authors' code (the paper writes log sigma).
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
        """Batch [...], event [Z]."""
        return self.of(self.parameters_of(features))

    def parameters_of(self, features: Tensor) -> Tensor:
        """Mean and log-variance, [..., F] -> [..., 2 Z]."""
        return clamp(self.mlp(features), self.limit)

    @staticmethod
    def of(parameters: Tensor) -> Distribution:
        """The Gaussian of mean and log-variance [..., 2 Z]."""
        return diagonal_gaussian(*parameters.chunk(2, dim=-1))

    def record(self, loop: Loop, preactivation: Value) -> Value:
        """The equations from the first layer's output on: mean and log-variance, [n, 2 Z]."""
        parameters = self.mlp.record(loop, preactivation)
        equations.clamp(loop, parameters, self.limit)
        return parameters

    def record_joint(self, loop: Loop, x: Value, given: Tensor) -> Value:
        """The equations of the whole net of [x, given_t]: mean and log-variance, [n, 2 Z]; given [T, B, G]."""
        of_x, of_given = self.mlp.first.weight.split([x.size, given.shape[-1]], dim=1)
        bias = self.mlp.first.bias
        return self.record(loop, equations.linear(loop, x, of_x, bias=bias, given=given, given_weight=of_given))


def tensor_of(module: nn.Module, name: str) -> Tensor:
    """A parameter, or the tensor that torch.func.functional_call has put in its place."""
    tensor: Tensor = getattr(module, name)
    return tensor
