"""Extra terms of a model: trained, scheduled and logged by whatever names the model gives them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import zforcing as zf
from conftest import SPECS, Command, random_batch
from test_registry import as_it_was
from test_update import Again
from zforcing import ELBO, FIVO, IWAE, VRNN, Schedule, SequenceBatch, UserError, VRNNConfig, Weights, WeightSchedules
from zforcing.bounds import Bound
from zforcing.observations import masked_sum
from zforcing.training.graph import GraphUpdate
from zforcing.training.runs.config import parse_config
from zforcing.training.settings import TrainingConfig
from zforcing.training.update import BoundModule, EagerUpdate, make_optimizer

MODEL = '''
import torch
import zforcing
from zforcing import VRNN

@zforcing.register
class CalmVRNN(VRNN):
    """A VRNN whose state is kept small, and whose context is kept smooth."""

    name = "calm_vrnn"
    step_costs = ("calm",)
    context_costs = ("smooth",)

    def calm(self, state, context):
        return -state.h.square().mean(-1)

    def smooth(self, batch, context):
        return -context.square().mean(-1)
'''


class CalmVRNN(VRNN):
    """That of `MODEL`."""

    step_costs = ("calm",)
    context_costs = ("smooth",)

    def calm(self, state: Any, context: Tensor) -> Tensor:
        return -state.h.square().mean(-1)

    def smooth(self, batch: SequenceBatch, context: Tensor) -> Tensor:
        return -context.square().mean(-1)


def calm(seed: int = 0) -> CalmVRNN:
    torch.manual_seed(seed)
    return CalmVRNN(SPECS["real"], VRNNConfig(hidden_size=4, latent_size=2, feature_size=4, mlp_size=4, mlp_layers=1))


def data(n: int, seed: int = 0) -> zf.Sequences:
    rng = np.random.default_rng(seed)
    size = SPECS["real"].size
    return zf.Sequences([rng.normal(size=(5, size)).astype(np.float32) for _ in range(n)])


# ---- weights


def test_weights_are_the_kls_and_any_other_by_name() -> None:
    weights = Weights(0.5, calm=0.25)
    assert weights.by_name == {"kl": 0.5, "calm": 0.25}
    assert weights == Weights(kl=0.5, calm=0.25) != Weights(kl=0.5)
    assert repr(weights) == "Weights(kl=0.5, calm=0.25)"
    assert Weights().by_name == {"kl": 1.0}
    assert replace(weights, kl=1.0) == Weights(costs={"calm": 0.25})


def test_schedules_are_the_kls_and_any_other_by_name() -> None:
    schedules = WeightSchedules(Schedule(0.0, end=1.0, per_step=0.25), calm=Schedule(0.5))
    assert [schedules.at(step) for step in (0, 2)] == [Weights(0.0, calm=0.5), Weights(0.5, calm=0.5)]
    assert replace(schedules, kl=Schedule()) == WeightSchedules(costs={"calm": Schedule(0.5)})
    with pytest.raises(UserError, match=r"weights\.calm is a float; it must be a Schedule"):
        WeightSchedules(calm=0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("bound", [ELBO(), IWAE(3), FIVO(3)], ids=lambda bound: bound.name)
def test_every_bound_weighs_the_terms_of_a_model_it_has_never_heard_of(bound: Bound) -> None:
    model, batch = calm(), random_batch(SPECS["real"])
    results = []
    for weights in (Weights(), Weights(calm=2.0, smooth=0.5)):
        torch.manual_seed(1)
        results.append(bound(model, batch, weights=weights))
    plain, weighted = results
    assert set(plain.terms) == {"log_px", "kl"}
    assert set(weighted.terms) == {"log_px", "kl", "calm", "smooth"}
    smooth = masked_sum(model.smooth(batch, model.encode(batch)), batch.mask)
    torch.testing.assert_close(weighted.terms["smooth"], smooth, rtol=0, atol=1e-12, check_dtype=True)
    expected = plain.loss - 2.0 * weighted.terms["calm"] - 0.5 * smooth
    torch.testing.assert_close(weighted.loss, expected, rtol=0, atol=1e-10)


# ---- training


def test_fit_follows_the_schedule_of_a_models_own_term_and_logs_it() -> None:
    torch.set_default_dtype(torch.float32)
    weights = WeightSchedules(calm=Schedule(0.0, end=50.0, per_step=10.0))
    model, plain = calm(), calm()
    history = zf.fit(
        model, data(16), data(8, 1), weights=weights, epochs=10, batch_size=8, learning_rate=0.02, log_every=1,
        patience=None, progress=False,
    )  # fmt: skip
    assert [row.weights.costs["calm"] for row in history.training[:7]] == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 50.0]
    columns = history.to_dict()["training"]
    assert columns["calm_weight"][:3] == [0.0, 10.0, 20.0]
    assert columns["calm_per_sequence"][0] is None  # with a weight of 0 it isn't computed
    assert columns["calm_per_sequence"][-1] > columns["calm_per_sequence"][1]  # it is maximized
    assert not {"smooth_weight", "auxiliary_weight"} & set(columns)
    rows = zf.fit(plain, data(16), epochs=10, batch_size=8, learning_rate=0.02, progress=False).to_dict()["training"]
    assert not [name for name in rows if "calm" in name]


@pytest.mark.parametrize("name", ["auxiliary", "smoth"])
def test_a_term_that_the_model_lacks_is_refused_before_training(name: str) -> None:
    torch.set_default_dtype(torch.float32)
    model = calm()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UserError, match=f"model vrnn has no cost {name}; it has calm, smooth"):
        zf.fit(model, data(8), weights=WeightSchedules(**{name: Schedule(0.1)}), progress=False)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_term_cannot_take_the_name_of_another_number_of_a_row() -> None:
    class Loud(CalmVRNN):
        step_costs = ("loss",)

    model = Loud(SPECS["real"], VRNNConfig(hidden_size=4, latent_size=2))
    with pytest.raises(UserError, match=r"weights\.loss: rows of metrics have another number called loss"):
        zf.fit(model, data(8), weights=WeightSchedules(loss=Schedule(0.1)), progress=False)


def test_a_captured_update_reads_the_weight_of_a_models_own_term_anew() -> None:
    batch, updates = random_batch(SPECS["real"], (8, 8)), []
    for make in (EagerUpdate, lambda *a, **k: GraphUpdate(*a, capture=Again(), **k)):
        module = BoundModule(calm(), ELBO()).train()
        updates.append(make(module, make_optimizer(module, TrainingConfig()), max_grad_norm=None))
    for step, weights in enumerate((Weights(), Weights(calm=0.5), Weights(calm=2.0), Weights(0.5, calm=1.0))):
        sums = []
        for update in updates:
            torch.manual_seed(step)
            sums.append(update(batch, weights, learning_rate=2.0**-6).sums)
        assert sums[0] == pytest.approx(sums[1], rel=1e-10)
        assert ("calm" in sums[0]) == bool(weights.costs)
    assert len(updates[1].graphs) == 2  # without the term, and with it


# ---- recipes and the command line


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "calm.py").write_text(MODEL)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(40, 5, 2)).astype(np.float32))
    lines = [
        "imports: [calm.py]",
        "data: {name: arrays, path: " + str(tmp_path / "data.npz") + "}",
        "model: {name: calm_vrnn, hidden_size: 4, latent_size: 2, feature_size: 4, mlp_size: 4}",
        "weights: {kl: 0.5, calm: {start: 0.0, end: 1.0, per_step: 0.5}}",
        "training: {epochs: 1, batch_size: 8, log_every: 1}",
    ]
    (tmp_path / "mine.yaml").write_text("\n".join(lines) + "\n")
    return tmp_path / "mine.yaml"


@pytest.fixture(autouse=True)
def unregistered() -> Any:
    """What a recipe registers isn't afterwards."""
    with as_it_was():
        yield


def test_a_recipe_schedules_a_models_own_term_and_an_option_another(recipe: Path, zf: Command) -> None:
    run = recipe.parent / "run"
    assert zf("train", recipe, "--run-dir", run, "--weights.smooth", 0.25, "--device", "cpu").code == 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    training = [row for row in rows if row["event"] == "training"]
    assert [row["calm_weight"] for row in training[:3]] == [0.0, 0.5, 1.0]
    assert {row["smooth_weight"] for row in training} == {0.25}
    assert {"calm_per_sequence", "smooth_per_sequence"} <= set(training[-1])
    written = (run / "config.yaml").read_text()
    assert "calm:" in written
    assert "auxiliary" not in written


@pytest.mark.parametrize("words", [("--weights.auxiliary", 0.1), ("--weights.auxiliary.start", 0.1)])
def test_an_option_of_a_term_that_the_model_lacks_lists_those_that_it_has(
    recipe: Path, zf: Command, words: tuple[Any, ...]
) -> None:
    said = zf("train", recipe, *words).mistake
    assert "unknown setting weights.auxiliary (model calm_vrnn has weights of kl, calm, smooth)" in said


def settings(model: str, weights: dict[str, Any]) -> dict[str, Any]:
    return {"data": {"name": "lgssm"}, "model": {"name": model}, "weights": weights}


@pytest.mark.parametrize("weight", [0.1, {"start": 0.0, "end": 1.0, "per_step": 0.1}])
def test_a_recipe_with_a_weight_that_does_nothing_is_refused(weight: Any) -> None:
    with pytest.raises(UserError, match=r"weights\.auxiliary \(model vrnn has weights of kl\)"):
        parse_config(settings("vrnn", {"auxiliary": weight}))


def test_files_that_list_idle_weights_for_every_model_are_read() -> None:
    """Run folders of 0.1 do."""
    idle = {"start": 0.0, "end": None, "per_step": 0.0, "period": None}
    config = parse_config(settings("vrnn", {"kl": 0.5, "auxiliary": idle, "backward": 0.0}))
    assert config.weights == WeightSchedules(kl=Schedule(0.5))
    config = parse_config(settings("zforcing", {"auxiliary": 0.1}))
    assert config.weights == WeightSchedules(auxiliary=Schedule(0.1), backward=Schedule(0.0))
    assert parse_config(config.to_dict()) == config


def test_another_model_leaves_the_weights_of_the_recipes_model_out_and_says_so(zf: Command) -> None:
    done = zf("train", "digits-zforcing-aux", "--model.name", "vrnn", "--print-config")
    assert done.code == 0
    assert "model vrnn has no auxiliary, backward: the recipe's weights are left out" in done.err
    assert "backward:" not in done.out


@pytest.mark.parametrize("make", [lambda: Weights(), lambda: WeightSchedules()])
def test_weights_cannot_be_changed(make: Callable[[], Any]) -> None:
    with pytest.raises(AttributeError):
        make().kl = 2.0
