"""Callbacks: what training calls at each update, validation and checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..models import DensityModel
from ..registry import Family
from .history import Row, ValidationRow
from .progress import Progress
from .settings import TrainingConfig
from .update import Updated


@dataclass(frozen=True)
class Start:
    """What is known when training starts.

    Attributes:
        updates: the most updates there will be, including those before a resumed run's checkpoint.
        settings: the settings of training, which say what else ends it.
        remarks: about the data, such as what was left out of it.
    """

    updates: int
    settings: TrainingConfig
    remarks: tuple[str, ...] = ()


class Callback:
    """The base class of callbacks, which training calls as it runs: override the methods that you need.

    Every method gets `at`, where training is (`zforcing.training.progress.Progress`: epoch, step, best validation and
    so on), and `model`; most get a record of what happened too. All are for reading: training ignores changes to
    them. An exception in a callback ends training. With several processes, each of them calls its callbacks.

    Attributes:
        name: the name in recipes (`callbacks: [losses]`) of a callback that is registered (`zforcing.register`); it is
            a dataclass then, whose fields are its settings.

    Example:
        class Losses(zf.Callback):
            def on_update(self, at, updated, model):
                print(at.step, updated.loss / updated.sums["sequences"])
    """

    name: ClassVar[str]

    def on_start(self, at: Progress, start: Start, model: DensityModel) -> None:
        """Called before the first update and before the validation that precedes it."""

    def on_update(self, at: Progress, updated: Updated, model: DensityModel) -> None:
        """Called after each update, also after a skipped one (`updated.applied` is False then)."""

    def on_row(self, at: Progress, row: Row, model: DensityModel) -> None:
        """Called for each row of metrics: every `log_every` updates, and at each validation and each skipped update."""

    def on_validation(self, at: Progress, row: ValidationRow, model: DensityModel) -> None:
        """Called after each validation; the model has the weights that were measured."""

    def on_checkpoint(self, at: Progress, model: DensityModel) -> None:
        """Called where training can resume: at the start, every `checkpoint_every` updates, after a validation, and
        when training is interrupted; not while updates are being skipped.
        """

    def on_end(self, at: Progress, model: DensityModel) -> None:
        """Called when training ends; `at.finished` says why, "interrupted" where it was asked to. Not after an
        exception.
        """


CALLBACKS: Family[Callback] = Family("callback", Callback)  # those of recipes; the package itself has none


class Callbacks(Callback):
    """Several callbacks, called one after the other."""

    def __init__(self, callbacks: Sequence[Callback]):
        self.callbacks = tuple(callbacks)

    def on_start(self, at: Progress, start: Start, model: DensityModel) -> None:
        for callback in self.callbacks:
            callback.on_start(at, start, model)

    def on_update(self, at: Progress, updated: Updated, model: DensityModel) -> None:
        for callback in self.callbacks:
            callback.on_update(at, updated, model)

    def on_row(self, at: Progress, row: Row, model: DensityModel) -> None:
        for callback in self.callbacks:
            callback.on_row(at, row, model)

    def on_validation(self, at: Progress, row: ValidationRow, model: DensityModel) -> None:
        for callback in self.callbacks:
            callback.on_validation(at, row, model)

    def on_checkpoint(self, at: Progress, model: DensityModel) -> None:
        for callback in self.callbacks:
            callback.on_checkpoint(at, model)

    def on_end(self, at: Progress, model: DensityModel) -> None:
        for callback in self.callbacks:
            callback.on_end(at, model)


class KeepRows(Callback):
    """Collects all rows."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def on_row(self, at: Progress, row: Row, model: DensityModel) -> None:
        self.rows.append(row)


class KeepBest(Callback):
    """Keeps a copy of the weights that validated best."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}

    def on_validation(self, at: Progress, row: ValidationRow, model: DensityModel) -> None:
        if row.best:
            self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def restore(self, model: DensityModel) -> None:
        """Load the best weights, if there are any."""
        if self.weights:
            model.load_state_dict(self.weights)
