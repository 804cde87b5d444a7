"""The approximate posterior of a model's latents: what it reads, what it infers, and whether that carries anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..models import DensityModel, SequenceModel, of_sequences
from ..models.in_chunks import unrolled
from ..observations import ObservationSpec, SequenceBatch
from ..runtime.device import place_of

COLLAPSED = 0.01  # nats per step below which the latents hold almost no information

Reads = Literal["future", "present", "past"]
"""of x_1..x_T, what q(z_t | .) may read: all, x_1..x_t, or x_1..x_{t-1} alone"""
IN_WORDS: dict[Reads, str] = {
    "future": "approximate posterior q(z_t | z_<t, x_1..x_T), which sees the future",
    "present": "approximate posterior q(z_t | z_<t, x_1..x_t), which doesn't see the future",
    "past": "approximate posterior q(z_t | z_<t, x_<t), which doesn't see x_t",
}
TRIED = (16, 3)  # sequences and steps


class Inferred(NamedTuple):
    """The latents of B sequences of T steps; in the padding they mean nothing."""

    z: Tensor
    """[B, T, Z]"""
    kl: Tensor
    """KL(q(z_t | .) || p(z_t | .)) of each step given z_<t, [B, T] in nats"""
    mean: Tensor
    """of q(z_t | z_<t, .), [B, T, Z]"""
    std: Tensor
    """its standard deviations, [B, T, Z]"""


@torch.no_grad()
def infer_latents(model: SequenceModel, batch: SequenceBatch, *, noise: Tensor | None = None) -> Inferred:
    """Infer the latents of sequences by the model's posterior.

    Args:
        model: In eval mode, with latents.
        batch: B sequences of T steps.
        noise: [K B, T, Z] standard normal, for draws from the posterior, K of each sequence; None gives its mean at
            each step, given the means of the steps before.
    """
    particles = 1 if noise is None else len(noise) // len(batch)
    noise = torch.zeros_like(model.draw_noise(batch)) if noise is None else noise
    chunks = unrolled(model, batch, noise=lambda start, stop: noise[:, start:stop], particles=particles)
    found = [(run.latents, run.kl, run.posterior.mean, run.posterior.stddev) for _, _, run, _, _ in chunks]
    return Inferred(*(torch.cat(parts, dim=1) for parts in zip(*found, strict=True)))


def with_latents(model: DensityModel, *, needed_by: str) -> SequenceModel:
    """The model, if it has latents at time steps. Raises UserError otherwise."""
    steps = of_sequences(model, needed_by=needed_by)
    if not steps.latent_size:
        raise UserError(
            f"model {model.name} has no latents: use a run of a model with latents (zforcing, vrnn or srnn)"
        )
    return steps


def noise_of(seed: int, indices: Sequence[int], shape: tuple[int, int, int], *, like: Tensor) -> Tensor:
    """Standard normal noise of some sequences, [K B, T, Z]: that of each is a function of the seed and its number.

    Args:
        seed: Of all of it.
        indices: B numbers of sequences.
        shape: K, T and Z.
        like: For device and type.
    """
    drawn = [np.random.default_rng([seed, i]).standard_normal((shape[1], shape[0], shape[2])) for i in indices]
    return torch.from_numpy(np.stack(drawn)).permute(2, 0, 1, 3).flatten(0, 1).to(like.device, like.dtype)


@torch.no_grad()
def what_posterior_reads(model: SequenceModel) -> Reads:
    """Try whether the context of the first step, which its posterior reads, changes with other observations.

    Args:
        model: In eval mode.
    """
    batch, other = (_random_batch(model.spec, seed=seed).to(*place_of(model)) for seed in (0, 1))
    first = model.encode(batch)[:, 0]
    later = model.encode(replace(batch, x=torch.cat([batch.x[:, :1], other.x[:, 1:]], dim=1)))[:, 0]
    now = model.encode(replace(batch, x=torch.cat([other.x[:, :1], batch.x[:, 1:]], dim=1)))[:, 0]
    if not torch.equal(first, later):
        return "future"
    return "past" if torch.equal(first, now) else "present"


def _random_batch(spec: ObservationSpec, *, seed: int) -> SequenceBatch:
    """Observations that a model may read, on the CPU."""
    generator, (rows, steps) = torch.Generator().manual_seed(seed), TRIED
    x = torch.randn(rows, steps, spec.size, generator=generator)
    if spec.kind == "categorical":
        x = torch.randint(spec.size, (rows, steps), generator=generator)
    elif spec.kind in ("binary", "mixed"):  # of mixed observations, 0 and 1 are in every column
        x = (x > 0).to(x)
    elif spec.levels is not None:
        x = 2 * torch.randint(spec.levels, x.shape, generator=generator).to(x) / (spec.levels - 1) - 1
    start = spec.blank(rows, device=x.device, dtype=x.dtype)
    inputs = torch.zeros(rows, steps, spec.inputs) if spec.inputs else None
    return SequenceBatch(x, torch.full((rows,), steps), start, inputs=inputs)
