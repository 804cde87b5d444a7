"""Learning curves of a paper's table: the validations of all its runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..evaluation.paper_rows import PaperRow
from .charts import png_of_curves
from .curves import Against, Panel, Series


def png_of_rows(rows: Sequence[PaperRow]) -> bytes | None:
    """The bound on log p(x) of the validation split against updates and CPU time, a colour a row, a line a run; None
    without validations.
    """
    drawn = [row for row in rows if any(run.curve for run in row.first)]
    series = [_series(place, row) for place, row in enumerate(drawn)]
    if not drawn:
        return None
    panel = Panel("nats", "nats per sequence", [line for of_row in series for line in of_row])
    return png_of_curves([row.label for row in drawn], [panel], ["updates", "cpu_minutes"], row_height=4.2)


def _series(place: int, row: PaperRow) -> list[Series]:
    lines = []
    for run in row.first:
        updates = np.array([one.step for one in run.curve], dtype=np.float64)
        seconds = [math.nan if one.cpu_seconds is None else one.cpu_seconds for one in run.curve]
        minutes = np.array(seconds, dtype=np.float64) / 60
        nats = np.array([one.nats_per_sequence for one in run.curve], dtype=np.float64)
        x: dict[Against, np.ndarray] = {"updates": updates, "cpu_minutes": minutes}
        lines.append(Series(place, "validation", x, nats))
    return [line for line in lines if len(line.y)]
