"""Sampling sequences from a trained model, and continuing given ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from ..distributions import reparameterize, stack
from ..errors import UserError
from ..models.density import DensityModel, Generated
from ..models.sequence import SequenceModel, of_sequences
from ..models.state import State
from ..models.stepper import Stepper, Walk
from ..observations import SequenceBatch
from ..runtime.threads import cpu_threads


@torch.no_grad()
def sample(
    model: DensityModel,
    num_samples: int,
    *,
    steps: int | None = None,
    seed: int = 0,
    start: Tensor | None = None,
    inputs: Tensor | None = None,
) -> Generated:
    """Draw from the model: of one of sequences, z_t from the prior and x_t from the emission, step by step.

    Args:
        model: in eval mode.
        num_samples: n, how many sequences.
        steps: T, how long they are; to be left out for a model without time.
        seed: of all that is drawn. Torch's global generator is left as it was.
        start: x_0, [n, D] or [n], of a model that conditions on the first observation; by default some of those that
            it has kept of its training data (`model.starts`).
        inputs: u_1..u_T, [n, T, U], of a model that reads known inputs; normalized as the model reads them
            (`model.description.input_normalization.apply`).

    Raises:
        UserError: num_samples or steps is below 1, steps, start or inputs are missing, start or inputs have another
            shape, or the model can't be sampled.
    """
    steps = 1 if steps is None and not isinstance(model, SequenceModel) else steps
    if steps is None:
        raise UserError(f"give steps, how long the sequences are: model {model.name} draws them step by step")
    if num_samples < 1 or steps < 1:
        raise UserError(f"{num_samples} samples of {steps} steps: both must be 1 or more")
    with torch.random.fork_rng(), cpu_threads(model, rows=num_samples):
        torch.manual_seed(seed)
        if not isinstance(model, SequenceModel):
            return _without_time(model, num_samples, steps=steps, start=start, inputs=inputs)
        start = _checked_start(model, num_samples, seed=seed, start=start)
        check_inputs(model, inputs, rows=num_samples, steps=steps)
        return generate(model, model.initial_state(num_samples, start=start), steps, inputs=inputs)


def _without_time(
    model: DensityModel, num_samples: int, *, steps: int, start: Tensor | None, inputs: Tensor | None
) -> Generated:
    """Draw from a model without time, which has one step, no x_0 and no inputs of steps."""
    if steps != 1 or start is not None or inputs is not None:
        raise UserError(f"model {model.name} has no time steps: leave out steps, start and inputs")
    return model.sample(num_samples)


def _checked_start(model: SequenceModel, num_samples: int, *, seed: int, start: Tensor | None) -> Tensor | None:
    """x_0 as it is given, or one that the model has kept if it needs one."""
    spec = model.spec
    if start is None and spec.conditions_on_first:
        start = pick_starts(model, num_samples, seed=seed)
    shape = (num_samples,) if spec.kind == "categorical" else (num_samples, spec.size)
    if start is not None and start.shape != shape:
        raise UserError(f"start is {list(start.shape)}; {num_samples} samples of this model begin with {list(shape)}")
    return start


def pick_starts(model: DensityModel, num_samples: int, *, seed: int = 0) -> Tensor:
    """x_0 of samples, [n, D] or [n]: first observations of the training data, drawn from those that the model has kept.

    Raises:
        UserError: it has kept none.
    """
    if model.starts is None:
        raise UserError("the model conditions on the first observation: give start, x_0 of each of the samples")
    rows = np.random.default_rng(seed).integers(len(model.starts), size=num_samples)
    parameter = next(model.parameters())
    picked = model.starts[torch.from_numpy(rows)].to(parameter.device)
    return picked.to(parameter.dtype) if picked.is_floating_point() else picked


@torch.no_grad()
def continue_from(
    model: DensityModel,
    prefix: SequenceBatch,
    *,
    steps: int,
    num_samples: int = 1,
    seed: int = 0,
    inputs: Tensor | None = None,
) -> Generated:
    """Continue sequences: draw the latents of the prefix from the posterior, then sample as `sample` does.

    Each continuation has its own latents for the prefix. The posterior reads nothing but the prefix.

    Args:
        model: In eval mode.
        prefix: B sequences to continue.
        steps: Steps to generate after them.
        num_samples: Continuations of each sequence.
        seed: Seed of all random numbers. Torch's global generator is restored.
        inputs: [B, steps, U], those of the steps to generate, of a model that reads known inputs, normalized as it
            reads them.

    Returns:
        The continuations without prefixes, [num_samples B, steps, ...]: row i + j B is continuation j of sequence i.

    Raises:
        UserError: num_samples or steps is below 1, inputs are missing or have another shape, or the model has no time
            steps.
    """
    model = of_sequences(model, needed_by="a continuation")
    if num_samples < 1 or steps < 1:
        raise UserError(f"{num_samples} continuations of {steps} steps: both must be 1 or more")
    check_inputs(model, inputs, rows=len(prefix), steps=steps)
    with torch.random.fork_rng(), cpu_threads(model, rows=num_samples * len(prefix)):
        torch.manual_seed(seed)
        after = None if inputs is None else inputs.repeat(num_samples, 1, 1)
        return generate(model, model.unroll(prefix, particles=num_samples).state, steps, inputs=after)


def check_inputs(model: SequenceModel, inputs: Tensor | None, *, rows: int, steps: int) -> None:
    """Raise UserError where inputs aren't those that a model reads at so many steps of so many sequences."""
    size = model.spec.inputs
    if inputs is None and size:
        raise UserError(
            f"the model reads {size} known inputs at every step: give inputs {[rows, steps, size]}, those of the steps "
            f"to generate"
        )
    if inputs is not None and not size:
        raise UserError("inputs are given, but the model reads none: leave them out")
    if inputs is not None and list(inputs.shape) != [rows, steps, size]:
        raise UserError(f"inputs is {list(inputs.shape)}; {steps} steps of {rows} sequences read {[rows, steps, size]}")
    if inputs is not None and not bool(inputs.isfinite().all()):
        raise UserError("inputs holds NaN or infinity; inputs are known at every step")


WORTH_TRACING = 32  # steps from which a model's step is traced: once, in the time of some hundred small steps
Choose = Callable[[Distribution], Tensor]
"""Chooses x from an emission: `draw`, or `distributions.most_likely` for greedy decoding."""


def draw(emission: Distribution) -> Tensor:
    """Draw x ~ p(x_t | z_<=t, x_<t)."""
    x: Tensor = emission.sample()
    return x


def from_prior(t: int, prior: Distribution) -> Tensor:
    """Draw z_t ~ p(z_t | past)."""
    return reparameterize(prior, torch.randn_like(prior.mean))


def generate(
    model: SequenceModel,
    state: State,
    steps: int,
    *,
    latent: Callable[[int, Distribution], Tensor] = from_prior,
    choose: Choose = draw,
    inputs: Tensor | None = None,
) -> Generated:
    """Generate from a state, step by step; the contract's densities, from a traced step unless there are few steps.

    Args:
        model: In eval mode.
        state: The state to start from, n rows.
        steps: T.
        latent: Gives z_t [n, Z] from t (from 0) and the prior of z_t.
        choose: Gives x_t from its emission.
        inputs: [n, T, U], of a model that reads known inputs.

    Returns:
        n sequences of T steps.
    """
    stepper = Stepper(model, state) if steps >= WORTH_TRACING else Walk(model, state)
    xs: list[Tensor] = []
    zs, emissions = [], []
    for t in range(steps):
        z = latent(t, stepper.begin(None if inputs is None else inputs[:, t]))
        emission = stepper.emit(z)
        x = _chosen(choose, emission, stepper, step=t + 1)
        stepper.read(x)
        xs.append(x)
        zs.append(z)
        emissions.append(emission)
    return Generated(torch.stack(xs, dim=1), torch.stack(zs, dim=1), stack(emissions, dim=1))


def _chosen(choose: Choose, emission: Distribution, stepper: Stepper | Walk, *, step: int) -> Tensor:
    """Choose x. Raises UserError if the state has overflowed, for which torch reports invalid parameters."""
    try:
        return choose(emission)
    except (RuntimeError, ValueError):
        if stepper.is_finite:
            raise
        raise UserError(
            f"the model's state is not finite at step {step} of the sample: was its training stable?"
        ) from None
