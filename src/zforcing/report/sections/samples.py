"""What a model draws."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ...models import SequenceModel
from ...observations import Drawn
from ...tasks.sample import pick_starts, sample
from ..blocks import Item, Items, Line, Part, Section
from ..galleries import gallery_of
from ..subject import Subject, attempt


def samples(subjects: Sequence[Subject]) -> Section:
    """Some of each run, side by side."""
    about = "Drawn from the model: latents from their prior, observations from the emission."
    return Section("Samples", about, [Part(s.name, attempt(partial(_drawn, s))) for s in subjects])


def _drawn(subject: Subject) -> list[Any]:
    gallery, description, seed = gallery_of(subject.description.format.name), subject.description, subject.budget.seed
    steps = _steps(subject, gallery.steps)
    start = pick_starts(subject.model, gallery.samples, seed=seed) if description.spec.conditions_on_first else None
    inputs = None if steps is None else subject.inputs(gallery.samples, steps=steps)
    made = sample(subject.model, gallery.samples, steps=steps, seed=seed, start=start, inputs=inputs)
    whole = Drawn.of(made.x, made.latents, start=start).whole
    items = [Item(f"sample {i}", gallery.show(x, description)) for i, x in enumerate(whole)]
    more = (
        "; the first observation is one of the training data, which the model conditions on"
        if start is not None
        else ""
    )
    length = "" if steps is None else f" of {steps} steps"
    return [Items(items, gallery.narrow), Line(f"{len(whole)} samples{length}; seed {seed}{more}.")]


def _steps(subject: Subject, most: int | None) -> int | None:
    """As long as samples are by default, up to what the page shows; None of a model without time."""
    if not isinstance(subject.model, SequenceModel):
        return None
    usual = subject.description.format.default_steps(subject.description)
    known = [usual, subject.budget.steps, *([] if most is None else [most])]
    if subject.description.spec.inputs and subject.data is not None:
        known.append(int(subject.data.lengths.max()) - subject.description.spec.unscored_steps)
    return max(1, min(known))
