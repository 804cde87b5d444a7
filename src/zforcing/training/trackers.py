"""Experiment trackers, through accelerate's: TensorBoard and Weights & Biases."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from ..errors import UserError
from ..models import DensityModel
from .callbacks import Callback, Start
from .history import Row
from .progress import Progress

TrackerName = Literal["tensorboard", "wandb"]


class TrackerBackend(Protocol):
    """A tracker of accelerate (`accelerate.tracking.GeneralTracker`), or another class with its methods."""

    def start(self) -> None: ...

    def store_init_configuration(self, values: dict[str, Any]) -> None: ...

    def log(self, values: dict[str, Any], step: int | None = None) -> None: ...

    def finish(self) -> None: ...


class Tracker(Callback):
    """A callback that sends every number of every row to an experiment tracker (TensorBoard, Weights & Biases).

    Numbers are named by event: "training/loss", "validation/nats_per_sequence" and so on.

    Args:
        tracker: a tracker of accelerate, not yet started.
        settings: the run's settings by name, stored when it starts.

    Raises:
        UserError: `tracker` is not a tracker, but its name, for example.

    Example:
        tracker = zf.Tracker(accelerate.tracking.TensorBoardTracker("mine", "logs"))
        zf.fit(model, train, valid, callbacks=[tracker])
    """

    def __init__(self, tracker: TrackerBackend, settings: Mapping[str, Any] | None = None):
        if isinstance(tracker, type) or not hasattr(tracker, "store_init_configuration"):
            raise UserError(
                f"tracker is {tracker!r}; it must be a tracker of accelerate, such as "
                'accelerate.tracking.TensorBoardTracker("mine", "logs")'
            )
        self.tracker, self.settings = tracker, dict(settings or {})

    def on_start(self, at: Progress, start: Start, model: DensityModel) -> None:
        """Start the tracker; a resumed run has stored its settings already."""
        self.tracker.start()
        if self.settings and at.step == 0:
            self.tracker.store_init_configuration(self.settings)

    def on_row(self, at: Progress, row: Row, model: DensityModel) -> None:
        """Log the finite numbers of a row."""
        values = {name: value for name, value in row.to_dict().items() if name not in ("epoch", "step")}
        numbers = {name: float(value) for name, value in values.items() if _is_number(value)}
        self.tracker.log(
            {f"{row.event}/{name}": value for name, value in numbers.items()} | {"epoch": row.epoch}, step=row.step
        )

    def on_end(self, at: Progress, model: DensityModel) -> None:
        """Close the tracker."""
        self.tracker.finish()


def open_tracker(name: TrackerName, folder: Path, settings: Mapping[str, Any]) -> Tracker:
    """The tracker of a run in this folder. Raises UserError when its package isn't installed."""
    return Tracker(_TRACKERS[name](folder), {key: _plain(value) for key, value in settings.items()})


def _tensorboard(folder: Path) -> TrackerBackend:
    _needs("tensorboard")
    from accelerate.tracking import TensorBoardTracker

    tracker: TrackerBackend = TensorBoardTracker("tensorboard", logging_dir=folder)
    return tracker


def _wandb(folder: Path) -> TrackerBackend:
    _needs("wandb")
    from accelerate.tracking import WandBTracker

    tracker: TrackerBackend = WandBTracker("zforcing", name=folder.name, dir=folder)
    return tracker


_TRACKERS: dict[TrackerName, Callable[[Path], TrackerBackend]] = {"tensorboard": _tensorboard, "wandb": _wandb}


def _needs(package: str) -> None:
    if find_spec(package) is None:
        raise UserError(
            f"training.track {package} needs the package {package}: pip install 'zforcing[{package}]', "
            f"or set training.track to none"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain(value: Any) -> Any:
    """As trackers take settings: numbers, text and booleans."""
    return value if isinstance(value, bool | int | float | str) else str(value)
