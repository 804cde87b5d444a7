"""All that is done with a trained model, of each kind of data, from the command line and from Python."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zforcing as zf
from conftest import Command
from runs_of_each_kind import train_runs
from zforcing.data import InMemory, SequenceDataset
from zforcing.observations import collate
from zforcing.training.runs.trained import Trained

pytestmark = pytest.mark.slow
KINDS = ("digits", "speech", "music", "table")
VERBS = {
    "score": "score {run} test:0-1",
    "score, smoothed": "score {run} --kind smoothed",
    "detection's threshold": "score {run} test:0 --threshold-from train --false-alarms 0.1",
    "forecast": "forecast {run} --steps 2 --num-samples 5",
    "forecasts measured": "evaluate {run} --forecast 2 --num-samples 5",
    "impute": "impute {run} --particles 4",
    "encode": "encode {run} --num 2",
    "reconstruct": "reconstruct {run} test:0-1",
    "interpolate": "interpolate {run} test:0 test:1",
    "sample": "sample {run} --num 2",
    "continue": "continue {run} test:0 --given 2",
    "evaluate": "evaluate {run} --latents",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    train_runs(folder, *KINDS)
    return folder


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_command_runs_and_what_it_names_is_there(runs: Path, zf: Command, kind: str, verb: str) -> None:
    result = zf(*VERBS[verb].format(run=runs / f"run-{kind}").split(), "--device", "cpu", "--json")
    made = result.json.get("file", result.json.get("files"))
    assert made is None or all(Path(file).is_file() for file in ([made] if isinstance(made, str) else made))


def test_a_split_without_gaps_has_nothing_to_fill(runs: Path, zf: Command) -> None:
    assert zf("impute", runs / "run-table", "--particles", 4, "--device", "cpu").err == "nothing is missing in it\n"


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_answers_each_line(runs: Path, zf: Command, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = "[{}]".format(", ".join({"digits": ["1"], "speech": 20 * ["0.5"], "music": 88 * ["0"], "table": []}[kind]))
    lines = 2 * f"{row}\n" if kind != "table" else "machine,speed,heat\nm0,100,1\nm0,90,2\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert zf("stream", runs / f"run-{kind}", "--device", "cpu").out.count('"step"') == 2


@pytest.fixture
def trained(runs: Path, kind: str) -> tuple[Any, SequenceDataset]:
    """The model of a run, and its test split."""
    run = Trained.load(str(runs / f"run-{kind}"), which="best")
    return run.model, run.data.load("test", run.description).described_as(run.description)


@pytest.mark.parametrize("kind", KINDS)
def test_from_python(trained: tuple[Any, SequenceDataset]) -> None:
    model, data = trained
    steps = sum(data.lengths)
    assert len(zf.score(model, data, particles=4).to_frame()) == steps
    ahead = zf.forecast(model, data, steps=2, num_samples=5, particles=4)
    assert ahead.samples[0].shape[:2] == (5, 2)
    assert len(zf.evaluate_forecast(model, data, steps=2, num_samples=5, particles=4).overall) == 1
    assert len(zf.impute(model, data, particles=4).filled) == len(data)
    encoded = zf.encode(model, data, num_samples=2)
    assert encoded.means[0].shape == encoded.samples[0].shape[1:]
    assert len(zf.reconstruct(model, data).x) == len(data)
    ends = (InMemory([data[i]]).described_as(model.description) for i in (0, 1))
    assert len(zf.interpolate(model, *ends, num=3).x) == 3
    prefix = collate([data[0].cut(0, 3)], model.spec)
    assert zf.continue_from(model, prefix, steps=2, num_samples=2, particles=4).x.shape[:2] == (2, 2)
    assert len(zf.sample(model, 2, steps=3).x) == 2
    assert np.isfinite(zf.evaluate(model, data).nats_per_sequence)
    assert zf.latents_report(model, data).kl_per_step >= 0
    stream = zf.stream(model, particles=4)
    example = data[0].x
    assert [stream.push(x).step for x in example[:3]] == [0, 1, 2]
