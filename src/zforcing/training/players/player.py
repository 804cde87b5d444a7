"""What a player is: a network beside the model with a loss of its own, and a term that it adds to the model's loss.

An update computes the gradients of both before either moves. The player's network is no part of the model: a saved
model is without it, and what is reported of the model (the bound) doesn't depend on it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor, nn

from ...errors import UserError
from ...models import DensityModel, SequenceModel
from ...observations import SequenceBatch
from ...settings import Count, NotNegative, Positive, Probability, Range, check


@dataclass(frozen=True)
class Gate:
    """Open where above < measure <= at_most."""

    above: float = -math.inf
    at_most: float = math.inf

    def __call__(self, measure: float) -> bool:
        """Whether it is open."""
        return self.above < measure <= self.at_most


@dataclass(frozen=True)
class Play:
    """A player's play on a batch; each is a mean over its sequences, a tensor [].

    Attributes:
        own: the player's loss. Its gradient is taken for the player's network alone.
        models: the term of the model's loss, in nats, without its weight. Its gradient is taken for the model alone.
        measure: what the gates read, such as an accuracy.
    """

    own: Tensor
    models: Tensor
    measure: Tensor


@dataclass(frozen=True)
class Player(ABC):
    """Base class of players: frozen dataclasses whose fields are their settings.

    Attributes:
        name: The name in recipes (`player: {name: ...}`) and on the command line (`--player.name`).
        paper: What to cite, as `DensityModel.paper` has it; "" where there is nothing.
        needs_steps: Whether it plays only with models of sequences.
        begin_at: The measure's moving average before the first play.
        moves: The averages at which the player's network takes its step.
        counts: The averages at which the player's term counts in the model's loss.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    needs_steps: ClassVar[bool] = False
    begin_at: ClassVar[float] = 0.0

    weight: NotNegative = 1.0
    """weight of the player's term in the model's loss"""
    after: Annotated[int, Range(at_least=0)] = 0
    """updates by the bound alone before the player joins"""
    every: Count = 1
    """from then on it plays at each of so many updates"""
    learning_rate: Positive = 1e-4
    """of the player's Adam"""
    beta1: Probability = 0.5
    """its decay of the gradient's mean"""
    beta2: Probability = 0.999
    """its decay of the squared gradient's mean"""
    max_grad_norm: Positive | None = 5.0
    """the player's gradient, and that of its term in the model, are each scaled down to this norm; null: never"""
    average: Probability = 0.9
    """how much of the measure's moving average stays at each play; the gates read it as it was before"""

    def __post_init__(self) -> None:
        """Refuse settings that don't fit their fields. Raises UserError, one line."""
        check(self, "player")

    @property
    def moves(self) -> Gate:
        """Always open, unless a player says otherwise."""
        return Gate()

    @property
    def counts(self) -> Gate:
        """Always open, unless a player says otherwise."""
        return Gate()

    def plays_at(self, update: int) -> bool:
        """Whether the player plays at this update, counted from 0."""
        return update >= self.after and (update - self.after) % self.every == 0

    def check_model(self, model: type[DensityModel]) -> None:
        """Raise UserError where the player can't play with such a model."""
        if self.needs_steps and not issubclass(model, SequenceModel):
            raise UserError(f"player {self.name} needs a model of sequences; {model.name} has no time steps")

    @abstractmethod
    def network(self, model: DensityModel) -> nn.Module:
        """A new network of the player for a model, by torch's global generator."""

    @abstractmethod
    def play(self, network: nn.Module, model: DensityModel, batch: SequenceBatch, *, counts: bool) -> Play:
        """Play on a batch, by torch's global generator.

        Args:
            network: The player's, in training mode.
            model: The model, in eval mode: without dropout.
            batch: What the update trains on, B sequences.
            counts: Whether `Play.models` is to have a gradient.
        """
