"""Synthetic sequences from processes with an exact likelihood, an upper limit for every model."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import UserError
from ..files.reading import Array
from ..observations import DataDescription, Example, ObservationSpec
from ..processes import HiddenMarkovChain, LinearGaussianSystem
from ..settings import Count, Probability, Seed
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
        x = self._simulate(int(rng.integers(shortest, self.steps + 1)), rng)
        if not self.missing:
            return Example(x)
        observed = rng.random(x.shape) >= self.missing
        return Example(np.where(observed, x, np.zeros((), x.dtype)), observed)

    @abstractmethod
    def _simulate(self, steps: int, rng: np.random.Generator) -> Array:
        """[T, D] float32 or [T] int64."""


@dataclass(frozen=True)
class LinearGaussianData(Synthetic):
    """z_t = A z_{t-1} + noise, x_t = C z_t + noise (`LinearGaussianSystem.random`); the likelihood is Kalman's."""

    name: ClassVar[str] = "lgssm"

    latent_size: Count = 2
    """size of the hidden state"""
    size: Count = 2
    """numbers per observation"""

    @property
    def system(self) -> LinearGaussianSystem:
        """The process."""
        return LinearGaussianSystem.random(self.latent_size, self.size, seed=self.system_seed)

    def describe(self) -> DataDescription:
        """Real observations, as they are: the process has unit scale."""
        return DataDescription("lgssm", ObservationSpec("real", self.size, missing=self.missing > 0), self.steps)

    def true_log_likelihood(self, example: Example) -> float:
        """log p(x) under the process itself, nats, by the Kalman filter."""
        x = np.asarray(example.x, dtype=np.float64)
        return self.system.log_likelihood(x if example.observed is None else np.where(example.observed, x, np.nan))

    def _simulate(self, steps: int, rng: np.random.Generator) -> Array:
        return self.system.simulate(steps, rng=rng)[1].astype(np.float32)


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

    def _simulate(self, steps: int, rng: np.random.Generator) -> Array:
        return self.chain.simulate(steps, rng=rng)[1].astype(np.int64)
