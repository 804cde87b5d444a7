"""Scores: how well a model expected each step of each sequence, in nats."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from ..bounds import BoundKind
from ..data import SequenceDataset
from ..data.batches import evaluation_batches
from ..data.dataset import check_dataset, description_of
from ..distributions import log_probs_of_observed
from ..errors import ResultWarning, UserError
from ..files.reading import Array
from ..models import DensityModel, SequenceModel, of_sequences
from ..models.in_chunks import unrolled
from ..models.unroll import Unroll
from ..observations import DataDescription, SequenceBatch, TableFormat, collate
from ..runtime.device import as_device, place_of
from ..runtime.threads import cpu_threads
from ..settings import Count, Seed, must_be, must_fit
from .filtering import Nats, Noise, filtered, particles_of
from .posterior import Reads, what_posterior_reads
from .proposals import Proposal, check_proposal, proposal_of
from .scores import Kind, Scores

ROWS: dict[Kind, int] = {"causal": 2048, "smoothed": 256}  # sequences times particles at a time


def score(
    model: DensityModel,
    data: SequenceDataset,
    *,
    kind: Kind = "causal",
    particles: int = 64,
    seed: int = 0,
    proposal: Proposal = "prior",
    max_rows: int | None = None,
    device: torch.device | str | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Scores:
    """Score every step of sequences: the log-density of what was observed there, in nats; low is surprising.

    causal: log p(x_t | x_<t), estimated by a particle filter (`tasks.filtering`). Nothing of the future enters: this is
    what an alarm may use while the data comes. The sum over a sequence estimates its log p(x). Where few particles
    explain an observation, the estimate is too low. `effective` says how many do; where they are too few at over a
    quarter of the steps, a RuntimeWarning does.

    smoothed: E_q[log p(x_t | z_<=t, x_<t) - KL(q(z_t | .) || p(z_t | .))], the mean of K draws from the posterior. What
    that has read depends on the model, and `reads` says it: the whole sequence (Z-Forcing, SRNN's smoothing posterior),
    or x_1..x_t (VRNN, SRNN's filtering one). The sum over a sequence is the ELBO, a lower bound on log p(x). A number's
    own score is E_q[log p(x_{t,d} | z_<=t, x_<t)], without the KL.

    Without latents both are exact. The model is put in eval mode. Torch's global generator is left unchanged.

    Args:
        model: a trained model of sequences.
        data: sequences, such as `Sequences`; read as the model's description says.
        kind: "causal" or "smoothed".
        particles: K. Without latents it is 1.
        seed: of all random numbers, which are the same for every sequence: its scores don't depend on the others.
        proposal: what the particles of causal scores are drawn from once x_t is known: the "prior", or a "mixture" of
            it and the model's own posterior, which then reads x_t alone: better by far where the latents carry many
            nats a step, for 1.3 to 1.6 times the time.
        max_rows: sequences times particles at a time (at least one sequence); None: 2048, or 256 of smoothed scores,
            which hold all steps in memory.
        device: where to compute (`auto`: on a GPU if there is one); by default the model's device.
        progress: called after each batch with the number of sequences done in it.

    Returns:
        The scores, in the data's own units.

    Raises:
        UserError: the model has no time steps, the data doesn't fit it, kind or proposal is unknown, or a score is NaN.

    Example:
        >>> import zforcing as zf
        >>> data = zf.Sequences([[[1.0], [2.0], [4.0]], [[3.0], [1.0]]], names=["speed"])
        >>> model = zf.LinearGaussian.for_data(data, latent_size=2)
        >>> scores = zf.score(model, data, particles=16)
        >>> [nats.shape for nats in scores.nats], scores.relation, scores.reads
        ([(3,), (2,)], 'estimate', 'past')
        >>> threshold = scores.threshold(0.2)  # of clean data
        >>> [alarms.shape for alarms in scores.is_alarm(threshold)]
        [(3,), (2,)]
    """
    model = of_sequences(_checked(model, data, kind, particles, seed, proposal, max_rows), needed_by="score")
    described = description_of(model, data)
    sequences = data.described_as(described)
    model = (model if device is None else model.to(as_device(device))).eval()
    K = particles_of(model, particles)
    rows = min(max_rows or ROWS[kind], K * len(sequences))
    drawn_from = proposal_of(model, proposal) if kind == "causal" else None
    find = partial(filtered, proposal=drawn_from or "prior") if kind == "causal" else smoothed
    found: dict[int, _Found] = {}
    with torch.random.fork_rng(), cpu_threads(model, rows=rows):
        torch.manual_seed(seed)  # nothing draws from it, unless a model of one's own does
        for indices in evaluation_batches(sequences.lengths, max(1, rows // K)):
            batch = collate([sequences[i] for i in indices], described.spec)
            nats = find(model, batch, particles=K, seed=seed)
            found |= _in_units(nats, batch, indices, described)
            progress(len(indices))
    scores = Scores(
        model=model.label,
        kind=kind,
        relation=_relation(model, kind),
        reads=_reads(model, kind),
        particles=K,
        seed=seed,
        unit="density" if described.spec.has_density else "probability",
        ids=tuple(getattr(sequences, "ids", range(len(sequences)))),
        names=names_in(described, sequences),
        nats=tuple(found[i].nats for i in range(len(sequences))),
        per_sequence=np.array([found[i].total for i in range(len(sequences))]),
        features=_features(found),
        effective=tuple(found[i].effective for i in range(len(sequences))),
        time_column=sequences.time_column,
        proposal=drawn_from,
    )
    if scores.remark:
        warnings.warn(scores.remark, ResultWarning, stacklevel=2)
    return scores


@torch.no_grad()
def smoothed(model: SequenceModel, batch: SequenceBatch, *, particles: int, seed: int) -> Nats:
    """The terms of the ELBO at every step of a batch, by draws from the posterior: see `score`.

    Args:
        model: In eval mode.
        batch: B sequences of T steps.
        particles: K draws, of which the mean is taken.
        seed: Of all random numbers.

    Returns:
        [B, T], and of each number, without the KL, [B, T, D] or None; on the CPU, float64, in nats. In the padding they
        mean nothing. The K draws weigh the same: all are effective.
    """
    batch = batch.to(*place_of(model))
    noise = Noise(seed, particles, model.latent_size, next(model.parameters()))

    def of_steps(start: int, stop: int) -> Tensor:
        """[K B, steps, Z]."""
        return noise.of_steps(start, stop).repeat_interleave(len(batch), dim=0)

    chunks = unrolled(model, batch, noise=of_steps, particles=particles)
    parts = [_mean_nats(chunk.run, particles) for chunk in chunks]
    total = np.concatenate([part for part, _ in parts], axis=1)
    each = [part for _, part in parts if part is not None]
    return Nats(total, np.concatenate(each, axis=1) if each else None, np.full_like(total, particles))


def _mean_nats(run: Unroll, particles: int) -> tuple[Array, Array | None]:
    """The means over K draws: of each step [B, T], and of each of its numbers [B, T, D], if they have a density."""
    rows = run.batch
    nats = log_probs_of_observed(run.emission, rows.x, None if rows.observed is None else rows.scored)

    def mean(term: Tensor) -> Array:
        """[K B, ...] -> [B, ...]."""
        each: Array = term.double().unflatten(0, (particles, -1)).mean(0).cpu().numpy()
        return each

    return mean(nats.total - run.kl), None if nats.each is None else mean(nats.each)


def _checked(
    model: DensityModel,
    data: SequenceDataset,
    kind: Kind,
    particles: int,
    seed: int,
    proposal: Proposal,
    max_rows: int | None,
) -> DensityModel:
    must_be(model, DensityModel, "model", "a model, such as load(folder)")
    check_dataset(data, "data")
    if kind not in get_args(Kind):
        raise UserError(f"kind is {kind!r}; it must be causal (nothing of the future) or smoothed")
    must_fit(particles, Count, "particles")
    must_fit(seed, Seed, "seed")
    check_proposal(proposal)
    must_fit(max_rows, Count | None, "max_rows")
    return model


class _Found(NamedTuple):
    """The scores of a sequence, in the data's units: NaN where nothing is scored."""

    nats: Array  # [T]
    each: Array | None  # [T, D]
    effective: Array  # [T]
    total: float


def _in_units(
    nats: Nats, batch: SequenceBatch, indices: Sequence[int], description: DataDescription
) -> dict[int, _Found]:
    """What was found of each sequence, by its index. A first observation that is only read is a step too."""
    first = description.spec.unscored_steps
    scored = batch.scored if batch.x.dim() == 3 else batch.scored[:, :, None]
    log_std = log_std_of(description)
    found: dict[int, _Found] = {}
    for row, (index, steps) in enumerate(zip(indices, batch.lengths.tolist(), strict=True)):
        seen = scored[row, :steps].numpy()
        of_steps = nats.total[row, :steps] - (seen * log_std).sum(-1)
        _refuse_nan(of_steps, index)
        each = None
        if nats.each is not None:
            each = np.where(seen, nats.each[row, :steps] - log_std, np.nan)
            each = np.concatenate([np.full((first, each.shape[1]), np.nan), each])
        shown, effective = (
            np.concatenate([np.full(first, np.nan), np.where(seen.any(-1), values, np.nan)])
            for values in (of_steps, nats.effective[row, :steps])
        )
        found[index] = _Found(shown, each, effective, float(of_steps.sum()) if seen.any() else np.nan)
    return found


def _refuse_nan(scores: Array, index: int) -> None:
    wrong = np.flatnonzero(np.isnan(scores))
    if len(wrong):
        raise UserError(
            f"score {wrong[0]} of sequence {index} is NaN ({len(wrong)} of {len(scores)} are): was the training stable?"
        )


def log_std_of(description: DataDescription | None) -> Array:
    """ln std of each number, [D] or []: a density of the data is that of what the model reads, divided by std."""
    if description is None or description.normalization is None:
        return np.zeros(())
    log_std: Array = np.log(np.asarray(description.normalization.std))
    return log_std


def _relation(model: SequenceModel, kind: Kind) -> BoundKind:
    if not model.latent_size:
        return "exact"
    return "estimate" if kind == "causal" else "lower bound"


def _reads(model: SequenceModel, kind: Kind) -> Reads:
    return "past" if kind == "causal" or not model.latent_size else what_posterior_reads(model)


def names_in(description: DataDescription, data: SequenceDataset) -> tuple[str, ...] | None:
    """Of the features, where the data or the model's training data named them."""
    own: tuple[str, ...] | None = getattr(data, "names", None)
    return own or (description.format.names if isinstance(description.format, TableFormat) else None)


def _features(found: dict[int, _Found]) -> tuple[Array, ...] | None:
    each = [found[i].each for i in range(len(found))]
    return None if any(values is None for values in each) else tuple(v for v in each if v is not None)
