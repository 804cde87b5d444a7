"""A stream gives the scores of `score`, whatever is observed, across a pause, and says what it expects next."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import zforcing
from conftest import RNN_SIZE, SPECS, VRNN_SIZE, ZF_SIZE, Case
from test_score import ONE_OF_EACH, linear_gaussian, model_of, sequences
from zforcing import ObservationSpec, SequenceModel, Sequences, Stream, UserError
from zforcing.files.reading import Array
from zforcing.models.stepper import Stepper, Walk
from zforcing.tasks.proposals import Proposal
from zforcing.tasks.stream import StreamStep

STEPS = (7,)


def inputs_of(data: Sequences) -> Sequence[Any]:
    """u_t of each step of the first sequence, in the user's units."""
    read, scaling = data[0].inputs, data.description.input_normalization
    return [None] * len(data[0].x) if read is None or scaling is None else list(scaling.invert(read))


def pushed(stream: Stream, data: Sequences, start: int = 0, stop: int | None = None) -> list[StreamStep]:
    raw, inputs = data.raw(0), inputs_of(data)
    return [stream.push(x, u) for x, u in list(zip(raw, inputs, strict=True))[start:stop]]


def assert_scores(steps: Sequence[StreamStep], nats: Array, features: Array | None) -> None:
    np.testing.assert_allclose([s.nats for s in steps], nats, rtol=1e-6, atol=1e-6)
    for step, each in zip(steps, [None] * len(steps) if features is None else features, strict=True):
        if each is None:
            assert step.features is None
        else:
            np.testing.assert_allclose(step.features, each, rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore:at . of . steps fewer than 2.67 of the 8 particles:RuntimeWarning")
@pytest.mark.pairs(case=ONE_OF_EACH, proposal=["prior", "mixture"])
def test_a_stream_gives_the_scores_of_the_whole_sequence(case: Case, spec: ObservationSpec, proposal: Proposal) -> None:
    data = sequences(spec, STEPS)
    model = model_of(case, data)
    scores = zforcing.score(model, data, particles=8, seed=3, proposal=proposal)
    steps = pushed(zforcing.stream(model, particles=8, seed=3, proposal=proposal), data)
    assert [s.step for s in steps] == list(range(7 + spec.unscored_steps))
    assert_scores(steps, scores.nats[0], None if scores.features is None else scores.features[0])
    np.testing.assert_allclose([s.effective for s in steps], scores.effective[0], rtol=1e-5)


@pytest.mark.usefixtures("never_walks")
@pytest.mark.parametrize(
    ("spec", "proposal"), [("with gaps", "mixture"), ("with inputs", "prior"), ("conditioned", "mixture")]
)
def test_a_traced_stream_gives_the_scores_of_the_contract_across_a_pause(
    spec: str, proposal: Proposal, tmp_path: Path
) -> None:
    data = sequences(SPECS[spec], STEPS)
    case = Case("vrnn", VRNN_SIZE)
    fast, slow = (model_of(case, data, fast=fast) for fast in (True, False))
    stream = zforcing.stream(fast, particles=8, proposal=proposal)
    steps = pushed(stream, data, stop=4)
    stream.save(tmp_path / "stream")
    resumed = Stream.load(tmp_path / "stream", fast)
    steps += pushed(resumed, data, start=4)
    for filtering in (stream._filter, resumed._filter):
        assert filtering is not None
        assert not filtering._stepper.walks
    scores = zforcing.score(slow, data, particles=8, proposal=proposal)
    assert scores.features is not None
    assert_scores(steps, scores.nats[0], scores.features[0])


@pytest.mark.pairs(case=ONE_OF_EACH, stop=[0, 1, 3], proposal=["prior", "mixture"])
def test_a_stream_that_was_saved_goes_on_as_if_it_had_not_been(
    case: Case, spec: ObservationSpec, stop: int, proposal: Proposal, tmp_path: Path
) -> None:
    data = sequences(spec, STEPS)
    model = model_of(case, data)
    whole = pushed(zforcing.stream(model, particles=4, seed=1, proposal=proposal), data)
    stream = zforcing.stream(model, particles=4, seed=1, proposal=proposal)
    steps = pushed(stream, data, stop=stop)
    stream.save(tmp_path / "stream")
    resumed = Stream.load(tmp_path / "stream", model)
    assert resumed.steps == stop
    steps += pushed(resumed, data, start=stop)
    assert [s.nats for s in steps] == pytest.approx([s.nats for s in whole], rel=1e-12, nan_ok=True)


def test_saving_does_not_disturb_a_stream(tmp_path: Path) -> None:
    data = sequences(SPECS["with gaps"], STEPS)
    model = model_of(Case("zforcing", ZF_SIZE), data)
    stream, other = zforcing.stream(model), zforcing.stream(model)
    for x in data.raw(0):
        stream.save(tmp_path / "stream")
        assert stream.push(x).nats == pytest.approx(other.push(x).nats, nan_ok=True)


def test_a_saved_stream_of_another_model_or_no_stream_is_refused(tmp_path: Path) -> None:
    data = sequences(SPECS["real"], STEPS)
    model, other = (model_of(ONE_OF_EACH[0], data, seed=seed) for seed in (0, 1))
    zforcing.stream(model).save(tmp_path / "stream")
    with pytest.raises(UserError, match="is of another model, or of other weights"):
        Stream.load(tmp_path / "stream", other)
    (tmp_path / "text").write_text("no stream")
    with pytest.raises(UserError, match="can't be read"):
        Stream.load(tmp_path / "text", model)
    with pytest.raises(UserError, match="no such file"):
        Stream.load(tmp_path / "none", model)
    zforcing.save(tmp_path / "model", model)
    with pytest.raises(UserError, match="is no saved stream"):
        Stream.load(next((tmp_path / "model").rglob("*.safetensors")), model)


# ---- damaged files


def edited(file: Path, edit: Callable[[dict[str, Any], dict[str, torch.Tensor]], object]) -> Path:
    """The file of a stream, changed and without its digest."""
    with safe_open(file, framework="pt") as opened:
        known = json.loads(opened.metadata()["stream"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # it is no mapping
    edit(known, tensors)
    save_file(tensors, file, metadata={"stream": json.dumps(known)})
    return file


@pytest.mark.parametrize(
    "edit",
    [
        *(lambda known, _, name=name: known.pop(name) for name in ("model", "particles", "seed", "steps", "format")),
        lambda known, _: known.update(steps="2"),
        lambda known, _: known.update(particles=-3),
        lambda known, _: known.update(proposal="none"),
        lambda _, tensors: tensors.pop("log_weights"),
        lambda _, tensors: tensors.clear(),
        lambda _, tensors: tensors.update({name: torch.zeros(3, 3, 3) for name in tensors}),
        lambda _, tensors: tensors.update({name: value.long() for name, value in tensors.items()}),
        lambda _, tensors: tensors.update({"state.more": torch.zeros(1)}),
    ],
)
def test_a_file_that_holds_no_state_is_one_line(edit: Any, tmp_path: Path) -> None:
    data = sequences(SPECS["real"], STEPS)
    model = model_of(ONE_OF_EACH[0], data)
    stream = zforcing.stream(model)
    stream.push(data.raw(0)[0])
    stream.save(tmp_path / "stream")
    with pytest.raises(UserError, match=r"stream .*: is "):
        Stream.load(edited(tmp_path / "stream", edit), model)


def test_a_flipped_bit_of_a_state_is_noticed(tmp_path: Path) -> None:
    data = sequences(SPECS["real"], STEPS)
    model = model_of(ONE_OF_EACH[0], data)
    stream = zforcing.stream(model)
    stream.push(data.raw(0)[0])
    stream.save(tmp_path / "stream")
    content = bytearray((tmp_path / "stream").read_bytes())
    content[-1] ^= 1
    (tmp_path / "stream").write_bytes(bytes(content))
    with pytest.raises(UserError, match="isn't as it was written"):
        Stream.load(tmp_path / "stream", model)


# ---- the forecast


def test_the_forecast_of_a_linear_gaussian_model_is_kalmans() -> None:
    """x_1 ~ N(0, C q^2 C' + r^2), the first prediction: within the error of 5000 particles."""
    model = linear_gaussian()
    model.backend = "reference"
    forecast = zforcing.stream(model, particles=5000).forecast()
    with torch.no_grad():
        C, q, r = model.C.numpy(), model.log_q.exp().numpy(), model.log_r.exp().numpy()
    std = np.sqrt((C**2 @ q**2) + r**2)
    assert forecast.mean is not None
    assert forecast.std is not None
    np.testing.assert_allclose(forecast.mean, 0, atol=4 * std.max() / math.sqrt(5000))
    np.testing.assert_allclose(forecast.std, std, rtol=4 / math.sqrt(2 * 5000))
    low, high = forecast.quantile([0.05, 0.95])  # by 1000 draws: a standard error of 0.067 standard deviations
    np.testing.assert_allclose(low, -1.645 * std, atol=4 * 0.067 * std.max())
    np.testing.assert_allclose(high, 1.645 * std, atol=4 * 0.067 * std.max())
    assert forecast.probabilities is None


def test_a_forecast_is_in_the_users_units() -> None:
    data = sequences(SPECS["real"], (40,))
    large = Sequences([1000 * x for x in data.to_arrays()])
    one, other = (pushed(zforcing.stream(model_of(ONE_OF_EACH[0], d)), d, stop=3)[-1].forecast for d in (data, large))
    assert one is not None
    assert other is not None
    for name in ("mean", "std"):
        np.testing.assert_allclose(1000 * getattr(one, name), getattr(other, name), rtol=1e-5)
    np.testing.assert_allclose(1000 * one.quantile(0.3), other.quantile(0.3), rtol=1e-4)


@pytest.mark.pairs(case=ONE_OF_EACH[:2])
def test_every_kind_of_observation_has_a_forecast(case: Case, spec: ObservationSpec) -> None:
    data = sequences(spec, STEPS)
    stream = zforcing.stream(model_of(case, data), particles=8)
    stream.push(data.raw(0)[0], inputs_of(data)[0])
    forecast = stream.forecast(inputs_of(data)[1])
    if spec.kind == "categorical":
        assert forecast.mean is None
        assert forecast.probabilities is not None
        assert forecast.probabilities.sum() == pytest.approx(1)
        assert forecast.quantile(0.5).shape == ()
    else:
        assert forecast.mean is not None
        assert forecast.mean.shape == (spec.size,)
        assert forecast.draws.shape == (1000, spec.size)
    if spec.kind == "binary":
        assert (forecast.mean > 0).all()
        assert (forecast.mean < 1).all()


def test_a_forecast_without_closed_moments_is_that_of_draws() -> None:
    data = sequences(SPECS["real"], STEPS)
    forecast = zforcing.stream(model_of(ONE_OF_EACH[0], data, autoregressive=True)).forecast()
    assert forecast.mean is not None
    np.testing.assert_allclose(forecast.mean, forecast.draws.mean(0))
    mixture = zforcing.stream(model_of(ONE_OF_EACH[0], data, components=3)).forecast()
    assert mixture.mean is not None
    assert mixture.std is not None
    np.testing.assert_allclose(mixture.mean, mixture.draws.mean(0), atol=4 * mixture.std.max() / math.sqrt(1000))


def test_inputs_of_the_next_step_are_given_once() -> None:
    data = sequences(SPECS["with inputs"], STEPS)
    model = model_of(ONE_OF_EACH[0], data)
    raw, inputs = data.raw(0), inputs_of(data)
    stream, other = zforcing.stream(model), zforcing.stream(model)
    assert stream.push(raw[0], inputs[0]).forecast is None
    stream.forecast(inputs[1])
    with pytest.raises(UserError, match="were given already"):
        stream.push(raw[1], inputs[1])
    other.push(raw[0], inputs[0])
    assert stream.push(raw[1]).nats == other.push(raw[1], inputs[1]).nats
    with pytest.raises(UserError, match="reads 2 known inputs at every step"):
        stream.push(raw[2])


def test_columns_of_categories_have_no_quantiles_of_codes() -> None:
    rng = np.random.default_rng(0)
    rows = [np.stack([rng.normal(size=6), rng.integers(2, size=6), rng.integers(3, size=6)], axis=1) for _ in range(3)]
    data = Sequences(rows, kind="mixed", kinds=["real", "binary", "category"])
    expected = zforcing.stream(model_of(Case("rnn", RNN_SIZE, kinds=("mixed",)), data)).push(rows[0][0]).forecast
    assert expected is not None
    for values in (expected.quantile(0.5), *expected.quantile([0.1, 0.9])):
        assert np.isnan(values).tolist() == [False, False, True]


def test_before_a_conditioned_first_observation_there_is_no_forecast() -> None:
    data = sequences(SPECS["conditioned"], STEPS)
    stream = zforcing.stream(model_of(ONE_OF_EACH[0], data))
    with pytest.raises(UserError, match="push it first"):
        stream.forecast()
    first = stream.push(data.raw(0)[0])
    assert math.isnan(first.nats)
    assert first.forecast is not None


# ---- mistakes


@pytest.mark.parametrize(
    ("spec", "x", "message"),
    [
        ("real", [1.0, 2.0], r"x_t is of shape \[2\]; it must be 3 numbers"),
        ("real", [[1.0, 2.0, 3.0]], r"x_t is of shape \[1, 3\]"),
        ("real", 1.0, "x_t is 1.0; it must be 3 numbers"),
        ("real", [1.0, 2.0, "x"], "x_t is "),
        ("real", "abc", "x_t is 'abc'"),
        ("real", [1.0, 2.0, math.inf], "numbers must be finite"),
        ("real", [1.0, 2.0, math.nan], "trained on data without"),
        ("real", [1.0, 2.0, None], "trained on data without"),
        ("real", [1.0, 2.0, 1e39], "at most"),
        ("binary", [0, 2], "numbers that are 0 or 1"),
        ("categorical", 5, r"x_t is 5; the model reads a category, 0..4"),
        ("categorical", 1.5, "a category, 0..4"),
        ("categorical", -1, "trained on data without"),
    ],
)
def test_an_observation_that_does_not_fit_is_one_line(spec: str, x: Any, message: str) -> None:
    data = sequences(SPECS[spec], STEPS)
    stream = zforcing.stream(model_of(ONE_OF_EACH[0], data))
    with pytest.raises(UserError, match=message) as caught:
        stream.push(x)
    assert "\n" not in str(caught.value)
    assert stream.steps == 0  # it can go on
    assert stream.push(data.raw(0)[0]).step == 0


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([1.0], "inputs is of shape"),
        ([1.0, math.nan], "inputs hold NaN"),
        (["a", "b"], "inputs is "),
    ],
)
def test_inputs_that_do_not_fit_are_one_line(inputs: Any, message: str) -> None:
    data = sequences(SPECS["with inputs"], STEPS)
    stream = zforcing.stream(model_of(ONE_OF_EACH[0], data))
    with pytest.raises(UserError, match=message):
        stream.push(data.raw(0)[0], inputs)
    assert math.isfinite(stream.push(data.raw(0)[0], inputs_of(data)[0]).nats)  # it can go on


@pytest.mark.parametrize("proposal", ["prior", "mixture"])
@pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)
def test_numbers_that_a_model_cannot_compute_with_leave_a_stream_where_it_was(case: Case, proposal: Proposal) -> None:
    """Of some the score is -inf and the state still finite; others, which would be NaN for ever, are refused."""
    torch.set_default_dtype(torch.float32)
    data = sequences(SPECS["real"], STEPS)
    stream, first = zforcing.stream(model_of(case, data).float(), particles=4, proposal=proposal), data.raw(0)
    stream.push(first[0])
    for x in ([1e15, -1e15, 1e15], [1e30, -1e30, 1e30], [3e38, 3e38, -3e38]):
        steps = stream.steps
        with contextlib.suppress(UserError):
            assert stream.push(x).nats < 0
            steps += 1
        assert stream.steps == steps
    assert not math.isnan(stream.push(first[1]).nats)


def test_inputs_of_a_model_without_are_refused() -> None:
    data = sequences(SPECS["real"], STEPS)
    with pytest.raises(UserError, match="the model reads none"):
        zforcing.stream(model_of(ONE_OF_EACH[0], data)).push(data.raw(0)[0], [1.0])


def test_a_state_that_is_not_finite_is_said() -> None:
    data = sequences(SPECS["real"], STEPS)
    model = model_of(ONE_OF_EACH[0], data)
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    with pytest.raises(UserError, match="nothing finite comes of step 0"):
        zforcing.stream(model).push(data.raw(0)[0])


def test_what_is_no_model_of_sequences_is_refused() -> None:
    with pytest.raises(UserError, match="model is a str"):
        zforcing.stream("run")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="particles is 0"):
        zforcing.stream(model_of(ONE_OF_EACH[0], sequences(SPECS["real"])), particles=0)


def test_a_row_by_name_is_read_by_name() -> None:
    rows = np.random.default_rng(0).standard_normal((7, 2))
    data = Sequences([rows], names=["speed", "heat"], inputs=[rows + 1], input_names=["load", "wind"])
    model = model_of(ONE_OF_EACH[0], data)
    expected = zforcing.stream(model).push([1.0, 2.0], [3.0, 4.0]).nats
    x, u = {"heat": 2.0, "speed": 1.0}, {"wind": 4.0, "load": 3.0}
    for named in (dict, pd.Series):
        assert zforcing.stream(model).push(named(x), named(u)).nats == expected
    assert zforcing.stream(model).push(pd.Series([1.0, 2.0]), [3.0, 4.0]).nats == expected
    for wrong, message in (
        ({"heat": 2.0}, "x_t lacks speed; the model reads speed, heat"),
        (pd.Series(x | {"day": 1.0}), "x_t also has day; the model reads speed, heat"),
        (pd.Series([1.0, 2.0], index=["heat", "heat"]), "x_t lacks speed"),
    ):
        with pytest.raises(UserError, match=message):
            zforcing.stream(model).push(wrong, u)
    without = model_of(ONE_OF_EACH[0], sequences(SPECS["real"]))
    with pytest.raises(UserError, match="the model knows no names"):
        zforcing.stream(without).push({"a": 1.0, "b": 1.0, "c": 1.0})


def test_a_category_may_be_its_word() -> None:
    frame = pd.DataFrame({"heat": [1.0, 2.0, 4.0, 3.0], "tool": ["saw", "drill", "saw", "mill"]})
    model = model_of(ONE_OF_EACH[0], Sequences.from_frame(frame, kinds="auto"))
    expected = zforcing.stream(model).push([2.0, 2]).nats
    for named in ([2.0, "saw"], {"tool": "saw", "heat": 2.0}, pd.Series({"heat": 2.0, "tool": "saw"})):
        assert zforcing.stream(model).push(named).nats == expected
    with pytest.raises(UserError, match="x_t has 'axe', which is no category; the model knows drill, mill, saw"):
        zforcing.stream(model).push([2.0, "axe"])


def test_a_stream_is_saved_with_numpys_numbers_and_not_where_no_file_can_be(tmp_path: Path) -> None:
    model = model_of(ONE_OF_EACH[0], sequences(SPECS["real"]))
    stream = zforcing.stream(model, particles=np.int64(4), seed=np.int64(3))
    stream.save(tmp_path / "stream")
    assert Stream.load(tmp_path / "stream", model).seed == 3
    with pytest.raises(UserError, match="there is no folder"):
        stream.save(tmp_path / "none" / "stream")
    with pytest.raises(UserError, match="is a folder; name a file in it"):
        stream.save(tmp_path)


# ---- the stepper's rows


def test_a_stepper_goes_on_from_the_rows_that_it_is_told() -> None:
    model: SequenceModel = Case("rnn", RNN_SIZE).build(SPECS["real"])
    index = torch.tensor([2, 0, 0])
    with torch.no_grad():
        walk, stepper = Walk(model, model.initial_state(3)), Stepper(model, model.initial_state(3))
        for _ in range(3):
            x = torch.randn(3, 3)
            for steps in (walk, stepper):
                steps.emit(steps.begin().mean)
                steps.read(x)
                steps.reorder(index)
            for name, value in walk.last._asdict().items():
                torch.testing.assert_close(getattr(stepper.state, name), value, rtol=1e-10, atol=1e-10)
        assert not stepper.walks
        one, other = (steps.emit(steps.begin().mean).mean for steps in (walk, stepper))
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(one[1], one[2])
