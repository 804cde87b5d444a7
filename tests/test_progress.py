"""Where training is: the rules of the learning rate, of the best, of patience and of budgets, each by itself."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import replace

import pytest

from zforcing import UserError
from zforcing.training.progress import (
    Progress,
    added,
    checkpoint_is_due,
    next_learning_rate,
    reason_to_stop,
    spent_budget,
)
from zforcing.training.settings import TrainingConfig

AT = Progress(epoch=3, batch=2, step=40, learning_rate=0.1, best=-5.0, best_epoch=1, previous=-6.0)


def test_a_record_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        AT.step = 1  # type: ignore[misc]


def test_an_update_adds_its_sums_and_ends_a_row_of_skipped_ones() -> None:
    at = replace(AT, nonfinite=4, nonfinite_in_a_row=2)
    once = at.after_update({"loss": 1.0}, seconds=2.0)
    twice = once.after_update({"loss": 3.0}, seconds=3.0)
    assert (twice.step, twice.batch, twice.seconds, twice.since_row) == (42, 4, 3.0, {"loss": 4.0})
    assert (twice.nonfinite, twice.nonfinite_in_a_row) == (4, 0)
    assert AT.since_row == {}


def test_a_skipped_update_is_counted_and_adds_nothing() -> None:
    at = AT.after_update({"loss": 1.0}, seconds=1.0).after_skipped(seconds=2.0).after_skipped(seconds=3.0)
    assert (at.step, at.nonfinite, at.nonfinite_in_a_row, at.since_row) == (43, 2, 2, {"loss": 1.0})


def test_an_epoch_ends_with_no_batch_done() -> None:
    at = AT.after_epoch()
    assert (at.epoch, at.batch, at.step) == (4, 0, 40)


def test_a_term_that_not_all_updates_have_is_in_no_sum() -> None:
    assert added({}, {"loss": 1.0}) == {"loss": 1.0}
    assert added({"loss": 1.0}, {"loss": 2.0, "auxiliary": 5.0}) == {"loss": 3.0}
    assert added({"loss": 1.0, "auxiliary": 5.0}, {"loss": 2.0}) == {"loss": 3.0}


@pytest.mark.parametrize(
    ("value", "best", "since"), [(-4.0, True, 0), (-5.0, False, 1), (-7.0, False, 1), (math.nan, False, 1)]
)
def test_only_a_better_validation_is_the_best(value: float, best: bool, since: int) -> None:
    at = AT.after_validation(value, TrainingConfig(), seconds=1.0)
    assert (at.best, at.best_epoch) == ((value, 3) if best else (-5.0, 1))
    assert at.validations_without_best == since
    assert at.previous == (value if math.isfinite(value) else -math.inf)


@pytest.mark.parametrize(
    ("at", "value", "expected"),
    [
        (AT, -5.5, 0.1),  # better than the time before, not the best
        (AT, -6.5, 0.05),
        (AT, math.nan, 0.05),
        (replace(AT, step=0), -6.5, 0.1),  # before the first update nothing was learned too fast
        (replace(AT, learning_rate=0.015), -6.5, 0.01),  # the floor
        (replace(AT, learning_rate=0.005), -6.5, 0.005),  # below it already: never raised
    ],
)
def test_the_learning_rate_falls_when_validation_is_worse(at: Progress, value: float, expected: float) -> None:
    settings = TrainingConfig(learning_rate_factor=0.5, min_learning_rate=0.01)
    assert next_learning_rate(at, value, settings) == pytest.approx(expected)


@pytest.mark.parametrize(("epoch", "batch", "expected"), [(2, 0, 0.1), (3, 0, 0.02), (3, 2, 0.1), (4, 0, 0.02)])
def test_the_learning_rate_decays_at_the_end_of_an_epoch(epoch: int, batch: int, expected: float) -> None:
    settings = TrainingConfig(learning_rate_decay=0.2, learning_rate_decay_from=3, min_learning_rate=0.0)
    assert next_learning_rate(replace(AT, epoch=epoch, batch=batch), -1.0, settings) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, ""),
        ({"max_steps": 41}, ""),
        ({"max_steps": 40}, "max_steps 40"),
        ({"max_minutes": 1.1}, ""),
        ({"max_minutes": 1.0}, "max_minutes 1"),
        ({"max_cpu_minutes": 0.6}, ""),
        ({"max_cpu_minutes": 0.5}, "max_cpu_minutes 0.5"),
    ],
)
def test_a_budget_within_an_epoch_is_steps_or_minutes(settings: dict[str, float], reason: str) -> None:
    at = replace(AT, seconds=60.0, cpu_seconds=30.0)
    assert spent_budget(at, TrainingConfig(**settings)) == reason  # type: ignore[arg-type]
    assert reason_to_stop(at, TrainingConfig(**settings)) == reason  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"epochs": 4}, ""),
        ({"epochs": 3}, "epochs 3"),
        ({"patience": 3}, ""),
        ({"patience": 2}, "no better validation in 2"),
        ({"patience": None}, ""),
    ],
)
def test_epochs_and_patience_end_it_after_a_validation(settings: dict[str, int | None], reason: str) -> None:
    at = replace(AT, validations_without_best=2)
    assert reason_to_stop(at, TrainingConfig(**settings)) == reason  # type: ignore[arg-type]
    assert spent_budget(at, TrainingConfig(**settings)) == ""  # type: ignore[arg-type]


def test_a_checkpoint_is_due_every_so_many_updates_while_they_are_finite() -> None:
    assert checkpoint_is_due(AT, TrainingConfig(checkpoint_every=20))
    assert not checkpoint_is_due(AT, TrainingConfig(checkpoint_every=21))
    assert not checkpoint_is_due(AT, TrainingConfig(checkpoint_every=None))
    assert not checkpoint_is_due(replace(AT, nonfinite_in_a_row=1), TrainingConfig(checkpoint_every=20))


@pytest.mark.parametrize("at", [Progress(), replace(AT, since_row={"loss": 2.5}, finished="epochs 3")])
def test_a_record_comes_back_from_json(at: Progress) -> None:
    assert Progress.from_json(json.loads(json.dumps(at.to_json(), allow_nan=False))) == at


def test_sums_that_are_not_finite_come_back_from_json() -> None:
    at = replace(AT, since_row={"loss": 2.5, "player.loss": math.inf, "player.term": -math.inf, "mean": math.nan})
    back = Progress.from_json(json.loads(json.dumps(at.to_json(), allow_nan=False)))
    assert {name: str(value) for name, value in back.since_row.items()} == {
        name: str(value) for name, value in at.since_row.items()
    }


def test_what_is_missing_or_of_another_type_is_named() -> None:
    values = AT.to_json()
    del values["epoch"], values["rows"]
    with pytest.raises(UserError, match=r"progress\.epoch is missing; progress\.rows is missing"):
        Progress.from_json(values)
    with pytest.raises(UserError, match=r"progress\.step is '3'.*progress\.best is True"):
        Progress.from_json(AT.to_json() | {"step": "3", "best": True})
