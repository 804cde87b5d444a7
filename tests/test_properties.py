"""What holds of any input: what is written is read back, masks say what is there, splits are parts, settings return."""

from __future__ import annotations

import pickle
import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from hypothesis.internal.conjecture import providers
from pyarrow import parquet

from zforcing import SequenceBatch, UserError
from zforcing.data.splits import cut, cut_groups
from zforcing.files.archives import read_npy, read_npz
from zforcing.files.audio import read_header, read_samples, write_wav
from zforcing.files.midi import TimeStep, read_midi, write_midi
from zforcing.files.parquet import read_parquet
from zforcing.files.pickles import read_pickle
from zforcing.files.rows import Layout, Rows
from zforcing.files.strict_yaml import read_yaml, write_yaml
from zforcing.files.tables import read_csv
from zforcing.observations import Normalization, build_vocabulary, prepare, split_sentences
from zforcing.observations.formats.rows import mark_gaps
from zforcing.settings import Count, Share
from zforcing.settings.text import read

SIZES = pytest.mark.parametrize("examples", [8, pytest.param(300, marks=pytest.mark.slow)])


@pytest.fixture(autouse=True)
def examples_depend_on_no_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypothesis draws numbers and words of all modules of ours that are imported, which it takes seconds to read."""
    none = providers.Constants()
    monkeypatch.setattr(providers, "_get_local_constants", lambda: none)


def for_all(examples: int, **strategies: Any) -> Callable[[Callable[..., None]], None]:
    """Check a property, at once, of this many examples; the same ones each time."""

    def check(holds: Callable[..., None]) -> None:
        quiet = settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        )
        quiet(given(**strategies)(holds))()

    return check


def in_file(name: str, write: Callable[[Path], object], use: Callable[[Path], Any]) -> Any:
    """What `use` makes of a file that `write` wrote, in a folder of its own: an example shares none with another."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        write(file)
        return use(file)


def error_of(call: Callable[[], object], expected: type[Exception]) -> str:
    """The message of an error of this class; nothing where there is none."""
    try:
        call()
    except expected as error:
        return str(error)
    return ""


LETTERS = "aZ09 _.,:;'\"-+#&*!%<[{~\\eE\u00e9\u0301\ufb01\uac00\u2028\x85\0\n\t\r\ufeff\U0001f600"
NUMBERS = st.floats(allow_nan=True, allow_infinity=False, width=64)
BYTES = st.binary(max_size=60) | st.text(LETTERS).map(str.encode)
NAMES = st.sampled_from(["a", "b", "trip 1", "é", '"q"', "x,y", "0"])
TABLES = st.lists(st.tuples(NAMES, NUMBERS, NUMBERS), min_size=1, max_size=12)
LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=6)


def by_name(rows: Sequence[tuple[str, float, float]]) -> dict[str, list[list[float]]]:
    """The sequences of a table, by hand."""
    found: dict[str, list[list[float]]] = {}
    for name, *values in rows:
        found.setdefault(name, []).append(values)
    return found


def sequences(rows: Rows) -> list[list[list[float]]]:
    return [rows.values[steps].tolist() for steps in rows.steps]


# ---- readers


@SIZES
def test_tables_are_read_as_they_were_written(examples: int) -> None:
    @for_all(examples, rows=TABLES)
    def _(rows: list[tuple[str, float, float]]) -> None:
        lines = ["name,x,y", *('"{}",{!r},{!r}'.format(n.replace('"', '""'), x, y) for n, x, y in rows)]
        name, x, y = (list(column) for column in zip(*rows, strict=True))
        table = pa.table({"name": name, "x": x, "y": y})
        layout, expected = Layout(sequence="name"), by_name(rows)
        for found in (
            in_file("a.csv", lambda f: f.write_text("\n".join(lines), "utf-8"), lambda f: read_csv(f, layout, "a")),
            in_file("a.parquet", lambda f: parquet.write_table(table, f), lambda f: read_parquet(f, layout, "a")),
        ):
            assert found.names is not None
            assert found.names.tolist() == [*expected]
            for one, other in zip(sequences(found), expected.values(), strict=True):
                np.testing.assert_array_equal(one, other)


@SIZES
def test_padded_and_flat_arrays_are_the_same_sequences(examples: int) -> None:
    @for_all(examples, lengths=LENGTHS, kind=st.sampled_from(["<f4", ">f8", "i2", "?"]), seed=st.integers(0, 99))
    def _(lengths: list[int], kind: str, seed: int) -> None:
        x = (np.random.default_rng(seed).normal(size=(len(lengths), max(lengths), 2)) * 9).astype(kind)
        flat = np.concatenate([one[:length] for one, length in zip(x, lengths, strict=True)])
        padded, rows = (
            in_file("a.npz", lambda f, v=v: np.savez(f, x=v, lengths=lengths), lambda f: read_npz(f, Layout(), "a"))
            for v in (x, flat[:, None] if sum(lengths) == len(lengths) else flat)
        )
        assert padded.values.dtype == x.dtype
        np.testing.assert_array_equal(padded.values, flat)
        np.testing.assert_array_equal(rows.values, flat)
        assert padded.lengths.tolist() == rows.lengths.tolist() == lengths
        whole = in_file("a.npy", lambda f: np.save(f, x), lambda f: read_npy(f, "a"))
        np.testing.assert_array_equal(whole.values, x.reshape(-1, 2))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(LETTERS, max_size=9),
    lambda inside: (
        st.lists(inside, max_size=4)
        | st.lists(inside, max_size=4).map(tuple)
        | st.dictionaries(st.text(LETTERS, max_size=5), inside, max_size=3)
    ),
    max_leaves=12,
)


@SIZES
def test_plain_pickles_come_back(examples: int) -> None:
    @for_all(examples, value=PLAIN, protocol=st.integers(0, 5))
    def _(value: Any, protocol: int) -> None:
        content = pickle.dumps(value, protocol)
        assert in_file("a.pickle", lambda f: f.write_bytes(content), lambda f: read_pickle(f, "a")) == value


@SIZES
def test_rolls_come_back_from_midi(examples: int) -> None:
    rolls = arrays_of.arrays(np.uint8, st.tuples(st.integers(1, 9), st.just(88)), elements=st.integers(0, 1))

    @for_all(examples, roll=rolls, per_quarter=st.sampled_from([1, 2, 4, 6]))
    def _(roll: Any, per_quarter: int) -> None:
        roll[0, 3] = roll[-1, 4] = 1  # silence around a piece isn't kept
        given_ = {"lowest_pitch": 21, "steps_per_quarter": per_quarter, "quarters_per_minute": 120}
        music = in_file("a.mid", lambda f: write_midi(f, roll, **given_), lambda f: read_midi(f, TimeStep(per_quarter)))
        np.testing.assert_array_equal(music.roll, roll)
        assert (music.foreign, music.endless) == (0, 0)


@SIZES
def test_any_stretch_of_a_recording_comes_back(examples: int) -> None:
    sounds = arrays_of.arrays(np.int16, st.integers(1, 60))

    @for_all(examples, sound=sounds, at=st.tuples(st.integers(0, 59), st.integers(1, 60)))
    def _(sound: Any, at: tuple[int, int]) -> None:
        start, stop = min(at[0], len(sound) - 1), min(max(at), len(sound))

        def use(file: Path) -> None:
            assert read_header(file).samples == len(sound)
            np.testing.assert_array_equal(read_samples(file, start, stop), sound[start:stop].astype(np.float32))

        in_file("a.wav", lambda f: write_wav(f, sound, 8000), use)


@SIZES
def test_yaml_that_python_writes_comes_back(examples: int) -> None:
    values = st.dictionaries(
        st.text(LETTERS, max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(LETTERS),
            lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text("ab"), inside, max_size=3),
            max_leaves=8,
        ),
        max_size=4,
    )

    @for_all(examples, value=values)
    def _(value: dict[str, Any]) -> None:
        assert read_yaml(write_yaml(value), "a").value == value


@SIZES
def test_any_bytes_are_data_or_one_line(examples: int) -> None:
    readers: dict[str, Callable[[Path], object]] = {
        "a.csv": lambda file: read_csv(file, Layout(), "a"),
        "a.npy": lambda file: read_npy(file, "a"),
        "a.pickle": lambda file: read_pickle(file, "a"),
        "a.yaml": lambda file: read_yaml(file.read_bytes().decode("latin-1"), "a"),
    }

    @for_all(examples, content=BYTES, name=st.sampled_from([*readers]))
    def _(content: bytes, name: str) -> None:
        said = error_of(lambda: in_file(name, lambda f: f.write_bytes(content), readers[name]), UserError)
        assert "\n" not in said
        assert len(said) < 2000


# ---- text


@SIZES
def test_spellings_of_one_text_are_prepared_alike(examples: int) -> None:
    @for_all(examples, text=st.text("aé ıİßﬁ.'\u0301\u0327\u1e9b가".join(["", "bc ?"])), cut_=st.booleans())
    def _(text: str, cut_: bool) -> None:
        one, other = (
            prepare(unicodedata.normalize(form, text), tokenize=cut_, lowercase=cut_, unicode="nfc")
            for form in ("NFC", "NFD")
        )
        assert one == other
        assert unicodedata.is_normalized("NFC", one)


@SIZES
def test_bytes_and_sentences_lose_no_letter(examples: int) -> None:
    @for_all(examples, text=st.text(LETTERS, max_size=40))
    def _(text: str) -> None:
        known = build_vocabulary([text], "bytes", most=1, lowercase=False, tokenize=False)
        assert known.decode([*known.encode(text), known.end]) == text
        plain = text.replace("<", "")  # <br /> ends a paragraph
        assert "".join("".join(split_sentences(plain)).split()) == "".join(plain.split())


# ---- masks and numbers


@SIZES
def test_masks_say_what_is_there(examples: int) -> None:
    @for_all(examples, lengths=LENGTHS, seed=st.integers(0, 99))
    def _(lengths: list[int], seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        shape = (len(lengths), max(lengths), 2)
        observed = torch.rand(shape, generator=generator) < 0.7
        x = torch.where(observed, torch.randn(shape, generator=generator), torch.nan)
        batch = SequenceBatch(x, torch.tensor(lengths), torch.zeros(len(lengths), 2), observed=observed)
        assert batch.mask.sum(1).tolist() == lengths
        assert torch.equal(batch.scored, batch.mask[:, :, None] & observed)
        assert torch.equal(batch.x, torch.where(batch.scored, x, 0.0))
        assert torch.equal(batch.read.isnan(), ~observed)
        assert torch.equal(batch.previous[:, 1:].nan_to_num(7.0), batch.read[:, :-1].nan_to_num(7.0))


@SIZES
def test_gaps_are_marked_where_numbers_are_missing(examples: int) -> None:
    @for_all(examples, values=arrays_of.arrays(np.float64, (4, 2), elements=NUMBERS), at=st.integers(1, 3))
    def _(values: Any, at: int) -> None:
        rows = mark_gaps(Rows("a", values, np.array([at, 4 - at])))
        observed = np.ones((4, 2), dtype=bool) if rows.observed is None else rows.observed
        np.testing.assert_array_equal(observed, ~np.isnan(values))
        np.testing.assert_array_equal(rows.values, np.nan_to_num(values, nan=0.0))
        second = rows.take(np.array([False, True]))
        np.testing.assert_array_equal(second.values, rows.values[at:])
        first = rows.between(np.array([0, 0]), np.array([1, 1]))
        np.testing.assert_array_equal(first.values, rows.values[[0, at]])


@SIZES
def test_numbers_of_any_size_are_scaled_and_back(examples: int) -> None:
    @for_all(
        examples,
        scale=st.integers(-30, 30),
        kind=st.sampled_from([np.float32, np.float64]),
        shift=st.integers(-3, 3),
        seed=st.integers(0, 99),
    )
    def _(scale: int, kind: type, shift: int, seed: int) -> None:
        raw = ((np.random.default_rng(seed).normal(size=(30, 2)) + shift) * 10.0**scale).astype(kind)
        fitted = Normalization.fit(raw)
        x = fitted.apply(raw)
        np.testing.assert_allclose(x.mean(0, dtype=np.float64), 0, atol=1e-5)
        np.testing.assert_allclose(x.std(0, dtype=np.float64), 1, rtol=1e-4)
        np.testing.assert_allclose(fitted.invert(x.astype(np.float64)), raw, rtol=1e-4, atol=1e-5 * 10.0**scale)


# ---- splits


SHARE = st.floats(0.01, 0.4)
LABELS = st.lists(st.sampled_from("abcdef"), min_size=3, max_size=30)


@SIZES
def test_splits_are_parts_of_the_whole(examples: int) -> None:
    @for_all(examples, count=st.integers(1, 60), test=SHARE, valid=SHARE, seed=st.integers(0, 2**31))
    def _(count: int, test: float, valid: float, seed: int) -> None:
        sizes = {"test": max(1, round(test * count)), "valid": max(1, round(valid * count))}
        if sum(sizes.values()) >= count:
            with pytest.raises(UserError, match="none is left to train on"):
                cut(count, {"test": test, "valid": valid}, seed=seed, what="a")
            return
        parts = cut(count, {"test": test, "valid": valid}, seed=seed, what="a")
        assert sorted(np.concatenate([*parts.values()]).tolist()) == list(range(count))
        assert {split: len(parts[split]) for split in sizes} == sizes
        if sizes["test"] + 1 < count:  # it depends on nothing but its own share
            np.testing.assert_array_equal(cut(count, {"test": test}, seed=seed, what="a")["test"], parts["test"])


@SIZES
def test_groups_stay_together(examples: int) -> None:
    @for_all(examples, labels=LABELS, test=SHARE, seed=st.integers(0, 99))
    def _(labels: list[str], test: float, seed: int) -> None:
        if len(set(labels)) < 3:
            return
        parts = cut_groups(labels, {"test": test, "valid": 0.2}, seed=seed)
        groups = [{labels[i] for i in index} for index in parts.values()]
        assert all(groups)
        assert sum(map(len, groups)) == len(set(labels))
        assert sorted(np.concatenate([*parts.values()]).tolist()) == list(range(len(labels)))


# ---- settings


@SIZES
def test_settings_are_read_as_they_are_printed(examples: int) -> None:
    kinds = st.sampled_from([int, float, bool, str, Count, Share, int | None, list[str]])

    @for_all(examples, number=st.integers(-(10**18), 10**18), real=st.floats(allow_nan=False, allow_infinity=False))
    def _(number: int, real: float) -> None:
        assert (read(str(number), int), read(repr(real), float)) == (number, real)
        assert read(str(number), int | None) == number

    @for_all(examples, text=st.text(LETTERS, max_size=30), kind=kinds)
    def _(text: str, kind: Any) -> None:
        said = error_of(lambda: read(text, kind), ValueError)
        assert said == "" or said.startswith("is ")
        assert len(said) < 500
