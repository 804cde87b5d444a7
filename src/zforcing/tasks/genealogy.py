"""Whole draws from a smoother's particles, traced back through resampling.

The K particles of the last step go back to few ancestors, and after very many resamplings to one. The draws of a gap
are therefore the K particles of the first resampling that is `lag` steps or more behind it, which have seen all that
matters for it if the lag is long (G. Kitagawa, "Monte Carlo filter and smoother", 1996). Going backwards, draw k goes
on as the ancestor that it has, as long as each particle is taken once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..files.reading import Array
from .smoothing import Histories


def lines_of(histories: Histories, row: int, has_gap: Array, *, lag: int | None) -> Array:
    """Which particle of each step the K draws of a sequence are, [T_i, K].

    Args:
        histories: Of a batch.
        row: Of the sequence in it.
        has_gap: [T_i] bool, the steps that have gaps; those of one gap are traced together.
        lag: In steps; None: the draws are the whole histories of the last particles.
    """
    length, K = len(has_gap), histories.final.shape[0]
    events = np.array([t for t, of in histories.resampled.items() if of[row] and t < length - 1], dtype=np.int64)
    lines = np.empty((length, K), dtype=np.int64)
    end = len(histories.x) - 1  # a shorter sequence may have been resampled at its last step
    head, at = _back(histories, row, histories.final[:, row], end, length - 1), length - 1  # the draws at step `at`
    line, t = head, at  # those, traced back to step t
    for first, last in _runs(has_gap):
        late = np.searchsorted(events, last + lag) if lag is not None else len(events)
        if late < len(events) and events[late] < at:
            head, at = _each_once(_back(histories, row, head, at, events[late] + 1)), int(events[late]) + 1
            line, t = head, at
        for step in range(last, first - 1, -1):
            line, t = _back(histories, row, line, t, step), step
            lines[step] = line
    return lines


def effective_of(line: Array) -> float:
    """How many equally frequent draws K draws [K] are worth: 1 / the sum of squared shares of each."""
    counts = np.unique(line, return_counts=True)[1]
    return float(len(line) ** 2 / np.square(counts).sum())


def _runs(has_gap: Array) -> Iterator[tuple[int, int]]:
    """First and last step of each gap, and of each step without, from the last to the first."""
    last = len(has_gap) - 1
    while last >= 0:
        first = last
        while has_gap[last] and first > 0 and has_gap[first - 1]:
            first -= 1
        yield first, last
        last = first - 1


def _back(histories: Histories, row: int, line: Array, start: int, stop: int) -> Array:
    """The particles of step `stop` that those of step `start` descend from."""
    for t in range(start - 1, stop - 1, -1):
        if t in histories.ancestors:
            line = histories.ancestors[t][line, row]
    return line


def _each_once(line: Array) -> Array:
    """Every particle in one place: where it stands first, and those that stand nowhere in the places of repeats."""
    first = np.zeros(len(line), dtype=bool)
    first[np.unique(line, return_index=True)[1]] = True
    whole = line.copy()
    whole[~first] = np.setdiff1d(np.arange(len(line)), line)
    return whole
