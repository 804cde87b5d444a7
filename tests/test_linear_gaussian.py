"""The exact oracles: Kalman and forward recursions against dense algebra and enumeration."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from zforcing import ELBO, FIVO, IWAE, ObservationSpec, SequenceBatch, UserError
from zforcing.models import LinearGaussian, LinearGaussianConfig
from zforcing.processes import HiddenMarkovChain, LinearGaussianSystem, SwitchingSystem

STEPS = 5
SYSTEM = LinearGaussianSystem.random(2, 3, seed=1)
DRIVEN = LinearGaussianSystem.random(2, 3, seed=1, inputs=2)
U = np.random.default_rng(9).normal(size=(STEPS, 2))
systems = pytest.mark.parametrize("system", [SYSTEM, DRIVEN], ids=["alone", "with inputs"])
PROPOSALS = ("smoothing", "filtering", "learned", "prior")


def joint(system: LinearGaussianSystem, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of (z_1..z_T) and the matrix that takes it to (x_1..x_T) without noise: the model as one Gaussian."""
    n = len(system.q)
    propagate = np.zeros((steps * n, steps * n))
    for t in range(steps):
        for s in range(t + 1):
            block = np.linalg.matrix_power(system.A, t - s)
            propagate[t * n : (t + 1) * n, s * n : (s + 1) * n] = block
    z_covariance = propagate @ np.kron(np.eye(steps), np.diag(system.q**2)) @ propagate.T
    return z_covariance, np.kron(np.eye(steps), system.C)


def driven_mean(system: LinearGaussianSystem) -> np.ndarray:
    """E z_1..E z_T, flat, with the inputs U: the recursion without its noise."""
    z, means = np.zeros(len(system.q)), []
    for u in U:
        z = system.A @ z + (0 if system.B is None else system.B @ u)
        means.append(z)
    return np.concatenate(means)


def with_gaps(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = SYSTEM.simulate(STEPS, rng=rng)[1]
    x[rng.random(x.shape) < 0.3] = np.nan
    return x


def as_batch(*sequences: np.ndarray, system: LinearGaussianSystem = SYSTEM) -> SequenceBatch:
    lengths = torch.tensor([len(s) for s in sequences])
    x = torch.zeros(len(sequences), max(map(len, sequences)), sequences[0].shape[1])
    for row, sequence in zip(x, sequences, strict=True):
        row[: len(sequence)] = torch.tensor(sequence)
    inputs = None if system.B is None else torch.tensor(U)[: x.shape[1]].expand(len(x), -1, -1)
    return SequenceBatch(x, lengths, torch.zeros_like(x[:, 0]), ~x.isnan(), inputs)


def model(proposal: str = "filtering", *, system: LinearGaussianSystem = SYSTEM) -> LinearGaussian:
    config = LinearGaussianConfig(2, proposal, system_seed=1)  # type: ignore[arg-type]
    inputs = 0 if system.B is None else system.B.shape[1]
    return LinearGaussian(ObservationSpec("real", 3, inputs=inputs), config).double()


@systems
def test_the_oracle_equals_the_density_of_the_joint_gaussian(system: LinearGaussianSystem) -> None:
    x = with_gaps()
    z_covariance, C = joint(system, STEPS)
    covariance = C @ z_covariance @ C.T + np.kron(np.eye(STEPS), np.diag(system.r**2))
    flat, seen = x.ravel(), ~np.isnan(x.ravel())
    mean = (C @ driven_mean(system))[seen]
    expected = multivariate_normal(mean, covariance[np.ix_(seen, seen)]).logpdf(flat[seen])
    assert math.isclose(system.log_likelihood(x, inputs=U), expected, rel_tol=1e-12)


@systems
def test_the_models_likelihood_equals_the_oracles_with_ragged_lengths_and_gaps(system: LinearGaussianSystem) -> None:
    sequences = [with_gaps(0), with_gaps(1)[:3], with_gaps(2)[:1], np.full((4, 3), np.nan)]
    expected = torch.tensor([system.log_likelihood(s, inputs=U[: len(s)]) for s in sequences])
    found = model(system=system).log_likelihood(as_batch(*sequences, system=system)).detach()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)
    assert expected[3] == 0  # nothing seen, nothing said


@systems
def test_the_smoother_equals_conditioning_the_joint_gaussian(system: LinearGaussianSystem) -> None:
    x = with_gaps()
    z_covariance, C = joint(system, STEPS)
    seen = ~np.isnan(x.ravel())
    C, noise = C[seen], np.kron(np.eye(STEPS), np.diag(system.r**2))[np.ix_(seen, seen)]
    gain = z_covariance @ C.T @ np.linalg.inv(C @ z_covariance @ C.T + noise)
    before = driven_mean(system)
    mean, covariance = before + gain @ (x.ravel()[seen] - C @ before), z_covariance - gain @ C @ z_covariance
    found_mean, found_covariance = model(system=system).smooth(as_batch(x, system=system))
    np.testing.assert_allclose(found_mean.detach()[0], mean.reshape(STEPS, 2), atol=1e-11)
    for t in range(STEPS):
        block = slice(2 * t, 2 * t + 2)
        np.testing.assert_allclose(found_covariance.detach()[0, t], covariance[block, block], atol=1e-11)


@systems
def test_under_the_exact_posterior_every_weight_is_the_likelihood(system: LinearGaussianSystem) -> None:
    batch = as_batch(with_gaps(0), with_gaps(1)[:3], system=system)
    torch.manual_seed(0)
    for _ in range(5):
        run = model("smoothing", system=system).unroll(batch)
        ratio = torch.where(batch.mask, run.prior.log_prob(run.latents) - run.posterior.log_prob(run.latents), 0.0)
        log_w = (run.log_px + ratio).sum(1)
        torch.testing.assert_close(log_w, model(system=system).log_likelihood(batch), rtol=0, atol=1e-11)


@systems
def test_with_the_exact_posterior_the_elbo_is_the_likelihood(system: LinearGaussianSystem) -> None:
    """E[ELBO] without Monte Carlo: it is quadratic in the noise, so +-sqrt(n) e_i, i = 1..n, integrate it exactly."""
    x = with_gaps()
    n = STEPS * 2
    points = torch.cat([torch.eye(n), -torch.eye(n)]) * math.sqrt(n)  # [2 n, n]
    batch = as_batch(*[x] * (2 * n), system=system)
    run = model("smoothing", system=system).unroll(batch, noise=points.reshape(2 * n, STEPS, 2))
    elbo = (run.log_px - run.kl).sum(1).mean()
    assert math.isclose(elbo.item(), system.log_likelihood(x, inputs=U), rel_tol=0, abs_tol=1e-9)
    worse = model("filtering", system=system).unroll(batch, noise=points.reshape(2 * n, STEPS, 2))
    assert (worse.log_px - worse.kl).sum(1).mean() < elbo - 0.1  # another posterior's is a bound


@pytest.mark.parametrize("proposal", ["filtering", "learned", "prior"])
def test_with_inputs_the_bounds_rise_to_the_likelihood(proposal: str) -> None:
    """Means over 2000 copies of a sequence, each within 4 standard errors of their order; particle filters are unbiased
    of p(x) itself.
    """
    x, n = with_gaps(), 2000
    exact = DRIVEN.log_likelihood(x, inputs=U)
    its = model(proposal, system=DRIVEN).eval()
    batch = as_batch(*[x] * n, system=DRIVEN)
    torch.manual_seed(0)
    with torch.no_grad():
        values = [bound(its, batch).value for bound in (ELBO(), IWAE(particles=4), FIVO(particles=4))]
    means = [value.mean().item() for value in values]
    errors = [value.std().item() / math.sqrt(n) for value in values]
    assert means[0] < means[1] + 4 * errors[0]
    assert all(mean < exact + 4 * error for mean, error in zip(means, errors, strict=True))
    weights = (values[2] - exact).exp()
    assert abs(weights.mean().item() - 1) < 4 * weights.std().item() / math.sqrt(n)


def test_the_likelihood_can_be_learned() -> None:
    rng = np.random.default_rng(3)
    batch = as_batch(*[SYSTEM.simulate(8, rng=rng)[1] for _ in range(60)])
    torch.manual_seed(0)
    learner = LinearGaussian(ObservationSpec("real", 3), LinearGaussianConfig(2)).double()
    adam = torch.optim.Adam(learner.parameters(), lr=0.05)
    for _ in range(150):
        adam.zero_grad()
        (-learner.log_likelihood(batch).mean()).backward()
        adam.step()
    truth = model().log_likelihood(batch).mean()
    assert learner.log_likelihood(batch).mean() > truth - 0.1  # on the training set it may be above


def in_single_and_double_precision() -> tuple[LinearGaussian, LinearGaussian, SequenceBatch]:
    """More numbers observed than latents, almost without noise: most of P cancels at a step."""
    torch.manual_seed(0)
    single = LinearGaussian(ObservationSpec("real", 6), LinearGaussianConfig(2, "smoothing")).float()
    with torch.no_grad():
        single.log_r.fill_(-5.0)
    batch = SequenceBatch(torch.randn(2, 20, 6) / 100, torch.tensor([20, 12]), torch.zeros(2, 6))
    return single, copy.deepcopy(single).double(), batch.to("cpu", torch.float64)


def test_inference_in_a_float32_model_is_that_of_float64() -> None:
    single, double, batch = in_single_and_double_precision()
    rounded = batch.to("cpu", torch.float32)
    exact = double.log_likelihood(rounded.to("cpu", torch.float64))
    found = single.log_likelihood(rounded)
    torch.testing.assert_close(found, exact, rtol=1e-9, atol=0)
    smoothed, expected = single.smooth(rounded), double.smooth(rounded.to("cpu", torch.float64))
    assert smoothed[0].dtype == torch.float32
    torch.testing.assert_close(smoothed, tuple(v.float() for v in expected), rtol=1e-6, atol=1e-7)
    context = double.encode(rounded.to("cpu", torch.float64)).float()
    torch.testing.assert_close(single.encode(rounded), context, rtol=1e-6, atol=1e-4)
    slope = torch.autograd.grad(found.sum(), single.log_r)[0]
    torch.testing.assert_close(slope, torch.autograd.grad(exact.sum(), double.log_r)[0].float(), rtol=1e-5, atol=0)


def test_the_likelihood_of_a_float64_model_takes_no_constant_in_float32() -> None:
    double, batch = in_single_and_double_precision()[1:]
    exact = double.log_likelihood(batch)
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        assert torch.equal(double.log_likelihood(batch), exact)
    finally:
        torch.set_default_dtype(previous)


def test_linear_gaussian_refuses_what_is_not_real() -> None:
    with pytest.raises(UserError, match="linear_gaussian emits real observations"):
        LinearGaussian(ObservationSpec("binary", 2))


@pytest.mark.parametrize("x", [[0, 1, 2, 0], [0, -1, 2, -1], [-1, -1, -1], [1]])
def test_the_forward_algorithm_equals_enumeration_with_and_without_gaps(x: list[int]) -> None:
    chain = HiddenMarkovChain.random(3, 4, seed=0)
    expected = chain.enumerated_log_likelihood(np.array(x))
    assert math.isclose(chain.log_likelihood(np.array(x)), expected, rel_tol=1e-10, abs_tol=1e-12)


def test_the_chains_probabilities_sum_to_one() -> None:
    chain = HiddenMarkovChain.random(2, 3, seed=1)
    total = sum(math.exp(chain.log_likelihood(np.array([a, b]))) for a in range(3) for b in range(3))
    assert math.isclose(total, 1.0)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_likelihood_of_switching_regimes_equals_enumeration_with_and_without_gaps(size: int) -> None:
    system = SwitchingSystem.random(3, size, seed=0)
    x = system.simulate(5, rng=np.random.default_rng(1))[1]
    x[2, 0] = x[3] = np.nan
    for some in (x, x[:1], x[3:4]):
        expected = system.enumerated_log_likelihood(some)
        assert math.isclose(system.log_likelihood(some), expected, rel_tol=1e-10, abs_tol=1e-12)


def test_a_density_of_switching_regimes_integrates_to_one() -> None:
    system = SwitchingSystem.random(2, 1, seed=1, noise=0.5)
    points, width = np.linspace(-4, 4, 81, retstep=True)
    pairs = [math.exp(system.log_likelihood(np.array([[a], [b]]))) for a in points for b in points]
    assert math.isclose(math.fsum(pairs) * width**2, 1.0, rel_tol=1e-6)
