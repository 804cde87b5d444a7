"""The discretized mixture of logistics: a distribution over ordered levels, as of integer audio or pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, constraints

from .combine import Combinable
from .mode import most_likely


class DiscretizedLogisticMixture(Combinable):
    """A mixture of k logistics, discretized to L equally spaced levels from -1 to 1.

        P(x) = sum_i w_i [ sigmoid((x + d - m_i) / s_i) - sigmoid((x - d - m_i) / s_i) ],  d = 1 / (L - 1)

    with w = softmax(logits) and s = exp(log_scale). The lowest level also has all probability below it, the highest all
    above it, so that the probabilities sum to 1. T. Salimans, A. Karpathy, X. Chen, D. Kingma, "PixelCNN++", ICLR 2017,
    arXiv 1701.05517, section 2.1.

    Args:
        logits: [..., k]; the batch is [...], the event [].
        mean: [..., k], m.
        log_scale: [..., k].
        levels: L.
    """

    arg_constraints = {  # noqa: RUF012  # torch's distributions declare theirs so
        "logits": constraints.real_vector,
        "mean_of_each": constraints.real_vector,
        "log_scale": constraints.real_vector,
    }

    def __init__(self, logits: Tensor, mean: Tensor, log_scale: Tensor, *, levels: int):
        self.logits, self.mean_of_each, self.log_scale, self.levels = logits, mean, log_scale, levels
        super().__init__(logits.shape[:-1], validate_args=False)

    def combined(self, f: Callable[..., Tensor], *others: Any) -> Distribution:
        """See `combine`."""
        names = ("logits", "mean_of_each", "log_scale")
        return DiscretizedLogisticMixture(
            *(f(*(getattr(d, name) for d in (self, *others))) for name in names), levels=self.levels
        )

    @property
    def mean(self) -> Tensor:
        """The mean of the mixture before discretization, with component means clamped to [-1, 1]."""
        each = self.mean_of_each.clamp(-1, 1)
        return (torch.softmax(self.logits, dim=-1) * each).sum(-1)

    @property
    def variance(self) -> Tensor:
        """The variance of the mixture before discretization."""
        weights = torch.softmax(self.logits, dim=-1)
        each = self.mean_of_each.clamp(-1, 1)
        second = each.square() + torch.exp(2 * self.log_scale) * math.pi**2 / 3
        return (weights * second).sum(-1) - self.mean.square()

    def log_prob(self, value: Tensor) -> Tensor:
        """log P(value) of levels [...], in nats.

        With a and b the arguments of the two sigmoids, log(sigmoid(a) - sigmoid(b)) is computed as
        log sigmoid(a) + log sigmoid(-b) + log(1 - e^(b - a)): the difference itself would round to 0.
        """
        half = 1 / (self.levels - 1)
        inverse = torch.exp(-self.log_scale)
        x = value[..., None]
        below, above = F.logsigmoid((x + half - self.mean_of_each) * inverse), (x - half - self.mean_of_each) * inverse
        above = F.logsigmoid(-above)
        inner = below + above + torch.log(-torch.expm1(-2 * half * inverse))
        middle = 1 - half  # levels are 2 half apart: rounding moves none across
        each = torch.where(x < -middle, below, torch.where(x > middle, above, inner))
        return torch.logsumexp(torch.log_softmax(self.logits, dim=-1) + each, dim=-1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008  # torch's own default
        """Draw levels [...]: a component, a sample of its logistic, rounded to the nearest level."""
        shape = torch.Size(sample_shape) + self.logits.shape
        gumbel = -torch.log(-torch.log(_uniform(shape, self.logits)))
        component = (self.logits + gumbel).argmax(-1, keepdim=True)
        mean, log_scale = (
            v.expand(shape).gather(-1, component).squeeze(-1) for v in (self.mean_of_each, self.log_scale)
        )
        u = _uniform(mean.shape, mean)
        x = mean + torch.exp(log_scale) * (torch.log(u) - torch.log1p(-u))
        return self.nearest_level(x)

    def nearest_level(self, x: Tensor) -> Tensor:
        """Round x to the nearest level."""
        step = 2 / (self.levels - 1)
        return torch.round((x.clamp(-1, 1) + 1) / step) * step - 1


@most_likely.register(DiscretizedLogisticMixture)
def _(distribution: DiscretizedLogisticMixture) -> Tensor:
    heaviest = distribution.logits.argmax(-1, keepdim=True)
    return distribution.nearest_level(distribution.mean_of_each.gather(-1, heaviest).squeeze(-1))


def _uniform(shape: torch.Size, like: Tensor) -> Tensor:
    """Uniform numbers in the open interval (0, 1)."""
    tiny = torch.finfo(like.dtype).tiny
    u = torch.rand(shape, dtype=like.dtype, device=like.device)
    return u.clamp(min=tiny, max=1 - torch.finfo(like.dtype).eps)
