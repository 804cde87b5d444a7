"""Learning curves: what is read of metrics.jsonl, and the picture that `zforcing plot` draws of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from conftest import Command
from zforcing.errors import UserError
from zforcing.report.charts import curve, drawing, legend_drawing
from zforcing.report.curves import Curves, Panel, panels

CHUNK = {"event": "training", "nats_per_chunk": -3.0, "kl_per_chunk": 1.0, "loss": 2.5, "auxiliary_per_chunk": 7.0}
SEQUENCE = {
    "event": "validation",
    "nats_per_sequence": -9.0,
    "kl_per_sequence": 3.0,
    "kind": "lower bound",
    "best": True,
}
ROWS: list[dict[str, Any]] = [
    SEQUENCE | {"epoch": 0, "step": 0, "loss": 9.0, "seconds": 0.5, "cpu_seconds": 1.0},
    CHUNK | {"epoch": 1, "step": 2, "kl_weight": 0.2, "learning_rate": 0.1, "seconds": 30.0, "cpu_seconds": 31.0},
    CHUNK | {"epoch": 1, "step": 4, "kl_weight": 0.4, "learning_rate": 0.1, "seconds": 60.0, "gradient_norm": "nan"},
    {
        "event": "nonfinite",
        "epoch": 1,
        "step": 5,
        "what": "loss",
        "loss": "nan",
        "gradient_norm": "inf",
        "seconds": 61.0,
    },
    SEQUENCE | {"epoch": 1, "step": 8, "loss": 8.0, "seconds": 90.0},
]


def write(folder: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("seed: 0\n")
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


@pytest.fixture
def found(tmp_path: Path) -> dict[tuple[str, str], Panel]:
    return {(panel.term, panel.unit): panel for panel in panels([Curves.read(write(tmp_path / "run"))])}


def test_there_is_a_panel_for_every_term_in_its_unit(found: dict[tuple[str, str], Panel]) -> None:
    per_chunk, per_sequence = "nats per chunk", "nats per sequence"
    terms = {("nats", per_chunk), ("kl", per_chunk), ("loss", per_chunk), ("auxiliary", per_chunk)}
    terms |= {("nats", per_sequence), ("kl", per_sequence), ("loss", per_sequence)}
    assert set(found) == terms | {("kl_weight", ""), ("learning_rate", "")}  # a gradient norm is never finite here


def test_a_curve_stands_against_updates_epochs_and_minutes(found: dict[tuple[str, str], Panel]) -> None:
    (series,) = found["loss", "nats per chunk"].series
    assert series.event == "training"
    np.testing.assert_array_equal(series.y, [2.5, 2.5])
    np.testing.assert_array_equal(series.x["updates"], [2, 4])
    np.testing.assert_array_equal(series.x["epochs"], [0.25, 0.5])  # 8 updates are an epoch
    np.testing.assert_array_equal(series.x["minutes"], [0.5, 1])


def test_rows_of_before_have_no_minutes(tmp_path: Path) -> None:
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in ROWS]
    (panel, *_) = panels([Curves.read(write(tmp_path / "run", rows))])
    assert (panel.has("updates"), panel.has("minutes")) == (True, False)


def test_terms_that_one_of_two_runs_has_have_a_panel(tmp_path: Path) -> None:
    runs = [Curves.read(write(tmp_path / "a")), Curves.read(write(tmp_path / "b", ROWS[:1]))]
    counts = {(panel.term, panel.unit): {s.run for s in panel.series} for panel in panels(runs)}
    assert counts["auxiliary", "nats per chunk"] == {0}
    assert counts["kl", "nats per sequence"] == {0, 1}


def test_runs_are_told_apart_without_colour(tmp_path: Path) -> None:
    drawn = panels([Curves.read(write(tmp_path / name)) for name in ("a", "b")])
    looks = legend_drawing(["a $x$ <b>", "b"], drawn).svg
    assert "a $x$ &lt;b&gt;, validation" in looks
    assert looks.count("stroke-dasharray") == 2  # training of either, by dashes of their own
    assert drawing(lambda axes: curve(axes, drawn[0], "updates"), label="loss").svg.startswith("<svg role=")


@pytest.mark.parametrize(
    "text", ["", "{\n", '{"event": "training"}\n', "[1]\n", '{"event": "training", "step": "x"}\n']
)
def test_damaged_metrics_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(UserError, match=r"metrics\.jsonl"):
        Curves.read(tmp_path)


def test_plot_draws_several_runs_into_one_picture(tmp_path: Path, zf: Command) -> None:
    write(tmp_path / "a", [{"event": "validation", "epoch": 0, "step": 0, "loss": 9.0, "seconds": 30.0}])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    out = tmp_path / "curves.png"
    assert zf("plot", tmp_path / "a", tmp_path / "b", "--out", out, "--json").json == {"file": str(out)}
    assert imread(out).shape[1] == 1104  # two columns, of updates and of minutes


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        (["run", "--out", "curves.pdf"], "it must be a .png file"),
        (["run", "--against", "days"], "--against"),
        (["run"], "run has no metrics.jsonl: name a folder that `zforcing train` wrote"),
        (["other"], "no such run folder: other"),
    ],
)
def test_a_wrong_word_is_one_line(
    tmp_path: Path, zf: Command, monkeypatch: pytest.MonkeyPatch, words: list[str], mistake: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    assert mistake in zf("plot", *words).mistake
