"""Forecasts: what a model draws after the end of each sequence, in the data's units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data import SequenceDataset
from ..data.batches import evaluation_batches
from ..data.dataset import check_dataset, description_of
from ..errors import UserError
from ..files.reading import Array
from ..models import DensityModel, SequenceModel, of_sequences
from ..observations import DataDescription, collate
from ..runtime.device import as_device, place_of
from ..runtime.threads import cpu_threads
from ..settings import Count, Seed, must_be, must_fit
from .continuation import check_past, go_on
from .filtering import particles_of
from .forecasts import Forecast
from .past import Past, state_after
from .sample import Choose, choosing
from .score import names_in

ROWS = 2048  # sequences times the larger of samples and particles at a time


def forecast(
    model: DensityModel,
    data: SequenceDataset,
    *,
    steps: int = 24,
    num_samples: int = 100,
    particles: int = 64,
    seed: int = 0,
    inputs: Any = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    past: Past = "filter",
    max_rows: int | None = None,
    device: torch.device | str | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Forecast:
    """Draw futures of each sequence after its end, and take means, quantiles and intervals of them.

    A particle filter reads each sequence (`tasks.filtering`), and num_samples of its particles at the end, by their
    weights, go on as `sample` does. The result is an estimate: it comes to the model's p(x_T+1.. | x_1..x_T) with more
    samples and more particles. The model is put in eval mode. Torch's global generator is left unchanged.

    Args:
        model: a trained model of sequences.
        data: sequences, such as `Sequences`; read as the model's description says. What is missing at their ends is
            read as missing and isn't in the result, which begins after the last step (`impute` fills it).
        steps: how many to draw after the end of each.
        num_samples: S futures of each sequence. More than K of them share pasts.
        particles: K of the filter. Without latents it is 1.
        seed: of all random numbers. Those of the past are the same for every sequence; the futures are drawn for all
            sequences together, so that those of one depend on which others there are.
        inputs: of a model that reads known inputs, those of the steps to come, in the data's units: [steps, U] for each
            sequence, or one array [N, steps, U].
        temperature: T > 0: x_t is drawn from p^(1/T), see `distributions.draw_tempered`; not 1: no longer the model's
            distribution. The latents are drawn from their prior all the same.
        top_p: in (0, 1]: x_t is drawn within the most likely values of this probability; likewise.
        past: "filter", or "posterior": what the latents of the past are drawn by, see `tasks.past`.
        max_rows: sequences times the larger of samples and particles at a time (at least one sequence); None: 2048.
        device: where to compute (`auto`: on a GPU if there is one); by default the model's device.
        progress: called after each batch with the number of sequences done in it.

    Returns:
        The futures, in the data's own units.

    Raises:
        UserError: the model has no time steps, the data or the inputs don't fit it, a number is out of its range, its
            emission has no rule for temperature or top_p, or what is drawn isn't finite.

    Example:
        >>> import zforcing as zf
        >>> data = zf.Sequences([[[1.0], [2.0], [4.0]], [[3.0], [1.0]]], names=["speed"])
        >>> model = zf.LinearGaussian.for_data(data, latent_size=2)
        >>> ahead = zf.forecast(model, data, steps=4, num_samples=50)
        >>> ahead.samples[0].shape
        (50, 4, 1)
        >>> low, high = ahead.interval(0.9)[0]  # of the first sequence
        >>> low.shape, bool((low < high).all())
        ((4, 1), True)
    """
    model = of_sequences(_checked(model, data, steps, num_samples, seed, max_rows), needed_by="a forecast")
    check_past(past, particles)
    described = description_of(model, data)
    sequences = data.described_as(described)
    known = _read_inputs(inputs, described, sequences=len(sequences), steps=steps)
    model = (model if device is None else model.to(as_device(device))).eval()
    K = particles_of(model, particles) if past == "filter" else 1
    torch.empty(len(sequences), num_samples, steps, described.spec.size)  # what can't be held is refused at once
    asked = _Asked(steps, num_samples, K, seed, past, choosing(temperature=temperature, top_p=top_p))
    found: dict[int, Array] = {}
    each = max(K, num_samples)
    rows = min(max_rows or ROWS, each * len(sequences))
    with torch.random.fork_rng(), cpu_threads(model, rows=rows):
        torch.manual_seed(seed)
        for indices in evaluation_batches(sequences.lengths, max(1, rows // each)):
            drawn = _futures(model, sequences, indices, described, None if known is None else known[indices], asked)
            found |= dict(zip(indices, drawn, strict=True))
            progress(len(indices))
    return Forecast(
        model=model.label,
        spec=described.spec,
        past=past if model.latent_size else "exact",
        particles=K,
        seed=seed,
        temperature=temperature,
        top_p=top_p,
        ids=tuple(getattr(sequences, "ids", range(len(sequences)))),
        names=names_in(described, sequences),
        samples=tuple(found[i] for i in range(len(sequences))),
    )


class _Asked(NamedTuple):
    """What is to be drawn."""

    steps: int
    num_samples: int
    particles: int
    seed: int
    past: Past
    choose: Choose


@torch.no_grad()
def _futures(
    model: SequenceModel,
    data: SequenceDataset,
    indices: Sequence[int],
    description: DataDescription,
    inputs: Array | None,
    asked: _Asked,
) -> Array:
    """Of a batch of sequences, [B, S, steps, D] or [B, S, steps] in the data's units."""
    device, dtype = place_of(model)
    prefix = collate([data[i] for i in indices], description.spec).to(device, dtype)
    state = state_after(
        model,
        prefix,
        num_samples=asked.num_samples,
        past=asked.past,
        particles=asked.particles,
        seed=asked.seed,
    )
    known: Tensor | None = None if inputs is None else torch.from_numpy(inputs).to(device, dtype)
    drawn = go_on(model, state, asked.steps, choose=asked.choose, inputs=known).x
    if drawn.is_floating_point() and not bool(drawn.isfinite().all()):
        raise UserError("what the model draws is not finite: was its training stable?")
    raw: Array = np.asarray(description.format.to_units(drawn.cpu().numpy(), description))
    return raw.reshape(asked.num_samples, len(indices), *raw.shape[1:]).swapaxes(0, 1)


def _checked(
    model: DensityModel, data: SequenceDataset, steps: int, num_samples: int, seed: int, max_rows: int | None
) -> DensityModel:
    must_be(model, DensityModel, "model", "a model, such as load(folder)")
    check_dataset(data, "data")
    must_fit(steps, Count, "steps")
    must_fit(num_samples, Count, "num_samples")
    must_fit(seed, Seed, "seed")
    must_fit(max_rows, Count | None, "max_rows")
    return model


def _read_inputs(inputs: Any, description: DataDescription, *, sequences: int, steps: int) -> Array | None:
    """The known inputs of the steps to come, [N, steps, U] float32, normalized; None of a model that reads none."""
    size = description.spec.inputs
    form = f"[steps, inputs] = {[steps, size]} for each of {sequences} sequences"
    if not size:
        if inputs is not None:
            raise UserError("inputs are given, but the model reads none: leave them out")
        return None
    if inputs is None:
        raise UserError(
            f"the model reads {size} known inputs at every step: give inputs, those of the steps to come, {form}"
        )
    try:
        raw = np.stack([np.asarray(each, dtype=np.float64) for each in inputs])
    except (TypeError, ValueError):
        raise UserError(f"inputs can't be read as numbers; they must be {form}") from None
    if raw.shape != (sequences, steps, size):
        raise UserError(f"inputs is {list(raw.shape)}; it must be {form}")
    scaling = description.input_normalization
    with np.errstate(over="ignore"):
        read = raw.astype(np.float32) if scaling is None else scaling.apply(raw)
    if not np.isfinite(read).all():
        raise UserError("inputs holds NaN, infinity, or numbers too large; inputs are known at every step")
    return read
