"""Inference of the latents of sequences: means, standard deviations and samples of the approximate posterior."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data import SequenceDataset
from ..errors import UserError
from ..files.reading import Array
from ..models import DensityModel, SequenceModel
from ..observations import SequenceBatch
from ..settings import Range, must_fit
from .encoded import Encoded
from .passes import Pass
from .posterior import infer_latents, noise_of, what_posterior_reads


def encode(
    model: DensityModel,
    data: SequenceDataset,
    *,
    num_samples: int = 0,
    seed: int = 0,
    max_rows: int | None = None,
    device: torch.device | str | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Encoded:
    """Infer the latents of sequences by the model's approximate posterior q(z_t | z_<t, .).

    Whether that has read the future depends on the model: Z-Forcing's and SRNN's smoothing posterior have, VRNN's and
    SRNN's filtering posterior haven't. It is tried, and the result says it (`reads`).

    The model is put in eval mode. Torch's global generator is left unchanged.

    Args:
        model: a trained model of sequences with latents.
        data: sequences, such as `Sequences`; read as the model's description says.
        num_samples: S, whole paths z_1..z_T that are drawn of each sequence, besides the means.
        seed: of the samples; those of a sequence depend on its number in the data, and not on the others.
        max_rows: sequences times samples at a time (at least one sequence); None: 256.
        device: where to compute (`auto`: on a GPU if there is one); by default the model's device.
        progress: called after each batch with the number of sequences done in it.

    Returns:
        Means, standard deviations, KL and samples at each step.

    Raises:
        UserError: the model has no latents or no time steps, or the data doesn't fit it.

    Example:
        >>> import zforcing as zf
        >>> data = zf.Sequences([[[1.0], [2.0], [4.0]], [[3.0], [1.0]]], names=["speed"])
        >>> model = zf.LinearGaussian.for_data(data, latent_size=2)
        >>> z = zf.encode(model, data, num_samples=5)
        >>> z.means[0].shape, z.samples[0].shape, z.reads
        ((3, 2), (5, 3, 2), 'present')
    """
    must_fit(num_samples, Annotated[int, Range(at_least=0)], "num_samples")
    run = Pass.over(data, model, needed_by="encode", seed=seed, device=device)
    found: dict[int, _Found] = {}
    with run.running(copies=max(1, num_samples), max_rows=max_rows) as batches:
        for indices, batch in batches:
            found |= _encoded(run.model, batch, indices, num_samples=num_samples, seed=seed)
            progress(len(indices))
    each = [found[i] for i in range(len(run))]
    return Encoded(
        model=run.model.label,
        reads=what_posterior_reads(run.model),
        seed=seed,
        ids=run.ids,
        first_step=run.first_step,
        means=tuple(f.mean for f in each),
        stds=tuple(f.std for f in each),
        kl=tuple(f.kl for f in each),
        samples=tuple(f.samples for f in each),
        time_column=run.data.time_column,
    )


class _Found(NamedTuple):
    """Of one sequence."""

    mean: Array  # [T, Z]
    std: Array  # [T, Z]
    kl: Array  # [T]
    samples: Array  # [S, T, Z]


def _encoded(
    model: SequenceModel, batch: SequenceBatch, indices: Sequence[int], *, num_samples: int, seed: int
) -> dict[int, _Found]:
    """The latents of a batch, by the numbers of its sequences."""
    at_means = infer_latents(model, batch)
    shape = (num_samples, batch.x.shape[1], model.latent_size)
    drawn = at_means.z.new_empty(0, len(batch), *shape[1:])
    if num_samples:
        noise = noise_of(seed, indices, shape, like=at_means.z)
        drawn = infer_latents(model, batch, noise=noise).z.unflatten(0, (num_samples, -1))
    mean, std, kl, samples = map(_array, (at_means.mean, at_means.std, at_means.kl, drawn))
    found: dict[int, _Found] = {}
    for row, (index, steps) in enumerate(zip(indices, batch.lengths.tolist(), strict=True)):
        found[index] = _Found(mean[row, :steps], std[row, :steps], kl[row, :steps], samples[:, row, :steps])
        refuse_not_finite(found[index].mean, index)
    return found


def refuse_not_finite(values: Array, index: int) -> None:
    """Raise UserError about latents [T, Z] of a sequence that are not finite."""
    wrong = np.flatnonzero(~np.isfinite(values).all(-1))
    if len(wrong):
        raise UserError(f"the latents of sequence {index} are not finite at step {wrong[0]}: was the training stable?")


def _array(values: Tensor) -> Array:
    array: Array = values.cpu().numpy()
    return array
