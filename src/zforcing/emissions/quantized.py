"""The head for numbers out of so many levels, independent of each other given the features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from .heads import Emission
from .numbers import LogisticNumber


class LogisticMixtureEmission(Emission):
    """For each number of x_t a discretized mixture of logistics of its own.

    What a new head says is spread over the range: the means of a mixture evenly, the scales a tenth of it.
    """

    def __init__(self, features: int, size: int, *, number: LogisticNumber):
        super().__init__()
        self.size, self.number = size, number
        self.linear = nn.Linear(features, size * number.size)
        with torch.no_grad():
            self.linear.bias.copy_(first_parameters(number).repeat(size))

    def forward(self, features: Tensor) -> Distribution:
        """Batch [...], event [D]."""
        parameters = self.linear(features).unflatten(-1, (self.size, self.number.size))
        return Independent(self.number(parameters), 1, validate_args=False)


def first_parameters(number: LogisticNumber) -> Tensor:
    """[P]: equal weights, means evenly over the middle of the range, scales of a tenth."""
    k = number.components
    means = torch.linspace(-0.5, 0.5, k) if k > 1 else torch.zeros(1)
    return torch.cat([torch.zeros(k), means, torch.full((k,), -2.3)])
