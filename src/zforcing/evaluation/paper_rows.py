"""The rows of a paper's table: our runs of each row's recipe, and the numbers that were published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import DATA
from ..errors import UserError
from ..training.runs.recipes import Published, read_recipe
from .measures import Measure
from .paper import PaperTable
from .rows import RunRow, ScoredData


@dataclass(frozen=True)
class Column:
    """Numbers published on the data of one size, under one protocol."""

    size: str
    title: str
    protocol: str
    measure: Measure

    @property
    def heading(self) -> str:
        """The column's heading in the table."""
        return f"{self.title}, {self.protocol}"

    def cell(self, number: Published | None) -> str:
        """The number, if it is one of this column's."""
        if number is None or number.protocol != self.protocol:
            return "-"
        return f"{self.measure.sign(number.kind)}{number.value:{'.0f' if number.value == int(number.value) else '.2f'}}"


def columns_of(table: PaperTable, size: str) -> list[Column]:
    """One for each data that was published on and each protocol, in the order of the rows."""
    columns = []
    for s in table.published_sizes(size):
        numbers = [table.facts(s, row).published for row in table.rows]
        numbers += [model.published.get(s) for model in table.published_models]
        protocols = dict.fromkeys(n.protocol for n in numbers if n)
        columns += [Column(s, table.published_data[s], protocol, table.measure(s)) for protocol in protocols]
    return columns


@dataclass(frozen=True)
class PaperRow:
    """A row: our runs (seeds) of its recipe by each bound, perhaps none, and what was published, by size."""

    key: str
    label: str
    recipe: str
    measure: Measure
    runs: Mapping[str, tuple[RunRow, ...]]
    published: Mapping[str, Published | None]
    source: Mapping[str, str]

    @property
    def first(self) -> tuple[RunRow, ...]:
        """The runs, with what the first bound says of them."""
        return next(iter(self.runs.values()), ())

    def numbers(self, bound: str) -> list[float]:
        """In the table's measure, of each run."""
        return [self.measure.of(run.evaluation) for run in self.runs.get(bound, ())]

    @property
    def floor(self) -> str:
        """The least standard deviation (or scale) of its emissions: numbers under other floors are other numbers."""
        if self.first[0].evaluation.sample_rate is None:
            return "-"
        quantized = self.first[0].settings.get("data.encoding") in ("pcm", "mulaw")
        return f"{self.first[0].settings.get('model.min_scale' if quantized else 'model.min_std', '-')}"

    def cells(self) -> list[str]:
        """As HEADINGS has them; then the number by the other bounds."""
        first_bound, *bounds = self.runs or ("elbo",)
        if not self.first:
            return [self.label, *["-"] * (len(HEADINGS) - 1 + len(bounds))]
        evaluation, measure = self.first[0].evaluation, self.measure
        raw = [measure.raw_of(run.evaluation) for run in self.first]
        kl = np.mean([measure.kl_of(run.evaluation) for run in self.first])
        cpu_seconds = [run.cpu_seconds for run in self.first]
        return [
            self.label,
            f"{measure.sign(evaluation.kind) or 'exact '}{evaluation.by}".rstrip(),
            _mean(self.numbers(first_bound), measure),
            "-" if None in raw else _mean([value for value in raw if value is not None], measure),
            f"{kl:{measure.digits}}" if evaluation.has_latents else "-",
            self.floor,
            str(len(self.first)),
            _range([run.updates for run in self.first]),
            _range([run.epochs for run in self.first]),
            "-" if evaluation.parameters is None else f"{evaluation.parameters / 1e6:.2f} M",
            f"{np.mean(cpu_seconds) / 60:.0f}" if all(cpu_seconds) else "-",
            *(self._number_by(bound) for bound in bounds),
        ]

    def published_cells(self, columns: Sequence[Column]) -> list[str]:
        """The published numbers."""
        return [column.cell(self.published.get(column.size)) for column in columns]

    def _number_by(self, bound: str) -> str:
        runs = self.runs[bound]
        return self.measure.sign(runs[0].evaluation.kind) + _mean(self.numbers(bound), self.measure) if runs else "-"

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        published = {
            size: None if number is None else vars(number) | {"source": self.source[size]}
            for size, number in self.published.items()
        }
        others = list(self.runs.items())[1:]
        return {
            "row": self.key,
            "label": self.label,
            "recipe": self.recipe,
            "measure": self.measure.field,
            "runs": [run.to_json() for run in self.first],
            "other_bounds": {bound: [{"run": r.run} | r.evaluation_to_json() for r in runs] for bound, runs in others},
            "published": published,
        }


OF_NUMBER = ("model", "kind", "{measure}", "in the data's units", "KL", "floor")
HEADINGS = (*OF_NUMBER, "seeds", "updates", "epochs", "parameters", "CPU minutes")


def headings(table: PaperTable, size: str) -> list[str]:
    """The headings of our columns."""
    measure = table.measure(size)
    more = [f"{measure.title}, {bound}" for bound in table.bounds[1:]]
    return [heading.format(measure=measure.title) for heading in HEADINGS] + more


def paper_rows(table: PaperTable, size: str, evaluated: Mapping[str, Sequence[RunRow]]) -> list[PaperRow]:
    """Every row of the table, with the runs of its recipe evaluated by each bound.

    Raises UserError when runs of one row differ by more than their seeds: their mean would be of nothing.
    """
    rows = []
    for key, label in table.rows.items():
        recipe = table.recipe(size, key)
        runs = {b: tuple(run for run in evaluated.get(b, ()) if run.recipe == recipe) for b in table.bounds}
        for run in runs[table.bounds[0]]:
            check_data(recipe, run.settings)
        _check_seeds(runs[table.bounds[0]])
        facts = {s: table.facts(s, key) for s in table.published_data}
        published, source = {s: f.published for s, f in facts.items()}, {s: f.source for s, f in facts.items()}
        rows.append(PaperRow(key, label, recipe, table.measure(size), runs, published, source))
    for model in table.published_models:
        source = dict.fromkeys(model.published, model.source)
        no_runs: dict[str, tuple[RunRow, ...]] = dict.fromkeys(table.bounds, ())
        rows.append(PaperRow("", model.label, "", table.measure(size), no_runs, model.published, source))
    return rows


def check_data(recipe: str, settings: Mapping[str, Any]) -> None:
    """Raises UserError for a run of a recipe on data of another kind, or text in other tokens: the table says what its
    recipes are of, and a perplexity per character is no perplexity per word.
    """
    of_recipe = read_recipe(recipe)["data"]
    for name in ("name", "tokens"):
        expected, actual = of_recipe.get(name), settings.get(f"data.{name}")
        alike = name == "name" and _are_alike(str(expected), str(actual))
        if expected is not None and actual != expected and not alike:
            raise UserError(
                f"recipe {recipe} is of data.{name} {expected}, and numbers on {actual} can't stand in its row: leave "
                f"out --data.{name}, or compare runs of your own by zforcing table RUN RUN"
            )


def _are_alike(first: str, second: str) -> bool:
    """Whether two data sets, by name, hold the same kind of observations."""
    return first in DATA and second in DATA and DATA[first].is_like(DATA[second])


def _check_seeds(runs: Sequence[RunRow]) -> None:
    for run in runs[1:]:
        both = run.settings.keys() & runs[0].settings.keys()  # a setting that only one has is newer than the other
        different = sorted(name for name in both if run.settings[name] != runs[0].settings[name])
        if different:
            raise UserError(
                f"{runs[0].run} and {run.run} are no seeds of one another, their {', '.join(different)} differ: "
                "name other --runs, or take one of them away"
            )


def warning(table: PaperTable, size: str, rows: Sequence[PaperRow]) -> str:
    """That our runs were measured on other sequences than the size's; empty if they weren't."""
    if size not in table.test:
        return ""
    evaluations = [run.evaluation for row in rows for run in row.first]
    different = [line for evaluation in evaluations for line in table.test[size].differences(evaluation)]
    different += [evaluation.remark for evaluation in evaluations if evaluation.remark]  # what was left out or changed
    if not different:
        return ""
    return (
        f"The runs' data is other than {size}'s ({'; '.join(dict.fromkeys(different))}): published numbers have "
        f"nothing to do with it."
    )


def scored_by(rows: Sequence[PaperRow]) -> ScoredData | None:
    """What all our runs were measured on; None without any."""
    runs = [run for row in rows for run in row.first]
    return ScoredData.of(runs[0].evaluation) if runs else None


def _range(numbers: Sequence[int]) -> str:
    """The least and the largest; one where they are the same."""
    return "-".join(map(str, dict.fromkeys([min(numbers), max(numbers)])))


def _mean(values: Sequence[float], measure: Measure) -> str:
    spread = f" ± {np.std(values, ddof=1):{measure.digits}}" if len(values) > 1 else ""
    return f"{np.mean(values):{measure.digits}}{spread}"
