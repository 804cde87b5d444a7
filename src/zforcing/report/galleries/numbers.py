"""Numbers in columns: a line for each, in the data's units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...files.reading import Array
from ...observations import DataDescription, TableFormat
from ...tasks.scores import names_of
from ..blocks import Drawing, Line
from ..charts import AREA, colour, stacked
from .base import Gallery

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 4  # columns that are drawn


@dataclass(frozen=True)
class Over:
    """What is drawn over the data in broken lines.

    name:   what it is
    first:  the step that it begins at
    values: [T, D]
    band:   two ends for each number, [T, D]; None: there is none
    """

    name: str
    first: int
    values: Array
    band: tuple[Array, Array] | None = None


def show(x: Array, description: DataDescription) -> Sequence[Any]:
    """Each column over the steps; of many the first ones."""
    return plot(columns_of(x, description), description)


def compare(x: Array, made: Array, description: DataDescription) -> Sequence[Any]:
    """The same with what was made of it."""
    return plot(columns_of(x, description), description, over=Over("rebuilt", 0, columns_of(made, description)))


def columns_of(x: Array, description: DataDescription) -> Array:
    """[T, D] float64 in the data's units, NaN where something is missing."""
    raw = np.asarray(description.format.to_units(x, description), dtype=np.float64)
    raw = np.where(raw < 0, np.nan, raw) if description.spec.kind == "categorical" else raw
    return raw.reshape(len(raw), -1)


def plot(
    raw: Array, description: DataDescription, *, over: Over | None = None, scores: Array | None = None
) -> list[Any]:
    """Columns [T, D] above each other. scores: [T], of the steps, below them; NaN where there is none."""
    kind, size = description.format, raw.shape[1]
    names = names_of(kind.names if isinstance(kind, TableFormat) else None, size)
    whole = description.spec.kind in ("categorical", "binary")
    shown = range(min(MOST, size))
    rows: list[Callable[[Axes], None]] = [
        partial(_column, values=raw[:, d], name=names[d], over=None if over is None else _of(over, d), whole=whole)
        for d in shown
    ]
    rows += [] if scores is None else [partial(_scores, nats=scores)]
    said = f"{', '.join(names[d] for d in shown)} over {len(raw)} steps" + (
        "" if over is None else f", and {over.name}"
    )
    more = [Line(f"{size - MOST} more columns aren't drawn.")] if size > MOST else []
    drawn: Drawing = stacked(rows, label=said, x="step")
    return [drawn, *more]


def _of(over: Over, d: int) -> Over:
    """Of one column."""
    band = None if over.band is None else (over.band[0][:, d], over.band[1][:, d])
    return Over(over.name, over.first, over.values[:, d], band)


def _column(axes: Axes, *, values: Array, name: str, over: Over | None, whole: bool) -> None:
    style = "steps-mid" if whole else "default"
    axes.set_title(name, loc="left")
    axes.plot(np.arange(len(values)), values, color=colour(0), drawstyle=style, label="data")
    if over is None:
        return
    steps = over.first + np.arange(len(over.values))
    if over.band is not None:
        axes.fill_between(steps, *over.band, color=AREA, linewidth=0, zorder=0.5)
    axes.plot(steps, over.values, color=colour(1), drawstyle=style, linestyle="--", label=over.name)
    axes.legend(fontsize=7, loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, borderpad=0)


def _scores(axes: Axes, *, nats: Array) -> None:
    axes.set_title("score, nats", loc="left")
    axes.plot(np.arange(len(nats)), nats, color=colour(3), marker=".", markersize=3)


NUMBERS = Gallery("table", show, samples=3, steps=256, compare=compare)
