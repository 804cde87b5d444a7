"""Files that once broke a reader, and mutants of sound ones: they give data or one line; see tools/fuzz.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import fuzz
from fuzz_readers import READERS

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by Linux's /proc")


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_what_broke_a_reader_once_does_no_more(file: Path) -> None:
    found = fuzz.judged(file.name.split("-")[0], file)
    assert not found.wrong, found


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_mutants_give_data_or_one_line(name: str) -> None:
    found = fuzz.fuzz(name, mutants=25 if name == "mat" else 300, seed=7)
    assert not found.wrong, found.line(name) + "".join(f"\n{said}" for said in found.wrong)
    assert 0 < found.data < found.mutants
