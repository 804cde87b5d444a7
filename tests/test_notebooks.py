"""The tutorials: as they are kept, and as their cells run at a small size, without Jupyter."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile
import torch

from notebooks import FOLDER, code_cells, faults, read, tags, text, tidy, write
from zforcing import registry
from zforcing.cli import main
from zforcing.data.music import chorales
from zforcing.runtime.threads import cpu_threads
from zforcing.testing import SPECS, check_padding, random_batch

NOTEBOOKS = {path.stem: path for path in sorted(FOLDER.glob("*.ipynb"))}
Names = dict[str, Any]


def run(name: str) -> Names:
    """The names that a notebook has defined, at its small size."""
    notebook, module = read(NOTEBOOKS[name]), ModuleType(name)
    names = module.__dict__
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]), cpu_threads(torch.nn.Identity()):
        patch.setitem(sys.modules, name, module)  # where dataclasses look up their annotations
        for family in registry._families:  # a tutorial may register its classes; other tests know the package's alone
            patch.setattr(family, "_classes", dict(family._classes))
        torch.set_default_dtype(torch.float32)
        with plt.rc_context({"backend": "Agg"}):
            for cell in code_cells(notebook):
                if "jupyter" not in tags(cell):
                    run_cell(text(cell["source"]), names, label=f"{name}, cell {cell['id']}")
                if "parameters" in tags(cell):
                    names |= notebook["metadata"]["zforcing"]["small"]
            plt.close("all")
    return names


def run_cell(source: str, names: Names, *, label: str) -> None:
    """The cell's Python, with its commands run in this process."""
    names["_command"] = run_command
    python = re.sub(r"^!(.*)", lambda found: f"_command({found[1]!r}, globals())", source, flags=re.MULTILINE)
    exec(compile(python, label, "exec"), names)


def run_command(line: str, names: Names) -> None:
    """`zforcing ...` or `torchrun ...` with {NAMES} filled in, as IPython does it."""
    command, *words = shlex.split(line.format_map(names))
    assert command in ("zforcing", "torchrun"), f"a tutorial's cells run these and no other command: {line}"
    if command == "torchrun":
        subprocess.run([sys.executable, "-m", "torch.distributed.run", *words], check=True, timeout=300)
    else:
        assert main(words) == 0, line


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_tutorial_is_kept_as_it_was_run(name: str) -> None:
    assert faults(NOTEBOOKS[name]) == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_tutorial_has_sizes_that_tests_can_make_small(name: str) -> None:
    notebook = read(NOTEBOOKS[name])
    (cell,) = [cell for cell in code_cells(notebook) if "parameters" in tags(cell)]
    sizes: Names = {}
    exec(text(cell["source"]), sizes)
    small = notebook["metadata"]["zforcing"]["small"]
    assert {name: type(value) for name, value in small.items()} == {name: type(sizes[name]) for name in small}
    assert small != {name: sizes[name] for name in small}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_tutorial_ends_with_what_to_change_and_links_that_lead_somewhere(name: str) -> None:
    cells = read(NOTEBOOKS[name])["cells"]
    assert "## What to change next" in text(cells[-1]["source"])
    links = [link for cell in cells for link in re.findall(r"\]\(([^)#]+)", text(cell["source"]))]
    assert [link for link in links if "://" not in link and not (FOLDER / link).exists()] == []
    assert any(link.startswith("../docs/") for link in links)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_only_what_is_shown_in_jupyter_needs_it(name: str) -> None:
    others = [text(cell["source"]) for cell in code_cells(read(NOTEBOOKS[name])) if "jupyter" not in tags(cell)]
    assert [source for source in others if re.search(r"IPython|^%", source, flags=re.MULTILINE)] == []


def test_the_page_of_tutorials_names_them_all() -> None:
    page = (FOLDER.parent / "docs" / "learn" / "index.md").read_text("utf-8")
    assert [name for name in NOTEBOOKS if page.count(f"\n{name}\n") != 1 or f"({name}.ipynb)" not in page] == []


PRINTED = {"output_type": "stream", "name": "stdout"}


def test_what_differs_from_run_to_run_is_not_kept() -> None:
    printed = [
        PRINTED
        | {"text": "epoch   1  step 5  -3.00 nats  0:32, 9:28 left\r\nfinished: max_steps 5, 5 updates, 0:35\r\n"},
        {"output_type": "stream", "name": "stderr", "text": "a warning\n"},
        PRINTED | {"text": ["log p(x) = -3\r\n"]},
    ]
    timed = {"tags": ["parameters"], "execution": {"iopub.execute_input": "2026-01-01T00:00:00Z"}}
    cell = {"cell_type": "code", "source": "a = 1\nb = 2", "metadata": timed, "outputs": printed}
    kept = tidy({"cells": [cell], "metadata": {"language_info": {"name": "python", "version": "3.11.7"}}})
    assert kept["metadata"]["language_info"] == {"name": "python", "pygments_lexer": "ipython3"}
    (cell,) = kept["cells"]
    assert cell["metadata"] == {"tags": ["parameters"]}
    assert cell["source"] == ["a = 1\n", "b = 2"]
    assert cell["outputs"] == [PRINTED | {"text": ["finished: max_steps 5, 5 updates\n", "log p(x) = -3\n"]}]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"execution_count": None}, "its cells weren't run in order"),
        ({"source": ["open('/home/me/mine.csv')"]}, "it names a path of one machine, /home/me"),
        ({"outputs": [{"output_type": "error", "ename": "E", "evalue": "", "traceback": []}]}, "it holds an error"),
        ({"outputs": [PRINTED | {"text": ["zforcing: no such run\n"]}]}, "a command of it failed"),
        ({"metadata": {"execution": {}}}, "it holds what differs from run to run"),
    ],
)
def test_a_fault_of_a_kept_tutorial_is_named(change: Names, fault: str, tmp_path: Path) -> None:
    cell = {"cell_type": "code", "id": "01", "source": [], "metadata": {}, "outputs": [], "execution_count": 1}
    good = tidy({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    path = tmp_path / "one.ipynb"
    for notebook, found in ((good, []), (good | {"cells": [cell | change]}, [fault])):
        write(path, notebook)
        assert [line[: len(fault)] for line in faults(path)] == found


# ---- as they run


def known_likelihood(names: Names) -> None:
    gaps = [names["exact"].nats_per_sequence - e.nats_per_sequence for e in names["measured"]["FIVO"]]
    assert names["exact"].kind == "exact"
    assert names["exact"].nats_per_sequence < names["process"] + 1
    assert gaps[-1] < gaps[0]


def sensors(names: Names) -> None:
    hole, filled = names["hole"], names["filled"].filled[0]
    assert np.allclose(np.delete(filled, hole, axis=0), np.delete(names["truth"], hole, axis=0), rtol=1e-5)
    assert np.isfinite(filled[hole]).all()
    assert names["threshold"].false_alarm_rate == names["RATE"]
    assert [alarm.shape for alarm in names["alarms"]] == 3 * [(names["STEPS"],)]
    assert (names["bottom"] < names["top"]).all()


def images(names: Names) -> None:
    assert [e.kind for e in names["found"]["NADE"]] == ["exact"]
    assert {e.kind for e in names["found"]["Z-Forcing"]} == {"lower bound"}
    assert all(e.nats_per_sequence < 0 for evaluations in names["found"].values() for e in evaluations)
    assert np.array_equal(names["filled"].reshape(-1, 8, 8)[:, :4], names["digits"][:, :4])
    assert set(np.unique(names["below"])) <= {0.0, 1.0}


def your_model(names: Names) -> None:
    careless = names["Careless"](SPECS["real"], names["DeepMarkovConfig"](latent_size=3, hidden_size=5)).double()
    with pytest.raises(AssertionError, match="contents of the padding"):
        check_padding(careless, random_batch(SPECS["real"]))
    elbo, fivo = (evaluation.nats_per_sequence for evaluation in names["evaluations"])
    assert elbo - 5 < fivo
    assert (names["low"] < names["high"]).all()


def music(names: Names) -> None:
    assert list(names["validation"].step) == [0, 2]
    assert len(list(Path("drawn").glob("*.mid"))) == 3
    assert Path("continued/continue-test-0-given24-seed0-002.wav").stat().st_size > 1000


def recordings(names: Names) -> None:
    assert len(list(Path("babble").glob("*.wav"))) == names["FILES"]
    assert abs(names["samples"]).max() < 1
    drawn = [soundfile.info(name) for name in ("drawn/sample-seed0-000.wav", names["file"])]
    assert [(sound.samplerate, sound.frames > 0) for sound in drawn] == 2 * [(names["RATE"], True)]


def several_machines(names: Names) -> None:
    assert list(names["one"].index) == list(names["two"].index) == [1, 2, 3]
    assert (names["difference"] < 1e-4 * names["one"].abs()).all()
    assert list(names["resumed"].index) == [1, 2, 3, 4, 5]


CHECKED = [known_likelihood, sensors, images, your_model, music, recordings, several_machines]
CHECKS: dict[str, Callable[[Names], None]] = {check.__name__: check for check in CHECKED}
FAST = {"known_likelihood"}


@pytest.fixture
def few_chorales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of music21's, which take a minute to parse, as many scales of 40 quarter notes, and their own cache."""
    scale = np.array([(60.0 + t % 12, float(t), t + 1.0) for t in range(40)])
    monkeypatch.setattr(chorales, "parse_chorale", lambda name: scale)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_each_tutorial_is_run_by_a_test() -> None:
    assert set(CHECKS) == set(NOTEBOOKS)


@pytest.mark.parametrize("name", sorted(FAST))
def test_a_tutorial_runs(name: str) -> None:
    CHECKS[name](run(name))


@pytest.mark.slow
@pytest.mark.usefixtures("few_chorales")
@pytest.mark.parametrize("name", sorted(set(CHECKS) - FAST))
def test_a_longer_tutorial_runs(name: str) -> None:
    CHECKS[name](run(name))
