"""`zforcing table RUN RUN ...`: evaluated runs side by side; the tables of papers are in `paper_table`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from rich.console import Console

from ..bounds import AIS, Chib
from ..data.splits import Split
from ..errors import UserError
from ..files.json_text import json_text
from ..saving.model import load
from ..training.runs.folder import find_run
from ..training.runs.recipes import suggest
from .options import bound_options, chosen_bound, command_parser
from .paper_table import paper_table


def table(argv: Sequence[str]) -> int:
    """Compare evaluated runs, or fill a paper's table: zforcing table RUN [RUN ...] | NAME [--data.root FOLDER ...].

    NAME is a table of a paper (speech); `zforcing table speech --help` says more.
    """
    from ..evaluation.paper import paper_tables

    first, tables = next(iter(argv), "--"), paper_tables()
    if first in tables:
        return paper_table(first, argv[1:])
    if not first.startswith("-"):
        try:
            find_run(first)
        except UserError as error:
            hint = suggest(first, set(tables))
            raise UserError(f"{error}; the tables of papers are {', '.join(tables)}{hint}") from None
    return runs_side_by_side(argv)


def runs_side_by_side(argv: Sequence[str]) -> int:
    """Compare evaluated runs: zforcing table RUN [RUN ...]."""
    from ..evaluation.rows import read_rows
    from ..evaluation.saved import measured_otherwise, name_in_files
    from ..evaluation.side_by_side import NOTE, to_markdown, to_terminal

    parser = command_parser("table", table)
    parser.add_argument("runs", type=str, nargs="+", help="run folders, each evaluated by `zforcing evaluate`")
    parser.add_argument("--split", type=Split, default="test", help="of the data")
    bound_options(parser)
    rows_of = "rows of the simple models that the runs were measured beside, too"
    parser.add_argument("--baselines", action="store_true", help=rows_of)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--markdown", action="store_true", help="a page with the runs' settings and hardware")
    options = parser.parse_args(list(argv))
    runs = [find_run(run) for run in options.runs]
    bound = name_in_files(chosen_bound(options))
    particles = options.particles if options.bound == AIS.name else None
    others = {} if options.bound == Chib.name else measured_otherwise(runs, particles=particles)
    rows = read_rows(runs, split=options.split, bound=bound, others=others)
    if options.json:
        print(json_text({"rows": [row.to_json() for row in rows]}))
        return 0
    described = load(runs[0]).description
    dim = "dim" if described is None else described.format.number
    if options.markdown:
        print(to_markdown(rows, dim=dim, baselines=options.baselines, command=shlex.join(["zforcing", "table", *argv])))
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
        console.print(to_terminal(rows, dim=dim, baselines=options.baselines), crop=False)
        console.print(NOTE)
    return 0
