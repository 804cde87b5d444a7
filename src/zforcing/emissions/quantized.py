"""The head for numbers out of so many levels, independent of each other given the features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from .heads import Emission
from .numbers import LogisticNumber


class LogisticMixtureEmission(Emission):
    """For each number of x_t a discretized mixture of logistics of its own.

    What a new head says is spread over the range (`LogisticNumber.first_parameters`).
    """

    def __init__(self, features: int, size: int, *, number: LogisticNumber):
        super().__init__()
        self.size, self.number = size, number
        self.linear = nn.Linear(features, size * number.size)
        with torch.no_grad():
            self.linear.bias.copy_(number.first_parameters().repeat(size))

    def forward(self, features: Tensor) -> Distribution:
        """Batch [...], event [D]."""
        parameters = self.linear(features).unflatten(-1, (self.size, self.number.size))
        return Independent(self.number(parameters), 1, validate_args=False)
