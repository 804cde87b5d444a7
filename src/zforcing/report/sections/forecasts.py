"""Forecasts of real sequences beside what came, and the score of each step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ...data import InMemory
from ...errors import UserError
from ...files.reading import Array
from ...models import of_sequences
from ...observations import DataDescription, TableFormat
from ...tasks.forecast import forecast
from ...tasks.score import score
from ..blocks import Item, Items, Line, Part, Section
from ..galleries.numbers import Over, columns_of, plot
from ..subject import Subject, attempt

SHOWN = 2
MOST_AHEAD = 48
FUTURES, PARTICLES = 100, 64
LEVEL = 0.9


def forecasts(subjects: Sequence[Subject]) -> Section:
    """Of sequences of numbers; of others there is nothing to draw."""
    about = (
        f"The last steps held out and forecast from those before: the median and the interval that holds {LEVEL:.0%}, "
        "each number by itself. Below, the score of each step given those before it: low is surprising."
    )
    return Section("Forecasts and scores", about, [Part(s.name, attempt(partial(_parts, s))) for s in subjects])


def _parts(subject: Subject) -> list[Any]:
    description, seed = subject.description, subject.budget.seed
    if not isinstance(description.format, TableFormat) or description.spec.kind == "categorical":
        raise UserError(f"drawn of columns of numbers; this run's data is {_called(subject)}")
    model, data = of_sequences(subject.model, needed_by="a forecast"), subject.first(SHOWN)
    steps = min(MOST_AHEAD, int(data.lengths.min()) // 4)
    if steps < 1:
        raise UserError("the sequences are too short to hold steps out")
    pasts = InMemory([example.cut(0, len(example.x) - steps) for example in data.examples], data.ids)
    pasts.description = data.description
    inputs = _inputs(data, steps, description)
    ahead = forecast(model, pasts, steps=steps, num_samples=FUTURES, particles=PARTICLES, seed=seed, inputs=inputs)
    scores = score(model, data, particles=PARTICLES, seed=seed)
    items = []
    for i, (interval, median) in enumerate(zip(ahead.interval(LEVEL), ahead.quantile(0.5), strict=True)):
        raw = columns_of(data.examples[i].x, description)
        over = Over("forecast", len(raw) - steps, median, (interval.low, interval.high))
        items.append(Item(subject.name_of(i), plot(raw, description, over=over, scores=scores.nats[i])))
    said = f"{steps} steps ahead; {ahead.kind}. Scores: {scores.relation}, of a {scores.unit}; seed {seed}."
    few = [Line(scores.remark, "warning")] if scores.remark else []
    return [Items(items), Line(said), *few]


def _inputs(data: InMemory, steps: int, description: DataDescription) -> list[Array] | None:
    """The known inputs of the last steps, in the data's units."""
    known = [example.inputs[-steps:] for example in data.examples if example.inputs is not None]
    scaling = description.input_normalization
    return [u if scaling is None else scaling.invert(u) for u in known] or None


def _called(subject: Subject) -> str:
    kind = subject.description.format.name
    return "categories" if kind == "table" else kind
