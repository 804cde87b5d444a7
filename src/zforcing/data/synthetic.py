"""Synthetic sequences from processes with an exact likelihood, an upper limit for every model."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np

from ..errors import UserError
from ..observations import DataDescription, Example, ObservationSpec
from ..processes import HiddenMarkovChain, LinearGaussianSystem, SwitchingSystem
from ..settings import Count, Positive, Probability, Range, Seed
from .dataset import InMemory
from .module import DataModule
from .splits import SPLITS, Split


@dataclass(frozen=True)
class Synthetic(DataModule):
    """Settings that the synthetic data sets share."""

    steps: Count = 20
    """length of the longest sequences"""
    shortest: Count | None = None
    """length of the shortest sequences, lengths being uniform in between; null: all have the same"""
    missing: Probability = 0.0
    """share of the numbers that is missing, at random"""
    train: Count = 1000
    """sequences to train on"""
    valid: Count = 200
    """sequences to validate on"""
    test: Count = 200
    """sequences to test on"""
    system_seed: Seed = 1
    """which process: seed of its parameters"""
    seed: Seed = 0
    """which sequences: seed of the draws"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shortest is not None and self.shortest > self.steps:
            raise UserError(f"data.shortest is {self.shortest}; it must lie between 1 and data.steps {self.steps}")

    def load(self, split: Split, description: DataDescription) -> InMemory:
        """The sequences of one split; each split has draws of its own."""
        rng = np.random.default_rng([self.seed, SPLITS.index(split)])
        return InMemory([self._draw(rng) for _ in range(getattr(self, split))]).described_as(description)

    def _draw(self, rng: np.random.Generator) -> Example:
        shortest = self.steps if self.shortest is None else self.shortest
        whole = self._simulate(int(rng.integers(shortest, self.steps + 1)), rng)
        if not self.missing:
            return whole
        observed = rng.random(whole.x.shape) >= self.missing
        return replace(whole, x=np.where(observed, whole.x, np.zeros((), whole.x.dtype)), observed=observed)

    @abstractmethod
    def _simulate(self, steps: int, rng: np.random.Generator) -> Example:
        """A sequence of so many steps, all of it observed."""


@dataclass(frozen=True)
class LinearGaussianData(Synthetic):
    """z_t = A z_{t-1} + B u_t + noise, x_t = C z_t + noise (`LinearGaussianSystem.random`); Kalman's likelihood."""

    name: ClassVar[str] = "lgssm"

    latent_size: Count = 2
    """size of the hidden state"""
    size: Count = 2
    """numbers per observation"""
    inputs: Annotated[int, Range(at_least=0)] = 0
    """known inputs u_t at each step, standard normal; 0: nothing drives the process"""

    @property
    def system(self) -> LinearGaussianSystem:
        """The process."""
        return LinearGaussianSystem.random(self.latent_size, self.size, seed=self.system_seed, inputs=self.inputs)

    def describe(self) -> DataDescription:
        """Real observations, as they are: the process has unit scale."""
        spec = ObservationSpec("real", self.size, missing=self.missing > 0, inputs=self.inputs)
        return DataDescription("lgssm", spec, self.steps)

    def true_log_likelihood(self, example: Example) -> float:
        """log p(x) under the process itself, nats, by the Kalman filter."""
        x = np.asarray(example.x, dtype=np.float64)
        seen = x if example.observed is None else np.where(example.observed, x, np.nan)
        return self.system.log_likelihood(seen, inputs=example.inputs)

    def _simulate(self, steps: int, rng: np.random.Generator) -> Example:
        u = rng.normal(size=(steps, self.inputs)).astype(np.float32) if self.inputs else None
        return Example(self.system.simulate(steps, rng=rng, inputs=u)[1].astype(np.float32), inputs=u)


@dataclass(frozen=True)
class MarkovData(Synthetic):
    """A hidden Markov chain's symbols (`HiddenMarkovChain.random`); the likelihood is the forward algorithm's."""

    name: ClassVar[str] = "markov"

    states: Count = 3
    """hidden states"""
    symbols: Count = 4
    """symbols, the categories of an observation"""

    @property
    def chain(self) -> HiddenMarkovChain:
        """The process."""
        return HiddenMarkovChain.random(self.states, self.symbols, seed=self.system_seed)

    def describe(self) -> DataDescription:
        """Categories."""
        spec = ObservationSpec("categorical", self.symbols, missing=self.missing > 0)
        return DataDescription("markov", spec, self.steps)

    def true_log_likelihood(self, example: Example) -> float:
        """log p(x) under the process itself, nats, by the forward algorithm."""
        return self.chain.log_likelihood(
            example.x if example.observed is None else np.where(example.observed, example.x, -1)
        )

    def _simulate(self, steps: int, rng: np.random.Generator) -> Example:
        return Example(self.chain.simulate(steps, rng=rng)[1].astype(np.int64))


@dataclass(frozen=True)
class SwitchingData(Synthetic):
    """Numbers about the mean of a hidden regime that switches (`SwitchingSystem.random`), which no single Gaussian a
    step describes; the likelihood is the forward algorithm's.
    """

    name: ClassVar[str] = "switching"

    regimes: Count = 5
    """hidden regimes"""
    size: Count = 2
    """numbers per observation"""
    noise: Positive = 0.1
    """standard deviation in a regime; the means lie on a circle of radius 1"""

    @property
    def system(self) -> SwitchingSystem:
        """The process."""
        return SwitchingSystem.random(self.regimes, self.size, seed=self.system_seed, noise=self.noise)

    def describe(self) -> DataDescription:
        """Real observations, as they are: the process has unit scale."""
        return DataDescription("switching", ObservationSpec("real", self.size, missing=self.missing > 0), self.steps)

    def true_log_likelihood(self, example: Example) -> float:
        """log p(x) under the process itself, nats, by the forward algorithm."""
        x = np.asarray(example.x, dtype=np.float64)
        return self.system.log_likelihood(x if example.observed is None else np.where(example.observed, x, np.nan))

    def _simulate(self, steps: int, rng: np.random.Generator) -> Example:
        return Example(self.system.simulate(steps, rng=rng)[1].astype(np.float32))
