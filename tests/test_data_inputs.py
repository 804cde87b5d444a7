"""Known inputs u_t in data: each is read beside the observation of its step, from every source, and never missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from zforcing import Sequences, UserError
from zforcing.data import Arrays, InMemory, Table
from zforcing.data.fingerprint import Fingerprint
from zforcing.data.streams import load_pieces, streams
from zforcing.observations import (
    DataDescription,
    Example,
    Normalization,
    ObservationSpec,
    SequenceBatch,
    TableFormat,
    collate,
    slice_steps,
)

X = [[[1.0], [2.0]], [[3.0], [4.0], [5.0]]]
U = [[[10.0, 0.0], [20.0, 1.0]], [[30.0, 1.0], [40.0, 0.0], [50.0, 1.0]]]
FRAME = pd.DataFrame(
    {
        "machine": ["a", "b", "a", "b", "b"],
        "hour": [2, 2, 1, 3, 1],
        "speed": [2.0, 4.0, 1.0, 5.0, 3.0],
        "heat": [20.0, 40.0, 10.0, 50.0, 30.0],
        "open": [True, False, False, True, True],
    }
)
KNOWN = ["heat", "open"]


def refused(make: Callable[[], Any]) -> str:
    """What is said to be wrong."""
    with pytest.raises(UserError) as error:
        make()
    assert "\n" not in str(error.value)
    return str(error.value)


def numbers(data: Sequences) -> list[Any]:
    """The inputs as a model reads them."""
    return [None if example.inputs is None else example.inputs.tolist() for example in data]


def batch(**changes: Any) -> SequenceBatch:
    u = torch.arange(12.0).reshape(2, 3, 2) + 1
    given = {"x": torch.ones(2, 3, 1), "lengths": torch.tensor([3, 2]), "start": torch.zeros(2, 1), "inputs": u}
    return SequenceBatch(**given | changes)


# ---- batches


def test_the_padding_of_inputs_is_zero() -> None:
    u = batch(inputs=torch.full((2, 3, 2), torch.nan)).inputs
    assert u is not None
    assert u[1, 2].tolist() == [0, 0]
    assert u[:, :2].isnan().all()


def test_a_batch_is_repeated_moved_and_cut_with_its_inputs() -> None:
    whole = batch()
    twice = whole.repeat(2)
    assert twice.inputs is not None
    assert whole.inputs is not None
    assert torch.equal(twice.inputs, torch.cat([whole.inputs, whole.inputs]))
    double = whole.to("cpu", torch.float64).inputs
    assert double is not None
    assert double.dtype == torch.float64
    part, rows = slice_steps(whole, 2, 3)
    assert part.inputs is not None
    assert rows.tolist() == [True, False]
    assert torch.equal(part.inputs, whole.inputs[:1, 2:])


@pytest.mark.parametrize(
    "inputs", [torch.zeros(2, 3), torch.zeros(2, 4, 1), torch.zeros(3, 3, 1), torch.zeros(2, 3, 1, dtype=torch.int64)]
)
def test_inputs_of_another_shape_or_type_are_refused(inputs: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"inputs is .* it must be float \[2, 3, U\]"):
        batch(inputs=inputs)


@pytest.mark.parametrize("inputs", [-1, 1.0, True])
def test_a_spec_has_a_whole_number_of_inputs(inputs: Any) -> None:
    assert "inputs is" in refused(lambda: ObservationSpec("real", 1, inputs=inputs))


def test_inputs_stay_beside_the_observations_of_their_step() -> None:
    """Of a first observation that is conditioned on nothing is emitted, so that its inputs are dropped."""
    x, u = np.arange(3, dtype=np.float32)[:, None], np.array([[10], [11], [12]], np.float32)
    scored = collate([Example(x, inputs=u)], ObservationSpec("real", 1, inputs=1))
    assert scored.inputs is not None
    assert (scored.inputs - scored.x).tolist() == [[[10], [10], [10]]]
    conditioned = collate([Example(x, inputs=u)], ObservationSpec("real", 1, "conditioned", inputs=1))
    assert conditioned.inputs is not None
    assert conditioned.inputs.tolist() == [[[11], [12]]]
    assert (conditioned.inputs - conditioned.x).tolist() == [[[10], [10]]]


@pytest.mark.parametrize(
    ("size", "inputs"), [(1, None), (0, np.zeros((2, 1))), (2, np.zeros((2, 1))), (1, np.zeros((3, 1)))]
)
def test_a_sequence_whose_inputs_do_not_fit_is_refused(size: int, inputs: Any) -> None:
    example = Example(np.zeros((2, 1), np.float32), inputs=inputs)
    assert "inputs" in refused(lambda: collate([example], ObservationSpec("real", 1, inputs=size)))


@pytest.mark.parametrize("conditioned", [False, True])
def test_chunks_of_a_stream_have_the_inputs_of_their_steps(conditioned: bool) -> None:
    spec = ObservationSpec("real", 1, "conditioned" if conditioned else "scored", inputs=1)
    steps = [np.arange(n, dtype=np.float32)[:, None] + 100 * i for i, n in enumerate([5, 8])]
    data = InMemory([Example(x, inputs=x + 1000) for x in steps])
    plan = streams(data.lengths - conditioned, 2, 3, seed=0, epoch=0)
    for piece in load_pieces(data, plan, spec, look_ahead=1):
        assert piece.inputs is not None
        assert (piece.inputs - piece.x)[piece.mask].unique().tolist() == [1000]


def test_the_fingerprint_is_of_the_inputs_too() -> None:
    def digits(*inputs: Any) -> str:
        return InMemory([Example(np.zeros((2, 1)), inputs=u) for u in inputs]).fingerprint()

    one, other = np.zeros((2, 1)), np.ones((2, 1))
    assert len({digits(None), digits(one), digits(other), digits(np.zeros((2, 2)))}) == 4
    given = {0: Example(np.zeros((2, 1)), inputs=one), 1: Example(np.zeros((2, 1)), inputs=other)}
    late = Fingerprint(np.array([2, 2]))
    late.add(1, given[1])
    assert late.digits(given.__getitem__) == digits(one, other)


# ---- in memory


@pytest.mark.parametrize(
    ("x", "u", "options"),
    [
        (X, U, {}),
        ([np.array(v) for v in X], [torch.tensor(v) for v in U], {}),
        (
            np.array([[[1], [2], [9]], [[3], [4], [5]]]),
            np.array([[[10, 0], [20, 1], [9, 9]], U[1]]),
            {"lengths": [2, 3]},
        ),
    ],
)
def test_inputs_are_given_in_the_form_of_x(x: Any, u: Any, options: Any) -> None:
    data = Sequences(x, inputs=u, normalize=False, **options)
    assert data.description.spec.inputs == 2
    assert numbers(data) == U
    assert [v.tolist() for v in data.to_arrays()] == X


def test_one_input_a_step_needs_no_axis_of_its_own() -> None:
    assert numbers(Sequences(X, inputs=[[1, 2], [3, 4, 5]], normalize=False)) == [[[1], [2]], [[3], [4], [5]]]


def test_inputs_are_normalized_by_the_training_split_in_all_splits() -> None:
    x = [[[float(i)]] * 3 for i in range(10)]
    u = [[[float(i) ** 2], [1.0], [0.0]] for i in range(10)]
    train, valid, test = Sequences(x, inputs=u, input_names=["heat"]).split(0.6, 0.2, 0.2, seed=1)
    ids = train.ids
    rows = np.concatenate([np.array(u[i]) for i in ids])
    scaling = train.description.input_normalization
    assert scaling is not None
    assert scaling.mean == pytest.approx([rows.mean()], rel=1e-12)
    assert scaling.std == pytest.approx([rows.std()], rel=1e-12)
    for part in (train, valid, test):
        assert part.description == train.description
        for number, example in zip(part.ids, part, strict=True):
            assert example.inputs is not None
            np.testing.assert_allclose(example.inputs, (np.array(u[number]) - rows.mean()) / rows.std(), rtol=1e-6)


@pytest.mark.parametrize("kind", ["binary", "categorical"])
def test_inputs_of_other_kinds_of_observation_are_normalized_too(kind: Any) -> None:
    data = Sequences([[0, 1, 1]], kind=kind, inputs=[[1.0, 2.0, 3.0]])
    assert data.description.normalization is None
    assert data.description.input_normalization == Normalization((2.0,), (np.std([1, 2, 3]),))
    assert numbers(Sequences([[0, 1, 1]], kind=kind, inputs=[[1, 2, 3]], normalize=False)) == [[[1], [2], [3]]]


def test_splits_by_time_and_windows_are_cut_with_their_inputs() -> None:
    x = np.arange(20.0)[None, :, None]
    data = Sequences(x, inputs=x + 100, normalize=False)
    for part in (*data.split(0.5, 0.25, 0.25, how="time"), data.windows(6, 4)):
        for example in part:
            assert example.inputs is not None
            np.testing.assert_array_equal(example.inputs, example.x + 100)


def test_what_sequences_hold_is_shown() -> None:
    data = Sequences(X, inputs=U, input_names=KNOWN)
    assert repr(data) == "Sequences(real, N=2, T=2..3, D=1, 0% missing, 2 inputs (heat, open))"
    assert data.input_names == ("heat", "open")
    assert "1 inputs" in repr(Sequences(X, inputs=[[1, 2], [3, 4, 5]]))


def test_an_input_that_hardly_varies_is_told_of() -> None:
    data = Sequences(X, inputs=[[1e9, 1e9], [1e9, 1e9, 1e9 + 1]])
    assert "input 0 (counted from 0) hardly varies" in data.remark


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        (U[:1], {}, "inputs has 1 sequences, x 2"),
        ([U[0], U[1][:2]], {}, "inputs of sequence 1 has 2 steps, the sequence 3"),
        ([U[0], [[1.0]] * 3], {}, "inputs of sequence 1 has 1 numbers per step"),
        ([U[0], [[30, 1], [np.nan, 0], [50, 1]]], {}, "nan at sequence 1, step 1, input 0"),
        ([U[0], [[30, 1], [None, 0], [50, 1]]], {"input_names": KNOWN}, "nan at sequence 1, step 1, column 'heat'"),
        ([U[0], [[30, 1], [40, np.inf], [50, 1]]], {}, "inf at sequence 1, step 1, input 1"),
        ([U[0], [["a", 1], ["b", 0], ["c", 1]]], {}, "inputs of sequence 1 holds"),
        ([np.ma.masked_less(U[0], 1), U[1]], {}, "inputs of sequence 0 has masked entries"),
        (pd.DataFrame(), {}, "inputs is a DataFrame"),
        (U, {"input_names": ["one"]}, "input_names has 1 names, a step 2 numbers"),
        (None, {"input_names": ["one"]}, "input_names names inputs, but there are none"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: Any, options: Any, said: str) -> None:
    assert said in refused(lambda: Sequences(X, inputs=inputs, **options))


def test_a_model_reads_the_inputs_that_it_was_trained_on() -> None:
    trained = Sequences(X, inputs=U, input_names=KNOWN).description
    assert numbers(Sequences(X, inputs=U).described_as(trained)) == numbers(Sequences(X, inputs=U, input_names=KNOWN))
    assert "has 0 inputs, the training split 2" in refused(lambda: Sequences(X).described_as(trained))
    other = Sequences(X, inputs=U, input_names=["open", "heat"])
    assert "the inputs are open, heat" in refused(lambda: other.described_as(trained))


def test_items_of_a_torch_data_set_may_have_inputs() -> None:
    class Items(torch.utils.data.Dataset[Any]):
        def __init__(self, items: list[Any]):
            self.items = items

        def __len__(self) -> int:
            return len(self.items)

        def __getitem__(self, index: int) -> Any:
            return self.items[index]

    named = Items([{"x": x, "u": u} for x, u in zip(X, U, strict=True)])
    assert numbers(Sequences.from_dataset(named, inputs="u", normalize=False)) == U
    examples = Items([Example(np.array(x), inputs=np.array(u)) for x, u in zip(X, U, strict=True)])
    assert numbers(Sequences.from_dataset(examples, normalize=False)) == U
    mixed = Items([{"x": X[0], "inputs": U[0]}, {"x": X[1]}])
    assert "item 1 has no inputs, others have" in refused(lambda: Sequences.from_dataset(mixed))


# ---- data frames


@pytest.mark.parametrize("make", [pd.DataFrame, lambda f: pl.DataFrame(f.to_dict("list"))])
def test_columns_of_a_frame_are_inputs(make: Callable[[pd.DataFrame], Any]) -> None:
    data = Sequences.from_frame(make(FRAME), by="machine", order="hour", inputs=KNOWN, normalize=False)
    assert data.names == ("speed",)
    assert data.input_names == ("heat", "open")
    assert [v.tolist() for v in data.to_arrays()] == X
    assert numbers(data) == U


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"inputs": "heat"}, "inputs is 'heat'; it must be a list: ['heat']"),
        ({"inputs": ["cold"]}, "there is no column 'cold' for inputs"),
        ({"inputs": ["heat", "heat"]}, "inputs has 'heat'"),
        ({"inputs": ["heat"], "columns": ["speed", "heat"]}, "inputs has 'heat'"),
        ({"inputs": ["machine"]}, "inputs has 'machine'"),
        ({"inputs": ["name"]}, "no numbers in 'name'"),
        ({"inputs": ["gap"]}, "nan at sequence 'b', step 1, column 'gap'"),
        ({"inputs": ["heat"], "gaps": "fill", "columns": ["speed"]}, "gaps 'fill' adds 1 steps, whose inputs"),
    ],
)
def test_columns_that_cannot_be_inputs_are_refused(options: Any, said: str) -> None:
    frame = FRAME.assign(name="x", gap=[1, None, 2, 3, 4])
    frame.loc[3, "hour"] = 4
    given = {"by": "machine", "order": "hour", "columns": ["speed"], **options}
    assert said in refused(lambda: Sequences.from_frame(frame, **given))


def test_gaps_are_split_with_their_inputs() -> None:
    frame = pd.DataFrame({"t": [1, 2, 3, 9, 10], "x": [3, 1, 4, 1, 5], "u": range(10, 15)})
    data = Sequences.from_frame(frame, order="t", columns=["x"], inputs=["u"], gaps="split", normalize=False)
    assert numbers(data) == [[[10], [11], [12]], [[13], [14]]]


# ---- files


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The sequences of FRAME as .csv, .parquet and .npz."""
    table = FRAME.sort_values(["machine", "hour"])
    table.assign(open=table.open.astype(int)).to_csv(tmp_path / "x.csv", index=False)
    table.to_parquet(tmp_path / "x.parquet")
    names = table.machine.to_numpy().astype("U")
    np.savez(tmp_path / "x.npz", x=table[["speed"]], u=table[KNOWN].astype(float), machine=names)
    return tmp_path


def load_all(data: Arrays | Table) -> list[Any]:
    """The inputs of all sequences, of the training split and the test split."""
    description = data.describe()
    return [example.inputs.tolist() for split in ("train", "test") for example in data.load(split, description)]


@pytest.mark.parametrize("ending", ["csv", "parquet", "npz"])
def test_files_have_the_inputs_of_the_frame(files: Path, ending: str) -> None:
    path = str(files / f"x.{ending}")
    own: Any = {"valid_path": path, "test_path": path, "sequence": "machine"}
    own |= {"inputs": "u"} if ending == "npz" else {"inputs": KNOWN, "columns": ["speed"]}
    kind: Any = Arrays if ending == "npz" else Table
    assert load_all(kind(path, normalize=False, **own)) == U + U
    frame = Sequences.from_frame(FRAME, by="machine", order="hour", columns=["speed"], inputs=KNOWN)
    assert load_all(kind(path, **own)) == numbers(frame) * 2


@pytest.mark.parametrize(
    ("u", "lengths", "expected"),
    [
        (np.arange(12.0).reshape(2, 3, 2), [3, 2], [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9]]]),
        (np.arange(6.0).reshape(2, 3), [3, 2], [[[0], [1], [2]], [[3], [4]]]),
    ],
)
def test_arrays_of_inputs_are_padded_as_the_observations(tmp_path: Path, u: Any, lengths: Any, expected: Any) -> None:
    path = str(tmp_path / "x.npz")
    np.savez(path, x=np.zeros((2, 3, 1)), lengths=lengths, control=u)
    data = Arrays(path, inputs="control", valid_path=path, test_path=path, normalize=False)
    assert load_all(data) == expected * 2


def test_an_array_that_is_not_named_is_no_input(files: Path) -> None:
    path = str(files / "x.npz")
    data = Arrays(path, valid_path=path, test_path=path, sequence="machine")
    assert data.describe().spec.inputs == 0


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda f: Table(f"{f}/x.csv", inputs=["cold"]), "has no column 'cold'"),
        (lambda f: Table(f"{f}/x.csv", inputs=["heat", "heat"], columns=["speed"]), "data.inputs has 'heat'"),
        (lambda f: Table(f"{f}/x.csv", inputs=["heat"], columns=["heat"]), "data.inputs has 'heat'"),
        (lambda f: Table(f"{f}/x.csv", inputs=["hour"], sequence="hour"), "data.inputs has 'hour'"),
        (lambda f: Arrays(f"{f}/x.npz", inputs="v", sequence="machine"), "has no array 'v'"),
        (lambda f: Arrays(f"{f}/x.npz", inputs="machine", sequence="machine"), "'machine' holds <U1"),
        (lambda f: Arrays(f"{f}/y.npz", inputs="u"), "array 'u' is float64 [2, 4]; it must be [2, 3]"),
        (lambda f: Arrays(f"{f}/y.npz", inputs="gap"), "nan at sequence 1, step 2, input 0"),
        (lambda f: Arrays(f"{f}/x.npy", inputs="u"), "data.inputs is 'u', but an .npy file is one array"),
    ],
)
def test_a_file_whose_inputs_do_not_fit_is_refused(files: Path, data: Callable[[Path], Any], said: str) -> None:
    gap = np.zeros((2, 3))
    gap[1, 2] = np.nan
    np.savez(files / "y.npz", x=np.zeros((2, 3, 1)), u=np.zeros((2, 4)), gap=gap)
    np.save(files / "x.npy", np.zeros((2, 3, 1)))
    assert said in refused(lambda: data(files).describe())


# ---- what a model keeps


def test_a_description_comes_back_from_json_and_old_ones_have_no_inputs() -> None:
    description = Sequences(X, inputs=U, input_names=KNOWN).description
    values = json.loads(json.dumps(description.to_json()))
    assert DataDescription.from_json(values) == description
    old = Sequences(X).description
    values = json.loads(json.dumps(old.to_json()))
    del values["input_normalization"], values["spec"]["inputs"]
    del values["format"]["inputs"], values["format"]["input_names"]
    assert DataDescription.from_json(values) == old


def test_a_description_whose_inputs_do_not_fit_is_refused() -> None:
    values = Sequences(X, inputs=U, input_names=KNOWN).description.to_json()
    values["spec"]["inputs"] = 1
    said = refused(lambda: DataDescription.from_json(values))
    assert "data.input_normalization has 2 means for 1 inputs" in said
    assert "data.format.input_names has 2 names for 1 inputs" in said


@pytest.mark.parametrize("ending", ["csv", "parquet", "npz"])
def test_a_model_reads_its_inputs_from_files(files: Path, ending: str) -> None:
    data = Sequences.from_frame(FRAME, by="machine", order="hour", columns=["speed"], inputs=KNOWN)
    path = str(files / f"x.{ending}")
    kept = data.description
    if ending == "npz":
        kept = Arrays(path, inputs="u", sequence="machine", valid_path=path, test_path=path).describe()
    examples = kept.format.read(path, kept)
    assert [example.inputs.tolist() for example in examples if example.inputs is not None] == numbers(data)


def test_a_file_without_the_inputs_that_a_model_reads_is_refused(tmp_path: Path, files: Path) -> None:
    known = Sequences(X, inputs=U, names=["speed"], input_names=["cold", "open"]).description
    csv = str(files / "x.csv")
    assert "has no column cold, which the model reads" in refused(lambda: known.format.read(csv, known))
    nameless = Sequences(X, inputs=U).description
    assert "give it an .npz with an array 'inputs'" in refused(lambda: nameless.format.read(csv, nameless))
    np.save(tmp_path / "y.npy", np.zeros((2, 3, 1)))
    npy = str(tmp_path / "y.npy")
    assert "has 0 inputs, the training split 2" in refused(lambda: known.format.read(npy, known))
    assert isinstance(known.format, TableFormat)
