"""Checks of what must not matter: the other sequences of a batch, its padding, what is missing, and the observations
that something else was fed for.

Each takes a model in float64 and a batch, and raises an AssertionError that begins with the check's name.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..distributions import log_prob_of_observed
from ..models.base import SequenceModel, Unroll
from ..observations import SequenceBatch, is_missing
from .batches import garbage_in_padding, one_row, other_values, with_gaps, with_x
from .comparison import (
    TERMS,
    assert_same,
    assert_same_numbers,
    loop_of,
    model_check,
    noise_for,
    require,
    results,
    run_gradients,
)


@model_check
@torch.no_grad()
def check_rows(model: SequenceModel, batch: SequenceBatch) -> None:
    """A batch is its sequences one by one, each at its own length.

    Catches statistics over a batch, a sum over the wrong dimension, and a last state that is the batch's last step.
    """
    noise = noise_for(model, batch)
    together = model.unroll(batch, noise=noise)
    for row, steps in enumerate(batch.lengths.tolist()):
        this = slice(row, row + 1)
        alone = model.unroll(one_row(batch, row), noise=noise[this, :steps])
        what = f"of sequence {row} ({steps} steps) in a batch differs from when it is alone"
        for name in TERMS:
            assert_same(getattr(together, name)[this, :steps], getattr(alone, name), f"{name} {what}")
        for name, value in alone.state._asdict().items():
            assert_same(getattr(together.state, name)[this], value, f"state.{name} {what}")


@model_check
def check_padding(model: SequenceModel, batch: SequenceBatch) -> None:
    """Garbage behind the ends of sequences changes no term, no last state and no gradient.

    Catches a backward network that reads the padding first (reverse by the lengths: `zforcing.sequences.reverse`) and
    a mask that one of the terms forgets.
    """
    noise = noise_for(model, batch)
    wild_noise = torch.where(batch.mask[:, :, None], noise, torch.full_like(noise, 50.0))
    clean = model.unroll(batch, noise=noise)
    wild = model.unroll(garbage_in_padding(batch, model.spec), noise=wild_noise)
    what = "changes with what stands in the padding"
    assert_same_numbers(results(wild, batch), results(clean, batch), what)
    slopes = run_gradients(model, clean)
    assert_same_numbers(run_gradients(model, wild), slopes, f"has a gradient that {what}", tolerance=1e-9)


@model_check
def check_missing(model: SequenceModel, batch: SequenceBatch) -> None:
    """What isn't observed drops out, and its mark (NaN, or -1 for categories) reaches no number and no gradient.

    A batch without gaps gets some. Catches a model that reads `batch.x` where it should read `batch.read`, a likelihood
    that scores what it was not shown, and NaN times 0. That the emission integrates the missing numbers out is up to
    `zforcing.distributions.log_prob_of_observed`.
    """
    if batch.observed is None:
        batch = with_gaps(batch, conditioned=model.spec.conditions_on_first)
    noise = noise_for(model, batch)
    run = model.unroll(batch, noise=noise)
    slopes = run_gradients(model, run)
    terms = {name: getattr(run, name) for name in TERMS}
    for name, value in (terms | {f"the gradient of {p}": slope for p, slope in slopes.items()}).items():
        finite = bool(value.isfinite().all())
        require(finite, f"{name} is not finite when values are missing: is their mark read as a number?")

    scored = batch.scored if batch.x.dim() == 2 else batch.scored.any(-1)  # [B, T]
    require(not run.log_px[~scored].any(), "log_px is not 0 at a step of which nothing is observed")
    likelihood = log_prob_of_observed(run.emission, batch.x, batch.scored)
    expected = torch.where(batch.mask, likelihood, torch.zeros_like(likelihood))
    assert_same(run.log_px, expected, "log_px is not the emission's log-density of the observed numbers")

    filled = with_x(batch, torch.where(batch.scored, batch.x, other_values(batch.x, model.spec)))
    other = model.unroll(filled, noise=noise)
    what = "changes with what stands where nothing is observed: read `batch.read`, score `batch.scored`"
    assert_same_numbers({name: getattr(other, name) for name in TERMS}, terms, what)
    assert_same_numbers(run_gradients(model, other), slopes, f"has a gradient that {what}", tolerance=1e-9)

    masks = (torch.ones_like(batch.scored), None)
    seen, whole = (results(model.unroll(replace(batch, observed=o), noise=noise), batch) for o in masks)
    assert_same_numbers(seen, whole, "changes when a mask says that everything is observed")


@model_check
def check_fed(model: SequenceModel, batch: SequenceBatch) -> None:
    """What `batch.fed` holds in place of x (word dropout) is all that the state learns of x, in a fast path too.

    Catches a fast path whose recurrence reads x where the contract's loop reads `batch.past`, or that scores what was
    fed. (What `encode` reads is the model's own affair: `batch.read`, but for a network over the past.)
    """
    noise = noise_for(model, batch)
    plain, same = (model.unroll(replace(batch, fed=fed), noise=noise) for fed in (None, batch.read))
    assert_same_numbers(results(same, batch), results(plain, batch), "changes when x itself is fed")

    fed = replace(batch, fed=_every_other_replaced(batch, model))
    runs = [unroll(fed, noise=noise) for unroll in (model.unroll, loop_of(model))]
    what = "of unroll is not that of the contract's loop when something else than x is fed: read `batch.past`"
    assert_same_numbers(results(runs[0], fed), results(runs[1], fed), what)
    slopes = [run_gradients(model, run) for run in runs]
    assert_same_numbers(slopes[0], slopes[1], f"has a gradient that {what}", tolerance=1e-9)

    z = plain.latents.detach()
    other = replace(fed, x=other_values(batch.x, model.spec))
    one, two = (_past_only(model.unroll(b, latents=z), batch) for b in (fed, other))
    assert_same_numbers(two, one, "changes with an x that the state was not fed")


def _every_other_replaced(batch: SequenceBatch, model: SequenceModel) -> Tensor:
    """Other values at every other step; what is missing stays so."""
    read = batch.read
    replaced = torch.arange(read.shape[1])[:, None] % 2 == 0  # [T, 1]
    replaced = (replaced[:, 0] if read.dim() == 2 else replaced) & ~is_missing(read)
    return torch.where(replaced, other_values(read, model.spec), read)


def _past_only(run: Unroll, batch: SequenceBatch) -> dict[str, Tensor]:
    """What a run says that depends on its latents and on what it was fed alone."""
    densities = {"the prior's log-density of the latents": run.prior.log_prob(run.latents)}
    densities["the emission's log-density of x"] = run.emission.log_prob(batch.x)
    return {name: value[batch.mask] for name, value in densities.items()}
