"""The reference says what there is, once: every public name, and every field of every file that a run has."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import zforcing
from conftest import Command
from zforcing.bounds import Weights
from zforcing.testing import __all__ as checks
from zforcing.training.history import SkippedRow, TrainingRow, times_of

PAGES = Path(__file__).parents[1] / "docs" / "reference"
ENTRIES = re.compile(r"^```\{api\} (.*)$|^\.\. py:data:: (.*)$", re.MULTILINE)


def named() -> list[str]:
    """The names that have an entry, in all pages."""
    found = [match for page in PAGES.glob("*.md") for match in ENTRIES.findall(page.read_text("utf-8"))]
    return [name.removeprefix("zforcing.") for names in found for name in " ".join(names).split()]


def test_every_public_name_has_one_entry() -> None:
    public = [name for name in named() if "." not in name]
    assert sorted(public) == sorted(zforcing.api.__all__)


def test_every_check_has_one_entry() -> None:
    of_testing = [name.removeprefix("testing.") for name in named() if name.startswith("testing.")]
    assert sorted(of_testing) == sorted({*checks} - {"Check"})  # a type's name


def fields_of(heading: str) -> list[str]:
    """The fields of a file, by the page: those of its list, and of the records that it names."""
    text = (PAGES / "files.md").read_text("utf-8")
    (section,) = re.findall(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##+ |\Z)", text, flags=re.DOTALL | re.MULTILINE)
    listed = re.findall(r"^- `([^`]+)`:", section, flags=re.MULTILINE)
    return listed + [one for record in re.findall(r"^```\{fields\} (.*)$", section, re.MULTILINE) for one in of(record)]


def of(record: str) -> list[str]:
    """The fields of a dataclass."""
    module, _, name = record.rpartition(".")
    return [field.name for field in fields(getattr(import_module(f"zforcing.{module}"), name))]


def assert_same(heading: str, written: Iterable[str], *, sometimes: Iterable[str] = ()) -> None:
    """Each written field is on the page, and each field of the page is written, or may be in another run."""
    there, page = set(written), fields_of(heading)
    patterns = {field: re.compile(re.sub(r"[A-Z]+", "[^/]+", field)) for field in page}
    assert [name for name in there if not any(one.fullmatch(name) for one in patterns.values())] == []
    unwritten = {field for field, one in patterns.items() if not any(map(one.fullmatch, there))}
    assert unwritten == set(sometimes)
    assert len(page) == len(set(page))


@pytest.fixture
def run(table_runs: Path, tmp_path: Path) -> Path:
    """A copy of a small run."""
    return Path(shutil.copytree(table_runs / "table", tmp_path / "run"))


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def test_the_fields_of_a_run_are_those_of_the_page(run: Path) -> None:
    last = run / "checkpoints" / "last"
    assert_same(
        "config.yaml", yaml.safe_load((run / "config.yaml").read_text()), sometimes=["player", "imports", "callbacks"]
    )
    assert_same("environment.json", read(run / "environment.json"))
    assert_same("checkpoints", [file.name for file in last.iterdir()], sometimes=["starts.safetensors"])
    assert_same("config.json", read(last / "config.json"))
    assert_same("training.json", read(last / "training.json"))
    assert_same("splits.json", read(last / "splits.json")["train"])
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert_same("Rows of event `validation`", next(row for row in rows if row["event"] == "validation"))


def test_the_fields_of_rows_are_those_of_the_page() -> None:
    training = TrainingRow(
        1, 1, "sequence", -1.0, 1.0, {"log_px": -1.0, "kl": 0.0}, Weights(), 1.0, 0.1, 1.0, 1.0, {"loss": 1.0}
    )
    skipped = SkippedRow(1, 1, 0, "loss", 1.0, 1.0, (0,), 1.0)
    for row in (training, skipped):
        assert_same(f"Rows of event `{row.event}`", row.to_dict() | times_of(row))


def test_the_fields_of_what_commands_write_are_those_of_the_page(run: Path, zf: Command) -> None:
    small = ["--device", "cpu", "--json"]
    assert zf("evaluate", run, *small).code == 0
    evaluation = read(run / "evaluation-test-elbo.json")
    assert_same("evaluation-SPLIT-BOUND.json", evaluation, sometimes=["latents"])
    assert_same("baselines", evaluation["baselines"][0])
    assert_same("scores", header(zf("score", run, "--particles", 2, *small).json["file"]), sometimes=["alarm"])
    latents = np.load(zf("encode", run, "--num", 1, *small).json["file"])
    assert_same("latents", latents.files)
    drawn = np.load(zf("sample", run, "--num", 1, "--steps", 2, *small).json["files"][0])
    assert_same("samples", drawn.files, sometimes=["lengths", "start"])
    made = sorted(path.name for path in run.iterdir())
    assert [name for name in made if not on_the_page(name)] == []


def test_the_fields_of_forecasts_and_fillings_are_those_of_the_page(run: Path, zf: Command) -> None:
    small = ["--particles", 2, "--device", "cpu", "--json"]
    ahead = zf("forecast", run, "--steps", 1, "--num", 2, *small).json["file"]
    assert_same("forecasts", header(ahead), sometimes=["category", "probability"])
    filled = zf("impute", run, *small).json
    assert_same("filled", header(filled["file"]))
    assert_same("gaps", header(filled["gaps_file"]), sometimes=["category", "probability"])
    assert zf("evaluate", run, "--forecast", 2, "--num", 2, *small).code == 0
    table = read(next(run.glob("forecast-test-steps2-*.json")))
    assert_same("forecast-SPLIT-stepsN-seedN.json", table)
    assert_same("rows", table["rows"][0])


def header(file: str) -> list[str]:
    """The columns of a table."""
    with Path(file).open(newline="") as table:
        return next(csv.reader(table))


def on_the_page(name: str) -> bool:
    """Whether a file of a run's folder is in the page's drawing of it."""
    text = (PAGES / "files.md").read_text("utf-8")
    stem = name.split("-")[0]
    return re.search(rf"\b{re.escape(stem)}", text.partition("## config.yaml")[0]) is not None or name == ".lock"
