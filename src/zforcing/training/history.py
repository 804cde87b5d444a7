"""The history of training: rows of metrics as frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..bounds.base import BoundKind, Weights
from .players.turn import PREFIX

NO_TERMS = ("sequences", "updates", "gradient_norm")  # of an update's sums


@dataclass(frozen=True)
class TrainingRow:
    """Metrics of training, means over the updates since the last row.

    Attributes:
        epoch: the current epoch, from 1.
        step: updates so far.
        per: what `nats`, `loss` and `terms` are means over: "sequence", or "chunk" (of a sequence).
        nats: the bound on log p(x).
        loss: the loss, in nats.
        terms: the unweighted terms of the bound and the loss, in nats: log_px, kl, and each cost with a weight.
        weights: weights of the loss's terms at the last update.
        gradient_norm: before clipping.
        learning_rate: Adam's.
        player: of a player (`of_player`); empty without one.
        seconds: of training so far.
        cpu_seconds: what the CPUs have spent on it so far, all threads and processes together.
    """

    event: ClassVar[str] = "training"

    epoch: int
    step: int
    per: str
    nats: float
    loss: float
    terms: Mapping[str, float]
    weights: Weights
    gradient_norm: float
    learning_rate: float
    seconds: float = field(compare=False)
    cpu_seconds: float = field(default=0.0, compare=False)
    player: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As a row of metrics.jsonl: a function of the seed, and so without the times, which `times_of` has."""
        return (
            {"event": self.event, "epoch": self.epoch, "step": self.step}
            | {f"nats_per_{self.per}": self.nats, f"kl_per_{self.per}": self.terms["kl"], "loss": self.loss}
            | {"gradient_norm": self.gradient_norm, "learning_rate": self.learning_rate}
            | _weights(self.weights)
            | _terms(self.terms, self.per)
            | {f"player_{name}": value for name, value in self.player.items()}
        )


@dataclass(frozen=True)
class ValidationRow:
    """The bound on the validation split, with the same noise each time.

    Attributes:
        epoch: completed epochs.
        step: updates so far.
        nats: the bound on log p(x), mean over sequences.
        loss: the loss with the weights of the last update, mean over sequences, in nats.
        terms: the unweighted terms as in `TrainingRow`, means over sequences.
        weights: weights of the loss's terms.
        kind: relation of `nats` to log p(x): "exact", "lower bound" or "estimate".
        best: whether it is the best validation so far.
        learning_rate: Adam's for the next updates.
        seconds: of training so far.
        cpu_seconds: what the CPUs have spent on it so far, all threads and processes together.
    """

    event: ClassVar[str] = "validation"

    epoch: int
    step: int
    nats: float
    loss: float
    terms: Mapping[str, float]
    weights: Weights
    kind: BoundKind
    best: bool
    learning_rate: float
    seconds: float = field(compare=False)
    cpu_seconds: float = field(default=0.0, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """As a row of metrics.jsonl."""
        return (
            {"event": self.event, "epoch": self.epoch, "step": self.step}
            | {"nats_per_sequence": self.nats, "kl_per_sequence": self.terms["kl"], "kind": self.kind}
            | {"best": self.best, "learning_rate": self.learning_rate, "loss": self.loss}
            | _terms(self.terms, "sequence")
        )


@dataclass(frozen=True)
class SkippedRow:
    """A skipped update, whose loss or gradient was not finite.

    Attributes:
        epoch: the current epoch, from 1.
        step: updates before this one.
        batch: updates of this epoch before this one.
        what: "loss" or "gradient", whichever was not finite.
        loss: summed over the batch, in nats.
        gradient_norm: before clipping.
        sequences: numbers of the batch's sequences.
        seconds: of training so far.
        cpu_seconds: what the CPUs have spent on it so far, all threads and processes together.
    """

    event: ClassVar[str] = "nonfinite"

    epoch: int
    step: int
    batch: int
    what: str
    loss: float
    gradient_norm: float
    sequences: tuple[int, ...]
    seconds: float = field(compare=False)
    cpu_seconds: float = field(default=0.0, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """As a row of metrics.jsonl."""
        return {
            "event": self.event,
            "epoch": self.epoch,
            "step": self.step,
            "what": self.what,
            "loss": self.loss,
            "gradient_norm": self.gradient_norm,
            "sequences": list(self.sequences),
        }


Row = TrainingRow | ValidationRow | SkippedRow
TIMES = ("seconds", "cpu_seconds")


def times_of(row: Row) -> dict[str, float]:
    """What of a row is no function of the seed, by name."""
    return {name: round(getattr(row, name), 3) for name in TIMES}


@dataclass(frozen=True)
class History:
    """What `fit` returns: the metrics of a training.

    Attributes:
        rows: one for every `log_every` updates, every validation and every skipped update, in order.
        stopped: why training ended, such as "epochs 20".
        updates: number of updates, including skipped ones.
        seconds: duration of the training.

    Example:
        history = zf.fit(model, train, valid)
        history.best.nats
        pandas.DataFrame(history.to_dict()["validation"]).plot("step", "nats_per_sequence")
    """

    rows: tuple[Row, ...]
    stopped: str
    updates: int
    seconds: float

    @property
    def training(self) -> tuple[TrainingRow, ...]:
        """The rows of updates."""
        return tuple(row for row in self.rows if isinstance(row, TrainingRow))

    @property
    def validation(self) -> tuple[ValidationRow, ...]:
        """The rows of validations; the first one was before the first update."""
        return tuple(row for row in self.rows if isinstance(row, ValidationRow))

    @property
    def skipped(self) -> tuple[SkippedRow, ...]:
        """The rows of skipped updates."""
        return tuple(row for row in self.rows if isinstance(row, SkippedRow))

    @property
    def best(self) -> ValidationRow | None:
        """The best validation, whose weights the model has; None without validation."""
        return next((row for row in reversed(self.validation) if row.best), None)

    def to_dict(self) -> dict[str, dict[str, list[Any]]]:
        """Return the rows as columns, for a data frame.

        Returns:
            For each of "training", "validation" and "nonfinite" (skipped updates) a dict of columns by name.
        """
        return {
            cls.event: _columns([row.to_dict() | times_of(row) for row in self.rows if isinstance(row, cls)])
            for cls in (TrainingRow, ValidationRow, SkippedRow)
        }

    def __repr__(self) -> str:
        b = self.best
        best = "" if b is None else f"best {b.nats:.3f} nats per sequence ({b.kind}) after epoch {b.epoch}; "
        return f"<History: {best}{self.updates} updates in {self.seconds:.1f} s; stopped: {self.stopped}>"


def _weights(weights: Weights) -> dict[str, float]:
    return {f"{name}_weight": float(value) for name, value in weights.by_name.items()}


def _terms(terms: Mapping[str, float], per: str) -> dict[str, float]:
    return {f"{name}_per_{per}": value for name, value in terms.items() if name != "kl"}


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def means(sums: Mapping[str, float], weights: Weights) -> tuple[float, float, dict[str, float]]:
    """The bound, the loss and the terms, each a mean over sequences; a cost of weight 0 is no term of the loss."""
    own = {name: value for name, value in sums.items() if not name.startswith(PREFIX)}
    parts = {name: value / sums["sequences"] for name, value in own.items() if name not in NO_TERMS}
    nats, loss = parts.pop("value"), parts.pop("loss")
    idle = {name for name, weight in weights.costs.items() if not weight}
    return nats, loss, {name: value for name, value in parts.items() if name not in idle}


def of_player(sums: Mapping[str, float]) -> dict[str, float]:
    """What updates say of a player, from the sums of `Turn.end`; empty without one.

    `plays`: the share of updates that it played at. Of these, `moved`: the share at which it took its step; `counted`:
    the share at which its term counted in the model's loss; `loss`, `term`, `measure`: the means of its loss, its term
    and what its gates read. `gradient_norm`, `term_gradient_norm`: means where it moved, and where its term counted.
    """
    found = {name.removeprefix(PREFIX): value for name, value in sums.items() if name.startswith(PREFIX)}
    if not found:
        return {}
    plays, moved, counted = found["plays"], found["moved"], found["counted"]
    over = dict.fromkeys(("moved", "counted", "loss", "term", "measure"), plays)
    over |= {"plays": sums["updates"], "gradient_norm": moved, "term_gradient_norm": counted}
    return {name: value / over[name] for name, value in found.items() if over[name]}
