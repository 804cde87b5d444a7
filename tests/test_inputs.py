"""Models that read known inputs u_t: what they are given, what they gain by it, and what is said if it isn't there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import zforcing as zf
from conftest import CASES, SPECS, ZF_SIZE, Case, Command, random_batch
from zforcing import ELBO, ObservationSpec, SequenceBatch, Sequences, UserError
from zforcing.bounds import ChunkedELBO
from zforcing.models import LinearGaussian, LinearGaussianConfig, SequenceModel
from zforcing.processes import LinearGaussianSystem
from zforcing.saving.model import load, save
from zforcing.tasks.continuation import continue_from
from zforcing.tasks.interpolate import interpolate
from zforcing.tasks.sample import sample
from zforcing.training.word_dropout import FedBatch, WordDropout

SPEC = SPECS["with inputs"]
DRIVEN = LinearGaussianSystem.random(2, 2, seed=3, inputs=1)


def inputs_of(batch: SequenceBatch) -> Tensor:
    assert batch.inputs is not None
    return batch.inputs


# ---- what a model is


def test_a_model_without_inputs_has_no_parameter_for_them(case: Case) -> None:
    with_inputs, without = (case.build(ObservationSpec("real", 3, inputs=size)) for size in (2, 0))
    more = {n: p.numel() for n, p in with_inputs.named_parameters()}
    less = {n: p.numel() for n, p in without.named_parameters()}
    added = {"B"} if case.model == "linear_gaussian" else set()
    assert more.keys() - less.keys() == added
    assert sum(more.values()) > sum(less.values())
    state = without.initial_state(3)
    assert without.after_inputs(state, None)._fields == state._fields
    assert all(not value.shape[1] for name, value in state._asdict().items() if name == "u")


@pytest.mark.parametrize("size", [None, 1, 3])
def test_a_batch_with_other_inputs_is_refused(case: Case, size: int | None) -> None:
    batch = random_batch(SPEC)
    other = replace(batch, inputs=None if size is None else torch.zeros(*batch.x.shape[:2], size))
    with pytest.raises(ValueError, match=f"the batch has {size or 0} inputs at a step; the model reads 2"):
        case.build(SPEC).unroll(other)


def test_a_batch_with_inputs_is_refused_by_a_model_that_reads_none(case: Case) -> None:
    batch = replace(random_batch(SPECS["real"]), inputs=inputs_of(random_batch(SPEC)))
    with pytest.raises(ValueError, match="the batch has 2 inputs at a step; the model reads 0"):
        case.build(SPECS["real"]).unroll(batch)


def test_a_model_that_would_ignore_inputs_is_not_made() -> None:
    class Ignores(LinearGaussian):
        after_inputs = zf.SequenceModel.after_inputs

    with pytest.raises(UserError, match="linear_gaussian reads no inputs, but the data has 2"):
        Ignores(SPEC)


def test_chunks_with_inputs_are_the_whole_of_an_rnn() -> None:
    model, batch = Case("rnn", {"hidden_size": 5, "embedding_size": 4}).build(SPEC), random_batch(SPEC)
    torch.testing.assert_close(ChunkedELBO(3)(model, batch).value, ELBO()(model, batch).value, rtol=0, atol=1e-11)


def test_word_dropout_leaves_inputs_alone() -> None:
    spec = ObservationSpec("categorical", 5, unknown=0, inputs=2)
    batch = random_batch(spec)
    fed = WordDropout(0.9, spec)(batch)
    assert isinstance(fed, FedBatch)
    assert torch.equal(inputs_of(fed), inputs_of(batch))
    assert torch.equal(inputs_of(fed.repeat(2)), inputs_of(batch).repeat(2, 1, 1))


# ---- samples


def test_samples_follow_the_inputs_step_by_step(case: Case) -> None:
    """Emissions of two samples of one seed agree until the inputs differ, and then differ."""
    model, inputs = case.build(SPEC), torch.randn(1, 4, 2)
    other = torch.where(torch.arange(4)[:, None] < 2, inputs, inputs + 3)
    one, two = (sample(model, 1, steps=4, seed=0, inputs=u).emission.mean[0] for u in (inputs, other))
    assert torch.equal(one[:2], two[:2])
    assert not torch.equal(one[2], two[2])


def test_a_continuation_reads_the_inputs_of_its_own_steps() -> None:
    """The known mean of a linear-Gaussian system without noise: x_{T+k} = C (A^k z_T + sum_j A^{k-j} B u_{T+j})."""
    model = LinearGaussian(ObservationSpec("real", 2, inputs=1), LinearGaussianConfig(2, "smoothing", system_seed=3))
    model = model.double().eval()
    with torch.no_grad():
        model.log_q.fill_(-14.0)
        model.log_r.fill_(-14.0)
    u = torch.randn(2, 7, 1)
    z, x = torch.zeros(2, 2), []
    A, B, C = (torch.tensor(v) for v in (DRIVEN.A, DRIVEN.B, DRIVEN.C))
    for t in range(7):
        z = z @ A.T + u[:, t] @ B.T
        x.append(z @ C.T)
    prefix = SequenceBatch(torch.stack(x[:4], dim=1), torch.tensor([4, 4]), torch.zeros(2, 2), inputs=u[:, :4])
    drawn = continue_from(model, prefix, steps=3, num_samples=2, inputs=u[:, 4:])
    torch.testing.assert_close(drawn.x, torch.stack(x[4:], dim=1).repeat(2, 1, 1), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("spec", "inputs", "said"),
    [
        (SPEC, None, r"the model reads 2 known inputs at every step: give inputs \[2, 3, 2\]"),
        (SPEC, torch.zeros(2, 4, 2), r"inputs is \[2, 4, 2\]; 3 steps of 2 sequences read \[2, 3, 2\]"),
        (SPEC, torch.full((2, 3, 2), torch.nan), "inputs holds NaN or infinity"),
        (SPECS["real"], torch.zeros(2, 3, 2), "inputs are given, but the model reads none"),
    ],
)
def test_inputs_that_a_model_cannot_read_are_refused(spec: ObservationSpec, inputs: Any, said: str) -> None:
    model = Case("zforcing", ZF_SIZE).build(spec)
    with pytest.raises(UserError, match=said):
        sample(model, 2, steps=3, inputs=inputs)
    with pytest.raises(UserError, match=said):
        continue_from(model, random_batch(spec, (4, 2)), steps=3, inputs=inputs)


def test_interpolation_says_that_there_are_no_inputs_between() -> None:
    data = Sequences(np.zeros((1, 3, SPEC.size)), inputs=np.zeros((1, 3, 1)))
    with pytest.raises(UserError, match="reads known inputs, and there are none between"):
        interpolate(Case("zforcing", ZF_SIZE).build(SPEC), data, data)


# ---- what they are worth


def driven_data(n: int, steps: int) -> tuple[list[Any], list[Any]]:
    """Sequences of a system that is pushed by a square wave with random edges, in units of their own."""
    rng = np.random.default_rng(5)
    u = 2.0 * rng.integers(0, 2, size=(n, steps, 1)).repeat(3, axis=1)[:, :steps] - 1
    x = [DRIVEN.simulate(steps, rng=rng, inputs=3 * u[i])[1] for i in range(n)]
    return [100 + 10 * v for v in x], [50 + 3 * v for v in u]


def fitted(cls: Any, data: Sequences, settings: dict[str, Any], **training: Any) -> tuple[Any, Sequences]:
    train, valid, test = data.split(0.7, 0.15, 0.15, seed=0)
    torch.manual_seed(0)
    model = cls.for_data(train, **settings)
    zf.fit(model, train, valid, progress=False, **training)
    return model, test


def truth(x: list[Any], u: list[Any], test: Sequences) -> float:
    """The mean log-likelihood of the test sequences under their system, in nats and the data's units."""
    values = [DRIVEN.log_likelihood((x[i] - 100) / 10, inputs=u[i] - 50) - x[i].size * np.log(10) for i in test.ids]
    return float(np.mean(values))


SMALL: dict[str, Any] = {"hidden_size": 16}
MLPS: dict[str, Any] = SMALL | {"latent_size": 4, "mlp_size": 16}


@pytest.mark.parametrize(
    ("cls", "settings", "bound"),
    [
        (zf.RNN, SMALL | {"embedding_size": 8}, zf.Exact()),
        pytest.param(zf.ZForcing, MLPS | {"embedding_size": 8}, zf.ELBO(), marks=pytest.mark.slow),
        pytest.param(zf.VRNN, MLPS | {"feature_size": 16, "mlp_layers": 1}, zf.ELBO(), marks=pytest.mark.slow),
        pytest.param(zf.SRNN, MLPS | {"embedding_size": 8, "mlp_layers": 1}, zf.ELBO(), marks=pytest.mark.slow),
    ],
    ids=["rnn", "zforcing", "vrnn", "srnn"],
)
def test_inputs_that_explain_the_observations_raise_the_likelihood(
    cls: Any, settings: dict[str, Any], bound: Any
) -> None:
    """By 5 nats a sequence at least (10 to 20 with these seeds), and not beyond what the system itself gives them."""
    torch.set_default_dtype(torch.float32)
    x, u = driven_data(120, 15)
    training: dict[str, Any] = {"epochs": 10, "learning_rate": 0.03, "batch_size": 16}
    numbers = []
    for data in (Sequences(x, inputs=u), Sequences(x)):
        model, test = fitted(cls, data, settings, **training)
        numbers.append(zf.evaluate(model, test, bound=bound, seed=0).raw_nats_per_sequence)
    given, without = (number for number in numbers if number is not None)
    assert without + 5 < given < truth(x, u, test)


@pytest.mark.slow
def test_a_linear_gaussian_model_learns_what_inputs_do() -> None:
    """To within 3 nats a sequence of the system's own likelihood, which the model without inputs misses by 20."""
    x, u = driven_data(120, 15)
    own = [(v - 100) / 10 for v in x], [v - 50 for v in u]
    training: dict[str, Any] = {"epochs": 20, "learning_rate": 0.1, "batch_size": 16, "bound": zf.Exact()}
    numbers = []
    for data in (Sequences(own[0], inputs=own[1], normalize=False), Sequences(own[0], normalize=False)):
        model, test = fitted(LinearGaussian, data, {"latent_size": 2}, **training)
        numbers.append(zf.evaluate(model, test, bound=zf.Exact()).nats_per_sequence)
    known = truth(x, u, test) + x[0].size * np.log(10)
    assert known - 3 < numbers[0] < known + 0.5
    assert numbers[1] < known - 20


def test_a_saved_model_scales_inputs_as_it_was_trained(tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float32)
    x, u = driven_data(20, 5)
    data = Sequences(x, inputs=u, names=["p", "q"], input_names=["valve"])
    model = zf.RNN.for_data(data, hidden_size=4, embedding_size=3)
    save(tmp_path / "mine", model)
    loaded = load(tmp_path / "mine")
    assert loaded.description == data.description
    assert loaded.description is not None
    assert loaded.description.input_normalization is not None
    given = [zf.evaluate(m, data, bound=zf.Exact()).nats_per_sequence for m in (model.eval(), loaded)]
    assert given[0] == given[1]


# ---- commands


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A saved model that reads one input, and an .npz of sequences with it."""
    torch.set_default_dtype(torch.float32)
    x, u = driven_data(4, 6)
    data = Sequences(x, inputs=u)
    save(tmp_path / "run", zf.RNN.for_data(data, hidden_size=4, embedding_size=3))
    np.savez(tmp_path / "x.npz", x=np.array(x), inputs=np.array(u))
    return tmp_path


def test_sample_reads_the_inputs_of_sequences_that_are_named(run: Path, zf: Command) -> None:
    words = ["sample", run / "run", "--inputs", run / "x.npz", "--num", 6, "--out", run / "out"]
    assert zf(*words, "--json").json["steps"] == 6
    assert np.load(run / "out" / "sample-seed0.npz")["x"].shape == (6, 6, 2)
    assert "the known inputs end after 6 steps" in zf(*words, "--steps", 7).mistake
    assert "name sequences that have them in --inputs" in zf("sample", run / "run").mistake


def test_continue_reads_the_inputs_behind_those_given(run: Path, zf: Command) -> None:
    words = ["continue", run / "run", run / "x.npz", "--num", 2, "--out", run / "out"]
    values = zf(*words, "--given", 4, "--json").json
    assert values["steps"] == 2
    assert "the known inputs end after 2 steps" in zf(*words, "--given", 4, "--steps", 3).mistake
    assert "set --given" in zf(*words).mistake


def test_inputs_are_refused_where_the_model_reads_none(tmp_path: Path, zf: Command) -> None:
    data = Sequences([[1.0, 2.0], [2.0, 3.0]])
    save(tmp_path / "run", small_rnn(data))
    assert "the model reads no known inputs" in zf("sample", tmp_path / "run", "--inputs", "test:0").mistake


def small_rnn(data: Sequences) -> zf.SequenceModel:
    return zf.RNN.for_data(data, hidden_size=4, embedding_size=3)


def test_all_cases_are_of_models_that_read_inputs() -> None:
    assert {case.model for case in CASES} == {name for name, cls in zf.MODELS.items() if issubclass(cls, SequenceModel)}
