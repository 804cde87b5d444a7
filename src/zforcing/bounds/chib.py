"""The estimate of log p(x) by a Markov chain in the posterior of the latents, and by annealed importance sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor

from ..errors import UserError
from ..models.density import DensityModel
from ..models.images.posterior_chain import ByChain
from ..models.state import State
from ..observations import SequenceBatch
from ..settings import Count
from .ais import AIS, HasPartition, PreparedAIS, check_call
from .base import BoundResult, Weights

NOT_OF_CHAIN = "bound chib is of models with a Markov chain in p(h | x), such as dbn; not {}"


@runtime_checkable
class HasChain(Protocol):
    """A model with a Markov chain in p(h | x)."""

    def log_by_chain(self, batch: SequenceBatch, *, states: int) -> ByChain:
        """An estimate of log p(x) + log Z by S states of a chain."""


@dataclass(frozen=True)
class Chib(AIS):
    """The estimate log p(x, h*) Z - log (1/S) sum_s T(h* <- h^s) - log Z of a chain h^1..h^S, log Z as `AIS` has it.

    S. Chib, "Marginal likelihood from the Gibbs output", JASA 90, 1995, as I. Murray and R. Salakhutdinov have it, NIPS
    2009: T is a step of the chain, which passes h* at a place drawn uniformly, so that the mean of the ratio is p(x) Z
    however short the chain is. Its logarithm is too low on average, by less with more states, and so is the estimate of
    log Z: neither a bound nor exact. Where few latents have most of p(h | x), it needs fewer draws than `AIS`.

    It measures models that were trained by `AIS`.

    Raises:
        UserError: At a call, the model has no such chain, or weights or an argument are given that aren't to be.
    """

    name: ClassVar[str] = "chib"
    trains: ClassVar[bool] = False
    paper: ClassVar[str] = (
        'I. Murray, R. Salakhutdinov, "Evaluating Probabilities under High-Dimensional Latent Variable Models", '
        "NIPS 2009"
    )

    particles: Count = 20
    """S, the number of states of each image's chain"""

    def check_model(self, model: type[DensityModel]) -> None:
        """See `Bound.check_model`."""
        if not (issubclass(model, HasPartition) and issubclass(model, HasChain)):
            raise UserError(NOT_OF_CHAIN.format(model.name))

    def prepared(self, model: DensityModel) -> PreparedChib:
        """With log Z estimated."""
        if not isinstance(model, HasChain):
            raise UserError(NOT_OF_CHAIN.format(model.name))
        return PreparedChib(self, super().prepared(model).partition)


@dataclass(frozen=True)
class PreparedChib(PreparedAIS):
    """`Chib` of one model, which it is to be called with, in eval mode."""

    name: ClassVar[str] = Chib.name

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
        check_call(self, weights, noise=noise, state=state, context=context)
        assert isinstance(model, HasChain)
        found = model.log_by_chain(batch, states=self.particles)
        value = found.estimate - self.partition.value
        return BoundResult(value, -value, {"log_px": found.log_px, "kl": found.log_px - value}, "estimate")
