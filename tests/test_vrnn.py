"""VRNN against its equations, written out step by step in NumPy (Chung et al. 2015, equations 5 to 11)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from conftest import SPECS, VRNN_SIZE, Case, draw_noise, random_batch
from oracle import (
    Array,
    Weights,
    affine,
    assert_gradients,
    assert_values,
    divergence,
    layers,
    log_density,
    net,
    shake,
    sigmoid,
)
from zforcing import RNN, VRNN, ObservationSpec, SequenceBatch, SequenceModel, UserError

VARIANTS: list[dict[str, Any]] = [
    {"mlp_layers": 1},
    {"mlp_layers": 3},
    {"mlp_layers": 2, "prior": "standard"},
    {"mlp_layers": 2, "latent_clamp": 0.5},
]


def relu(a: Array) -> Array:
    return np.maximum(a, 0)


def lstm(w: Weights, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """i, f, o = sigmoid(.), g = tanh(.);  c_t = f c_{t-1} + i g;  h_t = o tanh(c_t)."""
    gates = w["lstm.weight_ih_l0"] @ x + w["lstm.bias_ih_l0"] + w["lstm.weight_hh_l0"] @ h + w["lstm.bias_hh_l0"]
    i, f, g, o = np.split(gates, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def oracle(
    w: Weights, x: Array, start: Array, noise: Array, *, standard: bool, conditioned: bool, clamp: float
) -> tuple[list[float], list[float]]:
    def gaussian(name: str, *read: Array) -> list[Array]:
        return np.split(np.clip(net(w, f"{name}.mlp", *read, activation=relu), -clamp, clamp), 2)

    def phi_x(v: Array) -> Array:
        return layers(w, "embed_layers", affine(w, "embed.layer", v), relu)

    h = c = np.zeros(w["lstm.weight_hh_l0"].shape[1])
    of_no_latent = np.zeros(w["latent_net.first.weight"].shape[0])
    if conditioned:
        h, c = lstm(w, np.concatenate([phi_x(start), of_no_latent]), h, c)
    log_px, kl = [], []
    for x_t, e_t in zip(x, noise, strict=True):
        prior = [np.zeros_like(e_t)] * 2 if standard else gaussian("prior_net", h)
        mean, log_variance = gaussian("posterior_net", h, phi_x(x_t))
        z_t = mean + np.exp(log_variance / 2) * e_t
        phi_z = net(w, "latent_net", z_t, activation=relu)
        emission = affine(w, "emission_net.linear", net(w, "output_net", phi_z, h, activation=relu))
        log_px.append(log_density(x_t, *np.split(emission, 2)))
        kl.append(divergence(mean, log_variance, *prior))
        h, c = lstm(w, np.concatenate([phi_x(x_t), phi_z]), h, c)
    return log_px, kl


def shaken(settings: dict[str, Any], spec: str) -> tuple[SequenceModel, Any]:
    model = Case("vrnn", VRNN_SIZE | settings).build(SPECS[spec])
    shake(model, seed=3)
    return model, partial(
        oracle,
        standard=settings.get("prior") == "standard",
        conditioned=spec == "conditioned",
        clamp=settings.get("latent_clamp", np.inf),
    )


@pytest.mark.parametrize("backend", ["fast", "reference"])
@pytest.mark.parametrize("spec", ["real", "conditioned"])
@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_each_steps_likelihood_and_kl_are_those_of_the_equations(settings: Any, spec: str, backend: Any) -> None:
    model, equations = shaken(settings, spec)
    model.backend = backend
    batch = random_batch(SPECS[spec], (6, 4, 1))
    assert_values(model, batch, draw_noise(model, batch), equations)


@pytest.mark.parametrize("spec", ["real", "conditioned"])
@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_the_bounds_gradient_is_that_of_the_equations(settings: Any, spec: str) -> None:
    model, equations = shaken(settings, spec)
    model.backend = "fast" if spec == "real" else "reference"  # to trace gradients too takes long
    batch = random_batch(SPECS[spec], (4, 3, 1))
    assert_gradients(model, batch, draw_noise(model, batch), equations)


def test_a_standard_prior_has_no_parameters_and_is_named() -> None:
    conditional, standard = (
        Case("vrnn", VRNN_SIZE | {"prior": p}).build(SPECS["real"]) for p in ("conditional", "standard")
    )
    missing = {name for name, _ in conditional.named_parameters()} - {name for name, _ in standard.named_parameters()}
    assert {name.split(".")[0] for name in missing} == {"prior_net"}
    assert (conditional.label, standard.label) == ("vrnn", "vrnn (standard prior)")
    prior = standard.prior(standard.initial_state(2))
    assert torch.equal(prior.mean, torch.zeros(2, 3))
    assert torch.equal(prior.stddev, torch.ones(2, 3))


def test_only_a_first_observation_that_is_conditioned_on_is_read() -> None:
    for spec, is_read in (("real", False), ("conditioned", True)):
        model = Case("vrnn", VRNN_SIZE).build(SPECS[spec])
        one, other = (model.initial_state(1, start=torch.full((1, SPECS[spec].size), v)) for v in (1.0, 2.0))
        assert torch.equal(one.h, other.h) != is_read
        assert bool(one.h.any()) == is_read


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prior": "learned"}, "model.prior is 'learned'"),
        ({"feature_size": 0}, "model.feature_size is 0; it must be 1 or more"),
        ({"mlp_layers": 0}, "model.mlp_layers is 0; it must be 1 or more"),
        ({"latent_clamp": -1.0}, "model.latent_clamp is -1.0; it must be positive"),
    ],
    ids=str,
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Case("vrnn", settings).build(SPECS["real"])


def test_there_is_no_exact_likelihood() -> None:
    model = Case("vrnn", VRNN_SIZE).build(SPECS["real"])
    with pytest.raises(UserError, match="vrnn has no exact likelihood"):
        model.log_likelihood(random_batch(SPECS["real"]))


# ---- how it begins


@pytest.mark.parametrize("init_range", [0.08, None])
def test_at_the_authors_sizes_sequences_begin_with_posteriors_of_their_own_by_the_authors_weights(
    init_range: float | None,
) -> None:
    """Four layers of features and four of the posterior: by PyTorch's usual weights 1/1000 of x is left."""
    torch.manual_seed(0)
    model = VRNN(ObservationSpec("real", 200), hidden_size=16, latent_size=5, init_range=init_range).double()
    x, lengths = torch.randn(30, 1, 200).double(), torch.ones(30, dtype=torch.int64)
    with torch.no_grad():
        apart = float(model.unroll(SequenceBatch(x, lengths, x[:, 0]), noise=x[..., :5]).posterior.mean.std(0).mean())
    assert (apart > 0.01) == (init_range is not None)


@pytest.mark.parametrize("build", [VRNN, partial(RNN, feature_layers=2, output_skip=False)])
def test_weights_can_begin_as_the_authors_do(build: Any) -> None:
    torch.manual_seed(0)
    net = build(ObservationSpec("real", 20), hidden_size=64, init_range=0.08)
    for name, weight in net.named_parameters():
        if "weight_hh" in name:
            assert float(weight.detach().abs().max()) > 0.08, name  # orthogonal
        elif weight.dim() == 2:
            assert 0.07 < float(weight.detach().abs().max()) <= 0.08, name
        else:
            assert not weight.detach().any(), name
