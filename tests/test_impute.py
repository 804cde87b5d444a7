"""Filled gaps: beside Kalman's smoother and enumeration; then what every model, kind of data and table must give."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent

import zforcing
from conftest import RNN_SIZE, SPECS, SRNN_SIZE, VRNN_SIZE, ZF_SIZE, Case
from oracle import smoothed_by_kalman
from test_score import model_of, sequences
from zforcing import Imputation, LinearGaussian, ObservationSpec, SequenceBatch, SequenceModel, Sequences, UserError
from zforcing.distributions import combine
from zforcing.emissions import EmissionSettings, make_emission
from zforcing.files.reading import Array
from zforcing.models.rnn import no_latent
from zforcing.observations import Example
from zforcing.tasks.completing import draw_missing, log_weight_of
from zforcing.tasks.drawing import drawn_sequences
from zforcing.tasks.genealogy import lines_of
from zforcing.tasks.impute import held_by_longest
from zforcing.tasks.moves import Block, Mover, Paths, Spread, blocks_of, worth
from zforcing.tasks.smoothing import Histories, filled_by_lines

ONE_OF_EACH = [
    Case("rnn", RNN_SIZE),
    Case("zforcing", ZF_SIZE),
    Case("vrnn", VRNN_SIZE),
    Case("srnn", SRNN_SIZE),
    Case("linear_gaussian", {"latent_size": 2}, kinds=("real",)),
]
FEW: dict[str, Any] = {"particles": 6, "num_samples": 3, "moves": 2}

pytestmark = pytest.mark.filterwarnings("ignore:at .* steps with gaps the .* draws:RuntimeWarning")


# ---- beside what is exact


def turning(**settings: Any) -> LinearGaussian:
    """Latents that turn and are seen through noise."""
    missing = settings["proposal"] != "prior"  # that one is of complete data
    model = LinearGaussian(ObservationSpec("real", 2, missing=missing), latent_size=2, **settings).eval()
    model.backend = "reference"
    with torch.no_grad():
        model.A.copy_(0.95 * torch.tensor([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]]))
        model.C.copy_(torch.tensor([[1.0, 0.0], [0.5, 1.0]]))
        model.log_q.fill_(np.log(0.4))
        model.log_r.fill_(np.log(0.5))
    return model


@pytest.fixture(scope="module")
def gappy() -> tuple[Array, Array]:
    """Forty steps, and what is observed of them: not a block of both numbers, nor one of the first, nor the ends."""
    torch.set_default_dtype(torch.float64)
    x = zforcing.sample(turning(proposal="prior"), 1, steps=40, seed=1).x[0].numpy()
    seen = np.ones(x.shape, dtype=bool)
    seen[8:14] = seen[20:25, 0] = seen[0] = seen[38:] = False
    return x, seen


@pytest.mark.parametrize("proposal", ["smoothing", "filtering"])
def test_means_and_deviations_are_the_kalman_smoothers(proposal: str, gappy: tuple[Array, Array]) -> None:
    """Within 4.5 standard errors at all 23 missing numbers, which the draws' own worth sets; and not by being loose."""
    x, seen = gappy
    model = turning(proposal=proposal)
    mean, std = smoothed_by_kalman(model, x, seen)
    torch.manual_seed(0)
    (drawn,) = drawn_sequences(model, [Example(x, seen)], particles=4000, lag=15, moves=0)
    missing, worth_of = ~seen[drawn.steps], drawn.effective[:, None]
    error = (drawn.x.mean(0) - mean[drawn.steps]) / std[drawn.steps] * np.sqrt(worth_of)
    spread = np.log(drawn.x.std(0) / std[drawn.steps]) * np.sqrt(2 * worth_of)
    assert np.median(drawn.effective) > 100
    assert np.abs(error[missing]).max() < 4.5
    assert np.abs(spread[missing]).max() < 4.5


def test_each_draw_by_itself_is_one_of_the_smoother() -> None:
    """Not the first ones of particles that stand in an order: what comes next is far from what they expected."""
    x, seen = np.array([[0.0, 0.0], [3.0, 3.0]]), np.array([[False, False], [True, True]])
    torch.manual_seed(0)
    drawn = drawn_sequences(turning(proposal="filtering"), [Example(x, seen)] * 300, particles=50, lag=None, moves=0)
    whole = np.stack([d.x[:, 0] for d in drawn])  # [300, 50, D]
    error = (whole[:, 0] - whole.mean(1)) / whole.std()
    assert np.abs(error.mean(0)).max() < 4 / np.sqrt(300)


def test_moves_find_the_kalman_smoother_from_a_smoother_that_degenerates(gappy: tuple[Array, Array]) -> None:
    """A hundred particles that are drawn from the prior come from a few at every gap."""
    x, seen = (v[:20] for v in gappy)
    model = turning(proposal="prior")
    mean, std = smoothed_by_kalman(model, x, seen)

    def worst(moves: int) -> tuple[float, float]:
        torch.manual_seed(0)
        (drawn,) = drawn_sequences(model, [Example(x, seen)], particles=100, lag=8, moves=moves)
        missing = ~seen[drawn.steps]
        error = np.abs(drawn.x.mean(0) - mean[drawn.steps]) / std[drawn.steps]
        spread = np.abs(drawn.x.std(0) / std[drawn.steps] - 1)
        return float(error[missing].max()), float(spread[missing].max())

    error, spread = worst(60)
    assert error < 0.6  # 6 standard errors of 100 independent draws; they are worth half of that
    assert spread < 0.4
    assert worst(0)[1] > 0.6


@pytest.mark.slow
def test_what_moved_draws_are_worth_is_what_their_errors_say(gappy: tuple[Array, Array]) -> None:
    """Within a factor of two, by the errors of the means of 24 sets of draws; the smoother alone is worth 1."""
    x, seen = (v[:20] for v in gappy)
    model = turning(proposal="prior")
    mean, std = smoothed_by_kalman(model, x, seen)
    torch.manual_seed(0)
    drawn = drawn_sequences(model, [Example(x, seen)] * 24, particles=100, lag=8, moves=30)
    steps = drawn[0].steps
    errors = np.array([(d.x.mean(0) - mean[steps]) / std[steps] for d in drawn])[:, ~seen[steps]]
    true, claimed = 1 / np.square(errors).mean(), 1 / np.mean([1 / d.effective for d in drawn])
    assert 5 < true < 50  # 19 to 24 by six seeds
    assert true / 2 < claimed < 2 * true


@torch.no_grad()
def enumerated(model: SequenceModel, x: Array, seen: Array, values: int) -> tuple[list[tuple[int, ...]], Array]:
    """All fillings of a sequence, and their probabilities given what is observed, of a model without latents."""
    fillings = list(product(range(values), repeat=int((~seen).sum())))
    whole = np.stack([x] * len(fillings))
    whole[:, ~seen] = np.array(fillings)
    batch = SequenceBatch(
        torch.from_numpy(whole),
        torch.full((len(fillings),), len(x)),
        model.spec.blank(len(fillings), device=torch.device("cpu"), dtype=torch.float64),
    )
    log_p = model.log_likelihood(batch).numpy()
    return fillings, np.exp(log_p - np.logaddexp.reduce(log_p))


@pytest.mark.parametrize("moves", [0, 30])
@pytest.mark.parametrize("kind", ["binary", "categorical"])
def test_the_probabilities_of_all_fillings_are_exact_within_monte_carlo_error(kind: Any, moves: int) -> None:
    spec = ObservationSpec(kind, 2 if kind == "binary" else 3)
    model = Case("rnn", RNN_SIZE).build(spec, seed=3)
    model.backend = "reference"
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.7)  # so that what was filled in matters later
    rng = np.random.default_rng(0)
    if kind == "binary":
        x = rng.integers(2, size=(7, 2)).astype(float)
        seen = np.ones(x.shape, dtype=bool)
        seen[2] = seen[3, 1] = seen[5, 0] = False
    else:
        x = rng.integers(3, size=7)
        seen = np.ones(x.shape, dtype=bool)
        seen[2:4] = seen[5] = False
    fillings, exact = enumerated(model, x, seen, 2 if kind == "binary" else 3)
    torch.manual_seed(0)
    K = 3000 if not moves else 600
    (drawn,) = drawn_sequences(model, [Example(x, seen)], particles=K, lag=None, moves=moves)
    found = drawn.x[:, ~seen[drawn.steps]] if kind == "binary" else drawn.x[:, :, 0]
    share = np.array([(found == np.array(f)).all(1).mean() for f in fillings])
    error = np.sqrt(exact * (1 - exact) / drawn.effective.min())
    assert drawn.effective.min() > 0.1 * K
    assert (np.abs(share - exact) < 4.5 * error + 5 / drawn.effective.min()).all()  # a few draws of what is rare
    assert exact.max() < 0.9  # else it would say little


@pytest.mark.parametrize(
    ("kind", "settings", "levels"),
    [
        ("real", {"components": 2}, None),
        ("real", {}, None),
        ("binary", {}, None),
        ("quantized", {"components": 2}, 5),
        ("binary", {"autoregressive": True, "autoregressive_size": 8}, None),
    ],
)
@torch.no_grad()
def test_what_is_drawn_of_a_step_has_the_weight_of_what_is_observed(
    kind: Any, settings: dict[str, Any], levels: int | None
) -> None:
    """Weighted draws have the mean of p(missing | observed), which sums over a grid give."""
    torch.manual_seed(0)
    head = make_emission(ObservationSpec(kind, 3, levels=levels), 4, EmissionSettings(**settings))
    p = head(torch.randn(1, 4).expand(20_000, 4))
    x = p.sample()[:1].expand(20_000, 3)
    observed = torch.tensor([True, False, True]).expand_as(x)
    drawn = draw_missing(p, x, observed)
    weight = torch.softmax(log_weight_of(p, drawn, observed), 0)
    assert torch.equal(drawn[:, [0, 2]], x[:, [0, 2]])
    values = torch.linspace(-4, 4, 401) if kind == "real" else torch.unique(drawn[:, 1])
    grid = x[:1].repeat(len(values), 1)
    grid[:, 1] = values
    of_grid = torch.softmax(torch.cat([combine(lambda v: v[:1], p).log_prob(row[None]) for row in grid]), 0)
    torch.testing.assert_close((weight * drawn[:, 1]).sum(), (of_grid * values).sum(), atol=0.05, rtol=0.05)


# ---- parts


def test_draws_go_back_to_their_ancestors_and_a_lag_takes_every_particle_once() -> None:
    """Three particles, resampled after step 0 and after step 2; the last weights take particle 2 alone."""
    ancestors = {0: np.array([[0], [0], [1]]), 2: np.array([[2], [2], [1]])}
    every = {t: np.array([True]) for t in ancestors}
    histories = Histories(np.zeros((4, 3, 1, 1)), np.zeros((4, 3, 1, 0)), ancestors, every, np.full((3, 1), 2))
    gap = np.array([True, False, False, False])
    whole = lines_of(histories, 0, gap, lag=None)
    assert whole.tolist() == [[0, 0, 0], [1, 1, 1], [1, 1, 1], [2, 2, 2]]
    short = lines_of(histories, 0, gap, lag=0)
    assert sorted(short[0]) == [0, 0, 1]  # all particles that the first resampling left
    middle = lines_of(histories, 0, gap, lag=1)
    assert sorted(middle[0]) == [0, 1, 1]  # those that the second left, 2, 2 and 1, come from 1, 1 and 0


class Asked(dict[int, Any]):
    """Counts how often it is asked whether it has a key."""

    times = 0

    def __contains__(self, key: object) -> bool:
        self.times += 1
        return super().__contains__(key)


@pytest.mark.parametrize("lag", [None, 3])
def test_to_trace_draws_back_takes_time_linear_in_the_steps(lag: int | None) -> None:
    every_seventh = {t: np.array([[0], [0], [1]]) for t in range(0, 400, 7)}
    for ancestors in (Asked(), Asked(every_seventh)):
        rows = {t: np.array([True]) for t in ancestors}
        histories = Histories(np.zeros((400, 3, 1, 1)), np.zeros((400, 3, 1, 0)), ancestors, rows, np.full((3, 1), 2))
        lines_of(histories, 0, np.arange(400) % 5 == 0, lag=lag)
        assert ancestors.times <= 10 * 400  # from the next resampling behind the lag


def test_draws_of_long_sequences_are_in_memory_once(
    monkeypatch: pytest.MonkeyPatch, gappy: tuple[Array, Array]
) -> None:
    """The peak beyond the draws themselves is small, and without moves no latents are kept."""
    monkeypatch.setattr("zforcing.tasks.drawing.PART", 4)
    model, data = turning(proposal="smoothing"), Example(*gappy)
    for moves, numbers in ((0, 2), (1, 2 + model.latent_size)):
        tracemalloc.start()
        drawn_sequences(model, [data], particles=1000, lag=3, moves=moves)
        peak, _ = tracemalloc.get_traced_memory()[1], tracemalloc.stop()
        assert peak < 1.3 * 8 * 1000 * 40 * (numbers + 2)


def test_of_what_takes_much_memory_one_sequence_is_drawn_at_a_time_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = sequences(SPECS["real"])
    model = model_of(ONE_OF_EACH[0], data)
    held = held_by_longest(model, data, particles=6, moves=2)
    done: list[int] = []
    monkeypatch.setattr("zforcing.tasks.impute.HELD", held)
    zforcing.impute(model, data, progress=done.append, **FEW)
    monkeypatch.setattr("zforcing.tasks.impute.HELD", held - 1)
    with pytest.warns(RuntimeWarning, match="the draws of the longest sequence take 0.0 GB, all steps at once"):
        zforcing.impute(model, data, progress=done.append, **FEW)
    assert done == [1] * 2 * len(data)


def test_beside_a_sequence_that_takes_much_memory_short_ones_are_drawn_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    long, short = np.zeros((60, 1)), np.zeros((5, 1))
    short[2] = np.nan
    data = zforcing.Sequences([short] * 4 + [long] + [short] * 4)
    model = model_of(ONE_OF_EACH[0], data)
    monkeypatch.setattr("zforcing.tasks.impute.HELD", held_by_longest(model, data, particles=6, moves=2))
    done: list[int] = []
    zforcing.impute(model, data, progress=done.append, **FEW)
    assert done == [1, 8]


def test_draws_of_a_sequence_that_ends_before_others_are_those_of_its_own_last_step() -> None:
    """Resampled after its last step, 1, where particle 0 took all; the batch goes on to step 2."""
    ancestors = {1: np.zeros((3, 1), dtype=np.int64)}
    histories = Histories(
        np.zeros((3, 3, 1, 1)), np.zeros((3, 3, 1, 0)), ancestors, {1: np.array([True])}, np.array([[0], [1], [2]])
    )
    assert lines_of(histories, 0, np.array([True, True]), lag=None).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_beside_a_longer_sequence_the_draws_are_still_the_kalman_smoothers(gappy: tuple[Array, Array]) -> None:
    x, seen = gappy
    model = turning(proposal="smoothing")
    mean, std = smoothed_by_kalman(model, x[:16], seen[:16])
    torch.manual_seed(0)
    drawn, _ = drawn_sequences(model, [Example(x[:16], seen[:16]), Example(x, seen)], particles=2000, lag=15, moves=0)
    error = (drawn.x.mean(0) - mean[drawn.steps]) / std[drawn.steps] * np.sqrt(drawn.effective[:, None])
    assert np.abs(error[~seen[drawn.steps]]).max() < 4.5


def test_blocks_cover_the_steps_that_have_gaps() -> None:
    assert blocks_of([1, 2, 3, 8, 20], longest=4) == [Block(1, 3), Block(8, 8), Block(20, 20)]
    assert blocks_of(range(9), longest=4) == [Block(0, 3), Block(4, 7), Block(8, 8)]
    assert blocks_of([], longest=4) == []


def test_what_moved_draws_are_worth_goes_from_their_ancestors_to_all_of_them() -> None:
    np.testing.assert_allclose(worth(100, np.array([2.0, 50.0]), 1.0), [2, 50])
    np.testing.assert_allclose(worth(100, np.array([2.0, 50.0]), 0.0), [100, 100])


def test_the_spread_of_numbers_is_kept_while_some_are_replaced() -> None:
    x, new = torch.randn(30, 2) + 1000, torch.randn(4, 2) * 3 + 990
    spread = Spread(x)
    spread.replace(x[5:9].clone(), new)
    x[5:9] = new
    torch.testing.assert_close(spread.variance, x.double().var(0), rtol=1e-10, atol=0)


def test_a_state_is_the_same_whether_a_block_before_it_was_moved_or_not() -> None:
    """Going on from the last block's, for a step behind it, and from the beginning for one before it."""
    K, T, spec = 3, 12, ObservationSpec("real", 2)
    model = Case("vrnn", VRNN_SIZE).build(spec, seed=0)
    batch = SequenceBatch(torch.zeros(2, T, 2), torch.tensor([T, 9]), torch.zeros(2, 2), torch.zeros(2, T, 2) > 0)
    paths = Paths(torch.randn(T, 2 * K, model.latent_size), torch.randn(T, 2 * K, 2))
    mover = Mover(model, batch, paths, lag=1)
    for at in ((2, 1), (2, 6), (7, 6), (11, 0), (3, 8)):
        first = torch.tensor(at).repeat(K)
        with torch.no_grad():
            found, fresh = (m._state_at(first) for m in (mover, Mover(model, batch, paths, lag=1)))
        assert all(map(torch.equal, found, fresh))


def test_chains_of_one_ancestor_are_as_alike_as_their_autocorrelation_says() -> None:
    """Of 50 AR(1) chains from one point, beside numbers that jump now and then and others that never change."""
    K, rho = 2000, 0.97
    spec = ObservationSpec("real", 40)
    batch = SequenceBatch(torch.zeros(1, 1, 40), torch.tensor([1]), torch.zeros(1, 40), torch.zeros(1, 1, 40) > 0)
    torch.manual_seed(0)
    start = torch.randn(1, 1, 40).repeat(1, K, 1)
    start[..., 10:] = 0
    mover = Mover(Case("rnn", RNN_SIZE).build(spec, seed=0), batch, Paths(torch.zeros(1, K, 0), start), lag=0)
    mover.spread = Spread(torch.randn(K, 40))  # what the columns vary as a whole
    _, window = mover._window([Block(0, 0)])
    chain, early = start, start
    for number in range(40):
        early = chain if number == 10 else early
        chain = rho * chain + (1 - rho**2) ** 0.5 * torch.randn_like(chain)
        chain[..., 10:30] = (torch.rand(1, K, 20) < 0.003).double()  # drawn anew at each move
        chain[..., 30:] = 0
    never = torch.zeros(1, K, dtype=torch.bool)
    found = float(mover._alike(window, early, chain, never, lag=0.75))
    assert found == pytest.approx(rho**80, rel=0.15)
    assert float(mover._alike(window, start, start, ~never, lag=0.75)) == 1  # nothing has moved
    half = torch.arange(K)[None] < K / 2
    assert float(mover._alike(window, start, start, half, lag=0.75)) == 0.25


class Flipping(SequenceModel):
    """D bits, each of which flips with probability 0.02 a step."""

    name = "flipping"
    Config = dict

    def __init__(self) -> None:
        super().__init__(ObservationSpec("binary", 24), {})
        self.logit = torch.nn.Parameter(torch.tensor(np.log(49.0)))

    @property
    def latent_size(self) -> int:
        return 0

    def initial_state(self, n: int, *, start: Tensor | None = None) -> Before:
        return Before(torch.full((n, 24), 0.5, dtype=self.logit.dtype))

    def encode(self, batch: SequenceBatch, *, state: Any = None) -> Tensor:
        return batch.x[..., :0]

    def prior(self, state: Before) -> Distribution:
        return no_latent(state.x)

    def posterior(self, state: Before, context: Tensor) -> Distribution:
        return no_latent(state.x)

    def after_latent(self, state: Before, z: Tensor) -> Before:
        return state

    def emission(self, state: Before) -> Distribution:
        return Independent(Bernoulli(logits=self.logit * (2 * state.x - 1)), 1)

    def after_observation(self, state: Before, x: Tensor) -> Before:
        return Before(x)


class Before(NamedTuple):
    """x_{t-1}"""

    x: Tensor


@pytest.mark.slow
@pytest.mark.parametrize("moves", [0, 20, 60])
def test_bits_that_hardly_move_are_worth_few_draws(moves: int) -> None:
    """Eight of 24 bits flip somewhere in a gap of three steps: by enumeration after 1, 2, 3 or 4 of them, with p = 1/4.

    The errors of their means over twenty sets of draws say what the draws are worth.
    """
    x = np.zeros((6, 24))
    x[4:, :8] = 1
    seen = np.ones(x.shape, dtype=bool)
    seen[1:4] = False
    exact = np.array([0.25, 0.5, 0.75])[:, None]
    model = Flipping().eval()
    model.backend = "reference"
    torch.manual_seed(0)
    drawn = drawn_sequences(model, [Example(x, seen)] * 20, particles=100, lag=None, moves=moves)
    errors = np.array([d.x[:, :, :8].mean(0) - exact for d in drawn])
    true = float((exact * (1 - exact)).mean() / np.square(errors).mean())
    claimed = float(1 / np.mean([1 / d.effective for d in drawn]))
    assert 1 < true < 2
    assert claimed < 5 * true  # several timescales are more than an AR(1) has


def test_lines_fill_gaps_between_what_is_observed_and_the_last_category_stays() -> None:
    x = torch.tensor([[[0.0], [9.0], [9.0], [6.0], [9.0]]])
    observed = torch.tensor([[[True], [False], [False], [True], [False]]])
    filled = filled_by_lines(SequenceBatch(x, torch.tensor([5]), torch.zeros(1, 1), observed), [True])
    assert filled.x.flatten().tolist() == [0, 2, 4, 6, 6]
    words = SequenceBatch(torch.tensor([[0, 3, 0, 2]]), torch.tensor([4]), torch.tensor([5]), observed[:, :4, 0])
    assert filled_by_lines(words, [False]).x.tolist() == [[0, 0, 0, 2]]


# ---- every model, every kind


@pytest.mark.pairs(case=ONE_OF_EACH)
def test_every_model_fills_every_kind_and_keeps_what_was_observed(case: Case, spec: ObservationSpec) -> None:
    """Also one that was trained on complete data: it reads the gaps filled."""
    gappy = sequences(replace(spec, missing=True), (6, 4, 2))
    model = model_of(case, sequences(spec))
    if spec.conditions_on_first and not spec.missing:
        gappy = Sequences(
            [np.where(np.arange(len(x))[:, None] == 0, 1.0, x) for x in gappy.to_arrays()],
            first_observation="conditioned",
        )
    found = zforcing.impute(model, gappy, **FEW)
    assert "estimate by particle smoothing with 6 particles" in found.kind
    for i, raw in enumerate(gappy.to_arrays()):
        missing = raw == -1 if spec.kind == "categorical" else np.isnan(raw)
        read_only = np.zeros_like(missing)
        read_only[: spec.unscored_steps] = missing[: spec.unscored_steps]
        filled, samples = found.filled[i], found.samples[i]
        np.testing.assert_array_equal(filled[~missing], raw[~missing])
        assert samples.shape == (3, *raw.shape)
        np.testing.assert_array_equal(samples[:, ~missing], np.stack([raw[~missing]] * 3))
        allowed = {"binary": {0, 1}, "categorical": set(range(spec.size))}.get(spec.kind)
        drawn = filled[missing & ~read_only]
        assert np.isfinite(drawn).all()
        assert allowed is None or set(drawn.tolist()) <= allowed
        nothing = filled[read_only]
        assert (nothing == -1).all() if spec.kind == "categorical" else np.isnan(nothing).all()
        gaps = (missing & ~read_only).reshape(len(raw), -1).any(1)
        np.testing.assert_array_equal(np.isnan(found.effective[i]), ~gaps)
        assert (found.ancestors[i][gaps] >= 1).all()


@pytest.mark.pairs(case=ONE_OF_EACH[:4])
def test_the_same_seed_gives_the_same_draws_and_leaves_the_generator_alone(case: Case, spec: ObservationSpec) -> None:
    data = sequences(replace(spec, missing=True, first_observation="scored"), (4, 3))
    model = model_of(case, sequences(replace(spec, first_observation="scored")))
    before = torch.random.get_rng_state()
    one, same, other = (zforcing.impute(model, data, **FEW, seed=s).sequences[0].draws for s in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_mixtures_and_autoregressive_emissions_fill_parts_of_steps() -> None:
    data = sequences(SPECS["with gaps"], (5,))
    for settings in ({"components": 2}, {"autoregressive": True, "autoregressive_size": 4}):
        found = zforcing.impute(model_of(Case("vrnn", VRNN_SIZE), sequences(SPECS["real"]), **settings), data, **FEW)
        assert np.isfinite(found.filled[0]).all()


def test_mixed_columns_are_filled_each_by_its_kind() -> None:
    """A count by a whole number, a category by one of its own, the others by means."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=30),
            "events": rng.poisson(2.0, 30).astype(float),
            "on": rng.integers(2, size=30).astype(float),
            "mode": rng.choice(["a", "b", "c"], 30),
            "size": rng.gamma(2.0, size=30),
        }
    )
    kinds = {"events": "count", "on": "binary", "mode": "category", "size": "positive"}
    complete = Sequences.from_frame(frame, kinds=kinds)
    frame.iloc[[4, 5, 20], :] = None
    frame.iloc[10, :2] = None
    model = model_of(Case("vrnn", VRNN_SIZE), complete)
    gappy = Sequences.from_frame(frame, kinds=kinds)
    found = zforcing.impute(model, gappy, **FEW)
    x = found.to_frame()
    assert set(x["events"] % 1) == {0}
    assert set(x["on"]) <= {0, 1}
    assert set(x["mode"]) <= {"a", "b", "c"}
    assert (x["size"] > 0).all()
    gaps = pd.DataFrame(found.gaps())
    modes = gaps[gaps["name"] == "mode"]
    assert modes["category"].tolist() == x["mode"][modes["step"]].tolist()
    assert gaps["value"].isna().tolist() == [n == "mode" for n in gaps["name"]]
    assert gaps["probability"].notna().tolist() == [n in ("events", "on", "mode") for n in gaps["name"]]
    assert gaps["std"].notna().tolist() == [n in ("x", "size") for n in gaps["name"]]
    on = found.mean[0][gaps["step"][gaps["name"] == "on"], 2]
    share = gaps["probability"][gaps["name"] == "on"]
    value = gaps["value"][gaps["name"] == "on"]
    np.testing.assert_allclose(on, np.where(value == 1, share, 1 - share))
    assert np.isnan(found.mean[0][4]).tolist() == [False, False, False, True, False]
    with pytest.raises(UserError, match=r"mixed numbers have no probabilities here: gaps\(\) has"):
        _ = found.probabilities
    assert "worth" not in repr(zforcing.impute(model, complete, **FEW))


def test_known_inputs_are_read_in_a_gap() -> None:
    spec = SPECS["with inputs"]
    data = sequences(replace(spec, missing=True), (5,))
    model = model_of(Case("srnn", SRNN_SIZE), sequences(spec))
    changed = Sequences(data.to_arrays(), inputs=[np.zeros((5, 2))])
    one, other = (zforcing.impute(model, d, **FEW).sequences[0].draws for d in (data, changed))
    assert (one != other).any()


# ---- what it says


def table() -> Imputation:
    frame = pd.DataFrame(
        {"machine": ["b", "b", "a", "a", "a"], "speed": [1.0, None, 3, None, 5], "heat": [1, 2, 3, 4, 5.0]}
    )
    data = Sequences.from_frame(frame, by="machine")
    return zforcing.impute(model_of(Case("rnn", RNN_SIZE), data), data, particles=200, level=0.8)


def test_a_filled_table_has_a_row_for_each_step_and_a_second_one_says_what_is_known(tmp_path: Path) -> None:
    found = table()
    frame = found.to_frame()
    assert list(frame) == ["sequence", "step", "speed", "heat"]
    assert frame["heat"].tolist() == [1, 2, 3, 4, 5]
    assert frame["speed"].notna().all()
    gaps = pd.DataFrame(found.gaps())
    assert gaps[["sequence", "step", "name"]].to_numpy().tolist() == [["b", 1, "speed"], ["a", 1, "speed"]]
    assert (gaps["lower"] < gaps["value"]).all()
    assert (gaps["value"] < gaps["upper"]).all()
    assert gaps["value"].tolist() == frame["speed"][[1, 3]].tolist()
    for suffix in ("csv", "npz"):
        first, second = found.save(tmp_path / f"filled.{suffix}")
        assert second.name == f"filled-gaps.{suffix}"
        assert first.exists()
        assert second.exists()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "filled.csv"), frame)
    with pytest.raises(UserError, match=r"its suffix is '.txt'"):
        found.save(tmp_path / "filled.txt")


def test_means_deviations_quantiles_and_intervals_are_those_of_the_draws() -> None:
    found = table()
    draws = found.sequences[1].draws[:, 0]
    assert draws.shape == (200,)
    np.testing.assert_allclose(found.mean[1][1, 0], draws.mean())
    np.testing.assert_allclose(found.std[1][:, 0], [0, draws.std(), 0])
    np.testing.assert_allclose(found.quantile(0.3)[1][:, 0], [3, np.quantile(draws, 0.3, method="weibull"), 5])
    lower, upper = found.interval()
    np.testing.assert_allclose([lower[1][1, 0], upper[1][1, 0]], np.quantile(draws, [0.1, 0.9], method="weibull"))
    assert found.interval(0.5).lower[1][1, 0] > lower[1][1, 0]
    assert found.samples[1].shape == (100, 3, 2)
    assert "200 particles, lag 10" in repr(found)


@pytest.mark.parametrize("kind", ["binary", "categorical"])
def test_bits_and_categories_have_probabilities_and_the_most_likely_value(kind: Any) -> None:
    spec = SPECS[f"{kind} with gaps"] if kind == "categorical" else replace(SPECS[kind], missing=True)
    data = sequences(spec, (6,))
    found = zforcing.impute(model_of(Case("rnn", RNN_SIZE), data), data, particles=50)
    chances, filled = found.probabilities[0], found.filled[0]
    if kind == "binary":
        np.testing.assert_array_equal(filled, chances > 0.5)
        return
    np.testing.assert_allclose(chances.sum(1), 1)
    np.testing.assert_array_equal(filled, chances.argmax(1))
    with pytest.raises(UserError, match="categories have no mean"):
        _ = found.mean


def test_draws_that_come_from_few_particles_are_warned_of() -> None:
    data = Sequences([np.where(np.arange(30) % 7 == 3, np.nan, np.arange(30.0))])
    model = model_of(Case("vrnn", VRNN_SIZE), data, min_std=0.01)
    with pytest.warns(RuntimeWarning, match="worth fewer than 20 independent ones"):
        found = zforcing.impute(model, data, particles=100, lag=None, moves=0)
    assert found.effective_draws < 20
    assert found.remark


@pytest.mark.parametrize("particles", [1, 19])
def test_fewer_particles_than_twenty_are_always_warned_of(particles: int) -> None:
    data = Sequences([np.array([1.0, np.nan, 2.0])])
    with pytest.warns(RuntimeWarning, match="worth fewer than 20 independent ones"):
        zforcing.impute(model_of(Case("rnn", RNN_SIZE), data), data, particles=particles)


def test_sequences_without_gaps_are_returned_as_they_are() -> None:
    data = sequences(SPECS["real"])
    found = zforcing.impute(model_of(Case("rnn", RNN_SIZE), data), data)
    np.testing.assert_array_equal(found.filled[0], data.raw(0))
    assert (found.num_missing, found.remark) == (0, "")
    assert len(found.gaps()["value"]) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"particles": 0}, "particles is 0"),
        ({"num_samples": 500}, "to take them from: set particles to 500 or more"),
        ({"level": 1.5}, "level is 1.5"),
        ({"data": [[1.0]]}, "data is a list; it must be Sequences"),
        ({"data": Sequences([[1.0, 2.0]], first_observation="conditioned")}, "1 features, the training split 2"),
        (
            {"data": Sequences([[[1.0, np.nan], [1.0, 2.0]]], first_observation="conditioned")},
            "first observation of seq",
        ),
    ],
)
def test_a_mistake_is_one_line(given: dict[str, Any], message: str) -> None:
    data = sequences(SPECS["conditioned"])
    arguments: dict[str, Any] = {"model": model_of(ONE_OF_EACH[0], data), "data": data} | given
    with pytest.raises(UserError, match=message) as caught:
        zforcing.impute(**arguments)
    assert "\n" not in str(caught.value)
