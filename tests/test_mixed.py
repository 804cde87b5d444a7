"""Tables of columns of several kinds: declared or recognized, trained on, sampled in the user's units, and refused."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import stats
from scipy.special import expit
from torch import Tensor

import zforcing as zf
from conftest import Command
from zforcing import Sequences, UserError
from zforcing.data import Table
from zforcing.observations import CategoryColumn
from zforcing.settings import read
from zforcing.settings.check import unfit
from zforcing.training.runs.trained import Trained

KINDS = {"energy": "positive", "faults": "count", "on": "binary", "tool": "category"}
TOOLS = ("drill", "mill", "saw")
SMALL = ["--model.hidden_size", "6", "--model.embedding_size", "4", "--training.max_steps", "2", "--device", "cpu"]


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


def machines(rows: int = 120, *, seed: int = 0) -> pd.DataFrame:
    """12 machines of 10 steps, and columns of all kinds."""
    rng = np.random.default_rng(seed)
    on = rng.integers(0, 2, rows)
    return pd.DataFrame(
        {
            "machine": np.arange(rows) // 10,
            "speed": rng.normal(300, 40, rows),
            "energy": np.exp(rng.normal(4, 1, rows)),
            "faults": rng.poisson(1 + 4 * on),
            "on": on,
            "tool": np.array(TOOLS)[rng.integers(0, 3, rows)],
        }
    )


def kinds_of(data: Sequences) -> list[str]:
    assert data.description.spec.columns is not None
    return [column.name for column in data.description.spec.columns]


def frame(**columns: Any) -> Sequences:
    return Sequences.from_frame(pd.DataFrame(columns), kinds="auto", columns=list(columns))


# ---- kinds, declared and recognized


def test_declared_kinds_are_taken_and_the_others_recognized() -> None:
    data = Sequences.from_frame(machines(), by="machine", kinds={"energy": "positive"})
    assert kinds_of(data) == ["real", "positive", "count", "binary", "category"]
    assert "kinds=[real, positive, count, binary, category]" in repr(data)
    assert "recognized column 'speed' as real, column 'faults' as count" in data.remark
    assert "energy" not in data.remark
    assert "recognized" not in Sequences.from_frame(machines(), by="machine", kinds=KINDS | {"speed": "real"}).remark


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 1, 1], "binary"),
        ([True, False, True], "binary"),
        ([0.0, 1.0, math.nan], "binary"),
        (["a", "b", None], "category"),
        (["true", "False", None], "binary"),
        ([0, 3, 17], "count"),
        ([0, 3, 100_000], "real"),
        ([-1, 0, 1], "real"),
        ([0.5, 2.0, 900.0], "real"),
        (pd.Categorical(["b", "a", "b"], categories=["c", "b", "a"]), "category"),
    ],
)
def test_kinds_are_recognized_by_the_values(values: Any, kind: str) -> None:
    assert kinds_of(frame(x=values)) == [kind]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["1,5", "-2,25", "3,0"], "such as '-2,25', with decimal commas; write numbers with points"),
        ([f"2024-01-{day:02d}" for day in range(1, 31)], "30 different ones in 30 rows; leave it out of columns"),
    ],
)
def test_text_that_is_no_category_is_refused_where_nobody_says_that_it_is(values: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        frame(x=values)
    assert kinds_of(Sequences.from_frame(pd.DataFrame({"x": values}), kinds={"x": "category"})) == ["category"]


def test_categories_of_text_have_the_order_of_pandas_or_of_the_alphabet() -> None:
    known = frame(x=pd.Categorical(["b", "a", "b"], categories=["c", "b", "a"]))
    assert known.description.spec.columns == (CategoryColumn(3, ("c", "b", "a")),)
    assert known.raw(0)[:, 0].tolist() == [1, 2, 1]
    sorted_ = Sequences.from_frame(pl.DataFrame({"x": ["b", None, "a"]}), kinds="auto")
    assert sorted_.description.spec.columns == (CategoryColumn(2, ("a", "b")),)
    np.testing.assert_array_equal(sorted_.raw(0)[:, 0], [1, math.nan, 0])
    chosen = Sequences.from_frame(pl.DataFrame({"x": pl.Series(["b"], dtype=pl.Enum(["b", "a"]))}), kinds="auto")
    assert chosen.description.spec.columns == (CategoryColumn(2, ("b", "a")),)


def test_arrays_have_kinds_in_their_order_or_by_name() -> None:
    x = np.array([[[0.5, 1, 2], [-1, 0, 0]]])
    data = Sequences(x, kinds=["real", "binary", "category(5)"])
    assert data.description.spec.columns is not None
    assert data.description.spec.columns[2] == CategoryColumn(5)
    assert kinds_of(Sequences(x, kind="mixed")) == ["real", "binary", "count"]
    assert kinds_of(Sequences(x, names=["a", "b", "c"], kinds={"c": "category"})) == ["real", "binary", "category"]


def test_all_splits_have_the_categories_of_all_rows_and_the_scaling_of_the_training_rows() -> None:
    data = Sequences(np.arange(40.0).reshape(10, 4, 1) % 10, kinds=["category"])
    assert {part.description.spec.columns for part in data.split(0.4, 0.3, 0.3)} == {(CategoryColumn(10),)}
    train, valid, _ = Sequences.from_frame(machines(), by="machine", kinds=KINDS).split(0.5, 0.3, 0.2)
    scaling = valid.description.normalization
    speeds = np.concatenate([x[:, 0] for x in train.to_arrays()])
    assert scaling is not None
    assert (scaling.mean[0], scaling.std[0]) == (speeds.mean(), speeds.std())
    assert (scaling.mean[1:], scaling.std[1:]) == ((0,) * 4, (1,) * 4)


def test_only_real_columns_are_scaled_and_all_come_back_in_your_units() -> None:
    data = Sequences.from_frame(machines(), by="machine", kinds=KINDS)
    table = machines().replace({"tool": {tool: i for i, tool in enumerate(TOOLS)}}).drop(columns="machine")
    np.testing.assert_allclose(np.concatenate(data.to_arrays()), table.to_numpy(float))
    read = np.concatenate([example.x for example in data])
    np.testing.assert_allclose(read[:, 1:], table.to_numpy(float)[:, 1:], rtol=1e-6)
    assert abs(read[:, 0].mean()) < 1e-5
    back = data.description.format.to_units(read, data.description)
    np.testing.assert_allclose(back, table.to_numpy(float), rtol=1e-5)


@pytest.mark.parametrize("values", [[0, 1, 1, 0], [0.0, 1.0, math.nan, 0.0], [False, True, True, False]])
def test_a_column_of_zeros_and_ones_in_real_data_is_remarked_on(values: Any) -> None:
    table = pd.DataFrame({"speed": [1.0, 2.0, 5.0, 3.0], "pen": values})
    remark = Sequences.from_frame(table).remark
    assert "column 'pen' holds only 0 and 1" in remark
    assert "kinds, such as {pen: binary}" in remark
    assert Sequences.from_frame(table, columns=["speed"]).remark == ""
    assert "feature 1" in Sequences([table.to_numpy(float)]).remark


# ---- models


def trained(steps: int = 0, **settings: Any) -> tuple[zf.RNN, Sequences]:
    data = Sequences.from_frame(machines(), by="machine", kinds=KINDS, missing=True)
    torch.manual_seed(0)
    model = zf.RNN.for_data(data, hidden_size=8, embedding_size=6, **settings)
    model.backend = "reference"
    if steps:
        zf.fit(model, data, data, epochs=steps, learning_rate=0.02, progress=False)
    return model.eval(), data


def test_a_model_learns_what_columns_say_of_each_other() -> None:
    before, data = trained()
    after, _ = trained(steps=15)
    nats = [zf.evaluate(model, data, bound=zf.Exact()).nats_per_step for model in (before, after)]
    assert nats[1] > nats[0] + 0.3


def test_raw_nats_are_those_of_densities_of_the_users_own_numbers() -> None:
    model, data = trained()
    found = zf.evaluate(model, data, bound=zf.Exact())
    rows = [model.unroll(zf.observations.collate([example], model.spec)).emission for example in data]
    scaling = data.description.normalization
    assert scaling is not None
    expected = 0.0
    for emission, raw in zip(rows, data.to_arrays(), strict=True):
        real, positive, count, on, tool = ([v.double().detach().numpy() for v in parts(d)] for d in emission.each)
        mean, std = scaling.mean[0], scaling.std[0]
        expected += stats.norm.logpdf(raw[:, 0], mean + std * real[0], std * real[1]).sum()
        expected += stats.lognorm.logpdf(raw[:, 1], positive[1], scale=np.exp(positive[0])).sum()
        expected += stats.nbinom.logpmf(raw[:, 2], count[0], expit(-count[1])).sum()
        expected += stats.bernoulli.logpmf(raw[:, 3], expit(on[0])).sum()
        expected += np.take_along_axis(tool[0], raw[:, 4:].astype(int), axis=1).sum()
    assert found.raw_nats_per_sequence is not None
    assert math.isclose(found.raw_nats_per_sequence * len(data), expected, rel_tol=1e-5)


def parts(distribution: Any) -> Iterator[Tensor]:
    """The parameters of a column's distribution, [T] or [T, V]."""
    for name in ("loc", "scale", "total_count", "logits"):
        if hasattr(distribution, name):
            value = getattr(distribution, name)[0]
            yield value[:, 0] if value.dim() > 1 else value


def test_scores_and_streams_are_of_each_column() -> None:
    """The pen's, say, and the whole step's; a stream says the same, and what is expected in the user's units."""
    model, data = trained()
    scores = zf.score(model, data[:2])
    assert scores.unit == "density"
    assert scores.names == ("speed", "energy", "faults", "on", "tool")
    assert scores.features is not None
    np.testing.assert_allclose(scores.features[0].sum(axis=1), scores.nats[0], rtol=1e-4)
    stream, found = zf.stream(model), []
    for row in data.raw(0):
        step = stream.push(row)
        found.append(step.nats)
    np.testing.assert_allclose(found, scores.nats[0], rtol=1e-3)
    forecast = stream.forecast()
    assert forecast.mean is not None
    assert 100 < forecast.mean[0] < 500
    assert 0 < forecast.mean[3] < 1
    assert math.isnan(forecast.mean[4])
    assert set(np.unique(forecast.draws[:, 4])) <= {0, 1, 2}
    with pytest.raises(UserError, match="0 in place 1; positive numbers are above 0"):
        stream.push([300, 0, 1, 1, 2])
    with pytest.raises(UserError, match="3 in place 4; the categories of the training split are drill, mill, saw"):
        stream.push([300, 1, 1, 1, 3])


def test_the_baseline_is_each_columns_likeliest_density() -> None:
    """The mean nats of the likeliest density are minus the entropies of Gaussian, log-normal, bits and names."""
    rng = np.random.default_rng(1)
    reals, bits = (rng.normal(size=300), np.exp(rng.normal(2, 0.5, 300))), rng.random(300) < 0.2
    x = np.stack([*reals, bits, rng.integers(0, 3, 300)])
    data = Sequences([x.T], kinds=["real", "positive", "binary", "category"])
    model = zf.RNN.for_data(data, hidden_size=4)
    (found,) = zf.evaluate(model, data, baselines=data).baselines
    logs = np.log(x[1])
    gaussians = -np.log([x[0].std(), logs.std()]) - 0.5 * math.log(2 * math.pi * math.e)
    shares = [np.bincount(column.astype(int)) / 300 for column in x[2:]]
    expected = gaussians.sum() - logs.mean() + sum((share * np.log(share)).sum() for share in shares)
    assert found.name == "independent columns"
    assert found.raw_nats_per_sequence is not None
    assert math.isclose(found.raw_nats_per_sequence / 300, expected, rel_tol=1e-4)


def test_missing_values_are_no_evidence() -> None:
    model, data = trained()
    table = machines()
    table.loc[5, ["energy", "tool"]] = None
    gaps = Sequences.from_frame(table, by="machine", kinds=KINDS)
    found = zf.evaluate(model, gaps, bound=zf.Exact())
    assert found.num_dims == 120 * 5 - 2
    assert math.isfinite(found.nats_per_sequence)
    assert found.nats_per_sequence != zf.evaluate(model, data, bound=zf.Exact()).nats_per_sequence


def test_samples_are_in_the_support_of_each_column() -> None:
    model, _ = trained()
    x = zf.sample(model, 20, steps=6, seed=0).x.numpy()
    assert (x[..., 1] > 0).all()
    for i, least, most in ((2, 0, math.inf), (3, 0, 1), (4, 0, 2)):
        assert (x[..., i] == np.floor(x[..., i])).all()
        assert x[..., i].min() >= least
        assert x[..., i].max() <= most


def test_a_saved_model_reads_a_frame_whose_categories_are_others(tmp_path: Path) -> None:
    model, _ = trained()
    zf.save(tmp_path / "saved", model)
    loaded, table = zf.load(tmp_path / "saved"), machines(20, seed=3)
    assert loaded.description == model.description
    few = table[table["tool"] != "drill"]
    whole = zf.evaluate(model, Sequences.from_frame(few, by="machine", kinds=KINDS), bound=zf.Exact())
    codes = few.assign(tool=few["tool"].map({tool: i for i, tool in enumerate(TOOLS)}))
    by_code = Sequences.from_frame(codes, by="machine", kinds=KINDS)
    found = zf.evaluate(loaded, by_code, bound=zf.Exact())
    assert math.isclose(found.nats_per_sequence, whole.nats_per_sequence, rel_tol=1e-6)


def test_samples_of_a_conditioned_model_begin_with_observations_of_the_data() -> None:
    data = Sequences.from_frame(machines(), by="machine", kinds=KINDS, first_observation="conditioned")
    model = zf.VRNN.for_data(data, hidden_size=5, latent_size=2, feature_size=4, mlp_size=4)
    zf.fit(model, data, max_steps=1, progress=False)
    assert model.starts is not None
    assert model.starts.shape == (12, 5)
    assert zf.sample(model, 3, steps=2).x.shape == (3, 2, 5)


# ---- mistakes


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("faults", -1, "-1.0 at sequence 0, step 3, column 'faults'.*a count is a whole number"),
        ("faults", 0.5, "0.5 at .*a count is a whole number"),
        ("energy", 0.0, "0.0 at sequence 0, step 3, column 'energy'.*above 0"),
        ("on", 2, "2.0 at .*a binary column is 0 or 1"),
        ("speed", math.inf, "inf at .*must be finite"),
        ("tool", "chisel", "'chisel' at sequence 0, step 3, column 'tool'.*has the categories drill, mill, saw"),
        ("tool", None, "trained on data without"),
    ],
)
def test_a_value_that_a_column_doesnt_have_is_named(column: str, value: Any, said: str) -> None:
    data = Sequences.from_frame(machines(), by="machine", kinds=KINDS)
    model, table = zf.RNN.for_data(data, hidden_size=4), machines(20).astype({"faults": float, "on": float})
    table.loc[3, column] = value
    with pytest.raises(UserError, match=said):
        zf.evaluate(model, Sequences.from_frame(table, by="machine", kinds=KINDS))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kinds": {"pem": "binary"}}, "kinds names pem, which is no column; it has machine, speed"),
        ({"kinds": {"on": "bool"}}, "unknown kinds 'bool'"),
        ({"kinds": {"on": "binary(2)"}}, "'binary(2)'; a category may have a size"),
        ({"kinds": "binary"}, "kinds is 'binary'; it must be auto"),
        ({"kinds": ["real", "binary"]}, "2 kinds for 6 columns"),
        ({"kinds": {"tool": "real"}}, "column 'tool' holds text, such as 'drill'; a real column holds numbers"),
        ({"kinds": KINDS, "kind": "binary"}, "kinds goes with kind mixed"),
        ({"kinds": KINDS, "categories": 3}, "categories is 3, but kind mixed"),
        ({}, "no numbers in 'tool'.*kinds='auto'"),
    ],
)
def test_kinds_that_cant_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said.replace("(", r"\(").replace(")", r"\)").replace(r".\*", ".*")):
        Sequences.from_frame(machines(), **options)


def test_kinds_by_name_need_names() -> None:
    with pytest.raises(UserError, match="kinds names columns, which have no names here; make it a list of the 2 kinds"):
        Sequences([[[1.0, 2.0]]], kinds={"x": "real"})


def test_a_column_that_is_never_observed_has_no_kind() -> None:
    with pytest.raises(UserError, match=r"feature 1 .* is never observed"):
        Sequences([[[1.0, math.nan]]], kinds=["real", "count"])


def test_numbers_are_no_names_that_look_like_numbers() -> None:
    text = Sequences.from_frame(pd.DataFrame({"x": ["2", "3a", "2"]}), kinds="auto")
    model = zf.RNN.for_data(text, hidden_size=4)
    with pytest.raises(
        UserError, match="column 'x' holds numbers; in the training split it is text, 2, 3a: give it te"
    ):
        zf.evaluate(model, Sequences.from_frame(pd.DataFrame({"x": [1, 0]}), kinds={"x": "category"}))
    numbers = zf.RNN.for_data(Sequences.from_frame(pd.DataFrame({"x": [2, 3]}), kinds="auto"), hidden_size=4)
    with pytest.raises(UserError, match="column 'x' holds text, such as '3a'; in the training split it holds numbers"):
        zf.evaluate(numbers, text)


def test_a_model_of_mixed_data_asks_for_mixed_data() -> None:
    model, _ = trained()
    with pytest.raises(UserError, match="give Sequences kind='mixed'"):
        zf.evaluate(model, Sequences.from_frame(machines().drop(columns="tool"), by="machine"))


# ---- commands


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a table."""
    folder = tmp_path_factory.mktemp("mixed")
    torch.set_default_dtype(torch.float32)
    table = machines()
    table.loc[7, "tool"] = None
    table.to_csv(folder / "machines.csv", index=False)
    words = ["--data.path", str(folder / "machines.csv"), "--data.sequence", "machine", "--data.missing", "allow"]
    kinds = "{energy: positive, 'on': binary}"
    command = ["train", "table-rnn", *words, "--data.kinds", kinds, *SMALL, "--run-dir", str(folder / "run")]
    assert zf.cli.main(command) == 0  # type: ignore[attr-defined]  # a package of ours
    return folder / "run"


def test_training_says_what_was_recognized(run: Path, tmp_path: Path, zf: Command) -> None:
    result = zf("train", run / "config.yaml", "--run-dir", tmp_path / "again", "--training.max_steps", 1)
    columns = "5 columns (speed real, energy positive, faults count, on binary, tool category)"
    assert f"train: 10 sequences of 10 steps (100 in all); {columns}" in result.err
    assert "real ones normalized (standard deviation " in result.err
    assert "warning" not in result.err
    said = "recognized column 'speed' as real, column 'faults' as count, column 'tool' as category (data.kinds says"
    assert said in result.err
    assert Trained.load(str(run), which="best").config.data.kinds == {"energy": "positive", "on": "binary"}  # type: ignore[union-attr]  # a table


def test_training_warns_of_zeros_and_ones_in_real_data(run: Path, tmp_path: Path, zf: Command) -> None:
    words = ["--data.columns", "[speed, on]", "--data.kinds", "null", "--run-dir", tmp_path / "real"]
    result = zf("train", run / "config.yaml", *words)
    assert "warning: column 'on' holds only two values (0, 1)" in result.err
    assert "give it a kind of its own by kinds (binary, category)" in result.err


def test_samples_of_a_table_have_its_kinds_and_are_read_back(run: Path, tmp_path: Path, zf: Command) -> None:
    (written,) = (
        p for p in zf("sample", run, "--num", 3, "--out", tmp_path, "--json").json["files"] if p.endswith("csv")
    )
    with Path(written).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    assert {row["tool"] for row in rows} <= set(TOOLS)
    assert {row["on"] for row in rows} == {"0", "1"}
    assert all(row["faults"].isdecimal() for row in rows)
    assert all(float(row["energy"]) > 0 for row in rows)
    longer = zf("continue", run, written, "--num", 1, "--steps", 2, "--out", tmp_path, "--json").json["files"]
    assert [Path(file).suffix for file in longer] == [".npz", ".csv", ".png"]


def test_rows_are_scored_and_streamed_with_names_of_categories(
    run: Path, tmp_path: Path, zf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = machines(20)
    table.to_csv(tmp_path / "new.csv", index=False)
    assert zf("score", run, tmp_path / "new.csv", "--out", tmp_path / "scores.csv", "--json").code == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(table.to_csv(index=False)))
    streamed = [json.loads(line)["nats"] for line in zf("stream", run).out.splitlines()]
    with (tmp_path / "scores.csv").open(encoding="utf-8") as file:
        scored = [float(row["nats"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(streamed, scored, rtol=1e-3)
    monkeypatch.setattr("sys.stdin", io.StringIO(table.replace("saw", "chisel").to_csv(index=False)))
    assert "'chisel' is no category; the model knows drill, mill, saw" in zf("stream", run).err


def test_evaluation_is_in_the_tables_units(run: Path, zf: Command) -> None:
    found = zf("evaluate", run, "--json").json
    assert found["raw_nats_per_sequence"] < found["nats_per_sequence"] < 0


def test_a_file_is_evaluated_as_the_same_sequences_of_the_data(run: Path, zf: Command) -> None:
    whole = zf("evaluate", run, run.parent / "machines.csv", "--json").json
    assert whole["num_sequences"] == 12
    assert whole["num_dims"] == 120 * 5 - 1


def test_a_validation_file_may_have_fewer_categories(run: Path, tmp_path: Path, zf: Command) -> None:
    few = machines(40, seed=2)
    few[few["tool"] != "drill"].to_csv(tmp_path / "valid.csv", index=False)
    words = ["--data.valid_path", tmp_path / "valid.csv", "--run-dir", tmp_path / "run"]
    assert zf("train", run / "config.yaml", *words, "--json").code == 0


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_other_files_have_the_columns_of_the_training_split(
    suffix: str, run: Path, tmp_path: Path, zf: Command
) -> None:
    table = machines(20)
    path = tmp_path / f"other.{suffix}"
    write = table.to_csv if suffix == "csv" else table.to_parquet
    write(path, index=False)
    assert zf("continue", run, path, "--num", 1, "--steps", 2, "--out", tmp_path, "--json").code == 0
    table.loc[12, "tool"] = "chisel"
    write(path, index=False)
    mistake = zf("continue", run, path, "--num", 1, "--steps", 2, "--out", tmp_path).mistake
    assert "'chisel' at sequence" in mistake
    assert "column 'tool'" in mistake


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data.kinds", "{pem: binary}"], "data.kinds names pem, which is no column"),
        (["--data.kinds", "{speed: count}"], "a count is a whole number"),
        (
            ["--data.kinds", "{speed}"],
            "it must be auto or texts by name such as {a: b} or a list",
        ),
        (["--data.kinds", "auto", "--data.kind", "binary"], "data.kinds goes with data.kind mixed"),
    ],
)
def test_mistakes_in_settings_are_one_line(words: list[str], said: str, run: Path, tmp_path: Path, zf: Command) -> None:
    assert said in zf("train", run / "config.yaml", *words, "--run-dir", tmp_path / "bad").mistake


def test_arrays_have_kinds_too(tmp_path: Path, zf: Command) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(20, 5, 2)), rng.integers(0, 2, (20, 5, 1))], axis=-1)
    np.savez(tmp_path / "strokes.npz", strokes=x)
    small = [*SMALL, "--model.latent_size", 2, "--model.mlp_size", 4]
    words = ["--data.path", tmp_path / "strokes.npz", "--run-dir", tmp_path / "run", *small]
    assert zf("train", "strokes-zforcing", *words, "--json").code == 0
    spec = Trained.load(str(tmp_path / "run"), which="best").description.spec
    assert [column.name for column in spec.columns or ()] == ["real", "real", "binary"]
    assert zf("evaluate", tmp_path / "run", "--bound", "iwae", "--particles", 2, "--json").code == 0


def test_texts_by_name_are_read_from_a_word() -> None:
    hint = dict[str, str]
    assert read("{a: b, 'c:d': e}", hint) == {"a": "b", "c:d": "e"}
    assert read("{}", hint) == {}
    assert (unfit({"a": "b"}, hint), unfit({"a": 1}, hint)) == ("", "texts by name such as {a: b}")
    for wrong in ("{a}", "a: b", "{a: b, c}"):
        with pytest.raises(ValueError, match="must be texts by name"):
            read(wrong, hint)


# ---- text that looks like numbers, or like true and false


def flags(file: Path, *cells: str) -> Path:
    """Sequences of two steps with a column of these cells, and a number."""
    file.write_text("id,flag,v\n" + "".join(f"{i // 2},{cell},{i}.5\n" for i, cell in enumerate(cells)))
    return file


@pytest.mark.parametrize(
    ("trained", "own", "kinds", "codes"),
    [
        (("TRUE", "FALSE", "NA"), ("TRUE", "FALSE", "TRUE", "TRUE"), "auto", [2, 0, 2, 2]),
        (("1.0", "2.0", "NA"), ("2.0", "1.0", "1.0", "1.0"), {"flag": "category"}, [1, 0, 0, 0]),
    ],
)
def test_a_file_of_fewer_names_has_the_codes_of_the_training_split(
    trained: tuple[str, ...], own: tuple[str, ...], kinds: Any, codes: list[int], tmp_path: Path
) -> None:
    file = str(flags(tmp_path / "own.csv", *own))
    data = Table(str(flags(tmp_path / "all.csv", *trained * 6)), test_path=file, sequence="id", kinds=kinds)
    description = data.describe()
    assert np.concatenate([example.x[:, 0] for example in data.load("test", description)]).tolist() == codes
    assert np.concatenate([x.x[:, 0] for x in description.format.read(file, description)]).tolist() == codes


def test_a_path_that_changed_is_read_by_the_names_of_the_model(tmp_path: Path) -> None:
    file = flags(tmp_path / "all.csv", *("TRUE", "FALSE", "NA") * 6)
    description = Table(str(file), sequence="id", kinds="auto").describe()
    flags(file, *("TRUE", "FALSE") * 9)
    train = Table(str(file), sequence="id", kinds="auto").load("train", description)
    assert train.raw(0)[:, 0].tolist() == [2, 0]


@pytest.mark.parametrize("own", [["True", "False", "True"], [True, False, True]])
def test_true_and_false_in_a_frame_have_the_codes_of_their_names(own: list[Any]) -> None:
    names = pd.Categorical(["True", "False", "True"], categories=["True", "False"])
    known = Sequences.from_frame(pd.DataFrame({"x": names}), kinds="auto").description
    frame = pd.DataFrame({"x": own})
    assert Sequences.from_frame(frame, like=known).raw(0)[:, 0].tolist() == [0, 1, 0]
    assert Sequences.from_frame(frame, kinds="auto").described_as(known).raw(0)[:, 0].tolist() == [0, 1, 0]


def test_numbers_may_be_names_that_arent_whole() -> None:
    known = Sequences.from_frame(pd.DataFrame({"x": ["1.5", "low"]}), kinds="auto").description
    with pytest.raises(UserError, match=r"holds numbers; in the training split it is text, 1.5, low: give it text"):
        Sequences.from_frame(pd.DataFrame({"x": [0.0, 1.0]}), like=known)


def test_a_word_for_what_is_missing_among_numbers_is_no_category() -> None:
    ages = pd.DataFrame({"age": [str(age) for age in range(20, 32)] + ["NA"]})
    with pytest.raises(UserError, match="column 'age' holds 'NA' among numbers; leave the cell empty"):
        Sequences.from_frame(ages, kinds="auto")
    assert kinds_of(Sequences.from_frame(ages, kinds={"age": "category"})) == ["category"]


def test_a_small_split_has_as_many_names_as_it_has(tmp_path: Path) -> None:
    rows = [f"{i // 8},name {i % 25},{i % 7}.5" for i in range(400)]
    (tmp_path / "names.csv").write_text("\n".join(["id,who,v", *rows]) + "\n")
    data = Table(str(tmp_path / "names.csv"), sequence="id", kinds="auto")
    assert len(data.load("valid", data.describe())) == 5


def test_a_model_of_true_and_false_reads_the_file_that_it_is_of(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": np.repeat([0, 1, 2], 4), "on": [True, False] * 6, "v": np.arange(12) / 4})
    frame.to_csv(tmp_path / "on.csv", index=False)
    of_file = Table(str(tmp_path / "on.csv"), sequence="id", kinds="auto").describe()
    for known in (Sequences.from_frame(frame, by="id", kinds="auto").description, of_file):
        assert known.format.read(str(tmp_path / "on.csv"), known)[0].x[:, 0].tolist() == [1, 0, 1, 0]


def test_a_positive_number_that_float32_has_not_is_refused() -> None:
    with pytest.raises(UserError, match=r"2e-50 at sequence 0, step 1, .* so small that float32 holds 0: multiply"):
        Sequences([[[1.0], [2e-50], [3.0]]] * 6, kinds=["positive"])
