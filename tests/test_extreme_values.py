"""Numbers that are very small, very large or below 0 where they mustn't be, and values of any length in messages."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

import zforcing as zf
from conftest import Command
from zforcing import UserError
from zforcing.errors import MESSAGE
from zforcing.files.rows import Layout
from zforcing.files.tables import read_csv
from zforcing.observations import Normalization
from zforcing.settings import Count, must_fit
from zforcing.settings.text import read


@pytest.mark.parametrize("scale", [1e-30, 1e-25, 1.0, 1e20, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_data_of_any_size_is_normalized(scale: float, dtype: type) -> None:
    raw = (np.random.default_rng(0).normal(size=(500, 2)) * scale).astype(dtype)
    fitted = Normalization.fit(raw)
    x = fitted.apply(raw)
    np.testing.assert_allclose(x.std(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(fitted.std, raw.astype(np.float64).std(axis=0), rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1e-200])
def test_data_that_vary_by_next_to_nothing_are_no_zeros(scale: float) -> None:
    raw = np.random.default_rng(0).normal(size=(500, 2)) * [scale, 1.0]
    fitted = Normalization.fit(raw)
    np.testing.assert_allclose(fitted.apply(raw).std(axis=0), 1, rtol=1e-2)
    assert fitted.std[1] == raw.std(axis=0)[1]  # of others as before


def test_data_that_float32_takes_for_zeros_are_refused() -> None:
    with pytest.raises(UserError, match=r"4\.6e-47 at .*; all numbers there are so small that float32 holds 0"):
        zf.Sequences(np.full((4, 3, 1), 4.6e-47), kind="real", normalize=False)
    zf.Sequences(np.array([[[1e-50], [1.0], [0.0]]]), kind="real", normalize=False)


@pytest.mark.parametrize("weight", [-0.5, float("nan"), float("inf")])
def test_a_weight_below_0_is_refused(weight: float) -> None:
    with pytest.raises(UserError, match=r"weights\.kl is .*; it must be"):
        zf.Weights(kl=weight)
    with pytest.raises(UserError, match=r"weights\.auxiliary is .*; it must be"):
        zf.Weights(auxiliary=weight)


LONG = "9" * 100_000


def test_messages_show_no_whole_values(zf: Command) -> None:
    for words in (
        ("train", "digits-rnn", "--training.max_steps", LONG),
        ("train", LONG),
        ("evaluate", "run", "--look-ahead", LONG, "--chunk-steps", "2"),
        ("continue", "run", "--given", "inf"),
        ("continue", "run", "--given", LONG),
    ):
        result = zf(*words)
        assert result.code == 2
        assert result.err.count("\n") == 1
        assert len(result.err) < 1000


def test_an_error_is_never_longer_than_a_screen_of_files() -> None:
    assert len(str(UserError("x" * 10**6))) < 300
    assert len(str(UserError("x y " * 10**6))) < MESSAGE + 50
    assert str(UserError("/a/b: is wrong; correct it")) == "/a/b: is wrong; correct it"
    with pytest.raises(UserError, match="n is a number of 33220 bits; it must be a whole number"):
        must_fit(10**10000, Count, "n")
    with pytest.raises(ValueError, match="it must be"):
        read(LONG, Count)


def test_cells_and_headers_of_a_table_are_cut_in_messages(tmp_path: Path) -> None:
    file, words = tmp_path / "a.csv", "a b " * 50_000
    for text, layout in (
        (f"x\n{words}\n", Layout()),
        (f"t,x\n{words},1\n", Layout(order="t")),
        (",".join(f"column {i}" for i in range(20_000)), Layout(sequence="name")),
    ):
        file.write_text(text)
        with pytest.raises(UserError) as error:
            read_csv(file, layout, "a.csv")
        assert len(str(error.value)) < 2000


def test_a_table_of_many_columns_takes_seconds(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(20_000)]
    (tmp_path / "a.csv").write_text(f"{','.join(names)}\n{','.join(['1'] * len(names))}\n")
    began = time.process_time()
    rows = read_csv(tmp_path / "a.csv", Layout(), "a.csv")
    assert time.process_time() - began < 2  # 8 s where each name is looked for among all
    assert rows.values.shape == (1, 20_000)
