"""Tables of papers: our runs of the recipes of each row, next to the published numbers.

A table is a file, `evaluation/tables/NAME.yaml`: its rows, the sizes in which its recipes exist (recipe SIZE-ROW), and
the data that numbers were published on, each the `published` facts of one size's recipes. One column holds numbers of
one protocol: papers that scored the same data otherwise have columns of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from typing import Any

import yaml

from ..training.runs.recipes import Facts, Published, names, read_facts
from .evaluation import Evaluation
from .measures import MEASURES, Measure


@dataclass(frozen=True)
class PublishedModel:
    """A row of only published numbers, of a model that has no recipe.

    label: the model's name; source: the paper; published: size -> its number
    """

    label: str
    source: str
    published: Mapping[str, Published]


@dataclass(frozen=True)
class KnownData:
    """What evaluations must say of a published test split. None: anything."""

    data: str | None = None
    num_steps: int | None = None
    num_dims: int | None = None

    def differences(self, evaluation: Evaluation) -> list[str]:
        """In what an evaluation was on other data, such as `num_steps 12, not 4725`."""
        values = [(f.name, getattr(evaluation, f.name), getattr(self, f.name)) for f in fields(self)]
        return [f"{name} {is_now}, not {known}" for name, is_now, known in values if known not in (None, is_now)]


NOTHING_KNOWN = KnownData()


@dataclass(frozen=True)
class PaperTable:
    """What a table consists of.

    sizes:             in which its recipes exist, the smallest first -> what numbers are given in, of `MEASURES`
    published_data:    size -> title of the columns of numbers published on its data
    rows:              name in recipes -> name in the paper
    notes:             what a reader must know of the published numbers
    published_models:  rows of only published numbers
    bounds:            that our runs are evaluated by, as files name them (elbo, iwae25); the first one comes with KL
                       and seeds
    measured_by:       size -> bound -> the rows that it is taken of, where that isn't all
    without_published: sizes without published numbers, since those are of other sequences
    test:              size -> what evaluations say of its test split, where the data is one that everybody has
    """

    name: str
    about: str
    sizes: Mapping[str, str]
    published_data: Mapping[str, str]
    rows: Mapping[str, str]
    notes: tuple[str, ...]
    published_models: tuple[PublishedModel, ...] = ()
    bounds: tuple[str, ...] = ("elbo",)
    measured_by: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    without_published: tuple[str, ...] = ()
    test: Mapping[str, KnownData] = field(default_factory=dict)

    def recipe(self, size: str, row: str) -> str:
        """The recipe of a row."""
        return f"{size}-{row}"

    def recipes_by(self, size: str) -> dict[str, list[str]]:
        """A bound -> the recipes that it is taken of, where those aren't all of a size."""
        return {b: [self.recipe(size, row) for row in rows] for b, rows in self.measured_by.get(size, {}).items()}

    def facts(self, size: str, row: str) -> Facts:
        """The facts of that recipe."""
        return read_facts(self.recipe(size, row))

    def measure(self, size: str) -> Measure:
        """The unit of the numbers."""
        return MEASURES[self.sizes[size]]

    def known(self, size: str) -> KnownData:
        """What is known of a size's test split."""
        return self.test.get(size, NOTHING_KNOWN)

    def published_sizes(self, size: str) -> list[str]:
        """The sizes whose published numbers are shown with this one: its own, or all where it has none."""
        if size in self.without_published:
            return []
        return [size] if size in self.published_data else list(self.published_data)


def paper_tables() -> list[str]:
    """The names of the tables."""
    folder = resources.files("zforcing.evaluation") / "tables"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def read_paper_table(name: str) -> PaperTable:
    """The table of this name, whose recipes are all there."""
    values = yaml.safe_load((resources.files("zforcing.evaluation") / "tables" / f"{name}.yaml").read_text("utf-8"))
    notes = tuple(" ".join(note.split()) for note in values.pop("notes"))
    models = tuple(
        PublishedModel(row["label"], row["source"], {s: Published(**number) for s, number in row["published"].items()})
        for row in values.pop("published_models", ())
    )
    test = {size: KnownData(**facts) for size, facts in values.pop("test", {}).items()}
    lists: dict[str, Any] = {key: tuple(values.pop(key)) for key in ("bounds", "without_published") if key in values}
    table = PaperTable(name=name, notes=notes, published_models=models, test=test, **lists, **values)
    missing = {table.recipe(size, row) for size in table.sizes for row in table.rows} - set(names())
    measured = {(b, row) for by_bound in table.measured_by.values() for b, rows in by_bound.items() for row in rows}
    wrong = {pair for pair in measured if pair[0] not in table.bounds or pair[1] not in table.rows}
    assert table.measured_by.keys() <= table.sizes.keys(), f"table {name}: measured_by names other sizes"
    assert not wrong, f"table {name}: measured_by names {wrong}"
    assert not missing, f"table {name} names recipes that don't exist: {sorted(missing)}"
    return table
