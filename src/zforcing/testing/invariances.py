"""Checks of what must not change results: other sequences of a batch, padding, missing values, and observations in
place of which something else was fed.

Each takes a model in float64 and a batch, and raises an AssertionError that begins with the check's name.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..distributions import log_prob_of_observed
from ..models.sequence import SequenceModel
from ..models.unroll import Unroll
from ..observations import SequenceBatch, is_missing
from ..training.word_dropout import FedBatch
from .batches import garbage_in_padding, one_row, other_values, with_gaps, with_x
from .comparison import (
    assert_same,
    assert_same_numbers,
    loop_of,
    model_check,
    noise_for,
    require,
    run_gradients,
    run_results,
    terms,
)


@model_check
@torch.no_grad()
def check_rows(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that a batch gives the results of its sequences run one by one, without padding.

    The check finds statistics over a batch, a sum over the wrong dimension, and a last state taken at step T.
    """
    noise = noise_for(model, batch)
    together = model.unroll(batch, noise=noise)
    for row, steps in enumerate(batch.lengths.tolist()):
        this = slice(row, row + 1)
        single = model.unroll(one_row(batch, row), noise=noise[this, :steps])
        what = f"of sequence {row} ({steps} steps) in a batch differs from when it is run by itself"
        of_batch = terms(together)
        for name, value in terms(single).items():
            assert_same(of_batch[name][this, :steps], value, f"{name} {what}")
        for name, value in single.state._asdict().items():
            assert_same(getattr(together.state, name)[this], value, f"state.{name} {what}")


@model_check
def check_padding(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that the contents of the padding change no term, no last state and no gradient.

    The check finds a backward network that reads the padding first (use `zforcing.observations.reverse`), and a term
    without its mask.
    """
    noise = noise_for(model, batch)
    other_noise = torch.where(batch.mask[:, :, None], noise, torch.full_like(noise, 50.0))
    clean = model.unroll(batch, noise=noise)
    other = model.unroll(garbage_in_padding(batch, model.spec), noise=other_noise)
    what = "changes with the contents of the padding"
    assert_same_numbers(run_results(other, batch), run_results(clean, batch), what)
    gradients = run_gradients(model, clean)
    assert_same_numbers(run_gradients(model, other), gradients, f"has a gradient that {what}", tolerance=1e-9)


@model_check
def check_missing(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that missing values aren't scored, and that their mark (NaN or -1) reaches no result and no gradient.

    A batch without missing values gets some. The check finds a model that reads `batch.x` instead of `batch.read`, a
    likelihood of values that aren't observed, and NaN times 0. The emission integrates missing values out by
    `zforcing.distributions.log_prob_of_observed`.
    """
    if batch.observed is None:
        batch = with_gaps(batch, conditioned=model.spec.conditions_on_first)
    noise = noise_for(model, batch)
    run = model.unroll(batch, noise=noise)
    gradients = run_gradients(model, run)
    numbers = terms(run)
    for name, value in (numbers | {f"the gradient of {p}": gradient for p, gradient in gradients.items()}).items():
        finite = bool(value.isfinite().all())
        require(finite, f"{name} is not finite when values are missing: is NaN or -1 read as a number?")

    scored = batch.scored if batch.x.dim() == 2 else batch.scored.any(-1)  # [B, T]
    require(not run.log_px[~scored].any(), "log_px is not 0 at a step where nothing is observed")
    likelihood = log_prob_of_observed(run.emission, batch.x, batch.scored)
    expected = torch.where(batch.mask, likelihood, torch.zeros_like(likelihood))
    assert_same(run.log_px, expected, "log_px is not the emission's log-density of the observed values")

    filled = with_x(batch, torch.where(batch.scored, batch.x, other_values(batch.x, model.spec)))
    other = model.unroll(filled, noise=noise)
    what = "changes with the values of x where nothing is observed: read `batch.read`, score `batch.scored`"
    assert_same_numbers(terms(other), numbers, what)
    assert_same_numbers(run_gradients(model, other), gradients, f"has a gradient that {what}", tolerance=1e-9)

    masks = (torch.ones_like(batch.scored), None)
    with_mask, without = (run_results(model.unroll(replace(batch, observed=o), noise=noise), batch) for o in masks)
    assert_same_numbers(with_mask, without, "changes when there is a mask and everything is observed")


@model_check
def check_fed(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that the state only reads `batch.past`, where word dropout feeds something in place of x, whatever runs it.

    The check finds a run whose state reads x where the reference loop reads `batch.past`, or that scores what was
    fed. (`encode` reads `batch.read`, or `batch.past` in a network over the past.)
    """
    noise = noise_for(model, batch)
    plain, same = (model.unroll(b, noise=noise) for b in (batch, FedBatch.of(batch, batch.read)))
    assert_same_numbers(run_results(same, batch), run_results(plain, batch), "changes when x itself is fed")

    fed = FedBatch.of(batch, _every_other_replaced(batch, model))
    runs = [unroll(fed, noise=noise) for unroll in (model.unroll, loop_of(model))]
    what = "of unroll is not that of the reference loop when something else than x is fed: read `batch.past`"
    assert_same_numbers(run_results(runs[0], fed), run_results(runs[1], fed), what)
    gradients = [run_gradients(model, run) for run in runs]
    assert_same_numbers(gradients[0], gradients[1], f"has a gradient that {what}", tolerance=1e-9)

    z = plain.latents.detach()
    other = replace(fed, x=other_values(batch.x, model.spec))
    one, two = (_past_only(model.unroll(b, latents=z), batch) for b in (fed, other))
    assert_same_numbers(two, one, "changes with x although the state was fed something else")


def _every_other_replaced(batch: SequenceBatch, model: SequenceModel) -> Tensor:
    """x with other values at every other step; missing values stay missing."""
    read = batch.read
    replaced = torch.arange(read.shape[1])[:, None] % 2 == 0  # [T, 1]
    replaced = (replaced[:, 0] if read.dim() == 2 else replaced) & ~is_missing(read)
    return torch.where(replaced, other_values(read, model.spec), read)


def _past_only(run: Unroll, batch: SequenceBatch) -> dict[str, Tensor]:
    """The results of a run that only depend on its latents and on what it was fed."""
    densities = {"the prior's log-density of the latents": run.prior.log_prob(run.latents)}
    densities["the emission's log-density of x"] = run.emission.log_prob(batch.x)
    return {name: value[batch.mask] for name, value in densities.items()}
