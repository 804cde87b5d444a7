"""The sequences that a model explains worst, and best."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ...tasks.score import score
from ..blocks import Item, Items, Line, Part, Section
from ..galleries import gallery_of
from ..subject import Subject, attempt

DRAWS = 4


def extremes(subjects: Sequence[Subject]) -> Section:
    """By nats per step, so that length isn't what is found."""
    about = "By their score in nats per step. The worst are where to look for what is wrong, with data or model."
    return Section("Worst and best sequences", about, [Part(s.name, attempt(partial(_found, s))) for s in subjects])


def _found(subject: Subject) -> list[Any]:
    gallery, description = gallery_of(subject.description.format.name), subject.description
    data = subject.sequences
    scores = score(subject.model, data, kind="smoothed", particles=DRAWS, seed=subject.budget.seed)
    steps = np.array([max(1, np.count_nonzero(~np.isnan(nats))) for nats in scores.nats])
    per_step = scores.per_sequence / steps
    order = [int(i) for i in np.argsort(per_step) if np.isfinite(per_step[i])]
    shown = max(1, min(8 if gallery.narrow else 2, len(order) // 2))
    blocks: list[Any] = []
    for title, chosen in (("Worst", order[:shown]), ("Best", order[::-1][:shown])):
        items = [
            Item(
                f"{subject.name_of(i)}: {per_step[i]:.3g}",
                gallery.show(data.examples[i].x, description),
            )
            for i in chosen
        ]
        blocks += [Line(f"{title}, with nats per step:"), Items(items, gallery.narrow)]
    draws = "" if scores.relation == "exact" else f", by {DRAWS} draws"
    said = f"Scores: {scores.relation}{draws}, of a {scores.unit}. Of {subject.measured_on}."
    return [*blocks, Line(said)]
