"""Professor Forcing: a discriminator learns to tell teacher-forced trajectories from free-running ones.

A. Lamb, A. Goyal et al., "Professor Forcing: A New Algorithm for Training Recurrent Networks", NIPS 2016, arXiv
1610.09038.

    teacher-forced   b_t = [h_t, the parameters of p(x_t | past)], fed the data x
    free-running     b~_t, the same, fed x~ that the model itself generates
    the player's     -log D(b) - log(1 - D(b~)), both without gradient into the model
    the model's      its bound on x, and -log D(b~)

x~ (and z~, of a model with latents) is drawn first, without gradient, and then fed like data: the model hears the
discriminator through the hidden states that read x~, never through the draws. The teacher-forced trajectory is a
constant: the paper's optional term, which would make it look free-running, isn't here. The discriminator moves while
its accuracy is at most `discriminator_at_most`, and the model hears it while it is above `model_above`.

What differs: the paper steps by the likelihood, then by both losses together; here is one step by both. Its
discriminators are, on MNIST, wider convolutions whose last feature map is flattened, where here its mean is read, and
elsewhere a bidirectional GRU.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...distributions import parameters_of
from ...errors import UserError
from ...models import DensityModel, SequenceModel, of_sequences
from ...models.unroll import Unroll
from ...observations import SequenceBatch
from ...settings import Count, Probability, Range
from ...tasks.sample import generate
from .discriminator import Discriminator, accuracy
from .player import Gate, Play, Player

Accuracy = Annotated[float, Range(at_least=0, at_most=1)]


@dataclass(frozen=True)
class Professor(Player):
    """Professor Forcing's discriminator. Of the measure, its accuracy, 0.5 is chance."""

    name: ClassVar[str] = "professor"
    paper: ClassVar[str] = (
        "A. Lamb, A. Goyal et al., "
        '"Professor Forcing: A New Algorithm for Training Recurrent Networks", NIPS 2016, arXiv 1610.09038'
    )
    needs_steps: ClassVar[bool] = True
    begin_at: ClassVar[float] = 0.5

    rows: Count | None = None
    """sequences of each batch that it looks at, as many teacher-forced as free-running; null: all"""
    channels: Count = 32
    """of its first convolution; each one after it has twice as many"""
    layers: Count = 2
    """convolutions"""
    width: Count | None = None
    """steps in a row of the picture, where the steps are its pixels; null: it convolves along time"""
    dropout: Probability = 0.2
    """of what it reads and of its layers"""
    model_above: Accuracy = 0.75
    """the model hears the discriminator while its accuracy is above this"""
    discriminator_at_most: Accuracy = 0.99
    """the discriminator moves while its accuracy is at most this"""

    def __post_init__(self) -> None:
        """Refuse what doesn't fit, and gates between which nobody would ever move again. Raises UserError, one line."""
        super().__post_init__()
        if self.model_above > self.discriminator_at_most:
            raise UserError(
                f"player.model_above is {self.model_above}, above player.discriminator_at_most, which is "
                f"{self.discriminator_at_most}: at an accuracy between them neither would train"
            )

    @property
    def moves(self) -> Gate:
        """Not while it is right nearly always: what it says would have no gradient any more."""
        return Gate(at_most=self.discriminator_at_most)

    @property
    def counts(self) -> Gate:
        """Not while it hardly knows better than chance."""
        return Gate(above=self.model_above)

    def network(self, model: DensityModel) -> nn.Module:
        """The discriminator, for trajectories of the model's size."""
        features = _features(of_sequences(model, needed_by=f"player {self.name}"))
        return Discriminator(
            features, channels=self.channels, layers=self.layers, dropout=self.dropout, width=self.width
        )

    def play(self, network: nn.Module, model: DensityModel, batch: SequenceBatch, *, counts: bool) -> Play:
        """See `Player.play`. Draws as many sequences as it looks at, of their lengths, from their x_0 and inputs."""
        sequences, data = of_sequences(model, needed_by=f"player {self.name}"), _first_rows(batch, self.rows)
        with torch.no_grad():
            forced = trajectory(sequences, sequences.unroll(data))
        with torch.set_grad_enabled(counts):
            free = trajectory(sequences, free_running(sequences, data))
        real, made = network(torch.cat([forced, free.detach()]), data.mask.repeat(2, 1)).chunk(2)
        heard = network(free, data.mask) if counts else made.detach()
        return Play(
            own=F.softplus(-real).mean() + F.softplus(made).mean(),
            models=F.softplus(-heard).mean(),
            measure=accuracy(real, made),
        )


def trajectory(model: SequenceModel, run: Unroll) -> Tensor:
    """b_t: the model's hidden state and the parameters of its emission, [B, T, F]."""
    rows, steps = run.batch.mask.shape
    parameters = [p.expand(rows, steps, *p.shape[2:]) for p in parameters_of(run.emission)]
    return torch.cat([part.flatten(2) for part in (run.field(model.hidden), *parameters)], dim=2)


def free_running(model: SequenceModel, batch: SequenceBatch) -> Unroll:
    """The model fed what it generates itself, in a batch's lengths, from its x_0 and inputs, with its gaps.

    Gradients reach the model through the states and emissions of that run, not through what was generated.
    """
    with torch.no_grad():
        first = model.initial_state(len(batch), start=batch.start)
        drawn = generate(model, first, batch.x.shape[1], inputs=batch.inputs)
    return model.unroll(replace(batch, x=drawn.x), latents=drawn.latents)


def _first_rows(batch: SequenceBatch, rows: int | None) -> SequenceBatch:
    return replace(batch, **{name: value[:rows] for name, value in batch.tensors.items()})


def _features(model: SequenceModel) -> int:
    """F, the size of a step's part of a trajectory. Raises UserError where the state has no such field."""
    with torch.no_grad():
        first = model.initial_state(1)
        some = next(model.parameters())
        inputs = some.new_zeros(1, model.spec.inputs) if model.spec.inputs else None
        state = model.after_latent(model.after_inputs(first, inputs), some.new_zeros(1, model.latent_size))
        if model.hidden not in state._fields:
            raise UserError(
                f"model {model.name} has no hidden trajectory: its state has {', '.join(state._fields)}, and no "
                f"{model.hidden}; the class names one of them by `hidden`"
            )
        parts = [getattr(state, model.hidden), *parameters_of(model.emission(state))]
    return sum(part.numel() for part in parts)
