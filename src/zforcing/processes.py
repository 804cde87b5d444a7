"""Small generative processes with an exact likelihood, to test bounds and models and to make synthetic data.

They are the textbook recursions in NumPy and float64, one sequence at a time: a reference for faster code.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class LinearGaussianSystem:
    """z_t = A z_{t-1} + B u_t + N(0, diag(q^2)), x_t = C z_t + N(0, diag(r^2)), z_0 = 0; u_t: known inputs, if any."""

    A: Array
    """[Z, Z]"""
    C: Array
    """[D, Z]"""
    q: Array
    """[Z], standard deviations"""
    r: Array
    """[D], standard deviations"""
    B: Array | None = None
    """[Z, U]; None without inputs"""

    @classmethod
    def random(cls, latent: int, size: int, *, seed: int, inputs: int = 0) -> LinearGaussianSystem:
        """Make a system with a slowly rotating and decaying state (eigenvalues of modulus 0.9) and a random C.

        Args:
            latent: Z.
            size: D.
            seed: The same seed gives the same system.
            inputs: U.
        """
        rng = np.random.default_rng(seed)
        basis, _ = np.linalg.qr(rng.normal(size=(latent, latent)))
        turn = np.eye(latent)
        for i in range(0, latent - 1, 2):
            angle = 0.3 / (1 + i / 2)
            cos, sin = np.cos(angle), np.sin(angle)
            turn[i : i + 2, i : i + 2] = [[cos, -sin], [sin, cos]]
        A = 0.9 * basis @ turn @ basis.T
        C = rng.normal(size=(size, latent))
        B = rng.normal(size=(latent, inputs)) if inputs else None
        return cls(A, C, np.full(latent, 0.5), np.full(size, 0.4), B)

    def simulate(self, steps: int, *, rng: np.random.Generator, inputs: Array | None = None) -> tuple[Array, Array]:
        """Draw a sequence of latents z [T, Z] and observations x [T, D], given inputs [T, U]."""
        z, zs, xs, drift = np.zeros(len(self.q)), [], [], self._drift(inputs, steps)
        for t in range(steps):
            z = self.A @ z + drift[t] + self.q * rng.normal(size=len(self.q))
            zs.append(z)
            xs.append(self.C @ z + self.r * rng.normal(size=len(self.r)))
        return np.array(zs), np.array(xs)

    def _drift(self, inputs: Array | None, steps: int) -> Array:
        """B u_t of each step, [T, Z]."""
        if self.B is None or inputs is None:
            return np.zeros((steps, len(self.q)))
        drift: Array = inputs @ self.B.T
        return drift

    def log_likelihood(self, x: Array, *, inputs: Array | None = None) -> float:
        """Compute log p(x) in nats, x [T, D] given inputs [T, U], by the Kalman filter (R. Kalman, 1960); NaN is
        integrated out.
        """
        m, P, total = np.zeros(len(self.q)), np.zeros((len(self.q),) * 2), 0.0
        for row, drift in zip(x, self._drift(inputs, len(x)), strict=True):
            m, P = self.A @ m + drift, self.A @ P @ self.A.T + np.diag(self.q**2)
            observed = ~np.isnan(row)
            if not observed.any():
                continue
            C = self.C[observed]
            S = C @ P @ C.T + np.diag(self.r[observed] ** 2)
            error = row[observed] - C @ m
            solved = np.linalg.solve(S, error)
            total -= 0.5 * (error @ solved + np.linalg.slogdet(2 * np.pi * S)[1])
            gain = np.linalg.solve(S, C @ P).T
            m, P = m + gain @ error, P - gain @ C @ P
        return float(total)


def draw_states(initial: Array, transition: Array, steps: int, *, rng: np.random.Generator) -> list[int]:
    """A sequence of a Markov chain's states."""
    states = [int(rng.choice(len(initial), p=initial))]
    for _ in range(steps - 1):
        states.append(int(rng.choice(len(initial), p=transition[states[-1]])))
    return states


def forward(initial: Array, transition: Array, likely: Array) -> float:
    """log p(x) in nats by the forward algorithm, of p(x_t | s_t) [T, S]; of p / c_t it is log p(x) - sum_t log c_t."""
    belief, total = initial, 0.0
    for t, p in enumerate(likely):
        joint = (belief @ transition if t else belief) * p
        total += np.log(joint.sum())
        belief = joint / joint.sum()
    return float(total)


@dataclass(frozen=True)
class HiddenMarkovChain:
    """A hidden Markov model: s_1 ~ initial, s_t ~ transition[s_{t-1}], x_t ~ emission[s_t]; S states, V symbols."""

    initial: Array
    """[S], probabilities of the first state"""
    transition: Array
    """[S, S], rows sum to 1"""
    emission: Array
    """[S, V], rows sum to 1"""

    @classmethod
    def random(cls, states: int, symbols: int, *, seed: int) -> HiddenMarkovChain:
        """Make a chain whose states are mostly kept and mostly emit their own symbol.

        Args:
            states: S.
            symbols: V.
            seed: The same seed gives the same chain.
        """
        rng = np.random.default_rng(seed)
        transition = 0.8 * np.eye(states) + 0.2 * rng.dirichlet(np.ones(states), size=states)
        emission = 0.7 * np.eye(states, symbols) + 0.3 * rng.dirichlet(np.ones(symbols), size=states)
        rows = (matrix / matrix.sum(1, keepdims=True) for matrix in (transition, emission))
        return cls(np.full(states, 1 / states), *rows)

    def simulate(self, steps: int, *, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw a sequence of states [T] and symbols [T], int64."""
        states = draw_states(self.initial, self.transition, steps, rng=rng)
        symbols = [int(rng.choice(self.emission.shape[1], p=self.emission[s])) for s in states]
        return np.array(states), np.array(symbols)

    def log_likelihood(self, x: Array) -> float:
        """Compute log p(x) in nats, x [T] symbols, by the forward algorithm; negative symbols are missing."""
        likely = [self.emission[:, symbol] if symbol >= 0 else np.ones(len(self.initial)) for symbol in x]
        return forward(self.initial, self.transition, np.array(likely))

    def enumerated_log_likelihood(self, x: Array) -> float:
        """Compute `log_likelihood` by enumerating all states and missing symbols, for tests with few steps."""
        states, symbols = self.emission.shape
        choices = [range(symbols) if symbol < 0 else (int(symbol),) for symbol in x]
        total = 0.0
        for path in itertools.product(range(states), repeat=len(x)):
            p = self.initial[path[0]] * np.prod([self.transition[a, b] for a, b in itertools.pairwise(path)])
            total += sum(p * np.prod(self.emission[list(path), list(value)]) for value in itertools.product(*choices))
        return float(np.log(total))


@dataclass(frozen=True)
class SwitchingSystem:
    """A hidden Markov model of numbers: s_1 ~ initial, s_t ~ transition[s_{t-1}], x_t ~ N(mean[s_t], noise^2 I)."""

    initial: Array
    """[S], probabilities of the first regime"""
    transition: Array
    """[S, S], rows sum to 1"""
    mean: Array
    """[S, D], of each regime"""
    noise: float
    """standard deviation in a regime"""

    @classmethod
    def random(cls, regimes: int, size: int, *, seed: int, noise: float = 0.1) -> SwitchingSystem:
        """Make a system whose regimes last a few steps, means on a circle of radius 1 (of one number, its shadow).

        Args:
            regimes: S.
            size: D.
            seed: The same seed gives the same system.
            noise: Its standard deviation.
        """
        rng = np.random.default_rng(seed)
        transition = 0.6 * np.eye(regimes) + 0.4 * rng.dirichlet(np.ones(regimes), size=regimes)
        angle = 2 * np.pi * (np.arange(regimes) / regimes + rng.random())
        plane, _ = np.linalg.qr(rng.normal(size=(max(size, 2), 2)))
        mean = np.stack([np.cos(angle), np.sin(angle)], axis=1) @ plane[:size].T
        return cls(np.full(regimes, 1 / regimes), transition / transition.sum(1, keepdims=True), mean, noise)

    def simulate(self, steps: int, *, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw a sequence of regimes [T], int64, and observations x [T, D]."""
        regimes = np.array(draw_states(self.initial, self.transition, steps, rng=rng))
        return regimes, self.mean[regimes] + self.noise * rng.normal(size=(steps, self.mean.shape[1]))

    def log_likelihood(self, x: Array) -> float:
        """Compute log p(x) in nats, x [T, D], by the forward algorithm; NaN is integrated out."""
        logs = self._log_densities(x)
        largest = logs.max(1, keepdims=True)
        return forward(self.initial, self.transition, np.exp(logs - largest)) + float(largest.sum())

    def enumerated_log_likelihood(self, x: Array) -> float:
        """Compute `log_likelihood` by enumerating all regimes, for tests with few steps."""
        logs, total = self._log_densities(x), 0.0
        for path in itertools.product(range(len(self.initial)), repeat=len(x)):
            p = self.initial[path[0]] * np.prod([self.transition[a, b] for a, b in itertools.pairwise(path)])
            total += p * np.exp(logs[np.arange(len(x)), list(path)].sum())
        return float(np.log(total))

    def _log_densities(self, x: Array) -> Array:
        """log p(x_t | s_t) [T, S], of the numbers that aren't NaN."""
        logs = -0.5 * ((x[:, None] - self.mean) / self.noise) ** 2 - np.log(self.noise) - 0.5 * np.log(2 * np.pi)
        summed: Array = np.nansum(logs, axis=2)
        return summed
