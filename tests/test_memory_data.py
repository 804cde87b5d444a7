"""Sequences in memory: what is given comes back in its units, and each mistake is one line that says where it is."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

import zforcing as zf
from zforcing import Sequences, UserError
from zforcing.data import Arrays, InMemory, LinearGaussianData
from zforcing.data.batches import load_batches
from zforcing.data.splits import cut, cut_groups, numpy_shuffle, python_shuffle
from zforcing.observations import DataDescription, Example, Normalization, ObservationSpec, TableFormat

FAULTS = Path(__file__).parent / "data" / "faults"
RAGGED = [[[1.0, 10.0], [2.0, 20.0]], [[3.0, 30.0]], [[4.0, 40.0], [5.0, 50.0], [6.0, 60.0]]]
PADDED = np.array([[[1, 10], [2, 20], [0, 0]], [[3, 30], [0, 0], [0, 0]], [[4, 40], [5, 50], [6, 60]]], dtype=float)
NAN = float("nan")


def lists(data: Sequences) -> list[Any]:
    """The sequences in their user's units."""
    return [x.tolist() for x in data.to_arrays()]


def read(data: Sequences) -> list[Any]:
    """The sequences as a model reads them."""
    return [example.x.tolist() for example in data]


def refused(make: Callable[[], Any]) -> str:
    """What is said to be wrong."""
    with pytest.raises(UserError) as error:
        make()
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- what may be given


@pytest.mark.parametrize(
    ("x", "options"),
    [
        (RAGGED, {}),
        ([np.array(v) for v in RAGGED], {}),
        ([torch.tensor(v) for v in RAGGED], {}),
        ([torch.tensor(v, dtype=torch.bfloat16) for v in RAGGED], {}),
        (torch.nested.nested_tensor([torch.tensor(v) for v in RAGGED], layout=torch.jagged), {}),
        (PADDED, {"lengths": [2, 1, 3]}),
        (torch.tensor(PADDED), {"lengths": torch.tensor([2, 1, 3])}),
        (np.where(PADDED == 0, np.inf, PADDED), {"lengths": np.array([2, 1, 3], dtype=np.uint8)}),
    ],
    ids=["lists", "arrays", "tensors", "bfloat16", "nested", "padded array", "padded tensor", "padding of anything"],
)
def test_every_form_gives_the_same_sequences(x: Any, options: dict[str, Any]) -> None:
    data = Sequences(x, **options)
    assert lists(data) == RAGGED
    assert data.lengths.tolist() == [2, 1, 3]
    assert data.fingerprint() == Sequences(RAGGED).fingerprint()


def test_one_number_a_step_needs_no_second_axis() -> None:
    assert lists(Sequences([[1.0, 2.0], [3.0]])) == [[[1], [2]], [[3]]]


@pytest.mark.parametrize(
    ("x", "observed"),
    [
        ([[1.0, NAN], [3.0, 4.0]], None),
        ([[1.0, None], [3.0, 4.0]], None),
        ([[1.0, np.inf], [3.0, 4.0]], [[True, False], [True, True]]),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[True, False], [True, True]])),
        (torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[True, False], [True, True]])),
        ([np.ma.array([1.0, 2.0], mask=[False, True]), np.array([3.0, 4.0])], None),
    ],
    ids=["NaN", "None", "observed beside inf", "observed array", "observed tensor", "masked array"],
)
def test_gaps_are_marked_in_every_way(x: Any, observed: Any) -> None:
    data = Sequences(x, observed=observed, normalize=False)
    np.testing.assert_equal(data.raw(0), [[1.0], [NAN]])
    assert read(data) == [[[1], [0]], [[3], [4]]]
    assert data[0].observed.tolist() == [[True], [False]]
    assert data.description.spec.missing
    assert data.missing_share == 25


def test_without_gaps_none_are_expected_unless_that_is_said() -> None:
    assert not Sequences(RAGGED).description.spec.missing
    assert Sequences(RAGGED, missing=True).description.spec.missing
    assert "missing is False" in refused(lambda: Sequences([[NAN, 1.0]], missing=False))


def test_categories_are_integers_and_minus_1_where_they_are_missing() -> None:
    data = Sequences([[0, 3], [1.0, NAN]], kind="categorical")
    assert lists(data) == [[0, 3], [1, -1]]
    assert data[1].x.dtype == np.int64
    assert data.description.spec == ObservationSpec("categorical", 4, missing=True)


def test_raw_values_keep_what_float32_cannot_hold() -> None:
    assert lists(Sequences([[1_700_000_000.25, 1_700_000_001.5]])) == [[[1_700_000_000.25], [1_700_000_001.5]]]


def test_examples_are_normalized_float32() -> None:
    data = Sequences([[1.0, 3.0]])
    assert data.description.normalization == Normalization((2.0,), (1.0,))
    assert read(data) == [[[-1], [1]]]
    assert data[0].x.dtype == np.float32


def test_a_constant_feature_keeps_its_units() -> None:
    assert Sequences([[0.1, 0.1, 0.1]]).description.normalization.std == (1.0,)


# ---- a data set


def test_it_is_a_torch_dataset_that_a_loader_reads() -> None:
    data = Sequences([[1.0, 2.0], [3.0, 4.0]], normalize=False)
    assert isinstance(data, Dataset)
    loader = DataLoader(data, collate_fn=lambda examples: [e.x.tolist() for e in examples], batch_size=2)
    assert list(loader) == [[[[1], [2]], [[3], [4]]]]


def test_batches_can_be_collated_in_another_process() -> None:
    data = Sequences([[1.0, 2.0], [3.0, 4.0]])
    batches: Any = load_batches(data, [[0, 1]], data.description.spec)
    pickle.loads(pickle.dumps(batches._collate_fn))
    assert pickle.loads(pickle.dumps(data)).fingerprint() == data.fingerprint()


def test_slices_and_arrays_of_indices_are_sequences() -> None:
    data = Sequences([[float(i)] * 2 for i in range(6)], groups=list("aabbcc"))
    assert lists(data[2:4]) == lists(data)[2:4]
    assert data[2:4].groups.tolist() == ["b", "b"]
    assert lists(data[[5, 0]]) == [lists(data)[5], lists(data)[0]]
    assert lists(data[np.arange(6) > 4]) == [lists(data)[5]]
    assert data[-1].x.tolist() == data[5].x.tolist()
    assert data[1:].description == data.description
    with pytest.raises(IndexError):
        data[6]
    assert "picks none" in refused(lambda: data[6:])


def test_a_piece_is_a_part() -> None:
    data = Sequences(RAGGED, normalize=False)[1:]
    assert data.piece(1, 1, 3).x.tolist() == RAGGED[2][1:]


def test_the_representation_is_one_line_that_says_what_it_is() -> None:
    data = Sequences([[[1.0, NAN], [2.0, 3.0]], [[3.0, 1.0]]], names=["speed", "load"])
    assert repr(data) == "Sequences(real, N=2, T=1..2, D=2, 16.7% missing, names=[speed, load])"


# ---- refusals

REFUSED: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "infinity": (lambda: Sequences([[1.0], [2.0, np.inf]], names=["v"]), ["inf", "sequence 1, step 1, column 'v'"]),
    "beyond float32": (lambda: Sequences([[1e300]]), ["1e+300", "3.4e+38"]),
    "not binary": (
        lambda: Sequences([[0, 1], [2, 0]], kind="binary"),
        ["2 at sequence 1, step 0, feature 0", "0 or 1"],
    ),
    "negative category": (lambda: Sequences([[0, -1]], kind="categorical"), ["-1 at sequence 0, step 1"]),
    "fractional category": (lambda: Sequences([[0, 0.5]], kind="categorical"), ["0.5 at sequence 0, step 1"]),
    "categories in vectors": (lambda: Sequences([[[0, 1]]], kind="categorical"), ["2 numbers per step"]),
    "more categories than told": (lambda: Sequences([[3]], kind="categorical", categories=2), ["0..1"]),
    "categories of numbers": (lambda: Sequences([[3.0]], categories=2), ["categories", "kind real"]),
    "ids as categories": (lambda: Sequences([[10**9]], kind="categorical"), ["1000000000", "set categories"]),
    "unknown kind": (lambda: Sequences([[1.0]], kind="text"), ["kind", "'text'"]),
    "empty sequence": (lambda: Sequences([[1.0], []]), ["sequence 1 is empty"]),
    "no sequences": (lambda: Sequences([]), ["empty"]),
    "ragged D": (lambda: Sequences([[[1.0, 2.0]], [[1.0]]]), ["sequence 1 has 1 numbers", "sequence 0 has 2"]),
    "ragged steps": (lambda: Sequences([[[1.0, 2.0], [1.0]]]), ["sequence 0 can't be read"]),
    "lengths too large": (lambda: Sequences(PADDED, lengths=[1, 4, 1]), ["sequence 1", "4", "1..3"]),
    "lengths of zero": (lambda: Sequences(PADDED, lengths=[1, 0, 1]), ["sequence 1", "0", "1..3"]),
    "too few lengths": (lambda: Sequences(PADDED, lengths=[1, 2]), ["lengths", "[3]"]),
    "lengths of a list": (lambda: Sequences(RAGGED, lengths=[2, 1, 3]), ["lengths go with one padded array"]),
    "observed of another shape": (lambda: Sequences([[1.0]], observed=[[True, True]]), ["sequence 0", "[2]"]),
    "observed isn't bool": (lambda: Sequences([[1.0]], observed=[[1]]), ["int64", "bool"]),
    "one series": (lambda: Sequences(np.zeros(5)), ["[5]", "[x]"]),
    "numbers": (lambda: Sequences([1.0, 2.0]), ["sequence 0", "[x]"]),
    "text": (lambda: Sequences([["a"]]), ["sequence 0 holds <U1"]),
    "a frame": (lambda: Sequences(pd.DataFrame({"a": [1.0]})), ["from_frame"]),
    "a frame of polars": (lambda: Sequences(pl.DataFrame({"a": [1.0]})), ["from_frame"]),
    "two names of one": (lambda: Sequences(RAGGED, names=["a", "a"]), ["names"]),
    "too few groups": (lambda: Sequences(RAGGED, groups=[1]), ["groups has 1", "3 sequences"]),
    "nothing to score": (
        lambda: Sequences([[1.0, 2.0], [3.0]], first_observation="conditioned"),
        ["sequence 1 has 1 step", "first_observation"],
    ),
    "never observed": (lambda: Sequences([[[1.0, NAN]]], names=["a", "b"]), ["column 'b' is never observed"]),
}


@pytest.mark.parametrize(("make", "fragments"), REFUSED.values(), ids=REFUSED.keys())
def test_a_mistake_is_refused_in_one_line_that_says_where(make: Callable[[], Any], fragments: list[str]) -> None:
    said = refused(make)
    assert [f for f in fragments if f not in said] == []
    assert "data." not in said  # no setting of a recipe: these are arguments


# ---- frames

FRAME = {
    "machine": ["b", "a", "b", "a", "a"],
    "time": np.array(["2024-01-01T01", "2024-01-01T02", "2024-01-01T00", "2024-01-01T00", "2024-01-01T01"], "M8[us]"),
    "speed": [11.0, 3.0, 10.0, 1.0, None],
    "on": [True, False, True, True, False],
    "count": [7, 5, 9, None, 5],
}
EXPECTED = [[[10.0, 1, 9], [11.0, 1, 7]], [[1.0, 1, NAN], [NAN, 0, 5], [3.0, 0, 5]]]


def pandas_frame(**changes: Any) -> pd.DataFrame:
    return pd.DataFrame(FRAME).astype({"count": "Int64"}).assign(**changes)


FRAMES = {
    "pandas": pandas_frame,
    "polars": lambda: pl.DataFrame(FRAME),
    "pyarrow": lambda: pa.table({k: pa.array(v) for k, v in FRAME.items()}),
}


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES.keys())
def test_frames_of_every_library_give_equal_sequences(make: Callable[[], Any]) -> None:
    data = Sequences.from_frame(make(), by="machine", order="time")
    assert data.ids == ["b", "a"]
    assert data.names == ("speed", "on", "count")
    for raw, expected in zip(data.to_arrays(), EXPECTED, strict=True):
        np.testing.assert_equal(raw, expected)
    assert data.fingerprint() == Sequences.from_frame(pandas_frame(), by="machine", order="time").fingerprint()
    assert data.remark.startswith("column 'on' holds only 0 and 1")
    assert "left out" not in data.remark


def test_without_by_a_frame_is_one_sequence_in_its_order() -> None:
    assert lists(Sequences.from_frame(pl.DataFrame({"u": [3.0, 1.0], "v": [4, 2]}))) == [[[3, 4], [1, 2]]]


def test_columns_picks_the_features_and_their_order() -> None:
    data = Sequences.from_frame(pandas_frame(), by="machine", order="time", columns=["on", "speed"])
    assert data.raw(0).tolist() == [[1, 10], [1, 11]]


def test_several_columns_name_a_sequence_together() -> None:
    frame = pl.DataFrame({"site": [1, 1, 2], "machine": ["a", "b", "a"], "v": [1.0, 2.0, 3.0]})
    data = Sequences.from_frame(frame, by=["site", "machine"])
    assert data.ids == [(1, "a"), (1, "b"), (2, "a")]


def test_a_group_belongs_to_each_sequence() -> None:
    frame = pl.DataFrame({"trip": [1, 1, 2], "driver": ["x", "x", "y"], "v": [1.0, 2.0, 3.0]})
    assert Sequences.from_frame(frame, by="trip", group="driver").groups.tolist() == ["x", "y"]
    assert "one group" in refused(lambda: Sequences.from_frame(frame, group="driver"))


def test_pandas_index_may_be_the_time_and_is_never_a_feature() -> None:
    frame = pandas_frame().set_index("time")
    assert Sequences.from_frame(frame, by="machine", order="time").ids == ["b", "a"]
    np.testing.assert_equal(Sequences.from_frame(frame, by="machine", order="time").raw(1), EXPECTED[1])
    data = Sequences.from_frame(frame, by="machine")
    assert data.names == ("speed", "on", "count")
    assert "index (time)" in data.remark


@pytest.mark.parametrize("name", ["Unnamed: 0", "index", "row"])
def test_a_column_that_numbers_the_rows_is_left_out_and_said(name: str) -> None:
    frame = pl.DataFrame({name: [0, 1, 2, 3], "v": [1.0, 2.0, 4.0, 8.0]})
    data = Sequences.from_frame(frame)
    assert data.names == ("v",)
    assert repr(name) in data.remark
    assert repr(name)[1:-1] in repr(data)
    assert Sequences.from_frame(frame, columns=[name, "v"]).names == (name, "v")


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_gaps_in_time_are_told_with_the_longest(zone: str | None) -> None:
    hours = pd.Series(pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-08", "2024-01-10"]))
    frame = pd.DataFrame({"t": hours.dt.tz_localize(zone), "v": [1.0, 2.0, 3.0, 4.0, 5.0]})
    remark = Sequences.from_frame(frame, order="t").remark
    assert "2 of 4 steps come more than 1.5 median intervals (1.5 d)" not in remark
    frame = frame.iloc[[0, 1, 2, 3]]
    remark = Sequences.from_frame(frame, order="t").remark
    assert "1 of 3 steps come more than 1.5 median intervals (1 d) after the one before; the longest, 5 d" in remark


def test_a_sequence_may_be_split_at_its_gaps_and_stays_one_group() -> None:
    frame = pl.DataFrame({"m": list("aaaab"), "t": [0, 1, 5, 6, 0], "v": [0.0, 1.0, 5.0, 6.0, 9.0]})
    data = Sequences.from_frame(frame, by="m", order="t", gaps="split", normalize=False)
    assert lists(data) == [[[0], [1]], [[5], [6]], [[9]]]
    assert data.ids == ["a", "a", "b"]
    assert data.groups.tolist() == ["a", "a", "b"]
    kept = Sequences.from_frame(frame, by="m", order="t", gaps="split", max_gap=4.5)
    assert len(kept) == 2


def test_gaps_may_be_filled_with_missing_steps() -> None:
    frame = pl.DataFrame({"m": list("aaaab"), "t": [1.01, 0.0, 5.0, 2.0, 7.0], "v": [1, 0, 5, 2, 7]})
    data = Sequences.from_frame(frame, by="m", order="t", gaps="fill")
    np.testing.assert_equal(data.raw(0), [[0], [1], [2], [NAN], [NAN], [5]])
    assert lists(data[1:]) == [[[7]]]


FRAMES_REFUSED: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "an id is missing": (
        lambda: Sequences.from_frame(pl.DataFrame({"m": ["a", None], "v": [1.0, 2.0]}), by="m"),
        ["'m' is missing in row 1", "name its sequence"],
    ),
    "an id is NaN": (
        lambda: Sequences.from_frame(pl.DataFrame({"m": [1.0, NAN], "v": [1.0, 2.0]}), by="m"),
        ["'m' is missing in row 1"],
    ),
    "an id is empty": (
        lambda: Sequences.from_frame(pa.table({"m": ["", "a"], "v": [1.0, 2.0]}), by="m"),
        ["'m' is missing in row 0"],
    ),
    "a time is missing": (
        lambda: Sequences.from_frame(pandas_frame(time=pd.NaT), by="machine", order="time"),
        ["'time' is missing in row 0", "and in 4 more"],
    ),
    "a time twice": (
        lambda: Sequences.from_frame(pl.DataFrame({"t": [1, 2, 1], "v": [1.0, 2.0, 3.0]}), order="t"),
        ["two rows at t 1"],
    ),
    "times as text": (
        lambda: Sequences.from_frame(pl.DataFrame({"t": ["10:00"], "v": [1.0]}), order="t"),
        ["'t' holds String", "to_datetime"],
    ),
    "text": (
        lambda: Sequences.from_frame(pandas_frame(), order="time"),
        ["no numbers in 'machine'", "columns", "category codes"],
    ),
    "no such column": (lambda: Sequences.from_frame(pandas_frame(), by="engine"), ["'engine'", "machine, time"]),
    "a feature that is the order": (
        lambda: Sequences.from_frame(pandas_frame(), order="time", columns=["time"]),
        ["columns has 'time'"],
    ),
    "columns isn't a list": (lambda: Sequences.from_frame(pandas_frame(), columns="speed"), ["['speed']"]),
    "no rows": (lambda: Sequences.from_frame(pl.DataFrame({"v": [0.5]})[:0]), ["no rows"]),
    "nothing but row numbers": (
        lambda: Sequences.from_frame(pl.DataFrame({"v": [0, 1, 2]})),
        ["no column is left", "'v'", "name the features in columns"],
    ),
    "no frame": (lambda: Sequences.from_frame([[1.0]]), ["a list is not a data frame"]),
    "a lazy frame": (lambda: Sequences.from_frame(pl.LazyFrame({"v": [1.0]})), ["LazyFrame", "collect"]),
    "gaps without times": (
        lambda: Sequences.from_frame(pl.DataFrame({"v": [1.0]}), gaps="split"),
        ["gaps is 'split'", "order"],
    ),
    "filling what isn't regular": (
        lambda: Sequences.from_frame(pl.DataFrame({"t": [0.0, 1.0, 1.2, 2.2], "v": [1.0] * 4}), order="t", gaps="fill"),
        ["t 1.2 comes 0.2 after", "gaps='split'"],
    ),
    "filling years": (
        lambda: Sequences.from_frame(pl.DataFrame({"t": [0, 1, 2, 10**6], "v": [1.0] * 4}), order="t", gaps="fill"),
        ["1000001 steps of 4"],
    ),
}


@pytest.mark.parametrize(("make", "fragments"), FRAMES_REFUSED.values(), ids=FRAMES_REFUSED.keys())
def test_a_frame_that_is_no_sequences_is_refused(make: Callable[[], Any], fragments: list[str]) -> None:
    said = refused(make)
    assert [f for f in fragments if f not in said] == []


def test_rows_without_an_id_are_refused_by_row() -> None:
    said = refused(lambda: Sequences.from_frame(pd.read_csv(FAULTS / "nan_ids.csv"), by="trip"))
    assert "'trip' is missing in row 1 (counted from 0) and in 2 more" in said


def test_the_index_that_pandas_saved_is_no_feature() -> None:
    data = Sequences.from_frame(pd.read_csv(FAULTS / "unnamed0.csv"), by="trip")
    assert data.names == ("a", "b")
    assert "'Unnamed: 0'" in data.remark


@pytest.mark.parametrize(("options", "cause"), [({}, "sep=';'"), ({"sep": ";"}, "decimal=','")])
def test_semicolons_and_decimal_commas_are_named_as_the_cause(options: dict[str, Any], cause: str) -> None:
    assert cause in refused(lambda: Sequences.from_frame(pd.read_csv(FAULTS / "decimal_comma.csv", **options)))


def test_a_column_that_hardly_varies_is_told_and_named_when_it_does() -> None:
    train = Sequences.from_frame(pd.read_csv(FAULTS / "near_constant.csv"), by="trip")
    assert "column 'b' hardly varies" in train.remark
    test = Sequences.from_frame(pd.read_csv(FAULTS / "near_constant_test.csv"), by="trip", normalize=False)
    said = refused(lambda: test.described_as(train.description))
    assert "1e+35 at sequence 0, step 2, column 'b'" in said
    assert "hardly varies" in said


def test_times_in_seconds_since_1970_do_vary() -> None:
    assert Sequences([[1.7e9, 1.7e9 + 3600]]).remark == ""


# ---- torch data sets


class Counted(Dataset[Any]):
    """Remembers how often it was read."""

    def __init__(self, items: list[Any]):
        self.items, self.reads = items, 0

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        self.reads += 1
        return self.items[index]


@pytest.mark.parametrize(
    "items",
    [
        [torch.tensor(v) for v in RAGGED],
        [(np.array(v),) for v in RAGGED],
        [{"x": torch.tensor(v), "label": 3} for v in RAGGED],
        [(torch.tensor(v), torch.ones(len(v), 2, dtype=torch.bool)) for v in RAGGED],
        [Example(np.array(v)) for v in RAGGED],
    ],
    ids=["tensors", "tuples", "dicts", "pairs", "examples"],
)
def test_a_torch_dataset_is_read_once(items: list[Any]) -> None:
    dataset = Counted(items)
    assert lists(Sequences.from_dataset(dataset)) == RAGGED
    assert dataset.reads == 3


def test_a_pair_says_what_was_observed() -> None:
    seen = torch.tensor([[True], [False]])
    data = Sequences.from_dataset(Counted([(torch.tensor([[1.0], [2.0]]), seen), {"x": [[5.0]]}]), normalize=False)
    np.testing.assert_equal(data.raw(0), [[1], [NAN]])


@pytest.mark.parametrize(
    ("dataset", "fragment"),
    [
        (TensorDataset(torch.zeros(2, 3, 1), torch.zeros(2)), "labels"),
        (Counted([{"audio": [1.0]}]), "'audio'"),
        (Counted([]), "empty"),
        (iter([[1.0]]), "map-style"),
    ],
    ids=["labels", "another key", "nothing", "an iterator"],
)
def test_a_dataset_of_other_things_is_refused(dataset: Any, fragment: str) -> None:
    assert fragment in refused(lambda: Sequences.from_dataset(dataset))


# ---- splits

UNITS = [[float(i)] * (2 + i % 3) for i in range(20)]


def numbers(data: Sequences) -> list[int]:
    """Which of UNITS there are."""
    return [int(x[0, 0]) for x in data.to_arrays()]


def test_a_split_by_sequence_is_the_split_of_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.concatenate(UNITS), lengths=[len(u) for u in UNITS])
    file = Arrays(str(tmp_path / "x.npz"))
    train, valid, test = Sequences(UNITS).split(0.8, 0.1, 0.1, seed=0)
    assert (numbers(valid), numbers(test)) == ([2, 6], [4, 19])  # as `Arrays` has split since it was written
    assert train.description.normalization == file.describe().normalization
    for name, part in (("train", train), ("valid", valid), ("test", test)):
        assert file.load(name, file.describe()).fingerprint() == part.fingerprint()  # type: ignore[arg-type]


def test_the_description_is_fitted_on_the_training_split_alone() -> None:
    train, valid, test = Sequences(UNITS).split(0.5, 0.25, 0.25, seed=3)
    own = np.concatenate(train.to_arrays())
    assert train.description.normalization.mean == (pytest.approx(own.mean()),)
    assert train.description.normalization.std == (pytest.approx(own.std()),)
    assert valid.description == test.description == train.description
    np.testing.assert_allclose(np.concatenate([e.x for e in train]).mean(), 0, atol=1e-6)
    assert sorted(numbers(train) + numbers(valid) + numbers(test)) == list(range(20))


def test_gaps_of_the_test_split_alone_are_known_to_the_model() -> None:
    x = [[float(i), NAN if i in (4, 19) else 1.0] for i in range(20)]
    train, _, test = Sequences(x).split(seed=0)
    assert train.missing_share == 0
    assert test.missing_share == 50
    assert train.description.spec.missing


def test_a_feature_never_observed_in_train_is_named() -> None:
    x = [[[float(i), 1.0 if i in (4, 19) else NAN]] for i in range(20)]
    assert "column 'load'" in refused(lambda: Sequences(x, names=["speed", "load"]).split(seed=0))


def test_a_category_beyond_those_of_train_is_named() -> None:
    x = [[9 if i == 4 else 1] for i in range(20)]
    assert "9 at sequence 4, step 0" in refused(lambda: Sequences(x, kind="categorical").split(seed=0))


def test_a_split_by_time_puts_no_step_into_two() -> None:
    data = Sequences([np.arange(10.0), np.arange(100.0, 120.0)])
    train, valid, test = data.split(0.8, 0.1, 0.1, how="time")
    assert [x[:, 0].tolist() for x in train.to_arrays()] == [list(range(8)), list(range(100, 116))]
    assert [x[:, 0].tolist() for x in valid.to_arrays()] == [[8], [116, 117]]
    assert [x[:, 0].tolist() for x in test.to_arrays()] == [[9], [118, 119]]
    assert train.description.normalization.mean == (pytest.approx(np.mean([*range(8), *range(100, 116)])),)
    assert train.description.longest == 16


def test_a_split_by_time_leaves_something_to_score_in_each() -> None:
    data = Sequences([np.arange(6.0)], first_observation="conditioned")
    assert [int(part.lengths[0]) for part in data.split(how="time")] == [2, 2, 2]
    short = Sequences([np.arange(6.0), np.arange(5.0)], first_observation="conditioned")
    assert "sequence 1 has 5 steps" in refused(lambda: short.split(how="time"))


def test_a_split_by_group_puts_no_group_into_two() -> None:
    groups = [f"g{i // 3}" for i in range(20)]
    parts = Sequences(UNITS, groups=groups).split(0.6, 0.2, 0.2, how="group", seed=1)
    labels = [set(part.groups.tolist()) for part in parts]
    assert all(labels)
    assert sum(len(label) for label in labels) == len(set(groups))
    assert [len(part) for part in parts] == [14, 3, 3]


def test_the_seed_decides_the_split() -> None:
    first, again, other = (numbers(Sequences(UNITS).split(seed=seed)[2]) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("split", "fragment"),
    [
        (lambda data: data.split(0.8, 0.1, 0.2), "sum to 1.1"),
        (lambda data: data.split(1.0, 0.0, 0.0), "more than 0 and less than 1"),
        (lambda data: data.split(float("nan"), 0.1, 0.1), "train is nan"),
        (lambda data: data.split(seed=-1), "seed is -1"),
        (lambda data: data.split(how="row"), "'row'"),
        (lambda data: data.split(how="group"), "groups="),
        (lambda data: data[:2].split(), "how='time'"),
        (lambda data: data.windows(2, 1).split(), "overlap"),
        (lambda data: data.windows(2, 1)[:3].split(how="group"), "groups"),
    ],
)
def test_a_split_that_cannot_be_is_refused(split: Callable[[Sequences], Any], fragment: str) -> None:
    assert fragment in refused(lambda: split(Sequences(UNITS)))


def test_both_generators_draw_as_they_always_have() -> None:
    assert numpy_shuffle(5, 0).tolist() == [2, 4, 3, 0, 1]
    assert python_shuffle(5, 0).tolist() == [2, 1, 0, 4, 3]
    parts = cut(6, {"test": 0.2, "valid": 0.2}, seed=0, what="things", shuffle=python_shuffle)
    assert {split: index.tolist() for split, index in parts.items()} == {
        "test": [4],
        "valid": [2],
        "train": [0, 1, 3, 5],
    }


def test_each_split_has_a_group_even_where_one_is_most_of_it() -> None:
    parts = cut_groups(["a"] * 98 + ["b", "c"], {"test": 0.1, "valid": 0.1}, seed=0)
    assert sorted(len(index) for index in parts.values()) == [1, 1, 98]


# ---- windows


def test_windows_cut_one_long_series() -> None:
    data = Sequences([np.arange(10.0)])
    windows = data.windows(4)
    assert [x[:, 0].tolist() for x in windows.to_arrays()] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert windows.description.longest == 4
    assert len(data.windows(4, keep_last=False)) == 2
    assert [x[0, 0] for x in data.windows(4, 3).to_arrays()] == [0, 3, 6]
    assert [x[:, 0].tolist() for x in data.windows(4, 5).to_arrays()] == [[0, 1, 2, 3], [5, 6, 7, 8]]
    assert [len(x) for x in data.windows(20).to_arrays()] == [10]


def test_windows_score_every_step_once_where_the_first_is_conditioned_on() -> None:
    data = Sequences([np.arange(6.0), np.arange(2.0)], first_observation="conditioned").windows(3)
    assert [x[1:, 0].tolist() for x in data.to_arrays()] == [[1, 2], [3, 4], [5], [1]]
    assert data.description.longest == 2


def test_windows_of_a_part_keep_their_places_and_groups() -> None:
    data = Sequences([np.arange(4.0), 10 + np.arange(4.0), 20 + np.arange(2.0)], groups=list("abc"))
    windows = data[[2, 1]].windows(3, 1)
    assert [x[:, 0].tolist() for x in windows.to_arrays()] == [[20, 21], [10, 11, 12], [11, 12, 13]]
    assert windows.groups.tolist() == ["c", "b", "b"]
    assert windows.ids == [2, 1, 1]
    assert data.windows(2).windows(1).lengths.tolist() == [1] * 10


def test_windows_that_overlap_are_fitted_to_each_step_once() -> None:
    series = [np.arange(5.0), np.arange(5.0), np.arange(8.0)]
    whole = Sequences(series, groups=[0, 1, 2])
    train = whole.windows(3, 1).split(0.4, 0.3, 0.3, how="group", seed=0)[0]
    rows = np.concatenate([series[g] for g in dict.fromkeys(train.groups.tolist())])
    assert train.description.normalization.mean == (pytest.approx(rows.mean()),)


@pytest.mark.parametrize(
    ("arguments", "fragment"), [((0,), "1 or more"), ((3, 0), "stride is 0"), ((9, None), "keep_last=True")]
)
def test_windows_that_cannot_be_are_refused(arguments: tuple[Any, ...], fragment: str) -> None:
    assert fragment in refused(lambda: Sequences([np.arange(5.0)]).windows(*arguments, keep_last=False))


# ---- a trained model's description


def test_described_as_normalizes_the_same_raw_values() -> None:
    train, other = Sequences([[1.0, 3.0]]), Sequences([[4.0, 0.0], [2.0, 2.0]], missing=True)
    described = other[1:].described_as(DataDescription("x", other.description.spec, 9, Normalization((1.0,), (2.0,))))
    assert read(described) == [[[0.5], [0.5]]]
    assert lists(described) == [[[2], [2]]]
    assert other.description.normalization != described.description.normalization
    assert train.described_as(train.description) is train


def test_a_described_split_keeps_the_description() -> None:
    trained = Sequences([[1.0, 3.0]]).description
    parts = Sequences(UNITS).described_as(trained).split()
    assert [part.description for part in parts] == [trained] * 3


@pytest.mark.parametrize(
    ("spec", "fragments"),
    [
        (ObservationSpec("real", 2), ["1 features", "2"]),
        (ObservationSpec("binary", 1), ["kind 'real'", "'binary'"]),
        (ObservationSpec("real", 1, "conditioned"), ["first_observation"]),
    ],
)
def test_data_of_another_kind_than_the_model_is_refused(spec: ObservationSpec, fragments: list[str]) -> None:
    said = refused(lambda: Sequences([[1.0]]).described_as(DataDescription("x", spec, 1)))
    assert [f for f in fragments if f not in said] == []


def test_other_columns_than_the_model_was_trained_on_are_refused_by_name() -> None:
    trained = Sequences([[[1.0, 2.0]]], names=["speed", "load"]).description
    said = refused(lambda: Sequences([[[1.0, 2.0]]], names=["load", "speed"]).described_as(trained))
    assert "the columns are load, speed, those that the model was trained on speed, load" in said
    assert Sequences([[[1.0, 2.0]]]).described_as(trained).description == trained


def test_the_description_says_which_files_its_model_reads() -> None:
    data = Sequences.from_frame(pandas_frame(), by="machine", order="time", columns=["speed"])
    assert data.description.format == TableFormat(names=("speed",), sequence="machine", order="time")


def test_gaps_and_categories_that_the_model_does_not_know_are_refused() -> None:
    known = Sequences([[1.0, 2.0]]).description
    assert "gaps" in refused(lambda: Sequences([[1.0, NAN]]).described_as(known))
    three = Sequences([[0, 2]], kind="categorical").description
    assert "3 at sequence 0, step 1" in refused(lambda: Sequences([[0, 3]], kind="categorical").described_as(three))


# ---- sets that are read from files


def test_loaded_splits_carry_the_description_that_they_were_loaded_by() -> None:
    module = LinearGaussianData(train=2, valid=2, test=2)
    data = module.load("train", module.describe())
    assert data.description == module.describe()
    assert data.described_as(module.describe()) is data


def test_examples_without_a_description_take_one_and_refuse_another() -> None:
    spec = ObservationSpec("real", 1)
    plain = InMemory([Example(np.zeros((2, 1), dtype=np.float32))])
    described = plain.described_as(DataDescription("a", spec, 2))
    assert plain.description is None
    assert described.described_as(DataDescription("b", spec, 7)).description.name == "b"
    other = DataDescription("b", spec, 2, Normalization((0.0,), (2.0,)))
    assert "were read as" in refused(lambda: described.described_as(other))


def test_sequences_are_public() -> None:
    assert zf.Sequences is Sequences


def test_an_evaluation_reads_sequences_as_the_model_was_trained() -> None:
    train, later = Sequences([[1.0, 3.0], [2.0, 5.0]]), Sequences([[10.0, 30.0], [20.0, 50.0]])
    model = zf.RNN(train.description.spec, zf.RNNConfig(hidden_size=4))
    as_trained = zf.evaluate(model, later, description=train.description)
    assert as_trained.data_fingerprint == later.described_as(train.description).fingerprint()
    assert as_trained.data_fingerprint != zf.evaluate(model, later).data_fingerprint


# ---- what was tried and went wrong


def test_half_precision_is_normalized_as_its_numbers_are() -> None:
    """Squares of float16 overflow beyond 255, and vanish below 0.0002."""
    for numbers in ([-1000.0, 0.0, 2000.0, 60000.0], [1e-4, 2e-4, 3e-4]):
        half = np.array(numbers, dtype=np.float16)
        found = Sequences([half]).description.normalization
        assert found is not None
        assert found.mean == pytest.approx([half.astype(np.float64).mean()], rel=1e-6)
        assert found.std == pytest.approx([half.astype(np.float64).std()], rel=1e-6)


def test_times_of_few_bits_do_not_overflow() -> None:
    """From -98 to 100 is further than an int8 says."""
    frame = pd.DataFrame({"t": np.array([-100, -99, -98, 100], dtype=np.int8), "x": [1.0, 2.0, 3.0, 4.0]})
    assert "the longest, 198, before t 100" in Sequences.from_frame(frame, order="t").remark
    assert [len(x) for x in Sequences.from_frame(frame, order="t", gaps="split").to_arrays()] == [3, 1]


def test_a_gap_between_durations_is_told_as_one() -> None:
    frame = pd.DataFrame({"t": pd.to_timedelta([1, 2, 3, 9], unit="h"), "x": [1.0, 2.0, 3.0, 4.0]})
    assert "before t 9 h" in Sequences.from_frame(frame, order="t").remark


def test_columns_may_be_a_pandas_index_and_names_numpys_text() -> None:
    frame = pd.DataFrame({"m": ["a", "a"], "x": [1.0, 2.0], "y": [3.0, 4.0]})
    assert Sequences.from_frame(frame, by="m", columns=frame.columns[1:]).names == ("x", "y")
    names = Sequences([[[1.0, 2.0]]], names=np.array(["x", "y"])).names  # type: ignore[arg-type]
    assert repr(names) == "('x', 'y')"


ONE_MACHINE = pd.DataFrame({"m": ["a", "a"], "t": [1.0, 2.0], "x": [1.0, 2.0]})


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"t": [1.0, np.inf]}, {"order": "t"}, "column 't' is inf in row 1"),
        ({}, {"order": "t", "max_gap": "1d"}, "max_gap is '1d'; it must be a finite number"),
        ({}, {"by": 5}, "by is a int; it must be the name of a column"),
        ({}, {"order": "time"}, r"no column 'time' for order; .*reset_index"),
        ({"x": pd.Series([1, 2], dtype=object)}, {"by": "m"}, "pandas.to_numeric"),
    ],
)
def test_odd_frames_are_refused(change: dict[str, Any], options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Sequences.from_frame(ONE_MACHINE.assign(**change), **({"by": "m"} | options))


def test_two_columns_of_one_name_are_refused() -> None:
    frame = pd.DataFrame(np.zeros((2, 2)), columns=["a", "a"])
    assert "several columns 'a'" in refused(lambda: Sequences.from_frame(frame))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Sequences([[0, 1]], kind="categorical", categories="5"), "categories is '5'; it must be a whole"),  # type: ignore[arg-type]
        (lambda: Sequences([[0, 1]], normalize="no"), "normalize is 'no'; it must be true or false"),  # type: ignore[arg-type]
        (lambda: Sequences([[0, 1]], groups=[[1]]), "the group of sequence 0 is a list"),  # type: ignore[list-item]
        (lambda: Sequences([[0, 1]], groups=[NAN]), "groups has nan for sequence 0"),
        (lambda: Sequences([[0, 1]] * 9).split("a"), "train is 'a'; it must be a finite number"),  # type: ignore[arg-type]
        (lambda: Sequences([[0, 1]] * 9).split(seed=None), "seed is None; it must be a whole number"),  # type: ignore[arg-type]
        (lambda: Sequences([[0, 1]] * 9).windows(1.5), "length is 1.5; it must be a whole number"),  # type: ignore[arg-type]
        (lambda: Sequences([[0, 1]]).windows(9, keep_last=False), "make the windows shorter"),
    ],
)
def test_arguments_of_other_types_are_refused(make: Callable[[], Any], said: str) -> None:
    assert said in refused(make)


def test_numbers_that_are_normalized_already_are_no_users_units() -> None:
    """`from_dataset` of a part of Sequences would take their examples for what the user measured."""
    data = Sequences(RAGGED)
    assert "data[indices]" in refused(lambda: Sequences.from_dataset(Subset(Subset(data, [0, 1]), [0])))
    assert lists(Sequences.from_dataset(Subset(Sequences(RAGGED, normalize=False), [2]))) == [RAGGED[2]]


def test_a_gap_that_no_integer_holds_is_too_long_to_fill() -> None:
    frame = pd.DataFrame({"t": [0.0, 1.0, 2.0, 3.0, 1e300], "x": [1.0, 2.0, 3.0, 4.0, 5.0]})
    assert "gaps 'fill' would make 1" in refused(lambda: Sequences.from_frame(frame, order="t", gaps="fill"))


# ---- as a model reads it


def test_a_frame_is_read_as_a_model_reads_it_where_a_column_was_never_observed() -> None:
    frame = pd.DataFrame({"speed": [1.0, 2.0, 4.0], "tool": ["saw", "drill", "saw"], "heat": [1.0, 5.0, 2.0]})
    options: dict[str, Any] = {"columns": ["speed", "tool"], "inputs": ["heat"], "kinds": {"tool": "category"}}
    trained = Sequences.from_frame(frame, **options, missing=True)
    new = frame.assign(speed=np.nan, day="Monday")
    with pytest.raises(UserError, match="never observed in the training split"):
        Sequences.from_frame(new, **options)
    data = Sequences.from_frame(new, like=trained.description)
    assert data.description == trained.description
    assert data.names == ("speed", "tool")
    np.testing.assert_array_equal(data[0].x[:, 1], trained[0].x[:, 1])
    np.testing.assert_array_equal(data[0].inputs, trained[0].inputs)
    assert data[0].observed is not None
    assert data[0].observed.tolist() == [[False, True]] * 3
    assert data.described_as(trained.description) is data


def test_data_that_is_read_like_a_models_may_have_gaps_that_only_impute_reads() -> None:
    trained = Sequences([[[1.0, 2.0], [3.0, 5.0]]])
    data = Sequences([[[2.0, np.nan], [4.0, np.nan]]], like=trained.description)
    assert data.description.spec.missing
    np.testing.assert_allclose(data[0].x[:, 0], [0.0, 2.0])
    with pytest.raises(UserError, match="fill them by impute"):
        data.described_as(trained.description)


def test_what_is_read_like_a_models_declares_nothing_else() -> None:
    trained = Sequences([[[1.0, 2.0], [3.0, 5.0]]])
    with pytest.raises(UserError, match="like says how a model reads the data: leave"):
        Sequences([[[1.0, 2.0]]], like=trained.description, normalize=False)
    with pytest.raises(UserError, match="has 1 features, the training split 2"):
        Sequences([[[1.0], [2.0]]], like=trained.description)
    for call in (
        lambda like: Sequences([[1.0]], like=like),
        lambda like: Sequences.from_frame(pd.DataFrame(), like=like),
    ):
        with pytest.raises(UserError, match="like is a Sequences; it must be the description of a model"):
            call(trained)


def rows_of_machines() -> pd.DataFrame:
    return pd.DataFrame({"plant": [0, 0, 1, 1], "m": [0, 0, 0, 1], "x": [1.0, 2.0, 3.0, 4.0]})


@pytest.mark.parametrize("by", ["m", ["m"]])
def test_files_are_cut_by_the_column_that_named_the_sequences(by: Any, tmp_path: Path) -> None:
    rows_of_machines().to_csv(tmp_path / "own.csv", index=False)
    known = Sequences.from_frame(rows_of_machines(), by=by, columns=["x"]).description
    assert [len(x.x) for x in known.format.read(str(tmp_path / "own.csv"), known)] == [3, 1]


def test_files_that_several_columns_cut_are_no_one_sequence(tmp_path: Path) -> None:
    known = Sequences.from_frame(rows_of_machines(), by=["plant", "m"], columns=["x"]).description
    known = DataDescription.from_json(known.to_json())
    rows_of_machines().to_csv(tmp_path / "own.csv", index=False)
    said = refused(lambda: known.format.read(str(tmp_path / "own.csv"), known))
    assert "columns plant, m named the sequence of each row" in said
    rows_of_machines().assign(sequence=["a", "a", "b", "c"]).to_csv(tmp_path / "own.csv", index=False)
    assert len(known.format.read(str(tmp_path / "own.csv"), known)) == 3


@pytest.mark.parametrize("listed", [False, True])
def test_groups_may_be_tensors(listed: bool) -> None:
    groups = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    data = Sequences([[[float(i)], [2.0]] for i in range(8)], groups=list(groups) if listed else groups)  # type: ignore[arg-type]  # a tensor works too
    assert sorted(len(part) for part in data.split(0.5, 0.25, 0.25, how="group")) == [2, 2, 4]


def test_a_group_that_pandas_lacks_is_refused() -> None:
    groups = pd.array(["a", None, "b"], dtype="string")
    assert "groups has <NA> for sequence 1" in refused(lambda: Sequences(RAGGED, groups=groups))


def test_joined_sequences_are_normalized_once() -> None:
    data = Sequences(RAGGED)
    assert "normalized already" in refused(lambda: Sequences.from_dataset(data + data))


def test_inputs_are_normalized_once() -> None:
    bits = Sequences([[[0.0], [1.0]]] * 3, kind="binary", inputs=[[[5.0], [7.0]]] * 3)
    assert "normalized already" in refused(lambda: Sequences.from_dataset(Subset(bits, [0])))


def test_a_list_of_frames_is_not_read_by_position() -> None:
    a, b = pd.DataFrame({"u": [1.0], "v": [2.0]}), pd.DataFrame({"v": [2.0], "u": [1.0]})
    assert "from_frame(pd.concat(" in refused(lambda: Sequences([a, b]))
    joined = pd.concat([a, b], keys=range(2), names=["sequence"])
    assert lists(Sequences.from_frame(joined, by="sequence", normalize=False)) == [[[1.0, 2.0]]] * 2
    assert lists(Sequences([a["u"], b["v"]], normalize=False)) == [[[1.0]], [[2.0]]]


@pytest.mark.parametrize("more", [{}, {"minute": [1.5, 0.5, 4.0, 2.0]}])
def test_a_level_of_pandas_index_that_nobody_named_is_no_feature(more: dict[str, Any]) -> None:
    index = pd.MultiIndex.from_product([["a", "b"], [0, 1]], names=["machine", "minute"])
    data = Sequences.from_frame(pd.DataFrame({"speed": [1.0, 3.0, 2.0, 5.0], **more}, index=index), by="machine")
    assert data.names == ("speed", *more)
    assert "pandas' index (minute) is not a feature" in data.remark
    assert len(data) == 2


@pytest.mark.parametrize("name", ["index", "rownames", "level_0"])
@pytest.mark.parametrize(("values", "is_feature"), [([1.5, 0.2, 7.0], True), ([3, 1, 2], True), ([5, 6, 7], False)])
def test_a_column_that_is_called_like_an_index_is_one_where_it_counts(
    name: str, values: list[float], is_feature: bool
) -> None:
    data = Sequences.from_frame(pd.DataFrame({name: values, "x": [1.0, 3.0, 2.0]}))
    assert data.names == ((name, "x") if is_feature else ("x",))
    assert ("only numbers the rows" in data.remark) != is_feature


@pytest.mark.parametrize("dtype", ["object", "category"])
def test_text_for_what_is_missing_names_no_sequence(dtype: str) -> None:
    frame = pd.DataFrame({"w": pd.Series(["a", "NaN", "a"], dtype=dtype), "x": [1.0, 2.0, 3.0]})
    assert "column 'w' is missing in row 1" in refused(lambda: Sequences.from_frame(frame, by="w"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Sequences.from_frame(pa.table([pa.array([1.0])] * 2, names=["a", "a"])), "several columns 'a'"),
        (lambda: Sequences.from_frame(pd.DataFrame({"x": [1.0]}), order=["x"]), "order is a list"),  # type: ignore[arg-type]  # the mistake
        (lambda: Sequences.from_frame(pl.DataFrame({"k": [[1]], "x": [1.0]}), by="k"), "column 'k' holds List"),
        (lambda: Sequences.from_frame(pd.DataFrame({"k": [[1]], "x": [1.0]}), by="k"), "column 'k' holds Object"),
        (lambda: Sequences(RAGGED, names=5), "names is 5"),  # type: ignore[arg-type]  # the mistake
        (lambda: Sequences(RAGGED, groups=5), "groups is a int"),  # type: ignore[arg-type]  # the mistake
        (lambda: Sequences(RAGGED)[[]], "picks none of them"),
        (lambda: Sequences(pack_sequence([torch.ones(2, 1)])), "x is a PackedSequence; pad_packed_sequence"),
    ],
)
def test_plain_mistakes_are_told_in_one_line(make: Callable[[], Any], said: str) -> None:
    assert said in refused(make)


def test_a_tensor_of_one_number_picks_one_sequence() -> None:
    data = Sequences(RAGGED)
    assert np.array_equal(data[torch.tensor(2)].x, data[2].x)  # type: ignore[call-overload]  # works, unsaid
    assert len(data[torch.tensor([2])]) == 1  # type: ignore[call-overload]  # works, unsaid
