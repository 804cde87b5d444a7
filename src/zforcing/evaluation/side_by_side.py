"""Evaluated runs side by side, for a terminal and as a page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from .rows import Row

NOTE = "log p(x) of the data in nats: higher is better; ± is the standard error over sequences."


def headers(dim: str) -> list[str]:
    """Of `Row.cells`; dim: what a scored number is called."""
    return ["run", "model", "kind", "log p(x), nats per sequence", f"bits per {dim}", "KL, nats", "seconds"]


def _title(rows: Sequence[Row]) -> str:
    first = rows[0].evaluation
    return f"{first['data']}, {first['split']} split: {first['num_sequences']} sequences, {first['num_steps']} steps"


def to_table(rows: Sequence[Row], *, dim: str = "dim") -> Table:
    """For a person at a terminal."""
    table = Table(title=_title(rows), box=SIMPLE_HEAD)
    cells = [row.cells() for row in rows]
    for i, header in enumerate(headers(dim)):
        widest = max(len(row[i]) for row in cells)
        table.add_column(header, justify="left" if i < 3 else "right", min_width=widest)
    for row in cells:
        table.add_row(*map(escape, row))  # a run's name may have brackets, which rich takes for styles
    return table


def to_markdown(rows: Sequence[Row], *, dim: str, command: str) -> str:
    """A page: the table, the command that made it, and each run's own command, machine and versions."""
    lines = [f"# {_title(rows)}", "", f"Made by `{command}`.", NOTE, ""]
    lines += ["| " + " | ".join(headers(dim)) + " |", "|---|---|---|---:|---:|---:|---:|"]
    lines += [markdown_line(row.cells()) for row in rows]
    lines += _over_seeds(rows)
    return "\n".join([*lines, "", *to_runs(rows)])


def to_runs(rows: Sequence[Row]) -> list[str]:
    """A Markdown table of what each run was and ran on."""
    lines = ["| run | trained by | on | started | versions |", "|---|---|---|---|---|"]
    for row in rows:
        e = row.environment
        machine = f"{e['processor']}, {e['device']}, threads {e['threads']}"
        versions = ", ".join(f"{name} {version}" for name, version in e["versions"].items())
        trained_by = f"`{shlex.join(map(str, e['command']))}`"
        lines.append(markdown_line([row.run, trained_by, machine, e["started"], versions]))
    return lines


def markdown_line(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _group(row: Row, rows: Sequence[Row]) -> str:
    """The recipe, and the settings in which not all of its runs agree."""
    its = [r.settings for r in rows if r.recipe == row.recipe]
    names = [n for n in row.settings if any(n not in other or other[n] != row.settings[n] for other in its)]
    return ", ".join([row.recipe, *(f"{name} {row.settings[name]}" for name in names)])


def _over_seeds(rows: Sequence[Row]) -> list[str]:
    """Mean and standard deviation over the runs of each recipe that has several; other settings, other runs."""
    recipes = {_group(row, rows): [r for r in rows if _group(r, rows) == _group(row, rows)] for row in rows}
    lines = ["", "| recipe | runs | log p(x), mean over runs ± their standard deviation | KL, nats | seconds |"]
    lines += ["|---|---:|---:|---:|---:|"]
    for recipe, its in recipes.items():
        if len(its) > 1:
            nats = [r.evaluation["nats_per_sequence"] for r in its]
            exact = all(r.evaluation["kind"] == "exact" for r in its)
            kl = "-" if exact else f"{np.mean([r.evaluation['kl_per_sequence'] for r in its]):.2f}"
            seconds = np.mean([r.seconds for r in its])
            spread = f"{np.mean(nats):.2f} ± {np.std(nats, ddof=1):.2f}"
            lines.append(markdown_line([recipe, str(len(its)), spread, kl, f"{seconds:.0f}"]))
    return lines if len(lines) > 3 else []
