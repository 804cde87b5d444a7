"""A particle smoother: draws of what is missing, given all that is observed, before and after it.

A particle is a whole history (z_1..z_t and the x_1..x_t that it has read): where x_t is observed, that; where it is
missing, a draw. With the complete past each model is the one it was trained as, and the target is exact,

    p(z_1..z_T, missing | observed)  ~  prod_t p(z_t | past) p(x_t | z_<=t, x_<t).

Step t draws z_t from a mixture m of p(z_t | past), a tenth, and q(z_t | past, context), whose context has read the
sequence with its gaps filled by lines, and x_t's missing numbers from p(missing | observed of x_t, z_<=t, past):

    w_t  =  w_{t-1}  p(z_t | past) / m(z_t)  p(observed of x_t | z_<=t, past)

so that p / m is 10 at most where q fails (T. Hesterberg's defensive mixture, 1995). Particles are resampled when the
effective sample size falls below half of K.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from ..bounds.resampling import systematic
from ..files.reading import Array
from ..models import SequenceModel
from ..models.proposal import Mixture
from ..models.state import State, copies, map_state
from ..observations import ObservationSpec, SequenceBatch
from ..runtime.device import place_of
from .completing import draw_missing, log_weight_of

RESAMPLED_BELOW = 0.5  # of K
MIXTURE = Mixture(one_in=10)  # the posterior has read all that is observed


@dataclass(frozen=True, eq=False)
class Histories:
    """What K particles of B sequences drew, and whom each descends from."""

    x: Array
    """[T, K, B, D], complete; D is 1 of categories"""
    z: Array
    """[T, K, B, Z]; Z is 0 where they weren't kept"""
    ancestors: dict[int, Array]
    """t: [K, B]; after step t, from 0, particle k of a sequence goes on from this particle. Without t all go on"""
    resampled: dict[int, Array]
    """t: [B] bool, which of the sequences were"""
    final: Array
    """[K, B]: K equally weighted particles of the last step"""


class _Kept:
    """One value of each of T steps, whose size the first one says."""

    def __init__(self, count: int):
        self.steps: Array = np.empty((count, 0))

    def put(self, t: int, value: Tensor) -> None:
        """Keep the value of step t, from 0."""
        found = value.cpu().numpy()
        if t == 0:
            self.steps = np.empty((len(self.steps), *found.shape), dtype=found.dtype)
        self.steps[t] = found


class Smoother:
    """Runs the smoother of the module's docstring on B sequences. It draws from torch's global generator.

    Args:
        model: In eval mode.
        batch: On the CPU.
        particles: K.
    """

    @torch.no_grad()
    def __init__(self, model: SequenceModel, batch: SequenceBatch, *, particles: int):
        device, dtype = place_of(model)
        self.model, self.K, self.B = model, particles, len(batch)
        self.batch = batch.to(device, dtype)
        known = batch if model.spec.missing else filled_by_lines(batch, continuous(model.spec))
        self.context = model.encode(known.to(device, dtype))  # [B, T, C]

    @torch.no_grad()
    def run(self, *, keep_latents: bool) -> Histories:
        """Over all steps. All of them are in memory: 4 K (D + Z) bytes a step and sequence, or 4 K D."""
        batch, T = self.batch, self.batch.x.shape[1]
        state = self.model.initial_state(self.K * self.B, start=copies(batch.start, self.K))
        log_w = torch.zeros(self.K, self.B, dtype=torch.float64, device=batch.x.device)
        drawn, latents = _Kept(T), _Kept(T)
        ancestors: dict[int, Array] = {}
        resampled: dict[int, Array] = {}
        for t in range(T):
            state, z, x, more = self._step(t, state)
            log_w = torch.where(batch.mask[:, t], log_w + more, log_w)
            drawn.put(t, x.reshape(self.K, self.B, -1))
            latents.put(t, z.reshape(self.K, self.B, -1)[..., : None if keep_latents else 0])
            weights, poor = self._weights(log_w)
            if t + 1 < T and bool(poor.any()):
                index = torch.where(poor, systematic(weights), torch.arange(self.K, device=poor.device)[:, None])
                flat = (index * self.B + torch.arange(self.B, device=poor.device)).reshape(-1)
                state = map_state(partial(_rows, flat), state)
                log_w = torch.where(poor, 0.0, log_w)
                ancestors[t], resampled[t] = index.cpu().numpy(), poor.cpu().numpy()
        final = systematic(self._weights(log_w)[0]).cpu().numpy()
        return Histories(drawn.steps, latents.steps, ancestors, resampled, final)

    def _step(self, t: int, state: State) -> tuple[State, Tensor, Tensor, Tensor]:
        """The state after x_t, z_t, x_t and the log-weights [K, B]."""
        batch, model = self.batch, self.model
        begun = model.after_inputs(state, None if batch.inputs is None else copies(batch.inputs[:, t], self.K))
        z, log_ratio = drawn_latent(model.prior(begun), model.posterior(begun, copies(self.context[:, t], self.K)))
        emitting = model.after_latent(begun, z)
        seen = batch.scored[:, t] | ~batch.exists[:, t]  # nothing is drawn in the padding
        x, log_p = completed(model.emission(emitting), copies(batch.x[:, t], self.K), copies(seen, self.K))
        return model.after_observation(emitting, x), z, x, (log_ratio + log_p).double().reshape(self.K, self.B)

    def _weights(self, log_w: Tensor) -> tuple[Tensor, Tensor]:
        """The normalized weights [K, B], and in which sequences too few are heavy, [B]."""
        finite = torch.where(torch.isfinite(log_w), log_w, -torch.inf)
        possible = torch.isfinite(finite.max(0).values)
        weights = torch.softmax(torch.where(possible, finite, 0.0), dim=0)
        return weights, weights.square().sum(0) * self.K * RESAMPLED_BELOW > 1


def drawn_latent(prior: Distribution, posterior: Distribution) -> tuple[Tensor, Tensor]:
    """z_t of the mixture m of prior and posterior, n rows, and log p(z_t) - log m(z_t)."""
    noise = torch.randn_like(prior.mean)
    by_prior = torch.rand_like(noise[:, :1].sum(-1)) < 1 / MIXTURE.one_in
    return MIXTURE.draw(prior, posterior, noise=noise, by_prior=by_prior)


def completed(p: Distribution, x: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """x_t [n, D] or [n] without gaps, and the log-weight of what was drawn, [n]."""
    if bool(observed.all()):
        return x, p.log_prob(x)
    whole = draw_missing(p, x, observed)
    return whole, log_weight_of(p, whole, observed)


def _rows(index: Tensor, values: Tensor) -> Tensor:
    return values[index]


def continuous(spec: ObservationSpec) -> NDArray[np.bool_]:
    """Which numbers of a step vary continuously, [D]; a category is one number."""
    if spec.columns is not None:
        return np.array([not column.discrete for column in spec.columns])
    return np.full(1 if spec.kind == "categorical" else spec.size, spec.kind in ("real", "quantized"))


def filled_by_lines(batch: SequenceBatch, lines: Sequence[bool] | NDArray[np.bool_]) -> SequenceBatch:
    """The batch with its gaps filled by lines between what is observed, or by what was observed last.

    Args:
        batch: B sequences, on the CPU.
        lines: [D], which numbers of a step are filled by lines.
    """
    if batch.observed is None:
        return batch
    x = batch.x.reshape(*batch.x.shape[:2], -1).clone()
    seen = batch.scored.reshape(x.shape).numpy()
    for row, steps in enumerate(batch.lengths.tolist()):
        for d, by_line in enumerate(lines):
            known = np.flatnonzero(seen[row, :steps, d])
            if 0 < len(known) < steps:
                filled = _between if by_line else _last
                x[row, :steps, d] = torch.from_numpy(filled(known, x[row, known, d].numpy(), steps)).to(x.dtype)
    return SequenceBatch(x.reshape(batch.x.shape), batch.lengths, batch.start, inputs=batch.inputs)


def _between(known: Array, values: Array, steps: int) -> Array:
    line: Array = np.interp(np.arange(steps), known, values)
    return line


def _last(known: Array, values: Array, steps: int) -> Array:
    last: Array = values[np.clip(np.searchsorted(known, np.arange(steps), side="right") - 1, 0, None)]
    return last
