"""Gaussian baselines of real data, fitted in closed form in float64, exact with missing values too.

independent Gaussian    x_td ~ N(mean_d, var_d)                         every number on its own
full Gaussian           x_t  ~ N(mean, Sigma)                           every step on its own
VAR(1), or AR(p)        x_t  ~ N(mean + sum_k A_k (x_{t-k} - mean), Q)  steps too; of one feature p is 1 to 10

The numbers are as models read them (normalized, if the data is). No standard deviation is below `MIN_STD` of these
units. Where values are missing in training, second moments are of the pairs that were observed; in scoring, missing
values are integrated out (the Gaussians' marginals, and for autoregressions a Kalman filter).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..observations import Example

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
MIN_STD = 1e-4
MOST_LAGS = 10
RIDGES = np.array([1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0])  # of correlations


@dataclass(frozen=True, eq=False)
class Steps:
    """Sequences of real numbers one after the other.

    x: [R, D], 0 where nothing is observed; seen: [R, D]; place: [R], of each step in its sequence, from 0.
    """

    x: Floats
    seen: Bools
    place: NDArray[np.int64]

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Steps:
        """The steps of all sequences."""
        x = np.concatenate([np.asarray(e.x, dtype=np.float64) for e in examples])
        seen = np.concatenate([np.ones(e.x.shape, bool) if e.observed is None else e.observed for e in examples])
        place = np.concatenate([np.arange(len(e.x)) for e in examples])
        return cls(np.where(seen, x, 0.0), seen, place)

    @property
    def mean(self) -> Floats:
        """[D], of what is observed."""
        mean: Floats = self.x.sum(0) / np.maximum(self.seen.sum(0), 1)
        return mean


@dataclass(frozen=True, eq=False)
class Padded:
    """Sequences of real numbers side by side. x: [N, T, D], 0 where nothing is observed; seen: [N, T, D]."""

    x: Floats
    seen: Bools

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Padded:
        """The sequences, padded on the right."""
        steps, features = max(len(e.x) for e in examples), examples[0].x.shape[1]
        x = np.zeros((len(examples), steps, features))
        seen = np.zeros(x.shape, dtype=bool)
        for row, example in enumerate(examples):
            length = len(example.x)
            seen[row, :length] = True if example.observed is None else example.observed
            x[row, :length] = example.x
        return cls(np.where(seen, x, 0.0), seen)


@dataclass(frozen=True, eq=False)
class IndependentGaussian:
    """Every number on its own: mean and standard deviation of each feature, [D]."""

    mean: Floats
    std: Floats
    name: str = "independent Gaussian"

    @classmethod
    def fit(cls, train: Steps) -> IndependentGaussian:
        """The maximum-likelihood mean and standard deviation of what is observed."""
        squares = (np.where(train.seen, train.x - train.mean, 0.0) ** 2).sum(0)
        std = np.sqrt(squares / np.maximum(train.seen.sum(0), 1))
        return cls(train.mean, np.maximum(std, MIN_STD))

    def log_prob(self, batch: Padded) -> Floats:
        """[N, T] nats of each step."""
        each = -0.5 * ((batch.x - self.mean) / self.std) ** 2 - np.log(self.std) - 0.5 * math.log(2 * math.pi)
        nats: Floats = np.where(batch.seen, each, 0.0).sum(2)
        return nats


@dataclass(frozen=True, eq=False)
class Autoregression:
    """x_t given the p steps before it; with p = 0 a Gaussian of the step.

    mean: [D]; lags: [p, D, D], A_1..A_p; noise: [D, D], Q; before: [p D, p D], the covariance of p steps in a row, of
    which the unseen ones before a sequence's beginning are.
    """

    mean: Floats
    lags: Floats
    noise: Floats
    before: Floats
    name: str

    @classmethod
    def fit(cls, train: Steps, *, lags: Sequence[int]) -> Autoregression | None:
        """The order of `lags` with the least generalized cross-validation; None where no sequence has enough steps.

        A ridge on the correlations of the past, chosen in the same way, keeps it defined; correlations of the noise are
        shrunk as if D more steps without any had been seen.
        """
        x, seen = _windows(train, max(lags) + 1)
        if len(x) < 3:
            return None
        moments, mean, D = _second_moments(x, seen), train.mean, train.x.shape[1]
        best = min((_regress(moments, D * p, D, len(x)) for p in lags), key=lambda found: found.criterion)
        p = len(best.weights) // D
        noise = _shrunk(best.noise, D / (len(x) + D))
        weights = best.weights.reshape(p, D, D).transpose(0, 2, 1)
        name = "full Gaussian" if p == 0 else f"AR({p})" if D == 1 else f"VAR({p})"
        return cls(mean, weights, noise, moments[D : D * (p + 1), D : D * (p + 1)], name)

    def log_prob(self, batch: Padded) -> Floats:
        """[N, T] nats of each step given those before it.

        Complete sequences need the filter for their first p steps alone: then the state is known.
        """
        p, T = len(self.lags), batch.x.shape[1]
        gaps = _with_gaps(batch.seen, between=p > 0)
        nats = np.zeros(batch.x.shape[:2])
        if gaps.any():
            nats[gaps] = self._filtered(batch.x[gaps], batch.seen[gaps])
        if not gaps.all():
            x, exists = batch.x[~gaps], batch.seen[~gaps].all(2)
            first = min(p, T)
            whole = np.zeros(x.shape[:2])
            if first:
                whole[:, :first] = self._filtered(x[:, :first], batch.seen[~gaps][:, :first])
            if first < T:
                whole[:, first:] = self._given_the_past(x)
            nats[~gaps] = np.where(exists, whole, 0.0)
        return nats

    def _given_the_past(self, x: Floats) -> Floats:
        """[N, T - p]: steps after p complete ones."""
        (N, T, D), p = x.shape, len(self.lags)
        rest = x - self.mean
        residual = rest[:, p:].reshape(-1, D)
        for k, weights in enumerate(self.lags, start=1):
            residual = residual - rest[:, p - k : T - k].reshape(-1, D) @ weights.T
        root = np.linalg.cholesky(self.noise)
        white = residual @ np.linalg.inv(root).T
        constant = np.log(np.diag(root)).sum() + 0.5 * D * math.log(2 * math.pi)
        nats: Floats = -0.5 * (white**2).sum(1) - constant
        return nats.reshape(N, T - p)

    def _filtered(self, x: Floats, seen: Bools) -> Floats:
        """[N, T] by a Kalman filter whose state is the last p steps, [N, p D]; nothing is added to what is observed."""
        D, p = len(self.mean), len(self.lags)
        if p == 0:
            return _marginals(x - self.mean, seen, self.noise)
        S = p * D
        move = np.eye(S, k=-D)
        move[:D] = np.concatenate(list(self.lags), axis=1)
        noise = np.zeros((S, S))
        noise[:D, :D] = self.noise
        state, spread = np.zeros((len(x), S)), np.broadcast_to(self.before, (len(x), S, S))
        nats = np.zeros(x.shape[:2])
        for t in range(x.shape[1]):
            state, spread = state @ move.T, move @ spread @ move.T + noise
            nats[:, t], state, spread = _observed(x[:, t] - self.mean, seen[:, t], state, spread)
        return nats


def _with_gaps(seen: Bools, *, between: bool) -> Bools:
    """[N]: which sequences have steps of which some numbers are missing, or (between) all, before the last observed."""
    some, whole = np.any(seen, axis=2), np.all(seen, axis=2)
    gaps: Bools = np.any(some & ~whole, axis=1)
    return gaps | ~some[:, 0] | np.any(some[:, 1:] & ~some[:, :-1], axis=1) if between else gaps


def _observed(x: Floats, seen: Bools, state: Floats, spread: Floats) -> tuple[Floats, Floats, Floats]:
    """log p of the observed numbers of x [N, D], and the state given them. An unobserved one adds a variance 1 that
    stands apart, with a residual 0: it changes neither.
    """
    D = x.shape[1]
    shown = seen[:, :, None] & seen[:, None]
    innovation = np.where(shown, spread[:, :D, :D], np.eye(D))
    residual = np.where(seen, x - state[:, :D], 0.0)
    cross = np.where(seen[:, None], spread[:, :, :D], 0.0)  # [N, S, D]
    inverse = np.linalg.inv(innovation)
    gain = cross @ inverse
    logdet = np.linalg.slogdet(innovation)[1]
    squares = np.einsum("nd,nde,ne->n", residual, inverse, residual)
    nats = -0.5 * (squares + logdet + seen.sum(1) * math.log(2 * math.pi))
    after = spread - gain @ cross.transpose(0, 2, 1)
    return nats, state + (gain @ residual[:, :, None])[:, :, 0], (after + after.transpose(0, 2, 1)) / 2


def _marginals(x: Floats, seen: Bools, covariance: Floats) -> Floats:
    """[N, T]: log p of the observed numbers of each step under N(0, covariance), some thousand steps at a time."""
    D = x.shape[2]
    rows, shown = x.reshape(-1, D), seen.reshape(-1, D)
    nats = np.zeros(len(rows))
    size = max(1, 2_000_000 // (D * D))
    for start in range(0, len(rows), size):
        at = slice(start, start + size)
        spread = np.broadcast_to(covariance, (len(rows[at]), D, D))
        nats[at] = _observed(rows[at], shown[at], np.zeros_like(rows[at]), spread)[0]
    return nats.reshape(x.shape[:2])


# ---- fitting


def most_lags(lengths: Sequence[int]) -> int:
    """The largest order of an autoregression of one feature that sequences of these lengths can choose: 1 to 10."""
    usual = min(MOST_LAGS, int(np.median(lengths)) - 1)
    fitted = [p for p in range(1, usual + 1) if sum(max(0, length - p) for length in lengths) > p + 1]
    return max(fitted, default=1)


def _windows(train: Steps, steps: int) -> tuple[Floats, Bools]:
    """Each `steps` steps in a row of one sequence, newest first, centred, [R, steps D], and what of them is observed.
    Those with gaps are left out if they are fewer than half.
    """
    newest = np.flatnonzero(train.place >= steps - 1)
    index = newest[:, None] - np.arange(steps)
    width = steps * train.x.shape[1]
    x = np.where(train.seen, train.x - train.mean, 0.0)[index].reshape(len(index), width)
    seen = train.seen[index].reshape(len(index), width)
    complete = seen.all(1)
    few = complete.sum() > 0.5 * len(complete)
    return (x[complete], seen[complete]) if few else (x, seen)


def _second_moments(x: Floats, seen: Bools) -> Floats:
    """[S, S]: of each pair of numbers, over the rows [R, S] that have both; made positive definite."""
    if seen.all():
        moments: Floats = x.T @ x / len(x)
        return moments
    both = seen.astype(np.float64)
    return _floored(x.T @ x / np.maximum(both.T @ both, 1.0))


@dataclass(frozen=True, eq=False)
class Regression:
    """weights: [p D, D]; noise: [D, D], without what fitting took of it; criterion: of cross-validation, in nats."""

    weights: Floats
    noise: Floats
    criterion: float


def _regress(moments: Floats, past: int, D: int, rows: int) -> Regression:
    """Of the newest step on the `past` numbers before it, with the ridge of the least criterion."""
    now = moments[:D, :D]
    if past == 0:
        return Regression(np.zeros((0, D)), _floored(now), 0.0)
    before, cross = moments[D : D + past, D : D + past], moments[D : D + past, :D]
    scale = np.maximum(np.sqrt(np.diag(before)), MIN_STD)
    values, vectors = np.linalg.eigh(before / np.outer(scale, scale))
    values = np.maximum(values, 0.0)
    turned = vectors.T @ (cross / scale[:, None])
    found = []
    for ridge in RIDGES:
        weights = vectors @ (turned / (values + ridge)[:, None]) / scale[:, None]
        residual = now - weights.T @ cross - cross.T @ weights + weights.T @ before @ weights
        left = 1 - ((values / (values + ridge)).sum() + 1) / rows
        if left > 0:
            noise = _floored(residual / left)
            found.append(Regression(weights, noise, float(np.log(np.diag(noise) / left).sum() / 2)))
    empty = Regression(np.zeros((past, D)), _floored(now), math.inf)
    return min(found, key=lambda one: one.criterion, default=empty)


def _floored(covariance: Floats) -> Floats:
    """With no variance below that of `MIN_STD`, in any direction."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    raised: Floats = (vectors * np.maximum(values, MIN_STD**2)) @ vectors.T
    return raised


def _shrunk(covariance: Floats, share: float) -> Floats:
    """Towards its diagonal by this share."""
    shrunk: Floats = (1 - share) * covariance + share * np.diag(np.diag(covariance))
    return shrunk
