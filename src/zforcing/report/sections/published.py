"""The numbers of papers beside a run of one of their recipes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...evaluation.evaluation import Evaluation
from ...evaluation.paper import PaperTable, paper_tables, read_paper_table
from ...evaluation.paper_rows import Column, columns_of, paper_rows
from ...text_table import Table
from ..blocks import Details, Grid, Line
from ..subject import Subject


def published(subject: Subject, own: Sequence[Evaluation]) -> list[Any]:
    """The published table of the run's recipe with the run's own numbers; one line where there is none.

    own: what `zforcing evaluate` wrote of the whole split
    """
    recipe = "" if subject.trained.config is None else subject.trained.config.recipe
    found = _table_of(recipe)
    if found is None:
        return [Line(f"{subject.name}: no published numbers are known of {_called(recipe)}.")]
    table, size = found
    if size not in table.published_sizes(size):
        others = ", ".join(table.published_data.values())
        return [Line(f"{subject.name}: published numbers are of other data ({others}): `zforcing table {table.name}`.")]
    columns = columns_of(table, size)
    title = f"Published numbers beside {subject.name}, {table.measure(size).title}"
    headings = ["model", *(column.heading for column in columns), "source"]
    ours = [_own(table, size, subject, e, len(columns)) for e in own if e.split == "test"]
    cells = [*ours, *_rows(table, size, columns)]
    notes: list[Any] = [Line(f"{subject.name}: {line}", "warning") for line in _differences(table, size, own)]
    shown = Grid(Table(title, headings, cells), "≥ is a lower bound, ≈ an estimate; other numbers are exact.")
    return [shown, *notes, Details("What to know of the published numbers", [Line(note) for note in table.notes])]


def _table_of(recipe: str) -> tuple[PaperTable, str] | None:
    """The table that the recipe is a row of, and its size there."""
    for table in map(read_paper_table, paper_tables() if recipe else ()):
        for size in table.sizes:
            if recipe in {table.recipe(size, row) for row in table.rows}:
                return table, size
    return None


def _called(recipe: str) -> str:
    return f"recipe {recipe}" if recipe else "a run without a recipe"


def _own(table: PaperTable, size: str, subject: Subject, e: Evaluation, columns: int) -> list[str]:
    """In the first column of numbers: ours has the protocol of the recipe."""
    measure = table.measure(size)
    number = f"{measure.sign(e.kind)}{measure.of(e):{measure.digits}}"
    return [f"this run: {subject.name}", number, *["-"] * (columns - 1), f"{e.bound} on {e.num_sequences} sequences"]


def _rows(table: PaperTable, size: str, columns: Sequence[Column]) -> list[list[str]]:
    found = []
    for row in paper_rows(table, size, {}):
        cells = [column.cell(row.published.get(column.size)) for column in columns]
        if any(cell != "-" for cell in cells):
            found.append([row.label, *cells, row.source.get(size, "")])
    return found


def _differences(table: PaperTable, size: str, own: Sequence[Evaluation]) -> list[str]:
    known = table.test.get(size)
    different = [] if known is None else [line for e in own if e.split == "test" for line in known.differences(e)]
    if not different:
        return []
    return [
        f"its data is other than {size}'s ({'; '.join(dict.fromkeys(different))}): published numbers are of other data"
    ]
