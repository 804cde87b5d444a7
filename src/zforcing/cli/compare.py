"""`zforcing compare`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..bounds import Bound
from ..data.splits import Split
from ..errors import UserError
from ..files.json_text import json_text
from ..models import MODELS
from ..settings import Count
from ..training.runs.folder import find_run, read_run_config
from .options import bound_options, check_common, chosen_bound, command_parser, common_options, counting

if TYPE_CHECKING:
    from ..evaluation.compared import Comparison, Measured


def compare(argv: Sequence[str]) -> int:
    """Say which of two runs explains the same data better, and how sure that is: zforcing compare RUN RUN.

    Each sequence is measured under both, so that the error is that of the differences. Runs that differ by their seed
    stand for one model: zforcing compare a-seed0,a-seed1 b-seed0,b-seed1.
    """
    from ..evaluation.compared import difference

    options = compare_options(argv)
    sides = [folders_of(words.split(",")) for words in options.runs]
    bounds = [bound_of(runs, options) for runs in sides]
    first, second = (measured(runs, options, bound=bound) for runs, bound in zip(sides, bounds, strict=True))
    result = difference(first, second)
    if options.json:
        evaluations = [[one.to_json() for one in side.evaluations] for side in (first, second)]
        print(json_text(result.to_json() | {"compared": list(options.runs), "evaluations": evaluations}))
    else:
        print("\n".join(lines(result, options.runs, first, second)))
    return 0


def bound_of(runs: Sequence[Path], options: Namespace) -> Bound:
    """What one side is measured by: what was asked for, else that which goes with its models. Raises UserError where
    they can't have it.
    """
    configs = [read_run_config(run) for run in runs]
    bound = chosen_bound(options, trained_by=None if options.bound else configs[0].bound)
    for config in configs:
        bound.check_model(MODELS[config.model_name])
    return bound


def measured(runs: Sequence[Path], options: Namespace, *, bound: Bound) -> Measured:
    """The nats of each sequence under a model's runs."""
    from ..evaluation.compared import Measured
    from ..evaluation.runs import evaluate_run

    nats: list[np.ndarray] = []
    evaluations = tuple(
        evaluate_run(
            run,
            bound=bound,
            split=options.split,
            repeats=options.repeats,
            seed=options.seed,
            batch_size=options.batch_size,
            baselines=False,
            threads=options.threads,
            device=options.device,
            counting=counting,
            each=nats.append,
        )
        for run in runs
    )
    return Measured(evaluations, np.stack(nats))


def folders_of(names: Sequence[str]) -> list[Path]:
    """The folders of one side's runs. Raises UserError where a name is empty, or no run's, or there twice."""
    folders: list[Path] = []
    for name in (name.strip() for name in names):
        if not name:
            raise UserError(f"a run's name is empty in {','.join(names)!r}")
        run = find_run(name)
        if not (run / "config.yaml").is_file():
            raise UserError(f"{run} is a saved model, which names no data; in Python: zf.compare(model, model, data)")
        if run.resolve() in [folder.resolve() for folder in folders]:
            raise UserError(f"{name} is given twice on one side; seeds are other runs")
        folders.append(run)
    return folders


def lines(result: Comparison, names: Sequence[str], first: Measured, second: Measured) -> list[str]:
    """What is printed."""
    how = {
        "exact": "both numbers are exact",
        "at least": "a bound less an exact number: of log p(x) the difference is at least this",
        "at most": "an exact number less a bound: of log p(x) the difference is at most this",
        "of bounds": "a difference of two bounds or estimates: how far each is from log p(x) isn't known",
    }[result.relation]
    each = [
        f"{name}: {side.evaluations[0].short_kind} {side.mean:.2f} nats per sequence"
        for name, side in zip(names, (first, second), strict=True)
    ]
    ties = f", the two are equal on {result.equal:.0%}" if result.equal else ""
    verdict = [f"the first is better on {result.better:.0%} of the sequences{ties}", how]
    if result.is_clear is False:
        verdict.append("the difference is within twice an error of it: these numbers don't tell the two apart")
    of = first.evaluations[0]
    return [f"{result} ({of.data}, {of.split} split)", *each, *verdict]


def compare_options(argv: Sequence[str]) -> Namespace:
    """The command's options."""
    parser = command_parser("compare", compare)
    about = "two run folders; several of one model, by commas, are its seeds"
    parser.add_argument("runs", type=str, nargs=2, help=about)
    parser.add_argument("--split", type=Split, default="test", help="of the data")
    bound_options(parser)
    parser.add_argument("--repeats", type=Count, default=1, help="how often the bound is taken; its mean is compared")
    parser.add_argument("--batch-size", type=Count, default=1024, help="sequences times particles at a time")
    common_options(parser, seed="seed of the latents' noise")
    options = parser.parse_args(list(argv))
    check_common(options)
    return options
