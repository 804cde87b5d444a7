"""Using a trained model to make sequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..distributions import reparameterize, stack
from ..errors import UserError
from ..models.base import SequenceModel, State
from ..observations import SequenceBatch
from ..runtime.threads import cpu_threads


@dataclass(frozen=True)
class Generated:
    """x: [n, T, D] or [n, T] int64; latents: [n, T, Z]; emission: p(x_t | z_<=t, x_<t) at every step, batch [n, T]."""

    x: Tensor
    latents: Tensor
    emission: Distribution


@torch.no_grad()
def sample(model: SequenceModel, n: int, *, steps: int, seed: int, start: Tensor | None = None) -> Generated:
    """n sequences from the model: z_t from the prior, x_t from the emission, step by step.

    start: x_0, [n, D] or [n]; None is the blank one, for a spec that doesn't condition on the first observation. The
    model should be in eval mode.
    Raises UserError when n or steps is below 1, or start is missing or misshapen. Torch's global
    generator is left as it was.
    """
    if n < 1 or steps < 1:
        raise UserError(f"{n} samples of {steps} steps: both must be 1 or more")
    spec = model.spec
    if start is None and spec.conditions_on_first:
        raise UserError("the model conditions on the first observation: give start, the n of them (x_0) to go on from")
    wanted = (n,) if spec.kind == "categorical" else (n, spec.size)
    if start is not None and start.shape != wanted:
        raise UserError(f"start is {list(start.shape)}; {n} samples of this model begin with {list(wanted)}")
    with torch.random.fork_rng(), cpu_threads(model, rows=n):
        torch.manual_seed(seed)
        return drawn(model, model.initial_state(n, start=start), steps)


@torch.no_grad()
def go_on(model: SequenceModel, prefix: SequenceBatch, *, steps: int, seed: int, num: int = 1) -> Generated:
    """`num` continuations of each of B sequences: the latents of the prefix from the posterior, then as `sample` does.

    What comes back is the continuations alone, [num B, steps, ...]: row i + j B is continuation j of sequence i. Each
    has latents of its own for the prefix too. The posterior sees the prefix and nothing else.
    Raises UserError when num or steps is below 1. Torch's global generator is left as it was.
    """
    if num < 1 or steps < 1:
        raise UserError(f"{num} continuations of {steps} steps: both must be 1 or more")
    with torch.random.fork_rng(), cpu_threads(model, rows=num * len(prefix)):
        torch.manual_seed(seed)
        return drawn(model, model.unroll(prefix, particles=num).state, steps)


Choose = Callable[[Distribution], Tensor]
"""x of an emission: `draw`, or `distributions.most_likely` for greedy decoding."""


def draw(emission: Distribution) -> Tensor:
    """x ~ p(x_t | z_<=t, x_<t)."""
    x: Tensor = emission.sample()
    return x


def from_prior(t: int, prior: Distribution) -> Tensor:
    """z_t ~ p(z_t | past)."""
    return reparameterize(prior, torch.randn_like(prior.mean))


def drawn(
    model: SequenceModel,
    state: State,
    steps: int,
    *,
    latent: Callable[[int, Distribution], Tensor] = from_prior,
    choose: Choose = draw,
) -> Generated:
    """From a state on: z_t = latent(t, prior) with t from 0, x_t = choose(emission), step by step."""
    xs: list[Tensor] = []
    zs, emissions = [], []
    for t in range(steps):
        z = latent(t, model.prior(state))
        state = model.after_latent(state, z)
        emission = model.emission(state)
        x = _chosen(choose, emission, state, step=t + 1)
        state = model.after_observation(state, x)
        xs.append(x)
        zs.append(z)
        emissions.append(emission)
    return Generated(torch.stack(xs, dim=1), torch.stack(zs, dim=1), stack(emissions, dim=1))


def _chosen(choose: Choose, emission: Distribution, state: State, *, step: int) -> Tensor:
    """x. Raises UserError where the state overflowed: torch then complains of the emission's parameters."""
    try:
        return choose(emission)
    except (RuntimeError, ValueError):
        if all(bool(torch.isfinite(values).all()) for values in state):
            raise
        raise UserError(
            f"the model's state is no longer finite at step {step} of what it draws: was its training stable?"
        ) from None
