"""What is observed: digits, batches of sequences, descriptions and batch plans, each with its answer known first."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from conftest import SPECS, ZF_SIZE, Case, observations, random_batch
from zforcing import ELBO, Weights
from zforcing.bounds import FIVO, Bound
from zforcing.data import Digits, InMemory, Split
from zforcing.data.batches import MOST_STEPS, evaluation_batches, training_batches
from zforcing.errors import UserError
from zforcing.observations import (
    AudioFormat,
    DataDescription,
    Example,
    Format,
    ImageFormat,
    MusicFormat,
    Normalization,
    ObservationSpec,
    SequenceBatch,
    TableFormat,
    TextFormat,
    Vocabulary,
    collate,
    masked_sum,
    reverse,
)

REAL = ObservationSpec("real", 2)
CONDITIONED = ObservationSpec("real", 2, "conditioned")
CATEGORIES = ObservationSpec("categorical", 5)
CONDITIONED_CATEGORIES = ObservationSpec("categorical", 5, "conditioned")


def real(*steps: list[float], observed: list[list[bool]] | None = None) -> Example:
    return Example(np.array(steps, dtype=np.float32), None if observed is None else np.array(observed))


def categories(*steps: int, observed: list[bool] | None = None) -> Example:
    return Example(np.array(steps, dtype=np.int64), None if observed is None else np.array(observed))


# ---- digits


def pixels(split: Split) -> np.ndarray:
    """[N, 64] float64"""
    data = Digits()
    images = data.load(split, data.describe())
    return np.stack([images[i].x[:, 0] for i in range(len(images))]).astype(np.float64)


@pytest.mark.parametrize(
    ("split", "size", "sha256"),
    [("train", 1297, "836ff54436d72bc1"), ("valid", 200, "4b607b4bb50f177f"), ("test", 300, "8d7af3e767155797")],
)
def test_the_digits_of_a_split_never_change(split: Split, size: int, sha256: str) -> None:
    images = pixels(split)
    assert images.shape == (size, 64)
    assert hashlib.sha256(np.packbits(images.astype(bool)).tobytes()).hexdigest().startswith(sha256)


def test_independent_pixels_give_the_digits_25_20_nats() -> None:
    p, x = pixels("train").mean(axis=0), pixels("test")
    with np.errstate(divide="ignore"):  # ten pixels are never 1, in either split
        nll = -np.where(x == 1, np.log(p), np.log1p(-p)).sum(axis=1).mean()
    assert nll == pytest.approx(25.20, abs=0.005)


def test_digits_are_binary_images_of_8_by_8() -> None:
    description = Digits().describe()
    assert description.spec == ObservationSpec("binary", 1)
    assert description.format == ImageFormat(8, 8)
    assert description.longest == 64
    assert description.normalization is None


def test_a_pixel_is_1_from_the_threshold_on() -> None:
    from sklearn.datasets import load_digits

    data = Digits(threshold=16)
    images = [data.load(split, data.describe()) for split in ("train", "valid", "test")]
    ones = sum(int(split[i].x.sum()) for split in images for i in range(len(split)))
    assert ones == (load_digits().data == 16).sum()


def test_a_description_that_is_not_the_digits_is_refused() -> None:
    with pytest.raises(UserError, match=r"data digits holds .*binary.*trained on .*real"):
        Digits().load("train", DataDescription("arrays", REAL, longest=7))


@pytest.mark.parametrize("threshold", [0, 17])
def test_a_threshold_outside_the_grey_levels_is_refused(threshold: int) -> None:
    with pytest.raises(UserError, match=f"data.threshold is {threshold}"):
        Digits(threshold=threshold)


# ---- collate


def test_collate_pads_ragged_sequences_on_the_right_with_zeros() -> None:
    batch = collate([real([1, 2]), real([3, 4], [5, 6], [7, 8])], REAL)
    assert batch.x.tolist() == [[[1, 2], [0, 0], [0, 0]], [[3, 4], [5, 6], [7, 8]]]
    assert batch.lengths.tolist() == [1, 3]
    assert batch.observed is None


def test_collate_keeps_float32_and_int64() -> None:
    assert collate([real([1, 2])], REAL).x.dtype == torch.float32
    assert collate([categories(1)], CATEGORIES).x.dtype == torch.int64


def test_x0_of_scored_vectors_is_zero() -> None:
    assert collate([real([1, 2]), real([3, 4])], REAL).start.tolist() == [[0, 0], [0, 0]]


def test_x0_of_scored_categories_is_the_extra_symbol() -> None:
    assert collate([categories(1, 2), categories(4)], CATEGORIES).start.tolist() == [5, 5]


def test_a_conditioned_first_observation_moves_to_the_start() -> None:
    batch = collate([real([1, 2], [3, 4]), real([5, 6], [7, 8], [9, 10])], CONDITIONED)
    assert batch.start.tolist() == [[1, 2], [5, 6]]
    assert batch.x.tolist() == [[[3, 4], [0, 0]], [[7, 8], [9, 10]]]
    assert batch.lengths.tolist() == [1, 2]


def test_a_conditioned_first_category_moves_to_the_start() -> None:
    batch = collate([categories(1, 2, 3), categories(4, 0)], CONDITIONED_CATEGORIES)
    assert batch.start.tolist() == [1, 4]
    assert batch.x.tolist() == [[2, 3], [0, 0]]
    assert batch.lengths.tolist() == [2, 1]


def test_conditioning_on_the_only_step_is_refused() -> None:
    with pytest.raises(UserError, match="needs 2 or more"):
        collate([real([1, 2])], CONDITIONED)


def test_what_is_not_observed_is_zero_and_not_scored() -> None:
    gap = real([1, np.nan], [3, 4], observed=[[True, False], [True, True]])
    batch = collate([gap], REAL)
    assert batch.x.tolist() == [[[1, 0], [3, 4]]]
    assert batch.scored.tolist() == [[[True, False], [True, True]]]


def test_a_complete_sequence_beside_one_with_gaps_counts_as_observed() -> None:
    gap = real([1, 2], [3, 4], observed=[[True, False], [True, True]])
    batch = collate([gap, real([5, 6])], REAL)
    assert batch.scored.tolist() == [[[True, False], [True, True]], [[True, True], [False, False]]]


def test_a_conditioned_batch_drops_the_first_step_of_observed() -> None:
    gap = real([1, 2], [3, 4], [5, 6], observed=[[True, True], [False, True], [True, True]])
    assert collate([gap], CONDITIONED).scored.tolist() == [[[False, True], [True, True]]]


def test_a_missing_number_of_x0_is_marked() -> None:
    gap = real([0, 2], [3, 4], observed=[[False, True], [True, True]])
    start = collate([gap], CONDITIONED).start
    assert start.isnan().tolist() == [[True, False]]
    assert start[0, 1] == 2


def test_a_missing_category_of_x0_is_marked() -> None:
    gap = categories(3, 1, observed=[False, True])
    assert collate([gap], CONDITIONED_CATEGORIES).start.tolist() == [-1]


def test_what_is_missing_is_marked_in_what_models_read_and_finite_in_what_is_scored() -> None:
    batch = collate([real([1], [np.nan], [3], observed=[[True], [False], [True]])], ObservationSpec("real", 1))
    assert batch.read.isnan().flatten().tolist() == [False, True, False]
    assert batch.previous.isnan().flatten().tolist() == [False, False, True]
    assert batch.x.flatten().tolist() == [1, 0, 3]
    symbols = collate([categories(3, 1, observed=[True, False])], ObservationSpec("categorical", 5))
    assert symbols.read.tolist() == [[3, -1]]


def test_lengths_of_a_data_set_include_the_first_step() -> None:
    assert InMemory([real([1, 2]), real([3, 4], [5, 6])]).lengths.tolist() == [1, 2]


# ---- normalization and description


def test_normalization_is_the_mean_and_the_standard_deviation_per_feature() -> None:
    fitted = Normalization.fit(np.array([[1.0, 10.0], [3.0, 30.0]]))
    assert fitted == Normalization(mean=(2.0, 20.0), std=(1.0, 10.0))


def test_normalization_leaves_missing_numbers_out() -> None:
    fitted = Normalization.fit(np.array([[1.0, np.nan], [3.0, 10.0], [np.nan, 30.0]]))
    assert fitted == Normalization(mean=(2.0, 20.0), std=(1.0, 10.0))


def test_a_constant_feature_keeps_its_unit() -> None:
    rows = np.full((1000, 1), 0.1)
    assert rows.std() > 0  # what rounding leaves of it
    assert Normalization.fit(rows).std == (1.0,)


def test_applying_a_normalization_gives_units_of_the_standard_deviation() -> None:
    x = Normalization(mean=(2.0, 20.0), std=(1.0, 10.0)).apply(np.array([[[1, 40]]]))
    assert x.tolist() == [[[-1, 2]]]
    assert x.dtype == np.float32


def test_inverting_a_normalization_gives_the_raw_numbers_back() -> None:
    raw = np.array([[1.0, 40.0], [-3.0, 0.5]])
    fitted = Normalization.fit(raw)
    np.testing.assert_allclose(fitted.invert(fitted.apply(raw)), raw, rtol=1e-6)


@pytest.mark.parametrize(
    "description",
    [
        DataDescription("arrays", CATEGORIES, longest=7),
        DataDescription("arrays", CONDITIONED, longest=7, normalization=Normalization((0.1, 1e300), (1 / 3, 2.0))),
        DataDescription("digits", ObservationSpec("binary", 1), longest=64, format=ImageFormat(8, 8)),
    ],
    ids=lambda d: d.spec.kind,
)
def test_a_description_survives_json(description: DataDescription) -> None:
    assert DataDescription.from_json(json.loads(json.dumps(description.to_json()))) == description


DESCRIBED = DataDescription("arrays", REAL, 7, Normalization((0.1, 0.2), (1.0, 2.0)), ImageFormat(2, 7)).to_json()
VERSION_1 = {name: value for name, value in DESCRIBED.items() if name != "format"} | {"image_shape": (2, 7)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 3}, "data.name is 3"),
        ({"spec": {"kind": "real", "size": 2.5}}, "size 2.5"),
        ({"spec": {"kind": "real"}}, "size"),
        ({"spec": []}, "doesn't fit"),
        ({"longest": "7"}, "data.longest is '7'"),
        ({"longest": 0}, "data.longest is 0"),
        ({"format": {"name": "image", "height": 8}}, "doesn't fit: .*'width'"),
        (
            {"format": {"name": "image", "height": 8, "width": 8.5}},
            "data.format.width is 8.5; it must be a whole number",
        ),
        ({"format": {"name": "image", "height": 3, "width": 3}}, "images of 3x3 pixels, which steps of 2 don't make"),
        ({"format": {"name": "smell"}}, "unknown data.format.name 'smell'; it is one of audio, image, music, table"),
        ({"format": {"height": 8}}, "has no 'name'"),
        ({"format": 8}, "doesn't fit"),
        ({"format": {"name": "table", "names": ["a"]}}, "data.format.names has 1 names for 2 features"),
        ({"format": {"name": "table", "array": 3}}, "data.format holds a name that is not text"),
        (
            {"format": {"name": "audio", "sample_rate": 8000, "encoding": "pcm"}},
            "encoding is pcm for real observations",
        ),
        ({"normalization": {"mean": [0.0], "std": [1.0]}}, "1 means for real observations of size 2"),
        ({"normalization": {"mean": [0.0, 0.0], "std": [1.0]}}, "normalization.std"),
        ({"normalization": {"mean": [0.0, 0.0], "std": [1.0, 0.0]}}, "normalization.std"),
        ({"normalization": {"mean": [0.0, "a"], "std": [1.0, 1.0]}}, "normalization.mean is .0.0, 'a'."),
        ({"normalization": {"mean": [0.0, 0.0], "std": [1.0, float("inf")]}}, "normalization.std"),
        ({"normalization": {"mean": [0.0, 0.0]}}, "std"),
        ({"normalization": 3}, "doesn't fit"),
        ({"spec": {"kind": "binary", "size": 2}}, "for binary observations"),
    ],
)
def test_a_damaged_description_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        DataDescription.from_json(DESCRIBED | change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "format"),
    [
        ({}, ImageFormat(2, 7)),
        ({"image_shape": None}, TableFormat()),
        (
            {"image_shape": None, "normalization": None, "spec": {"kind": "real", "size": 4}}
            | {"audio": {"sample_rate": 8000, "encoding": "float"}},
            AudioFormat(8000),
        ),
        (
            {"image_shape": None, "normalization": None, "spec": {"kind": "binary", "size": 88}}
            | {"music": {"lowest_pitch": 21, "steps_per_quarter": 4, "quarters_per_minute": 150.0}},
            MusicFormat.of_steps(4, 0.1),
        ),
        (
            {"image_shape": None, "normalization": None, "spec": {"kind": "binary", "size": 88}}
            | {"music": {"lowest_pitch": 21, "steps_per_quarter": 4, "quarters_per_minute": 120.0}},
            MusicFormat.of_steps(4, None),
        ),
        (
            {"image_shape": None, "normalization": None, "spec": {"kind": "categorical", "size": 3}}
            | {"vocabulary": {"tokens": "words", "symbols": ["<unk>", "a", "</s>"], "pairs": None}},
            TextFormat(Vocabulary("words", ("<unk>", "a", "</s>"))),
        ),
    ],
    ids=["image", "table", "audio", "music of seconds", "music", "text"],
)
def test_a_description_of_format_version_1_is_read(change: dict[str, Any], format: Format) -> None:  # noqa: A002
    assert DataDescription.from_json(VERSION_1 | change).format == format


@pytest.mark.parametrize("change", [{"image_shape": [8]}, {"image_shape": [8, 8.5]}, {"image_shape": 8}])
def test_a_damaged_description_of_format_version_1_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"doesn't fit|data\.format\.width is 8\.5"):
        DataDescription.from_json(VERSION_1 | change)


# ---- what tells two data sets apart


def test_the_fingerprint_follows_the_numbers_their_order_and_their_units() -> None:
    def print_of(*examples: Example) -> str:
        return InMemory(examples).fingerprint()

    one = print_of(real([1, 2], [3, 4]), real([5, 6]))
    assert len(one) == 12
    assert one == print_of(real([1, 2], [3, 4]), real([5, 6]))
    others = {
        print_of(real([5, 6]), real([1, 2], [3, 4])),
        print_of(real([1, 2]), real([3, 4], [5, 6])),
        print_of(real([2, 4], [6, 8]), real([10, 12])),
        print_of(real([1, 2], [3, 4])),
        print_of(real([1, 2], [3, 4], observed=[[True, True], [True, False]]), real([5, 6])),
    }
    assert len(others | {one}) == 6


def test_the_fingerprint_looks_into_no_gap() -> None:
    gap = [[True, False]]
    fingerprints = [InMemory([real([1, v], observed=gap)]).fingerprint() for v in (0, np.nan, 7)]
    assert len(set(fingerprints)) == 1
    complete = InMemory([real([1, 2], observed=[[True, True]])])
    assert complete.fingerprint() == InMemory([real([1, 2])]).fingerprint()


# ---- models and batches


@pytest.mark.parametrize(
    ("trained", "given"), [("real", "conditioned"), ("real", "categorical"), ("categorical", "real")]
)
def test_a_batch_of_another_size_or_kind_than_the_models_is_refused(trained: str, given: str) -> None:
    model = Case("zforcing", ZF_SIZE).build(SPECS[trained])
    with pytest.raises(ValueError, match=rf"a model of {trained} observations reads \[B, T"):
        model.unroll(random_batch(SPECS[given]))


# ---- sequences


def batch_of(lengths: list[int], *, observed: torch.Tensor | None = None) -> SequenceBatch:
    """[B, 3, 2], numbered from 1, the padding NaN."""
    x = torch.arange(1.0, 6 * len(lengths) + 1).reshape(len(lengths), 3, 2)
    for row, length in zip(x, lengths, strict=True):
        row[length:] = torch.nan
    return SequenceBatch(x, torch.tensor(lengths), torch.zeros(len(lengths), 2), observed)


def test_the_mask_is_true_at_the_steps_that_exist() -> None:
    assert batch_of([1, 3, 2]).mask.tolist() == [[True, False, False], [True, True, True], [True, True, False]]


def test_previous_is_x0_and_all_but_the_last_step() -> None:
    assert batch_of([3]).previous.tolist() == [[[0, 0], [1, 2], [3, 4]]]


def test_padding_is_not_scored_even_if_observed_says_so() -> None:
    batch = batch_of([2], observed=torch.tensor([[[True, False], [True, True], [True, True]]]))
    assert batch.scored.tolist() == [[[True, False], [True, True], [False, False]]]


def test_a_category_is_scored_once_per_step() -> None:
    batch = SequenceBatch(torch.tensor([[1, 2], [3, 0]]), torch.tensor([2, 1]), torch.tensor([5, 5]))
    assert batch.scored.tolist() == [[True, True], [True, False]]


def test_batches_hold_zeros_in_padding_and_gaps() -> None:
    batch = batch_of([2], observed=torch.tensor([[[True, False], [True, True], [True, True]]]))
    assert batch.x.tolist() == [[[1, 0], [3, 4], [0, 0]]]
    symbols = SequenceBatch(torch.tensor([[1, -1]]), torch.tensor([1]), torch.tensor([5]))
    assert symbols.x.tolist() == [[1, 0]]


def test_a_complete_batch_keeps_its_numbers_as_they_are() -> None:
    x = torch.randn(2, 3, 2)
    assert SequenceBatch(x, torch.tensor([3, 3]), torch.zeros(2, 2)).x is x


def test_a_nan_in_padding_reaches_no_gradient() -> None:
    scale = torch.tensor(2.0, requires_grad=True)
    (scale * batch_of([2]).x).sum().backward()
    assert scale.grad == 1 + 2 + 3 + 4


@pytest.mark.pairs(bound=[ELBO(), FIVO(particles=2)])
def test_garbage_in_a_users_batch_reaches_no_value_and_no_gradient(
    case: Case, spec: ObservationSpec, bound: Bound
) -> None:
    torch.manual_seed(0)
    x, start = observations(spec, 3, 4), observations(spec, 3)
    lengths, observed = torch.tensor([4, 2, 1]), torch.rand(x.shape) > 0.3
    exists = torch.arange(4) < lengths[:, None]
    seen = observed & exists[(...,) + (None,) * (x.dim() - 2)]
    u = torch.randn(3, 4, spec.inputs) if spec.inputs else None
    results = []
    for garbage in (0, -7 if spec.kind == "categorical" else torch.nan):
        model = case.build(spec)
        model.backend = "fast" if spec in (SPECS["real"], SPECS["with gaps"]) else "reference"
        inputs = None if u is None else torch.where(exists[..., None], u, garbage)
        batch = SequenceBatch(torch.where(seen, x, garbage), lengths, start, observed, inputs)
        torch.manual_seed(1)
        result = bound(model, batch, weights=Weights(costs=dict.fromkeys(model.cost_names, 0.1)))
        result.loss.sum().backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        assert all(bool(g.isfinite().all()) for g in gradients.values())
        results.append((result.value, gradients))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def test_a_masked_sum_leaves_padding_out_and_is_float64() -> None:
    values = torch.tensor([[1.0, torch.nan], [2.0, 3.0]])
    total = masked_sum(values, torch.tensor([[True, False], [True, True]]))
    assert total.tolist() == [1, 5]
    assert total.dtype == torch.float64


def test_a_batch_on_a_device_keeps_everything() -> None:
    batch = batch_of([2], observed=torch.tensor([[[True, False], [True, True], [True, True]]]))
    moved = replace(batch, inputs=batch.x).to("meta")
    assert moved.tensors.keys() == {"x", "lengths", "start", "observed", "inputs"}
    assert {t.device.type for t in moved.tensors.values()} == {"meta"}


def test_reverse_turns_each_row_and_leaves_its_padding_at_the_end() -> None:
    x = torch.tensor([[1, 2, 0], [3, 4, 5], [6, 0, 0]])
    assert reverse(x, torch.tensor([2, 3, 1])).tolist() == [[2, 1, 0], [5, 4, 3], [6, 0, 0]]


def test_reverse_of_rows_that_are_all_of_the_same_length() -> None:
    assert reverse(torch.arange(6).reshape(2, 3, 1), torch.tensor([3, 3])).flatten().tolist() == [2, 1, 0, 5, 4, 3]


def test_reverse_keeps_the_features_of_a_step_together() -> None:
    x = torch.tensor([[[1, 2], [3, 4], [0, 0]]])
    assert reverse(x, torch.tensor([2])).tolist() == [[[3, 4], [1, 2], [0, 0]]]


def test_reverse_twice_is_the_original() -> None:
    x = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([6, 1, 4, 3])
    assert torch.equal(reverse(reverse(x, lengths), lengths), x)


@pytest.mark.parametrize(
    ("kind", "size", "first_observation", "names"),
    [("text", 1, "scored", "kind"), ("real", 0, "scored", "size"), ("real", 1, "free", "first_observation")],
)
def test_a_specification_that_makes_no_sense_is_refused(
    kind: str, size: int, first_observation: str, names: str
) -> None:
    with pytest.raises(UserError, match=names):
        ObservationSpec(kind, size, first_observation)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [2.5, True, "2", None])
def test_a_size_that_is_no_whole_number_is_refused(size: Any) -> None:
    with pytest.raises(UserError, match="whole number"):
        ObservationSpec("real", size)


def test_missing_is_true_or_false() -> None:
    with pytest.raises(UserError, match="missing is 1"):
        ObservationSpec("real", 2, missing=1)  # type: ignore[arg-type]


# ---- batch plans

LENGTHS = np.random.default_rng(0).integers(1, 50, size=1003)


@pytest.mark.parametrize("batch_size", [1, 8, 2000])
def test_an_epoch_holds_each_sequence_once(batch_size: int) -> None:
    batches = training_batches(LENGTHS, batch_size, seed=0, epoch=0)
    assert sorted(i for batch in batches for i in batch) == list(range(1003))


def test_at_most_one_training_batch_is_smaller() -> None:
    sizes = sorted(len(b) for b in training_batches(LENGTHS, 8, seed=0, epoch=0))
    assert sizes == [3] + [8] * 125


def test_sequences_of_the_same_length_share_a_batch() -> None:
    lengths = np.array([5, 9] * 20)
    batches = training_batches(lengths, 4, seed=0, epoch=0)
    assert all(len(set(lengths[batch])) == 1 for batch in batches)


def test_batches_come_in_random_order_of_length() -> None:
    lengths = np.arange(1, 201)
    means = [lengths[batch].mean() for batch in training_batches(lengths, 10, seed=0, epoch=0)]
    assert means != sorted(means)


def test_the_same_seed_and_epoch_give_the_same_batches() -> None:
    assert training_batches(LENGTHS, 8, seed=3, epoch=5) == training_batches(LENGTHS, 8, seed=3, epoch=5)


@pytest.mark.parametrize(("seed", "epoch"), [(3, 6), (4, 5)])
def test_another_seed_or_epoch_gives_other_batches(seed: int, epoch: int) -> None:
    assert training_batches(LENGTHS, 8, seed=3, epoch=5) != training_batches(LENGTHS, 8, seed=seed, epoch=epoch)


def test_evaluation_reads_each_sequence_once_and_the_longest_first() -> None:
    batches = evaluation_batches(np.array([3, 9, 3, 7, 8]), 2)
    assert batches == [[1, 4], [3, 0], [2]]


def test_evaluation_takes_fewer_sequences_at_a_time_where_they_are_long() -> None:
    lengths = np.array([5, 2 * MOST_STEPS, MOST_STEPS // 2, MOST_STEPS // 2, 5, 5])
    assert evaluation_batches(lengths, 3) == [[1], [2, 3], [0, 4, 5]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x": torch.zeros(3)}, r"x is \[3\]"),
        ({"x": torch.zeros(2, 0, 2)}, r"x is \[2, 0, 2\]"),
        ({"lengths": torch.ones(3, dtype=torch.int64)}, r"lengths is .*\[3\]; it must be int64 \[2\]"),
        ({"lengths": torch.ones(2)}, "lengths is .*int64"),
        ({"lengths": torch.tensor([3, 0])}, r"lengths go from 0 to 3; each must be in 1\.\.3"),
        ({"lengths": torch.tensor([4, 1])}, "lengths go from 1 to 4"),
        ({"start": torch.zeros(2)}, r"start is \[2\]"),
        ({"observed": torch.ones(2, 3, dtype=torch.bool)}, "observed is"),
        ({"observed": torch.ones(2, 3, 2)}, "it must be bool"),
    ],
)
def test_a_batch_whose_shapes_dont_fit_is_refused(change: dict[str, torch.Tensor], said: str) -> None:
    fitting = {"x": torch.zeros(2, 3, 2), "lengths": torch.tensor([3, 1]), "start": torch.zeros(2, 2)}
    with pytest.raises(ValueError, match=said):
        SequenceBatch(**(fitting | change))
