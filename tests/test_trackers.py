"""Trackers: what they are told, and TensorBoard's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import metrics_of
from zforcing import RNN, ObservationSpec, RNNConfig, Tracker, UserError, fit
from zforcing.data import InMemory
from zforcing.observations import Example
from zforcing.training import trackers
from zforcing.training.reporter import Reporter
from zforcing.training.runs.config import parse_config
from zforcing.training.runs.run import train


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


class Fake:
    """Stands in for one of accelerate's."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def start(self) -> None:
        self.told.append("start")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.told.append(values)

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        self.told.append((step, values))

    def finish(self) -> None:
        self.told.append("finish")


def data(n: int) -> InMemory:
    rng = np.random.default_rng(0)
    return InMemory([Example(rng.normal(size=(4, 1)).astype(np.float32)) for _ in range(n)])


def test_a_tracker_is_told_every_number_of_every_row() -> None:
    fake = Fake()
    model = RNN(ObservationSpec("real", 1), RNNConfig(hidden_size=3, embedding_size=2))
    settings = {"epochs": 1, "batch_size": 8, "log_every": 1, "progress": False, "device": "cpu"}
    history = fit(model, data(16), data(8), callbacks=[Tracker(fake, {"seed": 0})], **settings)
    first, noted, *logged, last = fake.told
    assert (first, noted, last) == ("start", {"seed": 0}, "finish")
    assert [step for step, _ in logged] == [row.step for row in history.rows]
    for row, (_, values) in zip(history.rows, logged, strict=True):
        assert values[f"{row.event}/loss"] == row.to_dict()["loss"]
        assert values["epoch"] == row.epoch
        assert all(isinstance(value, int | float) and not isinstance(value, bool) for value in values.values())


@pytest.fixture
def config(tmp_path: Path) -> Any:
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(40, 4, 1)))

    def make(**training: Any) -> Any:
        return parse_config(
            {
                "data": {"name": "arrays", "path": str(tmp_path / "x.npz")},
                "model": {"name": "rnn", "hidden_size": 3, "embedding_size": 2},
                "training": {"epochs": 1, "batch_size": 8, "log_every": 1} | training,
            }
        )

    return make


def run(config: Any, folder: Path, **options: Any) -> Any:
    return train(config, folder, device="cpu", reporter=Reporter(quiet=True), **options)


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_tracker_that_is_not_installed_says_what_to_install(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda package: None)
    with pytest.raises(UserError, match=rf"pip install 'zforcing\[{name}\]'"):
        run(config(track=name), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_with_tensorboard_writes_its_curves(config: Any, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(config(track="tensorboard"), tmp_path / "run")
    (folder,) = {file.parent for file in (tmp_path / "run" / "tensorboard").glob("events*")}
    curves = EventAccumulator(str(folder)).Reload()
    assert [event.step for event in curves.Scalars("training/loss")] == [1, 2, 3, 4]
    assert [event.step for event in curves.Scalars("validation/nats_per_sequence")] == [0, 4]
    untracked = run(config(), tmp_path / "plain")
    assert metrics_of(tmp_path / "plain") == metrics_of(tmp_path / "run")
    assert untracked.finished == "epochs 1"


def test_a_run_may_go_on_with_another_tracker(config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake()
    run(config(), tmp_path / "run")
    monkeypatch.setattr(trackers, "_needs", lambda package: None)
    monkeypatch.setitem(trackers._TRACKERS, "wandb", lambda folder: fake)
    run(config(epochs=2, track="wandb"), tmp_path / "run", resume=True)
    assert [told[0] for told in fake.told[1:-1]] == [5, 6, 7, 8, 8]  # no settings again


def test_the_name_of_a_tracker_is_none() -> None:
    with pytest.raises(UserError, match="tracker is 'tensorboard'; it must be a tracker of accelerate"):
        Tracker("tensorboard")  # type: ignore[arg-type]
