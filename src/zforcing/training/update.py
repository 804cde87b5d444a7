"""One update of the weights: bound, gradient, clipping, Adam; skipped where the loss or the gradient isn't finite.

    update = EagerUpdate(BoundModule(model, ELBO()), make_optimizer(model, TrainingConfig()), max_grad_norm=100.0)
    updated = update(batch, Weights(), learning_rate=1e-3)

`EagerUpdate` does it operation by operation. `GraphUpdate` does all of it in one launch: it captures the update in a
CUDA graph for each shape of batch and replays that. Both give the same numbers, up to rounding, for the
same batch and noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..bounds import Bound, BoundResult, Weights
from ..errors import UserError
from ..models import DensityModel, State, of_sequences
from ..observations import SequenceBatch
from .carry import CarriedState
from .parallel import Processes, SingleProcess
from .players.turn import PlayerUpdate, Turn
from .settings import TrainingConfig
from .word_dropout import WordDropout

Precision = Literal["float32", "bfloat16"]
Sums = Callable[[BoundResult, float | Tensor], dict[str, float]]


class BoundModule(nn.Module):
    """A model and its bound as one module, with word dropout between the data and them.

    word_dropout: how probable it is, in training mode, that the model's past has the unknown word in a word's place.
    Raises UserError where that is more than 0 and the model's observations have no unknown word.
    """

    def __init__(self, model: DensityModel, bound: Bound, *, word_dropout: float = 0.0):
        super().__init__()
        self.model = model
        self.bound = bound
        self.word_dropout = WordDropout(word_dropout, model.spec)

    def measuring(self) -> BoundModule:
        """In eval mode, for a validation: what the bound computes once for all batches is there."""
        return BoundModule(self.model, self.bound.validating().prepared(self.model.eval())).eval()

    def forward(self, batch: SequenceBatch, weights: Weights, carried: CarriedState | None = None) -> BoundResult:
        """The bound of each sequence, or of chunks that start from a carried state, with the state after them."""
        if carried is None:
            return self.bound(self.model, self.word_dropout(batch), weights=weights)
        if not self.bound.carries_state:
            raise ValueError(f"{type(self.bound).__name__} can't start from a carried state")
        batch, carried = carried.drop_words(batch, self.word_dropout)
        model = of_sequences(self.model, needed_by="a carried state")
        state = carried.before(model, batch)
        context = carried.context(model, batch.x.shape[1], state=state)
        return self.bound(model, batch, weights=weights, state=state, context=context)


def make_optimizer(model: nn.Module, settings: TrainingConfig) -> torch.optim.Adam:
    """Make the Adam of the settings, fused (one kernel for all parameters) where torch has that, also on a CPU."""
    parameters = list(model.parameters())
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
    return torch.optim.Adam(
        parameters,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        fused=fused or None,  # None leaves the choice among the others to torch
    )


def check_precision(model: nn.Module, precision: Precision) -> None:
    """Raise UserError where the model's weights can't be used in this precision: autocast leaves float64 as it is."""
    if precision == "bfloat16" and any(p.dtype == torch.float64 for p in model.parameters()):
        raise UserError(
            "training.precision bfloat16 does nothing to a model in float64: set it to float32, which trains in "
            "the weights' own precision, or train model.float()"
        )


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Autocast in this precision. Accelerate's own can be set only once in a process."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def sums_of(
    result: BoundResult, share: float | Tensor = 1.0, *, here: Processes | None = None, **own: float
) -> dict[str, float]:
    """Sums over a batch's sequences, in float64: "value", "loss" and each term of the bound, in nats, by name, and how
    many "sequences" there are; of all processes, where a batch is spread over them.

    share: 0 where this process only keeps pace with the others; own: numbers of this process that are summed too
    """
    parts = {"value": result.value, "loss": result.loss} | result.terms
    sums = torch.stack([part.detach().sum(dtype=torch.float64) for part in parts.values()])
    sequences = torch.ones_like(result.value).sum(dtype=torch.float64)
    of_batch = torch.cat([sums, sequences[None]])
    if not share:
        of_batch = torch.zeros_like(of_batch)
    of_process = torch.cat([of_batch, of_batch.new_tensor(list(own.values()))])
    total = of_process if here is None else here.total(of_process)
    return dict(zip([*parts, "sequences", *own], total.tolist(), strict=True))


class Part(NamedTuple):
    """A batch that an update takes, and what its mean loss counts.

    share: the parts' mean losses times their shares add up to the mean over all of the update's sequences, where with
        several processes each has parts of its own
    carried: the state before chunks of sequences; None for whole sequences
    """

    batch: SequenceBatch
    share: float | Tensor = 1.0
    carried: CarriedState | None = None


@dataclass(frozen=True)
class Updated:
    """What an update did.

    Attributes:
        results: the bound of this process's sequences, a batch each; nothing can be differentiated any more.
        sums: over all of the update's sequences (all processes): the value, the loss and each term of the bound in
            nats, and how many "sequences" (`sums_of`); of a player, what `Turn.end` returns.
        gradient_norm: before it was clipped.
        applied: False: the loss or the gradient was not finite, and neither weights nor moments changed.
    """

    results: tuple[BoundResult, ...]
    sums: dict[str, float]
    gradient_norm: float
    applied: bool

    @property
    def loss(self) -> float:
        """Sum over the update's sequences, nats."""
        return self.sums["loss"]

    @property
    def state(self) -> State | None:
        """The state after each row's last step in the last batch, if it started from a carried one; else None."""
        return self.results[-1].state


class EagerUpdate:
    """An update, operation by operation.

    module:        a `BoundModule`
    optimizer:     Adam over its parameters
    max_grad_norm: the gradient is scaled down to this norm; None: never
    precision:     of the forward pass; bfloat16 is autocast
    here:          this process, among those that train together; None: the only one
    sums:          what to sum over the sequences, as `sums_of`
    player:        what trains beside the bound; None: nothing does
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        max_grad_norm: float | None,
        precision: Precision = "float32",
        here: Processes | None = None,
        sums: Sums = sums_of,
        player: PlayerUpdate | None = None,
    ):
        self.module, self.optimizer, self.here = module, optimizer, here or SingleProcess()
        self.max_grad_norm, self.precision = max_grad_norm or math.inf, precision
        self.sums, self.player = sums, player

    def __call__(self, batch: SequenceBatch, weights: Weights, *, learning_rate: float, share: float = 1.0) -> Updated:
        """`over` one batch."""
        return self.over([Part(batch, share)], weights, learning_rate=learning_rate)

    def over(self, parts: Sequence[Part], weights: Weights, *, learning_rate: float) -> Updated:
        """One step of Adam on the mean loss over the sequences of several batches, which are taken one after the other
        (gradient accumulation: the memory of one of them), unless the loss or its gradient isn't finite. The player's
        step follows, by a gradient from before.
        """
        turn = None if self.player is None else self.player.begin()
        results, norm = self.gradient(parts, weights, turn)
        sums = total_sums([self.sums(result, part.share) for result, part in zip(results, parts, strict=True)])
        gradient_norm = float(norm)
        applied = math.isfinite(sums["loss"]) and math.isfinite(gradient_norm)
        if applied:
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
            self.optimizer.step()
        else:
            self.optimizer.zero_grad()
        of_player = {} if turn is None else turn.end(applied=applied)
        return Updated(results, sums | of_player, gradient_norm, applied)

    def gradient(
        self, parts: Sequence[Part], weights: Weights, turn: Turn | None = None
    ) -> tuple[tuple[BoundResult, ...], Tensor]:
        """The bounds and the norm of their gradient, which the parameters then hold, clipped. Nothing waits for the GPU
        here, and nothing may: this is what a CUDA graph captures.
        """
        self.optimizer.zero_grad()  # to None: in a capture, the graph's own memory takes the gradient
        results = tuple(self._added(part, weights, turn) for part in parts)
        self.here.add_gradients(self.module)
        if turn is not None:
            turn.add_gradient()
        return results, nn.utils.clip_grad_norm_(self.module.parameters(), self.max_grad_norm)

    def _added(self, part: Part, weights: Weights, turn: Turn | None) -> BoundResult:
        """The bound of a part, whose gradient is added to what the parameters hold, and the player's play on it."""
        with autocast(part.batch.x.device, self.precision):
            result: BoundResult = self.module(part.batch, weights, part.carried)
        (result.loss.mean() * part.share).backward()
        result = mapped(torch.Tensor.detach, result)
        return result if turn is None else turn.play(part.batch, result, share=float(part.share))


def total_sums(sums: Sequence[dict[str, float]]) -> dict[str, float]:
    """The sums of several batches, by name."""
    return {name: sum(part[name] for part in sums) for name in sums[0]}


def mapped(f: Callable[[Tensor], Tensor], result: BoundResult) -> BoundResult:
    """f applied to each tensor of a result."""
    terms = {name: f(term) for name, term in result.terms.items()}
    return replace(result, value=f(result.value), loss=f(result.loss), terms=terms)
