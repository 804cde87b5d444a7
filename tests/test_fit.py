"""Training in memory: what is in the model afterwards, what is said on the way, and that a run is the same loop."""

from __future__ import annotations

import math
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import Subset, TensorDataset

from conftest import metrics_of
from zforcing import (
    ELBO,
    FIVO,
    IWAE,
    RNN,
    BoundResult,
    Callback,
    Diverged,
    ObservationSpec,
    RNNConfig,
    Schedule,
    SequenceBatch,
    SequenceModel,
    Sequences,
    UserError,
    Weights,
    WeightSchedules,
    ZForcing,
    ZForcingConfig,
    evaluate,
    fit,
)
from zforcing.bounds import Bound
from zforcing.data import InMemory, LinearGaussianData
from zforcing.models import map_state
from zforcing.observations import Example
from zforcing.saving.model import load
from zforcing.training.loop import seed_everything
from zforcing.training.reporter import Reporter
from zforcing.training.runs.config import parse_config
from zforcing.training.runs.run import train
from zforcing.training.settings import TrainingConfig

REAL = ObservationSpec("real", 2)
WEIGHTS = WeightSchedules(kl=Schedule(0.5), auxiliary=Schedule(0.01), backward=Schedule(0.02))


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


def walks(n: int, seed: int = 0, dtype: Any = np.float32) -> InMemory:
    """Ragged random walks."""
    rng = np.random.default_rng(seed)
    return InMemory([Example(rng.normal(size=(rng.integers(2, 8), 2)).cumsum(0).astype(dtype)) for _ in range(n)])


def rnn(seed: int = 0) -> RNN:
    torch.manual_seed(seed)
    return RNN(REAL, RNNConfig(hidden_size=5, embedding_size=4))


def zforcing(seed: int = 0, **settings: Any) -> ZForcing:
    torch.manual_seed(seed)
    sizes = {"hidden_size": 5, "embedding_size": 4, "latent_size": 2, "mlp_size": 4}
    return ZForcing(REAL, ZForcingConfig(**(sizes | settings)))


def copied(model: SequenceModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


quiet: dict[str, Any] = {"progress": False, "device": "cpu"}


def test_fit_reaches_what_it_should() -> None:
    """x_t = x_{t-1} with probability 0.9: an RNN must come close to the entropy, and not below it."""
    rng = np.random.default_rng(1)
    x = ((rng.random((400, 10)) < 0.1).cumsum(1) % 2).astype(np.float32)[:, :, None]
    train, valid = (InMemory([Example(e) for e in part]) for part in (x[:320], x[320:]))
    model = RNN(ObservationSpec("binary", 1), RNNConfig(hidden_size=8, embedding_size=4))
    history = fit(model, train, valid, epochs=30, learning_rate=0.02, **quiet)
    flips = [np.diff(e.x[:, 0], prepend=0) for e in valid.examples]
    true = np.mean([sum(math.log(0.1 if d else 0.9) for d in f) for f in flips])
    assert history.best is not None
    assert true - 0.1 < history.best.nats < true + 0.3  # more would be a leak of the future
    assert history.best.kind == "exact"


def test_the_best_weights_are_in_the_model_and_it_is_in_eval_mode() -> None:
    model, valid = rnn(), walks(8, seed=1)
    history = fit(
        model, walks(32), valid, epochs=12, batch_size=8, learning_rate=0.5, learning_rate_factor=1.0, **quiet
    )
    values = [row.nats for row in history.validation]
    assert history.best is not None
    assert history.best.nats == max(values) > values[-1]  # jumpy on purpose: the best is not the last
    assert not model.training
    assert evaluate(model, valid).nats_per_sequence == pytest.approx(max(values), rel=1e-6)


def test_the_seed_decides_all() -> None:
    ends = []
    for seed in (3, 3, 4):
        model = zforcing(dropout=0.2)
        torch.manual_seed(len(ends))  # whatever the caller does with it
        fit(model, walks(32), walks(8, seed=1), epochs=2, seed=seed, **quiet)
        ends.append(copied(model))
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])


@pytest.mark.parametrize("noisy", [True, False])
def test_each_update_has_noise_of_its_own_and_each_validation_the_same(noisy: bool) -> None:
    """One sequence, and a learning rate at which nothing is learned: only noise can make a difference."""
    alone: dict[str, Any] = {"log_every": 1, "epochs": 4, "learning_rate": 1e-12}
    history = fit(zforcing() if noisy else rnn(), walks(1), walks(8, seed=1), **alone, **quiet)
    first, *later = (row.nats for row in history.training)
    assert len({round(nats, 3) for nats in (first, *later)}) == (4 if noisy else 1)
    assert [row.nats for row in history.validation] == pytest.approx([history.validation[0].nats] * 5, rel=1e-6)


def test_the_callers_generator_is_left_alone() -> None:
    model = zforcing()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(model, walks(16), walks(8), epochs=1, **quiet)
    assert torch.equal(torch.rand(3), expected)


def test_no_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fit(rnn(), walks(16), walks(8), epochs=1, **quiet)
    assert list(tmp_path.iterdir()) == []


def test_a_history_of_few_updates_has_a_row_for_each_epoch() -> None:
    history = fit(rnn(), walks(20), walks(8), epochs=3, batch_size=8, device="cpu", progress=False)
    assert [(row.epoch, row.step) for row in history.training] == [(1, 3), (2, 6), (3, 9)]


def test_chunks_are_updates_of_which_every_fiftieth_has_a_row() -> None:
    data = InMemory([Example(np.zeros((n, 2), dtype=np.float32)) for n in (60, 60)])
    chunks: dict[str, Any] = {"truncated_bptt_steps": 1, "batch_size": 2, "epochs": 1}
    assert [row.step for row in fit(rnn(), data, **chunks, **quiet).training] == [50]


def test_a_run_is_the_same_training(tmp_path: Path) -> None:
    """Rows and weights, bit for bit, with random walks from a file."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=rng.normal(size=(40, 6, 2)).cumsum(1), lengths=rng.integers(2, 7, size=40))
    training = {"epochs": 3, "batch_size": 8, "learning_rate": 0.05, "log_every": 2}
    weights = {"kl": {"start": 0.5}, "auxiliary": {"start": 0.01}, "backward": {"start": 0.02}}
    sizes = {"hidden_size": 5, "embedding_size": 4, "latent_size": 2, "mlp_size": 4, "dropout": 0.2}
    data, model = {"name": "arrays", "path": str(tmp_path / "x.npz")}, {"name": "zforcing"} | sizes
    config = parse_config({"data": data, "model": model, "weights": weights, "training": training, "seed": 7})
    train(config, tmp_path / "run", device="cpu", reporter=Reporter(quiet=True))

    description = config.data.describe()
    seed_everything(7, "weights")
    fitted = config.build_model(description.spec)
    splits = (config.data.load(split, description) for split in ("train", "valid"))
    history = fit(fitted, *splits, weights=WEIGHTS, seed=7, **training, **quiet)
    assert [row.to_dict() for row in history.rows] == metrics_of(tmp_path / "run")
    assert same(copied(fitted), copied(load(tmp_path / "run")))


# Without validation.


def test_without_validation_it_trains_to_its_budget_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    model = rnn()
    before = copied(model)
    history = fit(model, walks(16), epochs=2, batch_size=8, patience=1, log_every=1, device="cpu")
    assert (history.stopped, history.updates, history.best, history.validation) == ("epochs 2", 4, None, ())
    assert len(history.training) == 4
    assert not same(before, copied(model))
    assert "no validation data" in capsys.readouterr().err


@pytest.mark.parametrize("valid", [None, walks(8, seed=1)], ids=["without validation", "with"])
def test_the_learning_rate_decays_after_each_epoch(valid: InMemory | None) -> None:
    decay: dict[str, Any] = {"learning_rate_decay": 0.5, "learning_rate_decay_from": 2, "learning_rate_factor": 1.0}
    history = fit(rnn(), walks(16), valid, epochs=4, learning_rate=0.08, min_learning_rate=0.03, **decay, **quiet)
    assert [row.learning_rate for row in history.training] == [0.08, 0.08, 0.04, 0.03]


def test_the_budget_can_be_steps_or_minutes() -> None:
    assert fit(rnn(), walks(16), batch_size=4, max_steps=3, **quiet).stopped == "max_steps 3"
    history = fit(rnn(), walks(16), batch_size=4, max_minutes=1e-6, **quiet)
    assert (history.stopped, history.updates) == ("max_minutes 1e-06", 1)


def test_progress_is_said_on_stderr_unless_it_is_not_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    fit(rnn(), walks(16), walks(8), epochs=1, device="cpu")
    said = capsys.readouterr()
    assert "validation" in said.err
    assert "finished: epochs 1; best validation" in said.err
    fit(rnn(), walks(16), walks(8), epochs=1, **quiet)
    assert capsys.readouterr().err == said.out == ""


@pytest.mark.parametrize("given", ["reference", "fast"])
@pytest.mark.parametrize("own", ["reference", "fast"])
def test_a_model_keeps_its_backend_and_trains_by_it_unless_another_is_given(own: Any, given: str) -> None:
    used = []

    class Use(Callback):
        def on_update(self, at: Any, updated: Any, model: SequenceModel) -> None:
            used.append(model.backend)

    model = rnn()
    model.backend = own
    for more in ({}, {"backend": given}):
        fit(model, walks(4), max_steps=1, callbacks=[Use()], **more, **quiet)
        assert model.backend == own
    assert used == [own, given]


def test_no_gradients_are_left() -> None:
    model = rnn()
    fit(model, walks(4), max_steps=1, **quiet)
    assert all(p.grad is None for p in model.parameters())


# What ends it early.


class Interrupt(Callback):
    """Ctrl-C, so many times, when an update is done."""

    def __init__(self, step: int, times: int = 1):
        self.step, self.times = step, times

    def on_update(self, at: Any, updated: Any, model: SequenceModel) -> None:
        if at.step == self.step:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_ends_after_the_update_with_the_best_weights() -> None:
    model, valid = rnn(), walks(8, seed=1)
    before = signal.getsignal(signal.SIGINT)
    history = fit(model, walks(32), valid, batch_size=8, callbacks=[Interrupt(6)], learning_rate=0.05, **quiet)
    assert (history.stopped, history.updates) == ("interrupted", 7)
    assert history.best is not None
    assert history.best.step == 4
    assert evaluate(model, valid).nats_per_sequence == pytest.approx(history.best.nats, rel=1e-6)
    assert not model.training
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupted_training_is_not_said_to_be_finished(capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder()
    fit(rnn(), walks(32), walks(8), batch_size=8, callbacks=[Interrupt(2), recorder], device="cpu")
    said = capsys.readouterr().err
    assert "\ninterrupted; best validation" in said
    assert "finished" not in said
    assert recorder.told[-1] == "end: interrupted"


def test_a_second_ctrl_c_ends_at_once_with_the_best_weights() -> None:
    model, valid = rnn(), walks(8, seed=1)
    best = evaluate(model, valid).nats_per_sequence
    with pytest.raises(KeyboardInterrupt):
        fit(model, walks(32), valid, batch_size=8, callbacks=[Interrupt(2, times=2)], learning_rate=0.05, **quiet)
    assert evaluate(model, valid).nats_per_sequence == pytest.approx(best, rel=1e-6)  # of before the first update
    assert not model.training


@dataclass(frozen=True)
class Broken(ELBO):
    """A bound whose loss is not finite in training from an update on, or never is."""

    good: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "calls", [])

    def __call__(self, model: SequenceModel, batch: SequenceBatch, **named: Any) -> BoundResult:
        result = super().__call__(model, batch, **named)
        if model.training:
            self.calls.append(None)  # type: ignore[attr-defined]
        broken = len(self.calls) > self.good if model.training else self.good < 0  # type: ignore[attr-defined]
        factor = math.nan if broken else 1.0
        return replace(result, loss=result.loss * factor, value=result.value * (factor if self.good < 0 else 1.0))


def test_updates_that_are_not_finite_end_it_with_the_best_weights() -> None:
    model, valid = rnn(), walks(8, seed=1)
    with pytest.raises(Diverged, match=r"^3 updates in a row .* last at step 7; the model has its best weights"):
        fit(model, walks(32), valid, bound=Broken(good=5), batch_size=8, max_nonfinite=3, learning_rate=0.05, **quiet)
    assert all(p.isfinite().all() for p in model.parameters())
    assert not model.training
    start = evaluate(rnn(), valid).nats_per_sequence
    assert evaluate(model, valid).nats_per_sequence > start  # those of the first epoch


@dataclass(frozen=True)
class BrokenOnce(Broken):
    """At the second update of chunks, neither the loss nor the state after it is finite."""

    def __call__(self, model: SequenceModel, batch: SequenceBatch, **named: Any) -> BoundResult:
        result = super().__call__(model, batch, **named)
        if len(self.calls) != 2:  # type: ignore[attr-defined]
            return result
        assert result.state is not None
        return replace(result, loss=result.loss * math.nan, state=map_state(lambda v: v * math.nan, result.state))


def test_no_chunk_goes_on_from_a_state_that_is_not_finite() -> None:
    chunks: dict[str, Any] = {"truncated_bptt_steps": 2, "batch_size": 8, "log_every": 1, "epochs": 1}
    history = fit(rnn(), walks(32), walks(8, seed=1), bound=BrokenOnce(good=1000), **chunks, **quiet)
    assert [row.event for row in history.rows][:5] == ["validation", "training", "nonfinite", "training", "training"]
    assert sum(row.event == "nonfinite" for row in history.rows) == 1


def test_validation_that_is_never_finite_is_an_error() -> None:
    with pytest.raises(Diverged, match="no validation was finite"):
        fit(rnn(), walks(16), walks(8), bound=Broken(good=-1), epochs=1, **quiet)


# What is wrong.


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"learning_rat": 0.1}, r"unknown setting learning_rat \(did you mean learning_rate\?\)"),
        ({"learning_rate": -1.0}, r"training\.learning_rate is -1\.0; it must be positive"),
        ({"track": "wandb"}, "track is a setting of runs"),
        ({"device": "gpu"}, "device is 'gpu'"),
        ({"bound": IWAE(2), "truncated_bptt_steps": 2}, "needs bound elbo.*not iwae"),
        ({"bound": IWAE(2, "doubly_reparameterized"), "weights": WEIGHTS}, "needs weights.kl 1"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        fit(zforcing(), walks(8), **({"progress": False} | settings))


# What it says.


@pytest.mark.parametrize("bound", [ELBO(), IWAE(3), FIVO(3)], ids=lambda b: type(b).__name__)
def test_rows_hold_every_term_of_the_loss(bound: Bound) -> None:
    history = fit(
        zforcing(), walks(16), walks(8), bound=bound, weights=WEIGHTS, epochs=1, batch_size=8, log_every=1, **quiet
    )
    for row in (*history.training, *history.validation):
        assert set(row.terms) == {"log_px", "kl", "auxiliary", "backward"}
        assert row.weights == Weights(0.5, auxiliary=0.01, backward=0.02)
        written = row.to_dict()
        assert {"log_px_per_sequence", "kl_per_sequence", "auxiliary_per_sequence", "backward_per_sequence"} <= set(
            written
        )
        assert "seconds" not in written
        t, w = row.terms, row.weights
        costs = sum(weight * t[name] for name, weight in w.costs.items())
        if isinstance(bound, ELBO):
            assert row.loss == pytest.approx(-t["log_px"] + w.kl * t["kl"] - costs)
            assert row.nats == pytest.approx(t["log_px"] - t["kl"])
    assert all(row.gradient_norm > 0 and row.learning_rate > 0 for row in history.training)


def test_a_cost_without_a_weight_is_no_term() -> None:
    history = fit(zforcing(), walks(16), walks(8), epochs=1, log_every=1, **quiet)
    assert {name for row in history.training for name in row.terms} == {"log_px", "kl"}


def test_a_history_gives_columns_and_says_how_it_went() -> None:
    history = fit(rnn(), walks(16), walks(8), epochs=2, batch_size=8, log_every=1, **quiet)
    columns = history.to_dict()
    assert set(columns) == {"training", "validation", "nonfinite"}
    assert columns["validation"]["step"] == [0, 2, 4]
    assert columns["validation"]["nats_per_sequence"] == [row.nats for row in history.validation]
    assert len(columns["training"]["loss"]) == 4
    assert columns["training"]["seconds"] == sorted(columns["training"]["seconds"])
    assert repr(history).startswith("<History: best ")
    assert "nats per sequence (exact)" in repr(history)


class Recorder(Callback):
    def __init__(self) -> None:
        self.told: list[str] = []

    def on_start(self, at: Any, start: Any, model: SequenceModel) -> None:
        self.told.append(f"start of {start.updates}")

    def on_update(self, at: Any, updated: Any, model: SequenceModel) -> None:
        self.told.append(f"update {at.step}")

    def on_row(self, at: Any, row: Any, model: SequenceModel) -> None:
        self.told.append(row.event)

    def on_validation(self, at: Any, row: Any, model: SequenceModel) -> None:
        assert not model.training
        self.told.append(f"validated at {row.step}")

    def on_checkpoint(self, at: Any, model: SequenceModel) -> None:
        self.told.append(f"checkpoint {at.step}")

    def on_end(self, at: Any, model: SequenceModel) -> None:
        self.told.append(f"end: {at.finished}")


def test_callbacks_are_told_what_happens_in_its_order() -> None:
    recorder = Recorder()
    fit(
        rnn(),
        walks(24),
        walks(8),
        epochs=1,
        batch_size=8,
        log_every=2,
        checkpoint_every=2,
        callbacks=[recorder],
        **quiet,
    )
    assert recorder.told == [
        *("start of 3", "checkpoint 0", "validation", "validated at 0", "checkpoint 0"),
        *("update 1", "update 2", "training", "checkpoint 2", "update 3"),
        *("validation", "validated at 3", "checkpoint 3", "end: epochs 1"),
    ]


# The data's description.


def test_a_model_keeps_the_description_of_what_it_was_trained_on_and_reads_other_data_by_it() -> None:
    rng = np.random.default_rng(0)
    raw = [5 + 3 * rng.normal(size=(rng.integers(2, 8), 2)) for _ in range(40)]
    train, valid, test = Sequences(raw).split(0.6, 0.2, 0.2, seed=0)
    model = rnn()
    fit(model, train, valid, epochs=1, **quiet)
    assert model.description == train.description
    found = evaluate(model, test)
    assert found.normalization_std == pytest.approx(3, rel=0.2)
    others = Sequences([test.raw(i) for i in range(len(test))])  # with a normalization of their own
    assert others.description.normalization != train.description.normalization
    assert evaluate(model, others).nats_per_sequence == pytest.approx(found.nats_per_sequence, rel=1e-6)
    before = model.description
    fit(model, others, epochs=1, **quiet)
    assert model.description is before


@pytest.mark.parametrize(
    "refused", [{"bound": IWAE(2), "truncated_bptt_steps": 2}, {"backend": "graph"}], ids=["bound", "backend"]
)
def test_a_model_whose_training_is_refused_keeps_nothing_of_the_data(refused: dict[str, Any]) -> None:
    model = RNN(replace(REAL, first_observation="conditioned"), RNNConfig(hidden_size=5, embedding_size=4))
    data = Sequences([np.random.default_rng(0).normal(size=(5, 2))] * 3, first_observation="conditioned")
    with pytest.raises(UserError):
        fit(model, data, **refused, **quiet)
    assert (model.description, model.starts) == (None, None)
    assert model.backend == "fast"


# Several batches an update.


def doubles(n: int, seed: int) -> InMemory:
    return walks(n, seed, dtype=np.float64)


@pytest.mark.parametrize("limit", [None, 0.5])
def test_accumulated_batches_train_as_the_large_one_does(limit: float | None) -> None:
    """Ragged batches, the last one smaller; without noise, in float64."""
    ends, rows = [], []
    for batch_size, accumulate in ((12, 1), (4, 3), (5, 3)):
        model = rnn().double()
        settings: dict[str, Any] = {"batch_size": batch_size, "accumulate": accumulate, "max_grad_norm": limit}
        history = fit(
            model, doubles(30, 0), doubles(8, 1), epochs=3, log_every=1, learning_rate=0.05, **settings, **quiet
        )
        ends.append(copied(model))
        rows.append([row.loss for row in history.training])
    for name in ends[0]:
        torch.testing.assert_close(ends[0][name], ends[1][name], rtol=1e-9, atol=1e-9)
    assert rows[0] == pytest.approx(rows[1], rel=1e-9)
    assert not np.allclose(rows[0][:2], rows[2][:2], rtol=1e-6)  # 15 sequences an update are another thing


@pytest.mark.parametrize(
    ("more", "said"), [({"backend": "graph"}, "one batch"), ({"truncated_bptt_steps": 2}, "must be 1")]
)
def test_what_can_not_accumulate_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        TrainingConfig(accumulate=2, **more)


# ---- what people give by mistake

REALS = [[[float(i), 2.0], [3.0, i * i]] for i in range(6)]


def numbers() -> Sequences:
    return Sequences(REALS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda: REALS, r"train is a list; .*Sequences\(x\)"),
        (lambda: pd.DataFrame({"load": [1.0]}), "train is a DataFrame; .*from_frame"),
        (lambda: TensorDataset(torch.zeros(3, 2)), "train is a TensorDataset; .*from_dataset"),
        (lambda: Subset(numbers(), [0, 1]), r"train is a Subset; .*data\[indices\]"),
        (lambda: LinearGaussianData(), r"train is a LinearGaussianData; .*load\(split, description\)"),
    ],
    ids=["list", "frame", "dataset", "subset", "module"],
)
def test_other_data_is_refused_with_the_way_to_ours(given: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        fit(rnn(), given(), **quiet)
    with pytest.raises(UserError, match=said.replace("train", "valid", 1)):
        fit(rnn(), walks(4), given(), **quiet)
    with pytest.raises(UserError, match=said.replace("train", "data", 1)):
        evaluate(rnn(), given())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bound": IWAE}, "bound is the class IWAE"),
        ({"bound": "elbo"}, r"bound is a str; it must be a bound, such as ELBO\(\)"),
        ({"weights": Weights(kl=0.5)}, "weights is a Weights; it must be WeightSchedules"),
        ({"seed": None}, "seed is None; it must be a whole number"),
        ({"seed": -1}, "seed is -1; it must be 0 or more"),
        ({"callbacks": Callback()}, "callbacks is a Callback; it must be a list"),
        ({"callbacks": [Callback]}, "a callback is the class Callback; it must be an instance"),
        ({"callbacks": [print]}, "a callback is a builtin"),
    ],
)
def test_other_arguments_are_refused_before_anything_runs(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        fit(rnn(), walks(4), **options, **quiet)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bound": IWAE}, "bound is the class IWAE"),
        ({"repeats": 0}, "repeats is 0; it must be 1 or more"),
        ({"seed": "a"}, "seed is 'a'; it must be a whole number"),
    ],
)
def test_evaluate_refuses_them_too(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        evaluate(rnn(), walks(4), **options)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: nn.Linear(2, 2), "model is a Linear"),
        (lambda: RNN, "model is the class"),
        (lambda: rnn().half(), r"float16; train model.float\(\)"),
        (lambda: rnn().requires_grad_(False), "requires a gradient"),
    ],
)
def test_models_that_can_not_train_are_refused(make: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        fit(make(), walks(4), **quiet)


def test_a_schedule_is_one() -> None:
    with pytest.raises(UserError, match=r"weights.kl is a float; it must be a Schedule"):
        WeightSchedules(kl=0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("use", [lambda m, data: fit(m, data, **quiet), evaluate], ids=["fit", "evaluate"])
def test_a_model_of_other_observations_is_not_measured_on_these(use: Any) -> None:
    """It would read real numbers as bits, and give a likelihood of nothing."""
    model = RNN(ObservationSpec("binary", 2), RNNConfig(hidden_size=5))
    with pytest.raises(UserError, match="kind 'real', but the model"):
        use(model, numbers())
    assert model.description is None
    with pytest.raises(UserError, match="2 features"):
        use(RNN(ObservationSpec("real", 3), RNNConfig(hidden_size=5)), numbers())


def test_a_model_of_more_categories_reads_fewer() -> None:
    model = RNN(ObservationSpec("categorical", 9), RNNConfig(hidden_size=5))
    fit(model, Sequences([[0, 3, 1]] * 4, kind="categorical"), epochs=1, **quiet)
    assert model.description is not None
    assert model.description.spec == model.spec


def test_numbers_of_numpy_are_settings() -> None:
    model = RNN.for_data(numbers(), hidden_size=np.int64(5))
    assert type(model.config.hidden_size) is int
    history = fit(model, numbers(), epochs=np.int64(1), learning_rate=np.float32(1e-3), seed=np.int64(3), **quiet)
    assert history.updates == 1


def test_data_that_says_nothing_makes_no_model() -> None:
    with pytest.raises(UserError, match="data is a list, which doesn't say what an observation is"):
        RNN.for_data(REALS)  # type: ignore[arg-type]
