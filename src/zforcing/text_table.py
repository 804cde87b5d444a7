"""A table of text: for a person at a terminal, and for a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table as TerminalTable


@dataclass(frozen=True)
class Table:
    """Rows under headers.

    Args:
        title: Stands over the table at a terminal; a page has headings of its own.
        headers: One a column.
        rows: Cells, as many a row as there are headers.
        text_columns: The first so many columns are text, flush left; the others hold numbers, flush right.

    Example:
        >>> print(Table("Runs", ["run", "nats"], [["a", "-1.5"]]).to_markdown())
        | run | nats |
        |---|---:|
        | a | -1.5 |
    """

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1

    def to_terminal(self) -> TerminalTable:
        """For rich to print. No cell and no word of a header is broken; brackets in them are no styles."""
        from rich.box import SIMPLE_HEAD
        from rich.markup import escape
        from rich.table import Table as TerminalTable

        table = TerminalTable(title=escape(self.title), box=SIMPLE_HEAD)
        for i, header in enumerate(self.headers):
            widest = max(map(len, [*header.split(), *(row[i] for row in self.rows)]))
            justify = "left" if i < self.text_columns else "right"
            table.add_column(escape(header), justify=justify, min_width=widest)  # type: ignore[arg-type]  # of these two
        for row in self.rows:
            table.add_row(*map(escape, row))
        return table

    def to_markdown(self) -> str:
        """The headers, a rule that aligns the columns, and the rows, a line each."""
        text = min(self.text_columns, len(self.headers))
        rule = "|" + "---|" * text + "---:|" * (len(self.headers) - text)
        return "\n".join([_markdown_line(self.headers), rule, *map(_markdown_line, self.rows)])


def _markdown_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
