"""Temperature and top_p: closed-form probabilities, enumeration, limits, and what they do to samples of models."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import truncnorm
from torch.distributions import Bernoulli, Categorical, Independent, MixtureSameFamily, Normal, Poisson

from conftest import RNN_SIZE, SPECS, Case, random_batch
from vae import BinaryVAE, BinaryVAEConfig
from zforcing import ObservationSpec, UserError, continue_from, sample
from zforcing.distributions import DiscretizedLogisticMixture, draw_tempered, most_likely, tempered_probabilities
from zforcing.emissions import EmissionSettings, make_emission
from zforcing.files.reading import Array

P = np.array([0.4, 0.3, 0.2, 0.1])
N = 40_000


def frequencies(drawn: torch.Tensor, size: int) -> Array:
    return np.bincount(drawn.numpy().astype(int), minlength=size) / len(drawn)


def errors(p: Array, n: int = N) -> Array:
    """4 standard errors of frequencies."""
    return 4 * np.sqrt(p * (1 - p) / n) + 1e-12


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(("top_p", "kept"), [(1.0, 4), (0.95, 4), (0.9, 3), (0.65, 2), (0.5, 2), (0.3, 1), (1e-6, 1)])
def test_probabilities_are_powers_within_the_smallest_set(temperature: float, top_p: float, kept: int) -> None:
    """By enumeration of all sets of categories; `kept` at temperature 1 by hand."""
    powers = P ** (1 / temperature)
    powers /= powers.sum()
    sizes = [size for size in range(1, 5) if powers[:size].sum() >= top_p - 1e-12]
    assert temperature != 1 or sizes[0] == kept
    expected = np.where(np.arange(4) < sizes[0], powers, 0)
    order = [2, 0, 3, 1]
    logits = torch.tensor(np.log(P[order]) + 7)
    found = tempered_probabilities(logits, temperature, top_p).numpy()
    np.testing.assert_allclose(found, (expected / expected.sum())[order], rtol=1e-12)


def test_categories_are_drawn_by_these_probabilities() -> None:
    torch.manual_seed(0)
    drawn = draw_tempered(Categorical(logits=torch.tensor(np.log(P)).expand(N, 4)), 0.5, 0.8)
    p = np.array([16, 9, 0, 0]) / 25  # of 16, 9, 4 and 1 in 30
    assert (np.abs(frequencies(drawn, 4) - p) <= errors(p)).all()


def test_one_category_alone_is_drawn() -> None:
    drawn = draw_tempered(Categorical(logits=torch.tensor([0.0, 30.0, 0.0])), 0.5, 1.0)
    assert (drawn.shape, drawn.item()) == ((), 1)


@pytest.mark.parametrize(("top_p", "expected"), [(1.0, 0.8**2 / (0.8**2 + 0.2**2)), (0.95, 0.941176), (0.9, 1.0)])
def test_bits_are_categories_of_two(top_p: float, expected: float) -> None:
    torch.manual_seed(0)
    drawn = draw_tempered(Independent(Bernoulli(probs=torch.full((N, 1), 0.8)), 1), 0.5, top_p)
    assert drawn.shape == (N, 1)
    p = np.array([1 - expected, expected])
    assert (np.abs(frequencies(drawn[:, 0], 2) - p) <= errors(p) + 1e-5).all()


def test_a_gaussian_keeps_its_mean_and_has_the_root_of_t_times_its_std() -> None:
    torch.manual_seed(0)
    drawn = draw_tempered(Independent(Normal(torch.full((N, 1), 3.0), 2.0 * torch.ones(N, 1)), 1), 0.25, 1.0)
    assert abs(drawn.mean().item() - 3) < 4 / math.sqrt(N)
    assert abs(drawn.var().item() - 1) < 4 * math.sqrt(2 / N)


def test_a_gaussians_top_p_is_its_central_interval_drawn_exactly() -> None:
    """Beside SciPy's truncated Gaussian: mean, variance and ends."""
    torch.manual_seed(0)
    top_p, std = 0.8, 2 * math.sqrt(1.5)
    drawn = draw_tempered(Normal(torch.full((N,), 3.0, dtype=torch.float64), 2.0), 1.5, top_p).numpy()
    end = float(torch.special.ndtri(torch.tensor(0.9, dtype=torch.float64)))
    expected = truncnorm(-end, end, loc=3, scale=std)
    assert drawn.min() >= expected.support()[0]
    assert drawn.max() <= expected.support()[1]
    assert drawn.max() > expected.support()[1] - 0.01
    assert abs(drawn.mean() - 3) < 4 * expected.std() / math.sqrt(N)
    assert abs(np.square(drawn - 3).mean() - expected.var()) < 4 * np.square(drawn - 3).std() / math.sqrt(N)


def test_a_mixtures_weights_and_components_are_tempered() -> None:
    torch.manual_seed(0)
    weights = Categorical(probs=torch.tensor([0.8, 0.2]).expand(N, 2))
    each = Independent(Normal(torch.tensor([[[-50.0, -50.0], [50.0, 60.0]]]).expand(N, 2, 2), 2.0), 1)
    mixture = MixtureSameFamily(weights, each)
    drawn = draw_tempered(mixture, 0.5, 1.0)
    assert drawn.shape == (N, 2)
    first = drawn[:, 0] < 0
    assert abs(first.float().mean().item() - 16 / 17) < float(errors(np.array(16 / 17)))
    assert torch.equal(first, drawn[:, 1] < 0)
    spread = (drawn[first, 0] + 50).var().item()
    assert abs(spread - 2) < 4 * 2 * math.sqrt(2 / int(first.sum()))
    with pytest.raises(UserError, match="top_p has no rule for a mixture"):
        draw_tempered(mixture, 0.5, 0.9)


@pytest.mark.parametrize(("temperature", "top_p"), [(0.5, 1.0), (1.0, 0.7)])
def test_quantized_numbers_are_categories_of_their_levels(temperature: float, top_p: float) -> None:
    torch.manual_seed(0)
    logits, mean, scale = torch.tensor([0.3, -0.2]), torch.tensor([-0.5, 0.6]), torch.tensor([-1.5, -1.0])
    levels = torch.linspace(-1, 1, 5)
    one = DiscretizedLogisticMixture(logits, mean, scale, levels=5)
    p = tempered_probabilities(torch.stack([one.log_prob(level) for level in levels]), temperature, top_p).numpy()
    many = DiscretizedLogisticMixture(*(v.expand(N, 2) for v in (logits, mean, scale)), levels=5)
    drawn = draw_tempered(many, temperature, top_p)
    assert set(drawn.tolist()) <= set(levels.tolist())
    assert (np.abs(frequencies((drawn + 1) * 2, 5) - p) <= errors(p)).all()
    with pytest.raises(UserError, match="there are 65536"):
        draw_tempered(DiscretizedLogisticMixture(logits, mean, scale, levels=65536), 0.5, 1.0)


def emissions() -> list[tuple[ObservationSpec, EmissionSettings]]:
    real, binary = ObservationSpec("real", 3), ObservationSpec("binary", 3)
    quantized = ObservationSpec("quantized", 3, levels=16)
    settings = [EmissionSettings(), EmissionSettings(autoregressive=True)]
    found = [(spec, s) for spec in (real, binary, quantized) for s in settings]
    return [*found, (real, EmissionSettings(components=2)), (ObservationSpec("categorical", 5), EmissionSettings())]


@pytest.mark.parametrize(("spec", "settings"), emissions(), ids=str)
def test_as_the_temperature_falls_every_emission_gives_its_most_likely_value(
    spec: ObservationSpec, settings: EmissionSettings
) -> None:
    torch.manual_seed(0)
    emission = make_emission(spec, 4, settings).double()(torch.randn(6, 4, dtype=torch.float64))
    drawn = draw_tempered(emission, 1e-12, 1.0)
    expected = most_likely(emission)
    if spec.kind == "quantized":  # the level near the heaviest component's mean needn't be the mixture's likeliest
        drawn, expected = (emission.log_prob(x) for x in (drawn, expected))
        assert settings.autoregressive or (drawn >= expected - 1e-9).all()
        return
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-4)


def test_what_has_no_rule_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="have no rule for Poisson: leave both at 1"):
        draw_tempered(Poisson(torch.ones(2)), 0.5, 1.0)


# ---- of models


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0; it must be .*positive"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
    ],
)
def test_nonsense_is_refused(given: dict[str, Any], message: str) -> None:
    model = Case("rnn", RNN_SIZE).build(SPECS["binary"])
    with pytest.raises(UserError, match=message):
        sample(model, 2, steps=2, **given)
    with pytest.raises(UserError, match=message):
        continue_from(model, random_batch(SPECS["binary"]), steps=2, **given)


def test_at_1_samples_are_the_models_own() -> None:
    model = Case("rnn", RNN_SIZE).build(SPECS["categorical"])
    prefix = random_batch(SPECS["categorical"], (4, 2))
    assert torch.equal(sample(model, 4, steps=5).x, sample(model, 4, steps=5, temperature=1, top_p=1.0).x)
    cold = [continue_from(model, prefix, steps=5, num_samples=3, temperature=1e-9, seed=s).x for s in (0, 1)]
    assert torch.equal(*cold)  # greedy: no chance is left
    free = [continue_from(model, prefix, steps=5, num_samples=3, seed=s).x for s in (0, 1)]
    assert not torch.equal(*free)


def test_a_model_that_draws_by_itself_takes_no_temperature() -> None:
    model = BinaryVAE(ObservationSpec("binary", 4), BinaryVAEConfig()).eval()
    with pytest.raises(UserError, match="leave temperature and top_p at 1"):
        sample(model, 2, temperature=0.5)
