"""A paper's table with our runs, for a terminal and as a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files.paths import user_path
from ..files.writing import make_folder, whole_file
from ..text_table import Table
from .paper import PaperTable
from .paper_rows import Column, PaperRow, columns_of, headings, scored_by, warning
from .rows import ScoredData
from .side_by_side import machines_table

NO_LIMIT = "none"


def describe(scored: ScoredData | None) -> str:
    """What our column was measured on, in a sentence or two."""
    if scored is None:
        return "No run was found."
    first = "read and not scored" if scored.first_observation == "conditioned" else "scored too"
    rate = "" if scored.sample_rate is None else f", {scored.sample_rate} samples per second"
    std = scored.normalization_std
    units = "not normalized" if std is None else f"normalized by a standard deviation of {std:.1f}"
    skipped = f", {scored.num_skipped} more left out as unreadable" if scored.num_skipped else ""
    symbols = "" if scored.num_unknown is None else f", {scored.num_unknown} of them unknown symbols"
    return (
        f"data {scored.data}, {scored.num_sequences} sequences of the {scored.split} split{skipped}, "
        f"{scored.num_steps} steps{symbols}, {scored.num_dims} numbers{rate}, {units}; the first step is "
        f"{first}. Fingerprint {scored.data_fingerprint}."
    )


def budget_of(rows: Sequence[PaperRow]) -> str:
    """How long our runs were allowed to train, if all of them as long."""
    names = ("training.max_minutes", "training.max_cpu_minutes")
    budgets = {tuple(_number(run.settings.get(name)) for name in names) for row in rows for run in row.first}
    limits = [_limit(*budget) for budget in sorted(budgets)]
    if len(limits) > 1:
        return f"The runs' limits of time differ: {', '.join(limits)}."
    return "" if limits in ([], [NO_LIMIT]) else f"Each run was given {limits[0]} of training, at most."


def _number(limit: object) -> float:
    """A limit of time, 0 where there is none."""
    return float(limit) if isinstance(limit, int | float) else 0.0


def _limit(minutes: float, cpu_minutes: float) -> str:
    both = [f"{minutes:g} minutes" * bool(minutes), f"{cpu_minutes:g} CPU minutes" * bool(cpu_minutes)]
    return " and ".join(filter(None, both)) or NO_LIMIT


def _our_columns(table: PaperTable, size: str, rows: Sequence[PaperRow]) -> tuple[list[str], list[list[str]]]:
    """Our columns that hold something, headings and cells."""
    titles, cells = headings(table, size), [row.cells() for row in rows]
    any_run = any(row.first for row in rows)
    used = [i for i in range(len(titles)) if not any_run or any(row[i] != "-" for row in cells)]
    return [titles[i] for i in used], [[row[i] for i in used] for row in cells]


def terminal_tables(table: PaperTable, size: str, rows: Sequence[PaperRow]) -> list[Table]:
    """For a person at a terminal: ours, then the published numbers, so that each is narrow."""
    columns = [] if warning(table, size, rows) else columns_of(table, size)
    titles, cells = _our_columns(table, size, rows)
    with_recipe = [line for line, row in zip(cells, rows, strict=True) if row.recipe]
    tables = [Table(f"{table.name}, {size}: ours", titles, with_recipe)]
    if columns:
        published = [[row.label, *row.published_cells(columns)] for row in rows]
        titles = ["model", *(column.heading.replace(", ", "\n") for column in columns)]
        tables.append(Table(f"{table.name}: published", titles, published))
    return tables


def to_json(table: PaperTable, size: str, rows: Sequence[PaperRow]) -> dict[str, Any]:
    """As plain JSON values."""
    scored = scored_by(rows)
    protocol = {} if scored is None else asdict(scored)
    return {"table": table.name, "size": size, "protocol": protocol, "rows": [row.to_json() for row in rows]}


def page_path(name: str | Path) -> Path:
    """What the page's two files are named, without their endings."""
    out = user_path(str(name), f"--out {name}")
    out = out.with_suffix("") if out.suffix in (".md", ".json") else out
    if not out.name:
        raise UserError(f"--out is {str(name)!r}; it must end with the name of the files, without .md and .json")
    return out


def write_page(
    table: PaperTable, size: str, rows: Sequence[PaperRow], out: Path, *, command: str, curves: bytes | None = None
) -> list[Path]:
    """The page as OUT.md, its numbers as OUT.json, and learning curves, if there are, as OUT.png: the paths.

    Raises:
        UserError: They, or the folder that they go to, can't be written.
    """
    make_folder(out.parent)
    page, numbers = out.with_name(out.name + ".md"), out.with_name(out.name + ".json")
    with whole_file(page) as part, whole_file(numbers) as other:
        picture = "" if curves is None else f"{out.name}.png"
        part.write_text(to_page(table, size, rows, command=command, picture=picture) + "\n", encoding="utf-8")
        other.write_text(json.dumps(to_json(table, size, rows), indent=1) + "\n", encoding="utf-8")
    if curves is None:
        return [page, numbers]
    with whole_file(out.with_name(picture)) as part:
        part.write_bytes(curves)
    return [page, numbers, out.with_name(picture)]


def to_page(table: PaperTable, size: str, rows: Sequence[PaperRow], *, command: str, picture: str = "") -> str:
    """The page: the table, the picture, the protocol of each column, the notes, and what every run was and ran on."""
    warned = warning(table, size, rows)
    columns = [] if warned else columns_of(table, size)
    lines = [f"# {table.name}: {table.about}", "", f"Made by `{command}`.", ""]
    lines += [f"Ours ({size}): {describe(scored_by(rows))} {budget_of(rows)}".rstrip(), ""]
    lines += [warned, ""] if warned else []
    lines += [*_legend(table, size, rows), "", _page_table(table, size, rows, columns).to_markdown()]
    lines += ["", f"![validations in training, by updates and CPU time]({picture})"] if picture else []
    lines += ["", *_protocols(table, size), "", "## Notes", ""]
    lines += [f"- {note}" for note in table.notes]
    lines += _sources(rows, [] if warned else table.published_sizes(size))
    runs = [run for row in rows for run in row.first]
    return "\n".join([*lines, *(["", "## Runs", "", machines_table(runs).to_markdown()] if runs else [])])


def _page_table(table: PaperTable, size: str, rows: Sequence[PaperRow], columns: Sequence[Column]) -> Table:
    """Ours and the published numbers, side by side."""
    titles, cells = _our_columns(table, size, rows)
    published_numbers = [row.published_cells(columns) for row in rows]
    lines = [[*own, *published] for own, published in zip(cells, published_numbers, strict=True)]
    return Table(table.name, [*titles, *(column.heading for column in columns)], lines, text_columns=2)


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
    sizes = list(dict.fromkeys([size, *table.published_sizes(size)]))
    facts = {(s, key): table.facts(s, key) for s in sizes for key in table.rows}
    lines += _by_text({at: (of.protocol,) for at, of in facts.items()}, rows=len(table.rows))
    departures = _by_text({at: of.departures for at, of in facts.items()}, rows=len(table.rows))
    return lines + (["", "What our recipes do otherwise than their sources:", "", *departures] if departures else [])


def _by_text(said: Mapping[tuple[str, str], Sequence[str]], *, rows: int) -> list[str]:
    """A line for each text and size, with the rows that it is said of. said: (size, row) -> texts."""
    of: dict[tuple[str, str], list[str]] = {}
    for (size, row), texts in said.items():
        for text in texts:
            of.setdefault((size, text), []).append(row)
    names = {at: "-..." if len(keys) == rows else f", {', '.join(keys)}" for at, keys in of.items()}
    return [f"- {size}{name}: {text}" for (size, text), name in names.items()]


def _sources(rows: Sequence[PaperRow], sizes: Sequence[str]) -> list[str]:
    """Where the published numbers are from, a line for each source with its rows."""
    of: dict[str, list[str]] = {}
    for row in rows:
        for source in dict.fromkeys(row.source[size] for size in sizes if row.published.get(size)):
            of.setdefault(source, []).append(row.label)
    lines = [f"- {', '.join(labels)}: {source}." for source, labels in of.items()]
    return ["", "Published:", "", *lines] if lines else []
