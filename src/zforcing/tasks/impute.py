"""Fill gaps: what is missing of sequences, or of observations without time, given all that is observed of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from ..data import SequenceDataset
from ..data.batches import evaluation_batches
from ..data.dataset import check_dataset, description_of
from ..errors import ResultWarning, UserError
from ..files.reading import Array
from ..models import DensityModel, SequenceModel
from ..observations import DataDescription, Example
from ..runtime.device import as_device
from ..runtime.threads import cpu_threads
from ..settings import Count, Seed, Share, must_be, must_fit
from .completed import completed
from .drawing import Draws, drawn_sequences
from .filled import FilledSequence
from .imputation import Imputation
from .score import names_in

ROWS = 4096  # sequences times particles at a time
HELD = 2**30  # bytes of draws at a time; a sequence that takes more is drawn alone


def impute(
    model: DensityModel,
    data: SequenceDataset,
    *,
    num_samples: int | None = None,
    particles: int = 100,
    lag: int | None = 10,
    moves: int = 50,
    seed: int = 0,
    level: float = 0.9,
    max_rows: int | None = None,
    device: torch.device | str | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Imputation:
    """Draw what is missing of sequences from p(missing | observed), which knows what comes before and after a gap.

    A particle smoother (`tasks.smoothing`): each of K particles reads its own draws in the gaps, so that the model is
    asked about complete sequences alone, and particles that lead to what was observed after a gap are kept. Where they
    come from few, they are moved apart by Markov chains (`tasks.moves`). The result is an estimate, that gets exact
    with many particles or moves and a long lag. It says how many draws it is worth.

    A model without time draws by itself (`DensityModel.complete`): the draws are independent, and exact or nearly so,
    as the model says.

    The draws of all steps of a sequence, and their latents for `moves`, are held at once: 4 K (D + Z + 4) bytes a step.
    A RuntimeWarning says so where that is more than a gigabyte.

    What is assumed: that the model fits the sequences, and that whether a number is missing doesn't depend on what it
    would have been. The model may have been trained on data with gaps or without.

    The model is put in eval mode. Torch's global generator is left unchanged.

    Args:
        model: a trained model of sequences, or one without time that can draw a part of an observation.
        data: sequences with gaps, such as `Sequences`; read as the model's description says.
        num_samples: S, how many draws `samples` gives; at most `particles`. None: 100, or `particles` if that is less.
        particles: K. Means, quantiles and probabilities are those of all K draws.
        lag: how many steps behind a gap, 1 or more, still say something about it; None: all of them.
        moves: of the draws of each block of up to 10 steps, where particles come from few; 0: none.
        seed: of all random numbers.
        level: of `interval`, unless it is asked for another one.
        max_rows: sequences times particles at a time (at least one sequence), or fewer where their draws would take
            more than a gigabyte; None: 4096. Other batches, of other sequences too, draw other numbers.
        device: where to compute (`auto`: on a GPU if there is one); by default the model's device.
        progress: called after each batch with the number of sequences done in it.

    Returns:
        The filled sequences, in the data's own units.

    Raises:
        UserError: a model without time can't draw these gaps, the data doesn't fit the model, a first observation that
            it conditions on has a gap and the model knows none, or the model's numbers aren't finite.

    Example:
        >>> import math
        >>> import zforcing as zf
        >>> data = zf.Sequences([[[1.0], [math.nan], [4.0]], [[3.0], [1.0]]], names=["speed"])
        >>> model = zf.LinearGaussian.for_data(data, latent_size=2)
        >>> filled = zf.impute(model, data)
        >>> filled.num_missing, filled.samples[0].shape
        (1, (100, 3, 1))
        >>> filled.mean[0][[0, 2], 0].tolist()  # what was observed stays
        [1.0, 4.0]
    """
    model = _checked(model, data, num_samples, particles, lag, moves, seed, level, max_rows)
    described = _with_gaps(description_of(model, data), data)
    sequences = data.described_as(described)
    model = (model if device is None else model.to(as_device(device))).eval()
    examples = [sequences[i] for i in range(len(sequences))]
    _check_starts(examples, model)
    found: dict[int, FilledSequence] = {}
    rows = max_rows or ROWS
    step = _held_by_step(model, particles, moves)
    held = held_by_longest(model, sequences, particles=particles, moves=moves)
    if held > HELD:
        warnings.warn(held_line(held), ResultWarning, stacklevel=2)
    with torch.random.fork_rng(), cpu_threads(model, rows=min(rows, particles * len(examples))):
        torch.manual_seed(seed)
        for indices in evaluation_batches(sequences.lengths, max(1, rows // particles), most_steps=HELD // step):
            chosen = [examples[i] for i in indices]
            if isinstance(model, SequenceModel):
                draws = drawn_sequences(model, chosen, particles=particles, lag=lag, moves=moves)
            else:
                draws = completed(model, chosen, particles=particles)
            for index, drawn in zip(indices, draws, strict=True):
                found[index] = _in_units(drawn, examples[index], _raw(sequences, index), described)
            progress(len(indices))
    imputation = Imputation(
        model=model.label,
        particles=particles,
        lag=lag,
        moves=moves,
        seed=seed,
        level=level,
        num_samples=min(100, particles) if num_samples is None else num_samples,
        spec=described.spec,
        ids=tuple(getattr(sequences, "ids", range(len(sequences)))),
        names=names_in(described, sequences),
        sequences=tuple(found[i] for i in range(len(sequences))),
        time_column=sequences.time_column,
        independent=not isinstance(model, SequenceModel),
    )
    if imputation.remark:
        warnings.warn(imputation.remark, ResultWarning, stacklevel=2)
    return imputation


def held_by_longest(model: DensityModel, data: SequenceDataset, *, particles: int, moves: int) -> int:
    """Bytes that the draws of the longest sequence take."""
    return _held_by_step(model, particles, moves) * int(data.lengths.max())


def _held_by_step(model: DensityModel, particles: int, moves: int) -> int:
    """Bytes that the draws of a step take: of its observation, latent and ancestors."""
    latents = model.latent_size if moves and isinstance(model, SequenceModel) else 0
    size = 1 if model.spec.kind == "categorical" else model.spec.size
    return 4 * particles * (size + latents + 4)


def held_line(held: int) -> str:
    """What is said where that is much."""
    return (
        f"the draws of the longest sequence take {held / 1e9:.1f} GB, all steps at once: fewer particles, 0 moves or "
        "shorter sequences take less"
    )


def _checked(
    model: DensityModel,
    data: SequenceDataset,
    num_samples: int | None,
    particles: int,
    lag: int | None,
    moves: int,
    seed: int,
    level: float,
    max_rows: int | None,
) -> DensityModel:
    must_be(model, DensityModel, "model", "a model, such as load(folder)")
    check_dataset(data, "data")
    must_fit(num_samples, Count | None, "num_samples")
    must_fit(particles, Count, "particles")
    must_fit(lag, Count | None, "lag")
    must_fit(moves, Seed, "moves")
    must_fit(seed, Seed, "seed")
    must_fit(level, Share, "level")
    must_fit(max_rows, Count | None, "max_rows")
    if num_samples is not None and num_samples > particles:
        raise UserError(
            f"num_samples is {num_samples}, and there are {particles} particles to take them from: set particles to "
            f"{num_samples} or more"
        )
    return model


def _with_gaps(description: DataDescription, data: SequenceDataset) -> DataDescription:
    """How the sequences are read: as by the model, but with gaps where they have some, for nothing reads them."""
    gaps = data.description is not None and data.description.spec.missing
    return replace(description, spec=replace(description.spec, missing=True)) if gaps else description


def _check_starts(examples: list[Example], model: DensityModel) -> None:
    if model.spec.missing or not model.spec.conditions_on_first:
        return
    for index, example in enumerate(examples):
        if example.observed is not None and not example.observed[0].all():
            raise UserError(
                f"the first observation of sequence {index} has a gap; the model conditions on it, so that nothing "
                f"says what it could be: begin the sequence later, or train with first_observation='scored'"
            )


def _raw(sequences: SequenceDataset, index: int) -> Array | None:
    """A sequence in the user's units, where the data keeps them."""
    raw = getattr(sequences, "raw", None)
    return None if raw is None else np.asarray(raw(index))


def _in_units(drawn: Draws, example: Example, raw: Array | None, description: DataDescription) -> FilledSequence:
    """What was drawn of a sequence, beside what was observed of it. A first observation that is read is a step too."""
    if not np.isfinite(drawn.x).all():
        raise UserError("what the model draws isn't finite: was its training stable?")
    first, is_category = description.spec.unscored_steps, description.spec.kind == "categorical"
    units = description.format.to_units
    x = (units(example.x, description) if raw is None else raw).reshape(len(example.x), -1)
    missing = np.zeros(x.shape, dtype=bool) if example.observed is None else ~example.observed.reshape(x.shape)
    steps = drawn.steps + first
    whole = drawn.x.astype(np.int64)[..., 0] if is_category else drawn.x.astype(np.float32)
    complete = np.asarray(units(whole, description)).reshape(len(whole), len(steps), x.shape[1])
    return FilledSequence(x, missing, steps, complete[:, missing[steps]], drawn.ancestors, drawn.effective)
