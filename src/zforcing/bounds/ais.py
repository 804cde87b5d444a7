"""The log-likelihood of models that know it up to a constant, which annealed importance sampling estimates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Protocol, runtime_checkable

from torch import Tensor

from ..errors import UserError
from ..models.density import DensityModel
from ..models.images.annealing import LogPartition
from ..models.images.unnormalized import Learned, Unnormalized
from ..models.state import State
from ..observations import SequenceBatch
from ..settings import Count, Range, Seed
from .base import Bound, BoundResult, Weights, is_needed, refuse
from .particles import log_mean

NOT_OF_PARTITION = "bound ais is of models that know p(x) up to a constant, such as dbn; not {}"
Chains = Annotated[int, Range(at_least=2)]  # whose weights have a standard error
VALIDATION_DRAWS = 10


@runtime_checkable
class HasPartition(Protocol):
    """A model that knows p(x, h) Z, with Z the same for all x and unknown."""

    def unnormalized(
        self, batch: SequenceBatch, *, particles: int = 1, noise: Tensor | None = None, latents: Tensor | None = None
    ) -> Unnormalized:
        """Terms of p(x, h) Z / q(h | x) for K draws of h."""

    def log_partition(self, *, chains: int, temperatures: int, seed: int) -> LogPartition:
        """An estimate of log Z."""

    def learn(self, batch: SequenceBatch, *, noise: Tensor | None = None) -> Learned:
        """The loss of a batch of training, and what it is measured by."""


@dataclass(frozen=True)
class AIS(Bound):
    """The estimate log p(x) ~ log (1/K) sum_k p(x, h^k) Z / q(h^k | x) - log Z, h^k ~ q, with log Z estimated by AIS.

    R. Salakhutdinov, I. Murray, "On the quantitative analysis of deep belief networks", ICML 2008. Neither a bound nor
    exact: the first term is too low on average, by less with more draws, and the estimate of log Z is too low as well.
    With K = 1 the first term is the variational bound's.

    log Z is the same for all images: `prepared` estimates it once. In training mode K is 1, the loss is the model's
    own, whose gradient isn't that of the value, and the value is measured by the log Z that the model last estimated.

    Raises:
        UserError: At a call, the model has no such constant, or weights or an argument are given that aren't to be.
    """

    name: ClassVar[str] = "ais"
    paper: ClassVar[str] = (
        'R. Salakhutdinov, I. Murray, "On the Quantitative Analysis of Deep Belief Networks", ICML 2008'
    )

    particles: Count = 100
    """K, the number of draws of latents per image"""
    chains: Chains = 100
    """chains whose mean weight estimates Z"""
    temperatures: Count = 14_500
    """steps that lead each chain to the model; the more, the better the estimate"""
    validation_temperatures: Count = 1000
    """the same for the validations of a training, which draw latents up to 10 times"""
    seed: Seed = 0
    """of the chains"""

    @property
    def requires_kl_weight_1(self) -> bool:
        """The loss has no KL to weight."""
        return True

    def check_model(self, model: type[DensityModel]) -> None:
        """See `Bound.check_model`."""
        if not issubclass(model, HasPartition):
            raise UserError(NOT_OF_PARTITION.format(model.name))

    def validating(self) -> AIS:
        """Coarser: it is to be as good as its differences.

        By one draw it would be as good as the variational bound, which two layers of latents loosen while they learn.
        """
        draws = min(self.particles, VALIDATION_DRAWS)
        return replace(self, particles=draws, temperatures=self.validation_temperatures)

    def prepared(self, model: DensityModel) -> PreparedAIS:
        """With log Z estimated."""
        found = of_partition(model).log_partition(chains=self.chains, temperatures=self.temperatures, seed=self.seed)
        return PreparedAIS(self, found)

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
        """Compute the estimate for each image, and in training mode the loss. See `Bound`."""
        check_call(self, weights, state=state, context=context)
        if not model.training:
            return self.prepared(model)(model, batch, noise=noise)
        learned = of_partition(model).learn(batch, noise=noise)
        return estimated(learned.terms, learned.log_z, rows=len(batch), loss=learned.loss)


@dataclass(frozen=True)
class PreparedAIS(Bound):
    """`AIS` of one model, which it is to be called with, in eval mode."""

    name: ClassVar[str] = AIS.name

    settings: AIS
    partition: LogPartition

    def __post_init__(self) -> None:
        """What it holds was checked."""

    @property
    def particles(self) -> int:
        """K."""
        return self.settings.particles

    @property
    def shared_error(self) -> float:
        """The standard error of log Z."""
        return self.partition.error

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
        """Compute the estimate for each image. See `Bound`."""
        check_call(self, weights, state=state, context=context)
        terms = of_partition(model).unnormalized(batch, particles=self.particles, noise=noise)
        return estimated(terms, self.partition.value, rows=len(batch))


def estimated(terms: Unnormalized, log_z: Tensor | float, *, rows: int, loss: Tensor | None = None) -> BoundResult:
    """The estimate for B rows, from the terms of K draws of each and log Z; without a loss, its negative."""
    log_px, kl = terms.log_px.view(-1, rows), (terms.log_q - terms.log_prior + log_z).view(-1, rows)
    value = log_mean(log_px - kl).detach()
    means = {"log_px": log_px.mean(0).detach(), "kl": kl.mean(0).detach()}
    return BoundResult(value, -value if loss is None else loss, means, "estimate")


def check_call(bound: Bound, weights: Weights, **arguments: object) -> None:
    """Raise UserError where a call has weights, or arguments that the bound can't take."""
    refuse(bound, **arguments)
    if weights.kl != 1 or any(map(is_needed, weights.costs.values())):
        raise UserError(f"bound {bound.name} has a loss of the model's own, without terms to weight: leave out weights")


def of_partition(model: DensityModel) -> HasPartition:
    """The model. Raises UserError where it isn't of this kind."""
    if not isinstance(model, HasPartition):
        raise UserError(NOT_OF_PARTITION.format(model.name))
    return model
