"""The state of a model after sequences that it has read, from which it goes on: what the past's latents were.

They are drawn anew for each of the samples that go on, in one of two ways:

    filter      by the particle filter (`tasks.filtering`): K particles are weighed by how well they explain every
                observation, and the samples are drawn among those at the end. With more particles this comes to
                p(z_1..z_T | x_1..x_T), and the samples to p(x_T+1.. | x_1..x_T)
    posterior   by the model's q(z_1..z_T | x_1..x_T): an approximation that was learnt, of any number of samples
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np
import torch

from ..bounds.resampling import inverse_cdf
from ..files.reading import Array
from ..models import SequenceModel
from ..models.in_chunks import unrolled
from ..models.state import State, map_state, where_rows
from ..observations import SequenceBatch
from ..runtime.device import place_of
from .filtering import ParticleFilter, particles_of, steps_of

Past = Literal["filter", "posterior"]


@torch.no_grad()
def state_after(
    model: SequenceModel, prefix: SequenceBatch, *, num_samples: int, past: Past, particles: int, seed: int
) -> State:
    """The states at the end of each sequence, n = num_samples B rows: row i + j B is sample j of sequence i.

    Args:
        model: In eval mode.
        prefix: B sequences.
        num_samples: S, for each sequence.
        past: What the latents of the past are drawn by, see the module.
        particles: K of the filter.
        seed: Of all random numbers of the filter; the posterior takes torch's global generator.
    """
    prefix = prefix.to(*place_of(model))
    if past == "posterior":
        noise = model.draw_noise(prefix, particles=num_samples)
        chunks = unrolled(model, prefix, noise=lambda start, stop: noise[:, start:stop], particles=num_samples)
        return deque(chunks, maxlen=1)[0].state
    state, log_weights = filtered_to_the_end(model, prefix, particles=particles, seed=seed)
    index = torch.from_numpy(resampled(log_weights, num_samples, seed=seed)).to(prefix.x.device)
    return map_state(lambda v: v[index], state)


def filtered_to_the_end(
    model: SequenceModel, batch: SequenceBatch, *, particles: int, seed: int
) -> tuple[State, Array]:
    """The particles at the end of each sequence: their states [K B, ...], and log-weights [K, B] float64."""
    steps = ParticleFilter.begin(model, batch.start, particles=particles, seed=seed)
    state, log_weights = steps.state.model, steps.state.log_weights
    K, lengths = particles_of(model, particles), batch.lengths
    ends = set(lengths.tolist())
    for t, (x, seen, u) in enumerate(steps_of(batch), start=1):
        steps.predict(u)
        steps.read(x, seen)
        if t in ends:
            here = lengths == t
            state = where_rows(here.repeat(K), steps.state.model, state)
            log_weights = np.where(here.cpu().numpy(), steps.state.log_weights, log_weights)
    return state, log_weights


def resampled(log_weights: Array, num_samples: int, *, seed: int) -> Array:
    """Rows of particles, [S B] int64, each sample one of its sequence's K by their weights [K, B].

    Systematic resampling, and a random order, so that each sample by itself is a draw; the same random numbers for all
    sequences.
    """
    K, B = log_weights.shape
    rng = np.random.default_rng([seed, 0, num_samples])
    weights = torch.from_numpy(np.exp(log_weights))
    weights = torch.where(weights.isfinite().all(0), weights, 1 / K)  # where no particle could explain the last step
    u = torch.full((num_samples, B), rng.random(), dtype=torch.float64)
    chosen = inverse_cdf(weights, u).numpy()[rng.permutation(num_samples)]  # [S, B]
    rows: Array = (chosen * B + np.arange(B)).reshape(-1)
    return rows
