"""Pieces of the models written out in NumPy from the papers' equations, and comparisons with what is written so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zforcing import ELBO, SequenceBatch, SequenceModel

Array = NDArray[np.float64]
Weights = Mapping[str, Array]
Oracle = Callable[[Weights, Array, Array, Array], tuple[list[float], list[float]]]
"""(weights, x [T, D], x_0 [D], noise [T, Z]) -> log p(x_t | .) and the KL of each step, in nats."""


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def affine(w: Weights, name: str, *x: Array) -> Array:
    return w[f"{name}.weight"] @ np.concatenate(x) + w[f"{name}.bias"]


def layers(w: Weights, name: str, a: Array, activation: Callable[[Array], Array]) -> Array:
    """What follows a net's first linear map: activations, and as many more layers as there are weights."""
    number, hidden = 0, activation(a)
    while f"{name}.more.{number}.weight" in w:
        hidden = activation(affine(w, f"{name}.more.{number}", hidden))
        number += 1
    return hidden


def net(w: Weights, name: str, *x: Array, activation: Callable[[Array], Array]) -> Array:
    """Its last hidden layer, or what is made of it if there is a `second`."""
    hidden = layers(w, f"{name}.hidden", affine(w, f"{name}.first", *x), activation)
    return affine(w, f"{name}.second", hidden) if f"{name}.second.weight" in w else hidden


def log_density(x: Array, mean: Array, log_variance: Array) -> float:
    """log N(x; mean, diag(exp(log_variance)))."""
    return float(-0.5 * np.sum(np.log(2 * np.pi) + log_variance + (x - mean) ** 2 / np.exp(log_variance)))


def divergence(mean: Array, log_variance: Array, prior_mean: Array, prior_log_variance: Array) -> float:
    """KL(N(mean, .) || N(prior_mean, .)) of diagonal Gaussians."""
    ratio = np.exp(log_variance - prior_log_variance)
    distance = (mean - prior_mean) ** 2 / np.exp(prior_log_variance)
    return float(0.5 * np.sum(ratio + distance - 1 + prior_log_variance - log_variance))


# ---- comparisons


@torch.no_grad()
def shake(model: SequenceModel, seed: int) -> None:
    """Every number of every parameter becomes another, so that none is 0 or drops out."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))


def by_hand(oracle: Oracle, w: Weights, batch: SequenceBatch, noise: Tensor) -> list[tuple[list[float], list[float]]]:
    """Of each sequence, at its own length."""
    x, start, draws = (v.numpy() for v in (batch.x, batch.start, noise))
    return [oracle(w, x[b, :steps], start[b], draws[b, :steps]) for b, steps in enumerate(batch.lengths.tolist())]


def weights_of(model: SequenceModel) -> dict[str, Array]:
    return {name: p.detach().numpy().copy() for name, p in model.named_parameters()}


def assert_values(model: SequenceModel, batch: SequenceBatch, noise: Tensor, oracle: Oracle) -> None:
    """log p(x_t | .) and KL of each step, and the ELBO of each sequence."""
    run, bound = model.unroll(batch, noise=noise), ELBO()(model, batch, noise=noise)
    found = by_hand(oracle, weights_of(model), batch, noise)
    for b, (log_px, kl) in enumerate(found):
        steps = int(batch.lengths[b])
        np.testing.assert_allclose(run.log_px[b, :steps].detach().numpy(), log_px, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(run.kl[b, :steps].detach().numpy(), kl, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(bound.value[b].item(), sum(log_px) - sum(kl), rtol=1e-10)


def assert_gradients(model: SequenceModel, batch: SequenceBatch, noise: Tensor, oracle: Oracle) -> None:
    """Of the ELBO's sum by some entries of every parameter: central differences of the oracle."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(-ELBO()(model, batch, noise=noise).loss.sum(), parameters)
    w, rng, step = weights_of(model), np.random.default_rng(0), 1e-5

    def total() -> float:
        return sum(sum(log_px) - sum(kl) for log_px, kl in by_hand(oracle, w, batch, noise))

    for name, gradient in zip(names, gradients, strict=True):
        flat = w[name].reshape(-1)  # a view
        for entry in rng.permutation(flat.size)[:4]:
            kept = flat[entry]
            values = []
            for moved in (kept + step, kept - step):
                flat[entry] = moved
                values.append(total())
            flat[entry] = kept
            slope = (values[0] - values[1]) / (2 * step)
            np.testing.assert_allclose(
                gradient.reshape(-1)[entry].item(), slope, rtol=1e-5, atol=1e-7, err_msg=f"{name}[{entry}]"
            )


# ---- the linear-Gaussian model


@torch.no_grad()
def smoothed_by_kalman(model: Any, x: Array, seen: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Mean and standard deviation of x_t given all that is seen, [T, D] each: by a filter forwards and the smoother of
    H. Rauch, F. Tung and C. Striebel, 1965, backwards.
    """
    A, C = model.A.numpy(), model.C.numpy()
    Q, R = (np.diag(np.exp(2 * v.numpy())) for v in (model.log_q, model.log_r))
    mean, cov = np.zeros(len(A)), np.zeros((len(A), len(A)))
    predicted, filtered = [], []
    for x_t, seen_t in zip(x, seen, strict=True):
        mean, cov = A @ mean, A @ cov @ A.T + Q
        predicted.append((mean, cov))
        C_t = C[seen_t]
        gain = cov @ C_t.T @ np.linalg.inv(C_t @ cov @ C_t.T + R[seen_t][:, seen_t])
        mean, cov = mean + gain @ (x_t[seen_t] - C_t @ mean), cov - gain @ C_t @ cov
        filtered.append((mean, cov))
    smoothed = [filtered[-1]]
    for (m, P), (m_next, P_next) in zip(filtered[-2::-1], predicted[:0:-1], strict=True):
        J = P @ A.T @ np.linalg.inv(P_next)
        later_m, later_P = smoothed[-1]
        smoothed.append((m + J @ (later_m - m_next), P + J @ (later_P - P_next) @ J.T))
    means, covs = (np.stack(v[::-1]) for v in zip(*smoothed, strict=True))
    return means @ C.T, np.sqrt(np.einsum("di,tij,dj->td", C, covs, C) + np.diag(R))
