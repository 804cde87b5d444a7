"""Z-Forcing against its equations, written out step by step in NumPy, with what the released model doesn't have."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conftest import SPECS, ZF_SIZE, Case, draw_noise, random_batch
from oracle import (
    Array,
    Weights,
    affine,
    assert_values,
    divergence,
    log_density,
    net,
    shake,
    sigmoid,
    weights_of,
)
from zforcing import SequenceModel, UserError, ZForcingConfig
from zforcing.nn import BackwardLSTM, Embedder

VARIANTS: list[dict[str, Any]] = [
    {},
    {"output_skip": False},
    {"latents_see_input": True},
    {"output_latent": True},
    {"output_latent": True, "output_skip": False, "output_layers": 2},
    {"posterior": "parallel"},
    {"posterior": "parallel", "latents_see_input": True},
]


def lrelu(a: Array) -> Array:
    return np.clip(np.where(a > 0, a, a / 3), -3, 3)


def update(gates: Array, c: Array) -> tuple[Array, Array]:
    """i, f, o = sigmoid(.), g = tanh(.);  c_t = f c_{t-1} + i g;  h_t = o tanh(c_t)."""
    i, f, g, o = np.split(gates, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def lstm(w: Weights, name: str, x: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
    gates = w[f"{name}.weight_ih_l0"] @ x + w[f"{name}.bias_ih_l0"]
    return update(gates + w[f"{name}.weight_hh_l0"] @ state[0] + w[f"{name}.bias_hh_l0"], state[1])


def gaussian(w: Weights, name: str, *read: Array) -> list[Array]:
    return np.split(np.clip(net(w, f"{name}.mlp", *read, activation=lrelu), -8, 8), 2)


def backward_states(w: Weights, x: Array) -> list[Array]:
    """b_t = LSTM(e(x_t), b_{t+1}), b_{T+1} = 0."""
    state, found = (np.zeros(w["cell.from_hidden.weight"].shape[1]),) * 2, []
    for x_t in x[::-1]:
        state = lstm(w, "backward_lstm.lstm", affine(w, "embed.layer", x_t), state)
        found.insert(0, state[0])
    return found


def oracle(
    w: Weights,
    x: Array,
    start: Array,
    noise: Array,
    *,
    parallel: bool,
    see_input: bool,
    skip: bool,
    latent: bool,
    layers: int,
) -> tuple[list[float], list[float]]:
    h = c = np.zeros(w["cell.from_hidden.weight"].shape[1])
    a, log_px, kl = (h, c), [], []
    for x_t, before, b_t, e_t in zip(x, [start, *x[:-1]], backward_states(w, x), noise, strict=True):
        e = affine(w, "embed.layer", before)
        a = lstm(w, "forward_lstm", e, a) if parallel else a
        seen = [e] if see_input else []
        prior = gaussian(w, "prior_net", h, *seen)
        mean, log_variance = gaussian(w, "posterior_net", a[0] if parallel else h, b_t, *seen)
        z = mean + np.exp(log_variance / 2) * e_t
        g = affine(w, "cell.latent_net", z)
        gates = w["cell.from_latent.weight"] @ g + affine(w, "cell.from_input", e) + w["cell.from_hidden.weight"] @ h
        h, c = update(gates, c)
        features = affine(w, "readout.from_hidden", h) if skip or latent else h
        features = features + w["readout.from_input.weight"] @ e if skip else features
        features = features + w["readout.from_latent.weight"] @ z if latent else features
        features = lrelu(features) if skip or latent else features
        for layer in range(layers - 1):
            features = lrelu(affine(w, f"readout.hidden.more.{layer}", features))
        log_px.append(log_density(x_t, *np.split(affine(w, "emission_net.linear", features), 2)))
        kl.append(divergence(mean, log_variance, *prior))
    return log_px, kl


def shaken(settings: dict[str, Any], spec: str) -> tuple[SequenceModel, Any]:
    model = Case("zforcing", ZF_SIZE | settings).build(SPECS[spec])
    model.backend = "reference"  # tests/test_backends.py has it equal the other
    shake(model, seed=3)
    return model, partial(
        oracle,
        parallel=settings.get("posterior") == "parallel",
        see_input=settings.get("latents_see_input", False),
        skip=settings.get("output_skip", True),
        latent=settings.get("output_latent", False),
        layers=settings.get("output_layers", 1),
    )


@pytest.mark.parametrize(("settings", "spec"), [*((v, "real") for v in VARIANTS), ({}, "conditioned")], ids=str)
def test_each_steps_likelihood_and_kl_are_those_of_the_equations(settings: Any, spec: str) -> None:
    model, equations = shaken(settings, spec)
    batch = random_batch(SPECS[spec], (4, 3, 1))
    assert_values(model, batch, draw_noise(model, batch), equations)


def test_layers_that_would_not_be_there_are_refused() -> None:
    with pytest.raises(UserError, match=r"^model\.output_layers 2 needs model\.output_skip or model\.output_latent: "):
        ZForcingConfig(output_skip=False, output_layers=2)


@pytest.mark.parametrize("spec", ["real", "conditioned"])
def test_the_backward_term_is_of_the_previous_observation_and_of_none_that_was_not_seen(spec: str) -> None:
    """log p(x_{t-1} | b_t); x_0 counts where it is an observation, and 0 stands for it where it is not."""
    model, _ = shaken({}, spec)
    batch = random_batch(SPECS[spec], (4,))
    found, w = model.unroll(batch).cost("backward")[0].detach().numpy(), weights_of(model)
    x, start = batch.x[0].numpy(), batch.start[0].numpy()
    expected = [
        log_density(before, *np.split(affine(w, "backward_emission_net.linear", b), 2))
        for before, b in zip([start, *x[:-1]], backward_states(w, x), strict=True)
    ]
    if spec == "real":
        expected[0] = 0.0
    np.testing.assert_allclose(found, expected, rtol=1e-10)


# ---- the backward LSTM on embedded observations


class Doubled(nn.Linear):
    """A linear layer of somebody else."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def hooked(layer: nn.Module) -> nn.Module:
    layer.register_forward_hook(lambda _, given, result: _doubled(result))
    return layer


def _doubled(result: Any) -> Any:
    return tuple(map(_doubled, result)) if isinstance(result, tuple) else 2 * result


def embedder_and_network() -> tuple[Embedder, BackwardLSTM]:
    torch.manual_seed(0)
    return Embedder(SPECS["real"], 6), BackwardLSTM(6, 4)


def states_of_both(embed: Embedder, network: BackwardLSTM) -> tuple[Tensor, Tensor]:
    """Those of `of_embedded`, and those of one after the other."""
    torch.manual_seed(1)
    x, lengths = torch.randn(2, 3, SPECS["real"].size), torch.tensor([3, 2])
    return network.of_embedded(embed, x, lengths), network(embed(x), lengths)


@pytest.mark.parametrize("replaced", [Doubled, partial(nn.Linear, bias=False)], ids=["subclass", "no bias"])
def test_the_backward_network_reads_what_another_layer_makes_of_an_observation(replaced: Any) -> None:
    embed, network = embedder_and_network()
    embed.layer = replaced(SPECS["real"].size, 6)
    torch.testing.assert_close(*states_of_both(embed, network))


@pytest.mark.parametrize("part", ["embed", "embed.layer", "embed.dropout", "network.lstm", "network"])
def test_the_backward_network_obeys_the_hooks_of(part: str) -> None:
    embed, network = embedder_and_network()
    plain = states_of_both(embed, network)[0]
    hooked(nn.ModuleDict({"embed": embed, "network": network}).get_submodule(part))
    found, expected = states_of_both(embed, network)
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, plain)


def test_a_network_is_in_train_mode_where_gradients_are_wanted_which_cudnn_needs() -> None:
    network, modes = BackwardLSTM(2, 3).eval(), []
    network.lstm.register_forward_pre_hook(lambda lstm, _: modes.append(lstm.training))
    x, lengths = torch.randn(2, 3, 2), torch.tensor([3, 2])
    network(x, lengths)
    with torch.no_grad():
        network(x, lengths)
    assert modes == [True, False]
    assert not network.lstm.training
