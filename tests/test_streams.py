"""Truncated back-propagation: which chunk is where, that state is carried and detached, and chunks are the whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import SPECS, Case, draw_noise
from zforcing import ELBO, ObservationSpec, UserError, Weights, fit
from zforcing.bounds import ChunkedELBO
from zforcing.data import InMemory
from zforcing.data.streams import load_pieces, streams
from zforcing.models import map_state
from zforcing.observations import Example, SequenceBatch, collate, slice_steps
from zforcing.testing import random_batch
from zforcing.training.carry import Carry
from zforcing.training.parallel import SingleProcess
from zforcing.training.reporter import Reporter
from zforcing.training.runs.config import parse_config
from zforcing.training.runs.run import train
from zforcing.training.update import BoundModule

LENGTHS = np.array([7, 1, 12, 4, 9, 3, 3, 10])
ZF = Case("zforcing", {"hidden_size": 6, "embedding_size": 4, "latent_size": 3, "mlp_size": 5})
RNN = Case("rnn", {"hidden_size": 6, "embedding_size": 4})
CHUNKS: dict[str, Any] = {"truncated_bptt_steps": 3}


def test_every_step_is_in_one_piece_in_order_and_a_row_stays_on_its_sequence() -> None:
    plan = streams(LENGTHS, 3, 4, seed=1, epoch=2)
    seen: dict[int, list[tuple[int, int, int]]] = {}
    for number, pieces in enumerate(plan):
        assert len({p.row for p in pieces}) == len(pieces) <= 3
        assert [p.row for p in pieces] == sorted(p.row for p in pieces)
        for p in pieces:
            seen.setdefault(p.index, []).append((number, p.start, p.stop))
            assert p.stop - p.start == min(4, LENGTHS[p.index] - p.start)
    assert sorted(seen) == list(range(len(LENGTHS)))
    for index, parts in seen.items():
        assert [start for _, start, _ in parts] == list(range(0, LENGTHS[index], 4))
        assert parts[-1][2] == LENGTHS[index]
        numbers = [number for number, _, _ in parts]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))  # one update after the other
    by_row = {(p.row, p.index) for pieces in plan for p in pieces}
    assert len(by_row) == len(LENGTHS)


def test_the_plan_is_a_function_of_seed_and_epoch() -> None:
    one = streams(LENGTHS, 3, 4, seed=1, epoch=2)
    assert one == streams(LENGTHS, 3, 4, seed=1, epoch=2)
    assert one != streams(LENGTHS, 3, 4, seed=1, epoch=3)
    assert one != streams(LENGTHS, 3, 4, seed=2, epoch=2)


@pytest.mark.parametrize("conditioned", [False, True])
def test_pieces_are_read_with_the_frame_before_where_it_is_conditioned_on_and_those_behind(conditioned: bool) -> None:
    spec = ObservationSpec("real", 1, "conditioned" if conditioned else "scored")
    data = InMemory([Example(100 * i + np.arange(n, dtype=np.float32)[:, None]) for i, n in enumerate([5, 8])])
    plan = streams(data.lengths - conditioned, 2, 3, seed=0, epoch=0)
    for pieces, batch in zip(plan, load_pieces(data, plan, spec, look_ahead=2), strict=True):
        for p, x, length, start in zip(pieces, batch.x, batch.lengths.tolist(), batch.start, strict=True):
            first = 100 * p.index + p.start + conditioned
            steps = min(p.stop + 2, int(data.lengths[p.index]) - conditioned) - p.start
            assert length == steps
            assert x[:steps, 0].tolist() == [first + t for t in range(steps)]
            assert start.item() == (first - 1 if conditioned else 0)


def carry(case: Case, spec: ObservationSpec, *, steps: int, look_ahead: int = 0) -> tuple[Carry, InMemory]:
    rng = np.random.default_rng(3)
    first = int(spec.conditions_on_first)
    x = [rng.standard_normal((n + first, spec.size)) for n in LENGTHS]
    inputs = [rng.standard_normal((len(v), spec.inputs)) if spec.inputs else None for v in x]
    data = InMemory([Example(v, inputs=u) for v, u in zip(x, inputs, strict=True)])
    model = case.build(spec)
    return Carry(data, model, batch_size=3, steps=steps, look_ahead=look_ahead), data


@pytest.mark.parametrize("kind", ["real", "conditioned", "with inputs"])
@pytest.mark.parametrize("which", [RNN, ZF], ids=str)
def test_with_a_whole_look_ahead_the_chunks_add_up_to_the_sequences(which: Case, kind: str) -> None:
    """Rows on other recordings in every batch, restarts in the middle of others, and each sum is the whole's."""
    going, data = carry(which, SPECS[kind], steps=4, look_ahead=100)
    model, whole = going.model, collate(data.examples, SPECS[kind])
    noise = draw_noise(model, whole)
    expected = ELBO()(model, whole, noise=noise).value
    total = torch.zeros(len(data))
    plan = going.plan(seed=5, epoch=0)
    module = BoundModule(model, ELBO())
    for pieces, _, chunk, on in going.batches(plan, noise=[0] * len(plan)):
        own = torch.zeros(len(pieces), chunk.x.shape[1], model.latent_size)
        for row, p in enumerate(pieces):
            own[row, : p.stop - p.start] = noise[p.index, p.start : p.stop]
        before = on.before(model, chunk)
        context = on.context(model, chunk.x.shape[1], state=before)
        said = ELBO()(model, chunk, noise=own, state=before, context=context)
        going.keep(pieces, said.state)
        for row, p in enumerate(pieces):
            total[p.index] += said.value[row]
        assert module(chunk, Weights(), on).value.shape == (len(pieces),)
    torch.testing.assert_close(total, expected, rtol=1e-10, atol=1e-10)


def test_the_state_is_carried_without_its_gradient() -> None:
    going, _ = carry(ZF, SPECS["real"], steps=2)
    plan = going.plan(seed=0, epoch=0)
    module, begun = BoundModule(going.model, ELBO()), 0
    for pieces, _, chunk, on in going.batches(plan[:4], noise=[0] * 4):
        assert on.state is None or not any(value.requires_grad for value in on.state)
        before = on.before(going.model, chunk)
        for row, p in enumerate(pieces):
            zero = not any(bool(value[row].any()) for value in (before.h, before.c))
            assert zero == (p.start == 0)
            begun += p.start == 0
        result = module(chunk, Weights(), on)
        assert result.state.h.requires_grad
        going.keep(pieces, result.state)
    assert begun > 3  # a row took a second sequence


def test_a_process_without_rows_takes_no_more_steps_than_the_others() -> None:
    data = InMemory([Example(np.zeros((n, 1), dtype=np.float32)) for n in (40, 4)])
    idle = []
    for rank in (0, 1):
        here = SingleProcess()
        here.rank, here.world = rank, 2
        going = Carry(data, RNN.build(ObservationSpec("real", 1)), batch_size=2, steps=4, look_ahead=0, here=here)
        plan = going.plan(seed=0, epoch=0)
        taken = [(share, chunk.x.shape[1]) for _, share, chunk, _ in going.batches(plan, noise=range(len(plan)))]
        assert {steps for _, steps in taken} == {4}
        idle += [share == 0 for share, _ in taken]
    assert sum(idle) == 9


def test_what_a_row_begins_with_is_drawn_under_the_updates_own_seed() -> None:
    """Also the dropout of e(x_0), so that a resumed run draws what the uninterrupted one drew."""
    values = []
    for seed in (1, 2):
        going, _ = carry(Case("zforcing", ZF.settings | {"dropout": 0.5}), SPECS["real"], steps=2)
        module = BoundModule(going.model, ELBO()).train()
        torch.manual_seed(seed)  # whatever came before the update
        _, _, chunk, on = next(going.batches(going.plan(seed=0, epoch=0)[:1], noise=[0]))
        torch.manual_seed(7)
        values.append(module(chunk, Weights(), on).value)
    assert torch.equal(values[0], values[1])


def test_a_chunk_sees_what_lies_ahead_of_it_and_no_more() -> None:
    """The posterior of a chunk changes with the step right behind it under a look-ahead of 1, not with the next one."""
    model = ZF.build(SPECS["real"])
    batch = random_batch(SPECS["real"], (8,))
    noise = draw_noise(model, batch)

    def kl_of_first_chunk(look_ahead: int, changed: int) -> float:
        x = batch.x.clone()
        x[0, changed] += 1
        other = SequenceBatch(x, batch.lengths, batch.start)
        seen, _ = slice_steps(other, 0, 4 + look_ahead)
        first, _ = slice_steps(other, 0, 4)
        context = model.encode(seen)[:, :4]
        return float(model.unroll(first, noise=noise[:, :4], context=context).kl.sum().detach())

    assert kl_of_first_chunk(0, 4) == kl_of_first_chunk(0, 7)
    assert kl_of_first_chunk(1, 4) != kl_of_first_chunk(1, 7)
    assert kl_of_first_chunk(1, 5) == kl_of_first_chunk(1, 7)


# ---- evaluation by chunks


@pytest.mark.parametrize("steps", [4])
def test_the_elbo_by_chunks_is_that_of_the_whole(case: Case, spec: ObservationSpec, steps: int) -> None:
    model, batch = case.build(spec), random_batch(spec, (9, 4, 7, 1), missing=spec.missing)
    model.backend = "fast" if spec is SPECS["real"] else "reference"  # to trace each case with each kind takes long
    noise = draw_noise(model, batch)
    whole, chunked = ELBO()(model, batch, noise=noise), ChunkedELBO(steps)(model, batch, noise=noise)
    assert chunked.kind == whole.kind
    for name in ("log_px", "kl"):
        torch.testing.assert_close(chunked.terms[name], whole.terms[name], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(chunked.value, whole.value, rtol=1e-9, atol=1e-9)


def test_the_same_generator_gives_the_same_number_whole_and_by_chunks() -> None:
    model, batch = ZF.build(SPECS["real"]), random_batch(SPECS["real"], (9, 4))
    values = []
    for bound in (ELBO(), ChunkedELBO(2)):
        torch.manual_seed(0)
        values.append(bound(model, batch).value)
    torch.testing.assert_close(values[0], values[1], rtol=1e-10, atol=1e-10)


def test_a_bounded_look_ahead_is_another_bound_and_reaches_the_whole_at_the_longest() -> None:
    model, batch = ZF.build(SPECS["real"]), random_batch(SPECS["real"], (9, 4))
    noise = draw_noise(model, batch)
    whole = ELBO()(model, batch, noise=noise).value
    near, far = (ChunkedELBO(3, look_ahead=n)(model, batch, noise=noise).value for n in (0, 9))
    torch.testing.assert_close(far, whole, rtol=1e-10, atol=1e-10)
    assert (near != whole).all()


@pytest.mark.parametrize("look_ahead", [None, 9])
@pytest.mark.parametrize("kind", ["real", "conditioned", "with inputs"])
def test_losses_and_extra_terms_by_chunks_are_those_of_the_whole(kind: str, look_ahead: int | None) -> None:
    """Also in a batch that is padded further than its longest sequence."""
    model, batch = ZF.build(SPECS[kind]), random_batch(SPECS[kind], (9, 4, 7, 1))
    batch = slice_steps(batch, 0, 9)[0]
    more = {name: torch.cat([v, v[:, :5]], dim=1) for name, v in batch.stepwise.items()}
    batch = SequenceBatch(lengths=batch.lengths, start=batch.start, **more)
    given: dict[str, Any] = {"noise": draw_noise(model, batch), "weights": Weights(0.5, auxiliary=0.3, backward=0.2)}
    whole, chunked = (bound(model, batch, **given) for bound in (ELBO(0.1), ChunkedELBO(4, look_ahead, free_nats=0.1)))
    assert set(chunked.terms) == set(whole.terms) == {"log_px", "kl", "auxiliary", "backward"}
    for name in whole.terms:
        torch.testing.assert_close(chunked.terms[name], whole.terms[name].detach(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(chunked.loss, whole.loss.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("given", [{"steps": 0}, {"steps": 2, "look_ahead": -1}, {"steps": 2, "free_nats": -1.0}])
def test_chunks_without_steps_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(UserError, match="must be"):
        ChunkedELBO(**given)


# ---- training


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., Any]:
    """20 ragged sequences of up to 14 steps, in chunks of 3."""
    rng = np.random.default_rng(0)
    path = tmp_path / "data.npz"
    np.savez(path, x=rng.normal(size=(20, 14, 2)).cumsum(1), lengths=rng.integers(2, 15, size=20))
    model = {"name": "zforcing", "hidden_size": 5, "embedding_size": 4, "latent_size": 2, "mlp_size": 4, "dropout": 0.2}

    def make(bound: str = "elbo", **training: Any) -> Any:
        settings = {"batch_size": 4, "epochs": 2, "log_every": 3, "truncated_bptt_steps": 3} | training
        weights = {"auxiliary": {"start": 0.01}, "backward": {"start": 0.02}}
        return parse_config(
            {
                "data": {"name": "arrays", "path": str(path)},
                "model": model,
                "bound": {"name": bound},
                "weights": weights if bound == "elbo" else {},
                "training": settings,
            }
        )

    return make


def run(config: Any, folder: Path, **options: Any) -> Any:
    return train(config, folder, device="cpu", reporter=Reporter(quiet=True), **options)


@pytest.mark.parametrize("updates", [2, 5])
def test_a_run_in_chunks_resumes_bit_for_bit(configure: Callable[..., Any], tmp_path: Path, updates: int) -> None:
    torch.set_default_dtype(torch.float32)
    run(configure(look_ahead=2), tmp_path / "whole")
    run(configure(look_ahead=2, checkpoint_every=1, max_steps=updates, patience=None), tmp_path / "parts")
    for name in ("whole", "parts"):
        assert (tmp_path / name / "checkpoints" / "last" / "training.safetensors").is_file()
    end = run(configure(look_ahead=2), tmp_path / "parts", resume=True)
    assert end.finished == "epochs 2"
    whole, parts = ((tmp_path / n / "checkpoints/last/model.safetensors").read_bytes() for n in ("whole", "parts"))
    # a run that max_steps ended has one validation more, which may have changed the learning rate: here it doesn't
    assert whole == parts


def test_validation_in_chunks_is_that_of_the_whole(configure: Callable[..., Any], tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float32)
    first = [
        run(
            configure(truncated_bptt_steps=steps, epochs=1, max_steps=1, learning_rate=1e-12), tmp_path / str(steps)
        ).best
        for steps in (3, None)
    ]
    assert first[0] == pytest.approx(first[1], rel=1e-5)


def test_the_loss_of_a_validation_in_chunks_has_free_bits() -> None:
    x = InMemory([Example(np.random.default_rng(n).standard_normal((n, 3))) for n in (7, 4)])
    options: dict[str, Any] = {"bound": ELBO(free_nats=2.0), "epochs": 1, "progress": False, "device": "cpu"}
    first = [fit(ZF.build(SPECS["real"]), x, x, **options, **more).validation[0] for more in ({}, CHUNKS)]
    assert first[1].loss == pytest.approx(first[0].loss, rel=1e-9)
    assert first[1].loss > -first[1].nats + 1


def test_rows_of_metrics_say_that_they_are_of_chunks(configure: Callable[..., Any], tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float32)
    run(configure(epochs=1), tmp_path / "run")
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "nats_per_chunk" in text
    assert '"event": "validation"' in text


def test_only_the_elbo_goes_on_from_a_state(configure: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"truncated_bptt_steps needs bound elbo.*not fivo"):
        configure(bound="fivo")


@pytest.mark.parametrize(
    ("training", "says"),
    [
        ({"truncated_bptt_steps": 0}, "truncated_bptt_steps is 0"),
        ({"look_ahead": -1}, "look_ahead is -1"),
        ({"truncated_bptt_steps": None, "look_ahead": 2}, "needs training.truncated_bptt_steps"),
        ({"backend": "graph"}, "can't carry a state"),
        ({"max_minutes": 0.0}, "max_minutes is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    configure: Callable[..., Any], training: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        configure(**training)


def test_minutes_end_a_run_within_an_epoch(configure: Callable[..., Any], tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float32)
    end = run(configure(max_minutes=1e-6, epochs=100), tmp_path / "run")
    assert end.finished == "max_minutes 1e-06"
    assert end.step == 1
    assert end.best > -np.inf


def test_a_skipped_update_forgets_the_state() -> None:
    going, _ = carry(ZF, SPECS["real"], steps=2)
    plan = going.plan(seed=0, epoch=0)
    for pieces, _, chunk, on in going.batches(plan[:1], noise=[0]):
        going.keep(pieces, map_state(lambda v: v + torch.nan, on.before(going.model, chunk)))
        going.keep(pieces, None)
    for _, _, chunk, on in going.batches(plan[1:2], noise=[1]):
        assert all(bool(value.isfinite().all()) for value in on.before(going.model, chunk))


def test_a_carried_state_of_another_model_is_refused() -> None:
    going, _ = carry(ZF, SPECS["real"], steps=2)
    pieces = going.plan(seed=0, epoch=0)[0]
    going.keep(pieces, going.model.initial_state(len(pieces)))
    tensors = going.tensors()
    other, _ = carry(Case("zforcing", ZF.settings | {"hidden_size": 7}), SPECS["real"], steps=2)
    with pytest.raises(ValueError, match=r"h is \[3, 6\]"):
        other.restore(tensors)
