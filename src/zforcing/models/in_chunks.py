"""Long sequences without gradients, in chunks of steps with the state carried: the same numbers in less memory.

What the networks compute at a step, some 10 to 100 KB, is then held for the steps of a chunk alone. Of all steps at
once there are the observations, the noise and the posterior's context, which may have read the whole sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..observations import SequenceBatch, masked_sum
from .contract import RecurrentModel, Resample
from .density import Draws
from .state import State, copies, map_state, where_rows
from .unroll import Unroll

LONG = 4096
"""steps; shorter sequences are run whole, which takes less time where there are many at once"""
ROWS_AT_ONCE = 2**12
"""rows (sequences times particles) times steps of a chunk, of which there are LEAST or more"""
LEAST = 32
Noise = Callable[[int, int], Tensor]
"""the noise of the steps start..stop-1, [N, steps, Z]"""


class Chunk(NamedTuple):
    """The steps start..stop-1 of all rows of a batch."""

    start: int
    stop: int
    run: Unroll
    """of these steps; a row that has ended before them has a first one that means nothing"""
    exists: Tensor
    """[N, steps] bool: which of them each row has"""
    state: State
    """after the last step that a row has had so far, N rows"""


def steps_at_once(model: RecurrentModel, steps: int, *, rows: int) -> int:
    """How many steps of sequences of so many are run at once: all of them where a gradient is wanted."""
    if steps <= LONG or model.training or torch.is_grad_enabled():
        return steps
    return max(LEAST, min(LONG, ROWS_AT_ONCE // rows))


def unrolled(
    model: RecurrentModel,
    batch: SequenceBatch,
    *,
    noise: Noise,
    particles: int = 1,
    state: State | None = None,
    context: Tensor | None = None,
    resample: Resample | None = None,
    steps: int | None = None,
) -> Iterator[Chunk]:
    """Run a model over a batch as its `unroll` does, in chunks where the sequences are long (`steps_at_once`).

    Args:
        model: The model.
        batch: B sequences.
        noise: Gives standard normal noise.
        particles: K, N = K B.
        state: See `unroll`.
        context: See `unroll`.
        resample: See `unroll`.
        steps: Of a chunk; None: `steps_at_once`.
    """
    T, rows = batch.x.shape[1], batch.repeat(particles)
    steps = steps or steps_at_once(model, T, rows=len(rows))
    if steps >= T:
        run = model.unroll(
            batch, noise=noise(0, T), particles=particles, state=state, context=context, resample=resample
        )
        yield Chunk(0, T, run, rows.mask, run.state)
        return
    context = _encoded(model, batch, state) if context is None else context
    now = model.initial_state(len(rows), start=rows.start) if state is None else state
    for start in range(0, T, steps):
        stop = min(start + steps, T)
        exists = rows.mask[:, start:stop]
        run = model.unroll(
            _steps(batch, start, stop),
            noise=noise(start, stop),
            particles=particles,
            state=now,
            context=context[:, start:stop],
            resample=None if resample is None else partial(_resampled, resample, start, exists),
        )
        now = where_rows(exists[:, 0], run.state, now)
        yield Chunk(start, stop, run, exists, now)
        if resample is not None and stop < T:
            index = _resampled(resample, start, exists, stop - start - 1, _last_weight(run))
            now = now if index is None else map_state(lambda v, rows=index: v[rows], now)


def _encoded(model: RecurrentModel, batch: SequenceBatch, state: State | None) -> Tensor:
    """The context of a batch, before which its copies are in some state."""
    return model.encode(batch, state=None if state is None else map_state(lambda v: v[: len(batch)], state))


def _resampled(resample: Resample, start: int, exists: Tensor, t: int, log_w: Tensor) -> Tensor | None:
    """The rows that continue after step start + t."""
    return resample(start + t, torch.where(exists[:, t], log_w, 0.0))


def _last_weight(run: Unroll) -> Tensor:
    """log p(x_t | .) + log p(z_t | .) - log q(z_t | .) of the last step, [N] in float64."""
    ratio = run.prior.log_prob(run.latents) - run.posterior.log_prob(run.latents)
    return (run.log_px + ratio)[:, -1].double()


def _steps(batch: SequenceBatch, start: int, stop: int) -> SequenceBatch:
    """The steps start..stop-1 of all sequences; those that have ended keep one, which means nothing."""
    lengths = (batch.lengths - start).clamp(min=1, max=stop - start)
    before = batch.start if start == 0 else batch.read[:, start - 1]
    return type(batch)(lengths=lengths, start=before, **{n: v[:, start:stop] for n, v in batch.stepwise.items()})


@torch.no_grad()
def draws_of_long(
    model: RecurrentModel,
    batch: SequenceBatch,
    *,
    noise: Tensor,
    particles: int,
    state: State | None,
    context: Tensor | None,
) -> Draws:
    """Draw the latents of all steps as `SequenceModel.draw` does, and sum their terms chunk by chunk."""
    whole = _encoded(model, batch, state) if context is None else context

    def chunks() -> Iterator[Chunk]:
        return unrolled(model, batch, noise=lambda a, b: noise[:, a:b], particles=particles, state=state, context=whole)

    totals = {name: torch.zeros(len(noise), dtype=torch.float64, device=noise.device) for name in ("x", "z", "q")}
    latents, kl, last = [], [], state
    for chunk in chunks():
        run, exists, last = chunk.run, chunk.exists, chunk.state
        terms = (run.log_px, run.prior.log_prob(run.latents), run.posterior.log_prob(run.latents))
        for total, term in zip(totals.values(), terms, strict=True):
            total += masked_sum(term, exists)
        latents.append(run.latents)
        kl.append(torch.where(exists, run.kl, torch.zeros_like(run.kl)))

    def cost(name: str) -> Tensor:
        """By another pass: bounds that are measured rarely ask for it."""
        if name in model.context_costs:
            each: Tensor = getattr(model, name)(batch, whole)
            return copies(masked_sum(each, batch.mask), particles)
        return torch.stack([masked_sum(chunk.run.cost(name), chunk.exists) for chunk in chunks()]).sum(0)

    return Draws(
        torch.cat(latents, dim=1),
        log_px=lambda: totals["x"],
        log_pz=lambda: totals["z"],
        log_qz=lambda: totals["q"],
        kl_parts=cache(lambda: torch.cat(kl, dim=1)),
        parts_exist=batch.repeat(particles).mask,
        costs={name: partial(cost, name) for name in (*model.step_costs, *model.context_costs)},
        state=lambda: last,
    )
