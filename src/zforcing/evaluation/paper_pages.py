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
from .rows import RunRow, check_comparable
from .saved import read_mapping


def read_page(table: PaperTable, size: str, path: Path) -> dict[str, list[RunRow]]:
    """The runs in a page's numbers, by bound.

    Raises:
        UserError: The file isn't there, or isn't one of this table and size that this version wrote.
    """
    remedy = "name the .json of a page that `zforcing table` wrote, or make it again"
    page = read_mapping(path, parse_json, remedy=remedy)
    if (page.get("table"), page.get("size")) != (table.name, size):
        raise UserError(f"{path} is no page of table {table.name} --size {size}: {remedy}")
    found: dict[str, list[RunRow]] = {bound: [] for bound in table.bounds}
    try:
        for row in page["rows"]:
            first = [RunRow.from_json(values) for values in row["runs"]]
            found[table.bounds[0]] += first
            for bound in table.bounds[1:]:
                found[bound] += _by(row["other_bounds"].get(bound, []), first)
    except (UserError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged or of an older zforcing ({error}): {remedy}") from None
    return found


def _by(evaluations: Sequence[Mapping[str, Any]], runs: Sequence[RunRow]) -> list[RunRow]:
    """The same runs, as another bound evaluated them."""
    by_name = {run.run: run for run in runs}
    return [replace(by_name[values["run"]], evaluation=Evaluation.from_json(values)) for values in evaluations]


def joined(
    found: Mapping[str, Sequence[RunRow]], page: Mapping[str, Sequence[RunRow]], *, table: PaperTable, size: str
) -> dict[str, list[RunRow]]:
    """The runs of both; of one that is in both, what was found counts.

    Raises:
        UserError: They were measured on different things.
    """
    first = table.bounds[0]
    names = {run.run for run in found.get(first, ())}
    both = {b: [*found.get(b, ()), *(run for run in page.get(b, ()) if run.run not in names)] for b in table.bounds}
    for runs in both.values():
        check_comparable(runs, known=table.known(size))
    return both
