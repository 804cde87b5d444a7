"""What every model must satisfy, over all models, options and kinds of observation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from conftest import CASES, SPECS, Case, draw_noise, observations, random_batch
from zforcing import ELBO, MODELS, ObservationSpec, SequenceBatch, SequenceModel, Weights, sample
from zforcing.distributions import reparameterize
from zforcing.models import Unroll, map_state

WEIGHTS = Weights(kl=0.7, auxiliary=0.3, backward=0.2)
TERMS = ("log_px", "kl", "auxiliary", "backward")


def terms(run: Unroll) -> dict[str, Tensor]:
    return {name: getattr(run, name) for name in TERMS}


def noise_of(q: Distribution, z: Tensor) -> Tensor:
    """The noise from which a posterior makes this z."""
    if isinstance(q, MultivariateNormal):
        return torch.linalg.solve_triangular(q.scale_tril, (z - q.mean)[..., None], upper=False)[..., 0]
    return (z - q.mean) / q.stddev


def rows_of(batch: SequenceBatch, row: int, steps: int) -> SequenceBatch:
    one = slice(row, row + 1)
    observed = None if batch.observed is None else batch.observed[one, :steps]
    return SequenceBatch(batch.x[one, :steps], batch.lengths[one], batch.start[one], observed)


@pytest.mark.parametrize("missing", [False, True])
def test_unroll_equals_the_contracts_loop_in_value(case: Case, spec: ObservationSpec, missing: bool) -> None:
    model, batch = case.build(spec), random_batch(spec, missing=missing)
    noise = draw_noise(model, batch)
    fast, slow = model.unroll(batch, noise=noise), SequenceModel.unroll(model, batch, noise=noise)
    for name in TERMS:
        torch.testing.assert_close(getattr(fast, name), getattr(slow, name), rtol=0, atol=1e-10, msg=name)
    exists = batch.mask
    torch.testing.assert_close(fast.latents[exists], slow.latents[exists], rtol=0, atol=1e-10)
    torch.testing.assert_close(fast.prior.mean[exists], slow.prior.mean[exists], rtol=0, atol=1e-10)
    torch.testing.assert_close(fast.posterior.stddev[exists], slow.posterior.stddev[exists], rtol=0, atol=1e-10)
    for one, other in zip(fast.state, slow.state, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10, equal_nan=True)  # x holds NaN where it is missing


@pytest.mark.parametrize("missing", [False, True])
def test_unroll_equals_the_contracts_loop_in_gradient(case: Case, spec: ObservationSpec, missing: bool) -> None:
    model, batch = case.build(spec), random_batch(spec, missing=missing)
    noise = draw_noise(model, batch)
    gradients = []
    for unroll in (model.unroll, lambda *a, **k: SequenceModel.unroll(model, *a, **k)):
        run = unroll(batch, noise=noise)
        torch.manual_seed(3)
        total = sum((torch.randn_like(term) * term).sum() for term in terms(run).values())
        total = total + sum((torch.randn_like(s) * s).sum() for s in run.state if s.is_floating_point() and s.grad_fn)
        gradients.append(torch.autograd.grad(total, list(model.parameters()), allow_unused=True))
    for one, other in zip(*gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_unroll_goes_on_from_a_carried_state(case: Case, spec: ObservationSpec) -> None:
    """The contract's loop in two pieces is the loop in one, given the same contexts."""
    model, batch = case.build(spec), random_batch(spec, (6, 6))
    noise = draw_noise(model, batch)
    whole = SequenceModel.unroll(model, batch, noise=noise)
    context = model.encode(batch)
    state = model.initial_state(2, start=batch.start)
    for t in range(3):
        state = model.after_latent(state, reparameterize(model.posterior(state, context[:, t]), noise[:, t]))
        state = model.after_observation(state, batch.x[:, t])
    later = SequenceBatch(batch.x[:, 3:], batch.lengths - 3, batch.x[:, 2])
    # both b_t and the padding-free context depend on the future alone, so the second half has the same contexts
    second = model.unroll(later, noise=noise[:, 3:], state=state)
    torch.testing.assert_close(second.log_px, whole.log_px[:, 3:], rtol=0, atol=1e-10)
    torch.testing.assert_close(second.kl, whole.kl[:, 3:], rtol=0, atol=1e-10)
    for one, other in zip(second.state, whole.state, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("missing", [False, True])
def test_a_batch_equals_its_rows_one_by_one(case: Case, spec: ObservationSpec, missing: bool) -> None:
    model, batch = case.build(spec), random_batch(spec, missing=missing)
    noise = draw_noise(model, batch)
    together = ELBO()(model, batch, weights=WEIGHTS, noise=noise)
    for row, steps in enumerate(batch.lengths.tolist()):
        alone = ELBO()(model, rows_of(batch, row, steps), weights=WEIGHTS, noise=noise[row : row + 1, :steps])
        torch.testing.assert_close(together.value[row], alone.value[0], rtol=0, atol=1e-10)
        torch.testing.assert_close(together.loss[row], alone.loss[0], rtol=0, atol=1e-10)


def test_garbage_in_the_padding_changes_nothing(case: Case, spec: ObservationSpec) -> None:
    model, batch = case.build(spec), random_batch(spec)
    noise = draw_noise(model, batch)
    hole = ~batch.mask
    x, other_noise = batch.x.clone(), noise.clone()
    x[hole] = spec.size - 1 if spec.kind == "categorical" else 1.0 if spec.kind == "binary" else 1e3
    other_noise[hole] = 50.0
    assert not torch.equal(x, batch.x)
    results = []
    for data, eps in ((batch.x, noise), (x, other_noise)):
        result = ELBO()(model, replace(batch, x=data), weights=WEIGHTS, noise=eps)
        gradient = torch.autograd.grad(result.loss.sum(), list(model.parameters()), allow_unused=True)
        results.append((result.value, result.loss, [g for g in gradient if g is not None]))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_what_is_not_observed_changes_no_likelihood_of_its_own(case: Case) -> None:
    """log p(x_t) of the observed numbers doesn't read the missing ones: they may hold anything in the support."""
    spec = SPECS["real"]
    model, batch = case.build(spec), random_batch(spec, missing=True)
    run = model.unroll(batch, noise=draw_noise(model, batch))
    by_hand = run.emission.base_dist.log_prob(batch.x)
    expected = torch.where(batch.scored, by_hand, torch.zeros(())).sum(-1)
    torch.testing.assert_close(run.log_px, expected, rtol=0, atol=1e-12)
    assert (run.log_px != run.emission.log_prob(batch.x))[batch.mask & ~batch.scored.all(-1)].all()


def test_every_parameter_gets_a_finite_gradient(case: Case, spec: ObservationSpec) -> None:
    model, batch = case.build(spec), random_batch(spec, missing=spec.missing)
    ELBO()(model, batch, weights=WEIGHTS, noise=draw_noise(model, batch)).loss.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_kl_is_not_negative(case: Case, spec: ObservationSpec) -> None:
    model, batch = case.build(spec), random_batch(spec)
    assert (model.unroll(batch, noise=draw_noise(model, batch)).kl >= -1e-12).all()


def test_kl_is_zero_where_the_posterior_is_the_prior(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = case.build(SPECS["real"]), random_batch(SPECS["real"])
    monkeypatch.setattr(model, "posterior", lambda state, context: model.prior(state))
    kl = SequenceModel.unroll(model, batch, noise=draw_noise(model, batch)).kl
    torch.testing.assert_close(kl, torch.zeros_like(kl), rtol=0, atol=1e-14)


def test_teacher_forced_conditionals_equal_those_used_in_sampling(case: Case, spec: ObservationSpec) -> None:
    """Run over what it has sampled, with the latents that it has drawn, the model says what it said when sampling."""
    model, steps = case.build(spec), 5
    start = observations(spec, 3) if spec.conditions_on_first else None
    drawn = sample(model, 3, steps=steps, seed=4, start=start)
    blank = spec.blank(3, device=torch.device("cpu"), dtype=torch.float64)
    batch = SequenceBatch(drawn.x, torch.full((3,), steps), blank if start is None else start)

    # the noise that makes the posterior give the latents that the prior gave
    context, state, noise = model.encode(batch), model.initial_state(3, start=start), []
    for t in range(steps):
        q = model.posterior(state, context[:, t])
        noise.append(noise_of(q, drawn.latents[:, t]))
        state = model.after_observation(model.after_latent(state, drawn.latents[:, t]), batch.x[:, t])
    run = model.unroll(batch, noise=torch.stack(noise, dim=1))

    torch.testing.assert_close(run.latents, drawn.latents, rtol=0, atol=1e-9)
    torch.testing.assert_close(run.emission.log_prob(batch.x), drawn.emission.log_prob(drawn.x), rtol=0, atol=1e-9)


def test_a_state_is_a_record_that_can_be_indexed_and_repeated(case: Case, spec: ObservationSpec) -> None:
    """Particles repeat the state, resampling indexes it."""
    model, batch = case.build(spec), random_batch(spec, (3, 3))
    state = model.initial_state(2, start=batch.start)
    state = model.after_latent(state, model.prior(state).mean)
    twice = map_state(lambda v: v[torch.tensor([1, 0, 1])], state)
    one, three = model.emission(state).log_prob(batch.x[:, 0]), model.emission(twice).log_prob(batch.x[[1, 0, 1], 0])
    torch.testing.assert_close(three, one[[1, 0, 1]], rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", [c for c in CASES if hasattr(MODELS[c.model].Config, "dropout")], ids=str)
def test_dropout_acts_in_training_alone(case: Case) -> None:
    spec = SPECS["binary"]
    model, batch = case.build(spec, dropout=0.5), random_batch(spec)
    noise = draw_noise(model, batch)
    values = [model.train(mode).unroll(batch, noise=noise).log_px for mode in (False, False, True, True)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[2], values[3])


def test_unroll_takes_the_latents_themselves(case: Case, spec: ObservationSpec) -> None:
    """Given what it has drawn, it says the same; given others, their densities."""
    model, batch = case.build(spec), random_batch(spec)
    drawn = model.unroll(batch, noise=draw_noise(model, batch))
    given = model.unroll(batch, latents=drawn.latents)
    torch.testing.assert_close(given.log_px, drawn.log_px, rtol=0, atol=1e-10)
    torch.testing.assert_close(given.kl, drawn.kl, rtol=0, atol=1e-10)


def test_float32_is_kept(case: Case, spec: ObservationSpec) -> None:
    torch.set_default_dtype(torch.float32)
    model, batch = case.build(spec).float(), random_batch(spec)
    if spec.kind != "categorical":
        batch = replace(batch, x=batch.x.float(), start=batch.start.float())
    run = model.unroll(batch, noise=draw_noise(model, batch).float())
    assert run.log_px.dtype == torch.float32
    assert ELBO()(model, batch).value.dtype == torch.float64
