"""People's own files: each layout gives the sequences that were written, and each mistake one line that mends it."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zforcing.data import Arrays, Sequences, Split, Table
from zforcing.data.arrays.dataset import FileDataModule
from zforcing.errors import UserError
from zforcing.observations import DataDescription, Normalization, ObservationSpec

RAGGED = [[[1.0, 10.0], [2.0, 20.0]], [[3.0, 30.0]], [[4.0, 40.0], [5.0, 50.0], [6.0, 60.0]]]
PADDED = np.array([[[1, 10], [2, 20], [0, 0]], [[3, 30], [0, 0], [0, 0]], [[4, 40], [5, 50], [6, 60]]], dtype=float)
FLAT = np.array([[1, 10], [2, 20], [3, 30], [4, 40], [5, 50], [6, 60]], dtype=float)
LENGTHS = np.array([2, 1, 3])
NAMES = np.array(["b", "b", "c", "a", "a", "a"])
CSV = "who,u,v\nb,1,10\nb,2,20\nc,3,30\na,4,40\na,5,50\na,6,60\n"
FAULTS = Path(__file__).parent / "data" / "faults"
UNITS = np.arange(20.0)[:, None, None] * np.ones((20, 4, 1))  # 20 sequences: all of sequence n is n


def npz(tmp_path: Path, name: str = "x.npz", **arrays: Any) -> Path:
    np.savez(tmp_path / name, **arrays)
    return tmp_path / name


def npy(tmp_path: Path, array: Any, name: str = "x.npy") -> Path:
    np.save(tmp_path / name, array)
    return tmp_path / name


def text(tmp_path: Path, content: str | bytes, name: str = "x.csv") -> Path:
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def parquet(tmp_path: Path, columns: dict[str, Any], name: str = "x.parquet") -> Path:
    pq.write_table(pa.table(columns), tmp_path / name)
    return tmp_path / name


def data_of(path: str, **settings: Any) -> FileDataModule:
    """The data set that reads such a file."""
    return (Table if path.endswith((".csv", ".parquet")) else Arrays)(path, **settings)


def whole(file: Path, **settings: Any) -> FileDataModule:
    """All of a file as the training split, in its own units."""
    defaults = {"valid_path": str(file), "test_path": str(file)} | {"normalize": False}
    return data_of(str(file), **(defaults | settings))


def loaded(data: FileDataModule, split: Split = "train") -> Sequences:
    return data.load(split, data.describe())


def sequences(data: FileDataModule, split: Split = "train") -> list[Any]:
    """x of every sequence, as lists."""
    return [e.x.tolist() for e in loaded(data, split)]


def gaps(data: FileDataModule) -> list[Any]:
    """observed of every sequence, as lists."""
    return [e.observed if e.observed is None else e.observed.tolist() for e in loaded(data)]


# ---- layouts


def test_an_array_of_rank_3_is_sequences_of_vectors(tmp_path: Path) -> None:
    assert sequences(whole(npz(tmp_path, x=PADDED))) == PADDED.tolist()


def test_real_data_of_rank_2_has_one_feature(tmp_path: Path) -> None:
    assert sequences(whole(npz(tmp_path, x=np.array([[1, 2], [3, 4]])))) == [[[1], [2]], [[3], [4]]]


def test_categories_of_rank_2_are_one_integer_per_step(tmp_path: Path) -> None:
    data = loaded(whole(npz(tmp_path, x=np.array([[1, 0], [3, 4]])), kind="categorical"))
    assert [e.x.tolist() for e in data] == [[1, 0], [3, 4]]
    assert data[0].x.dtype == np.int64


def test_lengths_cut_padded_sequences(tmp_path: Path) -> None:
    assert sequences(whole(npz(tmp_path, x=PADDED, lengths=LENGTHS))) == RAGGED


def test_nothing_is_asked_of_the_padding(tmp_path: Path) -> None:
    x = np.where(PADDED == 0, np.nan, PADDED)
    x[0, 2] = np.inf
    assert sequences(whole(npz(tmp_path, x=x, lengths=LENGTHS))) == RAGGED


def test_lengths_cut_padded_categories(tmp_path: Path) -> None:
    file = npz(tmp_path, x=np.array([[1, 2, -1], [3, -1, -1]]), lengths=np.array([2, 1]))
    assert sequences(whole(file, kind="categorical")) == [[1, 2], [3]]


def test_lengths_that_sum_to_the_rows_cut_concatenated_sequences(tmp_path: Path) -> None:
    assert sequences(whole(npz(tmp_path, x=FLAT, lengths=LENGTHS))) == RAGGED


def test_lengths_cut_concatenated_numbers(tmp_path: Path) -> None:
    assert sequences(whole(npz(tmp_path, x=np.arange(3), lengths=np.array([2, 1])))) == [[[0], [1]], [[2]]]


def test_lengths_cut_concatenated_categories(tmp_path: Path) -> None:
    file = npz(tmp_path, x=np.arange(3), lengths=np.array([2, 1]))
    assert sequences(whole(file, kind="categorical")) == [[0, 1], [2]]


def test_lengths_may_be_small_unsigned_integers(tmp_path: Path) -> None:
    lengths = np.full(100, 200, dtype=np.uint8)  # their sum doesn't fit into one
    assert len(loaded(whole(npz(tmp_path, x=np.zeros(20_000), lengths=lengths)))) == 100


@pytest.mark.parametrize("names", [NAMES, np.array([7, 7, 9, 1, 1, 1]), np.array([0.5, 0.5, 2, 1, 1, 1])])
def test_names_group_flat_rows_in_the_order_of_first_appearance(tmp_path: Path, names: np.ndarray) -> None:
    assert sequences(whole(npz(tmp_path, x=FLAT, who=names), sequence="who")) == RAGGED


def test_rows_of_a_sequence_may_stand_anywhere_and_keep_their_order(tmp_path: Path) -> None:
    order = [3, 0, 4, 2, 1, 5]  # a b a c b a
    file = npz(tmp_path, x=FLAT[order], who=NAMES[order])
    assert sequences(whole(file, sequence="who")) == [RAGGED[2], RAGGED[0], RAGGED[1]]


def test_names_group_flat_categories(tmp_path: Path) -> None:
    file = npz(tmp_path, x=np.arange(6), who=NAMES)
    assert sequences(whole(file, sequence="who", kind="categorical")) == [[0, 1], [2], [3, 4, 5]]


def test_names_come_before_lengths(tmp_path: Path) -> None:
    file = npz(tmp_path, x=FLAT, who=NAMES, lengths=np.array([6]))
    assert sequences(whole(file, sequence="who")) == RAGGED


def test_the_settings_name_the_arrays(tmp_path: Path) -> None:
    file = npz(tmp_path, y=PADDED, n=LENGTHS, seen=PADDED != 20, x=np.zeros(3))
    data = whole(file, array="y", lengths="n", observed="seen")
    assert sequences(data) == [[[1, 10], [2, 0]], RAGGED[1], RAGGED[2]]


@pytest.mark.parametrize(("array", "first"), [(PADDED, PADDED[0].tolist()), (PADDED[:, :, 0], [[1], [2], [0]])])
def test_an_npy_file_holds_sequences_of_equal_length(tmp_path: Path, array: np.ndarray, first: list[Any]) -> None:
    assert sequences(whole(npy(tmp_path, array)))[0] == first


def test_a_csv_file_is_one_sequence(tmp_path: Path) -> None:
    assert sequences(whole(text(tmp_path, "u,v\n1,10\n2,20\n"))) == [[[1, 10], [2, 20]]]


def test_a_csv_column_names_the_sequences(tmp_path: Path) -> None:
    assert sequences(whole(text(tmp_path, CSV), sequence="who")) == RAGGED


def test_csv_rows_of_a_sequence_may_stand_in_different_chunks(tmp_path: Path) -> None:
    lines = "".join(f"{i % 2},{i}\n" for i in range(2000))
    even, odd = sequences(whole(text(tmp_path, "who,u\n" + lines), sequence="who"))
    assert even == [[i] for i in range(0, 2000, 2)]
    assert odd == [[i] for i in range(1, 2000, 2)]


def test_columns_picks_the_features_and_their_order(tmp_path: Path) -> None:
    data = whole(text(tmp_path, CSV), sequence="who", columns=["v", "u"])
    assert sequences(data)[1] == [[30, 3]]


def test_a_column_of_text_may_be_left_out(tmp_path: Path) -> None:
    assert sequences(whole(text(tmp_path, CSV), columns=["u"])) == [[[1], [2], [3], [4], [5], [6]]]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + CSV.encode(),
        CSV.replace("\n", "\r\n"),
        CSV + "\n\n",
        CSV.replace("who", '"who"').replace("30", '"30"'),
        CSV.replace(",", ", "),
        CSV.removesuffix("\n"),
    ],
    ids=["byte order mark", "CRLF", "blank lines at the end", "quotes", "spaces", "no last line break"],
)
def test_a_csv_file_may_be_written_in_other_ways(tmp_path: Path, content: str | bytes) -> None:
    assert sequences(whole(text(tmp_path, content), sequence="who")) == RAGGED


@pytest.mark.parametrize("who", [NAMES.tolist(), [7, 7, 9, 1, 1, 1], pa.array(NAMES).dictionary_encode()])
def test_a_parquet_column_names_the_sequences(tmp_path: Path, who: Any) -> None:
    file = parquet(tmp_path, {"u": FLAT[:, 0], "who": who, "v": FLAT[:, 1].astype(np.int32)})
    assert sequences(whole(file, sequence="who")) == RAGGED


def test_a_parquet_file_is_one_sequence(tmp_path: Path) -> None:
    file = parquet(tmp_path, {"u": [True, False], "v": np.array([1, 2], dtype=np.float32)})
    assert sequences(whole(file)) == [[[1, 1], [0, 2]]]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float64", ">f4"])
@pytest.mark.parametrize("kind", ["real", "binary", "categorical"])
def test_zeros_and_ones_are_read_from_every_type_of_number(tmp_path: Path, dtype: str, kind: str) -> None:
    x = np.array([[0, 1], [1, 1]]).astype(dtype)
    data = loaded(whole(npz(tmp_path, x=x), kind=kind))
    assert [e.x.reshape(-1).tolist() for e in data] == [[0, 1], [1, 1]]


def test_the_order_of_an_array_in_memory_does_not_matter(tmp_path: Path) -> None:
    assert sequences(whole(npz(tmp_path, x=np.asfortranarray(PADDED), lengths=LENGTHS))) == RAGGED


def test_observations_are_float32(tmp_path: Path) -> None:
    for kind in ("real", "binary"):
        assert loaded(whole(npz(tmp_path, x=np.ones((2, 2))), kind=kind))[0].x.dtype == np.float32


# ---- missing values


def test_nan_is_a_missing_value_where_that_is_allowed(tmp_path: Path) -> None:
    data = whole(npz(tmp_path, x=np.array([[1, np.nan], [3, 4]])), missing="allow")
    assert sequences(data) == [[[1], [0]], [[3], [4]]]
    assert gaps(data) == [[[True], [False]], [[True], [True]]]


def test_nothing_is_missing_where_it_is_only_allowed(tmp_path: Path) -> None:
    assert gaps(whole(npz(tmp_path, x=PADDED), missing="allow")) == [None] * 3


def test_an_array_says_what_was_observed(tmp_path: Path) -> None:
    seen = np.array([[True, False], [True, True]])
    data = whole(npz(tmp_path, x=np.array([[1, np.nan], [3, 4]]), observed=seen))
    assert sequences(data) == [[[1], [0]], [[3], [4]]]
    assert gaps(data) == [[[True], [False]], [[True], [True]]]


def test_observed_is_cut_as_the_sequences_are(tmp_path: Path) -> None:
    data = whole(npz(tmp_path, x=PADDED, lengths=LENGTHS, observed=PADDED != 20))
    assert gaps(data) == [[[True, True], [True, False]], [[True, True]], [[True, True]] * 3]


def test_observed_is_grouped_as_the_rows_are(tmp_path: Path) -> None:
    file = npz(tmp_path, x=FLAT[::-1], who=NAMES[::-1], observed=FLAT[::-1] != 20)
    assert gaps(whole(file, sequence="who")) == [[[True, True]] * 3, [[True, True]], [[True, False], [True, True]]]


def test_nan_and_observed_add_up_where_both_are_allowed(tmp_path: Path) -> None:
    file = npz(tmp_path, x=np.array([[1, np.nan, 3]]), observed=np.array([[False, True, True]]))
    assert gaps(whole(file, missing="allow")) == [[[False], [False], [True]]]


def test_a_category_that_is_not_observed_may_be_anything(tmp_path: Path) -> None:
    data = whole(npz(tmp_path, x=np.array([[1, -1]]), observed=np.array([[True, False]])), kind="categorical")
    assert sequences(data) == [[1, 0]]
    assert gaps(data) == [[True, False]]


def test_an_empty_csv_cell_is_missing(tmp_path: Path) -> None:
    data = whole(text(tmp_path, "u,v\n1, \n2,20\n"), missing="allow")
    assert sequences(data) == [[[1, 0], [2, 20]]]
    assert gaps(data) == [[[True, False], [True, True]]]


@pytest.mark.parametrize("values", [[1, None], [1.0, None], pa.array([1.0, None], pa.float32()), [True, None]])
def test_a_parquet_null_is_missing(tmp_path: Path, values: Any) -> None:
    data = whole(parquet(tmp_path, {"u": values}), missing="allow")
    assert sequences(data) == [[[1], [0]]]
    assert gaps(data) == [[[True], [False]]]


# ---- scaling


def test_real_data_is_scaled_by_the_training_split(tmp_path: Path) -> None:
    train = npz(tmp_path, "train.npz", x=np.array([[1.0, 3.0]]))
    test = npz(tmp_path, "test.npz", x=np.array([[4.0, 0.0]]))
    data = Arrays(str(train), str(test), str(test))
    assert data.describe().normalization == Normalization((2.0,), (1.0,))
    assert sequences(data, "test") == [[[2], [-2]]]


def test_missing_numbers_have_no_part_in_the_scaling_and_stay_zero(tmp_path: Path) -> None:
    data = whole(npz(tmp_path, x=np.array([[1.0, np.nan, 3.0]])), missing="allow", normalize=True)
    assert data.describe().normalization == Normalization((2.0,), (1.0,))
    assert sequences(data) == [[[-1], [0], [1]]]


def test_padding_has_no_part_in_the_scaling(tmp_path: Path) -> None:
    file = npz(tmp_path, x=np.array([[1.0, 3.0], [2.0, 999.0]]), lengths=np.array([2, 1]))
    scaling = whole(file, normalize=True).describe().normalization
    assert scaling is not None
    assert scaling.mean == (2.0,)


def test_loading_scales_as_the_description_says(tmp_path: Path) -> None:
    data = whole(npz(tmp_path, x=np.array([[1.0, 3.0]])), normalize=True)
    trained = replace(data.describe(), normalization=Normalization((1.0,), (4.0,)))
    assert data.load("train", trained)[0].x.tolist() == [[0], [0.5]]


def test_large_numbers_keep_their_differences(tmp_path: Path) -> None:
    # float32 can't tell these two apart.
    data = whole(npz(tmp_path, x=np.array([[1_700_000_000, 1_700_000_002]])), normalize=True)
    assert sequences(data) == [[[-1], [1]]]


@pytest.mark.parametrize("kind", ["binary", "categorical"])
def test_only_real_data_is_scaled(tmp_path: Path, kind: str) -> None:
    assert whole(npz(tmp_path, x=np.array([[0, 1]])), kind=kind, normalize=True).describe().normalization is None


# ---- description


def test_the_description_says_kind_size_and_protocol(tmp_path: Path) -> None:
    data = whole(npz(tmp_path, x=PADDED, lengths=LENGTHS + 1 - (LENGTHS == 3)), first_observation="conditioned")
    assert data.describe() == DataDescription("arrays", ObservationSpec("real", 2, "conditioned"), longest=2)


def test_the_longest_sequence_counts_every_scored_step(tmp_path: Path) -> None:
    assert whole(npz(tmp_path, x=PADDED, lengths=LENGTHS)).describe().longest == 3


def test_categories_are_as_many_as_the_training_split_shows(tmp_path: Path) -> None:
    train = npz(tmp_path, "train.npz", x=np.array([[0, 4]]))
    test = npz(tmp_path, "test.npz", x=np.array([[7, 0]]))
    assert Arrays(str(train), str(test), str(test), kind="categorical").describe().spec.size == 5


def test_categories_may_be_more_than_the_training_split_shows(tmp_path: Path) -> None:
    train = npz(tmp_path, "train.npz", x=np.array([[0, 4]]))
    test = npz(tmp_path, "test.npz", x=np.array([[7, 0]]))
    data = Arrays(str(train), str(test), str(test), kind="categorical", categories=8)
    assert data.describe().spec.size == 8
    assert sequences(data, "test") == [[7, 0]]


@pytest.mark.parametrize(
    ("x", "settings", "size"),
    [
        (np.array([[0, 100_000]]), {}, 100_001),
        (np.full((1, 20_000), 200_000), {}, 200_001),
        (np.array([[0, 10**12]]), {"categories": 10**12 + 1}, 10**12 + 1),
    ],
    ids=["not that many", "a tenth of an observation each", "as was asked for"],
)
def test_many_categories_are_believed_where_they_may_be_meant(
    tmp_path: Path, x: np.ndarray, settings: dict[str, Any], size: int
) -> None:
    assert whole(npz(tmp_path, x=x), kind="categorical", **settings).describe().spec.size == size


# ---- splits


def members(data: FileDataModule, split: Split) -> list[int]:
    """Which sequences of UNITS are in a split, by their values."""
    return [int(x[0][0]) for x in sequences(data, split)]


def test_every_sequence_is_in_one_split(tmp_path: Path) -> None:
    data = Arrays(str(npz(tmp_path, x=UNITS)), normalize=False)
    assert sorted(members(data, "train") + members(data, "valid") + members(data, "test")) == list(range(20))


def test_the_fractions_are_shares_of_all_sequences(tmp_path: Path) -> None:
    data = Arrays(str(npz(tmp_path, x=UNITS)), valid_fraction=0.2, test_fraction=0.35)
    assert [len(loaded(data, split)) for split in ("train", "valid", "test")] == [9, 4, 7]


def test_three_sequences_make_three_splits(tmp_path: Path) -> None:
    data = Arrays(str(npz(tmp_path, x=UNITS[:3])), normalize=False)
    assert [len(loaded(data, split)) for split in ("train", "valid", "test")] == [1, 1, 1]


def test_sequences_of_a_split_keep_the_order_of_the_file(tmp_path: Path) -> None:
    train = members(Arrays(str(npz(tmp_path, x=UNITS)), normalize=False), "train")
    assert train == sorted(train)


def test_the_description_depends_on_training_sequences_alone(tmp_path: Path) -> None:
    file = npz(tmp_path, x=UNITS)
    scaling = Arrays(str(file)).describe().normalization
    assert scaling is not None
    assert scaling.mean == (pytest.approx(np.mean(members(Arrays(str(file), normalize=False), "train"))),)


def test_the_longest_and_the_categories_depend_on_training_sequences_alone(tmp_path: Path) -> None:
    held_out = members(Arrays(str(npz(tmp_path, x=UNITS)), normalize=False), "test")
    x, lengths = np.ones((20, 9), dtype=int), np.full(20, 4)
    x[held_out], lengths[held_out] = 6, 9
    description = Arrays(str(npz(tmp_path, x=x, lengths=lengths)), kind="categorical").describe()
    assert (description.spec.size, description.longest) == (2, 4)


def test_only_the_test_split_is_taken_where_validation_has_a_file(tmp_path: Path) -> None:
    train, valid = npz(tmp_path, x=UNITS), npz(tmp_path, "valid.npz", x=UNITS[:5] + 100)
    data = Arrays(str(train), valid_path=str(valid), normalize=False)
    assert members(data, "valid") == [100, 101, 102, 103, 104]
    assert sorted(members(data, "train") + members(data, "test")) == list(range(20))


def test_only_the_validation_split_is_taken_where_the_test_has_a_file(tmp_path: Path) -> None:
    train, test = npz(tmp_path, x=UNITS), npz(tmp_path, "test.npz", x=UNITS[:5] + 100)
    data = Arrays(str(train), test_path=str(test), normalize=False)
    assert members(data, "test") == [100, 101, 102, 103, 104]
    assert sorted(members(data, "train") + members(data, "valid")) == list(range(20))


def test_the_test_split_stays_when_more_is_validated_on(tmp_path: Path) -> None:
    file = str(npz(tmp_path, x=UNITS))
    tests = [members(Arrays(file, normalize=False, valid_fraction=f), "test") for f in (0.1, 0.5)]
    assert tests[0] == tests[1]


def test_the_seed_decides_the_split(tmp_path: Path) -> None:
    file = str(npz(tmp_path, x=UNITS))
    first, again, other = (members(Arrays(file, normalize=False, split_seed=s), "train") for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_split_never_changes(tmp_path: Path) -> None:
    data = Arrays(str(npz(tmp_path, x=UNITS)), normalize=False)
    assert (members(data, "valid"), members(data, "test")) == ([2, 6], [4, 19])


def test_a_fraction_that_is_not_used_may_be_anything_below_1(tmp_path: Path) -> None:
    file = str(npz(tmp_path, x=UNITS))
    data = Arrays(file, valid_path=file, valid_fraction=0.9, test_fraction=0.9, normalize=False)
    assert len(loaded(data, "test")) == 18


# ---- mistakes


def message(*, split: Split = "train", **settings: Any) -> str:
    """What reading says is wrong."""
    with pytest.raises(UserError) as error:
        loaded(data_of(**{"path": ""} | settings), split)
    assert "\n" not in str(error.value)
    return str(error.value)


def broken(tmp_path: Path, name: str, write: Callable[[Path], None], change: Callable[[bytes], bytes]) -> Path:
    """A file that was written well and damaged then."""
    write(tmp_path / name)
    (tmp_path / name).write_bytes(change((tmp_path / name).read_bytes()))
    return tmp_path / name


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def spoilt(content: bytes) -> bytes:
    return content[:200] + bytes(255 - b for b in content[200:400]) + content[400:]


def npz_of_text(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x", "hello")
    return tmp_path / "x.npz"


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape)


def changed(value: Any, dtype: str = "float64") -> np.ndarray:
    """[2, 3, 2] of ones and this value in sequence 1, step 2, feature 0."""
    x = np.ones((2, 3, 2), dtype=dtype)
    x[1, 2, 0] = value
    return x


RAGGED_OBJECTS = np.empty(2, dtype=object)
RAGGED_OBJECTS[:] = [ones(2, 1), ones(3, 1)]
PLACE = "sequence 1, step 2, feature 0"

BAD_FILES: dict[str, tuple[Callable[[Path], Path], dict[str, Any], list[str]]] = {
    "no such file": (lambda t: t / "none.npz", {}, ["none.npz", "no such file"]),
    "a folder": (lambda t: t, {}, ["folder", ".npz"]),
    "unknown suffix": (lambda t: text(t, "1 2", "x.txt"), {}, ["'.txt'", ".npz or .npy"]),
    # damaged files
    "npz: empty file": (lambda t: text(t, "", "x.npz"), {}, ["numpy.savez"]),
    "npz: not an archive": (lambda t: text(t, "hello" * 99, "x.npz"), {}, ["numpy.savez"]),
    "npz: truncated": (lambda t: broken(t, "x.npz", lambda f: np.savez(f, x=ones(9, 9)), half), {}, ["numpy.savez"]),
    "npz: spoilt": (lambda t: broken(t, "x.npz", lambda f: np.savez(f, x=ones(9, 9)), spoilt), {}, ["cannot be read"]),
    "npz: no array inside": (npz_of_text, {}, ["'x'", "numpy.savez"]),
    "npz: objects": (lambda t: npz(t, x=RAGGED_OBJECTS), {}, ["padded array", "lengths", "flat rows"]),
    "npy: empty file": (lambda t: text(t, "", "x.npy"), {}, ["numpy.save"]),
    "npy: not an array": (lambda t: text(t, "hello" * 99, "x.npy"), {}, ["numpy.save"]),
    "npy: truncated": (lambda t: broken(t, "x.npy", lambda f: np.save(f, ones(9, 9)), half), {}, ["cannot be read"]),
    "npy: truncated header": (lambda t: text(t, b"\x93NUMPY\x01\x00v\x00{'d", "x.npy"), {}, ["cannot be read"]),
    "npy: objects": (lambda t: npy(t, RAGGED_OBJECTS), {}, ["padded array", "lengths", "flat rows"]),
    "parquet: empty file": (lambda t: text(t, "", "x.parquet"), {}, ["cannot be read"]),
    "parquet: not a table": (lambda t: text(t, "hello" * 99, "x.parquet"), {}, ["cannot be read"]),
    "csv: not UTF-8": (lambda t: text(t, b"u\n1\n\xff\n"), {}, ["line 3", "UTF-8"]),
    "csv: open quote": (lambda t: text(t, 'u,v\n1,"2\n'), {}, ["line 2", "quotes"]),
    # arrays and columns that aren't there
    "npz: no array": (lambda t: npz(t, a=ones(2, 2), b=ones(2)), {}, ["no array 'x'", "a, b", "data.array"]),
    "npz: no lengths": (
        lambda t: npz(t, x=ones(2, 2)),
        {"lengths": "n"},
        ["no array 'n'", "it has x", "data.lengths"],
    ),
    "npz: no observed": (lambda t: npz(t, x=ones(2, 2)), {"observed": "o"}, ["no array 'o'", "data.observed"]),
    "npz: no names": (lambda t: npz(t, x=ones(2, 2)), {"sequence": "s"}, ["no array 's'", "data.sequence"]),
    "csv: no names": (lambda t: text(t, CSV), {"sequence": "s"}, ["no column 's'", "who, u, v", "data.sequence"]),
    "csv: no column": (lambda t: text(t, CSV), {"columns": ["w"]}, ["no column 'w'", "who, u, v", "data.columns"]),
    "csv: a column twice": (lambda t: text(t, CSV), {"columns": ["u", "u"]}, ["data.columns", "once"]),
    "csv: names as a feature": (
        lambda t: text(t, CSV),
        {"sequence": "who", "columns": ["who", "u"]},
        ["data.columns", "data.sequence"],
    ),
    "csv: no feature": (lambda t: text(t, "who\na\n"), {"sequence": "who"}, ["who", "data.columns"]),
    "csv: columns is empty": (lambda t: text(t, CSV), {"columns": []}, ["data.columns"]),
    "parquet: no column": (lambda t: parquet(t, {"u": [1]}), {"columns": ["w"]}, ["no column 'w'", "data.columns"]),
    "parquet: row index": (lambda t: parquet(t, {"u": [1], "__index_level_0__": [0]}), {}, ["index", "data.columns"]),
    # names of what one array doesn't have
    "npy: array": (lambda t: npy(t, ones(2, 2)), {"array": "y"}, ["data.array is 'y'", "one array", "leave"]),
    "npy: lengths": (lambda t: npy(t, ones(2, 2)), {"lengths": "n"}, ["data.lengths is 'n'", "one array", "leave"]),
    "npy: observed": (lambda t: npy(t, ones(2, 2)), {"observed": "o"}, ["data.observed is 'o'", "one array", "leave"]),
    "npy: sequence": (lambda t: npy(t, ones(2, 2)), {"sequence": "s"}, ["data.sequence is 's'", "one array", "leave"]),
    # types and ranks
    "complex numbers": (lambda t: npz(t, x=ones(2, 2) * 1j), {}, ["'x'", "complex128", "real numbers"]),
    "strings": (lambda t: npz(t, x=np.array([["a"]])), {}, ["'x'", "<U1", "real numbers"]),
    "a number": (lambda t: npz(t, x=1.0), {}, ["[]", "[N, T, D]", "[R, D]"]),
    "rank 4": (lambda t: npz(t, x=ones(2, 2, 2, 2)), {}, ["[2, 2, 2, 2]", "[N, T, D]", "[R, D]"]),
    "rank 1 alone": (lambda t: npz(t, x=ones(3)), {}, ["[3]", "lengths", "data.sequence"]),
    "npy of rank 1": (lambda t: npy(t, ones(3)), {}, ["[3]", "lengths", "data.sequence"]),
    "no sequences": (lambda t: npz(t, x=ones(0, 3, 2)), {}, ["empty", "[0, 3, 2]"]),
    "no steps": (lambda t: npz(t, x=ones(3, 0, 2)), {}, ["empty", "[3, 0, 2]"]),
    "no features": (lambda t: npz(t, x=ones(3, 2, 0)), {}, ["empty", "[3, 2, 0]"]),
    # lengths
    "length beyond the array": (lambda t: npz(t, x=ones(3, 4, 2), lengths=[4, 9, 1]), {}, ["'lengths'", "9 at 1", "4"]),
    "length of zero": (lambda t: npz(t, x=ones(3, 4, 2), lengths=[4, 0, 1]), {}, ["'lengths'", "0 at 1", "1 step"]),
    "negative length": (lambda t: npz(t, x=ones(3, 4, 2), lengths=[4, -2, 1]), {}, ["'lengths'", "-2 at 1", "1 step"]),
    "lengths of reals": (lambda t: npz(t, x=ones(3, 4), lengths=ones(3)), {}, ["'lengths'", "float64", "integer"]),
    "lengths of rank 2": (lambda t: npz(t, x=ones(3, 4), lengths=[[1], [2], [3]]), {}, ["'lengths'", "[3, 1]"]),
    "too few lengths": (lambda t: npz(t, x=ones(3, 4, 2), lengths=[4, 4]), {}, ["'lengths'", "2 entries", "[3, 4, 2]"]),
    "lengths that sum to less": (lambda t: npz(t, x=ones(9, 2), lengths=[4, 4]), {}, ["2 entries", "8", "[9, 2]"]),
    "length beyond int64": (
        lambda t: npz(t, x=ones(2, 4, 2), lengths=np.array([4, 2**63], dtype=np.uint64)),
        {},
        ["'lengths'", "9223372036854775808 at 1", "true lengths"],
    ),
    "lengths whose sum overflows to the rows": (
        lambda t: npz(t, x=ones(9), lengths=[2**63 - 1, 2**63 - 1, 11]),
        {},
        ["'lengths'", "9223372036854775807 at 0", "[9]"],
    ),
    "no lengths in lengths": (lambda t: npz(t, x=ones(9), lengths=np.empty(0, int)), {}, ["0 entries", "[9]"]),
    "lengths that can be read two ways": (lambda t: npz(t, x=ones(3, 2), lengths=[1, 1, 1]), {}, ["[N, T, D]"]),
    # names
    "too few names": (lambda t: npz(t, x=ones(3), s=["a", "b"]), {"sequence": "s"}, ["'s'", "[2]", "[3]"]),
    "names for padded sequences": (lambda t: npz(t, x=ones(2, 2, 2), s=[1, 2]), {"sequence": "s"}, ["'x'", "[R, D]"]),
    "a name is NaN": (lambda t: npz(t, x=ones(2), s=[1, np.nan]), {"sequence": "s"}, ["'s'", "row 1"]),
    "names are complex": (lambda t: npz(t, x=ones(2), s=[1, 1j]), {"sequence": "s"}, ["'s'", "complex128"]),
    "csv: a name is nan": (lambda t: FAULTS / "nan_ids.csv", {"sequence": "trip"}, ["line 3", "'trip' holds 'nan'"]),
    "csv: semicolons": (lambda t: FAULTS / "decimal_comma.csv", {}, ["separated by semicolons", "decimal=','"]),
    "csv: a saved index": (lambda t: FAULTS / "unnamed0.csv", {"sequence": "trip"}, ["'Unnamed: 0'", "index=False"]),
    "csv: a name is empty": (lambda t: text(t, "s,u\na,1\n,2\n"), {"sequence": "s"}, ["line 3", "'s'"]),
    "parquet: a name is nan": (
        lambda t: parquet(t, {"s": [0.0, np.nan, np.nan], "u": [1, 2, 3]}),
        {"sequence": "s"},
        ["'s'", "2 rows, row 1 the first"],
    ),
    "parquet: a name is null": (lambda t: parquet(t, {"s": ["a", None], "u": [1, 2]}), {"sequence": "s"}, ["'s'"]),
    "parquet: names are lists": (lambda t: parquet(t, {"s": [[1], [2]], "u": [1, 2]}), {"sequence": "s"}, ["'s'"]),
    # observed
    "observed of another shape": (
        lambda t: npz(t, x=ones(3, 4, 2), observed=ones(3, 4) > 0),
        {},
        ["'observed'", "[3, 4]", "[3, 4, 2]"],
    ),
    "observed isn't bool": (lambda t: npz(t, x=ones(3, 4), observed=ones(3, 4)), {}, ["'observed'", "float64", "bool"]),
    # values
    "NaN": (lambda t: npz(t, x=changed(np.nan)), {}, ["nan", PLACE, "data.missing allow", "data.observed"]),
    "NaN that was observed": (
        lambda t: npz(t, x=changed(np.nan), observed=ones(2, 3, 2) > 0),
        {},
        ["nan", PLACE, "data.missing allow"],
    ),
    "NaN in binary data": (lambda t: npz(t, x=changed(np.nan)), {"kind": "binary"}, ["nan", PLACE]),
    "infinity": (lambda t: npz(t, x=changed(np.inf)), {}, ["inf", PLACE, "finite"]),
    "infinity of float16": (lambda t: npz(t, x=changed(np.inf, "float16")), {}, ["inf", PLACE, "finite"]),
    "infinity where gaps are allowed": (lambda t: npz(t, x=changed(-np.inf)), {"missing": "allow"}, ["-inf", "finite"]),
    "too large for float32": (lambda t: npz(t, x=changed(1e300)), {}, ["1e+300", PLACE, "3.4e+38"]),
    "NaN of a named sequence": (
        lambda t: npz(t, x=np.where(FLAT == 50, np.nan, FLAT), s=NAMES),
        {"sequence": "s"},
        ["sequence 'a', step 1, feature 1"],
    ),
    "NaN of a padded sequence": (
        lambda t: npz(t, x=np.where(PADDED == 50, np.nan, PADDED), lengths=LENGTHS),
        {},
        ["sequence 2, step 1, feature 1"],
    ),
    "binary data that isn't": (lambda t: npz(t, x=changed(0.5)), {"kind": "binary"}, ["0.5", PLACE, "data.kind"]),
    "negative category": (
        lambda t: npz(t, x=np.array([[1, 2], [0, -1]])),
        {"kind": "categorical"},
        ["-1", "sequence 1, step 1", "from 0"],
    ),
    "category that isn't whole": (lambda t: npz(t, x=ones(2, 2) / 2), {"kind": "categorical"}, ["0.5", "data.kind"]),
    "category beyond data.categories": (
        lambda t: npz(t, x=np.array([[1, 2], [0, 7]])),
        {"kind": "categorical", "categories": 7},
        ["7", "sequence 1, step 1", "0..6", "data.categories 8"],
    ),
    "ids as categories": (
        lambda t: npz(t, x=np.array([[10**12, 10**12 + 1]])),
        {"kind": "categorical"},
        ["1000000000001", "2 observations", "numbered from 0", "data.categories"],
    ),
    "few observed ids as categories": (
        lambda t: npz(t, x=np.full((2, 10_001), 100_001), observed=np.arange(20_002).reshape(2, -1) < 10_000),
        {"kind": "categorical"},
        ["100001", "10000 observations"],
    ),
    "categories of rank 3": (lambda t: npz(t, x=ones(2, 2, 3)), {"kind": "categorical"}, ["3 numbers", "[N, T]"]),
    "categories in two columns": (
        lambda t: text(t, CSV),
        {"kind": "categorical", "sequence": "who"},
        ["2 numbers", "data.columns"],
    ),
    "a feature that is never observed": (
        lambda t: text(t, "u,v\n1,\n2,\n"),
        {"missing": "allow", "normalize": True},
        ["column 'v'", "never observed", "data.normalize"],
    ),
    "one step to condition on": (
        lambda t: npz(t, x=PADDED, lengths=LENGTHS),
        {"first_observation": "conditioned"},
        ["sequence 1 has 1 step", "data.first_observation"],
    ),
    # text
    "csv: empty file": (lambda t: text(t, ""), {}, ["first line", "name the columns"]),
    "csv: header alone": (lambda t: text(t, "u,v\n"), {}, ["no rows"]),
    "csv: no header": (lambda t: text(t, "1,2\n3,4\n"), {}, ["line 1", "name the columns"]),
    "csv: two columns of one name": (lambda t: text(t, "u,u\n1,2\n"), {}, ["'u'", "its own name"]),
    "csv: row numbers": (lambda t: text(t, ",u\n0,2\n"), {}, ["column '' is an index", "data.columns"]),
    "csv: text": (lambda t: text(t, "u,v\n1,2\n3,NA\n"), {}, ["line 3", "'v'", "'NA'", "leave the cell empty"]),
    "csv: short line": (lambda t: text(t, "u,v\n1,2\n3\n"), {}, ["line 3", "1 cells", "2"]),
    "csv: long line": (lambda t: text(t, "u,v\n1,2,3\n"), {}, ["line 2", "3 cells", "2"]),
    "csv: blank line": (lambda t: text(t, "u\n1\n\n3\n"), {}, ["line 3", "blank"]),
    "csv: empty cell": (lambda t: text(t, "u,v\n1,2\n3,\n"), {}, ["column 'v' (line 3)", "data.missing allow"]),
    "csv: infinity": (lambda t: text(t, "u,v\n1,2\n-inf,3\n"), {}, ["column 'u' (line 3)", "finite"]),
    "parquet: text": (lambda t: parquet(t, {"u": [1], "v": ["a"]}), {}, ["'v'", "string", "data.columns"]),
    "parquet: no rows": (lambda t: parquet(t, {"u": pa.array([], pa.float64())}), {}, ["no rows"]),
}


@pytest.mark.parametrize(("write", "settings", "fragments"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_refused_in_one_line_that_says_what_to_do(
    tmp_path: Path, write: Callable[[Path], Path], settings: dict[str, Any], fragments: list[str]
) -> None:
    file = str(write(tmp_path))
    own = {"valid_path": file, "test_path": file, "normalize": False}
    said = message(path=file, **(own | settings))
    assert file in said or "data.columns" in said
    assert [f for f in fragments if f not in said] == []


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may read everything
    assert "permission denied" in message(path=str(npz(tmp_path, x=UNITS)))


def test_no_message_advises_to_load_pickles(tmp_path: Path) -> None:
    for file in (text(tmp_path, "hello", "a.npz"), text(tmp_path, "hello", "a.npy"), npy(tmp_path, RAGGED_OBJECTS)):
        assert "pickle" not in message(path=str(file))


BAD_SETTINGS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "kind": ({"kind": "text"}, ["data.kind", "'text'", "categorical"]),
    "missing": ({"missing": "drop"}, ["data.missing", "'drop'", "allow"]),
    "first_observation": ({"first_observation": "free"}, ["data.first_observation", "conditioned"]),
    "categories of real data": ({"categories": 3}, ["data.categories", "data.kind"]),
    "no categories": ({"kind": "categorical", "categories": 0}, ["data.categories", "1 or more"]),
    "valid_fraction of 0": ({"valid_fraction": 0.0}, ["data.valid_fraction", "more than 0 and less than 1"]),
    "test_fraction of 1": ({"test_fraction": 1.0}, ["data.test_fraction", "more than 0 and less than 1"]),
    "a fraction that is NaN": ({"test_fraction": float("nan")}, ["data.test_fraction"]),
    "a fraction that is NaN and not used": (
        {"valid_fraction": float("nan"), "valid_path": "PATH"},
        ["data.valid_fraction is nan", "it must be a finite number"],
    ),
    "a fraction that is infinite": ({"test_fraction": float("inf")}, ["data.test_fraction is inf"]),
    "fractions that sum to 1": (
        {"valid_fraction": 0.5, "test_fraction": 0.5},
        ["data.valid_fraction", "data.test_fraction", "below 1"],
    ),
    "negative seed": ({"split_seed": -1}, ["data.split_seed", "0 or more"]),
    "names and lengths": ({"sequence": "s", "lengths": "n"}, ["data.sequence", "data.lengths"]),
    "no path": ({}, ["data.path is empty", ".npz"]),
    "empty valid_path": ({"path": "PATH", "valid_path": ""}, ["data.valid_path is empty", ".npz"]),
}


@pytest.mark.parametrize(("settings", "fragments"), BAD_SETTINGS.values(), ids=BAD_SETTINGS.keys())
def test_a_bad_setting_is_refused_in_one_line_that_names_it(
    tmp_path: Path, settings: dict[str, Any], fragments: list[str]
) -> None:
    file = str(npz(tmp_path, x=UNITS))
    said = message(split="valid", **{k: file if v == "PATH" else v for k, v in settings.items()})
    assert [f for f in fragments if f not in said] == []


def test_one_sequence_is_not_split(tmp_path: Path) -> None:
    said = message(path=str(text(tmp_path, "u\n1\n2\n")))
    for fragment in ("1 sequence", "data.sequence", "data.valid_path", "data.test_path"):
        assert fragment in said


def test_two_sequences_are_enough_to_split_one_off(tmp_path: Path) -> None:
    file = str(npz(tmp_path, x=UNITS[:2]))
    assert len(loaded(Arrays(file, valid_path=file), "test")) == 1


def test_fractions_that_leave_no_training_sequence_are_refused(tmp_path: Path) -> None:
    said = message(path=str(npz(tmp_path, x=UNITS[:3])), valid_fraction=0.7)
    assert "none is left to train on" in said
    assert "data.valid_fraction" in said


def test_a_test_file_with_more_features_is_refused(tmp_path: Path) -> None:
    train, test = npz(tmp_path, x=ones(3, 2, 2)), npz(tmp_path, "test.npz", x=ones(3, 2, 5))
    said = message(split="test", path=str(train), test_path=str(test))
    assert f"data.test_path {test}: has 5 features, the training split 2" in said


def test_a_test_file_with_another_category_names_the_setting(tmp_path: Path) -> None:
    train, test = npz(tmp_path, x=np.arange(6).reshape(3, 2)), npz(tmp_path, "test.npz", x=np.array([[0, 9]]))
    said = message(split="test", path=str(train), valid_path=str(train), test_path=str(test), kind="categorical")
    for fragment in (str(test), "9 at sequence 0, step 1", "0..5", "data.categories 10"):
        assert fragment in said


def test_another_category_in_the_test_split_is_found_before_training(tmp_path: Path) -> None:
    held_out = members(Arrays(str(npz(tmp_path, x=UNITS)), normalize=False), "test")
    x = np.ones((20, 3), dtype=int)
    x[held_out] = 6
    assert "data.categories 7" in message(split="train", path=str(npz(tmp_path, x=x)), kind="categorical")


@pytest.mark.parametrize("other", ["v,u\n1,2\n", "u,w\n1,2\n", "u,v,w\n1,2,3\n"])
def test_a_test_file_with_other_columns_is_refused(tmp_path: Path, other: str) -> None:
    train, test = text(tmp_path, "u,v\n1,2\n"), text(tmp_path, other, "test.csv")
    said = message(split="test", path=str(train), valid_path=str(test), test_path=str(test))
    for fragment in (f"data.test_path {test}", "those of data.path u, v", "data.columns"):
        assert fragment in said


def test_a_parquet_test_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    train, test = parquet(tmp_path, {"u": [1], "v": [2]}), parquet(tmp_path, {"v": [1], "u": [2]}, "test.parquet")
    said = message(split="test", path=str(train), valid_path=str(test), test_path=str(test))
    assert "its features are v, u, those of data.path u, v" in said


def test_a_file_of_the_other_data_set_says_which_reads_it(tmp_path: Path) -> None:
    for table in (text(tmp_path, CSV), parquet(tmp_path, {"u": [1.0]}), text(tmp_path, CSV, "x.CSV")):
        with pytest.raises(UserError, match=r"is a table; set --data\.name table, or take recipe table-zforcing-aux"):
            Arrays(str(table)).describe()
    for file in (npz(tmp_path, x=UNITS), npy(tmp_path, UNITS)):
        with pytest.raises(UserError, match=r"holds arrays; set --data\.name arrays, or take recipe arrays-zforcing"):
            Table(str(file)).describe()


def test_a_test_split_of_the_other_data_set_is_refused_by_its_setting(tmp_path: Path) -> None:
    train, test = npz(tmp_path, x=ones(3, 3, 2)), text(tmp_path, "u,v\n1,2\n")
    assert f"data.test_path {test}: is a table" in message(split="test", path=str(train), test_path=str(test))


def test_a_table_of_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"its suffix is '\.txt'; it must be \.csv or \.parquet"):
        Table(str(text(tmp_path, CSV, "x.txt"))).describe()
    with pytest.raises(UserError, match=r"data\.path is empty; name a \.csv or \.parquet file"):
        Table().describe()


def test_columns_reads_files_that_order_them_differently(tmp_path: Path) -> None:
    train, test = text(tmp_path, "u,v\n1,2\n"), parquet(tmp_path, {"w": [0.0], "v": [2.0], "u": [1.0]})
    data = Table(str(train), str(test), str(test), columns=["u", "v"], normalize=False)
    assert sequences(data, "test") == [[[1, 2]]]


@pytest.mark.parametrize(
    ("spec", "settings", "fragments"),
    [
        (ObservationSpec("binary", 2), {}, ["data.kind is real", "trained with binary"]),
        (ObservationSpec("real", 2, "conditioned"), {}, ["data.first_observation is scored", "conditioned"]),
        (
            ObservationSpec("categorical", 4),
            {"kind": "categorical", "categories": 9},
            ["data.categories is 9", "trained with 4"],
        ),
        (ObservationSpec("real", 3), {}, ["has 2 features", "3"]),
    ],
)
def test_data_that_does_not_fit_the_trained_model_is_refused(
    tmp_path: Path, spec: ObservationSpec, settings: dict[str, Any], fragments: list[str]
) -> None:
    with pytest.raises(UserError) as error:
        whole(npz(tmp_path, x=ones(2, 2, 2)), **settings).load("train", DataDescription("arrays", spec, longest=2))
    assert [f for f in fragments if f not in str(error.value)] == []


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = parquet(tmp_path, {"u": [1.0]})
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert "pip install zforcing[parquet]" in message(path=str(file))


# ---- cells and names that aren't what they look like


def test_an_infinite_number_behind_a_mask_is_not_looked_at(tmp_path: Path) -> None:
    x, observed = np.array([[[1.0], [np.inf]]] * 3), np.array([[[True], [False]]] * 3)
    data = whole(npz(tmp_path, x=x, observed=observed))
    assert gaps(data) == observed.tolist()


@pytest.mark.parametrize("cells", [("1_5", "2"), ("1.5", "2_0")])
def test_python_s_way_to_group_digits_is_no_number(tmp_path: Path, cells: tuple[str, str]) -> None:
    file = text(tmp_path, "u\n" + "\n".join(cells) + "\n")
    with pytest.raises(UserError, match=r"column 'u' holds '._.', not a number"):
        whole(file).describe()


@pytest.mark.parametrize("nothing", ["", " ", "nan", "NaN"])
def test_text_that_names_no_sequence_is_refused_in_every_format(tmp_path: Path, nothing: str) -> None:
    names = ["a", nothing, "a"]
    archives = [npz(tmp_path, f"{kind}.npz", x=np.arange(3.0), w=np.array(names, dtype=kind)) for kind in "US"]
    for file in (*archives, parquet(tmp_path, {"w": names, "x": [1.0, 2.0, 3.0]})):
        with pytest.raises(UserError, match=r"row 1 .*\(counted from 0\)"):
            whole(file, sequence="w").describe()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('"time";"x"\n1;2\n', "line 1 is separated by semicolons"),
        ("a,b,\n1,2,\n", "the last column has no name, as where line 1 ends with a comma"),
        (",a\n0,1\n", "column '' is an index"),
    ],
)
def test_what_is_wrong_with_a_header_is_said(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        whole(text(tmp_path, content)).describe()
