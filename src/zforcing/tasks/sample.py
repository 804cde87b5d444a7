"""Sampling sequences from a trained model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from ..distributions import combine, draw_tempered, parameters_of, reparameterize, seed_for, stack
from ..errors import UserError
from ..models.density import DensityModel, Generated
from ..models.sequence import SequenceModel
from ..models.state import State
from ..models.stepper import Stepper, Walk
from ..runtime.threads import cpu_threads
from ..settings import Count, Factor, Positive, Seed, must_be, must_fit


@torch.no_grad()
def sample(
    model: DensityModel,
    num_samples: int,
    *,
    steps: int | None = None,
    seed: int = 0,
    start: Tensor | None = None,
    inputs: Tensor | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> Generated:
    """Draw from the model: of one of sequences, z_t from the prior and x_t from the emission, step by step.

    Args:
        model: in eval mode.
        num_samples: n, how many sequences.
        steps: T, how long they are; to be left out for a model without time.
        seed: of all that is drawn. The first m of n samples are those that num_samples=m draws. Torch's global
            generator is left as it was.
        start: x_0, [n, D] or [n], of a model that conditions on the first observation; by default some of those that
            it has kept of its training data (`model.starts`).
        inputs: u_1..u_T, [n, T, U], of a model that reads known inputs; normalized as the model reads them
            (`model.description.input_normalization.apply`).
        temperature: T > 0: x_t is drawn from p^(1/T), see `distributions.draw_tempered`; not 1: no longer the model's
            distribution. The latents are drawn from their prior all the same.
        top_p: in (0, 1]: x_t is drawn within the most likely values of this probability; likewise.

    Returns:
        The observations, as the model reads them, with their latents and emissions;
        `model.description.format.to_units` gives the data's units.

    Raises:
        UserError: num_samples or steps is below 1, steps, start or inputs are missing, start or inputs have another
            shape, the model can't be sampled, or its emission has no rule for temperature or top_p.

    Example:
        >>> import zforcing as zf
        >>> data = zf.Sequences([[[1.0], [2.0], [4.0]], [[3.0], [1.0]]], names=["speed"])
        >>> model = zf.LinearGaussian.for_data(data, latent_size=2)
        >>> drawn = zf.sample(model, 3, steps=5)
        >>> drawn.x.shape, drawn.latents.shape
        (torch.Size([3, 5, 1]), torch.Size([3, 5, 2]))
    """
    must_be(model, DensityModel, "model", "a model, such as load(folder)")
    choose = choosing(temperature=temperature, top_p=top_p)
    steps = 1 if steps is None and not isinstance(model, SequenceModel) else steps
    if steps is None:
        raise UserError(f"give steps, how long the sequences are: model {model.name} draws them step by step")
    must_fit(num_samples, Count, "num_samples")
    must_fit(steps, Count, "steps")
    must_fit(seed, Seed, "seed")
    if isinstance(model, SequenceModel):
        start = _checked_start(model, num_samples, seed=seed, start=start)
        check_inputs(model, inputs, rows=num_samples, steps=steps)
    elif choose is not draw:
        raise UserError(f"model {model.name} draws by itself: leave temperature and top_p at 1")
    elif steps != 1 or start is not None or inputs is not None:
        raise UserError(f"model {model.name} has no time steps: leave out steps, start and inputs")
    torch.empty(num_samples, steps, model.spec.size)  # what can't be held is refused before hours are spent on it
    drawn = []
    with torch.random.fork_rng(), cpu_threads(model, rows=num_samples):
        for first, end in blocks(num_samples):
            torch.manual_seed(seed_for(seed, "sample", first))
            if not isinstance(model, SequenceModel):
                drawn.append(model.sample(end - first))
                continue
            x_0, u = (_rows(given, first, end) for given in (start, inputs))
            drawn.append(generate(model, model.initial_state(end - first, start=x_0), steps, choose=choose, inputs=u))
    return _first(num_samples, drawn)


def blocks(n: int) -> list[tuple[int, int]]:
    """The rows first..end-1 of each block that n samples are drawn in: those up to 8, 64, 128, 256, 512, 1024, 2048 and
    so on, 1024 more each time.

    A block is drawn whole, by a seed of its own, so that a sample doesn't depend on how many are asked for: neither its
    noise nor the rounding of a product of matrices, which may differ with the number of rows.
    """
    ends = [8, 64]
    while ends[-1] < n:
        ends.append(ends[-1] + min(ends[-1], 1024))
    firsts = [first for first in (0, *ends[:-1]) if first < n]
    return list(zip(firsts, ends, strict=False))


def _rows(given: Tensor | None, first: int, end: int) -> Tensor | None:
    """The rows of a block; behind the last one it is repeated."""
    return None if given is None else given[torch.arange(first, end, device=given.device).clamp(max=len(given) - 1)]


def _first(n: int, drawn: Sequence[Generated]) -> Generated:
    """The first n of what several blocks hold."""
    x, latents = (torch.cat(parts)[:n] for parts in zip(*((d.x, d.latents) for d in drawn), strict=True))
    return Generated(x, latents, combine(lambda *parts: torch.cat(parts)[:n], *(d.emission for d in drawn)))


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


TOGETHER = 256  # steps whose tensors are put into one
WORTH_TRACING = 32  # steps from which a model's step is traced: once, in the time of some hundred small steps
Choose = Callable[[Distribution], Tensor]
"""Chooses x from an emission: `draw`, or `distributions.most_likely` for greedy decoding."""


def draw(emission: Distribution) -> Tensor:
    """Draw x ~ p(x_t | z_<=t, x_<t)."""
    x: Tensor = emission.sample()
    return x


def choosing(*, temperature: float, top_p: float) -> Choose:
    """`draw`, or what draws likelier values: see `distributions.draw_tempered`.

    Raises:
        UserError: temperature isn't positive, or top_p not in (0, 1].
    """
    must_fit(temperature, Positive, "temperature")
    must_fit(top_p, Factor, "top_p")
    if temperature == 1 and top_p == 1:
        return draw
    return partial(draw_tempered, temperature=temperature, top_p=top_p)


def tempered_note(*, temperature: float, top_p: float) -> str:
    """What is to be said of what was drawn so; nothing of draws from the model."""
    if temperature == 1 and top_p == 1:
        return ""
    return f"temperature {temperature:g}, top_p {top_p:g}: no longer the model's distribution"


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
    late: list[tuple[Tensor, Tensor, Distribution]] = []
    blocks_of_steps: list[Generated] = []
    for t in range(steps):
        z = latent(t, stepper.begin(None if inputs is None else inputs[:, t]))
        emission = stepper.emit(z)
        x = _chosen(choose, emission, stepper, step=t + 1)
        stepper.read(x)
        late.append((x, z, emission))
        if len(late) == TOGETHER or t + 1 == steps:  # many small objects take ten times the memory of their numbers
            xs, zs, emissions = zip(*late, strict=True)
            late.clear()
            blocks_of_steps.append(Generated(torch.stack(xs, dim=1), torch.stack(zs, dim=1), stack(emissions, dim=1)))
    x, latents = (_joined(*parts) for parts in zip(*((b.x, b.latents) for b in blocks_of_steps), strict=True))
    return Generated(x, latents, combine(_joined, *(b.emission for b in blocks_of_steps)))


def _joined(*parts: Tensor) -> Tensor:
    """[n, T_i, ...] -> [n, T, ...]."""
    return torch.cat(parts, dim=1)


def _chosen(choose: Choose, emission: Distribution, stepper: Stepper | Walk, *, step: int) -> Tensor:
    """Choose x. Raises UserError if state or emission has overflowed, for which torch reports invalid parameters."""
    try:
        return choose(emission)
    except (RuntimeError, ValueError):
        if stepper.is_finite and all(bool(parameter.isfinite().all()) for parameter in parameters_of(emission)):
            raise
        raise UserError(
            f"the model's state or emission is not finite at step {step} of the sample: was its training stable?"
        ) from None
