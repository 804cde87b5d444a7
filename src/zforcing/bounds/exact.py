"""The exact log-likelihood, for the models that have it in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..models.density import DensityModel
from ..models.state import State
from ..observations import SequenceBatch
from .base import Bound, BoundResult, Weights, refuse, refuse_costs


@dataclass(frozen=True)
class Exact(Bound):
    """The exact log p(x): of deterministic networks (a sum over steps) and linear-Gaussian models (a Kalman filter).

        log p(x) = sum_t log p(x_t | x_<t)

    By the model's `log_likelihood`. The loss is minus the value.

    Raises:
        UserError: At a call, the model's likelihood isn't exact, or an argument is given that isn't to be.

    Example:
        >>> import torch
        >>> import zforcing as zf
        >>> model = zf.LinearGaussian(zf.ObservationSpec("real", 1), latent_size=2, proposal="smoothing")
        >>> batch = zf.SequenceBatch(torch.ones(3, 5, 1), torch.tensor([5, 4, 2]), torch.zeros(3, 1))
        >>> exact, bound = zf.Exact()(model, batch), zf.IWAE(8)(model, batch)  # by the exact posterior: no gap
        >>> exact.kind, torch.allclose(exact.value, bound.value, atol=1e-4)
        ('exact', True)
    """

    name: ClassVar[str] = "exact"

    capturable = True

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
        """Compute log p(x) of each sequence.

        Args:
            model: A model whose `log_likelihood` is exact.
            batch: B sequences.
            weights: Of the KL, which is 0; extra terms can't have any.
            noise: Not to be given: nothing is drawn.
            state: Not to be given.
            context: Not to be given.

        Returns:
            log p(x) of each sequence, in nats.

        Raises:
            UserError: The model has no exact likelihood, or an argument or a weight is given that isn't to be.
        """
        refuse(self, noise=noise, state=state, context=context)
        refuse_costs(self, weights)
        value = model.log_likelihood(batch).double()
        zero = value.new_zeros(value.shape)
        return BoundResult(value.detach(), -value, {"log_px": value.detach(), "kl": zero}, "exact")
