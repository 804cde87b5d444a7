"""The pages of docs/paper: an equation's lines of code and tests are where the page says, and names are the code's."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from excerpts import ROOT, NotFoundError, equation, equations, excerpt, faults, proof

PAGES = sorted((ROOT / "docs" / "paper").glob("*.md"))
CARD = """\
:number: 8
:code: zforcing.bounds.particles.log_mean | torch.logsumexp(
:test: tests/test_parity.py::test_the_loss_equals_the_released_models

a + b

c
"""


@cache
def text_of_the_code() -> str:
    folders = (ROOT / "src/zforcing" / name for name in ("models", "bounds", "observations"))
    files = [*(path for folder in folders for path in folder.glob("*.py")), *Path(__file__).parent.glob("test_*.py")]
    return "\n".join(path.read_text("utf-8") for path in files)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_equation_has_its_lines_of_code_and_its_tests(page: Path) -> None:
    text = page.read_text("utf-8")
    found = list(equations(text))
    assert len(found) == text.count("{equation-to-code}") > 0
    assert [fault for each in found for fault in faults(each)] == []


def test_no_two_equations_have_the_same_place() -> None:
    titles = [each.title for page in PAGES for each in equations(page.read_text("utf-8"))]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_names_in_tables_are_names_in_the_code(page: Path) -> None:
    rows = [line for line in page.read_text("utf-8").splitlines() if line.startswith("|")]
    named = {word for row in rows for quoted in re.findall(r"`([^`]+)`", row) for word in re.findall(r"\w+", quoted)}
    assert {word for word in named if word not in text_of_the_code()} == set()


def test_a_card_is_read_as_it_is_written() -> None:
    card = equation("Title", CARD.splitlines())
    assert (card.place, card.formulas) == ("equation 8", ("a + b", "c"))
    assert faults(card) == []
    bare = equation("Title", ["a"])
    assert faults(bare) == [f"Title: has no {what}" for what in ("code", "test", "number, and not where it is from")]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("zforcing.bounds.particles.log_sum | torch", "zforcing.bounds.particles has no log_sum"),
        ("zforcing.nowhere.log_mean | torch", "is in no module of src"),
        ("zforcing.bounds.particles.log_mean | torch.mean", "has no lines with 'torch.mean'"),
        ("zforcing.bounds.particles.log_mean | Compute log", "has no lines with 'Compute log'"),
        ("zforcing.bounds.resampling.inverse_cdf | len(u) ... return", None),
        ("zforcing.bounds.resampling.inverse_cdf | return ... len(u)", "ends before it begins"),
        ("zforcing.models.vrnn.VRNN.__init__ | config.", "lines with 'config.'"),
        ("zforcing.bounds.particles.log_mean", "has no lines with ''"),
    ],
)
def test_a_line_that_is_not_there_or_there_twice_is_named(code: str, said: str | None) -> None:
    if said is None:
        assert excerpt(code).text.startswith("S = len(u)\nreturn")
        return
    with pytest.raises(NotFoundError, match=re.escape(said)):
        excerpt(code)


def test_a_test_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFoundError, match=r"there is no tests/test_nothing\.py"):
        proof("tests/test_nothing.py::test_it")
    with pytest.raises(NotFoundError, match=r"tests/test_parity\.py has no test test_it"):
        proof("tests/test_parity.py::test_it")
