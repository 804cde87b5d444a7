"""Noise that belongs to a sequence: the same in any batch, process and part of an update."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conftest import RNN_SIZE, SPECS, VRNN_SIZE, ZF_SIZE, Case, random_batch
from zforcing.bounds import ELBO, FIVO, IWAE, Bound
from zforcing.data import InMemory
from zforcing.distributions.row_noise import copies, derived, normal, row_seeds, seed_for, uniform
from zforcing.errors import UserError
from zforcing.evaluation.likelihood import evaluate
from zforcing.models import DensityModel, of_sequences
from zforcing.observations import Example, SequenceBatch, slice_steps
from zforcing.tasks.sample import blocks, sample
from zforcing.training import loop
from zforcing.training.feed import Feed
from zforcing.training.loop import prepare, run
from zforcing.training.parallel import Processes, SingleProcess, processes
from zforcing.training.players.turn import PlayerUpdate
from zforcing.training.progress import Progress
from zforcing.training.schedules import WeightSchedules
from zforcing.training.settings import training_config
from zforcing.training.signals import Stop

RNN, VRNN, ZF = Case("rnn", RNN_SIZE), Case("vrnn", VRNN_SIZE), Case("zforcing", ZF_SIZE)
MASK = 2**64 - 1


# Numbers.


def split_mix(seed: int) -> int:
    """SplitMix64's first output, by its authors' code."""
    z = (seed + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_the_bits_are_those_of_splitmix64() -> None:
    """1234567 gives 6457827717110365317 in its authors' and in Java's implementation."""
    assert split_mix(1234567) == 6457827717110365317
    low, high = (uniform(torch.tensor([1234567]), (2,), dtype=torch.float64)[0] * 2**32).tolist()
    signed = [
        half - 2**32 if half >= 2**31 else half for half in (split_mix(1234567) % 2**32, split_mix(1234567) >> 32)
    ]
    assert [low - 2**31, high - 2**31] == signed


def test_the_numbers_have_the_moments_of_their_distributions_and_are_uncorrelated() -> None:
    seeds = row_seeds(3, range(2000))
    for z in (normal(seeds, (50, 2)), normal(derived(seeds, 1), (50, 2)), normal(copies(seeds, 2)[2000:], (50, 2))):
        z = z.double().flatten(1)
        error = 5 / math.sqrt(z.numel())
        assert abs(z.mean()) < error
        assert abs(z.square().mean() - 1) < error * math.sqrt(2)
        assert abs(z.pow(4).mean() - 3) < error * math.sqrt(96)
        assert abs((z[:, 1:] * z[:, :-1]).mean()) < error
        assert abs((z[1:] * z[:-1]).mean()) < error
    u = uniform(seeds, (100,)).double()
    assert abs(u.mean() - 0.5) < 5 / math.sqrt(12 * u.numel())
    assert 0 <= u.min() < u.max() < 1
    assert abs((normal(seeds, (9,)) * normal(derived(seeds, 1), (9,))).mean()) < 5 / math.sqrt(9 * 2000)


@pytest.mark.parametrize("draw", [normal, uniform])
def test_a_rows_numbers_depend_neither_on_other_rows_nor_on_more_steps(draw: Callable[..., Tensor]) -> None:
    seeds = row_seeds(0, [4, 9, 2])
    whole = draw(seeds, (6, 3))
    assert torch.equal(draw(row_seeds(0, [2]), (5, 3)), whole[2:, :5])
    assert torch.equal(copies(seeds, 3)[:6], copies(seeds, 2))
    assert not torch.equal(draw(row_seeds(1, [2]), (5, 3)), whole[2:, :5])
    assert seed_for(0, "a", 1) != seed_for(0, "a", 2) != seed_for(0, "b", 2)


@pytest.mark.parametrize(("draw", "most"), [(uniform, 1.0), (normal, 7.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_outermost_bits_give_numbers_in_range(
    draw: Callable[..., Tensor], most: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = torch.tensor([2**31 - 1 - 2**31 * 2**32, -1], dtype=torch.int64)  # the largest and the least half, and -1
    monkeypatch.setattr("zforcing.distributions.row_noise._mixed", lambda x: ends[:, None])
    drawn = draw(torch.zeros(2, dtype=torch.int64), (2,), dtype=dtype)
    assert bool(drawn.isfinite().all())
    assert drawn.abs().max() < most


# Bounds of a batch and of its rows.


@pytest.mark.parametrize("bound", [ELBO(), IWAE(3), FIVO(3, threshold=2.0), FIVO(3, resampling="multinomial")], ids=str)
def test_a_sequences_bound_doesnt_depend_on_what_it_is_in_a_batch_with(bound: Bound) -> None:
    data = ragged((5, 2, 7, 3))
    model = of_sequences(VRNN.build(SPECS["real"]), needed_by="a backend")
    model.backend = "reference"
    found = [evaluate(model, data, bound=bound, repeats=2, seed=5, max_rows=rows) for rows in (1, 6, 1000)]
    for one in found[1:]:
        assert one.nats_per_sequence == pytest.approx(found[0].nats_per_sequence, rel=1e-6)
        assert one.kl_per_sequence == pytest.approx(found[0].kl_per_sequence, rel=1e-6)
    assert found[0].noise_error > 0


def test_copies_and_later_slices_of_a_batch_have_noise_of_their_own() -> None:
    model, batch = ZF.build(SPECS["real"]), random_batch(SPECS["real"], (6, 4))
    batch = batch.seeded(row_seeds(0, [0, 1]))
    noise = model.draw_noise(batch, particles=3)
    assert torch.equal(model.draw_noise(batch.repeat(3)), noise)
    assert torch.equal(noise[:2], model.draw_noise(batch))
    first, second = (model.draw_noise(slice_steps(batch, start, start + 3)[0]) for start in (0, 3))
    assert torch.equal(first, noise[:2, :3])
    assert not torch.isin(second[:, : batch.x.shape[1] - 3], noise).any()


def test_seeds_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"seeds is torch.int64 \[3\]; it must be int64 \[2\]"):
        SequenceBatch(torch.zeros(2, 4, 1), torch.tensor([4, 4]), torch.zeros(2, 1), seeds=torch.arange(3))


# Samples.


@pytest.mark.parametrize("kind", ["real", "conditioned", "with inputs"])
def test_fewer_samples_are_the_first_of_more(kind: str) -> None:
    model, spec = VRNN.build(SPECS[kind]).eval(), SPECS[kind]
    inputs = torch.randn(70, 4, spec.inputs) if spec.inputs else None
    start = torch.randn(70, spec.size) if spec.conditions_on_first else None

    def drawn(n: int) -> Any:
        given = {"start": None if start is None else start[:n], "inputs": None if inputs is None else inputs[:n]}
        return sample(model, n, steps=4, seed=1, **given)

    more = drawn(70)
    for n in (1, 4, 8, 9, 64):
        fewer = drawn(n)
        assert torch.equal(fewer.x, more.x[:n])
        assert torch.equal(fewer.latents, more.latents[:n])
        assert fewer.emission.batch_shape == (n, 4)
    assert len(more.x.unique(dim=0)) == 70


def test_blocks_grow_with_what_is_asked_for() -> None:
    assert blocks(8) == [(0, 8)]
    assert blocks(9) == [(0, 8), (8, 64)]
    assert blocks(200) == [(0, 8), (8, 64), (64, 128), (128, 256)]


# Training, whose processes are threads here (tests/test_distributed.py starts some).


class Thread(Processes):
    """One of several processes, as a thread: sums are taken in a common list."""

    def __init__(self, rank: int, world: int, table: list[Any], barrier: threading.Barrier):
        self.rank, self.world, self.device = rank, world, torch.device("cpu")
        self.table, self.barrier = table, barrier

    def gather(self, own: Any) -> list[Any]:
        self.table[self.rank] = own
        self.barrier.wait()
        everyone = list(self.table)
        self.barrier.wait()
        return everyone

    def begin_alike(self, module: nn.Module) -> None:
        module.load_state_dict(self.gather(module.state_dict())[0])

    def total(self, own: Tensor) -> Tensor:
        return torch.stack(self.gather(own.detach().clone())).sum(0)

    def add_gradients(self, module: nn.Module) -> None:
        for parameter in module.parameters():
            given = [g for g in self.gather(parameter.grad) if g is not None]
            parameter.grad = torch.stack(given).sum(0) if given else None

    def wait(self) -> None:
        self.barrier.wait()


def ragged(lengths: tuple[int, ...]) -> InMemory:
    rng = np.random.default_rng(0)
    return InMemory([Example(rng.standard_normal((n, SPECS["real"].size))) for n in lengths])


def weights_after(
    here: Processes,
    model: DensityModel,
    *,
    bound: Bound = ELBO(),
    restored: dict[str, Tensor] | None = None,
    **settings: Any,
) -> tuple[dict[str, Tensor], float, dict[str, Tensor]]:
    """Weights, the last validation and what is carried, after a few updates."""
    data = ragged((3, 2, 5, 3, 4, 2, 1))

    def restore(feed: Feed, adam: torch.optim.Adam, player: PlayerUpdate | None) -> None:
        feed.restore(restored or {})

    training = prepare(
        model,
        data,
        data,
        bound=bound,
        weights=WeightSchedules(),
        settings=training_config({"backend": "reference", "learning_rate": 0.01, **settings}),
        seed=0,
        here=here,
        stop=Stop(),
        say=lambda line: None,
        restore=restore,
    )
    end = run(training, Progress(learning_rate=0.01, batch=1 if restored else 0), [])
    return {k: v.detach() for k, v in model.state_dict().items()}, end.previous, training.feed.tensors()


def together(world: int, case: Case, *, seeds: tuple[int, ...] | None = None, **settings: Any) -> list[Any]:
    """What each of several threads gets from `weights_after`. seeds: of each one's first weights."""
    results: list[Any] = [None] * world
    models = [case.build(SPECS["real"], seed) for seed in seeds or [0] * world]  # here: a seed is of all threads
    table, barrier = [None] * world, threading.Barrier(world, timeout=60)

    def work(rank: int) -> None:
        try:
            results[rank] = weights_after(Thread(rank, world, table, barrier), models[rank], **settings)
        except BaseException:
            barrier.abort()
            raise

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def assert_same(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    for name, value in one[0].items():
        torch.testing.assert_close(other[0][name], value, rtol=1e-6, atol=1e-6)
    assert other[1] == pytest.approx(one[1], rel=1e-6)


@pytest.mark.parametrize(
    ("case", "settings"),
    [
        (ZF, {"batch_size": 4}),  # without its auxiliary cost: parameters that no loss uses
        pytest.param(VRNN, {"batch_size": 5, "bound": IWAE(2, max_rows=4)}, marks=pytest.mark.slow),
        pytest.param(VRNN, {"batch_size": 3, "bound": FIVO(3, threshold=2.0)}, marks=pytest.mark.slow),
        (ZF, {"batch_size": 3, "truncated_bptt_steps": 2, "look_ahead": 1}),
    ],
    ids=["zforcing", "iwae", "fivo", "chunks"],
)
def test_several_processes_train_as_one_does(case: Case, settings: dict[str, Any]) -> None:
    settings = {"max_steps": 3, **settings}
    one = weights_after(SingleProcess(), case.build(SPECS["real"]), **settings)
    for other in together(3, case, **settings):
        assert_same(one, other)


def test_processes_that_made_other_weights_train_those_of_the_first_one() -> None:
    one = weights_after(SingleProcess(), RNN.build(SPECS["real"], 3), max_steps=3, batch_size=4)
    for other in together(2, RNN, seeds=(3, 4), max_steps=3, batch_size=4):
        assert_same(one, other)


def test_a_budget_of_time_ends_training_in_all_processes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds: dict[int, float] = {}  # of the clock of each thread
    now = Counter[int]()

    def clock() -> float:
        me = threading.get_ident()
        now[me] += int(speeds.setdefault(me, 1.0 + len(speeds)))
        return float(now[me])

    monkeypatch.setattr(loop.time, "perf_counter", clock)
    first, second = together(2, RNN, batch_size=7, max_minutes=6 / 60)
    assert_same(first, second)


def test_an_update_in_parts_is_the_whole_ones() -> None:
    one = weights_after(
        SingleProcess(), VRNN.build(SPECS["real"]), max_steps=3, batch_size=6, bound=FIVO(3, threshold=2.0)
    )
    parts = weights_after(
        SingleProcess(),
        VRNN.build(SPECS["real"]),
        max_steps=3,
        batch_size=2,
        accumulate=3,
        bound=FIVO(3, threshold=2.0),
    )
    assert_same(one, parts)


def test_what_is_carried_goes_on_in_another_number_of_processes() -> None:
    settings: dict[str, Any] = {"batch_size": 3, "truncated_bptt_steps": 2, "max_steps": 1}
    one = weights_after(SingleProcess(), RNN.build(SPECS["real"]), **settings)[2]
    assert sorted(one["carried.rows"].tolist()) == [0, 1, 2]
    for found in together(2, RNN, **settings):
        assert found[2].keys() == one.keys()
        for name, value in one.items():
            torch.testing.assert_close(found[2][name], value)
    going_on = {**settings, "max_steps": 2, "restored": one}
    for other in together(2, RNN, **going_on):
        assert_same(weights_after(SingleProcess(), RNN.build(SPECS["real"]), **going_on), other)


def test_processes_that_cant_find_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WORLD_SIZE", "2"), ("LOCAL_RANK", "0"), ("RANK", "0"), ("MASTER_ADDR", "")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with pytest.raises(UserError, match="WORLD_SIZE is 2, and MASTER_ADDR, MASTER_PORT isn't set"):
        processes("cpu")
