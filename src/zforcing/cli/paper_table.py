"""`zforcing table NAME`: a table of a paper, with our runs of its rows."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from ..errors import UserError
from ..files.json_text import json_text
from ..files.paths import user_path
from ..runtime.device import pick_device
from ..runtime.launched import is_one_of_several
from ..settings.text import LONGEST
from .options import command_parser, counting, one_of
from .settings import split_settings
from .train import recipe_config

if TYPE_CHECKING:
    from ..evaluation.paper import PaperTable
    from ..evaluation.paper_rows import PaperRow
    from ..evaluation.rows import RunRow


def paper_table(name: str, argv: Sequence[str]) -> int:
    """Fill a paper's table: train the rows' recipes where no run is found, evaluate, and put them beside the papers'.

    Runs are in RUNS/RECIPE-seedN; one that was stopped goes on, a finished one is only read, and one that another
    process trains is passed over: started several times, the command spreads over GPUs and machines. The page is
    written to OUT.md and OUT.json. Other options (--data.root FOLDER, --training.max_minutes 5) are settings of all
    recipes. A run that diverges or isn't finished is named and left out. Runs of --pages, which were trained elsewhere,
    stand in this page and aren't trained again.
    """
    from ..evaluation.paper import read_paper_table
    from ..evaluation.paper_page import page_path, to_json, write_page
    from ..training.runs.run import Interrupted

    about = read_paper_table(name)
    if is_one_of_several():
        raise UserError(
            "table trains each run in one process: start the command several times, without torchrun, and each takes "
            "the rows that are free"
        )
    own, settings = split_settings(argv)
    options = paper_options(about, own, settings)
    out = page_path(options.out or Path(options.runs) / f"table-{options.size}")
    pages = runs_of_pages(about, options)  # before anything is trained for hours
    there = {run.run for run in pages[about.bounds[0]]}
    try:
        diverged = [] if options.find else train_missing(about, options, settings, there=there)
    except Interrupted as stopped:
        say("stopped; the same command goes on")
        return stopped.exit_code
    rows = evaluated_rows(about, options, out, pages=pages)
    command = shlex.join(["zforcing", "table", name, *argv])
    curves = curves_of(rows) if options.curves else None
    written = write_page(about, options.size, rows, out, command=command, curves=curves)
    if options.json:
        print(json_text(to_json(about, options.size, rows)))
    else:
        show(about, options.size, rows)
        print(*written, sep="\n")
    return 1 if diverged else 0


def evaluated_rows(
    about: PaperTable, options: Namespace, out: Path, *, pages: Mapping[str, Sequence[RunRow]]
) -> list[PaperRow]:
    """The table's rows with the finished runs, with --find only of --rows and --seeds, and those of pages. Runs that
    aren't finished are named.
    """
    from ..evaluation.paper_pages import joined
    from ..evaluation.paper_rows import paper_rows
    from ..evaluation.paper_runs import evaluate_runs, is_finished, runs_of_table

    runs = (
        selected_runs(about, options, out) if options.find else runs_of_table(about, options.size, Path(options.runs))
    )
    finished = [run for run in runs if is_finished(run)]
    evaluated = evaluate_runs(
        finished,
        bounds=about.bounds,
        device=options.device,
        say=say,
        counting=counting,
        known=about.known(options.size),
        recipes=about.recipes_by(options.size),
    )
    there = {run.run for run in pages[about.bounds[0]]}
    left_out = [run.name for run in runs if run not in finished and run.name not in there]
    if left_out:
        say(f"not finished, and left out: {', '.join(left_out)}")
    return paper_rows(about, options.size, joined(evaluated, pages, table=about, size=options.size))


def runs_of_pages(about: PaperTable, options: Namespace) -> dict[str, list[RunRow]]:
    """The runs in --pages, by bound; with --find only of --rows and --seeds."""
    from ..evaluation.paper_pages import read_pages
    from ..evaluation.paper_runs import seed_of

    found = read_pages(about, options.size, options.pages)
    if not options.find:
        return found
    recipes = [about.recipe(options.size, row) for row in options.rows]

    def is_asked_for(run: RunRow) -> bool:
        return run.recipe in recipes and (not options.seeds or seed_of(run.run) in options.seeds)

    return {bound: list(filter(is_asked_for, runs)) for bound, runs in found.items()}


def curves_of(rows: Sequence[PaperRow]) -> bytes | None:
    """Learning curves, as PNG; None, which is said, where no run has validations."""
    from ..report.page_curves import png_of_rows

    picture = png_of_rows(rows)
    if picture is None:
        say("no run has validations: no curves were drawn")
    return picture


def show(about: PaperTable, size: str, rows: Sequence[PaperRow]) -> None:
    """On stdout; a warning on stderr."""
    from ..evaluation.paper_page import terminal_tables
    from ..evaluation.paper_rows import warning

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    for part in terminal_tables(about, size, rows):
        console.print(part.to_terminal(), crop=False)
    if warning(about, size, rows):
        say(warning(about, size, rows))


def paper_options(about: PaperTable, words: Sequence[str], settings: Sequence[str]) -> Namespace:
    """The command's own options, `rows` and `seeds` as lists."""
    parser = command_parser(f"table {about.name}", paper_table)
    parser.add_argument(
        "--size", type=str, default=next(iter(about.sizes)), help=f"of the recipes: {', '.join(about.sizes)}"
    )
    parser.add_argument("--rows", type=str, default="all", help=f"trained, by commas: {', '.join(about.rows)}")
    parser.add_argument(
        "--seeds", type=str | None, default=None, help="of the runs to train, by commas: 0 by default, with --find all"
    )
    parser.add_argument("--runs", type=str, default=f"runs/{about.name}", help="folder of the runs")
    parser.add_argument("--find", action="store_true", help="train nothing: only read the runs that are there")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda")
    parser.add_argument("--out", type=str | None, default=None, help="OUT.md and OUT.json; RUNS/table-SIZE by default")
    parser.add_argument("--curves", action="store_true", help="draw the validations of all runs into OUT.png")
    parser.add_argument("--pages", type=str | None, default=None, help="OUT.json of other pages, by commas")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args(list(words))
    pages = [] if options.pages is None else [page.strip() for page in options.pages.split(",")]
    if not all(pages):
        raise UserError(f"--pages is {options.pages!r}; it must be files with commas between them")
    options.pages = [user_path(page, f"--pages {page}") for page in pages]
    one_of("size", options.size, tuple(about.sizes))
    pick_device(options.device)
    options.rows = list(about.rows) if options.rows == "all" else [key.strip() for key in options.rows.split(",")]
    for key in options.rows:
        one_of("rows", key, tuple(about.rows))
    options.seeds = ([] if options.find else [0]) if options.seeds is None else whole_numbers(options.seeds)
    if options.find and settings:
        raise UserError(f"--find trains nothing, so that {settings[0]} has no use: leave one of them out")
    options.runs = str(user_path(options.runs, f"--runs {options.runs}"))
    if (Path(options.runs) / "config.yaml").is_file():
        raise UserError(f"--runs {options.runs} is a run itself; name the folder that holds the table's runs")
    if options.find and not options.pages and not Path(options.runs).is_dir():
        raise UserError(f"--runs {options.runs}: no such file or directory")
    return options


def train_missing(
    about: PaperTable, options: Namespace, settings: Sequence[str], *, there: Collection[str]
) -> list[Path]:
    """Train the rows and seeds that are asked for, but for those that are there; returns the runs that diverged."""
    from ..evaluation.paper_runs import plan_runs, train_runs

    planned = plan_runs(
        about,
        options.size,
        rows=options.rows,
        seeds=options.seeds,
        folder=Path(options.runs),
        configure=partial(recipe_config, words=settings),
    )
    return train_runs([run for run in planned if run.folder.name not in there], device=options.device, say=say)


def selected_runs(about: PaperTable, options: Namespace, out: Path) -> list[Path]:
    """The runs of --rows and --seeds. Raises UserError where there is none, and a page that it would replace."""
    from ..evaluation.paper_runs import runs_of_table, select_runs

    recipes = [about.recipe(options.size, row) for row in options.rows]
    runs = select_runs(runs_of_table(about, options.size, Path(options.runs)), recipes=recipes, seeds=options.seeds)
    if not runs and not options.pages:
        none = f"--runs {options.runs}: holds no run that was asked for, {recipes[0]}-seed0 for one"
        if out.with_name(out.name + ".md").exists():
            raise UserError(f"{none}; {out}.md would be replaced by a page without runs: name other --runs or --out")
        published = about.published_sizes(options.size)
        say(f"{none}: {'the table has only published numbers' if published else 'the table is empty'}")
    return runs


def whole_numbers(text: str) -> list[int]:
    """Seeds, by commas."""
    parts = text.split(",")
    if not all(part.isdecimal() and len(part) <= LONGEST for part in parts):
        raise UserError(f"--seeds is {text!r}; it must be whole numbers with commas between them")
    return [int(part) for part in parts]


def say(line: str) -> None:
    """Progress goes to stderr."""
    print(line, file=sys.stderr)
