"""The training loop: epoch -> batches -> update -> validate -> stop.

Everything random at a step (latents, dropout of units and words, the order of batches) is a pure function of the seed
and the step, so that a resumed training continues bit for bit as if it had not been interrupted. Where it is, is a
frozen record (`Progress`) that goes in and comes out; what changes in place are the weights, Adam's moments, and the
state that chunks go on from.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..bounds import Bound, Weights
from ..data import SequenceDataset
from ..data.batches import evaluation_batches
from ..data.read_line import read_line
from ..data.starts import first_observations
from ..data.suspicious import suspicions
from ..distributions import seed_for
from ..errors import UserError
from ..models import DensityModel, SequenceModel
from .callbacks import Callback, Callbacks, Start
from .feed import Feed, Work, held_whole, make_feed, own_parts
from .graph import GraphUpdate, check_capturable
from .history import SkippedRow, TrainingRow, ValidationRow, means, of_player
from .parallel import Processes
from .players.player import Player
from .players.turn import PlayerUpdate
from .progress import INTERRUPTED, Progress, added, checkpoint_is_due, reason_to_stop, spent_budget
from .schedules import WeightSchedules
from .settings import TrainingConfig
from .signals import Stop
from .update import BoundModule, EagerUpdate, Updated, check_precision, make_optimizer, sums_of

Clock = Callable[[], dict[str, float]]
Restore = Callable[[Feed, torch.optim.Adam, PlayerUpdate | None], None]
HINT = "Try a lower learning_rate or max_grad_norm, or look at the sequences that were named"


class Diverged(Exception):
    """Raised when losses or gradients are not finite: too many in a row, or in every validation."""


@dataclass(frozen=True)
class Training:
    """A training in progress: the model, its bound and optimizer, its data and its settings.

    model, module: the model, and what is called to train it, the bound with it
    update:        one step of Adam
    feed:          what each update trains on
    train, valid:  the data; valid is measured after each epoch, or None
    player:        what trains beside the bound, or None
    """

    model: DensityModel
    module: BoundModule
    optimizer: torch.optim.Optimizer
    update: EagerUpdate | GraphUpdate
    feed: Feed
    train: SequenceDataset
    valid: SequenceDataset | None
    weights: WeightSchedules
    settings: TrainingConfig
    seed: int
    here: Processes
    stop: Stop
    player: PlayerUpdate | None = None


def prepare(
    model: DensityModel,
    train: SequenceDataset,
    valid: SequenceDataset | None,
    *,
    bound: Bound,
    weights: WeightSchedules,
    settings: TrainingConfig,
    seed: int,
    here: Processes,
    stop: Stop,
    say: Callable[[str], None],
    player: Player | None = None,
    restore: Restore = lambda feed, adam, player: None,
) -> Training:
    """The model on its device, an optimizer and an update for it.

    restore: puts moments, a carried state and the player back. Raises UserError for settings that don't go with the
    model, the bound or the device.
    """
    check_steps(model, train)
    check_precision(model, settings.precision)
    if model.description is not None and model.starts is None:
        model.starts = first_observations(train, model.description)
    if isinstance(model, SequenceModel):
        model.backend = "reference" if settings.backend == "reference" else "fast"
    if settings.backend == "graph":
        check_capturable(model, bound, device=here.device, processes=here.world)
    model.to(here.device)
    here.begin_alike(model)
    adam = make_optimizer(model, settings)
    feed = make_feed(train, model, settings, seed=seed, here=here)
    opponent = None if player is None else make_player(player, model, seed=seed, here=here)
    restore(feed, adam, opponent)
    module = BoundModule(model, bound, word_dropout=settings.word_dropout)
    common: Any = {
        "max_grad_norm": settings.max_grad_norm,
        "precision": settings.precision,
        "sums": lambda result, share: sums_of(result, share, here=here, stop=float(stop.requested)),
    }
    update: EagerUpdate | GraphUpdate
    if settings.backend == "graph":
        longest = int(train.lengths.max()) - model.spec.unscored_steps
        update = GraphUpdate(module, adam, longest=longest, say=say, **common)
    else:
        update = EagerUpdate(module, adam, here=here, player=opponent, **common)
    return Training(model, module, adam, update, feed, train, valid, weights, settings, seed, here, stop, opponent)


def make_player(player: Player, model: DensityModel, *, seed: int, here: Processes) -> PlayerUpdate:
    """The player's network and optimizer; its weights come from a seed of their own, the same in all processes."""
    seed_everything(seed, "player")
    return PlayerUpdate(player, model, here=here)


def check_steps(model: DensityModel, data: SequenceDataset) -> None:
    """Raise UserError where sequences have time steps and the model has none."""
    longest = int(data.lengths.max())
    if longest > 1 and not isinstance(model, SequenceModel):
        raise UserError(
            f"model {model.name} has no time steps, and the training sequences have up to {longest}: use data of one "
            f"observation each (data.order image reads images whole)"
        )


def run(training: Training, at: Progress, callbacks: Iterable[Callback]) -> Progress:
    """Train until a budget is spent or validation stops improving; return where that ends (`finished` says why).

    at: where training is; `Progress(learning_rate=...)` at the start. When asked to stop, training ends after the
    current update with `finished` INTERRUPTED; the checkpoint written then is of a run that isn't finished. From a
    checkpoint at which the settings end it, there is no update more. Raises Diverged after too many updates in a row
    that are not finite.
    """
    notify, clock = Callbacks(tuple(callbacks)), _clock(at, training.here)
    notify.on_start(at, Start(_updates_at_most(training), training.settings, _remarks(training)), training.model)
    if at.rows == 0:
        notify.on_checkpoint(at, training.model)  # a run can resume before its first validation too
        at = validated(training, at, notify, clock)
        notify.on_checkpoint(at, training.model)
    elif at.batch == 0 and (ended := reason_to_stop(at, training.settings)):  # at its last validation: `best` may be
        at = replace(at, finished=ended)
        notify.on_checkpoint(at, training.model)
    while not at.finished:
        at = _epoch(training, at, notify, clock)
    notify.on_end(at, training.model)
    return at


def _epoch(training: Training, at: Progress, notify: Callback, clock: Clock) -> Progress:
    """The rest of the epoch that training is in, its validation, and what follows from that."""
    settings, model = training.settings, training.model
    plan = training.feed.plan(at.epoch)
    training.module.train()
    left = [] if at.batch and spent_budget(at, settings) else plan[at.batch :]
    for entry, work in zip(left, training.feed.updates(left, epoch=at.epoch, step=at.step), strict=True):
        at, stopping = _updated(training, at, entry, work, notify, clock)
        if stopping:
            notify.on_checkpoint(at, model)
            return replace(at, finished=INTERRUPTED)
        if spent_budget(at, settings):
            break
        if checkpoint_is_due(at, settings) and at.batch < len(plan):
            notify.on_checkpoint(at, model)
    if at.batch == len(plan):
        at = at.after_epoch()
        training.feed.forget()
    at = validated(training, at, notify, clock)
    at = replace(at, finished=reason_to_stop(at, settings))
    if at.finished or not at.nonfinite_in_a_row:  # else the last checkpoint stays the last good one
        notify.on_checkpoint(at, model)
    return at


def _updated(
    training: Training, at: Progress, entry: Any, work: Work, notify: Callback, clock: Clock
) -> tuple[Progress, bool]:
    """After one step of Adam, unless its loss or gradient is not finite; and whether a process was asked to stop."""
    seed_everything(training.seed, "step", at.step, training.here.rank)
    weights = training.weights.at(at.step)
    updated = training.update.over(work.parts, weights, learning_rate=at.learning_rate)
    training.feed.keep(entry, updated)
    sums = dict(updated.sums)
    stopping = sums.pop("stop") > 0  # a signal to one process stops all of them, at the same update
    updated = replace(updated, sums=sums)
    if updated.applied:
        numbers = {"gradient_norm": updated.gradient_norm, "updates": 1.0}
        after = at.after_update(sums | numbers, **clock())
    else:
        after = _skipped(training, at, work, updated, notify, clock)
    notify.on_update(after, updated, training.model)
    if after.step % training.settings.log_every == 0 and after.since_row:
        row = _training_row(training, after, weights)
        after = replace(after.after_row(), since_row={})
        notify.on_row(after, row, training.model)
    return after, stopping


def _skipped(
    training: Training, at: Progress, work: Work, updated: Updated, notify: Callback, clock: Clock
) -> Progress:
    """After an update that was not finite. Raises Diverged when there were too many in a row."""
    what = "gradient" if math.isfinite(updated.loss) else "loss"
    after = at.after_skipped(**clock()).after_row()
    row = SkippedRow(
        epoch=at.epoch + 1,
        step=at.step,
        batch=at.batch,
        what=what,
        loss=updated.loss,
        gradient_norm=updated.gradient_norm,
        sequences=tuple(work.indices),
        seconds=after.seconds,
        cpu_seconds=after.cpu_seconds,
    )
    notify.on_row(after, row, training.model)
    if after.nonfinite_in_a_row >= training.settings.max_nonfinite:
        raise Diverged(
            f"{after.nonfinite_in_a_row} updates in a row without a finite loss and gradient, the last at step "
            f"{at.step}"
        )
    return after


def _training_row(training: Training, at: Progress, weights: Weights) -> TrainingRow:
    """Means over the updates since the last row. weights: of the last update."""
    nats, loss, terms = means(at.since_row, weights)
    return TrainingRow(
        epoch=at.epoch + 1,
        step=at.step,
        per=training.feed.per,
        nats=nats,
        loss=loss,
        terms=terms,
        weights=weights,
        gradient_norm=at.since_row["gradient_norm"] / at.since_row["updates"],
        learning_rate=at.learning_rate,
        player=of_player(at.since_row),
        seconds=at.seconds,
        cpu_seconds=at.cpu_seconds,
    )


def validated(training: Training, at: Progress, notify: Callback, clock: Clock) -> Progress:
    """After the bound was measured on the validation split, with the same noise each time, if there is one."""
    if training.valid is None:
        return at.without_validation(training.settings)
    weights = training.weights.at(max(at.step - 1, 0))
    sums, kind = _measured(training, training.valid, weights)
    nats, loss, terms = means(sums, weights)
    after = at.after_validation(nats, training.settings, **clock()).after_row()
    row = ValidationRow(
        epoch=at.epoch,
        step=at.step,
        nats=nats,
        loss=loss,
        terms=terms,
        weights=weights,
        kind=kind,
        best=nats > at.best,
        learning_rate=after.learning_rate,
        seconds=after.seconds,
        cpu_seconds=after.cpu_seconds,
    )
    notify.on_row(after, row, training.model)
    notify.on_validation(after, row, training.model)
    return after


@torch.no_grad()
def _measured(training: Training, data: SequenceDataset, weights: Weights) -> tuple[dict[str, float], Any]:
    """Sums over the sequences of a split, of all processes, and the kind of the bound; in the weights' precision."""
    here, settings = training.here, training.settings
    seed_everything(training.seed, "validation", here.rank)
    plan = evaluation_batches(data.lengths, settings.evaluation_batch_size)
    sums: dict[str, float] = {}
    noise = [seed_for(training.seed, "validation noise")] * len(plan)
    module = training.module.measuring()
    for batch, share in own_parts(data, plan, training.model, here, noise=noise):
        result = training.feed.measure(module, batch, weights)
        sums = added(sums, sums_of(result, share, here=here))
    return sums, result.kind


def _updates_at_most(training: Training) -> int:
    """Of chunks the number may differ a little from epoch to epoch: here it is the first one's."""
    settings = training.settings
    in_epochs = settings.epochs * len(training.feed.plan(0))
    return in_epochs if settings.max_steps is None else min(in_epochs, settings.max_steps)


def _remarks(training: Training) -> tuple[str, ...]:
    """What was read, what was left out of it, what looks wrong, and what isn't measured."""
    splits = {"train": training.train} | ({} if training.valid is None else {"valid": training.valid})
    skipped = sum(data.skipped for data in splits.values())
    remarks = [read_line(name, data) for name, data in splits.items()]
    if skipped:
        remarks.append(f"{skipped} files of the training and validation splits were left out as unreadable")
    remarks += [f"{name} split: {data.remark}" for name, data in splits.items() if data.remark]
    remarks += held_whole(training.model, training.train, training.settings)
    remarks += [f"warning: {message}" for message in suspicions(training.train, training.valid)]
    if training.valid is None:
        remarks.append(
            "no validation data: training continues until its budget is spent, and the last weights are kept"
        )
    return tuple(remarks)


def _clock(before: Progress, here: Processes) -> Clock:
    """Of training, sessions before included: seconds, and those that the CPUs spent on it.

    All processes read the same: their mean, and what the CPUs spent on all of them. Else a budget of time would end
    training in some of them an update before it does in the others.
    """
    started, busy = time.perf_counter(), time.process_time()

    def read() -> dict[str, float]:
        own = [(time.perf_counter() - started) / here.world, time.process_time() - busy]
        if here.world > 1:
            own = here.total(torch.tensor(own, dtype=torch.float64, device=here.device)).tolist()
        seconds, cpu_seconds = own
        return {"seconds": before.seconds + seconds, "cpu_seconds": before.cpu_seconds + cpu_seconds}

    return read


def seed_everything(seed: int, *purpose: int | str) -> None:
    """Seed torch's generators for one purpose: the same seed and purpose give the same noise, others independent."""
    torch.manual_seed(seed_for(seed, *purpose))
