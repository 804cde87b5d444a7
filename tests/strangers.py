"""Models as somebody writes them who has read the contract and knows torch.nn, and nothing else of this package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal, StudentT

from zforcing import ObservationSpec, SequenceBatch, SequenceModel


@dataclass(frozen=True)
class Sizes:
    """Settings of both models."""

    latent_size: int = 3
    hidden_size: int = 6


DEFAULT = Sizes()


class Stranger(SequenceModel):
    Config = Sizes

    def __init__(self, spec: ObservationSpec, config: Sizes = DEFAULT):
        super().__init__(spec, config)


def gaussian(numbers: Tensor) -> Distribution:
    mean, spread = numbers.chunk(2, dim=-1)
    return Independent(Normal(mean, F.softplus(spread) + 1e-3), 1)


class Words(NamedTuple):
    """h: of a GRU. word: the last one. t: steps so far."""

    h: Tensor  # [n, H]
    word: Tensor  # [n]
    t: Tensor  # [n], int64


class WordModel(Stranger):
    """A GRU of words and latents, which knows what time it is."""

    name = "word_model"

    def __init__(self, spec: ObservationSpec, config: Sizes = DEFAULT):
        super().__init__(spec, config)
        Z, H, V = config.latent_size, config.hidden_size, spec.size
        self.embedding = nn.Embedding(V + 1, H)  # and a start symbol
        self.cell = nn.GRUCell(H + Z, H)
        self.clock = nn.Embedding(4, H)
        self.prior_net = nn.Sequential(nn.Linear(2 * H, H), nn.LayerNorm(H), nn.Tanh(), nn.Linear(H, 2 * Z))
        self.posterior_net = nn.Sequential(nn.Linear(2 * H, H), nn.GELU(), nn.Linear(H, 2 * Z))
        self.read_out = nn.Sequential(nn.LayerNorm(H), nn.Dropout(0.2), nn.Linear(H, V))

    def initial_state(self, n: int, *, start: Tensor | None = None) -> Words:
        weight = self.embedding.weight
        word = self.spec.blank(n, device=weight.device, dtype=weight.dtype) if start is None else start
        return Words(weight.new_zeros(n, self.config.hidden_size), word, torch.zeros_like(word))

    def encode(self, batch: SequenceBatch, *, state: Words | None = None) -> Tensor:
        return self.embedding(batch.x)

    def prior(self, state: Words) -> Distribution:
        return gaussian(self.prior_net(torch.cat([state.h, self.clock(state.t % 4)], dim=-1)))

    def posterior(self, state: Words, context: Tensor) -> Distribution:
        return gaussian(self.posterior_net(torch.cat([context, state.h], dim=-1)))

    def after_latent(self, state: Words, z: Tensor) -> Words:
        h = self.cell(torch.cat([self.embedding(state.word), z], dim=-1), state.h)
        return state._replace(h=h, t=state.t + 1)

    def emission(self, state: Words) -> Distribution:
        return Categorical(logits=self.read_out(state.h))

    def after_observation(self, state: Words, x: Tensor) -> Words:
        return state._replace(word=x)


class Waves(NamedTuple):
    """The last three observations and the network over them; the energy of what was seen."""

    h: Tensor  # [n, H]
    window: Tensor  # [n, 3, D], the newest one last
    energy: Tensor  # [n]


class WaveModel(Stranger):
    """Layers of torch's that want a dimension of time, einsum, an operation in place, a learned first state."""

    name = "wave_model"

    def __init__(self, spec: ObservationSpec, config: Sizes = DEFAULT):
        super().__init__(spec, config)
        Z, H, D = config.latent_size, config.hidden_size, spec.size
        self.first = nn.Parameter(0.1 * torch.randn(H))
        self.register_buffer("fade", torch.tensor([0.25, 0.5, 1.0]))
        self.recurrent = nn.GRU(3 * D + Z, H)
        self.prior_net = nn.Linear(H + 1, 2 * Z)
        self.posterior_net = nn.Sequential(nn.Linear(H + D, H), nn.ELU(), nn.Linear(H, 2 * Z))
        self.mix = nn.Parameter(torch.randn(Z, H, D) / 3)
        self.scale = nn.Parameter(torch.zeros(D))

    def initial_state(self, n: int, *, start: Tensor | None = None) -> Waves:
        x = self.first.new_zeros(n, self.spec.size) if start is None else start
        return Waves(self.first.expand(n, -1), x[:, None].expand(-1, 3, -1), x.square().sum(-1))

    def encode(self, batch: SequenceBatch, *, state: Waves | None = None) -> Tensor:
        return batch.x

    def prior(self, state: Waves) -> Distribution:
        return gaussian(self.prior_net(torch.cat([state.h, torch.log1p(state.energy)[:, None]], dim=-1)))

    def posterior(self, state: Waves, context: Tensor) -> Distribution:
        return gaussian(self.posterior_net(torch.cat([state.h, context], dim=-1)))

    def after_latent(self, state: Waves, z: Tensor) -> Waves:
        seen = (state.window * self.fade[:, None]).flatten(1)
        _, h = self.recurrent(torch.cat([seen, z], dim=-1)[None], state.h[None].contiguous())
        gate = torch.einsum("nz,zh->nh", z, self.mix.sum(-1)).sigmoid_()
        return state._replace(h=h[0] * gate)

    def emission(self, state: Waves) -> Distribution:
        mean = torch.einsum("nh,hd->nd", state.h, self.mix.mean(0))
        return Independent(StudentT(5.0, mean, self.scale.exp()), 1)

    def after_observation(self, state: Waves, x: Tensor) -> Waves:
        window = torch.stack([*state.window.unbind(1)[1:], x], dim=1)
        return state._replace(window=window, energy=0.9 * state.energy + x.square().sum(-1))


class LooksAtAll(WaveModel):
    """Reads all latents of a batch to decide what to do, which no program of one row can."""

    name = "looks_at_all"

    def after_latent(self, state: Waves, z: Tensor) -> Waves:
        if z.sum() > 0:
            z = z.tanh()
        return super().after_latent(state, z)


class EndsWith(WaveModel):
    """A recurrence whose step ends with a layer that has several results: a norm, which keeps its statistics."""

    name = "ends_with"

    def __init__(self, spec: ObservationSpec, config: Sizes = DEFAULT):
        super().__init__(spec, config)
        self.norm = self.layer(config.hidden_size)

    @staticmethod
    def layer(H: int) -> nn.Module:
        return nn.LayerNorm(H)

    def after_latent(self, state: Waves, z: Tensor) -> Waves:
        state = super().after_latent(state, z)
        return state._replace(h=self.norm(state.h))


class EndsWithGroupNorm(EndsWith):
    @staticmethod
    def layer(H: int) -> nn.Module:
        return nn.GroupNorm(2, H)


class EndsWithBatchNorm(EndsWith):
    @staticmethod
    def layer(H: int) -> nn.Module:
        return nn.BatchNorm1d(H)


class EndsWithConvolution(EndsWith):
    @staticmethod
    def layer(H: int) -> nn.Module:
        return nn.Sequential(nn.Unflatten(1, (1, H)), nn.Conv1d(1, 2, 3, padding=1), nn.MaxPool1d(2), nn.Flatten())


class ReadsLatent(WaveModel):
    """Does something with each latent before it is read."""

    name = "reads_latent"

    def after_latent(self, state: Waves, z: Tensor) -> Waves:
        return super().after_latent(state, self.seen(z))

    def seen(self, z: Tensor) -> Tensor:
        return z


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        return z.view_as(z)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]  # as torch's own examples
        return -0.5 * gradient


class WithOwnDerivative(ReadsLatent):
    """Gives some gradients a factor, as adversaries do."""

    def seen(self, z: Tensor) -> Tensor:
        reversed_: Tensor = _Reversed.apply(z)
        return reversed_


class WithoutGradient(ReadsLatent):
    def seen(self, z: Tensor) -> Tensor:
        with torch.no_grad():
            weight = z.softmax(-1)
        return z * weight


class WithGradientInside(ReadsLatent):
    """A step of gradient descent on an energy, through which no gradient goes."""

    def seen(self, z: Tensor) -> Tensor:
        with torch.enable_grad():
            at = z.detach().requires_grad_()
            (slope,) = torch.autograd.grad((at @ self.mix.sum(-1)).tanh().sum(), at)
        return z - 0.3 * slope


class Counts(ReadsLatent):
    def __init__(self, spec: ObservationSpec, config: Sizes = DEFAULT):
        super().__init__(spec, config)
        self.steps = 0

    def seen(self, z: Tensor) -> Tensor:
        self.steps += 1
        return z * (1 + 0.01 * self.steps)


class CountsInBuffer(ReadsLatent):
    def __init__(self, spec: ObservationSpec, config: Sizes = DEFAULT):
        super().__init__(spec, config)
        self.register_buffer("steps", torch.zeros(()))

    def seen(self, z: Tensor) -> Tensor:
        self.steps = self.steps + 1
        return z * (1 + 0.01 * self.steps)


class DrawsItself(ReadsLatent):
    def __init__(self, spec: ObservationSpec, config: Sizes = DEFAULT):
        super().__init__(spec, config)
        self.generator = torch.Generator().manual_seed(0)

    def seen(self, z: Tensor) -> Tensor:
        return z * torch.rand(z.shape, generator=self.generator, dtype=z.dtype)


class Tempered(ReadsLatent):
    """Reads a number that isn't a buffer, which whoever trains it may change in place."""

    def __init__(self, spec: ObservationSpec, config: Sizes = DEFAULT):
        super().__init__(spec, config)
        self.temperature = torch.ones(())

    def seen(self, z: Tensor) -> Tensor:
        return z * self.temperature.item()


class Changeable(ReadsLatent):
    """A model whose attributes anybody may replace."""

    name = "changeable"

    def __init__(self, spec: ObservationSpec, config: Sizes = DEFAULT):
        super().__init__(spec, config)
        Z = config.latent_size
        self.function: Callable[[Tensor], Tensor] = torch.tanh
        self.settings = {"scale": [1.0]}
        self.table = np.ones(Z)
        self.one, self.other, self.layer = nn.Linear(Z, Z), nn.Linear(Z, Z), nn.Sequential(nn.Tanh())
        self.other.weight = self.one.weight

    def seen(self, z: Tensor) -> Tensor:
        z = self.function(z) * self.settings["scale"][0] * torch.from_numpy(self.table)
        return self.layer(self.other(self.one(z)))


class InComplexNumbers(ReadsLatent):
    def seen(self, z: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(z) * (1 + 0.5j), n=z.shape[-1])


class AddsToItsState(WaveModel):
    """Adds to the state what was seen: the gradient of one is that of the other."""

    name = "adds_to_its_state"

    def __init__(self, spec: ObservationSpec, config: Sizes = DEFAULT):
        super().__init__(spec, config)
        self.reads = nn.Linear(spec.size, config.hidden_size)

    def after_inputs(self, state: Waves, u: Tensor | None) -> Waves:
        return state._replace(h=state.h + self.reads(state.window[:, -1]).tanh())


class Gated(WaveModel):
    """Multiplies the state by what is computed ahead for many steps, which the gradients read again."""

    name = "gated"

    def __init__(self, spec: ObservationSpec, config: Sizes = DEFAULT):
        super().__init__(spec, config)
        self.gate = nn.Linear(spec.size, config.hidden_size)

    def after_latent(self, state: Waves, z: Tensor) -> Waves:
        state = super().after_latent(state, z)
        return state._replace(h=state.h * self.gate(state.window[:, -1]))


class TwoMaps(WaveModel):
    """Adds two maps of what was seen, and two of the state: both of a pair have one gradient, weight by weight."""

    name = "two_maps"

    def __init__(self, spec: ObservationSpec, config: Sizes = DEFAULT):
        super().__init__(spec, config)
        self.of_seen = nn.ModuleList(nn.Linear(spec.size, config.hidden_size) for _ in range(2))
        self.of_state = nn.ModuleList(nn.Linear(config.hidden_size, config.hidden_size) for _ in range(2))

    def after_latent(self, state: Waves, z: Tensor) -> Waves:
        first, second = (
            seen(state.window[:, -1]) + of_state(state.h)
            for seen, of_state in zip(self.of_seen, self.of_state, strict=True)
        )
        return super().after_latent(state._replace(h=torch.tanh(first + second)), z)


class DrawsOfData(WaveModel):
    """Noise whose probability is a function of the data, which all particles share."""

    name = "draws_of_data"

    def emission(self, state: Waves) -> Distribution:
        mean = torch.bernoulli(state.window[:, -1].sigmoid())
        return Independent(StudentT(5.0, mean, self.scale.exp()), 1)
