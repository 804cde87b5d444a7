"""What training shows while it goes on."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


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
