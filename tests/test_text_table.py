"""A table of text, as Markdown and at a terminal: by hand."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from zforcing.text_table import Table


def shown(table: Table, *, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(table.to_terminal())
    return [line.strip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(("text_columns", "rule"), [(0, "|---:|---:|"), (1, "|---|---:|"), (2, "|---|---|")])
def test_the_rule_aligns_text_left_and_numbers_right(text_columns: int, rule: str) -> None:
    table = Table("title", ["a", "b"], [["1", "2"]], text_columns=text_columns)
    assert table.to_markdown() == f"| a | b |\n{rule}\n| 1 | 2 |"


def test_more_text_columns_than_there_are_is_all_of_them() -> None:
    assert Table("", ["a"], [], text_columns=3).to_markdown() == "| a |\n|---|"


def test_bars_in_cells_and_headers_are_no_columns() -> None:
    assert Table("", ["p(x|z)"], [["a|b"]]).to_markdown() == "| p(x\\|z) |\n|---|\n| a\\|b |"


def test_brackets_are_no_styles_at_a_terminal() -> None:
    lines = shown(Table("t[b]", ["h[b]"], [["c[/b]"]]), width=40)
    assert [line for line in lines if "[" in line] == ["t[b]", "h[b]", "c[/b]"]


def test_headers_are_broken_at_words_before_any_cell_is() -> None:
    table = Table("", ["run", "nats per sequence"], [["a b c", "-1.25 ± 0.50"]])
    lines = shown(table, width=24)
    assert [" ".join(line.split()) for line in lines if "nats" in line] == ["nats per"]
    assert [" ".join(line.split()) for line in lines if "±" in line] == ["a b c -1.25 ± 0.50"]
