"""Reconstructions, and the way from one sequence to another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ...errors import UserError
from ...tasks.interpolate import interpolate
from ...tasks.reconstruct import reconstruct
from ..blocks import Item, Items, Line, Part, Section
from ..galleries import gallery_of
from ..subject import Subject, attempt

SHOWN = 3
BETWEEN = 7


def rebuilt(subjects: Sequence[Subject]) -> Section:
    """Sequences beside what is rebuilt of them from their latents alone."""
    about = (
        "Each sequence, and what the model makes of its latents, the posterior's means: the likeliest observation at "
        "each step given those that it rebuilt before (free-running)."
    )
    return Section("Reconstructions", about, [Part(s.name, attempt(partial(_rebuilt, s))) for s in subjects])


def _rebuilt(subject: Subject) -> list[Any]:
    gallery, description = gallery_of(subject.description.format.name), subject.description
    data = subject.first(8 if gallery.narrow else SHOWN)
    made = reconstruct(subject.model, data, seed=subject.budget.seed, device=subject.trained.device)
    first = description.spec.unscored_steps
    items = []
    for i, (original, x) in enumerate(zip(made.originals, made.made, strict=True)):
        whole = np.concatenate([original.x[:first], x])
        both = gallery.both(original.x, whole, description)
        items.append(
            Item(f"{subject.name_of(i)}: data, then rebuilt" if gallery.compare is None else subject.name_of(i), both)
        )
    nothing = [Line("the latents carry nothing (posterior collapse)", "warning")] if made.collapsed else []
    said = Line(f"{made.summary}; {made.kind}; {len(made)} sequences.")
    return [Items(items, gallery.narrow), said, *nothing]


def between(subjects: Sequence[Subject]) -> Section:
    """The first two sequences, and what is between their latents."""
    about = "From one sequence to another: latents mixed step by step, decoded greedily. Both ends are reconstructions."
    return Section("Interpolation", about, [Part(s.name, attempt(partial(_between, s))) for s in subjects])


def _between(subject: Subject) -> list[Any]:
    gallery, description = gallery_of(subject.description.format.name), subject.description
    data = subject.sequences
    if len(data) < 2:
        raise UserError("there is one sequence, and nothing between it and another")
    ends = [description.format.whole(data.examples[i]) for i in (0, 1)]
    made = interpolate(
        subject.model,
        *ends,
        num=BETWEEN if gallery.narrow or description.format.is_text else 3,
        steps=description.format.steps_between(ends, description),
        seed=subject.budget.seed,
    )
    items = [
        Item(f"{1 - w:.0%} {subject.name_of(0)}, {w:.0%} {subject.name_of(1)}", gallery.show(x, description))
        for w, x in zip(made.weights, made.drawn.whole, strict=True)
    ]
    return [Items(items, gallery.narrow), *([Line(made.warning, "warning")] if made.warning else [])]
