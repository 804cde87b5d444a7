"""The emission of quantized observations, whose numbers are independent given the features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from ..distributions import LogisticScalar
from .heads import Emission


class LogisticMixtureEmission(Emission):
    """A discretized mixture of logistics for each number of x_t, initially spread over the range."""

    def __init__(self, features: int, size: int, *, scalar: LogisticScalar):
        super().__init__()
        self.size, self.scalar = size, scalar
        self.linear = nn.Linear(features, size * scalar.size)
        with torch.no_grad():
            self.linear.bias.copy_(scalar.first_parameters().repeat(size))

    def forward(self, features: Tensor) -> Distribution:
        """Return p(x_t | features), batch [...], event [D]."""
        parameters = self.linear(features).unflatten(-1, (self.size, self.scalar.size))
        return Independent(self.scalar(parameters), 1, validate_args=False)
