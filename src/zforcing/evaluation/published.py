"""Tables of papers: our runs of the recipes of each row, beside the numbers that were published.

A table is a file, `zforcing/tables/NAME.yaml`: its rows, the sizes in which its recipes exist (recipe SIZE-ROW), and
the data that numbers were published on, each the `published` facts of one size's recipes. One column holds numbers of
one protocol: papers that scored the same data otherwise have columns of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import yaml
from rich.box import SIMPLE_HEAD
from rich.table import Table

from ..errors import UserError
from ..training.recipes import Facts, Published, read_facts, recipes
from .table import KINDS, PROTOCOL, Row, markdown_line, to_runs


@dataclass(frozen=True)
class PaperTable:
    """What a table consists of.

    sizes:     in which its recipes exist, the smallest first
    published: size -> title of the columns of numbers published on its data
    rows:      name in recipes -> name in the paper
    notes:     what a reader must know of the published numbers
    """

    name: str
    about: str
    sizes: tuple[str, ...]
    published: Mapping[str, str]
    rows: Mapping[str, str]
    notes: tuple[str, ...]

    def recipe(self, size: str, row: str) -> str:
        """The recipe of a row."""
        return f"{size}-{row}"

    def facts(self, size: str, row: str) -> Facts:
        """What that recipe says of itself."""
        return read_facts(self.recipe(size, row))


def paper_tables() -> list[str]:
    """The names of the tables."""
    folder = resources.files("zforcing") / "tables"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def read_paper_table(name: str) -> PaperTable:
    """The table of this name, whose recipes are all there."""
    values = yaml.safe_load((resources.files("zforcing") / "tables" / f"{name}.yaml").read_text("utf-8"))
    notes = tuple(" ".join(note.split()) for note in values.pop("notes"))
    table = PaperTable(name=name, sizes=tuple(values.pop("sizes")), notes=notes, **values)
    missing = {table.recipe(size, row) for size in table.sizes for row in table.rows} - set(recipes())
    assert not missing, f"table {name} names recipes that don't exist: {sorted(missing)}"
    return table


@dataclass(frozen=True)
class Column:
    """Numbers published on the data of one size, under one protocol."""

    size: str
    title: str
    protocol: str

    @property
    def header(self) -> str:
        """Of the table."""
        return f"{self.title}, {self.protocol}"

    def cell(self, number: Published | None) -> str:
        """The number, if it is one of this column's."""
        signs = {"exact": "", "lower bound": "≥ ", "estimate": "≈ "}
        return f"{signs[number.kind]}{number.value:g}" if number and number.protocol == self.protocol else "-"


def columns_of(table: PaperTable) -> list[Column]:
    """One for each data that was published on and each protocol, in the order of the rows."""
    found = []
    for size, title in table.published.items():
        numbers = [table.facts(size, row).published for row in table.rows]
        found += [Column(size, title, protocol) for protocol in dict.fromkeys(n.protocol for n in numbers if n)]
    return found


@dataclass(frozen=True)
class PaperRow:
    """A row: our runs (seeds) of its recipe, perhaps none, and what was published, by size."""

    key: str
    label: str
    recipe: str
    runs: tuple[Row, ...]
    published: Mapping[str, Facts]

    @property
    def nats(self) -> list[float]:
        """Per sequence, of each run."""
        return [run.evaluation["nats_per_sequence"] for run in self.runs]

    def cells(self, columns: Sequence[Column]) -> list[str]:
        """Ours: kind, nats, the same in the data's own units, KL, seeds, updates; then the published numbers."""
        theirs = [column.cell(self.published[column.size].published) for column in columns]
        if not self.runs:
            return [self.label, *["-"] * 6, *theirs]
        first = self.runs[0].evaluation
        raw = [run.evaluation["raw_nats_per_sequence"] for run in self.runs]
        kl = np.mean([run.evaluation["kl_per_sequence"] for run in self.runs])
        updates = sorted({run.updates for run in self.runs})
        return [
            self.label,
            KINDS[first["kind"]] + ("" if first["kind"] == "exact" else f" {first['bound']}"),
            _mean(self.nats),
            "-" if None in raw else _mean(raw),
            "-" if first["kind"] == "exact" else f"{kl:.1f}",
            str(len(self.runs)),
            "-".join(map(str, dict.fromkeys([updates[0], updates[-1]]))),
            *theirs,
        ]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        published = {
            size: None if facts.published is None else vars(facts.published) | {"source": facts.source}
            for size, facts in self.published.items()
        }
        runs = [run.to_json() | {"updates": run.updates} for run in self.runs]
        return {"row": self.key, "label": self.label, "recipe": self.recipe, "runs": runs, "published": published}


HEADERS = ["model", "kind", "nats per sequence", "in the data's units", "KL", "seeds", "updates"]


def paper_rows(table: PaperTable, size: str, found: Sequence[Row]) -> list[PaperRow]:
    """Every row of the table, with the runs of its recipe among those found.

    Raises UserError when runs of one row differ by more than their seeds: their mean would be of nothing.
    """
    rows = []
    for key, label in table.rows.items():
        recipe = table.recipe(size, key)
        runs = tuple(run for run in found if run.recipe == recipe)
        for run in runs[1:]:
            other = [name for name in run.settings if run.settings[name] != runs[0].settings.get(name)]
            if other:
                raise UserError(
                    f"{runs[0].run} and {run.run} are no seeds of one another, their {', '.join(other)} differ: "
                    "name other --runs, or take one of them away"
                )
        rows.append(PaperRow(key, label, recipe, runs, {s: table.facts(s, key) for s in table.published}))
    return rows


def protocol_of(rows: Sequence[PaperRow]) -> dict[str, Any]:
    """What all our numbers have in common; empty without any."""
    runs = [run for row in rows for run in row.runs]
    return {name: runs[0].evaluation[name] for name in PROTOCOL} if runs else {}


def said(protocol: Mapping[str, Any]) -> str:
    """The protocol of our column, in a sentence or two."""
    if not protocol:
        return "No run was found."
    first = "read and not scored" if protocol["first_observation"] == "conditioned" else "scored too"
    rate = "" if protocol["sample_rate"] is None else f", {protocol['sample_rate']} samples per second"
    std = protocol["normalization_std"]
    units = "not normalized" if std is None else f"normalized by a standard deviation of {std:.1f}"
    skipped = f", {protocol['num_skipped']} more left out as unreadable" if protocol["num_skipped"] else ""
    return (
        f"{protocol['num_sequences']} sequences of the {protocol['split']} split{skipped}, {protocol['num_steps']} "
        f"steps, {protocol['num_dims']} numbers{rate}, {units}; the first step is {first}. "
        f"Fingerprint {protocol['data_fingerprint']}."
    )


def budget_of(rows: Sequence[PaperRow]) -> str:
    """How long our runs were allowed to train, if all of them as long."""
    budgets = {run.settings.get("training.max_minutes") for row in rows for run in row.runs}
    said = ["none" if budget is None else f"{budget:g} minutes" for budget in sorted(budgets, key=lambda b: b or 0)]
    if len(budgets) > 1:
        return f"The runs' limits of time differ: {', '.join(said)}."
    return "" if budgets in (set(), {None}) else f"Each run was given {said[0]} of training."


def to_terminal(table: PaperTable, rows: Sequence[PaperRow]) -> Table:
    """For a person at a terminal."""
    out = Table(title=f"{table.name}: {table.about}", box=SIMPLE_HEAD)
    columns = columns_of(table)
    cells = [row.cells(columns) for row in rows]
    for i, header in enumerate([*HEADERS, *(column.header for column in columns)]):
        widest = max(map(len, [*header.split(), *(row[i] for row in cells)]))
        out.add_column(header, justify="left" if i < 2 else "right", min_width=widest)
    for row in cells:
        out.add_row(*row)
    return out


def to_page(table: PaperTable, size: str, rows: Sequence[PaperRow], *, command: str) -> str:
    """The page: the table, the protocol of each column, the notes, and what every run was and ran on."""
    columns = columns_of(table)
    headers = [*HEADERS, *(column.header for column in columns)]
    lines = [f"# {table.name}: {table.about}", "", f"Made by `{command}`.", ""]
    lines += [f"Ours ({size}): {said(protocol_of(rows))} {budget_of(rows)}".rstrip(), ""]
    lines += [
        "Higher is better; `≥` is a lower bound. ± is the standard deviation over seeds, where there are several.",
        "",
    ]
    lines += [markdown_line(headers), "|---|---|" + "---:|" * (len(headers) - 2)]
    lines += [markdown_line(row.cells(columns)) for row in rows]
    lines += ["", "## Protocols", ""]
    first = next(iter(table.rows))
    lines += [f"- ours: {table.facts(size, first).protocol}"]
    lines += [f"- our recipes {s}-...: {table.facts(s, first).protocol}" for s in table.published]
    lines += ["", "## Notes", ""]
    lines += [f"- {note}" for note in table.notes]
    runs = [run for row in rows for run in row.runs]
    return "\n".join([*lines, *(["", "## Runs", "", *to_runs(runs)] if runs else [])])


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"
