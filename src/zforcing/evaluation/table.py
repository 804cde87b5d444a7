"""Tables of several runs, from the files that `zforcing evaluate` wrote into their folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from ..errors import UserError

PROTOCOL = ("data", "split", "first_observation", "num_sequences", "num_steps", "num_dims")


@dataclass(frozen=True)
class Row:
    """A run, what `evaluate` found, and how long it trained."""

    run: str
    evaluation: dict[str, Any]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"run": self.run, "seconds": self.seconds} | self.evaluation


def read_rows(runs: Sequence[Path], *, split: str, bound: str) -> list[Row]:
    """One row a run. Raises UserError when one isn't evaluated yet, or they were measured on different things."""
    rows = [_read_row(run, split=split, bound=bound) for run in runs]
    first = rows[0].evaluation
    for row in rows[1:]:
        other = [k for k in PROTOCOL if row.evaluation[k] != first[k]]
        if other:
            said = ", ".join(f"{k} {first[k]} and {row.evaluation[k]}" for k in other)
            raise UserError(f"{rows[0].run} and {row.run} can't stand in one table: {said}")
    return rows


def _read_row(run: Path, *, split: str, bound: str) -> Row:
    path = run / f"evaluation-{split}-{bound}.json"
    if not run.is_dir():
        raise UserError(f"no such run folder: {run}")
    if not path.is_file():
        raise UserError(f"{path} is missing: run `zforcing evaluate {run} --split {split}` first")
    training = run / "checkpoints" / "last" / "training.json"
    try:
        evaluation = json.loads(path.read_text("utf-8"))
        seconds = json.loads(training.read_text("utf-8"))["seconds"]
        return Row(run.name, {k: evaluation[k] for k in evaluation}, seconds)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{run}: {path.name} or training.json can't be read: {error}") from None


def to_table(rows: Sequence[Row], *, dim: str = "dim") -> Table:
    """For a person. Every number says what kind it is."""
    first = rows[0].evaluation
    table = Table(title=f"{first['data']}, {first['split']} split, {first['num_sequences']} sequences")
    table.add_column("run")
    table.add_column("model")
    table.add_column("log p(x) is")
    for name in ("nats per sequence", f"bits per {dim}", "KL, nats", "seconds"):
        table.add_column(name, justify="right")
    for row in rows:
        e = row.evaluation
        error = "" if e["standard_error"] is None else f" ± {e['standard_error']:.2f}"
        table.add_row(
            row.run,
            e["model"],
            {"exact": "exact", "lower bound": f"≥ ({e['bound']})", "estimate": f"≈ ({e['bound']})"}[e["kind"]],
            f"{e['nats_per_sequence']:.2f}{error}",
            f"{e['bits_per_dim']:.4f}",
            "-" if e["kind"] == "exact" else f"{e['kl_per_sequence']:.2f}",
            f"{row.seconds:.0f}",
        )
    return table
