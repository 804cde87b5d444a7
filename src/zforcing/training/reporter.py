"""Progress of training on stderr."""

from __future__ import annotations

import math
import sys
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING

from ..models import DensityModel
from ..runtime.output import unfailing
from .callbacks import Callback, Start
from .history import Row, SkippedRow, ValidationRow
from .pace import Pace, still_improving
from .progress import INTERRUPTED, Progress
from .update import Updated

if TYPE_CHECKING:
    from rich.progress import TaskID


EVERY = 30.0  # seconds between lines of progress, where there is no bar


class Reporter(Callback):
    """Shows a progress bar (on a terminal or in a notebook; elsewhere a line every half minute) and a line for each
    validation; nothing when `quiet`.
    """

    def __init__(self, *, quiet: bool = False):
        from rich.console import Console  # takes a while: importing zforcing does without it
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        self.console = Console(file=unfailing(sys.stderr), quiet=quiet, highlight=False, soft_wrap=True)
        self.bar = Bar(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            disable=quiet or not (self.console.is_terminal or _shows_widgets(self.console.is_jupyter)),
            transient=True,
        )
        self.task: TaskID | None = None
        self.start: Start | None = None
        self.pace: Pace | None = None
        self.said = 0.0  # seconds of training at the last line

    def __enter__(self) -> Reporter:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def say(self, line: str) -> None:
        """One line, above the bar."""
        self.console.print(line, markup=False)

    def on_start(self, at: Progress, start: Start, model: DensityModel) -> None:
        """The remarks, and a bar of how many updates there may be."""
        for remark in start.remarks:
            self.say(remark)
        self.start, self.pace, self.said = start, None, at.seconds
        self.task = self.bar.add_task("", total=1.0, epoch=at.epoch + 1, numbers="", left="")

    def on_update(self, at: Progress, updated: Updated, model: DensityModel) -> None:
        """Nats per sequence of the batch, its KL, updates per second and the time left: on the bar, or on a line every
        half minute.
        """
        if self.start is None:
            return
        if self.pace is None:
            self.pace = Pace(at, self.start.updates, self.start.settings)
        due = at.seconds - self.said >= EVERY if self.bar.disable else True
        if updated.applied and due and not self.console.quiet:
            self._show(at, updated, self.pace)

    def _show(self, at: Progress, updated: Updated, pace: Pace) -> None:
        nats, kl = (updated.sums[name] / updated.sums["sequences"] for name in ("value", "kl"))
        numbers = f"step {at.step}  {nats:.2f} nats  kl {kl:.2f}  {pace.rate(at):.1f} steps/s"
        left = pace.left(at, duration)
        if self.task is not None and not self.bar.disable:
            self.bar.update(self.task, completed=pace.share(at), epoch=at.epoch + 1, numbers=numbers, left=left)
            return
        self.said = at.seconds
        self.say(f"epoch {at.epoch + 1:3d}  {numbers}  {duration(at.seconds)}{left and f', {left}'}")

    def on_row(self, at: Progress, row: Row, model: DensityModel) -> None:
        """A line for each update that was skipped."""
        if isinstance(row, SkippedRow):
            sequences = f"{', '.join(map(str, row.sequences[:8]))}{', ...' if len(row.sequences) > 8 else ''}"
            self.say(
                f"the {row.what} is not finite at step {row.step} (epoch {row.epoch}, batch {row.batch}, sequences "
                f"{sequences}): update skipped"
            )

    def on_validation(self, at: Progress, row: ValidationRow, model: DensityModel) -> None:
        """A line for each validation."""
        kl = f"  kl {row.terms['kl']:.2f}" if model.latent_size else ""
        self.say(
            f"epoch {row.epoch:3d}  step {row.step:6d}  validation {row.nats:.3f} nats per sequence ({row.kind})"
            f"{kl}  learning rate {row.learning_rate:.2g}  {duration(row.seconds)}{' *' if row.best else ''}"
        )

    def on_end(self, at: Progress, model: DensityModel) -> None:
        """A line on how training ended, and one more where it ended while validation was getting better."""
        best = f"; best validation {at.best:.3f} nats per sequence after epoch {at.best_epoch}"
        skipped = f", {at.nonfinite} updates skipped as not finite" if at.nonfinite else ""
        measured = best if math.isfinite(at.best) else ""
        ended = at.finished if at.finished == INTERRUPTED else f"finished: {at.finished}"
        self.say(f"{ended}{measured}, {at.step} updates, {duration(at.seconds)}{skipped}")
        advice = "" if self.start is None else still_improving(at, self.start.settings)
        if advice:
            self.say(advice)


def _shows_widgets(notebook: bool) -> bool:
    """Whether this is a notebook in which rich can draw a bar."""
    return notebook and find_spec("ipywidgets") is not None


def duration(seconds: float) -> str:
    """75 -> '1:15', 3675 -> '1:01:15'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
