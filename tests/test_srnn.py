"""SRNN against its equations, written out step by step in NumPy (Fraccaro et al. 2016, sections 2 and 3)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from conftest import SPECS, SRNN_SIZE, Case, draw_noise, random_batch
from oracle import Array, Weights, affine, assert_gradients, assert_values, divergence, log_density, net, shake, sigmoid
from zforcing import SequenceBatch, SequenceModel, UserError

VARIANTS: list[dict[str, Any]] = [
    {"posterior": posterior, "residual_posterior": residual, "mlp_layers": layers}
    for posterior in ("smoothing", "filtering")
    for residual, layers in ((True, 2), (False, 1))
]
VARIANTS.append({"mlp_layers": 2, "latent_clamp": 0.5, "activation_clamp": 0.6})


def gru(w: Weights, name: str, x: Array, h: Array) -> Array:
    """r, u = sigmoid(.);  n = tanh(W x + r (U h));  h_t = (1 - u) n + u h_{t-1}."""
    from_x = w[f"{name}.weight_ih_l0"] @ x + w[f"{name}.bias_ih_l0"]
    from_h = w[f"{name}.weight_hh_l0"] @ h + w[f"{name}.bias_hh_l0"]
    (xr, xu, xn), (hr, hu, hn) = np.split(from_x, 3), np.split(from_h, 3)
    r, u = sigmoid(xr + hr), sigmoid(xu + hu)
    return (1 - u) * np.tanh(xn + r * hn) + u * h


def oracle(
    w: Weights,
    x: Array,
    start: Array,
    noise: Array,
    *,
    smoothing: bool,
    residual: bool,
    clamp: float,
    activation_clamp: float,
) -> tuple[list[float], list[float]]:
    def lrelu(a: Array) -> Array:
        return np.clip(np.where(a > 0, a, a / 3), -activation_clamp, activation_clamp)

    def gaussian(name: str, *read: Array) -> list[Array]:
        return np.split(np.clip(net(w, f"{name}.mlp", *read, activation=lrelu), -clamp, clamp), 2)

    steps, zeros = len(x), np.zeros(w["forward_gru.weight_hh_l0"].shape[1])
    ds, d = [], zeros
    for before in [start, *x[:-1]]:
        d = gru(w, "forward_gru", affine(w, "embed.layer", before), d)
        ds.append(d)
    read = [np.concatenate([ds[t], affine(w, "embed.layer", x[t])]) for t in range(steps)]
    contexts, a = [], zeros
    for t in reversed(range(steps)):
        a = gru(w, "context_net", read[t], a) if smoothing else net(w, "context_net", read[t], activation=lrelu)
        contexts.insert(0, a)
    log_px, kl, z = [], [], np.zeros(noise.shape[1])
    for t in range(steps):
        prior_mean, prior_log_variance = gaussian("prior_net", z, ds[t])
        mean, log_variance = gaussian("posterior_net", z, contexts[t])
        mean = prior_mean + mean if residual else mean
        z = mean + np.exp(log_variance / 2) * noise[t]
        emission = affine(w, "emission_net.linear", net(w, "output_net", z, ds[t], activation=lrelu))
        log_px.append(log_density(x[t], *np.split(emission, 2)))
        kl.append(divergence(mean, log_variance, prior_mean, prior_log_variance))
    return log_px, kl


def shaken(settings: dict[str, Any], spec: str) -> tuple[SequenceModel, Any]:
    model = Case("srnn", SRNN_SIZE | settings).build(SPECS[spec])
    shake(model, seed=3)
    return model, partial(
        oracle,
        smoothing=settings.get("posterior") != "filtering",
        residual=settings.get("residual_posterior", True),
        clamp=settings.get("latent_clamp", np.inf),
        activation_clamp=settings.get("activation_clamp", 3.0),
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


@pytest.mark.parametrize("posterior", ["smoothing", "filtering"])
def test_the_context_of_a_chunk_goes_on_from_the_states_network(posterior: str) -> None:
    """a_t reads d_t, and so all of the past: a filtering context in two pieces is that of the whole."""
    model = Case("srnn", SRNN_SIZE | {"posterior": posterior}).build(SPECS["real"])
    batch = random_batch(SPECS["real"], (6, 6))
    whole, first = model.encode(batch), SequenceBatch(batch.x[:, :4], batch.lengths - 2, batch.start)
    second = SequenceBatch(batch.x[:, 4:], batch.lengths - 4, batch.x[:, 3])
    later = model.encode(second, state=model.unroll(first).state)
    torch.testing.assert_close(later, whole[:, 4:], rtol=0, atol=1e-12)
    assert not torch.allclose(model.encode(second), later)


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({}, "srnn"),
        ({"residual_posterior": False}, "srnn (no residual)"),
        ({"posterior": "filtering"}, "srnn (filtering)"),
        ({"posterior": "filtering", "residual_posterior": False}, "srnn (filtering, no residual)"),
    ],
    ids=str,
)
def test_a_variant_is_named(settings: dict[str, Any], label: str) -> None:
    assert Case("srnn", SRNN_SIZE | settings).build(SPECS["real"]).label == label


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"posterior": "prior"}, "model.posterior is 'prior'"),
        ({"embedding_size": 0}, "model.embedding_size is 0; it must be 1 or more"),
        ({"mlp_layers": 0}, "model.mlp_layers is 0; it must be 1 or more"),
        ({"activation_clamp": 0.0}, "model.activation_clamp is 0.0; it must be positive"),
    ],
    ids=str,
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Case("srnn", settings).build(SPECS["real"])


def test_there_is_no_exact_likelihood() -> None:
    model = Case("srnn", SRNN_SIZE).build(SPECS["real"])
    with pytest.raises(UserError, match="srnn has no exact likelihood"):
        model.log_likelihood(random_batch(SPECS["real"]))
