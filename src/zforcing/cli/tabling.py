"""`zforcing table`: runs side by side, or a table of a paper with our runs of its rows."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ..errors import UserError
from ..evaluation.table import Row, read_rows
from ..training.checkpoint import find_checkpoint, load_checkpoint, write_text
from .measuring import evaluate
from .options import SPLITS, bound_options, chosen_bound, command_parser, one_of
from .training import FLAGS, SHORT, parse_train


def table(argv: Sequence[str]) -> int:
    """Compare evaluated runs, or fill a paper's table: zforcing table RUN [RUN ...] | NAME [--data.root FOLDER ...].

    NAME is a table of a paper (speech); `zforcing table speech --help` says more.
    """
    from ..evaluation.published import paper_tables

    if argv and argv[0] in paper_tables():
        return paper(argv[0], argv[1:])
    return runs_side_by_side(argv)


def runs_side_by_side(argv: Sequence[str]) -> int:
    """Compare evaluated runs: zforcing table RUN [RUN ...]."""
    from ..evaluation.table import NOTE, to_markdown, to_table

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
    dim = "pixel" if load_checkpoint(Path(options.runs[0])).description.image_shape else "dim"
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
    OUT.md and OUT.json. Other options (--data.root FOLDER, --training.max_minutes 5) are settings of all recipes.
    """
    from ..evaluation.published import paper_rows, protocol_of, read_paper_table, to_page, to_terminal

    about = read_paper_table(name)
    parser = command_parser(f"table {name}", paper)
    parser.add_argument("--size", type=str, default=about.sizes[0], help=f"of the recipes: {', '.join(about.sizes)}")
    parser.add_argument("--rows", type=str, default="all", help=f"trained, by commas: {', '.join(about.rows)}")
    parser.add_argument("--seeds", type=str, default="0", help="of the runs to train, by commas")
    parser.add_argument("--runs", type=str, default=f"runs/{name}", help="folder of the runs")
    parser.add_argument("--find", action="store_true", help="train nothing: only read the runs that are there")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda")
    parser.add_argument("--out", type=str | None, default=None, help="OUT.md and OUT.json; RUNS/table by default")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    own, settings = own_words(argv)
    options = parser.parse_args(own)
    one_of("size", options.size, about.sizes)
    keys = list(about.rows) if options.rows == "all" else options.rows.split(",")
    for key in keys:
        one_of("rows", key, tuple(about.rows))
    folder = Path(options.runs)
    if options.find and settings:
        raise UserError(f"--find trains nothing, so that {settings[0]} has no use: leave one of them out")
    if not options.find:
        for seed in whole_numbers(options.seeds):
            for key in keys:
                train_row(about.recipe(options.size, key), seed, folder, settings, device=options.device)
    runs = [run for key in about.rows for run in sorted(folder.glob(f"{about.recipe(options.size, key)}-seed[0-9]*"))]
    finished = [run for run in runs if is_finished(run)]
    found: list[Row] = []
    if finished:
        for run in finished:
            evaluate_if_needed(run, device=options.device)
        found = read_rows(finished, split="test", bound="elbo")
    rows = paper_rows(about, options.size, found)
    values: dict[str, Any] = {"table": name, "size": options.size, "protocol": protocol_of(rows)}
    values["rows"] = [row.to_json() for row in rows]
    out = Path(options.out or folder / "table")
    out.parent.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["zforcing", "table", name, *argv])
    write_text(out.with_name(out.name + ".md"), to_page(about, options.size, rows, command=command) + "\n")
    write_text(out.with_name(out.name + ".json"), json.dumps(values, indent=1) + "\n")
    if options.json:
        print(json.dumps(values))
        return 0
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(to_terminal(about, rows))
    print(f"{out}.md\n{out}.json")
    left = [run.name for run in runs if run not in finished]
    if left:
        print(f"not finished, and left out: {', '.join(left)}", file=sys.stderr)
    return 0


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


def train_row(recipe: str, seed: int, folder: Path, settings: Sequence[str], *, device: str) -> None:
    """One run of one row, from where it is."""
    from ..training.loop import train

    run = folder / f"{recipe}-seed{seed}"
    _, config = parse_train([recipe, "--seed", str(seed), "--run-dir", str(run), "--device", device, *settings])
    begun = (run / "config.yaml").is_file()
    print(f"{run}: {'going on' if begun else 'training'}", file=sys.stderr)
    train(config, run, device=device, resume=begun)


def is_finished(run: Path) -> bool:
    """Whether training has come to its end."""
    from ..training.checkpoint import read_progress

    if not (run / "checkpoints" / "last").is_dir():
        return False
    return bool(read_progress(find_checkpoint(run, which="last"))["finished"])


def evaluate_if_needed(run: Path, *, device: str) -> None:
    """The ELBO on the test split, unless it is there and newer than the weights."""
    found, weights = run / "evaluation-test-elbo.json", find_checkpoint(run) / "model.safetensors"
    if found.is_file() and found.stat().st_mtime >= weights.stat().st_mtime:
        return
    from contextlib import redirect_stdout

    with redirect_stdout(sys.stderr):
        evaluate([str(run), "--device", device, "--batch-size", "128"])
