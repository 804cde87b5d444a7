"""What a run says while it trains: metrics.jsonl, timing.jsonl, and a progress bar on stderr."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ..errors import UserError
from .checkpoint import write_text


class Rows:
    """A file of JSON lines. A resumed run first drops the rows written after its checkpoint."""

    def __init__(self, path: Path):
        self.path = path

    def append(self, row: dict[str, Any]) -> None:
        """One more row; a number that is not finite becomes a string, which JSON has no other way to say."""
        values = {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def truncate(self, step: int, rows: int) -> None:
        """Keep the first `rows` rows, and none past `step`. Raises UserError when they aren't rows."""
        if not self.path.exists():
            return
        try:
            lines = self.path.read_text("utf-8").splitlines()[:rows]
            kept = [line for line in lines if json.loads(line)["step"] <= step]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.path} is damaged ({error!r}): mend or remove it, then --resume again") from None
        write_text(self.path, "".join(line + "\n" for line in kept))


class Reporter:
    """A bar on a terminal, a line per validation elsewhere, nothing when `quiet`. All of it on stderr."""

    def __init__(self, *, quiet: bool = False):
        self.console = Console(file=sys.stderr, quiet=quiet, highlight=False, soft_wrap=True)
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self.task: TaskID | None = None

    def __enter__(self) -> Reporter:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def start(self, *, total: int, done: int) -> None:
        """Begin the bar: how many updates there may be, and how many are done."""
        self.task = self.bar.add_task("", total=total, completed=done, epoch=1, numbers="", left="")

    def update(
        self, *, step: int, epoch: int, log_likelihood: float, kl: float, rate: float, seconds_left: float
    ) -> None:
        """Nats per sequence of the batch, its KL, updates per second, seconds left if no early stop comes."""
        if self.task is not None:
            numbers = f"{log_likelihood:.2f} nats  kl {kl:.2f}  {rate:.1f} steps/s"
            left = f"{duration(seconds_left)} left"
            self.bar.update(self.task, completed=step, epoch=epoch + 1, numbers=numbers, left=left)

    def say(self, line: str) -> None:
        """One line, above the bar."""
        self.console.print(line, markup=False)


def duration(seconds: float) -> str:
    """75 -> '1:15', 3675 -> '1:01:15'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
