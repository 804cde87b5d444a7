"""Whether the latent matters, on models where the answer is known."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

import zforcing as zf
from conftest import RNN_SIZE, SRNN_SIZE, VRNN_SIZE, ZF_SIZE, Case
from latent_models import LATENT, data_of, small
from vae import vae
from zforcing import LatentsReport, LinearGaussian, ObservationSpec, SequenceModel, Sequences, UserError
from zforcing.evaluation.latents import hints_of
from zforcing.testing import SPECS

STEPS = (4, 2, 3)
X = [3 * np.random.default_rng(n).standard_normal((n, 2)) for n in STEPS]
PLAIN = Sequences(X, normalize=False)
Q, R = np.array([1.0, 0.5]), np.array([0.5, 2.0])  # standard deviations of z_t and of x_t given z_t


def apart(c: tuple[float, float] = (1.5, 0.0)) -> LinearGaussian:
    """z_t ~ N(0, diag(Q^2)), x_t = diag(c) z_t + N(0, diag(R^2)): dimensions and steps know nothing of each other."""
    model = LinearGaussian(ObservationSpec("real", 2), latent_size=2)
    with torch.no_grad():
        model.A.zero_()
        model.C.copy_(torch.diag(torch.tensor(c)))
        model.log_q.copy_(torch.tensor(Q).log())
        model.log_r.copy_(torch.tensor(R).log())
    model.backend = "reference"
    return model


def test_kl_by_dimension_and_by_step_are_closed_forms() -> None:
    """V = 1 / (1 / q^2 + c^2 / r^2), mu = V c x / r^2, KL = (V / q^2 + mu^2 / q^2 - 1 - ln(V / q^2)) / 2."""
    c = np.array([1.5, -0.7])
    report = zf.latents_report(apart(tuple(c)), PLAIN, num_samples=1)
    V = 1 / (1 / Q**2 + c**2 / R**2)
    kl = [(V / Q**2 + (V * c * x / R**2) ** 2 / Q**2 - 1 - np.log(V / Q**2)) / 2 for x in X]  # [T, 2] each
    assert np.allclose(report.kl_by_dimension, sum(k.sum(0) for k in kl) / 3)
    assert report.kl_per_sequence == pytest.approx(sum(k.sum() for k in kl) / 3)
    assert report.kl_per_step == pytest.approx(sum(k.sum() for k in kl) / 9)
    assert report.sequences_by_step.tolist() == [3, 3, 2, 1]
    by_step = [np.mean([k[t].sum() for k in kl if len(k) > t]) for t in range(4)]
    assert np.allclose(report.kl_by_step, by_step)
    assert report.num_steps == 9


def test_active_units_are_those_whose_posterior_mean_varies() -> None:
    report = zf.latents_report(apart(), PLAIN)
    V = 1 / (1 + 1.5**2 / R[0] ** 2)
    mean = V * 1.5 * np.concatenate(X)[:, 0] / R[0] ** 2
    assert np.allclose(report.variances, [mean.var(), 0])  # q = 1, so that both numbers are Burda's
    assert np.allclose(report.variances_of_means, [mean.var(), 0])
    assert report.active.tolist() == [True, False]
    assert report.active_units == 1
    assert any("1 of 2 units are not active" in line for line in report.advice)


def test_log_px_given_z_is_that_of_gaussians_with_z_from_either() -> None:
    """E[log N(x; c z, r^2)] = -ln(2 pi r^2) / 2 - ((x - c m)^2 + c^2 s^2) / (2 r^2) for z ~ N(m, s^2).

    Of a draw the variance is (2 c^4 s^4 + 4 c^2 s^2 (x - c m)^2) / (4 r^4).
    """
    c, K = np.array([1.5, -0.7]), 3000
    report = zf.latents_report(apart(tuple(c)), PLAIN, num_samples=K, max_rows=3 * K)
    x, V = np.concatenate(X), 1 / (1 / Q**2 + c**2 / R**2)
    for found, m, s2 in (
        (report.log_px_posterior, V * c * x / R**2, V),
        (report.log_px_prior, 0 * x, Q**2),
    ):
        off = (x - c * m) ** 2
        expected = (-np.log(2 * np.pi * R**2) / 2 - (off + c**2 * s2) / (2 * R**2)).sum() / 3
        error = np.sqrt(((2 * c**4 * s2**2 + 4 * c**2 * s2 * off) / (4 * R**4)).sum() / K) / 3
        assert abs(found - expected) < 5 * error
    assert report.gain == pytest.approx(report.log_px_posterior - report.log_px_prior)
    exact = zf.evaluate(apart(tuple(c)), PLAIN, bound=zf.Exact()).nats_per_sequence
    assert abs(report.elbo - exact) < 5 * error  # the posterior is exact
    assert report.log_px_prior < exact


def test_of_a_full_covariance_the_dimensions_lack_what_they_know_of_each_other() -> None:
    """KL = sum of the marginals' + total correlation of q, ln(prod_d V_dd / det V) / 2 a step, of a diagonal prior."""
    model = apart()
    with torch.no_grad():
        model.C.copy_(torch.tensor([[1.0, 2.0], [0.3, 1.0]]))
    report = zf.latents_report(model, PLAIN, num_samples=1)
    C = model.C.detach().numpy()
    V = np.linalg.inv(np.diag(1 / Q**2) + C.T @ np.diag(1 / R**2) @ C)
    total_correlation = np.log(np.diag(V).prod() / np.linalg.det(V)) / 2
    assert total_correlation > 0.1
    assert report.kl_by_dimension.sum() + total_correlation * 9 / 3 == pytest.approx(report.kl_per_sequence)


@dataclass(frozen=True)
class FollowingConfig:
    latent_size: int = 2
    """Z"""


class Past(NamedTuple):
    x: Tensor
    z: Tensor


class Following(SequenceModel):
    """p(z_t | .) = N([x_{t-1}, x_{t-1}], I), q(z_t | .) = N([x_t, x_{t-1}], I): the second one is dead, and moves."""

    name = "following"
    Config = FollowingConfig

    def __init__(self, spec: ObservationSpec, config: FollowingConfig = FollowingConfig()):
        super().__init__(spec, config)
        self.scale = torch.nn.Parameter(torch.ones(1))

    def initial_state(self, n: int, *, start: Tensor | None = None) -> Past:
        x = self.scale.new_zeros(n, 1)
        return Past(x, torch.cat([x, x], dim=1))

    def encode(self, batch: Any, *, state: Any = None) -> Tensor:
        return batch.x

    def prior(self, state: Past) -> Distribution:
        return Independent(Normal(torch.cat([state.x, state.x], dim=1), self.scale.expand(len(state.x), 2)), 1)

    def posterior(self, state: Past, context: Tensor) -> Distribution:
        return Independent(Normal(torch.cat([context, state.x], dim=1), self.scale.expand(len(state.x), 2)), 1)

    def after_latent(self, state: Past, z: Tensor) -> Past:
        return state._replace(z=z)

    def emission(self, state: Past) -> Distribution:
        return Independent(Normal(state.z[:, :1], self.scale.expand(len(state.x), 1)), 1)

    def after_observation(self, state: Past, x: Tensor) -> Past:
        return state._replace(x=x)


def test_a_dead_unit_whose_prior_moves_isnt_active() -> None:
    model = Following(ObservationSpec("real", 1)).eval()
    model.backend = "reference"
    x = [10 * np.random.default_rng(n).standard_normal(n) for n in STEPS]
    steps = np.concatenate([np.diff(v, prepend=0) for v in x])
    report = zf.latents_report(model, Sequences(x, normalize=False), num_samples=1)
    assert np.allclose(report.kl_by_dimension, [(steps**2).sum() / 2 / 3, 0])
    assert np.allclose(report.variances, [steps.var(), 0])
    assert report.active_units == 1  # Z - 1
    assert (report.variances_of_means > 10).all()  # Burda et al.'s number takes it for active
    assert report.reads == "present"


def test_where_the_posterior_is_the_prior_nothing_is_gained() -> None:
    model = Case("linear_gaussian", {"latent_size": 2, "proposal": "prior"}).build(SPECS["real"])
    report = zf.latents_report(model, data_of(SPECS["real"]))
    assert (report.kl_per_sequence, report.gain, report.active_units) == (0, 0, 0)
    assert report.collapsed
    assert report.advice == ["the posterior doesn't read x_t, so that z can't carry anything of it: choose another one"]


@pytest.mark.pairs(case=LATENT)
def test_each_model_has_a_report_that_adds_up(case: Case, spec: ObservationSpec) -> None:
    model, data = case.build(spec), data_of(spec)
    model.backend = "reference"
    report = zf.latents_report(model, data, num_samples=2)
    steps = np.array([len(data[i].x) - spec.unscored_steps for i in range(3)])
    assert report.num_steps == steps.sum() == report.sequences_by_step.sum()
    assert (report.kl_by_step * report.sequences_by_step).sum() / 3 == pytest.approx(report.kl_per_sequence)
    if case.model != "linear_gaussian":
        assert report.kl_by_dimension.sum() == pytest.approx(report.kl_per_sequence)
    assert len(report.variances) == report.latent_size == model.latent_size
    assert json.loads(json.dumps(report.to_json()))["active_units"] == report.active_units


def test_a_report_doesnt_depend_on_batches_and_follows_the_seed() -> None:
    model, data = small(), data_of(SPECS["real"])
    state = torch.get_rng_state()
    whole, parts, other = (
        zf.latents_report(model, data, max_rows=r, seed=s) for r, s in ((None, 0), (1, 0), (None, 1))
    )
    assert torch.equal(torch.get_rng_state(), state)
    for name in ("kl_by_step", "kl_by_dimension", "variances", "log_px_prior", "log_px_posterior"):
        assert np.allclose(getattr(whole, name), getattr(parts, name))
    assert whole.log_px_prior != other.log_px_prior
    assert np.allclose(whole.variances, other.variances)  # along the means


def test_a_reports_kl_is_evaluates() -> None:
    model, data = small(), Sequences([np.random.default_rng(n).standard_normal((n, 3)) for n in (5, 3, 4)])
    report = zf.latents_report(model, data, num_samples=200)
    evaluation = zf.evaluate(model, data, repeats=200)
    assert report.kl_per_sequence == pytest.approx(evaluation.kl_per_sequence, rel=0.05)
    assert report.elbo == pytest.approx(evaluation.nats_per_sequence, abs=5 * 1.5 * (evaluation.noise_error or 0))


HEALTHY = LatentsReport(
    model="zforcing",
    data="d",
    reads="future",
    num_sequences=2,
    num_steps=40,
    num_samples=1,
    seed=0,
    kl_per_sequence=20.0,
    kl_by_step=np.full(20, 1.0),
    sequences_by_step=np.full(20, 2),
    kl_by_dimension=np.array([12.0, 8.0]),
    variances=np.array([0.5, 0.7]),
    variances_of_means=np.array([0.5, 0.7]),
    log_px_posterior=-50.0,
    log_px_prior=-90.0,
    gain=40.0,
    gain_error=1.0,
    hints=("HINT",),
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"kl_per_sequence": 0.1}, ["carry nothing (posterior collapse). Try HINT"]),
        ({"gain": 1.9}, ["no better with z from the posterior than from the prior"]),
        (
            {"gain": 10.0, "log_px_posterior": -80.0},
            ["the KL (20 nats) costs more than z gains (10): the ELBO"],
        ),
        ({"variances": np.array([0.5, 0.001])}, ["1 of 2 units are not active: a model.latent_size of 1 would do"]),
        ({"variances": np.array([0.0, 0.001])}, ["no unit is active"]),
        ({"kl_by_step": np.array([9.5, 9.5, *[1 / 18] * 18])}, ["95% of the KL is in the first tenth of the steps"]),
        ({"reads": "past"}, ["the posterior doesn't read x_t"]),
    ],
)
def test_advice_follows_what_was_found(changes: dict[str, Any], said: list[str]) -> None:
    advice = replace(HEALTHY, **changes).advice
    assert len(advice) == len(said)
    assert all(part in line for part, line in zip(said, advice, strict=True))


def test_hints_are_settings_that_the_model_has() -> None:
    sizes = {"zforcing": ZF_SIZE, "srnn": SRNN_SIZE, "vrnn": VRNN_SIZE}
    of = {name: "; ".join(hints_of(Case(name, size).build(SPECS["real"]))) for name, size in sizes.items()}
    assert "weights.auxiliary" in of["zforcing"]
    assert "model.posterior parallel" in of["zforcing"]
    assert "auxiliary" not in of["srnn"] + of["vrnn"]
    filtering = Case("srnn", SRNN_SIZE | {"posterior": "filtering"}).build(SPECS["real"])
    assert "model.posterior smoothing" in "; ".join(hints_of(filtering))
    assert all("bound.free_nats" in hints for hints in of.values())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda d: zf.latents_report(Case("rnn", RNN_SIZE).build(SPECS["real"]), d), "model rnn has no latents"),
        (lambda d: zf.latents_report(vae(), d), "a latents report needs a model of sequences; binary_vae"),
        (lambda d: zf.latents_report(small(), d, num_samples=0), "num_samples is 0; it must be 1 or more"),
        (lambda d: zf.latents_report(small(), 3), "data is a int; it must be Sequences"),
    ],
)
def test_what_cant_be_is_one_line(call: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        call(data_of(SPECS["real"]))
    assert "\n" not in str(error.value)
