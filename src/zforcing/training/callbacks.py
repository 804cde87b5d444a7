"""What hangs on training: checkpoints, rows of metrics, trackers, a progress bar, and yours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..models import SequenceModel
from ..registry import Family
from .history import Row, ValidationRow
from .progress import Progress
from .update import Updated


@dataclass(frozen=True)
class Start:
    """What is known when training starts.

    updates: how many there are at most, those of a resumed run's past included
    remarks: what to know of the data, such as what was left out of it
    """

    updates: int
    remarks: tuple[str, ...] = ()


class Callback:
    """Is told what happens in training; override what you need. With several processes each of them is told.

    What is given is where training is (`Progress`), a record of what happened, and the model, all to read: training
    doesn't look at what a callback does to them. An exception in a callback ends training.

    Example:
        class Losses(zf.Callback):
            def on_update(self, at, updated, model):
                print(at.step, updated.loss / updated.sums["sequences"])

    Attributes:
        name: The name in recipes (`callbacks: [losses]`), of one that is registered (`zforcing.register`). It is a
            dataclass then, whose fields are its settings.
    """

    name: ClassVar[str]

    def on_start(self, at: Progress, start: Start, model: SequenceModel) -> None:
        """Before the first update, and before the validation that comes before it."""

    def on_update(self, at: Progress, updated: Updated, model: SequenceModel) -> None:
        """After each update, skipped ones too (`updated.applied` is False then)."""

    def on_row(self, at: Progress, row: Row, model: SequenceModel) -> None:
        """At each row of metrics: every `log_every` updates, each validation, each update that was skipped."""

    def on_validation(self, at: Progress, row: ValidationRow, model: SequenceModel) -> None:
        """After each validation; the model has the weights that were measured."""

    def on_checkpoint(self, at: Progress, model: SequenceModel) -> None:
        """Where training could go on from: at the start, every `checkpoint_every` updates, after a validation, when it
        is interrupted. Not while updates are being skipped.
        """

    def on_end(self, at: Progress, model: SequenceModel) -> None:
        """When training has ended by itself; `at.finished` says why. Not after an exception or an interruption."""


CALLBACKS: Family[Callback] = Family("callback", Callback)  # those of recipes; the package itself has none


class Callbacks(Callback):
    """Several, told one after the other."""

    def __init__(self, callbacks: Sequence[Callback]):
        self.callbacks = tuple(callbacks)

    def on_start(self, at: Progress, start: Start, model: SequenceModel) -> None:
        for callback in self.callbacks:
            callback.on_start(at, start, model)

    def on_update(self, at: Progress, updated: Updated, model: SequenceModel) -> None:
        for callback in self.callbacks:
            callback.on_update(at, updated, model)

    def on_row(self, at: Progress, row: Row, model: SequenceModel) -> None:
        for callback in self.callbacks:
            callback.on_row(at, row, model)

    def on_validation(self, at: Progress, row: ValidationRow, model: SequenceModel) -> None:
        for callback in self.callbacks:
            callback.on_validation(at, row, model)

    def on_checkpoint(self, at: Progress, model: SequenceModel) -> None:
        for callback in self.callbacks:
            callback.on_checkpoint(at, model)

    def on_end(self, at: Progress, model: SequenceModel) -> None:
        for callback in self.callbacks:
            callback.on_end(at, model)


class KeepRows(Callback):
    """Keeps all rows."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def on_row(self, at: Progress, row: Row, model: SequenceModel) -> None:
        self.rows.append(row)


class KeepBest(Callback):
    """Keeps a copy of the weights that validated best."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}

    def on_validation(self, at: Progress, row: ValidationRow, model: SequenceModel) -> None:
        if row.best:
            self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def restore(self, model: SequenceModel) -> None:
        """Put them back, where there are any."""
        if self.weights:
            model.load_state_dict(self.weights)
