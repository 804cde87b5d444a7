"""The heads for speech, against densities written out in NumPy, sums over all outcomes, and their own samples."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit, logsumexp
from scipy.stats import norm

from conftest import SPECS
from zforcing import MODELS, ObservationSpec, SequenceModel, UserError
from zforcing.distributions import DiscretizedLogisticMixture, batch_first, log_prob_of_observed, stack
from zforcing.emissions import EmissionSettings, make_emission
from zforcing.emissions.autoregressive import Autoregressive, MaskedNetwork
from zforcing.testing import check_model

Array = NDArray[Any]
PCM = ObservationSpec("quantized", 3, levels=9)


def numbers(tensor: torch.Tensor) -> Array:
    array: Array = tensor.detach().numpy()
    return array


# ---- mixtures of Gaussians


def written_out(linear: torch.nn.Linear, features: torch.Tensor, k: int, D: int) -> tuple[Array, Array, Array]:
    """log-weights [n, k], means and standard deviations [n, k, D] of the head's one linear layer."""
    out = numbers(features) @ numbers(linear.weight).T + numbers(linear.bias)
    logits, mean, log_variance = out[:, :k], out[:, k : k + k * D], out[:, k + k * D :]
    weights = logits - logsumexp(logits, axis=1, keepdims=True)
    return weights, mean.reshape(-1, k, D), np.exp(log_variance.reshape(-1, k, D) / 2) + 0.1


def test_a_mixture_of_gaussians_is_over_the_whole_vector() -> None:
    torch.manual_seed(0)
    emission = make_emission(ObservationSpec("real", 4), 5, EmissionSettings(components=3, min_std=0.1))
    features, x = torch.randn(6, 5), torch.randn(6, 4)
    weights, mean, std = written_out(emission.get_submodule("linear"), features, 3, 4)  # type: ignore[arg-type]  # a Linear
    expected = logsumexp(weights + norm.logpdf(numbers(x)[:, None], mean, std).sum(-1), axis=1)
    np.testing.assert_allclose(numbers(emission(features).log_prob(x)), expected, rtol=1e-12)

    observed = torch.rand(6, 4) > 0.4
    observed[0] = False
    each = np.where(numbers(observed)[:, None], norm.logpdf(numbers(x)[:, None], mean, std), 0).sum(-1)
    found = log_prob_of_observed(emission(features), x, observed)
    np.testing.assert_allclose(numbers(found), logsumexp(weights + each, axis=1), rtol=1e-12, atol=1e-12)
    assert found[0] == 0


def test_one_component_is_the_gaussian() -> None:
    assert type(make_emission(ObservationSpec("real", 4), 5, EmissionSettings(components=1))).__name__ == (
        "GaussianEmission"
    )


# ---- discretized logistics


def logistic_mixture(levels: int, k: int = 3, *shape: int) -> DiscretizedLogisticMixture:
    torch.manual_seed(1)
    logits, mean, log_scale = torch.randn(*shape, k), torch.randn(*shape, k) / 2, torch.randn(*shape, k) - 2
    return DiscretizedLogisticMixture(logits, mean, log_scale, levels=levels)


def grid(levels: int) -> torch.Tensor:
    return -1 + 2 * torch.arange(levels) / (levels - 1)


@pytest.mark.parametrize("levels", [2, 9, 256, 65536])
def test_probabilities_of_all_levels_sum_to_one_and_are_differences_of_sigmoids(levels: int) -> None:
    distribution, x = logistic_mixture(levels), grid(levels)
    found = numbers(distribution.log_prob(x))
    assert math.isclose(np.exp(found).sum(), 1, rel_tol=1e-9)
    half = 1 / (levels - 1)
    weights = np.exp(numbers(torch.log_softmax(distribution.logits, -1)))
    mean, scale = numbers(distribution.mean_of_each), np.exp(numbers(distribution.log_scale))
    edges = np.concatenate([[-np.inf], numbers(x)[:-1] + half, [np.inf]])
    cumulative = expit((edges[:, None] - mean) / scale) @ weights
    np.testing.assert_allclose(np.exp(found), np.diff(cumulative), rtol=1e-6, atol=1e-12)


def test_float32_keeps_the_probability_of_a_16_bit_level_far_out_in_the_tail() -> None:
    """The difference of two sigmoids near 1 is 0 in float32."""
    double = DiscretizedLogisticMixture(torch.zeros(1), torch.zeros(1), torch.tensor([-4.0]), levels=65536)
    x = grid(65536)[[32768, 40000, 60000, 65535, 0]]
    single = DiscretizedLogisticMixture(
        *(v.float() for v in (double.logits, double.mean_of_each, double.log_scale)), levels=65536
    )
    found = single.log_prob(x.float())
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    torch.testing.assert_close(found.double(), double.log_prob(x), rtol=1e-5, atol=1e-4)


def test_samples_are_levels_with_their_probabilities() -> None:
    """200000 draws: each frequency within 5 standard errors of its probability, sqrt(p (1 - p) / n)."""
    distribution, x, n = logistic_mixture(9), grid(9), 200_000
    torch.manual_seed(2)
    drawn = distribution.sample(torch.Size([n]))
    counts = torch.stack([(drawn - level).abs() < 1e-9 for level in x]).sum(1)
    assert int(counts.sum()) == n
    p = distribution.log_prob(x).exp()
    assert ((counts / n - p).abs() < 5 * (p * (1 - p) / n).sqrt() + 1e-9).all()


def test_min_scale_bounds_a_scale_from_below_in_steps() -> None:
    emission = make_emission(PCM, 2, EmissionSettings(components=2, min_scale=0.5))
    linear = emission.get_submodule("linear")
    assert isinstance(linear, torch.nn.Linear)
    torch.nn.init.constant_(linear.bias, -1000.0)
    base = emission(torch.zeros(1, 2)).base_dist  # type: ignore[attr-defined]  # an Independent
    torch.testing.assert_close(base.log_scale.exp(), torch.full((1, 3, 2), 0.5 * 2 / 8))
    assert emission(torch.zeros(1, 2)).log_prob(torch.zeros(1, 3)).isfinite().all()


# ---- numbers in order


def masked_network(parameters: int = 2, hidden: int = 12) -> MaskedNetwork:
    torch.manual_seed(3)
    network = MaskedNetwork(4, 5, hidden, parameters)
    torch.nn.init.normal_(network.out_from_numbers.weight)
    return network.double()


def test_a_numbers_parameters_see_exactly_the_numbers_before_it_and_the_features() -> None:
    network = masked_network()
    jacobian = torch.autograd.functional.jacobian(network, (torch.randn(4), torch.randn(5)))
    by_features, by_numbers = (j.abs().sum(1) for j in jacobian)  # [D, F], [D, D]
    assert (by_features > 0).all()
    assert torch.equal(by_numbers > 0, torch.ones(5, 5).tril(-1) > 0)


def test_hidden_units_alone_let_each_number_see_all_before_it() -> None:
    network = masked_network(hidden=40)
    torch.nn.init.zeros_(network.out_from_numbers.weight)
    _, by_numbers = torch.autograd.functional.jacobian(network, (torch.randn(4), 3 * torch.randn(5)))
    assert torch.equal(by_numbers.abs().sum(1) > 0, torch.ones(5, 5).tril(-1) > 0)


def test_the_density_is_the_product_of_the_numbers_written_out() -> None:
    """p(x_d | x_<d) from loops over numbers and hidden units, with the masks' rule spelled out."""
    D, H = 5, 12
    emission = make_emission(
        ObservationSpec("real", D), 4, EmissionSettings(autoregressive=True, autoregressive_size=H)
    )
    network = emission.get_submodule("network")
    torch.nn.init.normal_(network.get_parameter("out_from_numbers.weight"))
    w = {name: numbers(p) for name, p in network.named_parameters()}
    c, x = np.random.default_rng(0).standard_normal((2, 5))
    c = c[:4]
    total = 0.0
    for d in range(D):
        out = w["out_from_features.weight"] @ c + w["out_from_features.bias"]
        own = out[2 * d : 2 * d + 2].copy()
        for j in range(H):
            degree = j * D // H
            if d < degree:
                continue
            pre = w["hidden_from_features.weight"][j] @ c + w["hidden_from_features.bias"][j]
            pre += sum(w["hidden_from_numbers.weight"][j, i] * x[i] for i in range(degree))
            own += w["out_from_hidden.weight"][2 * d : 2 * d + 2, j] * max(pre, 0)
        own += sum(w["out_from_numbers.weight"][2 * d : 2 * d + 2, i] * x[i] for i in range(d))
        total += norm.logpdf(x[d], own[0], math.exp(own[1] / 2))
    found = emission(torch.as_tensor(c)).log_prob(torch.as_tensor(x))
    assert math.isclose(found.item(), total, rel_tol=1e-10)


@pytest.mark.parametrize("spec", [ObservationSpec("binary", 4), PCM], ids=["binary", "quantized"])
def test_probabilities_of_all_outcomes_sum_to_one_and_are_those_of_the_samples(spec: ObservationSpec) -> None:
    """40000 draws: each outcome's frequency within 5 standard errors, sqrt(p (1 - p) / n)."""
    torch.manual_seed(4)
    emission = make_emission(spec, 3, EmissionSettings(autoregressive=True, autoregressive_size=16)).double()
    torch.nn.init.normal_(emission.get_parameter("network.out_from_numbers.weight"))
    values = [0.0, 1.0] if spec.levels is None else grid(spec.levels).tolist()
    outcomes = torch.tensor(list(product(values, repeat=spec.size)))
    distribution = emission(torch.randn(3))
    assert isinstance(distribution, Autoregressive)
    p = torch.stack([distribution.log_prob(outcome) for outcome in outcomes]).exp()
    assert math.isclose(p.sum().item(), 1, rel_tol=1e-9)
    n = 40_000
    drawn = distribution.sample(torch.Size([n]))
    frequency = torch.stack([((drawn - outcome).abs() < 1e-6).all(-1).sum() for outcome in outcomes]) / n
    assert math.isclose(frequency.sum().item(), 1)
    assert ((frequency - p).abs() <= 5 * (p * (1 - p) / n).sqrt() + 1e-3).all()


def test_sampling_and_training_have_the_same_conditionals() -> None:
    """With standard deviations of e^-15 a sample is its own conditional mean, number by number."""
    spec = ObservationSpec("real", 5)
    torch.manual_seed(5)
    emission = make_emission(spec, 4, EmissionSettings(autoregressive=True, autoregressive_size=16)).double()
    torch.nn.init.normal_(emission.get_parameter("network.out_from_numbers.weight"))
    with torch.no_grad():
        bias = emission.get_parameter("network.out_from_features.bias").view(5, 2)
        for name in ("out_from_features", "out_from_hidden", "out_from_numbers"):
            emission.get_parameter(f"network.{name}.weight").view(5, 2, -1)[:, 1] = 0
        bias[:, 1] = -30
    distribution = emission(torch.randn(7, 4))
    assert isinstance(distribution, Autoregressive)
    x = distribution.sample()
    mean = distribution.network(distribution.features, x)[..., 0]
    torch.testing.assert_close(x, mean, rtol=0, atol=1e-5)


def test_stacked_and_turned_heads_say_the_same() -> None:
    torch.manual_seed(6)
    for spec, settings in (
        (ObservationSpec("real", 3), EmissionSettings(components=2)),
        (ObservationSpec("real", 3), EmissionSettings(components=2, autoregressive=True)),
        (PCM, EmissionSettings(components=2)),
    ):
        emission = make_emission(spec, 4, settings)
        steps = [emission(torch.randn(2, 4)) for _ in range(3)]
        x = torch.stack([step.sample() for step in steps], dim=1)  # [2, 3, D]
        expected = torch.stack([step.log_prob(x[:, t]) for t, step in enumerate(steps)], dim=1)
        together = stack(steps, dim=1)
        assert together.batch_shape == (2, 3)
        torch.testing.assert_close(together.log_prob(x), expected)
        torch.testing.assert_close(batch_first(together).log_prob(x.transpose(0, 1)), expected.T)


# ---- in models

HEADS: dict[str, tuple[dict[str, Any], list[ObservationSpec]]] = {
    "mixture": ({"components": 2}, [SPECS["real"], SPECS["conditioned with gaps"]]),
    "autoregressive": (
        {"autoregressive": True, "autoregressive_size": 7},
        [SPECS["real"], SPECS["binary"], SPECS["conditioned"], PCM],
    ),
    "autoregressive mixture": ({"autoregressive": True, "components": 2}, [SPECS["real"]]),
    "logistic mixture": (
        {"components": 2},
        [PCM, ObservationSpec("quantized", 2, missing=True, levels=256)],
    ),
}
SIZES = {"hidden_size": 5, "embedding_size": 4, "latent_size": 2, "mlp_size": 4}


@pytest.mark.parametrize("model", [pytest.param("rnn", marks=pytest.mark.slow), "zforcing"])
@pytest.mark.parametrize("head", HEADS)
def test_models_keep_the_contract_with_every_head(head: str, model: str) -> None:
    settings, specs = HEADS[head]
    cls = MODELS[model]
    known = cls.Config.__dataclass_fields__
    config = cls.Config(**{name: size for name, size in (SIZES | settings).items() if name in known})

    def small(spec: ObservationSpec) -> SequenceModel:
        made = cls(spec, config)
        made.backend = "fast" if (head, model) in DERIVED else "reference"  # to trace them all takes long
        return made

    for spec in specs:
        check_model(small, spec)


DERIVED = [("mixture", "zforcing"), ("autoregressive", "rnn"), ("logistic mixture", "rnn")]


@pytest.mark.parametrize(
    ("spec", "settings", "says"),
    [
        (SPECS["binary"], {"components": 2}, "binary observations have no mixture"),
        (SPECS["categorical"], {"components": 2}, "categorical observations have no mixture"),
        (SPECS["categorical"], {"autoregressive": True}, "a category is one"),
        (SPECS["with gaps"], {"autoregressive": True}, "can't integrate missing values out"),
    ],
)
def test_heads_that_make_no_sense_are_refused(spec: ObservationSpec, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make_emission(spec, 3, EmissionSettings(**settings))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"kind": "quantized"}, "quantized ones have levels"),
        ({"kind": "real", "levels": 4}, "quantized ones have levels"),
        ({"kind": "quantized", "levels": 1}, "2 or more"),
    ],
)
def test_levels_belong_to_quantized_observations(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        ObservationSpec(size=3, **given)
