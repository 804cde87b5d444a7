"""Numbers of one observation that depend on those before them: p(x_t | .) = prod_d p(x_{t,d} | x_{t,<d}, features).

A frame of audio is 200 samples that hang together, and a head that makes them independent given the state leaves that
to latents, which is what made plain RNNs look weak on speech: Z. Dai, G. Lai, Y. Yang, S. Yoo, "Re-examination of the
role of latent variables in sequence modeling", NeurIPS 2019, arXiv 1902.01388. The network is MADE's (M. Germain,
K. Gregor, I. Murray, H. Larochelle, ICML 2015, arXiv 1502.03509) in the numbers' own order, with the features beside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import Combinable, most_likely
from .heads import Emission
from .numbers import LogisticNumber, Number


class MaskedNetwork(nn.Module):
    """Parameters of number d, [..., D, P], from features c and the numbers before it.

        hidden = relu(W_x x + W_c c),  parameters = V_h hidden + V_x x + V_c c

    Hidden unit j has a degree m_j in 0..D-1, spread evenly: it reads x_1..x_{m_j}, and d reads it where d > m_j; V_x
    lets d read x_<d directly (MADE's direct connections), which is a linear prediction. A masked weight is 0.
    """

    def __init__(self, features: int, numbers: int, hidden: int, parameters: int):
        super().__init__()
        self.numbers, self.parameters_each = numbers, parameters
        self.hidden_from_features = nn.Linear(features, hidden)
        self.hidden_from_numbers = nn.Linear(numbers, hidden, bias=False)
        self.out_from_features = nn.Linear(features, numbers * parameters)
        self.out_from_hidden = nn.Linear(hidden, numbers * parameters, bias=False)
        self.out_from_numbers = nn.Linear(numbers, numbers * parameters, bias=False)
        nn.init.zeros_(self.out_from_numbers.weight)

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        """[..., F] and [..., D] -> [..., D, P]."""
        hidden = torch.relu(self.hidden_from_features(features) + F.linear(x, self._numbers_to_hidden()))
        out = self.out_from_features(features) + F.linear(hidden, self._hidden_to_out())
        out = out + F.linear(x, self._numbers_to_out())
        parameters: Tensor = out.unflatten(-1, (self.numbers, self.parameters_each))
        return parameters

    def draw(self, features: Tensor, choose: Callable[[Tensor], Tensor]) -> Tensor:
        """x [..., D], each number chosen by its parameters [..., P]: it adds its column to what the hidden units and
        the later numbers read.
        """
        reads, is_read, before = self._numbers_to_hidden(), self._hidden_to_out(), self._numbers_to_out()
        hidden, out = self.hidden_from_features(features), self.out_from_features(features)
        drawn = []
        for d in range(self.numbers):
            own = slice(d * self.parameters_each, (d + 1) * self.parameters_each)
            x = choose(out[..., own] + F.linear(torch.relu(hidden), is_read[own])).to(hidden.dtype)
            drawn.append(x)
            hidden = hidden + x[..., None] * reads[:, d]
            out = out + x[..., None] * before[:, d]
        return torch.stack(drawn, dim=-1)

    # The masks, made where the weights are: bools that belong into no checkpoint.

    def _numbers_to_hidden(self) -> Tensor:
        """[H, D]: j reads number d (from 1) if d <= m_j."""
        return self.hidden_from_numbers.weight * (self._degrees[:, None] >= self._order)

    def _hidden_to_out(self) -> Tensor:
        """[D P, H]: number d reads j if d > m_j."""
        return self.out_from_hidden.weight * (self._order_of_out[:, None] > self._degrees)

    def _numbers_to_out(self) -> Tensor:
        """[D P, D]: number d reads those before it."""
        return self.out_from_numbers.weight * (self._order_of_out[:, None] > self._order)

    @property
    def _order(self) -> Tensor:
        return torch.arange(1, self.numbers + 1, device=self.out_from_numbers.weight.device)

    @property
    def _order_of_out(self) -> Tensor:
        return self._order.repeat_interleave(self.parameters_each)

    @property
    def _degrees(self) -> Tensor:
        hidden = self.hidden_from_numbers.out_features
        return torch.arange(hidden, device=self.out_from_numbers.weight.device) * self.numbers // hidden


class Autoregressive(Combinable):
    """prod_d p(x_d | x_<d, features): batch [...] of features [..., F], event [D]. Its mean has no closed form."""

    arg_constraints = {}  # noqa: RUF012  # torch's distributions declare theirs so

    def __init__(self, features: Tensor, network: MaskedNetwork, number: Number):
        self.features, self.network, self.number = features, network, number
        super().__init__(features.shape[:-1], torch.Size([network.numbers]), validate_args=False)

    def combined(self, f: Callable[..., Tensor], *others: Any) -> Distribution:
        """With f of the features: the network is the same."""
        return Autoregressive(f(self.features, *(d.features for d in others)), self.network, self.number)

    def log_prob(self, value: Tensor) -> Tensor:
        """[..., D] -> [...], nats."""
        return self.number(self.network(self.features, value)).log_prob(value).sum(-1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008  # torch's own default
        """[..., D]."""
        with torch.no_grad():
            features = self.features.expand(*sample_shape, *self.features.shape)
            return self.network.draw(features, lambda parameters: self.number(parameters).sample())


@most_likely.register(Autoregressive)
@torch.no_grad()
def _(distribution: Autoregressive) -> Tensor:
    """The likeliest of each number after those chosen before it, which need not be the likeliest x."""
    return distribution.network.draw(distribution.features, lambda p: most_likely(distribution.number(p)))


class AutoregressiveEmission(Emission):
    """p(x_t | features) with a masked network over the numbers of x_t; `number` is the family of each of them."""

    def __init__(self, features: int, size: int, *, hidden: int, number: Number):
        super().__init__()
        self.network = MaskedNetwork(features, size, hidden, number.size)
        if isinstance(number, LogisticNumber):
            with torch.no_grad():
                self.network.out_from_features.bias.copy_(number.first_parameters().repeat(size))
        self.number = number

    def forward(self, features: Tensor) -> Distribution:
        """Batch [...], event [D]."""
        return Autoregressive(features, self.network, self.number)
