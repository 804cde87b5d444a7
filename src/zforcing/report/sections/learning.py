"""Learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..blocks import Item, Items, Line, Part, Section
from ..charts import curve, drawing, legend_drawing
from ..curves import Curves, Panel, panels
from ..subject import Subject


def learning(subjects: Sequence[Subject]) -> Section:
    """Every term of the loss, of all runs in the same charts."""
    about = (
        "Of metrics.jsonl: training rows are means over the updates since the row before, validation is of the whole "
        "split with the same noise each time. Terms are as they are before their weights, and KL annealing and free "
        "bits are in the loss alone."
    )
    found, lacking = curves_of(subjects)
    drawn = panels([known for _, known in found])
    blocks: list[Any] = [Line(line) for line in lacking]
    if drawn:
        names = [name for name, _ in found]
        blocks += [_kinds(found), Items([Item("", [legend_drawing(names, drawn)]), *map(_item, drawn), *_timed(drawn)])]
    return Section("Learning curves", about, [Part("", blocks)])


def curves_of(subjects: Sequence[Subject]) -> tuple[list[tuple[str, Curves]], list[str]]:
    """The metrics of the runs that have some, by name, and why the others have none."""
    found, lacking = [], []
    for subject in subjects:
        try:
            found.append((subject.name, Curves.read(Path(subject.trained.folder))))
        except UserError as error:
            lacking.append(f"{subject.name}: no curves: {error}")
    return found, lacking


def _kinds(found: Sequence[tuple[str, Curves]]) -> Line:
    kinds = dict.fromkeys(known.kind for _, known in found if known.kind)
    return Line(f"The bound on log p(x) is: {', '.join(kinds) or 'of no validation'}. Higher is better.")


def _item(panel: Panel) -> Item:
    return Item("", [drawing(partial(curve, panel=panel, against="updates"), label=f"{panel.label}, against updates")])


def _timed(drawn: Sequence[Panel]) -> list[Item]:
    """The bound against epochs and time."""
    bound = next((panel for panel in drawn if panel.term == "nats" and "sequence" in panel.unit), drawn[0])
    return [
        Item("", [drawing(partial(curve, panel=bound, against=x), label=f"{bound.label}, against {x}")])
        for x in ("epochs", "minutes")
        if bound.has(x)
    ]
