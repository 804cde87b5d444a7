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

    sizes:     in which its recipes exist, the smallest first -> what nats are given per: sequence or half_second
    published: size -> title of the columns of numbers published on its data
    rows:      name in recipes -> name in the paper
    notes:     what a reader must know of the published numbers
    """

    name: str
    about: str
    sizes: Mapping[str, str]
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
    table = PaperTable(name=name, notes=notes, **values)
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
    per: str
    runs: tuple[Row, ...]
    published: Mapping[str, Facts]

    @property
    def nats(self) -> list[float]:
        """Per sequence, or per half second, of each run."""
        return [run.evaluation[f"nats_per_{self.per}"] for run in self.runs]

    @property
    def floor(self) -> str:
        """The least standard deviation (or scale) of its emissions: numbers under other floors are other numbers."""
        quantized = self.runs[0].settings.get("data.encoding") in ("pcm", "mulaw")
        return f"{self.runs[0].settings.get('model.min_scale' if quantized else 'model.min_std', '-')}"

    def cells(self, columns: Sequence[Column]) -> list[str]:
        """Ours: kind, nats, the same in the data's own units, KL, floor, seeds, updates; then the published numbers."""
        theirs = [column.cell(self.published[column.size].published) for column in columns]
        if not self.runs:
            return [self.label, *["-"] * (len(HEADERS) - 1), *theirs]
        first = self.runs[0].evaluation
        raw = [run.evaluation[f"raw_nats_per_{self.per}"] for run in self.runs]
        kl = np.mean([run.evaluation["kl_per_sequence"] for run in self.runs])
        updates = sorted({run.updates for run in self.runs})
        return [
            self.label,
            KINDS[first["kind"]] + ("" if first["kind"] == "exact" else f" {first['bound']}"),
            _mean(self.nats),
            "-" if None in raw else _mean(raw),
            "-" if first["kind"] == "exact" else f"{kl:.1f}",
            self.floor,
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
        said = {"row": self.key, "label": self.label, "recipe": self.recipe, "per": self.per}
        return said | {"runs": runs, "published": published}


HEADERS = ("model", "kind", "nats per {per}", "in the data's units", "KL", "floor", "seeds", "updates")


def headers(table: PaperTable, size: str) -> list[str]:
    """Of our columns."""
    return [header.format(per=table.sizes[size].replace("_", " ")) for header in HEADERS]


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
        published = {s: table.facts(s, key) for s in table.published}
        rows.append(PaperRow(key, label, recipe, table.sizes[size], runs, published))
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
    return "" if budgets in (set(), {None}) else f"Each run was given {said[0]} of training, at most."


def to_terminal(table: PaperTable, size: str, rows: Sequence[PaperRow]) -> list[Table]:
    """For a person at a terminal: ours, then the published numbers, so that each is narrow."""
    columns, ours = columns_of(table), headers(table, size)
    cells = [row.cells(columns) for row in rows]
    theirs = [[row[0], *row[len(ours) :]] for row in cells]
    return [
        _grid(f"{table.name}, {size}: ours", ours, [row[: len(ours)] for row in cells]),
        _grid(
            f"{table.name}: published", ["model", *(column.header.replace(", ", "\n") for column in columns)], theirs
        ),
    ]


def _grid(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    out = Table(title=title, box=SIMPLE_HEAD)
    for i, header in enumerate(headers):
        widest = max(map(len, [*header.split(), *(row[i] for row in rows)]))
        out.add_column(header, justify="left" if i == 0 else "right", min_width=widest)
    for row in rows:
        out.add_row(*row)
    return out


def to_page(table: PaperTable, size: str, rows: Sequence[PaperRow], *, command: str) -> str:
    """The page: the table, the protocol of each column, the notes, and what every run was and ran on."""
    columns = columns_of(table)
    titles = [*headers(table, size), *(column.header for column in columns)]
    lines = [f"# {table.name}: {table.about}", "", f"Made by `{command}`.", ""]
    lines += [f"Ours ({size}): {said(protocol_of(rows))} {budget_of(rows)}".rstrip(), ""]
    lines += [
        "Higher is better; `≥` is a lower bound. ± is the standard deviation over seeds, where there are several. The",
        "floor is the least standard deviation of an emission, in units of normalized samples (of quantized ones the",
        "least scale, in steps): likelihoods depend on it.",
        "",
    ]
    lines += [markdown_line(titles), "|---|---|" + "---:|" * (len(titles) - 2)]
    lines += [markdown_line(row.cells(columns)) for row in rows]
    lines += [
        "",
        "## Protocols",
        "",
        "What our recipes set, where nothing else was asked for (what was is in the runs' commands):",
        "",
    ]
    first = next(iter(table.rows))
    sizes = dict.fromkeys([size, *table.published])
    lines += [f"- {s}-...: {table.facts(s, first).protocol}" for s in sizes]
    lines += ["", "What our recipes for the published rows do otherwise than their sources:", ""]
    departures = {
        (s, line): None for s in table.published for key in table.rows for line in table.facts(s, key).departures
    }
    for s, line in departures:
        keys = [key for key in table.rows if line in table.facts(s, key).departures]
        lines.append(f"- {s}, {', '.join(keys)}: {line}")
    lines += ["", "## Notes", ""]
    lines += [f"- {note}" for note in table.notes]
    runs = [run for row in rows for run in row.runs]
    return "\n".join([*lines, *(["", "## Runs", "", *to_runs(runs)] if runs else [])])


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"
