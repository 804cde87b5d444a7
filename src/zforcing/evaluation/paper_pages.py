"""The runs in pages of a paper's table, OUT.json: of other machines, or of run folders that are gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..saving.atomic import parse_json
from .evaluation import Evaluation
from .paper import PaperTable
from .paper_runs import seed_of
from .rows import RunRow, check_comparable
from .saved import read_mapping

Runs = Mapping[str, Sequence[RunRow]]  # by bound


def read_pages(table: PaperTable, size: str, paths: Sequence[Path]) -> dict[str, list[RunRow]]:
    """The runs in the numbers of several pages, by bound.

    Raises:
        UserError: A file isn't there, or isn't one of this table and size that this version wrote; or two have a run of
            the same name.
    """
    found: dict[str, list[RunRow]] = {bound: [] for bound in table.bounds}
    for path in paths:
        page = _read_page(table, size, path)
        there = [run.run for run in (*found[table.bounds[0]], *page[table.bounds[0]])]
        twice = sorted({name for name in there if there.count(name) > 1})
        if twice:
            raise UserError(f"{path} has {twice[0]}, which it or another page has too: leave one out")
        found = {bound: [*found[bound], *page[bound]] for bound in table.bounds}
    return found


def _read_page(table: PaperTable, size: str, path: Path) -> dict[str, list[RunRow]]:
    remedy = "name the .json of a page that `zforcing table` wrote, or make it again"
    page = read_mapping(path, parse_json, remedy=remedy)
    if (page.get("table"), page.get("size")) != (table.name, size):
        raise UserError(f"{path} is no page of table {table.name} --size {size}: {remedy}")
    first, *others = table.bounds
    recipes = [table.recipe(size, row) for row in table.rows]
    try:
        rows = [(row, [RunRow.from_json(values) for values in row["runs"]]) for row in page["rows"]]
        found = {first: [run for _, runs in rows for run in runs]}
        for bound in others:
            found[bound] = [run for row, runs in rows for run in _by(row["other_bounds"].get(bound, []), runs)]
    except (UserError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged or of an older zforcing ({error}): {remedy}") from None
    unknown = [run.run for run in found[first] if run.recipe not in recipes]
    if unknown:
        raise UserError(f"{path} has {unknown[0]}, whose recipe is none of this table: {remedy}")
    return found


def _by(evaluations: Sequence[Mapping[str, Any]], runs: Sequence[RunRow]) -> list[RunRow]:
    """The same runs, as another bound evaluated them."""
    by_name = {run.run: run for run in runs}
    return [replace(by_name[values["run"]], evaluation=Evaluation.from_json(values)) for values in evaluations]


def joined(found: Runs, pages: Runs, *, table: PaperTable, size: str) -> dict[str, list[RunRow]]:
    """The runs of both, by their seeds; of one that is in both, what was found counts.

    Raises:
        UserError: They were measured on different things.
    """
    names = {run.run for run in found.get(table.bounds[0], ())}
    both = {b: [*found.get(b, ()), *(run for run in pages[b] if run.run not in names)] for b in table.bounds}
    for runs in both.values():
        check_comparable(runs, known=table.known(size))
        runs.sort(key=lambda run: seed_of(run.run))
    return both
