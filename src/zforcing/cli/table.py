"""`zforcing table`: runs side by side, or a table of a paper with our runs of its rows."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace
from rich.console import Console

from ..data.splits import SPLITS
from ..errors import UserError
from ..evaluation.rows import NO_DIFFERENCE, Row, read_rows
from ..runtime.device import pick_device
from ..saving.atomic import read_json, write_text
from ..saving.model import find_checkpoint, load_checkpoint
from ..training.runs.config import RunConfig, flatten
from ..training.runs.folder import read_run_config
from .evaluate import evaluate
from .options import bound_options, chosen_bound, command_parser, one_of
from .train import FLAGS, SHORT, parse_train

if TYPE_CHECKING:
    from ..evaluation.paper import PaperTable
    from ..evaluation.paper_page import PaperRow
OF_TRAINING = ("data.chunk_frames", "data.chunk_steps")  # how training sequences are cut may differ between rows


def table(argv: Sequence[str]) -> int:
    """Compare evaluated runs, or fill a paper's table: zforcing table RUN [RUN ...] | NAME [--data.root FOLDER ...].

    NAME is a table of a paper (speech); `zforcing table speech --help` says more.
    """
    from ..evaluation.paper import paper_tables

    if argv and argv[0] in paper_tables():
        return paper(argv[0], argv[1:])
    return runs_side_by_side(argv)


def runs_side_by_side(argv: Sequence[str]) -> int:
    """Compare evaluated runs: zforcing table RUN [RUN ...]."""
    from ..evaluation.side_by_side import NOTE, to_markdown, to_table

    parser = command_parser("table", table)
    parser.add_argument("runs", type=str, nargs="+", help="run folders, each evaluated by `zforcing evaluate`")
    parser.add_argument("--split", type=str, default="test", help="train, valid or test")
    bound_options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--markdown", action="store_true", help="a page with the runs' settings and hardware")
    options = parser.parse_args(list(argv))
    one_of("split", options.split, SPLITS)
    _, name = chosen_bound(options)
    rows = read_rows([Path(run) for run in options.runs], split=options.split, bound=name)
    if options.json:
        print(json.dumps({"rows": [row.to_json() for row in rows]}))
        return 0
    dim = load_checkpoint(Path(options.runs[0])).description.format.number
    if options.markdown:
        print(to_markdown(rows, dim=dim, command=shlex.join(["zforcing", "table", *argv])))
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
        console.print(to_table(rows, dim=dim))
        console.print(NOTE)
    return 0


def paper(name: str, argv: Sequence[str]) -> int:
    """Fill a paper's table: train the rows' recipes where no run is found, evaluate, and put them beside the papers'.

    Runs are in RUNS/RECIPE-seedN; one that was stopped goes on, a finished one is only read. The page is written to
    OUT.md and OUT.json. Other options (--data.root FOLDER, --training.max_minutes 5) are settings of all recipes. A run
    that diverges or isn't finished is named and left out.
    """
    from ..evaluation.paper import read_paper_table
    from ..evaluation.paper_page import paper_rows
    from ..training.runs.run import Interrupted

    about = read_paper_table(name)
    own, settings = own_words(argv)
    options = paper_options(about, own)
    if options.find and settings:
        raise UserError(f"--find trains nothing, so that {settings[0]} has no use: leave one of them out")
    folder = Path(options.runs)
    if (folder / "config.yaml").is_file():
        raise UserError(f"--runs {folder} is a run itself; name the folder that holds the table's runs")
    if options.find and not folder.is_dir():
        raise UserError(f"--runs {folder}: no such folder")
    out = page_files(options.out or folder / f"table-{options.size}")
    diverged = False
    if not options.find:
        try:
            diverged = train_missing(about, options, settings)
        except Interrupted:
            print("stopped; the same command goes on", file=sys.stderr)
            return 130
    runs = runs_of_rows(about, options.size, folder)
    if options.find:
        runs = asked_for(runs, about, options, out)
    finished = [run for run in runs if is_finished(run)]
    found = rows_by_bound(about.bounds, finished, device=options.device)
    left = [run.name for run in runs if run not in finished]
    if left:
        print(f"not finished, and left out: {', '.join(left)}", file=sys.stderr)
    command = shlex.join(["zforcing", "table", name, *argv])
    publish(about, options.size, paper_rows(about, options.size, found), out, command=command, as_json=options.json)
    return 1 if diverged else 0


def asked_for(runs: Sequence[Path], about: PaperTable, options: Namespace, out: Path) -> list[Path]:
    """Those of --rows and --seeds. Raises UserError where there is none, and a page that it would replace."""
    recipes = tuple(f"{about.recipe(options.size, key)}-seed" for key in options.rows)
    seeds = tuple(f"-seed{seed}" for seed in options.seeds)
    found = [run for run in runs if run.name.startswith(recipes) and (not seeds or run.name.endswith(seeds))]
    if not found:
        said = f"--runs {options.runs}: holds no run that was asked for, {recipes[0]}0 for one"
        if out.with_name(out.name + ".md").exists():
            raise UserError(f"{said}; {out}.md would be replaced by a page without runs: name other --runs or --out")
        empty = "the table is empty" if not about.beside(options.size) else "the table has published numbers alone"
        print(f"{said}: {empty}", file=sys.stderr)
    return found


def paper_options(about: PaperTable, words: Sequence[str]) -> Namespace:
    """The command's own options, `rows` and `seeds` as lists."""
    parser = command_parser(f"table {about.name}", paper)
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
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args(list(words))
    one_of("size", options.size, tuple(about.sizes))
    pick_device(options.device)
    options.rows = list(about.rows) if options.rows == "all" else [key.strip() for key in options.rows.split(",")]
    for key in options.rows:
        one_of("rows", key, tuple(about.rows))
    options.seeds = ([] if options.find else [0]) if options.seeds is None else whole_numbers(options.seeds)
    return options


def page_files(name: str | Path) -> Path:
    """What the page's two files are named, without their endings."""
    out = Path(name)
    out = out.with_suffix("") if out.suffix in (".md", ".json") else out
    if not out.name:
        raise UserError(f"--out is {str(name)!r}; it must end with the name of the files, without .md and .json")
    return out


def train_missing(about: PaperTable, options: Namespace, settings: Sequence[str]) -> bool:
    """Train what the options ask for; whether a run diverged. Other runs of the table must be comparable."""
    folder = Path(options.runs)
    recipes = list(
        dict.fromkeys((about.recipe(options.size, key), seed) for seed in options.seeds for key in options.rows)
    )
    trained = {folder / f"{recipe}-seed{seed}" for recipe, seed in recipes}
    others = [run for run in runs_of_rows(about, options.size, folder) if run not in trained]
    there = [read_run_config(run) for run in others if (run / "config.yaml").is_file()]
    return train_rows(recipes, folder, settings, there=there, device=options.device)


def publish(about: PaperTable, size: str, rows: Sequence[PaperRow], out: Path, *, command: str, as_json: bool) -> None:
    """The page as OUT.md and OUT.json, and on stdout."""
    from ..evaluation.paper_page import protocol_of, to_page, to_terminal, warning

    values: dict[str, Any] = {"table": about.name, "size": size, "protocol": protocol_of(rows)}
    values["rows"] = [row.to_json() for row in rows]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"--out {out}: {out.parent} is no folder, or below a file; name another") from None
    write_text(out.with_name(out.name + ".md"), to_page(about, size, rows, command=command) + "\n")
    write_text(out.with_name(out.name + ".json"), json.dumps(values, indent=1) + "\n")
    if as_json:
        print(json.dumps(values))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    for part in to_terminal(about, size, rows):
        console.print(part)
    if warning(about, size, rows):
        print(warning(about, size, rows), file=sys.stderr)
    print(f"{out}.md\n{out}.json")


def own_words(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command's options, and the settings of recipes: dotted ones, and what `train` has short names for."""
    own: list[str] = []
    settings: list[str] = []
    into = own
    for word in argv:
        if word.startswith("--"):
            name = word.split("=")[0]
            into = settings if "." in name or name in (*FLAGS, *SHORT) else own
        into.append(word)
    return own, settings


def whole_numbers(text: str) -> list[int]:
    """Seeds, by commas."""
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"--seeds is {text!r}; it must be whole numbers with commas between them")
    return [int(part) for part in parts]


def train_rows(
    recipes: Sequence[tuple[str, int]],
    folder: Path,
    settings: Sequence[str],
    *,
    there: Sequence[RunConfig],
    device: str,
) -> bool:
    """One run of each recipe and seed, from where it is; whether one diverged. A wrong setting of the last one, or one
    that doesn't fit the runs that are there, is refused before the first one is trained.
    """
    from ..training.runs.run import Diverged, train

    left = [prepared(recipe, seed, folder, settings, device=device) for recipe, seed in recipes]
    check_comparable([config for _, config, _ in left], there)
    diverged = False
    while left:
        run, config, begun = left.pop(0)
        print(f"{run}: {'going on' if begun else 'training'}", file=sys.stderr)
        try:
            train(config, run, device=device, resume=begun)
        except Diverged as error:
            print(f"zforcing: {error}", file=sys.stderr)
            diverged = True
    return diverged


def prepared(
    recipe: str, seed: int, folder: Path, settings: Sequence[str], *, device: str
) -> tuple[Path, RunConfig, bool]:
    """A run's folder, what is trained in it, and whether it was begun."""
    from ..evaluation.paper_page import check_data
    from ..training.runs.folder import check_folder

    run = folder / f"{recipe}-seed{seed}"
    _, config = parse_train([recipe, "--seed", str(seed), "--run-dir", str(run), "--device", device, *settings])
    check_data(recipe, flatten(config.to_dict()))
    begun = (run / "config.yaml").is_file()
    if not begun and run.exists():
        raise UserError(f"{run} exists already and holds no run: take it away, or name other --runs")
    try:
        check_folder(config, run, resume=begun)
    except UserError as error:
        said = str(error).removeprefix("--resume: ")
        raise UserError(f"{said}: give the same settings, name other --runs, or read what is there by --find") from None
    return run, config, begun


def check_comparable(configs: Sequence[RunConfig], there: Sequence[RunConfig]) -> None:
    """Refuse, before anything is trained, data in which runs differ, these among themselves and from those that are
    there (they couldn't stand in one column), and settings in which the seeds of a recipe do (they would have no mean).
    """
    all_of_them = [(config.recipe, flatten(config.to_dict())) for config in (*configs, *there)]
    firsts: dict[str, dict[str, Any]] = {}
    for recipe, settings in all_of_them:
        seeds, rows = firsts.setdefault(recipe, settings), all_of_them[0][1]
        other = [k for k in seeds | settings if k not in NO_DIFFERENCE and seeds.get(k) != settings.get(k)]
        of_rows = [k for k in rows | settings if k.startswith("data.") and rows.get(k) != settings.get(k)]
        told = [f"{k} {seeds.get(k)} and {settings.get(k)}" for k in other]
        told += [f"{k} {rows.get(k)} and {settings.get(k)}" for k in of_rows if k not in (*OF_TRAINING, *other)]
        if told:
            raise UserError(f"runs of one table can't differ in {'; '.join(told)} ({recipe}): name other --runs")


def runs_of(recipe: str, folder: Path) -> list[Path]:
    """The run folders of a recipe, by their seeds."""
    named = re.compile(re.escape(recipe) + r"-seed(\d+)", re.ASCII)
    found = [(named.fullmatch(run.name), run) for run in (folder.iterdir() if folder.is_dir() else ())]
    return [run for _, run in sorted((int(match[1]), run) for match, run in found if match and run.is_dir())]


def runs_of_rows(about: PaperTable, size: str, folder: Path) -> list[Path]:
    """The run folders of all recipes of a table's size."""
    return [run for key in about.rows for run in runs_of(about.recipe(size, key), folder)]


def is_finished(run: Path) -> bool:
    """Whether training has come to its end, with a model to evaluate."""
    from ..saving.atomic import current
    from ..training.runs.checkpoint import read_progress

    last, best = (current(run / "checkpoints" / which) for which in ("last", "best"))
    return last.is_dir() and best.is_dir() and bool(read_progress(last)["finished"])


def rows_by_bound(bounds: Sequence[str], runs: Sequence[Path], *, device: str) -> dict[str, list[Row]]:
    """What each bound says of the runs; where the first one (elbo) is the exact likelihood, it has said all."""
    found: dict[str, list[Row]] = {}
    for bound in bounds:
        for run in runs:
            evaluate_if_needed(run, bound, device=device)
        found[bound] = read_rows(runs, split="test", bound=bound) if runs else []
        runs = [run for run, row in zip(runs, found[bound], strict=True) if row.evaluation["kind"] != "exact"]
    return found


def evaluate_if_needed(run: Path, bound: str, *, device: str) -> None:
    """A bound (elbo, or iwae25: with particles) on the test split, unless it is there and newer than the weights."""
    found, weights = run / f"evaluation-test-{bound}.json", find_checkpoint(run) / "model.safetensors"
    if found.is_file() and found.stat().st_mtime >= weights.stat().st_mtime and is_complete(found):
        return
    print(f"{run}: evaluating {bound}", file=sys.stderr)
    name = bound.rstrip("0123456789")
    particles = ["--particles", bound.removeprefix(name)] if name != bound else []
    try:
        with redirect_stdout(io.StringIO()):
            evaluate([str(run), "--bound", name, *particles, "--device", device, "--batch-size", "128"])
    except UserError as error:
        raise UserError(f"{run}: {error}") from None


def is_complete(evaluation: Path) -> bool:
    """Whether it holds all that is reported today."""
    from ..evaluation.likelihood import Evaluation

    try:
        return {field.name for field in fields(Evaluation)} <= set(read_json(evaluation))
    except UserError:  # damaged: it is made again
        return False
