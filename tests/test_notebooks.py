"""The tutorials: as they are kept, and as their cells run at a small size, without Jupyter."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch

from notebooks import FOLDER, code_cells, faults, read, tags, text, tidy, write
from zforcing import registry
from zforcing.cli import main
from zforcing.runtime.threads import cpu_threads

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
    lines = [re.sub(r"^!(.*)", lambda found: f"_command({found[1]!r}, globals())", line) for line in source.split("\n")]
    exec(compile("\n".join(lines), label, "exec"), names)


def run_command(line: str, names: Names) -> None:
    """`zforcing ...` with {NAMES} filled in, as IPython does it."""
    words = shlex.split(line.format_map(names))
    assert words[0] == "zforcing", f"a tutorial's cells run zforcing and no other command: {line}"
    assert main(words[1:]) == 0, line


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
    for cell in code_cells(read(NOTEBOOKS[name])):
        needs = "IPython" in text(cell["source"]) or re.search(r"^%", text(cell["source"]), flags=re.MULTILINE)
        assert bool(needs) == ("jupyter" in tags(cell))


def test_the_page_of_tutorials_names_them_all() -> None:
    page = (FOLDER.parent / "docs" / "learn" / "index.md").read_text("utf-8")
    assert [name for name in NOTEBOOKS if page.count(f"\n{name}\n") != 1 or f"({name}.ipynb)" not in page] == []


def test_what_differs_from_run_to_run_is_not_kept() -> None:
    printed = [
        {"output_type": "stream", "name": "stdout", "text": "epoch   1  step 5  -3.00 nats  0:32, 9:28 left\r\n"},
        {"output_type": "stream", "name": "stderr", "text": "a warning\n"},
        {"output_type": "stream", "name": "stdout", "text": ["log p(x) = -3\r\n"]},
    ]
    timed = {"tags": ["parameters"], "execution": {"iopub.execute_input": "2026-01-01T00:00:00Z"}}
    cell = {"cell_type": "code", "source": "a = 1\nb = 2", "metadata": timed, "outputs": printed}
    kept = tidy({"cells": [cell], "metadata": {"language_info": {"name": "python", "version": "3.11.7"}}})
    assert kept["metadata"]["language_info"] == {"name": "python"}
    (cell,) = kept["cells"]
    assert cell["metadata"] == {"tags": ["parameters"]}
    assert cell["source"] == ["a = 1\n", "b = 2"]
    assert cell["outputs"] == [{"output_type": "stream", "name": "stdout", "text": ["log p(x) = -3\n"]}]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"execution_count": None}, "its cells weren't run in order"),
        ({"source": ["open('/root/mine.csv')"]}, "it names a path of one machine, /root"),
        ({"outputs": [{"output_type": "error", "ename": "E", "evalue": "", "traceback": []}]}, "it holds an error"),
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


CHECKS: dict[str, Callable[[Names], None]] = {check.__name__: check for check in [known_likelihood]}
FAST = {"known_likelihood"}


def test_each_tutorial_is_run_by_a_test() -> None:
    assert set(CHECKS) == set(NOTEBOOKS)


@pytest.mark.parametrize("name", sorted(FAST))
def test_a_tutorial_runs(name: str) -> None:
    CHECKS[name](run(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(CHECKS) - FAST))
def test_a_longer_tutorial_runs(name: str) -> None:
    CHECKS[name](run(name))
