"""A trained model on a stream: observations come one at a time, and each is scored before the next one is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..files.reading import Array
from ..models import DensityModel, SequenceModel, of_sequences
from ..runtime.threads import cpu_threads
from ..settings import Count, Seed, must_be, must_fit, plain
from .filtering import FilterState, Nats, ParticleFilter, marked, particles_of
from .next_step import NextStep
from .observation import ObservationReader
from .proposals import Proposal, check_proposal
from .score import log_std_of
from .stream_file import load_state, save_state

FAR = 1e4  # of what models read, whose numbers are about 1: from here on the state before a step is kept


@dataclass(frozen=True, eq=False)
class StreamStep:
    """What is known of x_t when it has come."""

    step: int
    """t, from 0"""
    nats: float
    """log p(x_t | x_<t) of what was observed, in the data's own units, as `score` gives it; NaN where nothing was, and
    at a first observation that the model only reads"""
    features: Array | None
    """[D], of each number by itself; NaN where it is missing. None where that has no closed form"""
    forecast: NextStep | None
    """of x_{t+1}; None of a model that reads known inputs: `Stream.forecast` takes those of the next step"""
    effective: float = np.nan
    """how many of the particles explain x_t, see `Scores.effective`; NaN where nats is"""


class Stream:
    """One sequence that is observed step by step. `stream` makes it; `load` goes on with one that was saved.

    Args:
        model: In eval mode.
        particles: K.
        seed: Of all random numbers.
        proposal: See `stream`.
        state: Where to go on; None is before the first observation.
    """

    def __init__(
        self,
        model: SequenceModel,
        *,
        particles: int,
        seed: int,
        proposal: Proposal = "prior",
        state: FilterState | None = None,
    ):
        self.model, self.particles, self.seed, self.proposal = model, particles_of(model, particles), seed, proposal
        self._reader = ObservationReader(model)
        self._log_std = log_std_of(self._reader.description)
        self._all_log_std = float(self._log_std.sum())
        with cpu_threads(model, rows=particles):
            self._threads = torch.get_num_threads()
        self._expected: NextStep | None = None
        self._far_inputs = False
        self._filter = None if state is None else ParticleFilter(model, state)
        if state is None and not model.spec.conditions_on_first:
            device, dtype = self._reader.place
            self._begin(model.spec.blank(1, device=device, dtype=dtype or torch.float32))

    @property
    def steps(self) -> int:
        """How many observations have come."""
        return 0 if self._filter is None else self._filter.steps + self.model.spec.unscored_steps

    def push(self, x: Any, inputs: Any = None) -> StreamStep:
        """Read x_t, the next observation, and score it.

        Args:
            x: x_t [D] in the data's units, NaN or None where a number is missing; a category's number, -1 where it is
                missing; in a table's column of categories its word too. In the model's order, or, a dict or a pandas
                Series, by name.
            inputs: u_t [U] in the data's units, of a model that reads known inputs; not again where `forecast` was
                given them. Those of a first observation that the model only reads aren't read, as in training.

        Returns:
            Its score, and what is expected next.

        Raises:
            UserError: x or inputs don't fit the model, or its numbers aren't finite any more.
        """
        read, observed = self._reader.x(x)
        with _threads(self._threads):
            if self._filter is None:
                self._begin(marked(read, observed))
                nothing = np.full(read.shape[-1], np.nan)
                return StreamStep(0, np.nan, nothing, self._unasked())
            if self._expected is None or inputs is not None:
                self.forecast(inputs)
            step, before = self.steps, self._filter.state if self._far_inputs or _is_far(read) else None
            nats = self._filter.read(read, observed)
            self._expected = None
            if not (np.isfinite(nats.total).all() or _is_usable(nats, self._filter.state)):
                self._filter = self._filter if before is None else ParticleFilter(self.model, before)
                raise UserError(
                    f"nothing finite comes of step {step}: is x_t far from the training data, or was the "
                    f"training unstable?{' The stream stands before it' if before is not None else ''}"
                )
            total, each = self._in_units(nats, observed)
            effective = np.nan if total != total else float(nats.effective[0])
            return StreamStep(self.steps - 1, total, each, self._unasked(), effective)

    def forecast(self, inputs: Any = None) -> NextStep:
        """What is expected of the next observation.

        Args:
            inputs: Its known inputs [U] in the data's units, of a model that reads some, once.

        Returns:
            p(x_t | x_<t), mean, standard deviation and quantiles in the data's units.

        Raises:
            UserError: The inputs don't fit the model or were given already, or it needs the first observation.
        """
        u = self._reader.u(inputs) if self._expected is None or inputs is not None else None
        if self._filter is None:
            raise UserError("the model conditions on the first observation: push it first")
        if self._expected is not None and u is not None:
            raise UserError("the inputs of this step were given already: leave them out")
        if self._expected is None:
            self._far_inputs = _is_far(u)
            with _threads(self._threads):
                expected = self._filter.predict(u)
            self._expected = NextStep(expected, self._reader.description, seed=self.seed + self.steps)
        return self._expected

    def save(self, path: str | Path) -> None:
        """Write all that is known between two steps to a file: with the model, `load` goes on from it.

        Raises:
            UserError: The path is a folder's, or its folder isn't there.
        """
        state = None if self._filter is None else self._filter.state
        save_state(path, self.model, state, particles=self.particles, seed=self.seed, proposal=self.proposal)

    @classmethod
    def load(cls, path: str | Path, model: DensityModel) -> Stream:
        """Go on with a stream that was saved.

        Args:
            path: What `save` wrote.
            model: The same model.

        Raises:
            UserError: There is no such file, it is damaged, or it is of another model.
        """
        model = of_sequences(model, needed_by="a stream").eval()
        found = load_state(path, model)
        return cls(model, particles=found.particles, seed=found.seed, proposal=found.proposal, state=found.state)

    def _begin(self, start: Tensor) -> None:
        self._filter = ParticleFilter.begin(
            self.model, start, particles=self.particles, seed=self.seed, proposal=self.proposal
        )

    def _unasked(self) -> NextStep | None:
        """The next step's forecast, where no inputs are needed for it."""
        return None if self.model.spec.inputs else self.forecast()

    def _in_units(self, nats: Nats, observed: Tensor | None) -> tuple[float, Array | None]:
        """The score of a step, and those of its numbers [D]."""
        total, each = float(nats.total[0]), None if nats.each is None else nats.each[0] - self._log_std
        if observed is None:
            return total - self._all_log_std, each
        seen = observed.cpu().numpy().reshape(-1)
        if not seen.any():
            return np.nan, None if each is None else np.full_like(each, np.nan)
        total -= float((seen * self._log_std).sum())
        return total, None if each is None else np.where(seen, each, np.nan)


def stream(model: DensityModel, *, particles: int = 64, seed: int = 0, proposal: Proposal = "prior") -> Stream:
    """Score a sequence while it comes: `push` takes one observation, gives its score and what is expected next.

    The scores are those of `score(model, data, kind="causal")` with the same particles, seed and proposal.

    Args:
        model: A trained model of sequences; it is put in eval mode, and must not change while the stream lasts.
        particles: K. Without latents it is 1.
        seed: Of all random numbers.
        proposal: What the particles are drawn from once x_t is known, see `score`.

    Raises:
        UserError: The model has no time steps, or there is no such proposal.

    Example:
        >>> import zforcing as zf
        >>> data = zf.Sequences([[[1.0], [2.0], [4.0]], [[3.0], [1.0]]], names=["speed"])
        >>> model = zf.LinearGaussian.for_data(data, latent_size=2)
        >>> s = zf.stream(model)
        >>> for x in ([1.0], [2.0]):
        ...     step = s.push(x)
        >>> step.step, step.nats < 0, step.forecast.mean.shape
        (1, True, (1,))
    """
    must_be(model, DensityModel, "model", "a model, such as load(folder)")
    must_fit(particles, Count, "particles")
    must_fit(seed, Seed, "seed")
    check_proposal(proposal)
    model = of_sequences(model, needed_by="a stream").eval()
    return Stream(model, particles=plain(particles), seed=plain(seed), proposal=proposal)


def _is_far(x: Tensor | None) -> bool:
    """Whether something is further from what a model has seen than anything that it can tell apart."""
    return x is not None and x.is_floating_point() and bool((x.abs() > FAR).any())


def _is_usable(nats: Nats, after: FilterState) -> bool:
    """Whether a step's score is -inf rather than NaN, and the state after it finite."""
    numbers = [v for v in after.model if v.is_floating_point()]
    return not np.isnan(nats.total).any() and all(bool(torch.isfinite(v).all()) for v in numbers)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Torch's number of CPU threads within a `with` block, which was chosen once."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
