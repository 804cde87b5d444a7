"""The base class of bounds: a bound maps a model and a batch to a `BoundResult`.

A bound relies only on the interface of `SequenceModel`, never on a particular model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from ..models.sequence import SequenceModel
from ..models.state import State
from ..observations import SequenceBatch
from ..settings import check

BoundKind = Literal["exact", "lower bound", "estimate"]


@dataclass(frozen=True)
class Weights:
    """Weights of the terms of a training loss. Reported values (`BoundResult.value`) never depend on them."""

    kl: float = 1.0
    """weight of the KL (KL annealing)"""
    auxiliary: float = 0.0
    """alpha, the weight of Z-Forcing's log p(b_t | z_t)"""
    backward: float = 0.0
    """beta, the weight of Z-Forcing's log p(x_{t-1} | b_t)"""


@dataclass(frozen=True)
class BoundResult:
    """A bound on log p(x_1..x_T) for each of B sequences, in nats per sequence, float64."""

    value: Tensor
    """[B], to report: the bound itself, with KL weight 1, no free bits and no auxiliary cost; without gradient"""
    loss: Tensor
    """[B], to minimize: with weights, free bits and auxiliary costs"""
    terms: dict[str, Tensor]
    """[B] each, by name (`log_px`, `kl`, ...): the parts of both, without weights"""
    kind: BoundKind
    """whether `value` is exact, a lower bound in expectation, or an estimate"""
    state: State | None = None
    """the model's state after each sequence's last step, if the bound was given a state to start from"""


def is_needed(weight: float | Tensor) -> bool:
    """Whether a term with this weight must be computed. A tensor always counts: reading it would wait for the GPU."""
    return isinstance(weight, Tensor) or weight != 0


class Bound(ABC):
    """A bound on log p(x), as a callable. Subclasses are frozen dataclasses whose fields are their settings.

    Call it with a model and a batch: `ELBO()(model, batch).value` is in nats, [B].

    Attributes:
        name: The name in recipes and on the command line.
        particles: K, the number of latent samples per step; a field where it can be chosen, else a class attribute.
        capturable: Whether a call can be captured in a CUDA graph (it never waits for a value from the GPU).
        requires_kl_weight_1: Whether the loss is only correct with `Weights(kl=1)`.
        carries_state: Whether a call takes `state` and `context`, and returns the last state.
    """

    name: ClassVar[str]
    particles: int
    capturable: ClassVar[bool] = False
    requires_kl_weight_1: ClassVar[bool] = False
    carries_state: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse settings that don't fit their fields. Raises UserError, one line."""
        check(self, "bound")

    @abstractmethod
    def __call__(self, model: SequenceModel, batch: SequenceBatch, *, weights: Weights = Weights()) -> BoundResult:
        """Compute the bound for each sequence of a batch.

        Args:
            model: Any model; its parameters receive the gradient of `loss`.
            batch: B sequences.
            weights: Weights of the terms of the loss.

        Returns:
            The bound of each sequence, in nats.
        """
