"""`zforcing report`."""

from __future__ import annotations

import shlex
import warnings
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.splits import Split
from ..errors import UserError
from ..files.json_text import json_text
from ..files.writing import file_to_write, whole_file
from ..runtime.device import pick_device
from ..runtime.threads import threads_asked_for
from ..settings import Count
from ..training.runs.folder import find_run
from .options import RUN_HELP, check_common, checkpoint_option, command_parser, common_options, counting, say

if TYPE_CHECKING:
    from ..report.subject import Subject
LARGE = 20  # megabytes


def report(argv: Sequence[str]) -> int:
    """Make one page about runs, side by side: zforcing report RUN [RUN ...] [--out report.html].

    Learning curves, likelihoods beside baselines and published numbers, what the latents carry, samples to look at and
    listen to, reconstructions, forecasts, the worst and best sequences, settings, and what to cite. The file needs no
    network and nothing else. What a run's folder lacks is computed on some sequences of the split.
    """
    from ..report.page import page
    from ..report.sections import SECTIONS

    options = report_options(argv)
    folders = [find_run(run) for run in options.runs]
    out = file_of(options.out, folders)
    command = shlex.join(["zforcing", "report", *argv])
    with threads_asked_for(options.threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of scores by few particles: the page itself has them
        subjects = subjects_of(folders, options)
        with counting("sections of the page", len(SECTIONS)) as advance:
            made = page(subjects, command=command, progress=advance)
    with whole_file(out) as part:
        part.write_text(made, encoding="utf-8")
    megabytes = out.stat().st_size / 1e6
    if megabytes > LARGE:
        say(f"{out} has {megabytes:.0f} MB: a lower --num and --most-steps make it smaller")
    print(json_text({"file": str(out)}) if options.json else out)
    return 0


def report_options(argv: Sequence[str]) -> Namespace:
    """The command's options; what is imported is there."""
    parser = command_parser("report", report)
    parser.add_argument("runs", type=str, nargs="+", help=RUN_HELP)
    parser.add_argument("--out", type=str | None, default=None, help="RUN/report.html of one run, else report.html")
    parser.add_argument("--split", type=Split, default="test", help="of the data")
    parser.add_argument("--num", type=Count, default=64, help="sequences of the split that anything is computed on")
    parser.add_argument("--most-steps", type=Count, default=1000, help="steps of each that are taken, the first ones")
    checkpoint_option(parser)
    common_options(parser, seed="seed of all that is drawn")
    options = parser.parse_args(list(argv))
    check_common(options)
    return options


def subjects_of(folders: Sequence[Path], options: Namespace) -> list[Subject]:
    """The runs, by what the options allow to be computed."""
    from ..report.subject import Budget, open_subject

    asked: dict[str, Any] = {"split": options.split, "which": options.checkpoint, "device": pick_device(options.device)}
    budget = Budget(options.num, options.most_steps, options.seed)
    named = zip(folders, names_of(folders), strict=True)
    return [open_subject(str(folder), name=name, budget=budget, **asked) for folder, name in named]


def names_of(folders: Sequence[Path]) -> list[str]:
    """Of the runs: the folder's, with its place where two have one name."""
    names = [folder.absolute().name for folder in folders]
    return [name if names.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)]


def file_of(asked: str | None, folders: Sequence[Path]) -> Path:
    """Where the page goes. Raises UserError where it can't go there."""
    if asked is None:
        return folders[0] / "report.html" if len(folders) == 1 else Path("report.html")
    out = file_to_write(asked)
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out is {asked}; it must be an .html file")
    return out
