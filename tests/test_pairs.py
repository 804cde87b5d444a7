"""The tests' own arguments: nothing that fits together is left out."""

from __future__ import annotations

from itertools import combinations

from conftest import CASES, SPECS, rows_of
from pairs import pairwise
from zforcing.testing import MODEL_CHECKS


def test_each_two_values_that_fit_together_meet_in_few_rows() -> None:
    rows = list(rows_of({"check": list(MODEL_CHECKS), "case": CASES, "spec": list(SPECS)}))
    chosen = pairwise(rows, apart={("case", "spec")})
    for one, other in combinations(("check", "case", "spec", "model"), 2):
        if {one, other} != {"case", "spec"}:
            wanted, found = ({(id(row[one]), id(row[other])) for row in some} for some in (rows, chosen))
            assert found == wanted, (one, other)
    assert len(chosen) < 1.1 * len(MODEL_CHECKS) * len(CASES)
