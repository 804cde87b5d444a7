"""The exact log-likelihood of a mixture of orders, for models that have a density in any order of the numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..errors import UserError
from ..models.density import DensityModel
from ..models.state import State
from ..observations import SequenceBatch
from ..settings import Count, Seed
from .base import Bound, BoundResult, Weights, refuse, refuse_costs

NOT_OF_ORDERS = "bound orders is of models that have a density in any order, such as eonade; not {}"


@runtime_checkable
class HasOrders(Protocol):
    """A model with a density in any order."""

    def log_likelihood_in(self, batch: SequenceBatch, order: Tensor) -> Tensor:
        """The exact log p(x | o) [B] of an order o, [D] int64."""


@dataclass(frozen=True)
class Orders(Bound):
    """The exact log p(x) = log (1/M) sum_m p(x | o_m) of the mixture of M orders, the same for all images.

    B. Uria, I. Murray, H. Larochelle, "A deep and tractable density estimator", ICML 2014, arXiv 1310.1757.

    The orders are uniform draws, and a function of the seed. The mixture is at least as good as its orders on average,
    whose mean is the term `one_order`. Of 784 pixels, each order takes as many passes.

    Raises:
        UserError: At a call, the model has no density in any order, or an argument or a weight is given that isn't to
            be.
    """

    name: ClassVar[str] = "orders"
    paper: ClassVar[str] = (
        'B. Uria, I. Murray, H. Larochelle, "A Deep and Tractable Density Estimator", ICML 2014, arXiv 1310.1757'
    )

    particles: Count = 32
    """M, the number of orders"""
    seed: Seed = 0
    """of the orders"""

    def check_model(self, model: type[DensityModel]) -> None:
        """See `Bound.check_model`."""
        if not issubclass(model, HasOrders):
            raise UserError(NOT_OF_ORDERS.format(model.name))

    def __call__(
        self,
        model: DensityModel,
        batch: SequenceBatch,
        *,
        weights: Weights = Weights(),
        noise: Tensor | None = None,
        state: State | None = None,
        context: Tensor | None = None,
    ) -> BoundResult:
        """Compute log p(x) of each image. See `Bound`."""
        refuse(self, noise=noise, state=state, context=context)
        refuse_costs(self, weights)
        if not isinstance(model, HasOrders):
            raise UserError(NOT_OF_ORDERS.format(model.name))
        each = torch.stack([model.log_likelihood_in(batch, order) for order in self.drawn(model.spec.size)])
        value = (each.logsumexp(0) - math.log(self.particles)).double()
        terms = {"log_px": value.detach(), "kl": torch.zeros_like(value), "one_order": each.mean(0).detach()}
        return BoundResult(value.detach(), -value, terms, "exact")

    def drawn(self, size: int) -> list[Tensor]:
        """The M orders of D numbers, [D] int64 each."""
        generator = torch.Generator().manual_seed(self.seed)
        return [torch.randperm(size, generator=generator) for _ in range(self.particles)]
