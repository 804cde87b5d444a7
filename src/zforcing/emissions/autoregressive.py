"""An autoregressive emission: p(x_t | features) = prod_d p(x_{t,d} | x_{t,<d}, features).

A frame of audio is 200 correlated samples. A head that makes them independent given the state leaves their correlation
to the latents, which made plain RNNs look weak on speech: Z. Dai, G. Lai, Y. Yang, S. Yoo, "Re-examination of the role
of latent variables in sequence modeling", NeurIPS 2019, arXiv 1902.01388. The network is MADE (M. Germain, K. Gregor,
I. Murray, H. Larochelle, ICML 2015, arXiv 1502.03509) in the order of the vector, conditioned on the features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import Combinable, LogisticScalar, draw_tempered, most_likely
from .heads import Emission
from .scalar import ScalarDensity


class MaskedNetwork(nn.Module):
    """MADE with one hidden layer: the P parameters of each x_d from features c and x_<d.

        hidden = relu(W_x x + W_c c),  parameters = V_h hidden + V_x x + V_c c

    Hidden unit j has a degree m_j in 0..D-1, spread evenly: it reads x_1..x_{m_j}, and the outputs of d > m_j read it.
    V_x are MADE's direct connections from x_<d to the outputs of d, a linear prediction. Masked weights count as 0.
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
        """Compute the parameters of all x_d at once, [..., F] and [..., D] -> [..., D, P]."""
        hidden = torch.relu(self.hidden_from_features(features) + F.linear(x, self._numbers_to_hidden()))
        out = self.out_from_features(features) + F.linear(hidden, self._hidden_to_out())
        out = out + F.linear(x, self._numbers_to_out())
        parameters: Tensor = out.unflatten(-1, (self.numbers, self.parameters_each))
        return parameters

    def draw(self, features: Tensor, choose: Callable[[Tensor], Tensor]) -> Tensor:
        """Generate x [..., D] in order; `choose` maps the parameters [..., P] of one x_d to its value [...].

        Each new x_d adds its column to the preactivations of the hidden units and of the outputs.
        """
        to_hidden, from_hidden, direct = self._numbers_to_hidden(), self._hidden_to_out(), self._numbers_to_out()
        hidden, out = self.hidden_from_features(features), self.out_from_features(features)
        values = []
        for d in range(self.numbers):
            rows = slice(d * self.parameters_each, (d + 1) * self.parameters_each)
            x = choose(out[..., rows] + F.linear(torch.relu(hidden), from_hidden[rows])).to(hidden.dtype)
            values.append(x)
            hidden = hidden + x[..., None] * to_hidden[:, d]
            out = out + x[..., None] * direct[:, d]
        return torch.stack(values, dim=-1)

    # Masked weights. The masks are computed on the weights' device, and so are in no checkpoint.

    def _numbers_to_hidden(self) -> Tensor:
        """[H, D]: unit j reads x_d (d from 1) if d <= m_j."""
        return self.hidden_from_numbers.weight * (self._degrees[:, None] >= self._order)

    def _hidden_to_out(self) -> Tensor:
        """[D P, H]: the outputs of d read unit j if d > m_j."""
        return self.out_from_hidden.weight * (self._order_of_out[:, None] > self._degrees)

    def _numbers_to_out(self) -> Tensor:
        """[D P, D]: the outputs of d read x_<d."""
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
    """The distribution prod_d p(x_d | x_<d, features), with batch [...] and event [D]. Its mean has no closed form.

    Args:
        features: [..., F].
        network: Gives the parameters of each x_d.
        scalar: The family of distributions of each x_d.
    """

    arg_constraints = {}  # noqa: RUF012  # torch's distributions declare theirs so

    def __init__(self, features: Tensor, network: MaskedNetwork, scalar: ScalarDensity):
        self.features, self.network, self.scalar = features, network, scalar
        super().__init__(features.shape[:-1], torch.Size([network.numbers]), validate_args=False)

    def combined(self, f: Callable[..., Tensor], *others: Any) -> Distribution:
        """See `combine`: f is applied to the features."""
        return Autoregressive(f(self.features, *(d.features for d in others)), self.network, self.scalar)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value), [..., D] -> [...], in nats."""
        return self.scalar(self.network(self.features, value)).log_prob(value).sum(-1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008  # torch's own default
        """Draw samples, [..., D]."""
        with torch.no_grad():
            features = self.features.expand(*sample_shape, *self.features.shape)
            return self.network.draw(features, lambda parameters: self.scalar(parameters).sample())


@most_likely.register(Autoregressive)
@torch.no_grad()
def _(distribution: Autoregressive) -> Tensor:
    """Choose the most likely x_d given those chosen before it (greedy, so not always the most likely x)."""
    return distribution.network.draw(distribution.features, lambda p: most_likely(distribution.scalar(p)))


@draw_tempered.register(Autoregressive)
@torch.no_grad()
def _(distribution: Autoregressive, temperature: float, top_p: float) -> Tensor:
    """Draw each x_d given those drawn before it."""
    scalar = distribution.scalar
    return distribution.network.draw(distribution.features, lambda p: draw_tempered(scalar(p), temperature, top_p))


class AutoregressiveEmission(Emission):
    """An autoregressive emission with a masked network; `scalar` is the family of distributions of each x_{t,d}."""

    def __init__(self, features: int, size: int, *, hidden: int, scalar: ScalarDensity):
        super().__init__()
        self.network = MaskedNetwork(features, size, hidden, scalar.size)
        if isinstance(scalar, LogisticScalar):
            with torch.no_grad():
                self.network.out_from_features.bias.copy_(scalar.first_parameters().repeat(size))
        self.scalar = scalar

    def forward(self, features: Tensor) -> Distribution:
        """Return p(x_t | features), batch [...], event [D]."""
        return Autoregressive(features, self.network, self.scalar)
