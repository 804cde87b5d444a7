"""What the latents carry: the KL over time and over dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import UserError
from ...evaluation.latents import latents_report
from ...evaluation.latents_report import LatentsReport
from ..blocks import Item, Items, Line, Part, Section
from ..charts import lines
from ..subject import Subject

DRAWS = 2
ABOUT = (
    "Estimates by draws from the posterior. A KL of 0 is a latent that says nothing; dimensions are sorted, the one "
    "that carries most first."
)


def latents(subjects: Sequence[Subject]) -> Section:
    """Of all runs in the same charts; then what was found of each."""
    found: dict[str, LatentsReport] = {}
    parts = []
    for subject in subjects:
        try:
            data = subject.sequences
            found[subject.name] = latents_report(
                subject.model, data, num_samples=DRAWS, seed=subject.budget.seed, device=subject.trained.device
            )
            parts.append(Part(subject.name, _said(found[subject.name], subject)))
        except UserError as error:
            parts.append(Part(subject.name, [Line(str(error))]))
    charts = [Part("", [Items(_charts(found))])] if found else []
    return Section("Latents", ABOUT, [*charts, *parts])


def _charts(found: dict[str, LatentsReport]) -> list[Item]:
    by_step = {name: (np.arange(1, len(r.kl_by_step) + 1), r.kl_by_step) for name, r in found.items()}
    sorted_kl = {name: np.sort(r.kl_by_dimension)[::-1] for name, r in found.items()}
    by_dimension = {name: (np.arange(1, len(kl) + 1), kl) for name, kl in sorted_kl.items()}
    return [
        Item("KL over time", [lines(by_step, x="step", y="nats per step", label="KL by step")]),
        Item(
            "KL over dimensions",
            [lines(by_dimension, x="dimension, sorted", y="nats per sequence", label="KL by dimension")],
        ),
    ]


def _said(report: LatentsReport, subject: Subject) -> list[Any]:
    on = f"On {subject.measured_on}; {report.num_samples} draws of each."
    return [*map(Line, report.lines()), *(Line(line, "warning") for line in report.advice), Line(on)]
