"""Word dropout: what is dropped and how often, who reads it (the state), who doesn't (posterior, score), and runs."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from conftest import RNN_SIZE, SRNN_SIZE, VRNN_SIZE, ZF_SIZE, Case, draw_noise, metrics_of, random_batch
from test_update import Recording
from zforcing import ELBO, ObservationSpec, SequenceBatch, SequenceModel, UserError, Weights
from zforcing.bounds import FIVO, IWAE, Bound
from zforcing.data.arrays.arrays import Arrays
from zforcing.data.batches import bucket, pad_steps
from zforcing.data.dataset import InMemory
from zforcing.observations import DataDescription, Example, slice_steps
from zforcing.saving.atomic import current
from zforcing.testing import (
    Check,
    check_carried_state,
    check_chunks,
    check_latents,
    check_missing,
    check_padding,
    check_particles,
    check_rows,
    check_unroll,
    check_unroll_gradient,
)
from zforcing.training.callbacks import Callback
from zforcing.training.carry import Carry
from zforcing.training.graph import GraphUpdate
from zforcing.training.progress import Progress
from zforcing.training.reporter import Reporter
from zforcing.training.runs.config import RunConfig, parse_config
from zforcing.training.runs.run import Interrupted, train
from zforcing.training.settings import TrainingConfig
from zforcing.training.update import BoundModule, EagerUpdate, Updated, make_optimizer
from zforcing.training.word_dropout import FedBatch, WordDropout

WORDS = ObservationSpec("categorical", 5, unknown=0)
WITH_GAPS = replace(WORDS, missing=True)
RNN = Case("rnn", RNN_SIZE)
ZFORCING = Case("zforcing", ZF_SIZE)
VRNN = Case("vrnn", VRNN_SIZE)
SRNN = Case("srnn", SRNN_SIZE)
MODELS = [
    RNN,
    ZFORCING,
    Case("zforcing", ZF_SIZE | {"posterior": "parallel", "latents_see_input": True}),
    VRNN,
    SRNN,
    Case("srnn", SRNN_SIZE | {"posterior": "filtering"}),
]
each_model = pytest.mark.parametrize("case", MODELS, ids=str)


def dropped(batch: SequenceBatch, p: float = 0.5, seed: int = 4) -> SequenceBatch:
    torch.manual_seed(seed)
    fed: SequenceBatch = WordDropout(p, WORDS)(batch)
    return fed


# What is dropped.


@pytest.mark.parametrize("p", [0.1, 0.75])
def test_words_are_dropped_at_the_rate_asked_for(p: float) -> None:
    batch = SequenceBatch(torch.full((100, 200), 3), torch.full((100,), 200), torch.full((100,), 5))
    fed = dropped(batch, p).past
    assert set(fed.unique().tolist()) == {0, 3}
    drops = (fed == 0).double()
    assert abs(float(drops.mean()) - p) < 4 * math.sqrt(p * (1 - p) / 20_000)
    for of_one in (drops.mean(0), drops.mean(1)):  # each step and each sequence by itself, none left out
        assert 0 < float(of_one.min()) < p < float(of_one.max()) < 1


def test_the_start_symbol_what_is_missing_and_what_is_scored_stay() -> None:
    batch = random_batch(WITH_GAPS, (9, 4), missing=True)
    other = dropped(batch, 0.9999)
    assert torch.equal(other.start, batch.start)
    assert torch.equal(other.x, batch.x)
    assert torch.equal(other.previous, batch.previous)
    exists = batch.mask
    assert torch.equal(other.past[exists], torch.where(batch.scored, 0, -1)[exists])
    assert not other.past[~exists].any()


def test_nothing_is_dropped_or_drawn_in_eval_mode_or_at_0() -> None:
    batch, before = random_batch(WORDS), torch.get_rng_state()
    assert WordDropout(0.5, WORDS).eval()(batch) is batch
    assert WordDropout(0.0, ObservationSpec("real", 2))(batch) is batch
    assert torch.equal(torch.get_rng_state(), before)


# What a batch does with it.


def numbered() -> SequenceBatch:
    """x counts from 1, what is fed from 11; the second sequence has 2 of 4 steps."""
    x = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    return FedBatch(x, torch.tensor([4, 2]), torch.tensor([9, 9]), fed=x + 10)


def test_the_past_is_what_was_fed_and_the_padding_of_it_is_0() -> None:
    batch = numbered()
    assert batch.past.tolist() == [[11, 12, 13, 14], [15, 16, 0, 0]]
    assert batch.read.tolist() == [[1, 2, 3, 4], [5, 6, 0, 0]]


def test_a_batch_keeps_what_is_fed_through_all_that_is_done_to_it() -> None:
    batch = numbered()
    assert batch.to("cpu").past.tolist() == batch.past.tolist()
    assert batch.repeat(2).past.tolist() == batch.past.tolist() * 2
    assert pad_steps(batch, 5).past.tolist() == [[11, 12, 13, 14, 0], [15, 16, 0, 0, 0]]
    later, rows = slice_steps(batch, 1, 3)
    assert (later.past.tolist(), later.start.tolist(), rows.tolist()) == ([[12, 13], [16, 0]], [1, 5], [True, True])
    last, rows = slice_steps(batch, 2, 4)
    assert (last.past.tolist(), last.start.tolist(), rows.tolist()) == ([[13, 14]], [2], [True, False])


@pytest.mark.parametrize("fed", [torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 4)])
def test_something_fed_that_is_not_like_x_is_refused(fed: Tensor) -> None:
    with pytest.raises(ValueError, match=r"fed is torch\..* \[2, [34]\]; it must be torch.int64, shaped as x"):
        FedBatch.of(numbered(), fed)


# What a model does with it.


@each_model
@pytest.mark.parametrize(
    "check",
    [
        check_unroll,
        check_unroll_gradient,
        check_carried_state,
        check_chunks,
        check_latents,
        check_particles,
        check_rows,
        check_padding,
    ],
    ids=lambda check: check.__name__,
)
def test_a_model_whose_words_are_dropped_passes(check: Check, case: Case) -> None:
    """Of what is derived where it is compared with the contract: to trace all that is asked takes long."""
    model = case.build(WORDS)
    model.backend = "fast" if check in (check_unroll, check_unroll_gradient) else "reference"
    check(model, dropped(random_batch(WORDS)))


@each_model
def test_a_model_whose_words_are_dropped_knows_what_is_missing(case: Case) -> None:
    check_missing(case.build(WITH_GAPS), dropped(random_batch(WITH_GAPS, missing=True)))


def emissions(model: SequenceModel, batch: SequenceBatch) -> Tensor:
    """ln p(x_t = each word | z_<=t, x_<t), [B, T, 5], of fixed latents."""
    emission = model.unroll(batch, latents=draw_noise(model, batch)).emission
    assert isinstance(emission, Categorical)
    return emission.logits.detach()


@each_model
def test_a_dropped_word_reaches_no_emission(case: Case) -> None:
    """With another x_2 and the same thing fed for it, no p(x_t) changes; with it fed, all do from t = 3 on."""
    model, batch = case.build(WORDS), random_batch(WORDS, (5, 5))
    other = batch.x.clone()
    other[:, 1] = batch.x[:, 1] % 4 + 1  # another word, and not the unknown one
    fed = batch.x.clone()
    fed[:, 1] = 0
    expected = emissions(model, FedBatch.of(batch, fed))
    assert torch.equal(emissions(model, FedBatch.of(replace(batch, x=other), fed)), expected)
    changed = (emissions(model, FedBatch.of(replace(batch, x=other), other)) != expected).any(-1)
    assert changed.tolist() == [[False, False, True, True, True]] * 2


@each_model
def test_a_word_that_is_always_dropped_is_learned_by_the_posterior_alone(case: Case) -> None:
    """Its embedding has no gradient from log p(x | z); from the KL it has one, where the posterior reads words."""
    model, batch = case.build(WORDS), random_batch(WORDS, (6, 6, 6))
    assert (batch.x[:, :-1] == 3).any()
    run = model.unroll(FedBatch.of(batch, torch.where(batch.x == 3, 0, batch.x)), latents=draw_noise(model, batch))
    table = model.get_parameter("embed.layer.weight")
    (of_score,) = torch.autograd.grad(run.log_px.sum(), table, retain_graph=True)
    assert not of_score[3].any()
    assert of_score[0].any()
    if model.latent_size:
        (of_kl,) = torch.autograd.grad(run.kl.sum(), table)
        assert of_kl[3].any()


@pytest.mark.parametrize("case", [RNN, ZFORCING, MODELS[2], VRNN], ids=str)
def test_the_posterior_looks_at_the_words_themselves(case: Case) -> None:
    model, batch = case.build(WORDS), random_batch(WORDS)
    assert torch.equal(model.encode(dropped(batch)), model.encode(batch))


@pytest.mark.parametrize("case", MODELS[4:], ids=str)
def test_srnns_posterior_looks_at_the_words_and_at_the_network_that_was_fed(case: Case) -> None:
    """a_t reads x_t itself, and d_t, which has read what was fed for x_{t-1}."""
    model, batch = case.build(WORDS), random_batch(WORDS, (4,))
    fed = FedBatch.of(batch, torch.zeros_like(batch.x))
    x = batch.x.clone()
    x[0, 3] = (x[0, 3] + 1) % 5
    of_fed, of_words = model.encode(fed), model.encode(batch)
    assert torch.equal(of_fed[:, 0], of_words[:, 0]) == (case.settings.get("posterior") == "filtering")
    assert not torch.equal(of_fed[:, 1:], of_words[:, 1:])
    assert not torch.equal(model.encode(replace(fed, x=x))[:, 3], of_fed[:, 3])


def test_zforcings_backward_cost_is_of_the_words_themselves() -> None:
    model, batch = ZFORCING.build(WORDS), random_batch(WORDS)
    noise = draw_noise(model, batch)
    one, other = (model.unroll(b, noise=noise).cost("backward") for b in (batch, dropped(batch)))
    assert torch.equal(one, other)


# What an update does with it.


@each_model
@pytest.mark.parametrize("bound", [ELBO(), IWAE(particles=2), FIVO(particles=2)], ids=["elbo", "iwae", "fivo"])
def test_an_update_bounds_what_was_fed_and_a_validation_what_was_there(case: Case, bound: Bound) -> None:
    """By hand: the same draws, in the same order."""
    model, batch = case.build(WORDS), random_batch(WORDS)
    module = BoundModule(model, bound, word_dropout=0.5)
    values = []
    for given in (lambda: module.train()(batch, Weights()), lambda: bound(model.train(), dropped(batch))):
        torch.manual_seed(4)
        values.append(given().value)
    assert torch.equal(*values)
    for given in (lambda: module.eval()(batch, Weights()), lambda: bound(model.eval(), batch)):
        torch.manual_seed(4)
        values.append(given().value)
    assert torch.equal(*values[2:])
    assert not torch.equal(values[0], values[2])


def test_an_update_without_word_dropout_draws_what_it_always_drew() -> None:
    model, batch = ZFORCING.build(WORDS).train(), random_batch(WORDS)
    said = []
    for bound in (ELBO(), BoundModule(model, ELBO(), word_dropout=0.0)):
        torch.manual_seed(4)
        arguments = (batch, Weights()) if isinstance(bound, nn.Module) else (model, batch)
        said.append((bound(*arguments).loss, torch.get_rng_state()))
    assert all(torch.equal(a, b) for a, b in zip(*said, strict=True))


def test_a_replayed_update_drops_other_words_at_each_step() -> None:
    """As eager torch does of the padded batches; nothing but the recorded operations runs again."""
    updates: list[Any] = []
    for make in (EagerUpdate, lambda *a, **k: GraphUpdate(*a, capture=Recording(), **k)):
        module = BoundModule(RNN.build(WORDS), ELBO(), word_dropout=0.5).train()
        updates.append(make(module, make_optimizer(module, TrainingConfig()), max_grad_norm=2.0))
    losses: list[list[float]] = [[], []]
    for step, lengths in enumerate([(7, 4), (5, 8), (3, 1)]):
        batch = random_batch(WORDS, lengths, seed=step)
        padded = pad_steps(batch, bucket(batch.x.shape[1]))
        for update, given, losses_of in zip(updates, (padded, batch), losses, strict=True):
            torch.manual_seed(step)
            losses_of.append(update(given, Weights(), learning_rate=0.125).loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    assert len(updates[1].graphs) == 1


@pytest.mark.parametrize("look_ahead", [0, 2])
def test_chunks_and_the_steps_behind_them_drop_the_same_words(look_ahead: int) -> None:
    data = InMemory([Example(np.arange(n) % 4 + 1) for n in (9, 6)])
    model = SRNN.build(WORDS)
    going = Carry(data, model, batch_size=2, steps=3, look_ahead=look_ahead)
    module = BoundModule(model, ELBO(), word_dropout=0.5).train()
    plan = going.plan(seed=0, epoch=0)
    for pieces, _, chunk, on in going.batches(plan, noise=range(len(plan))):
        torch.manual_seed(len(pieces))
        fed, ahead = on.drop_words(chunk, module.word_dropout)
        assert torch.equal(fed.x, chunk.x)
        assert torch.equal(fed.lengths, chunk.lengths)
        assert (fed.past != chunk.read).any()
        if ahead.ahead is not None:
            assert torch.equal(ahead.ahead.past[:, : fed.x.shape[1]], fed.past)
        torch.manual_seed(len(pieces))
        result = module(chunk, Weights(), on)
        torch.manual_seed(len(pieces))
        same_draws = on.drop_words(chunk, module.word_dropout)[0]
        before = on.before(model, chunk)
        context = ahead.context(model, chunk.x.shape[1], state=before)
        assert torch.equal(result.value, ELBO()(model, same_draws, state=before, context=context).value)
        going.keep(pieces, result.state)


# Runs.


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunConfig]:
    """Runs on 20 sentences of 5 words, of which 0 is the unknown one; 16 to train on, in 2 batches."""
    torch.set_default_dtype(torch.float32)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "words.npz", x=rng.integers(0, 5, size=(20, 6)), lengths=rng.integers(2, 7, size=20))
    describe = Arrays.describe

    def of_words(self: Arrays) -> DataDescription:
        said = describe(self)
        return replace(said, spec=replace(said.spec, unknown=0))

    monkeypatch.setattr(Arrays, "describe", of_words)

    def make(**training: Any) -> RunConfig:
        data = {"name": "arrays", "path": str(tmp_path / "words.npz"), "kind": "categorical"}
        model = {"name": "zforcing", "hidden_size": 5, "embedding_size": 4, "latent_size": 2, "mlp_size": 4}
        settings = {"batch_size": 8, "epochs": 1, "log_every": 1, "learning_rate": 0.01} | training
        return parse_config({"data": data, "model": model, "training": settings, "seed": 3})

    return make


def run(config: RunConfig, folder: Path, **options: Any) -> None:
    train(config, folder, device="cpu", reporter=Reporter(quiet=True), **options)


class StopAfterFirst(Callback):
    """Ctrl-C when an update is done."""

    def on_update(self, at: Progress, updated: Updated, model: SequenceModel) -> None:
        if at.step == 1:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("chunks", [None, 2])
def test_a_stopped_and_resumed_run_that_drops_words_equals_the_uninterrupted_one(
    configure: Callable[..., RunConfig], tmp_path: Path, chunks: int | None
) -> None:
    config = configure(word_dropout=0.5, truncated_bptt_steps=chunks)
    run(config, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(config, tmp_path / "pieces", callbacks=[StopAfterFirst()])
    torch.manual_seed(99)  # whatever happened in between
    run(config, tmp_path / "pieces", resume=True)
    assert metrics_of(tmp_path / "pieces") == metrics_of(tmp_path / "whole")
    for file in ("model.safetensors", "training.safetensors"):
        one, other = (
            (current(tmp_path / name / "checkpoints" / "last") / file).read_bytes() for name in ("pieces", "whole")
        )
        assert one == other


def test_words_are_dropped_in_updates_and_in_no_validation(configure: Callable[..., RunConfig], tmp_path: Path) -> None:
    """The first validation is of the first weights."""
    for p in (0.0, 0.5):
        run(configure(word_dropout=p, max_steps=1), tmp_path / str(p))
    (valid, update, *_), (other_valid, other_update, *_) = (metrics_of(tmp_path / name) for name in ("0.0", "0.5"))
    assert (valid["event"], update["event"]) == ("validation", "training")
    assert valid == other_valid
    assert update["loss"] != other_update["loss"]


# What is refused.


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5])
def test_a_rate_that_is_no_probability_below_1_is_refused(p: float) -> None:
    with pytest.raises(UserError, match=rf"training\.word_dropout is {p}; it must be 0 or more and less than 1"):
        TrainingConfig(word_dropout=p)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (ObservationSpec("real", 2), "real observations"),
        (ObservationSpec("binary", 2), "binary observations"),
        (ObservationSpec("categorical", 5), "categories without one"),
    ],
)
def test_data_without_an_unknown_word_is_refused(spec: ObservationSpec, said: str) -> None:
    with pytest.raises(UserError, match=rf"training\.word_dropout is 0\.3: .*unknown word.*{said}; set .* to 0, or "):
        BoundModule(RNN.build(spec), ELBO(), word_dropout=0.3)


def test_data_without_an_unknown_word_is_refused_before_anything_is_written(
    configure: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(word_dropout=0.3)
    monkeypatch.undo()
    with pytest.raises(UserError, match="categories without one"):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("kind", "unknown", "said"),
    [
        ("binary", 0, "unknown is 0 for binary observations"),
        ("categorical", 5, r"unknown is 5; it must be null or a category, 0\.\.4"),
        ("categorical", -1, "unknown is -1; it must be"),
        ("categorical", True, "unknown is True; it must be"),
        ("categorical", "<unk>", "unknown is '<unk>'; it must be"),
    ],
)
def test_an_unknown_word_that_is_no_category_is_refused(kind: Any, unknown: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        ObservationSpec(kind, 5, unknown=unknown)


def test_a_description_keeps_the_unknown_word() -> None:
    description = DataDescription("words", WORDS, 6)
    values = json.loads(json.dumps(description.to_json()))
    assert DataDescription.from_json(values) == description
    del values["spec"]["unknown"]  # there was none in the first files
    assert DataDescription.from_json(values).spec == replace(WORDS, unknown=None)
