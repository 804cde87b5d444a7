"""IWAE and FIVO against the exact likelihood of a linear-Gaussian model, and their gradients against closed forms.

Tolerances of Monte Carlo tests are multiples of the standard error, written where they are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conftest import CASES, SPECS, ZF_SIZE, Case, random_batch
from zforcing import ELBO, DensityModel, ObservationSpec, SequenceBatch, UserError, Weights
from zforcing.bounds import FIVO, IWAE, Bound, Exact, Importance
from zforcing.bounds.resampling import RESAMPLERS, effective_sample_size
from zforcing.models import LinearGaussian, LinearGaussianConfig
from zforcing.processes import LinearGaussianSystem
from zforcing.testing import check_bound

RESAMPLING = sorted(RESAMPLERS)


def linear_gaussian(
    latent: int, size: int, steps: int, n: int, proposal: str = "filtering"
) -> tuple[LinearGaussian, SequenceBatch, Tensor]:
    """A system, n sequences from it, and their exact log-likelihoods."""
    system, rng = LinearGaussianSystem.random(latent, size, seed=1), np.random.default_rng(0)
    x = torch.tensor(np.array([system.simulate(steps, rng=rng)[1] for _ in range(n)]))
    batch = SequenceBatch(x, torch.full((n,), steps), torch.zeros(n, size))
    config = LinearGaussianConfig(latent, proposal, system_seed=1)  # type: ignore[arg-type]
    model = LinearGaussian(ObservationSpec("real", size), config).double()
    with torch.no_grad():
        return model, batch, model.log_likelihood(batch)


@torch.no_grad()
def repeated(bound: Bound, model: LinearGaussian, batch: SequenceBatch, times: int, seed: int = 0) -> Tensor:
    """[times, B], of copies of the batch: several at once, as many as make 16384 particles."""
    torch.manual_seed(seed)
    most = max(1, 2**14 // (bound.particles * len(batch)))
    parts = [bound(model, batch.repeat(min(most, times - done))).value for done in range(0, times, most)]
    return torch.cat(parts).reshape(times, len(batch))


def mean_and_error(values: Tensor) -> tuple[Tensor, Tensor]:
    return values.mean(0), values.std(0) / len(values) ** 0.5


def test_bounds_are_below_the_likelihood_and_rise_with_particles() -> None:
    model, batch, exact = linear_gaussian(2, 2, 6, 3)
    for family, first in ((lambda k: IWAE(particles=k), ELBO()), (lambda k: FIVO(particles=k), IWAE(particles=1))):
        ladder: list[Bound] = [first, family(4), family(16), family(64)]
        means, errors = zip(*(mean_and_error(repeated(bound, model, batch, 200)) for bound in ladder), strict=True)
        for i in range(3):
            gap, error = means[i + 1] - means[i], (errors[i] ** 2 + errors[i + 1] ** 2).sqrt()
            assert (gap > -2 * error).all()
            assert gap.sum() > 3 * error.norm()  # and over the three sequences together, plainly above
        assert (means[-1] < exact + 3 * errors[-1]).all()


def test_iwae_with_1000_particles_is_within_002_nats_of_kalman() -> None:
    model, batch, exact = linear_gaussian(2, 2, 6, 8)
    mean, error = mean_and_error(repeated(IWAE(particles=1000), model, batch, 50))
    assert error.norm() / len(batch) < 0.005  # of the mean over the sequences
    assert (mean.mean() - exact.mean()).abs() < 0.02


@pytest.mark.slow
def test_fivo_with_1000_particles_is_within_005_nats_of_kalman() -> None:
    model, batch, exact = linear_gaussian(4, 4, 20, 2)
    mean, error = mean_and_error(repeated(FIVO(particles=1000), model, batch, 80))
    assert error.max() < 0.02
    assert ((mean - exact).abs() < 0.05).all()


@pytest.mark.parametrize("resampling", RESAMPLING)
def test_the_filters_estimate_of_the_likelihood_is_unbiased(resampling: str) -> None:
    model, batch, exact = linear_gaussian(2, 2, 6, 3, proposal="learned")
    with torch.no_grad():  # a proposal that is somewhat off, with bounded weights
        for parameter in model.proposal_net.parameters():
            parameter.mul_(0.1)
    batch = SequenceBatch(batch.x * 0.5, torch.tensor([6, 4, 2]), batch.start)
    with torch.no_grad():
        exact = model.log_likelihood(batch)
    bound = FIVO(particles=64, resampling=resampling, threshold=0.6)  # type: ignore[arg-type]
    ratio, error = mean_and_error((repeated(bound, model, batch, 600) - exact).exp())
    assert (error < 0.1).all()
    assert ((ratio - 1).abs() < 3 * error).all()


def test_with_the_exact_posterior_every_bound_is_exact() -> None:
    model, batch, exact = linear_gaussian(2, 3, 5, 3, proposal="smoothing")
    unfiltered = FIVO(particles=5, threshold=0)  # resampling in between would add noise of its own
    for bound in (IWAE(particles=1), IWAE(particles=7), unfiltered, Importance(3), Exact()):
        torch.testing.assert_close(repeated(bound, model, batch, 1)[0], exact, rtol=0, atol=1e-9)


def test_a_filter_that_never_resamples_is_iwae() -> None:
    model, batch, _ = linear_gaussian(2, 2, 6, 3)
    model.backend, batch = "reference", replace(batch, lengths=torch.tensor([6, 3, 1]))
    torch.manual_seed(0)
    noise = model.draw_noise(batch, particles=4)
    found, expected = (bound(model, batch, noise=noise).value for bound in (FIVO(4, threshold=0), IWAE(4)))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_missing_observations_in_a_bound_equal_kalman_with_them() -> None:
    model, batch, _ = linear_gaussian(2, 3, 5, 3, proposal="smoothing")
    torch.manual_seed(2)
    batch = SequenceBatch(batch.x, torch.tensor([5, 3, 1]), batch.start, torch.rand(batch.x.shape) > 0.4)
    with torch.no_grad():
        exact = model.log_likelihood(batch)
    for bound in (IWAE(particles=2), FIVO(particles=2)):
        torch.testing.assert_close(repeated(bound, model, batch, 1)[0], exact, rtol=0, atol=1e-9)


# ---- every model, every bound

BOUNDS: dict[str, Callable[[], Bound]] = {
    "elbo": ELBO,
    "iwae": lambda: IWAE(particles=3),
    "iwae, doubly reparameterized": lambda: IWAE(particles=3, gradient="doubly_reparameterized"),
    "importance": lambda: Importance(particles=3),
    "fivo": lambda: FIVO(particles=3, threshold=2.0),
    "fivo, resampling gradient": lambda: FIVO(
        particles=3, resampling="multinomial", threshold=2.0, resampling_gradient=True
    ),
}
BATCHES = {"full": ((4, 4, 4), False), "ragged": ((4, 1, 3), False), "missing": ((4, 1, 3), True)}
DERIVED = [SPECS["real"], SPECS["with gaps"]]  # to trace each model with each kind takes long
OF_EACH_MODEL = list({case.model: case for case in reversed(CASES)}.values())


def accepted(name: str, model: DensityModel) -> Weights:
    """Weights of the loss that this bound accepts, none of them the ones that are reported."""
    return Weights(kl=1.0 if "doubly" in name else 0.7, costs=dict.fromkeys(model.cost_names, 0.1))


@pytest.mark.pairs(name=BOUNDS, data=BATCHES, case=OF_EACH_MODEL)
def test_every_bound_is_a_bound_of_every_model(case: Case, spec: ObservationSpec, name: str, data: str) -> None:
    """What `check_bound` asks; it compares with the exact likelihood where there is one."""
    lengths, missing = BATCHES[data]
    model, batch, bound = case.build(spec), random_batch(spec, lengths, missing=missing), BOUNDS[name]()
    model.backend = "fast" if spec in DERIVED else "reference"
    check_bound(bound, model, batch, weights=accepted(name, model), surrogate="resampling gradient" in name)
    kind = "exact" if model.latent_size == 0 else "estimate" if name == "importance" else "lower bound"
    assert bound(model, batch).kind == kind


@pytest.mark.parametrize("name", BOUNDS)
def test_the_bound_of_a_float32_model_is_summed_in_float64(name: str) -> None:
    torch.set_default_dtype(torch.float32)
    spec = SPECS["real"]
    model, batch = Case("zforcing", ZF_SIZE).build(spec).float(), random_batch(spec)
    batch = replace(batch, x=batch.x.float(), start=batch.start.float())
    assert model.unroll(batch).log_px.dtype == torch.float32
    result = BOUNDS[name]()(model, batch)
    assert {v.dtype for v in (result.value, result.loss, *result.terms.values())} == {torch.float64}


@pytest.mark.parametrize("name", BOUNDS)
def test_value_and_loss_are_not_interchangeable(name: str) -> None:
    """The value doesn't know the weights, the loss does; without weights they are each other's negative."""
    spec = SPECS["real"]
    model, batch, bound = Case("zforcing", ZF_SIZE).build(spec), random_batch(spec), BOUNDS[name]()
    if name == "iwae, doubly reparameterized":
        weights = Weights(auxiliary=1.0, backward=1.0)
    else:
        weights = Weights(kl=1.0, auxiliary=1.0, backward=1.0)
    results = []
    for w in (Weights(), weights):
        torch.manual_seed(0)
        results.append(bound(model, batch, weights=w))
    plain, weighted = results
    torch.testing.assert_close(plain.value, weighted.value, rtol=0, atol=0)
    assert (weighted.loss != plain.loss).all()
    if "resampling gradient" not in name:
        torch.testing.assert_close(plain.loss.detach(), -plain.value, rtol=0, atol=1e-10)


@pytest.mark.parametrize("case", [c for c in CASES if c.model != "rnn"], ids=str)
def test_iwae_with_one_particle_is_the_elbo_with_the_kl_by_sample(case: Case) -> None:
    spec = SPECS["real"]
    model, batch = case.build(spec), random_batch(spec)
    torch.manual_seed(0)
    noise = model.draw_noise(batch)
    run = model.unroll(batch, noise=noise)
    ratio = torch.where(batch.mask, run.prior.log_prob(run.latents) - run.posterior.log_prob(run.latents), 0.0)
    value = IWAE(particles=1)(model, batch, noise=noise).value
    torch.testing.assert_close(value, (run.log_px + ratio).sum(1).detach(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("gradient", ["plain", "doubly_reparameterized"])
def test_particles_in_parts_give_the_same_bound_and_gradient(gradient: str) -> None:
    spec = SPECS["real"]
    model, batch = Case("zforcing", ZF_SIZE).build(spec), random_batch(spec)
    noise = model.draw_noise(batch, particles=7)
    results = []
    for max_rows in (10**6, 12, 1):
        bound = IWAE(7, gradient, max_rows)  # type: ignore[arg-type]
        result = bound(model, batch, weights=Weights(auxiliary=0.1, backward=0.1), noise=noise)
        gradients = torch.autograd.grad(result.loss.sum(), list(model.parameters()))
        results.append((result.value, result.loss.detach(), list(gradients)))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=0, atol=1e-10)


def test_1000_particles_fit_the_rows_they_are_given() -> None:
    """No more than max_rows sequences times particles go through the model at once."""
    spec = SPECS["real"]
    model, batch = Case("zforcing", ZF_SIZE).build(spec), random_batch(spec)
    seen, unroll = [], model.unroll
    model.unroll = lambda b, **k: (seen.append(len(b) * k["particles"]), unroll(b, **k))[1]  # type: ignore[method-assign]
    with torch.no_grad():
        IWAE(particles=1000, max_rows=400)(model, batch)
    assert max(seen) == 400
    assert sum(seen) == 4000


# ---- gradients


def one_step(x: float) -> tuple[LinearGaussian, SequenceBatch]:
    """z ~ N(0, q^2), x ~ N(c z, r^2), q(z | x) = N(0, q^2): one step, one dimension, the prior as proposal."""
    model = LinearGaussian(ObservationSpec("real", 1), LinearGaussianConfig(1, "prior")).double()
    with torch.no_grad():
        model.C.fill_(0.7)
        model.log_q.fill_(math.log(0.8))
        model.log_r.fill_(math.log(0.5))
    return model, SequenceBatch(torch.tensor([[[x]]]), torch.tensor([1]), torch.zeros(1, 1))


def by_hand(eps: np.ndarray, x: float) -> tuple[float, float, float]:
    """IWAE with the prior as proposal: log mean N(x; c q eps_k, r^2), and its derivatives in c and log q."""
    c, q, r = 0.7, 0.8, 0.5
    error = x - c * q * eps
    log_w = -0.5 * (error / r) ** 2 - math.log(r) - 0.5 * math.log(2 * math.pi)
    w = np.exp(log_w)
    v = w / w.sum()
    d_mean = v * error / r**2  # d log-mean / d mean_k
    return math.log(w.mean()), float((d_mean * q * eps).sum()), float((d_mean * c * q * eps).sum())


@pytest.mark.parametrize("k", [1, 3])
def test_iwaes_gradient_equals_the_one_derived_by_hand(k: int) -> None:
    x, eps = 1.3, np.random.default_rng(0).normal(size=k)
    model, batch = one_step(x)
    result = IWAE(particles=k)(model, batch, noise=torch.tensor(eps).reshape(k, 1, 1))
    d_c, d_log_q = torch.autograd.grad(-result.loss.sum(), [model.C, model.log_q])
    value, expected_c, expected_q = by_hand(eps, x)
    assert math.isclose(result.value.item(), value, rel_tol=1e-12)
    assert math.isclose(d_c.item(), expected_c, rel_tol=1e-10)
    assert math.isclose(d_log_q.item(), expected_q, rel_tol=1e-10)


def test_the_doubly_reparameterized_gradient_equals_the_one_derived_by_hand() -> None:
    """z_k = m + s eps_k: d/dm = sum v_k^2 (d log w_k / dz_k), by the two layers' biases of a learned proposal."""
    x, k = 1.3, 4
    model = LinearGaussian(ObservationSpec("real", 1), LinearGaussianConfig(1, "learned", mlp_size=3)).double()
    batch = SequenceBatch(torch.tensor([[[x]]]), torch.tensor([1]), torch.zeros(1, 1))
    eps = np.random.default_rng(1).normal(size=k)
    bound = IWAE(particles=k, gradient="doubly_reparameterized")
    result = bound(model, batch, noise=torch.tensor(eps).reshape(k, 1, 1))
    (d_bias,) = torch.autograd.grad(-result.loss.sum(), [model.proposal_net.second.bias])
    q, r, c = model.log_q.exp().item(), model.log_r.exp().item(), model.C.item()
    posterior = model.posterior(model.initial_state(1), model.encode(batch)[:, 0])
    m, s = posterior.mean.item(), posterior.stddev.item()
    z = m + s * eps
    log_w = -0.5 * ((x - c * z) / r) ** 2 - 0.5 * (z / q) ** 2 + 0.5 * eps**2
    v = np.exp(log_w - log_w.max())
    v = v / v.sum()
    d_z = c * (x - c * z) / r**2 - z / q**2 + (z - m) / s**2
    assert math.isclose(d_bias[0].item(), float((v**2 * d_z).sum()), rel_tol=1e-9)
    assert math.isclose(d_bias[1].item(), float((v**2 * d_z * s * eps / 2).sum()), rel_tol=1e-9)


def gradients(bound: Bound, model: LinearGaussian, batch: SequenceBatch, names: list[str], times: int) -> Tensor:
    """[times, parameters], of the loss summed over the batch."""
    rows = []
    for _ in range(times):
        loss = bound(model, batch).loss.sum()
        rows.append(
            torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, [model.get_parameter(n) for n in names])])
        )
    return torch.stack(rows)


@pytest.mark.parametrize("kind", [nn.Dropout, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.Dropout1d])
def test_a_doubly_reparameterized_gradient_refuses_every_kind_of_dropout(kind: type[nn.Module]) -> None:
    model, batch = Case("zforcing", ZF_SIZE).build(SPECS["real"]), random_batch(SPECS["real"])
    bound = IWAE(2, "doubly_reparameterized")
    model.add_module("dropped", kind(0.5))
    bound(model.eval(), batch)
    with pytest.raises(UserError, match=r"needs model\.dropout 0"):
        bound(model.train(), batch)


@pytest.mark.slow
def test_doubly_reparameterized_gradients_have_the_same_mean_and_less_variance() -> None:
    torch.manual_seed(0)
    _, batch, _ = linear_gaussian(1, 1, 2, 1)
    model = LinearGaussian(ObservationSpec("real", 1), LinearGaussianConfig(1, "learned", mlp_size=2)).double()
    shared = ["proposal_net.second.bias", "proposal_net.second.weight"]
    both = [
        gradients(IWAE(8, gradient), model, batch, [*shared, "C", "log_q"], 300)  # type: ignore[arg-type]
        for gradient in ("plain", "doubly_reparameterized")
    ]
    (plain, plain_error), (double, double_error) = (mean_and_error(g) for g in both)
    assert ((plain - double).abs() < 4 * (plain_error**2 + double_error**2).sqrt()).all()
    proposal = slice(0, -2)
    assert both[1].var(0)[proposal].sum() < 0.7 * both[0].var(0)[proposal].sum()


@pytest.mark.slow
def test_fivos_gradient_with_the_resampling_term_is_that_of_the_expected_bound() -> None:
    """Against central differences of E[FIVO] with common random numbers; without the term it is off."""
    _, batch, _ = linear_gaussian(1, 1, 3, 1, proposal="prior")
    model = LinearGaussian(ObservationSpec("real", 1), LinearGaussianConfig(1, "prior", system_seed=1)).double()
    bound = {g: FIVO(4, "multinomial", threshold=2.0, resampling_gradient=g) for g in (True, False)}
    n = 4000
    many = SequenceBatch(batch.x.expand(n, -1, -1), batch.lengths.expand(n), batch.start.expand(n, -1))

    def expected(shift: float) -> tuple[float, float]:
        with torch.no_grad():
            model.A.add_(shift)
            values = torch.cat([repeated(bound[False], model, many, 1, seed=s)[0] for s in range(40)])
            model.A.sub_(shift)
        return values.mean().item(), values.std().item() / len(values) ** 0.5

    step = 0.2
    (above, e1), (below, e2) = expected(step), expected(-step)
    difference, error = (above - below) / (2 * step), math.hypot(e1, e2) / (2 * step)
    torch.manual_seed(5)
    found = {}
    for name, b in bound.items():
        losses = [torch.autograd.grad(-b(model, many).loss.mean(), [model.A])[0].item() for _ in range(20)]
        found[name] = (np.mean(losses), np.std(losses, ddof=1) / 20**0.5)
    mean, own = found[True]
    assert abs(mean - difference) < 3 * math.hypot(error, own) + 0.02  # 0.02: the difference's curvature
    assert abs(found[False][0] - difference) > abs(mean - difference)


# ---- resampling


@pytest.mark.parametrize("resampling", RESAMPLING)
def test_each_particle_survives_in_proportion_to_its_weight(resampling: str) -> None:
    torch.manual_seed(0)
    weights = torch.tensor([[0.5, 0.1], [0.3, 0.1], [0.15, 0.1], [0.05, 0.7]])
    many = weights.repeat(1, 5000)
    ancestors = RESAMPLERS[resampling](many)
    assert ancestors.shape == many.shape
    counts = torch.stack([(ancestors == k).sum(0) for k in range(4)]).double().reshape(4, 5000, 2)
    error = counts.std(1) / 5000**0.5
    assert ((counts.mean(1) - 4 * weights).abs() < 4 * error + 1e-12).all()


@pytest.mark.parametrize("resampling", ["systematic", "stratified"])
def test_low_variance_resampling_never_loses_a_heavy_particle(resampling: str) -> None:
    weights = torch.tensor([[0.6], [0.2], [0.2]]).repeat(1, 1000)
    counts = (RESAMPLERS[resampling](weights) == 0).sum(0)
    assert counts.min() >= 1
    assert counts.max() <= (2 if resampling == "systematic" else 3)


def test_one_particle_with_all_the_weight_is_everyones_ancestor() -> None:
    weights = torch.tensor([0.0, 1.0, 0.0])[:, None]
    for resample in RESAMPLERS.values():
        assert resample(weights).flatten().tolist() == [1, 1, 1]


def test_effective_sample_size_of_known_weights() -> None:
    weights = torch.tensor([[0.25, 1.0, 0.5], [0.25, 0.0, 0.5], [0.25, 0.0, 0.0], [0.25, 0.0, 0.0]])
    torch.testing.assert_close(effective_sample_size(weights), torch.tensor([4.0, 1.0, 2.0]))


# ---- mistakes


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: IWAE(particles=0), r"bound\.particles is 0"),
        (lambda: IWAE(max_rows=0), r"bound\.max_rows is 0"),
        (lambda: FIVO(particles=0), r"bound\.particles is 0"),
        (lambda: FIVO(threshold=-1), r"bound\.threshold is -1"),
        (lambda: FIVO(resampling="systematic", resampling_gradient=True), r"needs bound\.resampling multinomial"),
        (lambda: Importance(particles=-2), r"bound\.particles is -2"),
        (lambda: Importance(max_rows=0), r"bound\.max_rows is 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(make: Callable[[], Bound], said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()


def test_exact_is_refused_for_a_model_that_has_bounds_only() -> None:
    spec = SPECS["real"]
    with pytest.raises(UserError, match="zforcing has no exact likelihood"):
        Exact()(Case("zforcing", ZF_SIZE).build(spec), random_batch(spec))


def test_the_doubly_reparameterized_gradient_needs_kl_weight_one() -> None:
    spec = SPECS["real"]
    bound = IWAE(gradient="doubly_reparameterized")
    with pytest.raises(UserError, match=r"weights\.kl 1"):
        bound(Case("zforcing", ZF_SIZE).build(spec), random_batch(spec), weights=Weights(kl=0.5))


def test_the_doubly_reparameterized_gradient_needs_a_network_without_dropout() -> None:
    spec = SPECS["real"]
    model, bound = Case("zforcing", ZF_SIZE).build(spec, dropout=0.5), IWAE(gradient="doubly_reparameterized")
    assert bound(model, random_batch(spec)).value.isfinite().all()  # in eval mode there is none
    with pytest.raises(UserError, match=r"model\.dropout 0"):
        bound(model.train(), random_batch(spec))


@pytest.mark.parametrize("resampling", RESAMPLING)
def test_a_sequence_without_a_finite_weight_spoils_no_other(resampling: str) -> None:
    model, batch, _ = linear_gaussian(2, 2, 4, 2, proposal="prior")
    x = batch.x.clone()
    x[1, 0] = 1e200
    broken = SequenceBatch(x, batch.lengths, batch.start)
    value = FIVO(4, resampling, threshold=2.0)(model, broken).value  # type: ignore[arg-type]
    assert value[0].isfinite()
    assert not value[1].isfinite()


@pytest.mark.slow
def test_fivos_resampling_term_belongs_to_the_objective_with_a_kl_weight() -> None:
    """Central differences of E[-loss] with weights.kl 0.2, common random numbers; the loss's own value is the objective
    only without the term, so it is taken from a bound without it.
    """
    _, batch, _ = linear_gaussian(1, 1, 3, 1, proposal="prior")
    model = LinearGaussian(ObservationSpec("real", 1), LinearGaussianConfig(1, "learned", mlp_size=3)).double()
    n, w = 4000, Weights(kl=0.2)
    many = SequenceBatch(batch.x.expand(n, -1, -1), batch.lengths.expand(n), batch.start.expand(n, -1))
    bound = {g: FIVO(4, "multinomial", threshold=2.0, resampling_gradient=g) for g in (True, False)}

    def expected(shift: float) -> tuple[float, float]:
        with torch.no_grad():
            model.A.add_(shift)
            values = []
            for s in range(40):
                torch.manual_seed(s)
                values.append(-bound[False](model, many, weights=w).loss)
            model.A.sub_(shift)
        flat = torch.cat(values)
        return flat.mean().item(), flat.std().item() / len(flat) ** 0.5

    step = 0.2
    (above, e1), (below, e2) = expected(step), expected(-step)
    difference, error = (above - below) / (2 * step), math.hypot(e1, e2) / (2 * step)
    torch.manual_seed(5)
    found = [
        torch.autograd.grad(-bound[True](model, many, weights=w).loss.mean(), [model.A])[0].item() for _ in range(20)
    ]
    assert abs(np.mean(found) - difference) < 3 * math.hypot(error, np.std(found, ddof=1) / 20**0.5) + 0.05
