"""Players beside the bound: parameters with a loss, an optimizer and a condition of their own.

    discriminator = PlayerUpdate("discriminator", net.parameters(), PlayerSettings(), Gate(at_most=0.99))
    updated = discriminator([(loss, 1.0)], measure=accuracy)

A player's loss may run through other players' parameters: only its own get a gradient from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..settings import Positive, Probability, check


@dataclass(frozen=True)
class PlayerSettings:
    """A player's Adam."""

    learning_rate: Positive = 1e-4
    """Adam's"""
    beta1: Probability = 0.5
    """Adam's decay of the gradient's mean"""
    beta2: Probability = 0.999
    """Adam's decay of the squared gradient's mean"""
    max_grad_norm: Positive | None = 5.0
    """the gradient is scaled down to this norm; null: never"""

    def __post_init__(self) -> None:
        check(self, "player")


@dataclass(frozen=True)
class Gate:
    """A player moves where above < measure <= at_most. Of an accuracy: Professor Forcing's are 0.75 and 0.99."""

    above: float = -math.inf
    at_most: float = math.inf

    def __call__(self, measure: float) -> bool:
        """Whether the player moves."""
        return self.above < measure <= self.at_most


@dataclass(frozen=True)
class PlayerUpdated:
    """What a player's turn did.

    loss:          the mean over all parts
    gradient_norm: before it was clipped; nan where the gate was shut
    moved:         False: the gate was shut, or the loss or gradient not finite; weights and moments are as before
    """

    loss: float
    gradient_norm: float
    moved: bool


class PlayerUpdate:
    """A player's turn: gradient over all parts, clipping and a step of Adam, if the gate is open and all is finite."""

    def __init__(self, name: str, parameters: Iterable[nn.Parameter], settings: PlayerSettings, gate: Gate = Gate()):
        self.name, self.gate = name, gate
        self.parameters = list(parameters)
        self.max_grad_norm = settings.max_grad_norm or math.inf
        self.optimizer = torch.optim.Adam(
            self.parameters, lr=settings.learning_rate, betas=(settings.beta1, settings.beta2)
        )

    def __call__(self, losses: Sequence[tuple[Tensor, float]], *, measure: float, factor: float = 1.0) -> PlayerUpdated:
        """Take a turn.

        Args:
            losses: The mean loss of each part of the update and its share; their products add up to the loss.
            measure: What the gate reads, of all parts.
            factor: The step's length, as a multiple of Adam's learning rate (a schedule's).
        """
        loss = sum(float(part.detach()) * share for part, share in losses)
        if not self.gate(measure):
            return PlayerUpdated(loss, math.nan, moved=False)
        norm = self._gradient(losses)
        moved = math.isfinite(loss) and math.isfinite(norm)
        if moved:
            self._step(factor)
        self.optimizer.zero_grad()
        return PlayerUpdated(loss, norm, moved)

    def _gradient(self, losses: Sequence[tuple[Tensor, float]]) -> float:
        """The norm of the gradient, which the player's own parameters then hold, clipped."""
        self.optimizer.zero_grad()
        for loss, share in losses:
            (loss * share).backward(inputs=self.parameters)  # type: ignore[no-untyped-call]  # torch has no types here
        return float(nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm))

    def _step(self, factor: float) -> None:
        rates = [group["lr"] for group in self.optimizer.param_groups]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        self.optimizer.step()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
