"""What `evaluate` reports of bounds that are known, by hand; and what files of samples hold."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import zforcing as zf
from conftest import Case, write_samples
from zforcing import ELBO, IWAE, ObservationSpec, SequenceBatch, SequenceModel, UserError, evaluate, sample
from zforcing.bounds import Bound
from zforcing.bounds.base import BoundResult
from zforcing.data import Arrays, DataModule, Digits, InMemory
from zforcing.data.fingerprint import Fingerprint
from zforcing.evaluation.evaluation import Evaluation
from zforcing.observations import DataDescription, Example, Normalization, collate

PAIRS = ObservationSpec("real", 2)


@SequenceModel.register
class Fake(nn.Module):
    label = "fake"
    infers_latents = True


class SumOfNumbers(Bound):
    """The bound is the sum of what is scored, plus the next of `noise` at every call; the KL is `kl` per step."""

    particles = 1

    def __init__(self, noise: Sequence[float] = (0.0,), kl: float = 0.5, kind: str = "lower bound"):
        self.noise, self.kl, self.kind = cycle(noise), kl, kind

    def __call__(self, model: Any, batch: SequenceBatch, **_: Any) -> BoundResult:
        value = (batch.x * batch.scored).reshape(len(batch), -1).sum(1, dtype=torch.float64) + next(self.noise)
        return BoundResult(value, -value, {"kl": batch.lengths * self.kl}, self.kind)  # type: ignore[arg-type]


def split(*sequences: Any, observed: Sequence[Any] | None = None, dtype: Any = np.float32) -> InMemory:
    gaps = observed or [None] * len(sequences)
    return InMemory(
        [
            Example(np.array(x, dtype=dtype), None if seen is None else np.array(seen, dtype=bool))
            for x, seen in zip(sequences, gaps, strict=True)
        ]
    )


# The bounds are -1, -2 and -6.
RAGGED = split([[-1, 0]], [[-1, 0], [0, -1]], [[-1, -1], [-1, -1], [-1, -1]])
SYMBOLS = split([1, 0], [3], dtype=np.int64)


def measure(
    data: InMemory = RAGGED,
    spec: ObservationSpec = PAIRS,
    bound: Bound | None = None,
    normalization: Normalization | None = None,
    **options: Any,
) -> Evaluation:
    description = DataDescription("made up", spec, longest=3, normalization=normalization)
    found = evaluate(
        Fake(),  # type: ignore[arg-type]
        data,
        description=description,
        bound=bound or SumOfNumbers(),
        **({"split": "test"} | options),
    )
    json.dumps(found.to_json(), allow_nan=False)
    return found


def test_the_units_follow_from_the_bounds_of_ragged_sequences() -> None:
    found = measure()
    assert found.nats_per_sequence == -3
    assert found.standard_error == pytest.approx(math.sqrt(7 / 3))  # variance (4 + 1 + 9) / 2, of a mean of 3
    assert found.nats_per_step == -9 / 6
    assert found.bits_per_dim == pytest.approx(9 / (12 * math.log(2)))
    assert found.kl_per_sequence == 0.5 * 6 / 3
    assert (found.num_sequences, found.num_steps, found.num_dims) == (3, 6, 12)
    assert (found.perplexity, found.raw_nats_per_sequence, found.true_nats_per_sequence) == (None, None, None)
    assert (found.model, found.data, found.split, found.bound, found.kind) == (
        "fake",
        "made up",
        "test",
        "SumOfNumbers",
        "lower bound",
    )


@pytest.mark.parametrize("max_rows", [1, 2, 256])
def test_repeats_are_averaged_and_tell_the_noise(max_rows: int) -> None:
    done: list[int] = []
    found = measure(bound=SumOfNumbers([0, 3, 9]), repeats=3, max_rows=max_rows, progress=done.append)
    assert found.nats_per_sequence == -3 + 4
    assert found.standard_error == pytest.approx(math.sqrt(7 / 3))  # noise that all sequences share is none of it
    assert found.noise_error == pytest.approx(math.sqrt((16 + 1 + 25) / 2 / 3))
    assert found.kl_per_sequence == pytest.approx(1)  # averaged over repeats, not summed
    assert sum(done) == 3 * 3


def test_settings_are_those_of_a_bound_with_slots_too() -> None:
    @dataclass(frozen=True, slots=True)
    class Tempered(SumOfNumbers):
        temperature: float = 0.5
        noise: Any = field(default_factory=lambda: cycle([0.0]), repr=False)
        kl: float = 0.0
        kind: Any = "lower bound"

    assert measure(bound=Tempered()).to_json()["bound_settings"]["temperature"] == 0.5


def test_one_sequence_and_one_repeat_tell_no_error() -> None:
    found = measure(split([[1, 2]]))
    assert (found.standard_error, found.noise_error) == (None, None)


def test_perplexity_is_of_a_symbol() -> None:
    found = measure(SYMBOLS, ObservationSpec("categorical", 4), SumOfNumbers([-5]))
    assert found.nats_per_sequence == -3  # 1 - 5 and 3 - 5
    assert found.perplexity == pytest.approx(math.exp(6 / 3))
    assert found.bits_per_dim == pytest.approx(6 / 3 / math.log(2))
    assert found.num_dims == 3


def test_a_perplexity_beyond_float64_is_null() -> None:
    found = measure(SYMBOLS, ObservationSpec("categorical", 4), SumOfNumbers([-3000]))
    assert found.perplexity is None
    assert found.bits_per_dim == pytest.approx((6000 - 4) / 3 / math.log(2))


def test_a_step_without_an_observation_is_a_step_and_no_number() -> None:
    data = split([[1, 2], [3, 4]], [[5, 6]], observed=[[[True, False], [False, False]], [[True, True]]])
    found = measure(data, ObservationSpec("real", 2, missing=True))
    assert (found.num_steps, found.num_dims) == (3, 3)
    assert found.nats_per_step == 12 / 3
    assert found.bits_per_dim == pytest.approx(-12 / (3 * math.log(2)))


def test_a_first_observation_that_is_conditioned_on_is_not_scored() -> None:
    found = measure(split([[9, 9], [1, 2]], [[9, 9], [1, 1], [1, 1]]), ObservationSpec("real", 2, "conditioned"))
    assert (found.num_steps, found.num_dims, found.first_observation) == (3, 6, "conditioned")
    assert found.nats_per_sequence == 3.5


def test_raw_nats_are_of_the_numbers_before_they_were_scaled() -> None:
    data = split([[1, 2], [3, 4]], [[5, 6]], observed=[[[True, False], [True, True]], [[True, True]]])
    scaling = Normalization((7.0, 7.0), (math.e, math.e**10))
    found = measure(data, ObservationSpec("real", 2, missing=True), normalization=scaling)
    assert found.raw_nats_per_sequence == pytest.approx((1 + 3 + 4 + 5 + 6 - 3 * 1 - 2 * 10) / 2)


def test_true_nats_are_null_unless_all_are_known_and_finite() -> None:
    for known, expected in (({1: -1.0, 2: -4.0, 3: -1.0}, -2.0), ({1: -1.0, 2: None, 3: 0.0}, None)):
        found = measure(true_log_likelihood=lambda e, known=known: known[len(e.x)])
        assert found.true_nats_per_sequence == expected
    assert measure(true_log_likelihood=lambda e: -math.inf).true_nats_per_sequence is None


@pytest.mark.parametrize(
    ("kl", "kind", "collapsed"),
    [(0.009, "lower bound", True), (0.011, "lower bound", False), (0.0, "estimate", True), (0.0, "exact", False)],
)
def test_latents_that_say_next_to_nothing_have_collapsed(kl: float, kind: str, collapsed: bool) -> None:
    assert measure(bound=SumOfNumbers(kl=kl, kind=kind)).collapsed == collapsed


def test_what_is_drawn_by_chance_alone_has_not_collapsed() -> None:
    images = zf.Sequences(list(torch.bernoulli(torch.full((4, 1, 6), 0.5)).numpy()), kind="binary")
    model = zf.EoNADE.for_data(images, hidden_size=2)
    found = evaluate(model, images)
    assert (found.kind, found.kl_per_sequence, found.has_latents, found.collapsed) == ("lower bound", 0, False, False)
    of_before = Evaluation.from_json({k: v for k, v in found.to_json().items() if k != "infers_latents"})
    assert not of_before.has_latents
    assert [evaluate(model, images, bound=bound).how for bound in (ELBO(), zf.Orders(3))] == [
        "lower bound, elbo",
        "exact, orders 3",
    ]


def test_a_bound_that_is_not_finite_names_its_sequence() -> None:
    data = split([[1, 1], [1, 1]], [[1, math.nan]], [[1, 1], [1, 1], [1, 1]])
    with pytest.raises(UserError, match=r"the SumOfNumbers of sequence 1 of the valid split is nan \(1 of 3"):
        measure(data, split="valid")


@pytest.mark.parametrize("noise", [[math.inf, -math.inf], [1e300, 1e300]])
def test_repeats_and_sums_that_overflow_are_refused(noise: list[float]) -> None:
    with pytest.raises(UserError, match=r"the SumOfNumbers of sequence 0 of the test split is (nan|1e\+300)"):
        measure(bound=SumOfNumbers(noise), repeats=2)


def test_a_kl_that_is_not_finite_is_refused() -> None:
    with pytest.raises(UserError, match="the KL of sequence 0 of the test split is inf"):
        measure(bound=SumOfNumbers(kl=math.inf))


def test_a_split_in_which_nothing_is_observed_is_refused() -> None:
    data = split([[0, 0]], observed=[[[False, False]]])
    with pytest.raises(UserError, match="the valid split has nothing to score"):
        measure(data, ObservationSpec("real", 2, missing=True), split="valid")


def test_the_fingerprint_is_that_of_the_data() -> None:
    assert measure().data_fingerprint == RAGGED.fingerprint()
    other = split([[-2, 0]], [[-1, 0], [0, -1]], [[-1, -1], [-1, -1], [-1, -1]])
    assert measure(other).data_fingerprint != measure().data_fingerprint


def test_units_and_settings_of_the_data_change_the_fingerprint(tmp_path: Path) -> None:
    """The same file in other units, other bits of the same digits, another file of the same shape."""
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        np.savez(tmp_path / f"{name}.npz", x=rng.normal(size=(30, 4, 2)))
    one, two = (str(tmp_path / f"{name}.npz") for name in ("one", "two"))

    def measured(data: DataModule) -> str:
        description = data.describe()
        split = data.load("test", description)
        return evaluate(Fake(), split, description=description, bound=SumOfNumbers()).data_fingerprint  # type: ignore[arg-type]

    modules = [Arrays(one), Arrays(one, normalize=False), Arrays(two), Arrays(two, normalize=False)]
    found = [measured(data) for data in [*modules, Digits(), Digits(threshold=4)]]
    assert len(set(found)) == 6
    assert measured(Arrays(one)) == found[0]


class Counted(InMemory):
    """Notes which sequences are read."""

    def __init__(self, examples: Sequence[Example]):
        super().__init__(examples)
        self.read: list[int] = []

    def __getitem__(self, index: int) -> Example:
        self.read.append(index)
        return super().__getitem__(index)


def test_each_sequence_is_read_once() -> None:
    data = Counted(RAGGED.examples)
    assert measure(data, repeats=3, max_rows=2).data_fingerprint == RAGGED.fingerprint()
    assert sorted(data.read) == [0, 1, 2]


@pytest.mark.parametrize("at_most", [0, 16, 10**6])
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0], []])
def test_a_fingerprint_is_that_of_the_order_of_the_data(order: list[int], at_most: int) -> None:
    fingerprint = Fingerprint(RAGGED.lengths, at_most=at_most)
    for index in order:
        fingerprint.add(index, RAGGED[index])
    assert fingerprint.digits(RAGGED.__getitem__) == RAGGED.fingerprint() == "fa10337590d3"


def test_a_model_and_its_data_are_enough() -> None:
    """No description, no split: the numbers are in the model's units."""
    model = Case("rnn").build(PAIRS)
    found = evaluate(model, RAGGED)
    batch = collate(RAGGED.examples, PAIRS).to("cpu", torch.float64)
    assert found.nats_per_sequence == pytest.approx(float(ELBO()(model, batch).value.mean()), rel=1e-6)
    assert (found.bound, found.kind, found.split, found.data) == ("elbo", "exact", "", "data")
    assert evaluate(model, RAGGED, bound=IWAE(2)).bound == "iwae"
    with pytest.raises(UserError, match="the data has nothing to score"):
        evaluate(model, split([[0, 0]], observed=[[[False, False]]]))


@pytest.mark.parametrize(("kind", "sign"), [("exact", "="), ("lower bound", ">="), ("estimate", "~")])
def test_an_evaluation_says_what_it_is(kind: str, sign: str) -> None:
    said = repr(measure(bound=SumOfNumbers(kind=kind)))
    assert said == (
        f"<Evaluation: log p(x) {sign} -3.00 ± 1.53 nats per sequence ({kind}; fake, SumOfNumbers; 3 sequences of made "
        "up test)>"
    )


# ---- files of samples


def test_the_first_observations_are_written_beside_the_samples_in_the_datas_units(tmp_path: Path) -> None:
    spec = ObservationSpec("real", 2, "conditioned", missing=True)
    start = torch.tensor([[0.0, 1.0], [2.0, math.nan]])
    drawn = sample(Case("rnn").build(spec), 2, steps=3, seed=0, start=start)
    scaling = Normalization((10.0, 20.0), (1.0, 2.0))
    description = DataDescription("arrays", spec, longest=3, normalization=scaling)
    file, *_ = write_samples(tmp_path, "drawn", drawn, description, start=start).files
    with np.load(file) as arrays:
        assert set(arrays) == {"x", "latents", "start"}
        np.testing.assert_array_equal(arrays["start"], [[10, 22], [12, math.nan]])
        np.testing.assert_allclose(arrays["x"], drawn.x.numpy() * [1, 2] + [10, 20])


def test_first_symbols_are_written_as_they_are(tmp_path: Path) -> None:
    spec = ObservationSpec("categorical", 4, "conditioned")
    start = torch.tensor([3, 0])
    drawn = sample(Case("rnn").build(spec), 2, steps=3, seed=0, start=start)
    file, *_ = write_samples(tmp_path, "drawn", drawn, DataDescription("arrays", spec, longest=3), start=start).files
    with np.load(file) as arrays:
        assert arrays["start"].tolist() == [3, 0]
        assert arrays["start"].dtype == np.int64


def test_samples_from_a_blank_start_have_no_first_observations(tmp_path: Path) -> None:
    drawn = sample(Case("rnn").build(PAIRS), 2, steps=3, seed=0)
    file, *_ = write_samples(tmp_path, "drawn", drawn, DataDescription("arrays", PAIRS, longest=3)).files
    with np.load(file) as arrays:
        assert set(arrays) == {"x", "latents"}
