"""Reconstruction: latents of sequences by the posterior, and observations by the emission given them."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor

from ..data import SequenceDataset
from ..distributions import most_likely
from ..errors import UserError
from ..models import DensityModel, SequenceModel
from ..observations import SequenceBatch
from .encode import refuse_not_finite
from .passes import Pass
from .posterior import Inferred, infer_latents, noise_of, what_posterior_reads
from .reconstruction import Mode, Past, Reconstruction
from .sample import Choose, draw, generate


def reconstruct(
    model: DensityModel,
    data: SequenceDataset,
    *,
    mode: Mode = "mean",
    past: Past = "own",
    seed: int = 0,
    max_rows: int | None = None,
    device: torch.device | str | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Reconstruction:
    """Rebuild sequences from their latents: z by the posterior, which reads the data, x by the emission given z.

    The emission also reads x_<t, and of what:

    own (free-running): of its own reconstruction, as in sampling and at the ends of an interpolation. Everything that
    is known of the sequence came through its latents (and through a first observation that is conditioned on). This is
    the default: what an autoencoder's user expects.

    true (teacher-forced): of the data, as in training. It is a prediction of x_t from x_<t and z_<=t, good also where
    the latents carry nothing.

    The model is put in eval mode. Torch's global generator is left unchanged.

    Args:
        model: a trained model of sequences with latents.
        data: sequences, such as `Sequences`; read as the model's description says.
        mode: "mean": the posterior's mean at each step given those before, and the likeliest x_t (the mean of a
            Gaussian). "sample": z drawn from the posterior, and x_t from the emission.
        past: "own" or "true".
        seed: of what is drawn.
        max_rows: sequences at a time; None: 256. Other batches, of other sequences too, draw other x ("sample").
        device: where to compute (`auto`: on a GPU if there is one); by default the model's device.
        progress: called after each batch with the number of sequences done in it.

    Returns:
        The sequences in the data's units, and the error.

    Raises:
        UserError: the model has no latents or no time steps, the data doesn't fit it, or mode or past is unknown.

    Example:
        >>> import zforcing as zf
        >>> data = zf.Sequences([[[1.0], [2.0], [4.0]], [[3.0], [1.0]]], names=["speed"])
        >>> model = zf.LinearGaussian.for_data(data, latent_size=2)
        >>> rebuilt = zf.reconstruct(model, data)
        >>> [x.shape for x in rebuilt.x]
        [(3, 1), (2, 1)]
        >>> bool(rebuilt.error.total > 0)
        True
    """
    for name, value, allowed in (("mode", mode, get_args(Mode)), ("past", past, get_args(Past))):
        if value not in allowed:
            raise UserError(f"{name} is {value!r}; it must be {' or '.join(allowed)}")
    run = Pass.over(data, model, needed_by="reconstruct", seed=seed, device=device)
    made, latents, kl, steps = {}, {}, 0.0, 0
    with run.running(max_rows=max_rows) as batches:
        for indices, batch in batches:
            z, x = _rebuilt(run.model, batch, indices, mode=mode, past=past, seed=seed)
            for row, (index, length) in enumerate(zip(indices, batch.lengths.tolist(), strict=True)):
                made[index], latents[index] = x[row, :length].cpu().numpy(), z.z[row, :length].cpu().numpy()
                refuse_not_finite(latents[index], index)
            kl, steps = kl + float(z.kl[batch.mask].double().sum()), steps + int(batch.lengths.sum())
            progress(len(indices))
    return Reconstruction(
        model=run.model.label,
        reads=what_posterior_reads(run.model),
        mode=mode,
        past=past,
        seed=seed,
        ids=run.ids,
        names=run.names,
        nats_per_step=kl / steps,
        originals=tuple(run.data[i] for i in range(len(run))),
        made=tuple(made[i] for i in range(len(run))),
        latents=tuple(latents[i] for i in range(len(run))),
        description=run.description,
        time_column=run.data.time_column,
    )


def _rebuilt(
    model: SequenceModel, batch: SequenceBatch, indices: list[int], *, mode: Mode, past: Past, seed: int
) -> tuple[Inferred, Tensor]:
    """The latents of a batch, and x [B, T, D] or [B, T] given them."""
    shape, like = (1, batch.x.shape[1], model.latent_size), next(model.parameters())
    inferred = infer_latents(
        model, batch, noise=noise_of(seed, indices, shape, like=like) if mode == "sample" else None
    )
    choose: Choose = draw if mode == "sample" else most_likely
    if past == "true":
        return inferred, choose(model.unroll(batch, latents=inferred.z).emission)
    return inferred, free_running(model, batch, inferred.z, choose=choose)


def free_running(model: SequenceModel, batch: SequenceBatch, z: Tensor, *, choose: Choose) -> Tensor:
    """x given latents z [B, T, Z], chosen step by step given what was chosen before, from the batch's x_0 on."""
    state = model.initial_state(len(batch), start=batch.start)
    found = generate(model, state, batch.x.shape[1], latent=lambda t, _: z[:, t], choose=choose, inputs=batch.inputs)
    return found.x
