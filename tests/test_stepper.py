"""One step at a time: a traced step gives what the contract gives, and computes no more than is asked for."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution

from conftest import RNN_SIZE, SPECS, SRNN_SIZE, VRNN_SIZE, ZF_SIZE, Case, observations
from zforcing import ObservationSpec, SequenceModel, UserError
from zforcing.distributions import most_likely, parameters_of
from zforcing.models import RNN, RNNConfig
from zforcing.models.rnn import RNNState
from zforcing.models.stepper import Stepper, Walk, _Traced
from zforcing.recurrence.algebra import MATMULS
from zforcing.recurrence.program import in_order
from zforcing.recurrence.stages import PREVIOUS, StagedRun, make_stages
from zforcing.recurrence.trace import trace
from zforcing.tasks.sample import WORTH_TRACING, generate

ROWS, STEPS = 5, 4
EMISSIONS: dict[str, tuple[ObservationSpec, dict[str, Any]]] = {
    "mixture": (SPECS["real"], {"components": 3, "min_std": 0.1}),
    "autoregressive": (SPECS["real"], {"autoregressive": True}),
    "autoregressive mixture": (SPECS["real"], {"autoregressive": True, "components": 2}),
    "autoregressive bits": (SPECS["binary"], {"autoregressive": True}),
    "clamped": (SPECS["binary"], {"logit_clamp": 0.1}),
    "logistic mixture": (ObservationSpec("quantized", 2, levels=16), {"components": 3}),
}
TRACED = [Case("rnn", RNN_SIZE), Case("zforcing", ZF_SIZE), Case("vrnn", VRNN_SIZE), Case("srnn", SRNN_SIZE)]


def seen(spec: ObservationSpec, t: int) -> Tensor:
    """x_t of five rows, with a gap at every second step if there may be one."""
    x = observations(spec, ROWS)
    if spec.missing and t % 2:
        x[0] = -1 if spec.kind == "categorical" else torch.nan
    return x


def both(model: SequenceModel, *, whole: bool = True) -> tuple[Walk, Stepper]:
    torch.manual_seed(1)
    start = observations(model.spec, ROWS) if model.spec.conditions_on_first else None
    state = model.initial_state(ROWS, start=start)
    return Walk(model, state), Stepper(model, state, whole=whole)


def assert_alike(one: Distribution, other: Distribution) -> None:
    assert type(one) is type(other)
    assert one.batch_shape == other.batch_shape
    assert one.event_shape == other.event_shape
    pairs = zip(parameters_of(one), parameters_of(other), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b.expand_as(a), rtol=1e-10, atol=1e-10)


def step_together(model: SequenceModel, walk: Walk, stepper: Stepper, t: int) -> None:
    u = torch.randn(ROWS, model.spec.inputs) if model.spec.inputs else None
    prior = walk.begin(u)
    assert_alike(stepper.begin(u), prior)
    z = prior.sample()
    emission = walk.emit(z)
    assert_alike(stepper.emit(z), emission)
    x = seen(model.spec, t)
    walk.read(x)
    stepper.read(x)


@torch.no_grad()
def test_a_traced_step_gives_the_densities_and_the_state_of_the_contract(case: Case, spec: ObservationSpec) -> None:
    model = case.build(spec)
    walk, stepper = both(model)
    for t in range(STEPS):
        step_together(model, walk, stepper, t)
        assert not stepper.walks
        for name, value in walk.state._asdict().items():
            torch.testing.assert_close(getattr(stepper.state, name), value, rtol=1e-10, atol=1e-10, msg=name)


@pytest.mark.parametrize("name", EMISSIONS)
@pytest.mark.parametrize("case", TRACED[:2], ids=str)
@torch.no_grad()
def test_a_traced_step_gives_every_emission_of_the_contract(case: Case, name: str) -> None:
    spec, settings = EMISSIONS[name]
    model = case.build(spec, **settings)
    walk, stepper = both(model, whole=False)
    for t in range(STEPS):
        step_together(model, walk, stepper, t)
        assert not stepper.walks


# ---- generating


def generated(model: SequenceModel, **given: Any) -> list[Tensor]:
    with torch.no_grad():
        state = model.initial_state(ROWS)
        torch.manual_seed(3)
        inputs = torch.randn(ROWS, WORTH_TRACING, model.spec.inputs) if model.spec.inputs else None
        drawn = generate(model, state, WORTH_TRACING, inputs=inputs, **given)
    return [drawn.x, drawn.latents, *parameters_of(drawn.emission)]


def shifted(t: int, prior: Distribution) -> Tensor:
    return torch.full_like(prior.mean, t / 10) + prior.mean


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        ("real", {}),
        ("categorical", {}),
        ("with inputs", {}),
        ("binary", {"choose": most_likely}),
        ("real", {"latent": shifted}),
    ],
    ids=["drawn", "drawn categories", "drawn with inputs", "greedy", "latents given"],
)
@pytest.mark.parametrize("case", TRACED, ids=str)
def test_a_seed_gives_the_samples_that_the_contract_gives(case: Case, spec: str, given: dict[str, Any]) -> None:
    model = case.build(SPECS[spec])
    fast = generated(model, **given)
    model.backend = "reference"
    for a, b in zip(fast, generated(model, **given), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_what_a_stepper_gave_stays_as_it_was() -> None:
    _, stepper = both(Case("zforcing", ZF_SIZE).build(SPECS["real"]))
    kept, copies = [], []
    for t in range(STEPS):
        prior = stepper.begin()
        emission = stepper.emit(prior.sample())
        stepper.read(seen(SPECS["real"], t))
        kept += [*parameters_of(prior), *parameters_of(emission), *stepper.state]
        copies += [v.clone() for v in kept[len(copies) :]]
    assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True))


@torch.no_grad()
def test_two_steppers_of_one_model_do_not_disturb_each_other() -> None:
    model = Case("vrnn", VRNN_SIZE).build(SPECS["binary"])
    (walk, one), (other_walk, other) = both(model), both(model)
    for t in range(STEPS):
        step_together(model, walk, one, t)
        step_together(model, other_walk, other, t)


@torch.no_grad()
def test_models_of_one_structure_that_share_a_trace_keep_their_own_weights() -> None:
    """An autoregressive emission holds its network."""
    for seed in range(2):
        model = Case("zforcing", ZF_SIZE).build(SPECS["real"], seed, autoregressive=True)
        fast = generated(model)
        model.backend = "reference"
        torch.testing.assert_close(fast[0], generated(model)[0], rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_a_stepper_goes_on_from_any_state() -> None:
    model = Case("srnn", SRNN_SIZE).build(SPECS["categorical"])
    walk, first = both(model)
    step_together(model, walk, first, 0)
    step_together(model, walk, first, 1)
    second = Stepper(model, first.state)
    for t in range(2, 2 + STEPS):
        step_together(model, walk, second, t)


# ---- what is left out


def carried_by(case: Case, *, whole: bool) -> set[str]:
    with torch.no_grad():
        model = case.build(SPECS["real"])
        walk, stepper = both(model, whole=whole)
        step_together(model, walk, stepper, 0)
    assert isinstance(stepper._steps, _Traced)
    return set(stepper._steps.program.stages.before)


@pytest.mark.parametrize(
    ("case", "needed", "whole"),
    [
        (Case("zforcing", ZF_SIZE), {"h", "c"}, {"h", "c", "previous_h", "z", "a", "a_c", "u"}),
        (
            Case("zforcing", ZF_SIZE | {"posterior": "parallel"}),
            {"h", "c"},
            {"h", "c", "previous_h", "z", "a", "a_c", "u"},
        ),
        (Case("srnn", SRNN_SIZE), {"d", "z"}, {"d", "z"}),
        (Case("rnn", RNN_SIZE), {"h", "c"}, {"h", "c"}),
    ],
    ids=lambda part: str(part) if isinstance(part, Case) else "-".join(sorted(part)),
)
def test_only_what_prior_or_emission_read_is_carried(case: Case, needed: set[str], whole: set[str]) -> None:
    """e(x) is none: it is made of x_{t-1}."""
    assert carried_by(case, whole=False) == needed | {PREVIOUS}
    assert carried_by(case, whole=True) == whole | {PREVIOUS}


def test_a_field_that_only_x_makes_is_computed_where_it_is_read_and_its_map_becomes_one_with_the_reader() -> None:
    """h' = h A + e B, e = x C, q unread: h' = h A + x (C B), with one product of x [n, 2] and C B [2, 3]."""
    torch.manual_seed(0)
    A, B, C = torch.randn(3, 3), torch.randn(4, 3), torch.randn(2, 4)

    def f(A: Tensor, B: Tensor, C: Tensor, h: Tensor, e: Tensor, q: Tensor, x: Tensor) -> list[Tensor]:
        return [h @ A + e @ B, x @ C, q + h]

    def example(rows: int) -> tuple[Tensor, ...]:
        return A, B, C, *(torch.zeros(rows, size) for size in (3, 4, 3, 2))

    (a, b, c, h, e, q, x), (new_h, new_e, new_q) = trace(f, example, "ABCheqx")
    state, new = {"h": h, "e": e, "q": q}, {"h": new_h, "e": new_e, "q": new_q}
    stages = make_stages(state, new, [[new_h]], x=x, whole=False)
    assert set(stages.before) == {"h", PREVIOUS}
    products = [v for v in in_order(stages.results[0]) if v.function in MATMULS and v.has_rows]
    assert sorted(v.args[-1].shape for v in products) == [(2, 3), (3, 3)]
    first = {"h": torch.randn(5, 3), PREVIOUS: torch.randn(5, 2)}
    run = StagedRun(stages, {a: A, b: B, c: C}, first, rows=5)
    h_0, x_0, x_1 = first["h"], first[PREVIOUS], torch.randn(5, 2)
    h_1 = h_0 @ A + x_0 @ C @ B
    torch.testing.assert_close(run.run(0)[0], h_1)
    run.put(x, x_1)
    run.end()
    torch.testing.assert_close(run.run(0)[0], h_1 @ A + x_1 @ C @ B)


# ---- where the contract is walked


@pytest.mark.parametrize("why", ["reference", "training", "gradients", "autocast"])
def test_the_contract_is_walked_where_it_is_to_be_seen(why: str) -> None:
    model = Case("zforcing", ZF_SIZE).build(SPECS["real"], dropout=0.5).train(why == "training")
    if why == "reference":
        model.backend = "reference"
    with torch.set_grad_enabled(why == "gradients"), torch.autocast("cpu", torch.bfloat16, enabled=why == "autocast"):
        stepper = Stepper(model, model.initial_state(2))
        for _ in range(2):
            emission = stepper.emit(stepper.begin().mean)
            stepper.read(emission.sample())
            assert stepper.walks
    assert emission.mean.requires_grad == (why == "gradients")


class Untraceable(RNN):
    """Looks at values."""

    name = "untraceable"

    def after_latent(self, state: RNNState, z: Tensor) -> RNNState:
        return super().after_latent(state, z) if bool((state.h < 2).all()) else state


def test_what_cannot_be_traced_is_walked_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    model = Untraceable(SPECS["binary"], RNNConfig(**RNN_SIZE)).double().eval()
    with caplog.at_level(logging.WARNING, "zforcing"):
        one, same = generated(model), generated(model)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert [r.getMessage() for r in caplog.records if "step by step" in r.getMessage()] == [caplog.messages[0]]


def test_a_state_that_overflows_in_a_traced_step_is_said() -> None:
    model = Case("rnn", RNN_SIZE).build(SPECS["real"])
    with torch.no_grad():
        model.emission_net.linear.bias.fill_(1e300)
    with pytest.raises(UserError, match="not finite at step 2"):
        generated(model)


def test_other_weights_give_other_samples_without_another_trace() -> None:
    model = Case("vrnn", VRNN_SIZE).build(SPECS["real"])
    before = generated(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    fast = generated(model)
    assert not torch.allclose(fast[0], before[0])
    model.backend = "reference"
    for a, b in zip(fast, generated(model), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
