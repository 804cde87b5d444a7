"""ELBO, its weights and schedules, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from conftest import SPECS, ZF_SIZE, Case, draw_noise, random_batch
from zforcing import ELBO, Schedule, UserError, Weights
from zforcing.observations import masked_sum
from zforcing.training.schedules import WeightSchedules

ZFORCING = Case("zforcing", ZF_SIZE)


def test_rnns_bound_is_its_exact_log_likelihood_step_by_step() -> None:
    """Against a plain loop over torch.nn.LSTM's own cell equations and torch's densities."""
    spec = SPECS["binary"]
    model, batch = Case("rnn", {"hidden_size": 4, "embedding_size": 3, "output_skip": False}).build(spec), None
    batch = random_batch(spec, (5, 5))
    p = dict(model.named_parameters())
    h = c = torch.zeros(2, 4)
    total = torch.zeros(2)
    for before, x in zip(batch.previous.unbind(1), batch.x.unbind(1), strict=True):
        e = before @ p["embed.layer.weight"].T + p["embed.layer.bias"]
        gates = (
            e @ p["lstm.weight_ih_l0"].T + p["lstm.bias_ih_l0"] + h @ p["lstm.weight_hh_l0"].T + p["lstm.bias_hh_l0"]
        )
        i, f, g, o = gates.chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        one = torch.sigmoid(h @ p["emission_net.linear.weight"].T + p["emission_net.linear.bias"])
        total = total + torch.log(torch.where(x == 1, one, 1 - one)).sum(1)
    result = ELBO()(model, batch)
    torch.testing.assert_close(result.value, total.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(result.loss, -total, rtol=0, atol=1e-12)
    assert result.kind == "exact"


def test_elbo_is_log_likelihood_minus_kl_and_the_loss_weighs_its_terms() -> None:
    model, batch = ZFORCING.build(SPECS["real"]), random_batch(SPECS["real"])
    noise = draw_noise(model, batch)
    result = ELBO()(model, batch, weights=Weights(kl=0.3, auxiliary=0.2, backward=0.1), noise=noise)
    t = result.terms
    torch.testing.assert_close(result.value, t["log_px"] - t["kl"], rtol=0, atol=1e-12)
    expected = -t["log_px"] + 0.3 * t["kl"] - 0.2 * t["auxiliary"] - 0.1 * t["backward"]
    torch.testing.assert_close(result.loss, expected, rtol=0, atol=1e-12)
    assert result.kind == "lower bound"


def test_value_and_loss_are_not_interchangeable() -> None:
    model, batch = ZFORCING.build(SPECS["real"]), random_batch(SPECS["real"])
    noise = draw_noise(model, batch)
    plain = ELBO()(model, batch, noise=noise)
    weighted = ELBO(free_nats=1.0)(model, batch, weights=Weights(0.5, auxiliary=1.0, backward=1.0), noise=noise)
    torch.testing.assert_close(plain.value, weighted.value, rtol=0, atol=0)  # what is reported has no weights
    torch.testing.assert_close(plain.loss, -plain.value, rtol=0, atol=1e-12)
    assert (weighted.loss != plain.loss).all()
    assert not plain.value.requires_grad
    assert plain.loss.requires_grad


def test_kl_equals_the_closed_form_of_two_gaussians() -> None:
    model, batch = ZFORCING.build(SPECS["real"]), random_batch(SPECS["real"], (4, 4))
    run = model.unroll(batch, noise=draw_noise(model, batch))
    p, q = run.prior, run.posterior
    by_hand = (p.stddev / q.stddev).log() + (q.variance + (q.mean - p.mean) ** 2) / (2 * p.variance) - 0.5
    torch.testing.assert_close(run.kl, by_hand.sum(-1), rtol=0, atol=1e-12)


def test_free_nats_is_a_floor_under_each_steps_kl() -> None:
    model, batch = ZFORCING.build(SPECS["real"]), random_batch(SPECS["real"])
    noise = draw_noise(model, batch)
    kl = model.unroll(batch, noise=noise).kl.detach()
    floor = float(kl[batch.mask].median())
    result = ELBO(free_nats=floor)(model, batch, noise=noise)
    expected = [sum(max(float(k), floor) for k in row[:n]) for row, n in zip(kl, batch.lengths.tolist(), strict=True)]
    costed = result.loss.detach() + result.terms["log_px"].detach()
    torch.testing.assert_close(costed, torch.tensor(expected), rtol=0, atol=1e-10)


def test_no_gradient_flows_into_a_kl_under_the_floor() -> None:
    model, batch = ZFORCING.build(SPECS["real"]), random_batch(SPECS["real"])
    weights = {n: p for n, p in model.named_parameters() if n.startswith("prior_net")}
    result = ELBO(free_nats=1e6)(model, batch, noise=draw_noise(model, batch))
    gradients = torch.autograd.grad(result.loss.sum(), list(weights.values()), allow_unused=True)
    assert all(g is None or g.abs().sum() == 0 for g in gradients)


def test_a_negative_floor_is_refused() -> None:
    with pytest.raises(UserError, match=r"bound\.free_nats"):
        ELBO(free_nats=-1.0)


def test_sums_over_time_are_float64() -> None:
    values = torch.full((1, 20_000_001), 1.0, dtype=torch.float32)  # float32 stops counting at 2**24
    mask = torch.ones_like(values, dtype=torch.bool)
    assert masked_sum(values, mask).item() == 20_000_001


def test_missing_values_drop_out_of_the_likelihood_exactly() -> None:
    model, batch = ZFORCING.build(SPECS["real"]), random_batch(SPECS["real"], missing=True)
    noise = draw_noise(model, batch)
    run = model.unroll(batch, noise=noise)
    density = Normal(run.emission.mean, run.emission.stddev).log_prob(batch.x)
    expected = torch.stack([density[b][batch.scored[b]].sum() for b in range(len(batch))])
    torch.testing.assert_close(ELBO()(model, batch, noise=noise).terms["log_px"], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (Schedule(0.7), {0: 0.7, 10**9: 0.7}),
        (Schedule(0.2, end=1.0, per_step=5e-5), {0: 0.2, 8000: 0.6, 16000: 1.0, 10**6: 1.0}),
        (Schedule(0.1, end=0.0, per_step=0.01), {0: 0.1, 5: 0.05, 10: 0.0, 11: 0.0}),
        (Schedule(0.0, end=1.0, per_step=0.25, period=8), {0: 0.0, 2: 0.5, 4: 1.0, 7: 1.0, 8: 0.0, 10: 0.5}),
    ],
)
def test_schedules_are_functions_of_the_step(schedule: Schedule, values: dict[int, float]) -> None:
    for step, value in values.items():
        assert math.isclose(schedule(step), value, abs_tol=1e-12), step


@pytest.mark.parametrize(
    "settings",
    [
        {"start": 0.0, "end": 1.0},
        {"start": 0.0, "per_step": 0.1},
        {"start": 0.0, "end": 1.0, "per_step": -0.1},
        {"start": 0.0, "end": 1.0, "per_step": 0.1, "period": 0},
    ],
)
def test_schedules_that_go_nowhere_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match="schedule"):
        Schedule(**settings)  # type: ignore[arg-type]


def test_the_auxiliary_and_the_backward_weight_are_independent() -> None:
    at = WeightSchedules(auxiliary=Schedule(0.0), backward=Schedule(0.5)).at(0)
    assert at.costs == {"auxiliary": 0.0, "backward": 0.5}
