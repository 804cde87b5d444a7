"""Tables of papers: our runs of the recipes of each row, beside the numbers that were published.

A table is a file, `zforcing/tables/NAME.yaml`: its rows, the sizes in which its recipes exist (recipe SIZE-ROW), and
the data that numbers were published on, each the `published` facts of one size's recipes. One column holds numbers of
one protocol: papers that scored the same data otherwise have columns of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import yaml

from ..training.runs.recipes import Facts, Published, read_facts, recipes
from .measures import MEASURES, Measure


@dataclass(frozen=True)
class Other:
    """A row that we have no recipe for. published: size -> its number; source: the paper."""

    label: str
    source: str
    published: Mapping[str, Published]


@dataclass(frozen=True)
class PaperTable:
    """What a table consists of.

    sizes:     in which its recipes exist, the smallest first -> what numbers are given in, of `MEASURES`
    published: size -> title of the columns of numbers published on its data
    alone:     sizes beside whose numbers no published ones stand, since those are of other sequences
    test:      size -> what evaluations say of its test split, where the data is one that everybody has
    rows:      name in recipes -> name in the paper
    others:    rows of published numbers alone
    bounds:    that our runs are evaluated by, as files name them (elbo, iwae25); the first one comes with KL and seeds
    notes:     what a reader must know of the published numbers
    """

    name: str
    about: str
    sizes: Mapping[str, str]
    published: Mapping[str, str]
    rows: Mapping[str, str]
    notes: tuple[str, ...]
    others: tuple[Other, ...] = ()
    bounds: tuple[str, ...] = ("elbo",)
    alone: tuple[str, ...] = ()
    test: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def recipe(self, size: str, row: str) -> str:
        """The recipe of a row."""
        return f"{size}-{row}"

    def facts(self, size: str, row: str) -> Facts:
        """What that recipe says of itself."""
        return read_facts(self.recipe(size, row))

    def measure(self, size: str) -> Measure:
        """What numbers are given in."""
        return MEASURES[self.sizes[size]]

    def beside(self, size: str) -> list[str]:
        """The sizes whose published numbers stand beside ours of this one: its own, or all where it has none."""
        if size in self.alone:
            return []
        return [size] if size in self.published else list(self.published)


def paper_tables() -> list[str]:
    """The names of the tables."""
    folder = resources.files("zforcing.evaluation") / "tables"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def read_paper_table(name: str) -> PaperTable:
    """The table of this name, whose recipes are all there."""
    values = yaml.safe_load((resources.files("zforcing.evaluation") / "tables" / f"{name}.yaml").read_text("utf-8"))
    notes = tuple(" ".join(note.split()) for note in values.pop("notes"))
    others = tuple(
        Other(row["label"], row["source"], {size: Published(**number) for size, number in row["published"].items()})
        for row in values.pop("others", ())
    )
    bounds, alone = tuple(values.pop("bounds", ("elbo",))), tuple(values.pop("alone", ()))
    table = PaperTable(name=name, notes=notes, others=others, bounds=bounds, alone=alone, **values)
    missing = {table.recipe(size, row) for size in table.sizes for row in table.rows} - set(recipes())
    assert not missing, f"table {name} names recipes that don't exist: {sorted(missing)}"
    return table
