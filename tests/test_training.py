"""The training loop: resuming bit for bit, choosing the best on validation, and what stops it."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from conftest import RNN_SIZE, Case, metrics_of
from zforcing import ELBO, Diverged, SequenceBatch, SequenceModel, UserError, Weights, load
from zforcing.bounds import BoundResult
from zforcing.data.dataset import InMemory
from zforcing.evaluation.likelihood import evaluate
from zforcing.observations import Example, ObservationSpec
from zforcing.training import graph, loop
from zforcing.training.callbacks import Callback
from zforcing.training.feed import WholeSequences, held_whole
from zforcing.training.parallel import SingleProcess
from zforcing.training.progress import Progress
from zforcing.training.reporter import Reporter
from zforcing.training.runs.config import RunConfig, parse_config
from zforcing.training.runs.run import Interrupted, RunFolder, train
from zforcing.training.schedules import WeightSchedules
from zforcing.training.settings import TrainingConfig
from zforcing.training.update import EagerUpdate, Updated

MODELS = {
    "rnn": {"name": "rnn", "hidden_size": 5, "embedding_size": 4, "dropout": 0.2},
    "zforcing": {
        "name": "zforcing",
        "hidden_size": 5,
        "embedding_size": 4,
        "latent_size": 2,
        "mlp_size": 4,
        "dropout": 0.2,
    },
}


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """40 ragged real sequences; 32 train (4 batches of 8), 4 valid, 4 test."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 7, size=40)
    path = tmp_path / "data.npz"
    np.savez(path, x=rng.normal(size=(40, 6, 2)).cumsum(1), lengths=lengths)
    return path


@pytest.fixture
def configure(data: Path) -> Callable[..., RunConfig]:
    def make(model: str = "zforcing", **training: Any) -> RunConfig:
        settings = {"batch_size": 8, "epochs": 3, "log_every": 3, "learning_rate": 0.01} | training
        weights = {"kl": {"start": 0.2, "end": 1.0, "per_step": 0.05}}
        if model == "zforcing":
            weights |= {"auxiliary": {"start": 0.01}, "backward": {"start": 0.02}}
        return parse_config(
            {
                "data": {"name": "arrays", "path": str(data)},
                "model": MODELS[model],
                "weights": weights,
                "training": settings,
                "seed": 3,
            }
        )

    return make


def run(config: RunConfig, folder: Path, **options: Any) -> Progress:
    return train(config, folder, device="cpu", reporter=Reporter(quiet=True), **options)


def weights_of(folder: Path, which: str = "last", file: str = "model") -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / which / f"{file}.safetensors")


class StopAfter(Callback):
    """Sends this process Ctrl-C's signal when so many updates are done."""

    def __init__(self, updates: int):
        self.updates = updates

    def on_update(self, at: Progress, updated: Updated, model: SequenceModel) -> None:
        if at.step == self.updates:
            os.kill(os.getpid(), signal.SIGINT)


class DieIn(Callback):
    """The power fails at the end of this update, before it is noted anywhere."""

    def __init__(self, update: int):
        self.update = update

    def on_update(self, at: Progress, updated: Updated, model: SequenceModel) -> None:
        if at.step == self.update:
            raise RuntimeError("power failure")


def die(*_: Any, **__: Any) -> None:
    raise RuntimeError("power failure")


@pytest.mark.parametrize(  # within an epoch of 4, at its end, and past a logged row
    ("model", "updates"), [("zforcing", 1), ("zforcing", 4), ("zforcing", 6), ("zforcing", 11), ("rnn", 6)]
)
def test_a_stopped_and_resumed_run_equals_the_uninterrupted_one(
    configure: Callable[..., RunConfig], tmp_path: Path, model: str, updates: int
) -> None:
    config = configure(model)
    run(config, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(config, tmp_path / "pieces", callbacks=[StopAfter(updates)])
    torch.manual_seed(99)  # whatever happened in between
    run(config, tmp_path / "pieces", resume=True)

    for which in ("last", "best"):
        for file in ("model", "training"):
            one, other = (weights_of(tmp_path / name, which, file) for name in ("whole", "pieces"))
            assert one.keys() == other.keys()
            for name in one:
                assert torch.equal(one[name], other[name]), (which, file, name)
    assert metrics_of(tmp_path / "whole") == metrics_of(tmp_path / "pieces")


def test_a_signal_at_any_moment_of_an_update_is_kept(
    configure: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even just after the processes have told each other that nobody wants to stop."""
    original, done = loop.sums_of, 0

    def sums_of(*arguments: Any, **named: Any) -> dict[str, float]:
        nonlocal done
        sums = original(*arguments, **named)
        done += 1
        if done == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return sums

    monkeypatch.setattr(loop, "sums_of", sums_of)
    with pytest.raises(Interrupted):
        run(configure(), tmp_path / "run")


def test_a_signal_while_processes_agree_is_kept(
    configure: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, done = SingleProcess.total, 0

    def total(self: SingleProcess, own: torch.Tensor) -> torch.Tensor:
        nonlocal done
        done += 1
        if done == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, own)

    monkeypatch.setattr(SingleProcess, "total", total)
    with pytest.raises(Interrupted):
        run(configure(), tmp_path / "run")


def test_a_killed_run_resumes_from_its_last_checkpoint_and_drops_later_rows(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config = configure(checkpoint_every=2, log_every=1)
    run(config, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="power failure"):
        run(config, tmp_path / "killed", callbacks=[DieIn(8)])
    assert [r["step"] for r in metrics_of(tmp_path / "killed")][-1] == 7  # the checkpoint is of step 6
    run(config, tmp_path / "killed", resume=True)
    assert metrics_of(tmp_path / "whole") == metrics_of(tmp_path / "killed")
    whole, killed = weights_of(tmp_path / "whole"), weights_of(tmp_path / "killed")
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


def test_a_run_killed_in_its_first_validation_begins_again(
    configure: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not its first checkpoint was there yet."""
    config = configure()
    run(config, tmp_path / "whole")

    for where, method in ((RunFolder, "save"), (loop, "validated")):
        with monkeypatch.context() as patch:
            patch.setattr(where, method, die)
            with pytest.raises(RuntimeError, match="power failure"):
                run(config, tmp_path / method)
        assert (tmp_path / method / "checkpoints").exists() == (method == "validated")
        run(config, tmp_path / method, resume=True)
        configurations = [(tmp_path / name / "config.yaml").read_text() for name in (method, "whole")]
        assert configurations[0] == configurations[1]
        assert metrics_of(tmp_path / method) == metrics_of(tmp_path / "whole")
        whole, again = weights_of(tmp_path / "whole"), weights_of(tmp_path / method)
        assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_run_killed_before_its_second_checkpoint_validates_only_once(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config = configure()
    run(config, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="power failure"):
        run(config, tmp_path / "killed", callbacks=[DieIn(3)])
    run(config, tmp_path / "killed", resume=True)
    assert metrics_of(tmp_path / "whole") == metrics_of(tmp_path / "killed")


def test_resuming_compares_with_the_settings_in_the_checkpoint(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    """An edited config.yaml is no proof of what the run was begun with."""
    run(configure(epochs=1), tmp_path / "run")
    other = configure(epochs=2, batch_size=4)
    (tmp_path / "run" / "config.yaml").write_text(other.to_yaml())
    with pytest.raises(UserError, match=r"training\.batch_size was 8, is 4"):
        run(other, tmp_path / "run", resume=True)


def test_resuming_a_finished_run_changes_no_file(configure: Callable[..., RunConfig], tmp_path: Path) -> None:
    run(configure(epochs=3), tmp_path / "run")
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    run(configure(epochs=2), tmp_path / "run", resume=True)
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before


def test_resuming_on_changed_data_is_refused(configure: Callable[..., RunConfig], tmp_path: Path, data: Path) -> None:
    run(configure(epochs=1), tmp_path / "run")
    with np.load(data) as arrays:
        changed = dict(arrays)
    np.savez(data, **(changed | {"x": 1000 * changed["x"]}))
    with pytest.raises(UserError, match="data has changed"):
        run(configure(epochs=2), tmp_path / "run", resume=True)


def test_damaged_metrics_are_named_on_resume(configure: Callable[..., RunConfig], tmp_path: Path) -> None:
    run(configure(epochs=1), tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"metrics\.jsonl is damaged"):
        run(configure(epochs=2), tmp_path / "run", resume=True)


def test_a_learning_rate_below_its_floor_is_never_raised(configure: Callable[..., RunConfig], tmp_path: Path) -> None:
    run(configure("rnn", epochs=12, learning_rate=2.0, min_learning_rate=5.0), tmp_path / "run")
    assert {row["learning_rate"] for row in metrics_of(tmp_path / "run") if row["event"] != "nonfinite"} == {2.0}


def test_rows_log_the_weights_of_their_last_update(configure: Callable[..., RunConfig], tmp_path: Path) -> None:
    run(configure(log_every=1, epochs=1), tmp_path / "run")
    logged = [row["kl_weight"] for row in metrics_of(tmp_path / "run") if row["event"] == "training"]
    np.testing.assert_allclose(logged, [0.2, 0.25, 0.3, 0.35])


def test_broken_weights_never_replace_the_last_good_checkpoint(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config = configure("rnn", learning_rate=1e20, max_grad_norm=None, epochs=50, min_learning_rate=1e20)
    with pytest.raises(Diverged, match="the best checkpoint, by validation, is "):
        run(config, tmp_path / "run")
    model = load(tmp_path / "run", which="last")
    assert all(p.isfinite().all() for p in model.parameters())


def test_a_run_in_which_nothing_was_finite_has_diverged(
    configure: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = WholeSequences.measure

    def measure(self: WholeSequences, *arguments: Any) -> BoundResult:
        result = original(self, *arguments)
        return replace(result, value=result.value * math.nan)

    monkeypatch.setattr(WholeSequences, "measure", measure)
    with pytest.raises(Diverged, match=r"no validation .* was finite"):
        run(configure(epochs=1), tmp_path / "run")
    json.loads((tmp_path / "run" / "checkpoints" / "last" / "training.json").read_text(), parse_constant=pytest.fail)


def test_a_run_with_more_epochs_goes_on_where_it_ended(configure: Callable[..., RunConfig], tmp_path: Path) -> None:
    run(configure(epochs=3), tmp_path / "whole")
    run(configure(epochs=2), tmp_path / "pieces")
    assert run(configure(epochs=2), tmp_path / "pieces", resume=True).epoch == 2  # nothing left to do
    run(configure(epochs=3), tmp_path / "pieces", resume=True)
    whole, pieces = weights_of(tmp_path / "whole"), weights_of(tmp_path / "pieces")
    assert all(torch.equal(whole[name], pieces[name]) for name in whole)


def test_a_run_stopped_at_its_last_update_has_none_left(configure: Callable[..., RunConfig], tmp_path: Path) -> None:
    config = configure("rnn", max_steps=6)
    run(config, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(config, tmp_path / "stopped", callbacks=[StopAfter(5)])  # it stops after the next one
    end = run(config, tmp_path / "stopped", resume=True)
    assert (end.step, end.finished) == (6, "max_steps 6")
    assert metrics_of(tmp_path / "stopped") == metrics_of(tmp_path / "whole")
    whole, stopped = weights_of(tmp_path / "whole"), weights_of(tmp_path / "stopped")
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_a_run_stopped_at_its_last_update_goes_on_by_a_larger_budget(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        run(configure("rnn", max_steps=6), tmp_path / "run", callbacks=[StopAfter(5)])
    assert run(configure("rnn", max_steps=7), tmp_path / "run", resume=True).step == 7


def test_a_run_that_goes_on_from_its_best_weights_keeps_to_its_epochs(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config = configure("rnn", epochs=2)
    end = run(config, tmp_path / "run")
    assert end.best_epoch == 2  # so that `best` is of the end
    (tmp_path / "run" / "checkpoints" / "last" / "training.json").write_text("{")
    again = run(config, tmp_path / "run", resume=True)
    assert (again.step, again.finished) == (end.step, "epochs 2")
    assert [row["step"] for row in metrics_of(tmp_path / "run") if row["event"] == "validation"] == [0, 4, 8]
    assert run(configure("rnn", epochs=3), tmp_path / "run", resume=True).epoch == 3


def test_the_same_seed_gives_the_same_run_and_another_seed_another(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config = configure(epochs=1)
    for name in ("a", "b"):
        run(config, tmp_path / name)
    run(RunConfig(**(vars(config) | {"seed": 4})), tmp_path / "c")
    a, b, c = (weights_of(tmp_path / name)["prior_net.mlp.first.weight"] for name in "abc")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_training_leaves_the_callers_generator_alone(configure: Callable[..., RunConfig], tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(configure(epochs=1), tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)


def test_the_learning_rate_decays_with_the_epochs(configure: Callable[..., RunConfig], tmp_path: Path) -> None:
    config = configure(
        "rnn", epochs=4, learning_rate=1e-2, learning_rate_factor=1.0,
        learning_rate_decay=0.5, learning_rate_decay_from=2, min_learning_rate=3e-3,
    )  # fmt: skip
    run(config, tmp_path / "run")
    rates = {row["epoch"]: row["learning_rate"] for row in metrics_of(tmp_path / "run") if row["event"] == "validation"}
    assert rates == {0: 1e-2, 1: 1e-2, 2: 5e-3, 3: 3e-3, 4: 3e-3}


def test_a_validation_within_an_epoch_decays_nothing(configure: Callable[..., RunConfig], tmp_path: Path) -> None:
    more = {"learning_rate_factor": 1.0, "learning_rate_decay": 0.5, "min_learning_rate": 0.0, "epochs": 3}
    whole = run(configure("rnn", **more), tmp_path / "whole")
    run(configure("rnn", **more, max_steps=whole.step // 3 + 1), tmp_path / "cut")
    resumed = run(configure("rnn", **more), tmp_path / "cut", resume=True)
    assert whole.learning_rate == resumed.learning_rate == 1e-2 / 8


def test_the_best_checkpoint_scores_the_best_logged_validation(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    """Its weights are a copy of that moment, not a reference to weights that went on changing."""
    config = configure(
        "rnn", epochs=9, learning_rate=1.0, learning_rate_factor=1.0
    )  # jumpy on purpose: the best is not the last
    end = run(config, tmp_path / "run")
    validations = [row for row in metrics_of(tmp_path / "run") if row["event"] == "validation"]
    values = [row["nats_per_sequence"] for row in validations]
    assert end.best == max(values)
    assert values[-1] < max(values)
    description = config.data.describe()
    measured = evaluate(load(tmp_path / "run"), config.data.load("valid", description), description=description)
    assert math.isclose(measured.nats_per_sequence, max(values), rel_tol=1e-6)
    assert [row["best"] for row in validations] == [
        v > max(values[:i], default=-math.inf) for i, v in enumerate(values)
    ]


def test_the_learning_rate_is_halved_when_validation_gets_worse(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    run(configure("rnn", epochs=24, learning_rate=2.0, min_learning_rate=0.3, patience=None), tmp_path / "run")
    rows = [row for row in metrics_of(tmp_path / "run") if row["event"] == "validation"]
    rate, worse = 2.0, 0
    for before, row in pairwise(rows):
        if row["nats_per_sequence"] < before["nats_per_sequence"]:
            rate, worse = max(rate / 2, 0.3), worse + 1
        assert row["learning_rate"] == rate
    assert worse >= 4  # so that the floor was reached
    assert rate == 0.3


def test_the_halved_learning_rate_is_the_one_that_is_used(
    configure: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []
    original = torch.optim.Adam.step

    def step(self: torch.optim.Adam, *arguments: Any, **named: Any) -> Any:
        used.append(self.param_groups[0]["lr"])
        return original(self, *arguments, **named)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    run(configure("rnn", epochs=12, learning_rate=1.0, min_learning_rate=0.3), tmp_path / "run")
    rates = [row["learning_rate"] for row in metrics_of(tmp_path / "run") if row["event"] == "validation"]
    assert len(set(rates)) > 1
    assert used == [rate for rate in rates[:-1] for _ in range(4)]


def test_early_stopping_counts_validations_without_a_new_best(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    end = run(configure("rnn", epochs=100, learning_rate=0.3, patience=3), tmp_path / "run")
    values = [row["nats_per_sequence"] for row in metrics_of(tmp_path / "run") if row["event"] == "validation"]
    assert "no better validation" in end.finished
    assert len(values) - 1 - int(np.argmax(values)) == 3


def test_max_steps_stops_within_an_epoch(configure: Callable[..., RunConfig], tmp_path: Path) -> None:
    end = run(configure(max_steps=6), tmp_path / "run")
    assert (end.step, end.finished) == (6, "max_steps 6")


def test_the_test_split_is_never_read(
    configure: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zforcing.data import Arrays

    asked, original = [], Arrays.load

    def spy(self: Arrays, split: Any, description: Any) -> Any:
        asked.append(split)
        return original(self, split, description)

    monkeypatch.setattr(Arrays, "load", spy)
    run(configure(epochs=1), tmp_path / "run")
    assert sorted(asked) == ["train", "valid"]


# What an update runs on.


class Again:
    """Stands in for a CUDA capture where there is no GPU: the work is done again at each replay."""

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        work()
        return work


@pytest.fixture
def graphs_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "check_capturable", lambda *_, **__: None)
    monkeypatch.setattr(graph, "CudaCapture", Again)


def assert_close_runs(one: Path, other: Path, *, tolerance: float) -> None:
    first, second = weights_of(one), weights_of(other)
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=tolerance, atol=tolerance)
    for a, b in zip(metrics_of(one), metrics_of(other), strict=True):
        assert {k: v for k, v in a.items() if not isinstance(v, float)} == {
            k: v for k, v in b.items() if not isinstance(v, float)
        }
        assert all(math.isclose(v, b[k], rel_tol=10 * tolerance) for k, v in a.items() if isinstance(v, float))


@pytest.mark.usefixtures("graphs_anywhere")
@pytest.mark.parametrize("backend", ["reference", "graph"])
def test_every_backend_gives_the_same_run(configure: Callable[..., RunConfig], tmp_path: Path, backend: str) -> None:
    """Where there is no noise; in float32, whose rounding depends on the order of sums."""
    for name in ("fast", backend):
        config = configure("rnn", backend=name)
        run(replace(config, model=replace(config.model, dropout=0.0)), tmp_path / name)
    assert_close_runs(tmp_path / "fast", tmp_path / backend, tolerance=1e-4)


@pytest.mark.parametrize(("backend", "walks"), [("reference", True), ("fast", False)])
def test_the_reference_backend_walks_the_contract(
    configure: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, walks: bool
) -> None:
    original, walked = SequenceModel.walk, []

    def walk(self: SequenceModel, *arguments: Any, **named: Any) -> Any:
        walked.append(self.training)
        return original(self, *arguments, **named)

    monkeypatch.setattr(SequenceModel, "walk", walk)
    run(configure(backend=backend, max_steps=1), tmp_path / "run")
    assert (set(walked) == {True, False}) == walks


@pytest.mark.usefixtures("graphs_anywhere")
def test_a_stopped_and_resumed_run_in_graphs_equals_the_uninterrupted_one(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config = configure(backend="graph", batch_size=7)  # the last batch of an epoch is smaller
    run(config, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(config, tmp_path / "pieces", callbacks=[StopAfter(6)])
    run(config, tmp_path / "pieces", resume=True)
    for file in ("model", "training"):
        one, other = (weights_of(tmp_path / name, file=file) for name in ("whole", "pieces"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert metrics_of(tmp_path / "whole") == metrics_of(tmp_path / "pieces")


def test_graphs_without_a_gpu_are_refused_before_anything_is_written(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"^training\.backend graph needs a CUDA device; this run is on cpu: use "):
        run(configure(backend="graph"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_begun_with_torchs_default_adam_goes_on(
    configure: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its moments and counts are those of the fused one, which checkpoints of before know nothing of."""

    def plain(model: torch.nn.Module, settings: Any) -> torch.optim.Adam:
        return torch.optim.Adam(model.parameters(), settings.learning_rate, (settings.beta1, settings.beta2))

    with monkeypatch.context() as patch:
        patch.setattr(loop, "make_optimizer", plain)
        run(configure(epochs=3), tmp_path / "plain")
        run(configure(epochs=1), tmp_path / "both")
    run(configure(epochs=3), tmp_path / "both", resume=True)
    assert_close_runs(tmp_path / "plain", tmp_path / "both", tolerance=1e-4)


@dataclass(frozen=True)
class Choosy(ELBO):
    """A bound that isn't defined for every weight."""

    name: ClassVar[str] = "choosy"
    requires_kl_weight_1: ClassVar[bool] = True


def test_a_bound_can_refuse_weights_before_anything_is_read(configure: Callable[..., RunConfig]) -> None:
    values = vars(configure())
    with pytest.raises(UserError, match=r"bound choosy .* needs weights\.kl 1"):
        RunConfig(**(values | {"bound": Choosy()}))
    RunConfig(**(values | {"bound": Choosy(), "weights": WeightSchedules()}))


PLAIN = Weights()


class Broken(ELBO):
    """A bound whose loss, or the gradient of it, is not finite at some calls in training."""

    def __init__(self, bad: Callable[[int], str | None]):
        super().__init__()
        object.__setattr__(self, "bad", bad)
        object.__setattr__(self, "calls", [])

    def __call__(
        self, model: SequenceModel, batch: SequenceBatch, *, weights: Weights = PLAIN, noise: Any = None
    ) -> BoundResult:
        result = super().__call__(model, batch, weights=weights, noise=noise)
        if not model.training:
            return result
        how = self.bad(len(self.calls))
        self.calls.append(how)
        if how == "loss":
            return BoundResult(result.value, result.loss * math.nan, result.terms, result.kind)
        if how == "gradient":  # a finite value whose derivative is infinite
            zero = next(iter(model.parameters())).sum() * 0
            return BoundResult(result.value, result.loss + zero.abs().sqrt(), result.terms, result.kind)
        return result


def broken_run(
    configure: Callable[..., RunConfig], folder: Path, bad: Callable[[int], str | None], **training: Any
) -> Progress:
    config = RunConfig(**(vars(configure(**training)) | {"bound": Broken(bad)}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunConfig, "to_dict", lambda self: {})  # the bound is in no registry
        return run(config, folder)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_non_finite_update_is_named_skipped_and_counted(
    configure: Callable[..., RunConfig], tmp_path: Path, what: str
) -> None:
    end = broken_run(configure, tmp_path / "run", lambda call: what if call in (2, 5) else None)
    assert end.nonfinite == 2
    named = [row for row in metrics_of(tmp_path / "run") if row["event"] == "nonfinite"]
    assert [(row["step"], row["what"], len(row["sequences"])) for row in named] == [(2, what, 8), (5, what, 8)]
    assert all(w.isfinite().all() for w in weights_of(tmp_path / "run").values())
    assert end.finished == "epochs 3"


def test_ten_non_finite_updates_in_a_row_stop_the_run_with_a_good_checkpoint(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    with pytest.raises(Diverged, match=r"10 updates in a row.*the best checkpoint, by validation, is .*best"):
        broken_run(configure, tmp_path / "run", lambda call: "loss" if call >= 5 else None, epochs=50)
    assert all(w.isfinite().all() for w in weights_of(tmp_path / "run").values())
    assert sum(row["event"] == "nonfinite" for row in metrics_of(tmp_path / "run")) == 10


def test_nine_in_a_row_do_not_stop_the_run(configure: Callable[..., RunConfig], tmp_path: Path) -> None:
    end = broken_run(configure, tmp_path / "run", lambda call: "loss" if call % 10 else None, epochs=10)
    assert (end.finished, end.nonfinite) == ("epochs 10", 36)


def test_a_second_interrupt_stops_at_once(
    configure: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def over(self: EagerUpdate, *_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(EagerUpdate, "over", over)
    before = signal.getsignal(signal.SIGINT)  # ignored, where the tests run behind nohup
    with pytest.raises(KeyboardInterrupt):
        run(configure(), tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is before


def test_bfloat16_trains_and_keeps_its_weights_in_float32(configure: Callable[..., RunConfig], tmp_path: Path) -> None:
    end = run(configure(precision="bfloat16"), tmp_path / "run")
    assert math.isfinite(end.best)
    assert {w.dtype for w in weights_of(tmp_path / "run").values()} == {torch.float32}


def test_training_reaches_what_it_should(tmp_path: Path) -> None:
    """A learnable sequence: x_t = x_{t-1} with probability 0.9. The RNN must come close to its entropy."""
    rng = np.random.default_rng(1)
    flips = rng.random((400, 10)) < 0.1
    np.savez(tmp_path / "data.npz", x=flips.cumsum(1) % 2)
    config = parse_config(
        {
            "data": {"name": "arrays", "path": str(tmp_path / "data.npz"), "kind": "binary"},
            "model": {"name": "rnn", "hidden_size": 8, "embedding_size": 4},
            "training": {"epochs": 30, "learning_rate": 0.02},
        }
    )
    end = run(config, tmp_path / "run")
    entropy = 10 * -(0.1 * math.log(0.1) + 0.9 * math.log(0.9))  # 3.251 nats
    valid = config.data.load("valid", config.data.describe())
    flips = [np.diff(valid[i].x[:, 0], prepend=0) for i in range(len(valid))]
    true = np.mean([sum(math.log(0.1 if d else 0.9) for d in f) for f in flips])
    assert abs(true + entropy) < 1.0  # the sample's own value, by the true model
    assert end.best > true - 0.1
    assert end.best < true + 0.3  # more would be a leak of the future


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"training": {"learning_rate": 0.5}}, "training.learning_rate was 0.01, is 0.5"),
        ({"seed": 9}, "seed was 3, is 9"),
    ],
)
def test_resuming_with_other_settings_is_refused_by_name(
    configure: Callable[..., RunConfig], tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    config = configure(epochs=1)
    run(config, tmp_path / "run")
    values = config.to_dict()
    values = {k: (v | change[k] if isinstance(v, dict) else change[k]) if k in change else v for k, v in values.items()}
    with pytest.raises(UserError, match=said):
        run(parse_config(values), tmp_path / "run", resume=True)


def test_training_long_sequences_whole_names_the_setting_that_bounds_the_memory() -> None:
    model, data = (
        Case("rnn", RNN_SIZE).build(ObservationSpec("real", 2), seed=0),
        InMemory([Example(np.zeros((5000, 2), np.float32))]),
    )
    (said,) = held_whole(model, data, TrainingConfig())
    assert said.startswith("sequences of up to 5000 steps are trained whole")
    assert "training.truncated_bptt_steps" in said
    assert held_whole(model, data, TrainingConfig(truncated_bptt_steps=500)) == []
    assert held_whole(model, InMemory([Example(np.zeros((50, 2), np.float32))]), TrainingConfig()) == []
