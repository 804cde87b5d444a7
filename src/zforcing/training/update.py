"""One update of the weights: bound, gradient, clipping, Adam; skipped where the loss or the gradient isn't finite.

    update = EagerUpdate(BoundModule(model, ELBO()), make_optimizer(model, TrainingConfig()), max_grad_norm=100.0)
    updated = update(batch, Weights(), learning_rate=1e-3)

`EagerUpdate` does it operation by operation. `GraphUpdate` does all of it in one launch: it captures the update in a
CUDA graph for each shape of batch and replays that. Both say the same, up to rounding, of the same batch and noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..bounds import ELBO, Bound, BoundResult, Weights
from ..models import SequenceModel
from ..observations import SequenceBatch
from .carry import GoingOn
from .settings import TrainingConfig
from .word_dropout import WordDropout

Precision = Literal["float32", "bfloat16"]
SUMS = ("value", "loss", "kl", "sequences")


class BoundModule(nn.Module):
    """A model and its bound as one module: what data-parallel training wraps is what is called.

    word_dropout: how probable it is, in training mode, that the model's past has the unknown word in a word's place.
    Raises UserError where that is more than 0 and the model's observations have no unknown word.
    """

    def __init__(self, model: SequenceModel, bound: Bound, *, word_dropout: float = 0.0):
        super().__init__()
        self.model = model
        self.bound = bound
        self.word_dropout = WordDropout(word_dropout, model.spec)

    def forward(self, batch: SequenceBatch, weights: Weights, going_on: GoingOn | None = None) -> BoundResult:
        """The bound of each sequence; of chunks that go on from a state, with the state after them."""
        if going_on is None:
            return self.bound(self.model, self.word_dropout(batch), weights=weights)
        if not isinstance(self.bound, ELBO):
            raise ValueError(f"{type(self.bound).__name__} doesn't go on from a state")
        batch, going_on = going_on.dropped(batch, self.word_dropout)
        context = going_on.context(self.model, batch.x.shape[1])
        return self.bound(self.model, batch, weights=weights, state=going_on.state, context=context)


def make_optimizer(model: nn.Module, settings: TrainingConfig) -> torch.optim.Adam:
    """Adam as the settings say, all parameters in one kernel where torch has that (on a CPU too)."""
    parameters = list(model.parameters())
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
    return torch.optim.Adam(
        parameters,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        fused=fused or None,  # None leaves the choice among the others to torch
    )


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Ours, not accelerate's: its precision can be chosen only once in a process."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def summed(result: BoundResult) -> Tensor:
    """[4] float64: `SUMS` over a batch's sequences."""
    sequences = torch.ones_like(result.value).sum()
    return torch.stack([result.value.sum(), result.loss.sum(), result.terms["kl"].sum(), sequences])


@dataclass(frozen=True)
class Updated:
    """What an update did.

    result:        the bound of this process's sequences; nothing can be differentiated any more
    sums:          of the whole batch (all processes): value, loss and kl in nats, and how many sequences
    gradient_norm: before it was clipped
    applied:       False: the loss or the gradient was not finite, and neither weights nor moments changed
    """

    result: BoundResult
    sums: dict[str, float]
    gradient_norm: float
    applied: bool

    @property
    def loss(self) -> float:
        """Sum over the batch's sequences, nats."""
        return self.sums["loss"]


class EagerUpdate:
    """An update, operation by operation.

    module:        a `BoundModule`, or what data-parallel training made of it
    optimizer:     Adam over its parameters
    max_grad_norm: the gradient is scaled down to this norm; None: never
    precision:     of the forward pass; bfloat16 is autocast
    accelerator:   for data-parallel training
    sums:          what replaces `summed` where a batch is spread over processes: (result, share) -> sums by name
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        max_grad_norm: float | None,
        precision: Precision = "float32",
        accelerator: Accelerator | None = None,
        sums: Callable[[BoundResult, float], dict[str, float]] | None = None,
    ):
        self.module, self.optimizer, self.accelerator = module, optimizer, accelerator
        self.max_grad_norm, self.precision = max_grad_norm or math.inf, precision
        self.sums = sums or (lambda result, share: dict(zip(SUMS, summed(result).tolist(), strict=True)))

    def __call__(
        self,
        batch: SequenceBatch,
        weights: Weights,
        *,
        learning_rate: float,
        share: float = 1.0,
        going_on: GoingOn | None = None,
    ) -> Updated:
        """One step of Adam on the mean loss of the batch's sequences, unless it or its gradient isn't finite.

        share: with several processes each adds the sequences that are its own, and data-parallel training averages the
        gradients over processes: the factor that makes the average of the parts' means the whole batch's mean.
        going_on: where chunks of sequences go on from.
        """
        result, norm = self.gradient(batch, weights, share, going_on)
        sums, gradient_norm = self.sums(result, share), float(norm)
        applied = math.isfinite(sums["loss"]) and math.isfinite(gradient_norm)
        if applied:
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
            self.optimizer.step()
        else:
            self.optimizer.zero_grad()
        return Updated(result, sums, gradient_norm, applied)

    def gradient(
        self, batch: SequenceBatch, weights: Weights, share: float | Tensor, going_on: GoingOn | None = None
    ) -> tuple[BoundResult, Tensor]:
        """The bound and the norm of its gradient, which the parameters then hold, clipped. Nothing waits for the GPU
        here, and nothing may: this is what a CUDA graph captures.
        """
        with autocast(batch.x.device, self.precision):
            result: BoundResult = self.module(batch, weights, going_on)
        loss = result.loss.mean() * share
        self.optimizer.zero_grad()  # to None: in a capture, the graph's own memory takes the gradient
        if self.accelerator is None:
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.module.parameters(), self.max_grad_norm)
        else:
            self.accelerator.backward(loss)
            norm = self.accelerator.clip_grad_norm_(self.module.parameters(), self.max_grad_norm)
        return _mapped(torch.Tensor.detach, result), norm


def _mapped(f: Callable[[Tensor], Tensor], result: BoundResult) -> BoundResult:
    """f applied to each tensor of a result."""
    terms = {name: f(term) for name, term in result.terms.items()}
    return replace(result, value=f(result.value), loss=f(result.loss), terms=terms)
