"""What every model must satisfy: the checks of zforcing.testing over all models, options and kinds of observation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from conftest import CASES, SPECS, Case
from zforcing import ELBO, MODELS, ObservationSpec, SequenceBatch, SequenceModel
from zforcing.distributions import reparameterize
from zforcing.testing import MODEL_CHECKS, Check, check_rows, check_unroll, check_unroll_gradient, random_batch
from zforcing.testing.comparison import noise_for

GAPS_OR_NOT = (check_unroll, check_unroll_gradient, check_rows)  # for a model that wasn't told which it will be


def name(check: Check) -> str:
    return check.__name__.removeprefix("check_")


@pytest.mark.parametrize("check", MODEL_CHECKS, ids=name)
def test_a_model_passes_the_contracts_check_of(check: Check, case: Case, spec: ObservationSpec) -> None:
    check(case.build(spec), random_batch(spec, missing=spec.missing))


@pytest.mark.parametrize("check", GAPS_OR_NOT, ids=name)
def test_a_model_that_meets_gaps_unannounced_or_none_passes_the_check_of(
    check: Check, case: Case, spec: ObservationSpec
) -> None:
    check(case.build(spec), random_batch(spec, missing=not spec.missing))


def test_what_is_not_observed_changes_no_likelihood_of_its_own(case: Case) -> None:
    """log p(x_t) of the observed numbers is the sum of their own log-densities, and of no others'."""
    spec = SPECS["real"]
    model, batch = case.build(spec), random_batch(spec, missing=True)
    run = model.unroll(batch, noise=noise_for(model, batch))
    by_hand = run.emission.base_dist.log_prob(batch.x)
    expected = torch.where(batch.scored, by_hand, torch.zeros(())).sum(-1)
    torch.testing.assert_close(run.log_px, expected, rtol=0, atol=1e-12)
    assert (run.log_px != run.emission.log_prob(batch.x))[batch.mask & ~batch.scored.all(-1)].all()


def test_two_halves_are_the_whole(case: Case, spec: ObservationSpec) -> None:
    """The contract's loop in two pieces is the loop in one: a later context, from the state, is that of the whole."""
    model, batch = case.build(spec), random_batch(spec, (6, 6))
    noise = noise_for(model, batch)
    whole = SequenceModel.walk(model, batch, noise=noise)
    context = model.encode(batch)
    state = model.initial_state(2, start=batch.start)
    for t in range(3):
        state = model.after_latent(state, reparameterize(model.posterior(state, context[:, t]), noise[:, t]))
        state = model.after_observation(state, batch.x[:, t])
    later = SequenceBatch(batch.x[:, 3:], batch.lengths - 3, batch.x[:, 2])
    second = model.unroll(later, noise=noise[:, 3:], state=state)
    torch.testing.assert_close(second.log_px, whole.log_px[:, 3:], rtol=0, atol=1e-10)
    torch.testing.assert_close(second.kl, whole.kl[:, 3:], rtol=0, atol=1e-10)
    for one, other in zip(second.state, whole.state, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("case", [c for c in CASES if hasattr(MODELS[c.model].Config, "dropout")], ids=str)
def test_dropout_acts_in_training_alone(case: Case) -> None:
    spec = SPECS["binary"]
    model, batch = case.build(spec, dropout=0.5), random_batch(spec)
    noise = noise_for(model, batch)
    values = [model.train(mode).unroll(batch, noise=noise).log_px for mode in (False, False, True, True)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[2], values[3])


def test_the_bound_of_a_float32_model_is_summed_in_float64(case: Case, spec: ObservationSpec) -> None:
    torch.set_default_dtype(torch.float32)
    model, batch = case.build(spec).float(), random_batch(spec)
    if spec.kind != "categorical":
        batch = replace(batch, x=batch.x.float(), start=batch.start.float())
    result = ELBO()(model, batch, noise=noise_for(model, batch).float())
    assert result.terms["log_px"].dtype == torch.float64
    assert model.unroll(batch, noise=noise_for(model, batch).float()).log_px.dtype == torch.float32
    assert result.value.dtype == torch.float64
