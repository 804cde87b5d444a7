"""Heads and what we ask of distributions, against torch's own densities and numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Binomial,
    Categorical,
    ContinuousBernoulli,
    Distribution,
    Geometric,
    Independent,
    MixtureSameFamily,
    Multinomial,
    NegativeBinomial,
    Normal,
    OneHotCategorical,
    Poisson,
    RelaxedBernoulli,
)

from conftest import SPECS, observations
from zforcing import ObservationSpec
from zforcing.distributions import (
    Softmax,
    combine,
    diagonal_gaussian,
    gaussian_log_prob,
    log_prob_of_observed,
    log_probs_of_observed,
    no_latent,
    reparameterize,
    stack,
)
from zforcing.emissions import BernoulliEmission, EmissionSettings, GaussianEmission, make_emission
from zforcing.nn import Embedder, standardize


def set_output(emission: nn.Module, *values: float) -> None:
    """Make the head's linear layer give these values whatever it reads."""
    linear = emission.get_submodule("linear")
    assert isinstance(linear, nn.Linear)
    nn.init.zeros_(linear.weight)
    linear.bias.data = torch.tensor(values)


def test_gaussian_emission_reads_mean_and_log_variance() -> None:
    emission = GaussianEmission(3, 2)
    set_output(emission, 1.0, -2.0, math.log(4.0), 0.0)
    expected = Normal(torch.tensor([1.0, -2.0]), torch.tensor([2.0, 1.0])).log_prob(torch.tensor([0.5, 0.5])).sum()
    torch.testing.assert_close(emission(torch.randn(3)).log_prob(torch.tensor([0.5, 0.5])), expected)


def test_min_std_is_added_to_the_standard_deviation() -> None:
    emission = GaussianEmission(3, 1, min_std=0.25)
    set_output(emission, 0.0, -1000.0)
    assert emission(torch.randn(5, 3)).stddev.unique().item() == 0.25


def test_logit_clamp_bounds_the_bernoulli() -> None:
    emission = BernoulliEmission(3, 1, logit_clamp=8.0)
    set_output(emission, 50.0)
    floor = -emission(torch.randn(3)).log_prob(torch.ones(1)).item()
    assert math.isclose(floor, 3.35e-4, rel_tol=1e-2)  # what the authors' clamp leaves per pixel


@pytest.mark.parametrize(("kind", "event"), [("real", (4,)), ("binary", (4,)), ("categorical", ())])
def test_every_head_is_a_normalized_distribution_of_the_right_shape(kind: str, event: tuple[int, ...]) -> None:
    distribution = make_emission(ObservationSpec(kind, 4), 3)(torch.randn(2, 5, 3))  # type: ignore[arg-type]
    assert distribution.batch_shape == (2, 5)
    assert distribution.event_shape == event
    if kind == "categorical":
        total = torch.stack([distribution.log_prob(torch.full((2, 5), c)) for c in range(4)]).logsumexp(0)
        torch.testing.assert_close(total, torch.zeros(2, 5))


def test_the_start_symbol_is_no_category_of_the_emission() -> None:
    assert make_emission(ObservationSpec("categorical", 4), 3)(torch.randn(3)).logits.shape == (4,)
    assert Embedder(ObservationSpec("categorical", 4), 2)(torch.tensor([4])).shape == (1, 2)


def test_densities_leave_half_precision() -> None:
    half = diagonal_gaussian(torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.bfloat16))
    assert half.log_prob(torch.zeros(2, dtype=torch.float32)).dtype == torch.float32


def test_a_nan_reaches_the_log_density_instead_of_an_argument_check() -> None:
    """The training loop names the step and the batch; a ValueError from inside the model would not."""
    assert diagonal_gaussian(torch.tensor([math.nan]), torch.zeros(1)).log_prob(torch.zeros(1)).isnan()


def test_a_latent_of_size_zero_has_density_one() -> None:
    nothing = no_latent(torch.randn(3, 4))
    torch.testing.assert_close(nothing.log_prob(torch.zeros(3, 0)), torch.zeros(3))
    torch.testing.assert_close(torch.distributions.kl_divergence(nothing, nothing), torch.zeros(3))


def test_reparameterization_carries_the_gradient() -> None:
    mean, log_variance = torch.tensor([1.0], requires_grad=True), torch.tensor([0.6], requires_grad=True)
    z = reparameterize(diagonal_gaussian(mean, log_variance), torch.tensor([2.0]))
    torch.testing.assert_close(z, torch.tensor([1.0 + 2.0 * math.exp(0.3)]))
    d_mean, d_log_variance = torch.autograd.grad(z, (mean, log_variance))
    assert d_mean.item() == 1.0
    assert math.isclose(d_log_variance.item(), math.exp(0.3))  # d/dv of exp(v / 2) * 2


DISTRIBUTIONS = {
    "normal": lambda: Independent(Normal(torch.randn(3, 2), torch.rand(3, 2) + 0.1), 1),
    "bernoulli": lambda: Independent(Bernoulli(logits=torch.randn(3, 2)), 1),
    "categorical": lambda: Categorical(logits=torch.randn(3, 4)),
    "poisson": lambda: Poisson(torch.rand(3) + 0.5),
    "negative binomial": lambda: NegativeBinomial(torch.rand(3) + 0.5, logits=torch.randn(3)),
    "binomial": lambda: Binomial(4, torch.rand(3)),
    "geometric": lambda: Geometric(torch.rand(3)),
    "continuous bernoulli": lambda: ContinuousBernoulli(torch.rand(3), lims=(0.4, 0.6)),
    "one-hot": lambda: OneHotCategorical(logits=torch.randn(3, 4)),
    "multinomial": lambda: Multinomial(5, logits=torch.randn(3, 4)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_stacked_distributions_keep_their_log_densities(name: str) -> None:
    torch.manual_seed(0)
    each: list[Distribution] = [DISTRIBUTIONS[name]() for _ in range(5)]
    xs = [d.sample() for d in each]
    expected = torch.stack([d.log_prob(x) for d, x in zip(each, xs, strict=True)], dim=1)
    torch.testing.assert_close(stack(each, dim=1).log_prob(torch.stack(xs, dim=1)), expected)


class Floored(Normal):
    """A normal distribution with a setting that isn't among its parameters."""

    def __init__(self, loc: Tensor, scale: Tensor, low: float = -torch.inf, validate_args: bool | None = None):
        super().__init__(loc, scale, validate_args)
        self.low = low


class Scaled(Normal):
    """A normal distribution that says something else of its own."""

    def log_prob(self, value: Tensor) -> Tensor:
        return 2 * super().log_prob(value)


class Named(Independent):  # type: ignore[type-arg]  # of any
    """An Independent of somebody else."""


class Mixed(MixtureSameFamily):
    """A mixture of somebody else."""


@pytest.mark.parametrize(
    "distribution",
    [
        Floored(torch.zeros(3), torch.ones(3), low=0.0),
        Named(Normal(torch.zeros(3, 2), torch.ones(3, 2)), 1),
        Mixed(Categorical(torch.ones(3, 2)), Normal(torch.zeros(3, 2), torch.ones(3, 2))),
        RelaxedBernoulli(torch.tensor(0.5), torch.rand(3)),
    ],
    ids=lambda distribution: type(distribution).__name__,
)
def test_what_would_lose_something_is_not_stacked(distribution: Distribution) -> None:
    with pytest.raises(TypeError, match=r"can't be combined: .*zforcing\.distributions\.Combinable"):
        stack([distribution, distribution], dim=1)


def test_a_class_of_somebody_else_that_only_its_parameters_make_keeps_its_type() -> None:
    stacked = stack([Scaled(torch.zeros(3), torch.ones(3))] * 2, dim=1)
    assert type(stacked) is Scaled
    assert stacked.batch_shape == (3, 2)


def test_what_differs_in_more_than_tensors_is_not_stacked() -> None:
    with pytest.raises(TypeError, match="Multinomials with other total_count can't be combined"):
        stack([Multinomial(n, logits=torch.zeros(3, 4)) for n in (2, 3)], dim=1)


@pytest.mark.parametrize("kind", ["real", "binary", "categorical"])
def test_what_is_missing_is_integrated_out(kind: str) -> None:
    """For factorized emissions that is the density of the observed numbers alone."""
    torch.manual_seed(0)
    spec = SPECS[kind]
    distribution, x = make_emission(spec, 3)(torch.randn(6, 3)), observations(spec, 6)
    observed = torch.rand(x.shape) > 0.5
    result = log_prob_of_observed(distribution, x, observed)
    for i in range(6):
        one = make_single(distribution, i)
        parts = one.log_prob(x[i]).reshape(-1)[observed[i].reshape(-1)]
        torch.testing.assert_close(result[i], parts.sum())
    torch.testing.assert_close(
        log_prob_of_observed(distribution, x, torch.ones_like(observed)), distribution.log_prob(x)
    )
    assert (log_prob_of_observed(distribution, x, torch.zeros_like(observed)) == 0).all()


def test_each_numbers_own_density_is_its_marginal() -> None:
    """Of a mixture of vectors the mixture of that number; of independent numbers the terms of the sum."""
    torch.manual_seed(0)
    real = SPECS["real"]
    mixture, x = make_emission(real, 3, EmissionSettings(components=2))(torch.randn(6, 3)), observations(real, 6)
    observed = torch.rand(x.shape) > 0.5
    assert isinstance(mixture, MixtureSameFamily)
    found = log_probs_of_observed(mixture, x, observed)
    torch.testing.assert_close(found.total, log_prob_of_observed(mixture, x, observed))
    assert found.each is not None
    for d in range(3):
        alone = torch.zeros_like(observed)
        alone[:, d] = observed[:, d]
        torch.testing.assert_close(found.each[:, d], log_prob_of_observed(mixture, x, alone))
    independent = make_emission(real, 3)(torch.randn(6, 3))
    found = log_probs_of_observed(independent, x, None)
    assert found.each is not None
    torch.testing.assert_close(found.each.sum(-1), independent.log_prob(x))
    torch.testing.assert_close(found.total, independent.log_prob(x))


def test_a_distribution_whose_marginals_have_no_closed_form_says_so() -> None:
    emission = make_emission(SPECS["real"], 3, EmissionSettings(autoregressive=True))(torch.randn(6, 3))
    x = observations(SPECS["real"], 6)
    found = log_probs_of_observed(emission, x, None)
    assert found.each is None
    torch.testing.assert_close(found.total, emission.log_prob(x))


def make_single(distribution: Distribution, i: int) -> Distribution:
    """The i-th of a batch, its dimensions apart."""
    if isinstance(distribution, Categorical):
        return Categorical(logits=distribution.logits[i])
    assert isinstance(distribution, Independent)
    base = distribution.base_dist
    return Normal(base.loc[i], base.scale[i]) if isinstance(base, Normal) else Bernoulli(logits=base.logits[i])


def test_a_distribution_without_a_rule_for_missing_values_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="Poisson has no rule for missing values"):
        log_prob_of_observed(Poisson(torch.ones(2)), torch.ones(2), torch.ones(2, dtype=torch.bool))


def test_standardize_divides_by_the_unbiased_deviation() -> None:
    x = torch.tensor([1.0, 2.0, 6.0])
    torch.testing.assert_close(standardize(x), (x - 3) / math.sqrt(7 + 1e-5))  # variance (4 + 1 + 9) / 2


def test_a_softmax_is_torchs_categorical() -> None:
    logits = torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
    ours, theirs = Softmax(logits), Categorical(logits=logits)
    x = torch.tensor([[0, 4], [1, 3], [2, 2]])
    assert torch.allclose(ours.log_prob(x), theirs.log_prob(x))
    assert torch.allclose(ours.probs, theirs.probs)
    assert torch.allclose(ours.entropy(), theirs.entropy())
    assert torch.allclose(ours.enumerate_support(), theirs.enumerate_support())
    a, b = (torch.autograd.grad(d.log_prob(x).sum(), logits)[0] for d in (ours, theirs))
    assert torch.allclose(a, b)
    turned = combine(lambda values: values.transpose(0, 1), ours)
    assert torch.allclose(turned.log_prob(x.T), theirs.log_prob(x).T)
    wide = ours.expand((7, 3, 2))
    assert (wide.batch_shape, wide.sample().shape) == ((7, 3, 2), (7, 3, 2))
    shares = Softmax(torch.tensor([0.5, 0.3, 0.2]).log()).sample((20000,)).bincount() / 20000
    assert torch.allclose(shares.double(), torch.tensor([0.5, 0.3, 0.2]).double(), atol=0.02)


def test_the_gaussian_log_density_from_a_log_variance_is_torchs() -> None:
    at = [torch.randn(4, 3, requires_grad=True) for _ in range(3)]  # x, mean, log-variance
    found, expected = gaussian_log_prob(*at), diagonal_gaussian(*at[1:]).log_prob(at[0])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    slopes, expected_slopes = (torch.autograd.grad(value.square().sum(), at) for value in (found, expected))
    torch.testing.assert_close(slopes, expected_slopes, rtol=0, atol=1e-11)
