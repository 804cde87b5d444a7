"""A paper's table with our runs, for a terminal and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from ..errors import UserError
from ..training.runs.recipes import Published, read_recipe
from .measures import Measure
from .paper import PaperTable
from .rows import PROTOCOL, Row
from .side_by_side import markdown_line, to_runs


@dataclass(frozen=True)
class Column:
    """Numbers published on the data of one size, under one protocol."""

    size: str
    title: str
    protocol: str
    measure: Measure

    @property
    def header(self) -> str:
        """Of the table."""
        return f"{self.title}, {self.protocol}"

    def cell(self, number: Published | None) -> str:
        """The number, if it is one of this column's."""
        fits = number is not None and number.protocol == self.protocol
        if not number or not fits:
            return "-"
        return f"{self.measure.sign(number.kind)}{number.value:{'.0f' if number.value == int(number.value) else '.2f'}}"


def columns_of(table: PaperTable, size: str) -> list[Column]:
    """One for each data that was published on and each protocol, in the order of the rows."""
    found = []
    for s in table.beside(size):
        numbers = [table.facts(s, row).published for row in table.rows]
        numbers += [other.published.get(s) for other in table.others]
        protocols = dict.fromkeys(n.protocol for n in numbers if n)
        found += [Column(s, table.published[s], protocol, table.measure(s)) for protocol in protocols]
    return found


@dataclass(frozen=True)
class PaperRow:
    """A row: our runs (seeds) of its recipe by each bound, perhaps none, and what was published, by size."""

    key: str
    label: str
    recipe: str
    measure: Measure
    runs: Mapping[str, tuple[Row, ...]]
    published: Mapping[str, Published | None]
    source: Mapping[str, str]

    @property
    def first(self) -> tuple[Row, ...]:
        """The runs, with what the first bound says of them."""
        return next(iter(self.runs.values()), ())

    def numbers(self, bound: str) -> list[float]:
        """In the table's measure, of each run."""
        return [self.measure.of(run.evaluation) for run in self.runs.get(bound, ())]

    @property
    def floor(self) -> str:
        """The least standard deviation (or scale) of its emissions: numbers under other floors are other numbers."""
        if self.first[0].evaluation["sample_rate"] is None:
            return "-"
        quantized = self.first[0].settings.get("data.encoding") in ("pcm", "mulaw")
        return f"{self.first[0].settings.get('model.min_scale' if quantized else 'model.min_std', '-')}"

    def ours(self) -> list[str]:
        """Name, kind, number, the same in the data's own units, KL, floor, seeds, updates; then by the other bounds."""
        _, *bounds = self.runs or ("elbo",)
        if not self.first:
            return [self.label, *["-"] * (len(HEADERS) - 1 + len(bounds))]
        evaluation, measure = self.first[0].evaluation, self.measure
        raw = [measure.raw_of(run.evaluation) for run in self.first]
        kl = np.mean([measure.kl_of(run.evaluation) for run in self.first])
        exact = evaluation["kind"] == "exact"
        updates = sorted({run.updates for run in self.first})
        return [
            self.label,
            "exact" if exact else f"{measure.sign(evaluation['kind'])}{evaluation['bound']}",
            _mean(self.numbers(next(iter(self.runs))), measure),
            "-" if None in raw else _mean([value for value in raw if value is not None], measure),
            "-" if exact else f"{kl:{measure.digits}}",
            self.floor,
            str(len(self.first)),
            "-".join(map(str, dict.fromkeys([updates[0], updates[-1]]))),
            *(self._by(bound) for bound in bounds),
        ]

    def theirs(self, columns: Sequence[Column]) -> list[str]:
        """The published numbers."""
        return [column.cell(self.published.get(column.size)) for column in columns]

    def _by(self, bound: str) -> str:
        runs = self.runs[bound]
        return self.measure.sign(runs[0].evaluation["kind"]) + _mean(self.numbers(bound), self.measure) if runs else "-"

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        published = {
            size: None if number is None else vars(number) | {"source": self.source[size]}
            for size, number in self.published.items()
        }
        runs = [run.to_json() | {"updates": run.updates} for run in self.first]
        said = {"row": self.key, "label": self.label, "recipe": self.recipe, "measure": self.measure.field}
        by = {bound: [run.evaluation for run in runs] for bound, runs in list(self.runs.items())[1:]}
        return said | {"runs": runs, "other_bounds": by, "published": published}


HEADERS = ("model", "kind", "{measure}", "in the data's units", "KL", "floor", "seeds", "updates")


def headers(table: PaperTable, size: str) -> list[str]:
    """Of our columns."""
    measure = table.measure(size)
    more = [f"{measure.title}, {bound}" for bound in table.bounds[1:]]
    return [header.format(measure=measure.title) for header in HEADERS] + more


def paper_rows(table: PaperTable, size: str, found: Mapping[str, Sequence[Row]]) -> list[PaperRow]:
    """Every row of the table, with the runs of its recipe among those found by each bound.

    Raises UserError when runs of one row differ by more than their seeds: their mean would be of nothing.
    """
    rows = []
    for key, label in table.rows.items():
        recipe = table.recipe(size, key)
        runs = {b: tuple(run for run in found.get(b, ()) if run.recipe == recipe) for b in table.bounds}
        for run in runs[table.bounds[0]]:
            check_data(recipe, run.settings)
        _check_seeds(runs[table.bounds[0]])
        facts = {s: table.facts(s, key) for s in table.published}
        published, source = {s: f.published for s, f in facts.items()}, {s: f.source for s, f in facts.items()}
        rows.append(PaperRow(key, label, recipe, table.measure(size), runs, published, source))
    for other in table.others:
        source = dict.fromkeys(other.published, other.source)
        nothing: dict[str, tuple[Row, ...]] = dict.fromkeys(table.bounds, ())
        rows.append(PaperRow("", other.label, "", table.measure(size), nothing, other.published, source))
    return rows


def check_data(recipe: str, settings: Mapping[str, Any]) -> None:
    """Raises UserError for a run of a recipe on data of another name, or text in other tokens: the table says what its
    recipes are of, and a perplexity per character is no perplexity per word.
    """
    of_recipe = read_recipe(recipe)["data"]
    for name in ("name", "tokens"):
        wanted, found = of_recipe.get(name), settings.get(f"data.{name}")
        if wanted is not None and found != wanted:
            raise UserError(
                f"recipe {recipe} is of data.{name} {wanted}, and numbers on {found} can't stand in its row: leave out "
                f"--data.{name}, or compare runs of your own by zforcing table RUN RUN"
            )


def _check_seeds(runs: Sequence[Row]) -> None:
    for run in runs[1:]:
        other = [name for name in run.settings if run.settings[name] != runs[0].settings.get(name)]
        if other:
            raise UserError(
                f"{runs[0].run} and {run.run} are no seeds of one another, their {', '.join(other)} differ: "
                "name other --runs, or take one of them away"
            )


def warning(table: PaperTable, size: str, rows: Sequence[PaperRow]) -> str:
    """That our runs were measured on other sequences than the size's; empty if they weren't."""
    wanted = table.test.get(size, {})
    found = [run.evaluation for row in rows for run in row.first]
    other = [f"{name} {e[name]}, not {wanted[name]}" for e in found for name in wanted if e[name] != wanted[name]]
    if size in table.test:
        other += [e["remark"] for e in found if e["remark"]]  # of what was left out or changed
    if not other:
        return ""
    return (
        f"The runs' data is other than {size}'s ({'; '.join(dict.fromkeys(other))}): published numbers have "
        f"nothing to do with it."
    )


def protocol_of(rows: Sequence[PaperRow]) -> dict[str, Any]:
    """What all our numbers have in common; empty without any."""
    runs = [run for row in rows for run in row.first]
    return {name: runs[0].evaluation[name] for name in PROTOCOL} if runs else {}


def said(protocol: Mapping[str, Any]) -> str:
    """The protocol of our column, in a sentence or two."""
    if not protocol:
        return "No run was found."
    first = "read and not scored" if protocol["first_observation"] == "conditioned" else "scored too"
    rate = "" if protocol["sample_rate"] is None else f", {protocol['sample_rate']} samples per second"
    std, unknown = protocol["normalization_std"], protocol["num_unknown"]
    units = "not normalized" if std is None else f"normalized by a standard deviation of {std:.1f}"
    skipped = f", {protocol['num_skipped']} more left out as unreadable" if protocol["num_skipped"] else ""
    symbols = "" if unknown is None else f", {unknown} of them unknown symbols"
    return (
        f"data {protocol['data']}, {protocol['num_sequences']} sequences of the {protocol['split']} split{skipped}, "
        f"{protocol['num_steps']} steps{symbols}, {protocol['num_dims']} numbers{rate}, {units}; the first step is "
        f"{first}. Fingerprint {protocol['data_fingerprint']}."
    )


def budget_of(rows: Sequence[PaperRow]) -> str:
    """How long our runs were allowed to train, if all of them as long."""
    budgets = {run.settings.get("training.max_minutes") for row in rows for run in row.first}
    said = ["none" if budget is None else f"{budget:g} minutes" for budget in sorted(budgets, key=lambda b: b or 0)]
    if len(budgets) > 1:
        return f"The runs' limits of time differ: {', '.join(said)}."
    return "" if budgets in (set(), {None}) else f"Each run was given {said[0]} of training, at most."


def _filled(table: PaperTable, size: str, rows: Sequence[PaperRow]) -> tuple[list[str], list[list[str]]]:
    """Our columns that hold something, titles and cells."""
    titles, cells = headers(table, size), [row.ours() for row in rows]
    ours = any(row.first for row in rows)
    kept = [i for i in range(len(titles)) if not ours or any(row[i] != "-" for row in cells)]
    return [titles[i] for i in kept], [[row[i] for i in kept] for row in cells]


def to_terminal(table: PaperTable, size: str, rows: Sequence[PaperRow]) -> list[Table]:
    """For a person at a terminal: ours, then the published numbers, so that each is narrow."""
    columns = [] if warning(table, size, rows) else columns_of(table, size)
    titles, ours = _filled(table, size, rows)
    trained = [cells for cells, row in zip(ours, rows, strict=True) if row.recipe]
    theirs = [[row.label, *row.theirs(columns)] for row in rows]
    named = ["model", *(column.header.replace(", ", "\n") for column in columns)]
    return [
        _grid(f"{table.name}, {size}: ours", titles, trained),
        *([_grid(f"{table.name}: published", named, theirs)] if columns else []),
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
    warned = warning(table, size, rows)
    columns = [] if warned else columns_of(table, size)
    titles, ours = _filled(table, size, rows)
    titles += [column.header for column in columns]
    lines = [f"# {table.name}: {table.about}", "", f"Made by `{command}`.", ""]
    lines += [f"Ours ({size}): {said(protocol_of(rows))} {budget_of(rows)}".rstrip(), ""]
    lines += [warned, ""] if warned else []
    lines += [*_legend(table, size, rows), ""]
    lines += [markdown_line(titles), "|---|---|" + "---:|" * (len(titles) - 2)]
    lines += [markdown_line([*cells, *row.theirs(columns)]) for cells, row in zip(ours, rows, strict=True)]
    lines += ["", *_protocols(table, size), "", "## Notes", ""]
    lines += [f"- {note}" for note in table.notes]
    lines += [
        f"- {other.label}: {other.source}." for other in table.others if set(other.published) & set(table.beside(size))
    ]
    runs = [run for row in rows for run in row.first]
    return "\n".join([*lines, *(["", "## Runs", "", *to_runs(runs)] if runs else [])])


def _legend(table: PaperTable, size: str, rows: Sequence[PaperRow]) -> list[str]:
    measure = table.measure(size)
    if measure.higher_is_better:
        lines = ["Higher is better; `≥` is a lower bound."]
    else:
        lines = ["Lower is better; `≤` is an upper bound (of a lower bound on log p)."]
    lines += ["`≈` is an estimate. ± is the standard deviation over seeds, where there are several."]
    over = " of all sequences together" if measure.field == "nats_per_step_of_sequences" else ""
    lines += [f"KL is KL(posterior || prior) in nats per {measure.kl_per}{over}."]
    if any(row.first and row.floor != "-" for row in rows):
        lines += [
            "The floor is the least standard deviation of an emission, in units of normalized samples (of quantized"
        ]
        lines += ["ones the least scale, in steps): likelihoods depend on it."]
    return lines


def _protocols(table: PaperTable, size: str) -> list[str]:
    lines = ["## Protocols", ""]
    lines += ["What our recipes set, where nothing else was asked for (what was is in the runs' commands):", ""]
    sizes = list(dict.fromkeys([size, *table.beside(size)]))
    first = next(iter(table.rows))
    lines += [f"- {s}-...: {table.facts(s, first).protocol}" for s in sizes]
    told = {(s, line): None for s in sizes for key in table.rows for line in table.facts(s, key).departures}
    if told:
        lines += ["", "What our recipes do otherwise than their sources:", ""]
    for s, line in told:
        keys = [key for key in table.rows if line in table.facts(s, key).departures]
        lines.append(f"- {s}, {', '.join(keys)}: {line}")
    return lines


def _mean(values: Sequence[float], measure: Measure) -> str:
    spread = f" ± {np.std(values, ddof=1):{measure.digits}}" if len(values) > 1 else ""
    return f"{np.mean(values):{measure.digits}}{spread}"
