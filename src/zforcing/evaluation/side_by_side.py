"""Evaluated runs side by side, for a terminal and as a page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..text_table import Table
from .baselines import BaselineScore
from .evaluation import Evaluation
from .rows import RunRow

if TYPE_CHECKING:
    from rich.table import Table as TerminalTable
NOTE = "log p(x) of the data in nats: higher is better; ± is the standard error over sequences."


def to_terminal(rows: Sequence[RunRow], *, dim: str = "dim", baselines: bool = False) -> TerminalTable:
    """For a person at a terminal. dim: what a scored number is called; baselines: whether they have rows too."""
    return runs_table(rows, dim=dim, baselines=baselines).to_terminal()


def to_markdown(rows: Sequence[RunRow], *, dim: str, command: str, baselines: bool = False) -> str:
    """A page: the table, the command that made it, and each run's own command, machine and versions."""
    table, means = runs_table(rows, dim=dim, baselines=baselines), means_table(rows)
    parts = [f"# {table.title}", f"Made by `{command}`.\n{NOTE}", table.to_markdown()]
    parts += [means.to_markdown()] if means.rows else []
    return "\n\n".join([*parts, machines_table(rows).to_markdown()])


def runs_table(rows: Sequence[RunRow], *, dim: str, baselines: bool = False) -> Table:
    """A row a run; then, if they are wanted, one for each baseline of the first run that was measured beside some; then
    that of the process that made the data, where it is known.
    """
    e = rows[0].evaluation
    title = f"{e.data}, {e.split} split: {e.num_sequences} sequences, {e.num_steps} steps"
    headings = ["run", "model", "kind", "log p(x), nats per sequence", f"bits per {dim}", "KL, nats", "seconds"]
    measured = next((row.evaluation for row in rows if row.evaluation.baselines), None) if baselines else None
    below = [] if measured is None else [_baseline_cells(measured, score) for score in measured.baselines]
    if e.true_nats_per_sequence is not None:
        below.append(_cells_of_exact(e, "truth", "the process", e.true_nats_per_sequence))
    return Table(title, headings, [*(row.cells() for row in rows), *below], text_columns=3)


def _baseline_cells(e: Evaluation, score: BaselineScore) -> list[str]:
    """A row like a run's."""
    return _cells_of_exact(e, "baseline", score.name, score.nats_per_sequence)


def _cells_of_exact(e: Evaluation, first: str, second: str, nats: float) -> list[str]:
    """The row of what isn't a run, of nats per sequence. Bits are of the same numbers."""
    bits = -nats * e.num_sequences / (e.num_dims * np.log(2))
    return [first, second, "exact", f"{nats:.2f}", f"{bits:.4f}", "-", "-"]


def machines_table(rows: Sequence[RunRow]) -> Table:
    """What each run was and ran on."""
    cells = []
    for row in rows:
        e = row.environment
        machine = f"{e['processor']}, {e['device']}, threads {e['threads']}"
        versions = ", ".join(f"{name} {version}" for name, version in e["versions"].items())
        cells.append([row.run, f"`{shlex.join(map(str, e['command']))}`", machine, e["started"], versions])
    return Table("Runs", ["run", "trained by", "on", "started", "versions"], cells, text_columns=5)


def means_table(rows: Sequence[RunRow]) -> Table:
    """Mean and standard deviation over the runs of each recipe that has several; other settings, other runs."""
    headings = ["recipe", "kind", "runs", "log p(x), mean over runs ± their standard deviation", "KL, nats", "seconds"]
    groups: dict[str, list[RunRow]] = {}
    for row in rows:
        groups.setdefault(_recipe_and_settings(row, rows), []).append(row)
    cells = [[name, *_mean_cells(group)] for name, group in groups.items() if len(group) > 1]
    return Table("Means over runs", headings, cells, text_columns=2)


def _recipe_and_settings(row: RunRow, rows: Sequence[RunRow]) -> str:
    """The recipe, and the settings in which not all of its runs agree."""
    of_recipe = [r.settings for r in rows if r.recipe == row.recipe]
    names = [n for n in row.settings if any(n not in other or other[n] != row.settings[n] for other in of_recipe)]
    return ", ".join([row.recipe, *(f"{name} {row.settings[name]}" for name in names)])


def _mean_cells(rows: Sequence[RunRow]) -> list[str]:
    """The kind, how many, log p(x), KL and seconds."""
    nats = [row.evaluation.nats_per_sequence for row in rows]
    latents = any(row.evaluation.has_latents for row in rows)
    kl = f"{np.mean([row.evaluation.kl_per_sequence for row in rows]):.2f}" if latents else "-"
    spread = f"{np.mean(nats):.2f} ± {np.std(nats, ddof=1):.2f}"
    kinds = ", ".join(sorted({row.kind for row in rows}))
    return [kinds, str(len(rows)), spread, kl, f"{np.mean([row.seconds for row in rows]):.0f}"]
