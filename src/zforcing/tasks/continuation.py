"""Going on from sequences: what a model draws after them."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from ..errors import UserError
from ..models import DensityModel, Generated, SequenceModel, of_sequences
from ..models.state import State
from ..observations import SequenceBatch
from ..runtime.threads import cpu_threads
from ..settings import Count, Seed, must_be, must_fit
from .filtering import particles_of
from .past import Past, state_after
from .sample import Choose, check_inputs, choosing, generate


@torch.no_grad()
def continue_from(
    model: DensityModel,
    prefix: SequenceBatch,
    *,
    steps: int,
    num_samples: int = 1,
    seed: int = 0,
    inputs: Tensor | None = None,
    past: Past = "filter",
    particles: int = 64,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> Generated:
    """Continue sequences: draw the latents of the prefix, given the prefix, then sample as `sample` does.

    Each continuation has its own latents for the prefix. `forecast` does the same in the data's units, and with
    intervals.

    Args:
        model: In eval mode.
        prefix: B sequences to continue.
        steps: Steps to generate after them.
        num_samples: Continuations of each sequence.
        seed: Seed of all random numbers. Torch's global generator is restored.
        inputs: [B, steps, U], those of the steps to generate, of a model that reads known inputs, normalized as it
            reads them.
        past: What the latents of the prefix are drawn by: a particle `filter`, or the model's `posterior`, which reads
            nothing but the prefix. See `tasks.past`.
        particles: K of the filter.
        temperature: T > 0: x_t is drawn from p^(1/T), see `distributions.draw_tempered`; not 1: no longer the model's
            distribution. The latents are drawn from their prior all the same.
        top_p: In (0, 1]: x_t is drawn within the most likely values of this probability; likewise.

    Returns:
        The continuations without prefixes, [num_samples B, steps, ...]: row i + j B is continuation j of sequence i.

    Raises:
        UserError: A number is out of its range, inputs are missing or have another shape, the model has no time steps,
            or its emission has no rule for temperature or top_p.

    Example:
        >>> import torch
        >>> import zforcing as zf
        >>> model = zf.LinearGaussian(zf.ObservationSpec("real", 1), latent_size=2)
        >>> prefix = zf.SequenceBatch(torch.ones(2, 3, 1), torch.tensor([3, 3]), torch.zeros(2, 1))
        >>> zf.continue_from(model, prefix, steps=4, num_samples=5).x.shape
        torch.Size([10, 4, 1])
    """
    must_be(model, DensityModel, "model", "a model, such as load(folder)")
    model = of_sequences(model, needed_by="a continuation")
    must_be(prefix, SequenceBatch, "prefix", "a SequenceBatch; forecast goes on from Sequences")
    must_fit(num_samples, Count, "num_samples")
    must_fit(steps, Count, "steps")
    must_fit(seed, Seed, "seed")
    check_past(past, particles)
    check_inputs(model, inputs, rows=len(prefix), steps=steps)
    choose = choosing(temperature=temperature, top_p=top_p)
    rows = max(num_samples, particles_of(model, particles)) * len(prefix)
    torch.empty(num_samples, len(prefix), steps, model.spec.size)  # what can't be held is refused at once
    with torch.random.fork_rng(), cpu_threads(model, rows=rows):
        torch.manual_seed(seed)
        state = state_after(model, prefix, num_samples=num_samples, past=past, particles=particles, seed=seed)
        return go_on(model, state, steps, choose=choose, inputs=inputs)


def check_past(past: Past, particles: int) -> None:
    """Raise UserError where either isn't what it must be."""
    if past not in get_args(Past):
        raise UserError(f"past is {past!r}; it must be filter, or posterior")
    must_fit(particles, Count, "particles")


def go_on(model: SequenceModel, state: State, steps: int, *, choose: Choose, inputs: Tensor | None) -> Generated:
    """Generate from the states [S B, ...] of B sequences; inputs: [B, steps, U], of a model that reads some."""
    if inputs is None:
        return generate(model, state, steps, choose=choose)
    rows = len(state[0])
    return generate(model, state, steps, choose=choose, inputs=inputs.repeat(rows // len(inputs), 1, 1))
