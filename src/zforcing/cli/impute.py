"""`zforcing impute`."""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data import SequenceDataset
from ..errors import ResultWarning
from ..runtime.device import pick_device
from ..runtime.threads import threads_asked_for
from ..settings import Count, Seed, Share
from ..tasks.imputation import Imputation
from ..training.runs.trained import Trained
from .options import (
    check_common,
    checkpoint_option,
    command_parser,
    common_options,
    counting,
    number_or_all,
    print_values,
    say,
    sequences_options,
)
from .out import TABLES, check_out, out_option
from .sequences import out_file, sequences_of, source_of
from .sources import OWN, is_file

ENDINGS = {".parquet": "parquet", ".npz": "npz", ".npy": "npz"}  # of what is written without --out


def impute(argv: Sequence[str]) -> int:
    """Fill the gaps of a file or of a split: zforcing impute RUN [FILE] [--out filled.csv]."""
    options = impute_options(argv)
    trained = Trained.load(options.run, which=options.checkpoint, device=pick_device(options.device))
    found = filled(trained, sequences_of(source_of(options), trained, may_have_gaps=True), options)
    if found.remark:
        say(found.remark)
    if not found.num_missing:
        say("nothing is missing in it")
    files = written(found, trained, options)
    values = summary(found) | {"run": str(trained.folder), "checkpoint": options.checkpoint}
    values |= {"file": str(files[0]), "gaps_file": str(files[1])}
    print_values(values, as_json=options.json)
    return 0


def impute_options(argv: Sequence[str]) -> Namespace:
    """The command's options; what is imported is there."""
    parser = command_parser("impute", impute)
    sequences_options(parser, "sequences with gaps, in a file of the kind of the training data")
    parser.add_argument("--particles", type=Count, default=100, help="K draws, from which all numbers are computed")
    lag = "how many steps behind a gap say something about it, or all"
    parser.add_argument("--lag", type=str, default="10", help=lag)
    moves = "of the draws of each block of steps, where particles come from few; 0: none"
    parser.add_argument("--moves", type=Seed, default=50, help=moves)
    parser.add_argument("--level", type=Share, default=0.9, help="probability of the intervals")
    writes = "FILE with its gaps filled, and beside it NAME-gaps"
    out_option(parser, writes=writes, suffixes=".csv, .npz or FILE's own suffix", folder="filled")
    checkpoint_option(parser)
    parser.add_argument("--batch-size", type=Count | None, default=None, help="sequences times particles at a time")
    common_options(parser, seed="seed of the draws")
    options = parser.parse_args(list(argv))
    options.lag = number_or_all("lag", options.lag, at_least=1)
    check_common(options)
    check_out(options, "filled sequences", _suffixes(options))
    return options


def filled(trained: Trained, data: SequenceDataset, options: Namespace) -> Imputation:
    """The sequences with their gaps filled."""
    from ..tasks import impute as task

    held = task.held_by_longest(trained.model, data, particles=options.particles, moves=options.moves)
    if held > task.HELD:
        say(task.held_line(held))
    with (
        threads_asked_for(options.threads),
        counting(f"gaps filled by {options.run}", len(data)) as advance,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", ResultWarning)  # they are printed
        return task.impute(
            trained.model,
            data,
            num_samples=1,
            particles=options.particles,
            lag=options.lag,
            moves=options.moves,
            seed=options.seed,
            level=options.level,
            max_rows=options.batch_size,
            progress=advance,
        )


def written(found: Imputation, trained: Trained, options: Namespace) -> tuple[Path, Path]:
    """The file itself with its gaps filled, where it has a form for that, else a table of its steps; and its gaps."""
    source = options.file or ""
    own = bool(source) and not OWN.fullmatch(source) and is_file(source)
    ending = ENDINGS.get(_suffix(options), "csv") if own else "csv"
    out = out_file(options, trained, "filled", suffixes=_suffixes(options), ending=ending)
    drawn = [s.drawn for s in found.sequences]
    if own and trained.description.format.refill(source, out, found.filled, drawn, trained.description):
        return out, found.save_gaps(out)
    return found.save(out)


def _suffixes(options: Namespace) -> tuple[str, ...]:
    """Those that --out may have: also that of the file, where it can be written again."""
    return (*TABLES, *(suffix for suffix in (".parquet", ".npy") if suffix == _suffix(options)))


def _suffix(options: Namespace) -> str:
    """Of the file that is read."""
    return Path(options.file or "").suffix.lower()


def summary(found: Imputation) -> dict[str, Any]:
    """What is said of what was filled."""
    return {
        "model": found.model,
        "kind": found.kind,
        "moves": found.moves,
        "seed": found.seed,
        "level": found.level,
        "num_sequences": len(found),
        "num_missing": found.num_missing,
        "effective_draws": None if np.isnan(found.effective_draws) else found.effective_draws,
        "fewest_ancestors": None if not found.num_missing else int(min(np.nanmin(a) for a in _some(found.ancestors))),
    }


def _some(of_steps: list[Any]) -> list[Any]:
    return [values for values in of_steps if not np.isnan(values).all()]
