"""How long training may still take, what is said of it without a terminal, and what is said where it ended early."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from zforcing.training.callbacks import Start
from zforcing.training.pace import Pace, still_improving
from zforcing.training.progress import Progress
from zforcing.training.reporter import Reporter, duration
from zforcing.training.settings import TrainingConfig
from zforcing.training.update import Updated

FIRST = Progress(step=1, seconds=5.0)
AT = Progress(step=101, seconds=25.0)  # five updates a second


def left(updates: int, **settings: object) -> str:
    return Pace(FIRST, updates, TrainingConfig(**settings)).left(AT, duration)  # type: ignore[arg-type]


def test_the_time_left_is_the_least_of_updates_and_minutes() -> None:
    assert left(1101, patience=None) == "3:20 left"
    assert left(1101, patience=None, max_minutes=1.0) == "0:35 left"
    assert left(10**9, patience=None, max_minutes=10.0) == "9:35 left"


def test_minutes_of_the_cpus_last_as_long_as_they_have_so_far() -> None:
    first, at = replace(FIRST, cpu_seconds=2.0), replace(AT, cpu_seconds=12.0)  # half of the time
    pace = Pace(first, 10**9, TrainingConfig(max_cpu_minutes=1.0))
    assert pace.seconds_left(at) == pytest.approx((60 - 12) / 0.5)
    assert pace.share(at) == pytest.approx(12 / 60)
    assert pace.seconds_left(replace(at, cpu_seconds=61.0)) == 0.0


def test_patience_may_end_it_before() -> None:
    assert left(1101, patience=3) == "at most 3:20 left"


def test_before_anything_was_timed_only_minutes_say_what_is_left() -> None:
    assert Pace(FIRST, 100, TrainingConfig()).left(FIRST, duration) == ""
    assert Pace(FIRST, 100, TrainingConfig(max_minutes=1.0, patience=None)).left(FIRST, duration) == "0:55 left"


def test_nothing_is_left_after_the_last_minute() -> None:
    late = replace(AT, seconds=90.0)
    pace = Pace(FIRST, 1000, TrainingConfig(max_minutes=1.0))
    assert (pace.seconds_left(late), pace.share(late)) == (0.0, 1.0)


def test_the_share_done_is_that_of_minutes_where_they_end_first() -> None:
    assert Pace(FIRST, 1010, TrainingConfig()).share(AT) == pytest.approx(0.1)
    assert Pace(FIRST, 10**9, TrainingConfig(max_minutes=1.0)).share(AT) == pytest.approx(25 / 60)


# ---- still getting better


@pytest.mark.parametrize(
    ("at", "settings", "said"),
    [
        ({}, {"max_minutes": 0.5}, "still getting better at the end; train longer, as by max_minutes 1 "),
        ({"cpu_seconds": 20.0}, {"max_cpu_minutes": 0.25}, "train longer, as by max_cpu_minutes 0.5 (of a run"),
        ({}, {"max_steps": 100}, "--resume --training.max_steps 200)"),
        ({}, {"epochs": 4}, "train longer, as by epochs 8"),
        ({"validations_without_best": 2}, {"epochs": 4}, "the best was 2 before the last, and patience is 10"),
    ],
)
def test_a_budget_that_ends_it_while_it_gets_better_is_named(
    at: dict[str, float], settings: dict[str, float], said: str
) -> None:
    ended = replace(AT, step=100, seconds=40.0, epoch=4, best=-3.0, best_epoch=4, **at)  # type: ignore[arg-type]
    assert said in still_improving(ended, TrainingConfig(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("at", "settings"),
    [
        ({"validations_without_best": 1}, {"patience": None}),  # the last one was worse, and nothing else is known
        ({"validations_without_best": 3}, {"patience": 3}),
        ({"validations_without_best": 1, "best_epoch": 0}, {}),  # no update made it better
        ({"epoch": 3}, {}),  # stopped by something else
        ({"best": -math.inf, "best_epoch": -1}, {}),  # no validation
    ],
)
def test_nothing_is_said_elsewhere(at: dict[str, float], settings: dict[str, int | None]) -> None:
    ended = replace(AT, **{"epoch": 4, "best": -3.0, "best_epoch": 4} | at)  # type: ignore[arg-type]
    assert still_improving(ended, TrainingConfig(**{"epochs": 4} | settings)) == ""  # type: ignore[arg-type]


# ---- without a terminal


def report(seconds: list[float], *, quiet: bool = False) -> None:
    """So many updates, at these seconds of training, and the end of it."""
    updated = Updated(sums={"value": -8.0, "kl": 2.0, "sequences": 4.0}, gradient_norm=1.0, applied=True, results=())
    settings, unused = TrainingConfig(max_minutes=2.0, patience=None), None
    with Reporter(quiet=quiet) as reporter:
        reporter.on_start(Progress(), Start(10**6, settings), unused)  # type: ignore[arg-type]  # no model is asked
        for step, second in enumerate(seconds, start=1):
            at = Progress(step=step, seconds=second)
            reporter.on_update(at, updated, unused)  # type: ignore[arg-type]  # as above


def test_without_a_terminal_a_line_comes_every_half_minute(capsys: pytest.CaptureFixture[str]) -> None:
    report([1.0, 29.0, 31.0, 45.0, 60.0, 62.0, 90.0])
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "epoch   1  step 3  -2.00 nats  kl 0.50  0.1 steps/s  0:31, 1:29 left",
        "epoch   1  step 6  -2.00 nats  kl 0.50  0.1 steps/s  1:02, 0:58 left",
    ]


def test_nothing_is_said_when_it_is_to_be_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    report([1.0, 100.0], quiet=True)
    assert capsys.readouterr().err == ""
