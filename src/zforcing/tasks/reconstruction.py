"""What `reconstruct` returns: sequences rebuilt from their latents, in the user's units, and how far off they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ..files.reading import Array
from ..files.rows import TimeColumn
from ..observations import DataDescription, Drawn, Example
from .columns import by_step, to_frame
from .posterior import COLLAPSED, IN_WORDS, Reads
from .reconstruction_error import Errors, constant_guess, errors_of, unit_of
from .scores import names_of

Mode = Literal["mean", "sample"]
Past = Literal["own", "true"]
PASTS: dict[Past, str] = {
    "own": "free-running: the emission reads what was reconstructed before",
    "true": "teacher-forced: the emission reads the true past",
}


@dataclass(frozen=True, repr=False, eq=False)
class Reconstruction:
    """N sequences rebuilt from their latents.

    Attributes:
        model: name of the model.
        reads: what the posterior that gave the latents reads: "future", "present" or "past"; see `encode`.
        mode: "mean": the posterior's means, and the likeliest x_t; "sample": both drawn.
        past: what the emission read of x_<t: "own", the reconstruction itself (free-running), or "true", the data
            (teacher-forced).
        seed: of what was drawn.
        ids: [N] of the sequences.
        names: of the D numbers of a step, or None.
        nats_per_step: the KL of the latents, see `Encoded.kl`.
        originals: the N sequences, as the model reads them.
        made: [T_i, D] or [T_i], each without a first observation that is only read, as the model reads it.
        latents: [T_i, Z] for each of `made`.
        description: says what the units are.
        time_column: the column that the data was ordered by, or None.
    """

    model: str
    reads: Reads
    mode: Mode
    past: Past
    seed: int
    ids: tuple[Any, ...]
    names: tuple[str, ...] | None
    nats_per_step: float
    originals: tuple[Example, ...]
    made: tuple[Array, ...]
    latents: tuple[Array, ...]
    description: DataDescription
    time_column: TimeColumn | None = None

    def __len__(self) -> int:
        return len(self.made)

    def __repr__(self) -> str:
        nothing = "; the latents carry nothing" if self.collapsed else ""
        return f"<Reconstruction of {len(self)} sequences, {PASTS[self.past]}; {self.summary}{nothing}; {self.model}>"

    @property
    def kind(self) -> str:
        """What the latents are of, in words."""
        return IN_WORDS[self.reads]

    @property
    def collapsed(self) -> bool:
        """Whether the latents carry nothing: less than 0.01 nats per step."""
        return self.nats_per_step < COLLAPSED

    @cached_property
    def x(self) -> list[Array]:
        """[T_i, D] or [T_i] in the data's units, step for step as in the data. A first observation that the model only
        reads is the data's own: NaN, or -1, where that is missing.
        """
        found = []
        for whole, x in zip(self.originals, self.made, strict=True):
            head = whole.cut(0, self._first)
            found.append(np.concatenate([_with_gaps(self._in_units(head.x), head.observed), self._in_units(x)]))
        return found

    # ---- how far off

    @property
    def error_unit(self) -> str:
        """What the totals of `error` and `guess` are."""
        return unit_of(self.description.spec)

    @cached_property
    def error(self) -> Errors:
        """Between the reconstruction and what was observed."""
        return errors_of([_rows(self._in_units(x)) for x in self.made], self._truth, self.description.spec)

    @cached_property
    def guess(self) -> Errors:
        """The same of a guess that knows no step: each number's mean over these data, or its most frequent value."""
        one = constant_guess(self._truth, self.description.spec)
        return errors_of(
            [np.broadcast_to(one, truth.shape) for truth in self._truth], self._truth, self.description.spec
        )

    @property
    def summary(self) -> str:
        """The error on one line."""
        return f"{self.error_unit} {self.error.total:.4g} (of a constant guess: {self.guess.total:.4g})"

    @property
    def _first(self) -> int:
        """The first step that is emitted."""
        return self.description.spec.unscored_steps

    @cached_property
    def _truth(self) -> list[Array]:
        """What was observed at the same steps, [T_i, D] float64, NaN where it is missing."""
        tails = [whole.cut(self._first, len(whole.x)) for whole in self.originals]
        return [
            _with_gaps(_rows(self._in_units(tail.x)), None if tail.observed is None else _rows(tail.observed) > 0)
            for tail in tails
        ]

    def _in_units(self, x: Array) -> Array:
        raw: Array = np.asarray(self.description.format.to_units(x, self.description))
        return raw

    # ---- as a table, and on the way to files

    def columns(self) -> dict[str, Array]:
        """Columns of a table with a row for each step: sequence (its id), step (from 0), the column that the data was
        ordered by, if it was (order_NAME where the table has another NAME), and each number.
        """
        x = np.concatenate([x.reshape(len(x), -1) for x in self.x])
        columns = {name: x[:, d] for d, name in enumerate(names_of(self.names, x.shape[1]))}
        return by_step(self.ids, [np.arange(len(x)) for x in self.x], columns, times=self.time_column)

    def to_frame(self) -> Any:
        """The same as a pandas data frame. Raises UserError where pandas isn't installed."""
        return to_frame(self.columns())

    @property
    def drawn(self) -> Drawn:
        """For `description.format.write`, padded to the longest."""
        lengths = np.array([len(x) for x in self.made])
        heads = [whole.cut(0, 1) for whole in self.originals] if self._first else []
        start = np.concatenate([_with_gaps(head.x, head.observed) for head in heads]) if heads else None
        uneven = None if (lengths == lengths[0]).all() else lengths
        return Drawn(_padded(self.made), _padded(self.latents), start, sources=self.originals, lengths=uneven)


def _with_gaps(values: Array, observed: Array | None) -> Array:
    """With NaN, or -1 in integers, where something is missing."""
    if observed is None:
        return values
    marked: Array = np.where(observed, values, -1 if values.dtype.kind == "i" else np.nan)
    return marked


def _rows(values: Array) -> Array:
    """[T, D] or [T] -> [T, D] float64."""
    rows: Array = values.astype(np.float64).reshape(len(values), -1)
    return rows


def _padded(sequences: Sequence[Array]) -> Array:
    """[n, T, ...], 0 behind a sequence's end."""
    out = np.zeros((len(sequences), max(map(len, sequences)), *sequences[0].shape[1:]), sequences[0].dtype)
    for row, x in zip(out, sequences, strict=True):
        row[: len(x)] = x
    return out
