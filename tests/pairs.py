"""Which combinations of a test's arguments are enough: each two values together once, instead of all with all."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Any, TypeVar

Row = TypeVar("Row", bound=Mapping[str, Any])


def pairwise(rows: Sequence[Row], *, apart: Collection[tuple[str, str]] = ()) -> list[Row]:
    """A few of these rows of named values, in which each value occurs, and each two that any row has together do.

    apart: names of which each value is to occur, but not with each of the other's. Greedy, in a fixed random order: few
    rows, if not the fewest, and always the same ones.
    """
    wanted = [_values_and_pairs(row, apart) for row in rows]
    order = random.Random(0).sample(range(len(rows)), len(rows))
    found: set[Any] = set()
    chosen: set[int] = set()
    most_new = [len(of) for of in wanted]  # in a row, as far as was counted: there is only ever less
    for least in range(max(most_new, default=0), 0, -1):  # first the rows with the most that is new
        for i in order:
            if most_new[i] < least:
                continue
            most_new[i] = len(wanted[i] - found)
            if most_new[i] >= least:
                found |= wanted[i]
                chosen.add(i)
    return [row for i, row in enumerate(rows) if i in chosen]


def _values_and_pairs(row: Mapping[str, Any], apart: Collection[tuple[str, str]]) -> set[Any]:
    # names as they are, objects as the objects that they are: they needn't be hashable
    values = [(name, value if isinstance(value, str) else id(value)) for name, value in row.items()]
    return {*values, *((a, b) for a, b in combinations(values, 2) if (a[0], b[0]) not in apart)}
