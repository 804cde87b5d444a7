"""What every bound is: a function of a model and a batch. Bounds know the contract of models, never a model by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from ..errors import UserError
from ..models.base import SequenceModel, State
from ..observations import SequenceBatch
from ..settings import check_types

BoundKind = Literal["exact", "lower bound", "estimate"]


@dataclass(frozen=True)
class Weights:
    """Weights of the terms of a training loss. What is reported never depends on them.

    kl: of the KL; auxiliary: alpha, of log p(b_t | z_t); backward: beta, of log p(x_{t-1} | b_t).
    """

    kl: float = 1.0
    auxiliary: float = 0.0
    backward: float = 0.0


@dataclass(frozen=True)
class BoundResult:
    """A bound on log p(x) for each sequence of a batch, in nats, float64.

    value: [B], what is reported: on log p(x_1..x_T) with KL weight 1, no free bits and no auxiliary cost
    loss:  [B], what is differentiated and minimized
    terms: name -> [B], the parts of both, without weights
    kind:  whether `value` is exact, a lower bound in expectation, or an estimate
    state: after each sequence's last step, where the batch went on from a state; else None
    """

    value: Tensor
    loss: Tensor
    terms: dict[str, Tensor]
    kind: BoundKind
    state: State | None = None


def is_needed(weight: float | Tensor) -> bool:
    """Whether a term with this weight is needed at all; a tensor's value is not looked at (it may be on a GPU)."""
    return isinstance(weight, Tensor) or weight != 0


class Bound(ABC):
    """A frozen dataclass whose fields are its settings. Adding one is one file and one registry line.

    A bound whose call needs no number back from a GPU says so by `capturable`: it can be a part of a CUDA graph.
    """

    name: ClassVar[str]  # as recipes and the command line know it
    particles: int  # K, how many latents are drawn for a step; a setting where it can be chosen
    capturable: ClassVar[bool] = False
    requires_kl_weight_1: ClassVar[bool] = False  # whether its loss is right at KL weight 1 alone
    carries_state: ClassVar[bool] = False  # whether a call takes `state` and `context` and gives the state back

    @abstractmethod
    def __call__(self, model: SequenceModel, batch: SequenceBatch, *, weights: Weights = Weights()) -> BoundResult:
        """The bound of each sequence."""


def check_bound(bound: Bound) -> None:
    """Refuse settings of a wrong type, and numbers of particles below 1. Raises UserError, one line."""
    problems = check_types(bound, "bound")
    if not problems and bound.particles < 1:
        problems.append(f"bound.particles is {bound.particles}; it must be 1 or more")
    if problems:
        raise UserError("; ".join(problems))
