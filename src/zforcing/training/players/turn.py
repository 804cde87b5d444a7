"""A player's turns in training: its gradients beside those of the bound, then its step, if its gate is open.

turn = update.begin()
for part in parts:                   # after the gradient of the part's bound
    result = turn.play(part.batch, result, share=part.share)
turn.add_gradient()                  # of the player's term, to what the model's parameters hold
sums = turn.end(applied=True)        # the player's own step; both gradients were computed before either step
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from ...bounds import BoundResult
from ...models import DensityModel
from ...observations import SequenceBatch
from ...runtime.device import place_of
from ..parallel import Processes
from .player import Player

PREFIX = "player."  # of the names under which a checkpoint, and the sums of updates, keep what is a player's
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # Adam's


class PlayerUpdate:
    """A player in training: its network, Adam, and where it is.

    updates: so far, played or not
    average: the moving average of the player's measure, which its gates read
    """

    def __init__(self, player: Player, model: DensityModel, *, here: Processes):
        self.player, self.model, self.here = player, model, here
        self.network = player.network(model).to(*place_of(model)).train()
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.parameters, lr=player.learning_rate, betas=(player.beta1, player.beta2))
        self.updates, self.average = 0, player.begin_at

    def begin(self) -> Turn:
        """Begin an update."""
        return Turn(self)

    # In a checkpoint.

    def tensors(self) -> dict[str, Tensor]:
        """Weights, moments and where it is, by names that begin with `PREFIX`."""
        found = {"updates": torch.tensor(self.updates), "average": torch.tensor(self.average, dtype=torch.float64)}
        found |= {f"network.{name}": value for name, value in self.network.state_dict().items()}
        moments = self.optimizer.state_dict()["state"]
        found |= {f"moments.{i}.{name}": value for i, of in moments.items() for name, value in of.items()}
        return {PREFIX + name: value for name, value in found.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `tensors`. Raises KeyError or ValueError for tensors of another player."""
        found = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
        weights = {name: found[f"network.{name}"] for name in self.network.state_dict()}
        moments = {i: of for i, parameter in enumerate(self.parameters) if (of := _moments(found, i, like=parameter))}
        for name, value in self.network.state_dict().items():
            _must_be_like(weights[name], value, name)
        self.network.load_state_dict(weights)
        self.optimizer.load_state_dict({"state": moments, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.updates, self.average = int(found["updates"]), float(found["average"])


class Turn:
    """A player's part of one update. plays, moves, counts: whether it plays, takes its step, and the model hears it."""

    def __init__(self, of: PlayerUpdate):
        player = of.player
        self.of = of
        self.plays = player.plays_at(of.updates)
        self.moves = self.plays and player.moves(of.average)
        self.counts = self.plays and player.weight > 0 and player.counts(of.average)
        self._heard_by = [p for p in of.model.parameters() if p.requires_grad]
        self._own, self._models = _zeros(of.parameters), _zeros(self._heard_by)
        self._sums = self._own.new_zeros(3, dtype=torch.float64)
        self._term_norm = 0.0

    def play(self, batch: SequenceBatch, result: BoundResult, *, share: float) -> BoundResult:
        """Play on a part of the update; the result's loss with the player's term, if the model hears it.

        Args:
            batch: The part.
            result: Its bound, whose gradient has been computed.
            share: Of the part's mean in the update's.
        """
        if not self.plays:
            return result
        of = self.of
        with evaluating(of.model):
            play = of.player.play(of.network, of.model, batch, counts=self.counts)
        if self.moves:
            self._own += _gradient(play.own * share, of.parameters)
        self._sums += share * torch.stack([p.detach().to(self._sums) for p in (play.own, play.models, play.measure)])
        if not self.counts:
            return result
        self._models += _gradient(play.models * (share * of.player.weight), self._heard_by)
        return replace(result, loss=result.loss + of.player.weight * play.models.detach())

    def add_gradient(self) -> None:
        """Add the gradient of the player's term, of all processes, to what the model's parameters hold."""
        if self.counts:
            gradient, self._term_norm = _clipped(self.of.here.total(self._models), self.of.player.max_grad_norm)
            for parameter, part in _parts(gradient, self._heard_by):
                parameter.grad = part if parameter.grad is None else parameter.grad + part

    def end(self, *, applied: bool) -> dict[str, float]:
        """End the update with the player's step, if its gate is open and its gradient finite.

        Args:
            applied: Whether the model has moved; if not, the player doesn't either.

        Returns:
            What a row of metrics has of the player, by names that begin with `PREFIX`.
        """
        of = self.of
        own, models, measure = of.here.total(self._sums).tolist()
        gradient, norm = _clipped(of.here.total(self._own), of.player.max_grad_norm) if self.moves else (self._own, 0.0)
        moved = applied and self.moves and math.isfinite(own) and math.isfinite(norm)
        if moved:
            self._step(gradient)
        if applied and self.plays and math.isfinite(measure):
            of.average = of.player.average * of.average + (1 - of.player.average) * measure
        of.updates += 1
        found = {"plays": self.plays, "moved": moved, "counted": self.counts, "loss": own, "term": models}
        found |= {"measure": measure, "gradient_norm": norm if moved else 0.0, "term_gradient_norm": self._term_norm}
        return {PREFIX + name: float(value) for name, value in found.items()}

    def _step(self, gradient: Tensor) -> None:
        for parameter, part in _parts(gradient, self.of.parameters):
            parameter.grad = part
        self.of.optimizer.step()
        self.of.optimizer.zero_grad()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in eval mode, without dropout, within a `with` block."""
    was = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was)


def _gradient(loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """The gradient for these parameters alone, flat."""
    parts = torch.autograd.grad(loss, parameters, materialize_grads=True, allow_unused=True)
    return torch.cat([part.flatten() for part in parts])


def _zeros(parameters: Sequence[Tensor]) -> Tensor:
    return torch.zeros_like(torch.cat([p.detach().flatten() for p in parameters]))


def _clipped(gradient: Tensor, limit: float | None) -> tuple[Tensor, float]:
    """The gradient, scaled down to this norm, and its norm before."""
    norm = float(gradient.norm())
    return (gradient if limit is None or norm <= limit else gradient * (limit / norm)), norm


def _parts(gradient: Tensor, parameters: Sequence[nn.Parameter]) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Each parameter with its part of a flat gradient."""
    pieces = gradient.split([p.numel() for p in parameters])
    return ((p, piece.view_as(p).clone()) for p, piece in zip(parameters, pieces, strict=True))


def _moments(found: Mapping[str, Tensor], index: int, *, like: Tensor) -> dict[str, Tensor]:
    """Adam's moments of a parameter; none before its first step."""
    moments = {name: found[key] for name in MOMENTS if (key := f"moments.{index}.{name}") in found}
    for name, value in moments.items():
        _must_be_like(value, value if name == "step" else like, f"moments.{index}.{name}")
    if moments and len(moments) < len(MOMENTS):
        raise KeyError(f"{PREFIX}moments.{index}")
    return moments


def _must_be_like(value: Tensor, like: Tensor, name: str) -> None:
    if value.shape != like.shape or not bool(value.isfinite().all()):
        raise ValueError(f"{PREFIX}{name} is {list(value.shape)} and must be {list(like.shape)}, and finite")
