"""The documentation's Python runs as it is written."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import zforcing
from situations import Situation, assert_backends_agree
from zforcing import registry
from zforcing.cli import index
from zforcing.cli.commands import COMMANDS
from zforcing.cli.quick import check
from zforcing.errors import UserError
from zforcing.runtime.threads import cpu_threads
from zforcing.testing import MODEL_CHECKS, SPECS

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


def blocks(page: Path) -> Iterator[str]:
    """The page's Python, each block moved to its own lines, so that an error names the page's line."""
    text = page.read_text("utf-8")
    for found in re.finditer(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE):
        yield "\n" * text[: found.start(1)].count("\n") + found.group(1)


@pytest.fixture(scope="module")
def extending() -> Iterator[Any]:
    """The names that the page has defined."""
    with run(PAGE) as module:
        yield module


@contextmanager
def run(page: Path) -> Iterator[Any]:
    """The names that a page has defined when all its blocks have run, in order, as in a reader's own session."""
    module = ModuleType(page.stem)
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]), cpu_threads(torch.nn.Identity()):
        patch.setitem(sys.modules, module.__name__, module)  # where dataclasses look up their annotations
        for family in registry._families:  # the page registers its classes; other tests know the package's alone
            patch.setattr(family, "_classes", dict(family._classes))
        torch.set_default_dtype(torch.float32)
        for block in blocks(page):
            exec(compile(block, str(page), "exec"), module.__dict__)
        yield module


def test_every_block_of_using_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's model trains for 2 epochs instead of half a minute."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(zforcing.api, "fit", partial(_fit_briefly, zforcing.api.fit))
    names: dict[str, Any] = {}
    with torch.random.fork_rng(devices=[]), cpu_threads(torch.nn.Identity()):
        torch.set_default_dtype(torch.float32)
        torch.manual_seed(0)
        for block in blocks(PAGE.with_name("using.md")):
            exec(compile(block, "using.md", "exec"), names)
    assert names["stream"].steps == 100


def _fit_briefly(fit: Any, *arguments: Any, max_minutes: float, **settings: Any) -> Any:
    return fit(*arguments, epochs=2, progress=False, **settings)


def test_every_block_of_columns_runs() -> None:
    with run(PAGE.with_name("columns.md")) as columns:
        assert columns.data.remark.startswith("recognized column 'speed' as real, column 'faults' as count")
        assert columns.samples.shape == (5, 10, 5)
        assert zforcing.sample(columns.windy, 2, steps=3).x.shape == (2, 3, 2)


def test_every_block_of_extending_runs(extending: Any) -> None:
    assert extending.SampledELBO


def test_the_model_of_extending_learns(extending: Any) -> None:
    assert extending.losses[-1] < extending.losses[0] - 5


def test_the_bound_of_extending_stays_below_the_likelihood_of_the_process(extending: Any) -> None:
    assert -extending.losses[-1] - 1 < extending.bound < extending.exact


@pytest.mark.usefixtures("never_walks")
@pytest.mark.parametrize("spec", ["with gaps", "categorical"])
@pytest.mark.parametrize(
    "situation",
    [Situation(particles=3, carried=True), Situation(particles=3, ancestors=True, latents=True)],
    ids=str,
)
def test_the_deep_markov_model_of_extending_is_derived(extending: Any, situation: Situation, spec: str) -> None:
    torch.set_default_dtype(torch.float64)
    model = extending.small(SPECS[spec]).double()
    assert_backends_agree(model, replace(situation, spec=spec).batch(), situation)


def test_extending_names_every_check() -> None:
    text = PAGE.read_text("utf-8")
    assert [c.__name__ for c in MODEL_CHECKS if f"`{c.__name__}`" not in text] == []


SOURCES = Path(zforcing.__file__).parent
WITH_EXAMPLES = [path for path in sorted(SOURCES.rglob("*.py")) if ">>> " in path.read_text("utf-8")]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=[path.stem for path in WITH_EXAMPLES])
def test_examples_in_docstrings_run(path: Path) -> None:
    name = ".".join(["zforcing", *path.relative_to(SOURCES).with_suffix("").parts]).removesuffix(".__init__")
    with torch.random.fork_rng(devices=[]), cpu_threads(torch.nn.Identity()):
        result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> list[list[str]]:
    """The words of the page's lines that begin with `zforcing COMMAND`; two spaces end a command, and a pipe."""
    text = re.sub(r"\\\n\s*", "", page.read_text("utf-8"))
    lines = re.findall(r"^ +(?:\$ )?(?:\.venv/bin/)?zforcing ([a-z].*)$", text, flags=re.MULTILINE)
    return [shlex.split(re.split("  | \\| | > ", line)[0], comments=True) for line in lines]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.stem)
def test_the_commands_of_a_page_exist_with_their_options(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "answers", lambda: True)
    for name, *words in commands(page):
        assert name in COMMANDS
        with suppress(SystemExit):  # --help
            check(name, words)


def test_the_table_of_models_has_them_all() -> None:
    page = (ROOT / "docs" / "choose" / "models.md").read_text("utf-8").partition("## All of them")[2]
    assert sorted(re.findall(r"^\| [^|]+ \| `(\w+)` \|", page, flags=re.MULTILINE)) == sorted(
        index.read_index().names("model")
    )


def test_every_command_can_be_given_without_an_option() -> None:
    """What is not given has no value, also where the parser comes from the index."""
    listed = index.read_index()
    for name in listed.commands:
        with suppress(UserError):  # it needs a word
            listed.parser(name).parse_args([])
    assert "model.components" not in vars(listed.parser("bench").parse_args(["pixels"]))
