"""The base class of bounds: a bound maps a model and a batch to a `BoundResult`.

A bound relies only on the interface of `DensityModel`, or of `SequenceModel` where it needs steps; never on a
particular model, and on no name of a model's extra terms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from ..errors import UserError
from ..models.density import DensityModel, Draws
from ..models.state import State
from ..observations import SequenceBatch
from ..settings import NotNegative, check, must_fit

BoundKind = Literal["exact", "lower bound", "estimate"]
Weight = float | Tensor
"""a number; or a tensor [], which a CUDA graph reads anew at every replay"""


@dataclass(frozen=True, init=False)
class Weights:
    """Weights of the terms of a training loss. Reported values (`BoundResult.value`) never depend on them.

    Args:
        kl: weight of the KL (KL annealing).
        costs: weights of the model's extra terms, by the names in its `cost_names`; 0 for those that aren't given.
        **named: more of them, by keyword.

    Raises:
        UserError: a number is below 0, or isn't finite.

    Example:
        >>> Weights(kl=0.5, auxiliary=0.005).costs
        {'auxiliary': 0.005}
    """

    kl: Weight
    costs: Mapping[str, Weight]

    def __init__(self, kl: Weight = 1.0, *, costs: Mapping[str, Weight] | None = None, **named: Weight):
        object.__setattr__(self, "kl", kl)
        object.__setattr__(self, "costs", {**(costs or {}), **named})
        for name, weight in self.by_name.items():
            if isinstance(weight, int | float):  # what a tensor holds isn't known before it is on its device
                must_fit(weight, NotNegative, f"weights.{name}")

    def __repr__(self) -> str:
        return f"Weights({', '.join(f'{name}={weight}' for name, weight in self.by_name.items())})"

    @property
    def by_name(self) -> dict[str, Weight]:
        """All of them: "kl" and the costs."""
        return {"kl": self.kl, **self.costs}


@dataclass(frozen=True)
class BoundResult:
    """A bound on log p(x) for each of B rows (sequences), in nats per sequence, float64."""

    value: Tensor
    """[B], to report: the bound itself, with KL weight 1, no free bits and no extra terms; without gradient"""
    loss: Tensor
    """[B], to minimize: with weights, free bits and extra terms"""
    terms: dict[str, Tensor]
    """[B] each, by name: `log_px`, log p(x | z); `kl`, the KL given the sampled past, in closed form where there is one
    (else by the draws, and then it can be below 0); and each extra term with a weight by its own name. Means over the
    particles, without weights"""
    kind: BoundKind
    """whether `value` is exact, a lower bound in expectation, or an estimate"""
    state: State | None = None
    """the model's state after each sequence's last step, if the bound was given a state to start from"""


class Bound(ABC):
    """A bound on log p(x), as a callable. Subclasses are frozen dataclasses whose fields are their settings.

    Call it with a model and a batch: `ELBO()(model, batch).value` is in nats, [B].

    Attributes:
        name: The name in recipes and on the command line.
        paper: What to cite, as `DensityModel.paper` has it; "" where there is nothing.
        carries_state: Whether a call takes `state` and `context`, and returns the last state.
        trains: Whether a model can be trained by it; else it only measures.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    carries_state: ClassVar[bool] = False
    trains: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse settings that don't fit their fields. Raises UserError, one line."""
        check(self, "bound")

    def check_model(self, model: type[DensityModel]) -> None:
        """Raise UserError where no model of a class has this bound, before one is made."""
        model.check_bound(self.name)

    @property
    def particles(self) -> int:
        """K, the number of latent samples per step; a field of bounds where it can be chosen."""
        return 1

    @property
    def capturable(self) -> bool:
        """Whether a call can be captured in a CUDA graph (it never waits for a value from the GPU)."""
        return False

    @property
    def requires_kl_weight_1(self) -> bool:
        """Whether the loss is only correct with `Weights(kl=1)`."""
        return False

    @property
    def shared_error(self) -> float | None:
        """Of what `prepared` estimated once for all rows, the standard error, in nats a row; None without."""
        return None

    def validating(self) -> Bound:
        """What measures the validations of a training: a cheaper bound of the same kind, or itself."""
        return self

    def prepared(self, model: DensityModel) -> Bound:
        """The bound of one model whose weights stay, with what is the same for all batches computed; else itself."""
        return self

    @abstractmethod
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
        """Compute the bound for each sequence of a batch.

        Args:
            model: A model; its parameters receive the gradient of `loss`.
            batch: B sequences.
            weights: Weights of the terms of the loss.
            noise: What `model.draw_noise(batch, particles=K)` returns, [K B, ...]; None draws it.
            state: State of a model of sequences to continue from, B rows. The bound is then on
                log p(x_1..x_T | everything before), and the result holds the last state.
            context: what the model's `encode` returned; None computes it.

        Returns:
            The bound of each sequence, in nats.

        Raises:
            UserError: The model isn't of the kind that the bound needs, it has no term of a name in `weights`, or the
                bound can't take an argument that is given.
        """


def refuse(bound: Bound, **arguments: object) -> None:
    """Raise UserError where arguments are given that the bound can't take."""
    given = [name for name, value in arguments.items() if value is not None]
    if given:
        raise UserError(f"bound {bound.name} takes no {' and no '.join(given)}")


def refuse_costs(bound: Bound, weights: Weights) -> None:
    """Raise UserError where extra terms have weights, of a bound that draws nothing."""
    costs = [name for name, weight in weights.costs.items() if is_needed(weight)]
    if costs:
        raise UserError(f"bound {bound.name} draws nothing, and so has no {', '.join(costs)} to weight: use bound elbo")


def kind_of(model: DensityModel) -> BoundKind:
    """What a bound on log p(x) is to it: without latents there is no gap."""
    return "lower bound" if model.latent_size else "exact"


def is_needed(weight: Weight) -> bool:
    """Whether a term with this weight must be computed. A tensor always counts: reading it would wait for the GPU."""
    return isinstance(weight, Tensor) or weight != 0


def costs_of(draws: Draws, weights: Weights) -> dict[str, Tensor]:
    """The extra terms [N] whose weights aren't 0, by name; the others aren't computed."""
    return {name: draws.cost(name) for name, weight in weights.costs.items() if is_needed(weight)}


def weighted_sum(costs: Mapping[str, Tensor], weights: Weights) -> Tensor | float:
    """The sum of extra terms times their weights, shaped as they are; 0 without any."""
    return sum((weights.costs[name] * cost for name, cost in costs.items()), 0.0)
