"""Models of somebody who knows torch.nn and the contract run fast, with no code for it; or walk, and say why."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch.distributions import Distribution

from situations import Situation, assert_backends_agree, assert_equal, by, dropout_of_values, results
from strangers import (
    AddsToItsState,
    Changeable,
    Counts,
    CountsInBuffer,
    DrawsItself,
    DrawsOfData,
    EndsWith,
    EndsWithBatchNorm,
    EndsWithConvolution,
    EndsWithGroupNorm,
    Gated,
    InComplexNumbers,
    LooksAtAll,
    ReadsLatent,
    Sizes,
    Tempered,
    TwoMaps,
    WaveModel,
    WithGradientInside,
    WithoutGradient,
    WithOwnDerivative,
    WordModel,
)
from zforcing import ELBO, FIVO, SequenceModel
from zforcing.models import trace_cache
from zforcing.models.explain import explain
from zforcing.recurrence import blocks, eager
from zforcing.recurrence.trace import Untraceable
from zforcing.testing import SPECS

SITUATIONS = {
    "ragged": Situation(),
    "particles, carried": Situation(particles=3, carried=True),
    "ancestors": Situation(particles=3, ancestors=True),
    "ancestors of given latents": Situation(particles=3, ancestors=True, latents=True),
    "training": Situation(train=True),
    "float32": Situation(particles=3, ancestors=True, carried=True, dtype=torch.float32),
}
MODELS: dict[str, tuple[type[SequenceModel], str]] = {"words": (WordModel, "categorical"), "waves": (WaveModel, "real")}


def build(cls: type[SequenceModel], spec: str, situation: Situation) -> SequenceModel:
    torch.manual_seed(0)
    return cls(SPECS[spec], cls.Config()).to(situation.dtype).train(situation.train)


@pytest.mark.usefixtures("never_walks")
@pytest.mark.parametrize("name", SITUATIONS)
@pytest.mark.parametrize("model", MODELS)
def test_a_model_of_plain_torch_is_derived(model: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cls, spec = MODELS[model]
    monkeypatch.setattr(torch.nn.functional, "dropout", dropout_of_values)
    asked = SITUATIONS[name]
    assert Distribution._validate_args
    batch = Situation(spec, particles=asked.particles, dtype=asked.dtype).batch()
    assert_backends_agree(build(cls, spec, asked), batch, asked)
    assert Distribution._validate_args


@pytest.mark.parametrize("name", ["ragged", "ancestors"])
def test_a_model_that_is_no_program_of_rows_walks_and_says_which_line(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    situation = SITUATIONS[name]
    model = build(LooksAtAll, "real", situation)
    with caplog.at_level(logging.WARNING):
        found = results(model, situation.batch(), situation)
        model.backend = "reference"
        assert_equal(found, results(model, situation.batch(), situation), 0.0)
    (said,) = caplog.messages
    assert said.startswith("looks_at_all runs step by step, which is slow: line ")
    assert "of strangers.py, `if z.sum() > 0:`: aten._local_scalar_dense.default depends on the values" in said


@pytest.mark.usefixtures("never_walks")
@pytest.mark.parametrize("name", ["ragged", "ancestors"])
@pytest.mark.parametrize("cls", [AddsToItsState, Gated])
def test_what_is_known_ahead_may_meet_the_state_anyhow(cls: type[SequenceModel], name: str) -> None:
    situation = SITUATIONS[name]
    assert_backends_agree(build(cls, "real", situation), situation.batch(), situation)


@pytest.mark.usefixtures("never_walks")
@pytest.mark.parametrize("name", ["particles, carried", "ancestors"])
@pytest.mark.parametrize("cls", [TwoMaps, Gated, WaveModel])
def test_gradients_add_up_over_blocks_of_steps(cls: type[SequenceModel], name: str) -> None:
    situation = SITUATIONS[name]
    with blocks.of_rows(2 * len(situation.lengths) * situation.particles):
        assert_backends_agree(build(cls, "real", situation), situation.batch(), situation)


@pytest.mark.usefixtures("never_walks")
@pytest.mark.parametrize("trained", ["recurrent.weight_hh", "recurrent.weight_ih", "gate", "prior_net", "mix"])
def test_parts_of_a_model_may_be_frozen(trained: str) -> None:
    model, batch = build(Gated, "real", Situation()), Situation().batch()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(trained))
    noise = model.draw_noise(batch)
    gradients = []
    for backend in ("fast", "reference"):
        loss = ELBO()(by(backend, model), batch, noise=noise).loss.sum()  # type: ignore[arg-type]
        gradients.append(torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad]))
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)
    assert "gradients of the loop" in explain(by("fast", model))


def test_a_frozen_model_is_explained() -> None:
    assert "loop over" in explain(build(Gated, "real", Situation()).requires_grad_(False))


@pytest.mark.usefixtures("never_walks")
@pytest.mark.parametrize("cls", [EndsWith, EndsWithGroupNorm, EndsWithBatchNorm, EndsWithConvolution])
def test_a_step_may_end_with_a_layer_of_several_results(cls: type[SequenceModel]) -> None:
    situation = SITUATIONS["ancestors"]
    assert_backends_agree(build(cls, "real", situation), situation.batch(), situation)


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (WithOwnDerivative, "gradients aren't those of its operations: _Reversed has a derivative of its own"),
        (WithoutGradient, "gradients aren't those of its operations"),
        (WithGradientInside, "gradients aren't those of its operations"),
        (Counts, "steps: what it keeps belongs into the state"),
        (CountsInBuffer, "steps: what it keeps belongs into the state"),
        (DrawsItself, "draws from a generator of its own"),
        (InComplexNumbers, "computes complex numbers, whose gradients would be lost"),
        (Tempered, "depends on the values"),
    ],
)
def test_what_a_record_cannot_hold_walks_and_leaves_nothing_behind(
    cls: type[SequenceModel], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    situation = Situation()
    found = []
    for backend in ("fast", "reference"):
        model = build(cls, "real", situation)
        model.backend = backend  # type: ignore[assignment]
        found.append([results(model, situation.batch(), situation) for _ in range(2)])
    for one, two in zip(*found, strict=True):
        assert_equal(one, two, 0.0)
    (said,) = caplog.messages
    assert why in said


def replace_function(model: Changeable) -> None:
    model.function = torch.sin


def replace_a_setting(model: Changeable) -> None:
    model.settings["scale"][0] = 3.0


def replace_an_array(model: Changeable) -> None:
    model.table = 2 * model.table


def replace_a_layer(model: Changeable) -> None:
    model.layer[0] = torch.nn.Sigmoid()


def untie(model: Changeable) -> None:
    model.other.weight = torch.nn.Parameter(2 * model.one.weight.detach())


def hook_twice(model: Changeable) -> None:
    model.layer.register_forward_hook(lambda module, given, out: 2 * out).remove()
    model.layer.register_forward_hook(lambda module, given, out: 3 * out)


@pytest.mark.usefixtures("never_walks")
@pytest.mark.parametrize(
    "change", [replace_function, replace_a_setting, replace_an_array, replace_a_layer, untie, hook_twice]
)
def test_what_was_traced_follows_a_model_that_is_changed(change: Callable[[Changeable], None]) -> None:
    situation = Situation()
    model = build(Changeable, "real", situation)
    assert_backends_agree(model, situation.batch(), situation)
    change(model)
    assert_backends_agree(model, situation.batch(), situation)


def test_models_whose_settings_differ_out_of_sight_share_nothing() -> None:
    @dataclass(frozen=True)
    class Table(Sizes):
        table: Any = field(default=None, repr=False)

    class Reads(ReadsLatent):
        Config = Table

        def seen(self, z: torch.Tensor) -> torch.Tensor:
            return z * self.config.table

    situation = Situation()
    for table in (1.0, 2.0):
        torch.manual_seed(0)
        assert_backends_agree(Reads(SPECS["real"], Table(table=table)).double(), situation.batch(), situation)


@pytest.mark.usefixtures("never_walks")
def test_a_filter_of_a_strangers_model_gives_the_bound_of_the_reference() -> None:
    model, batch = build(WaveModel, "real", Situation()), Situation().batch()
    values = []
    for backend in ("fast", "reference"):
        model.backend = backend  # type: ignore[assignment]
        torch.manual_seed(1)
        values.append(FIVO(particles=4, threshold=1.1)(model, batch).value)
    torch.testing.assert_close(values[0], values[1], rtol=1e-12, atol=0)


def test_threads_trace_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [build(cls, "real", Situation()) for cls in (EndsWith, EndsWithGroupNorm, ReadsLatent, WaveModel)]

    def run(model: SequenceModel) -> dict[str, torch.Tensor]:
        return results(model, Situation().batch(), Situation())

    alone = [run(by("reference", model)) for model in models]
    monkeypatch.setattr(trace_cache, "_SHARED", {})
    with ThreadPoolExecutor() as threads:
        together = list(threads.map(run, [by("fast", model) for model in models]))
    assert Distribution._validate_args
    for one, two in zip(together, alone, strict=True):
        assert_equal(one, two, 1e-10)


def test_a_loop_whose_gradients_cannot_be_traced_walks(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise Untraceable("a derivative that no record holds")

    model, situation = build(EndsWithConvolution, "real", Situation()), Situation(particles=2, ancestors=True)
    monkeypatch.setattr(trace_cache, "_SHARED", {})
    expected = results(by("reference", model), situation.batch(), situation)
    monkeypatch.setattr(eager, "derive", fails)
    for _ in range(2):
        assert_equal(results(by("fast", model), situation.batch(), situation), expected, 0.0)
    assert caplog.messages == ["ends_with runs step by step, which is slow: a derivative that no record holds"]


@pytest.mark.usefixtures("never_walks")
def test_particles_draw_on_their_own_what_depends_on_data_alone() -> None:
    model, batch = build(DrawsOfData, "real", Situation()), Situation().batch()
    one, two = model.unroll(batch, particles=2).emission.mean.chunk(2)
    assert not torch.equal(one, two)
