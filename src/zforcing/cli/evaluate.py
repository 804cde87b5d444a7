"""`zforcing evaluate`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..bounds import ELBO, Bound, ChunkedELBO
from ..errors import UserError
from ..files.json_text import json_text
from ..saving.model import find_checkpoint, load
from ..settings import Count
from ..training.runs.folder import find_run, read_run_config
from .evaluate_forecast import evaluate_forecasts
from .latents import latents_of, print_latents
from .options import (
    annealed,
    annealing_options,
    bound_options,
    check_common,
    checkpoint_option,
    chosen_bound,
    command_parser,
    common_options,
    counting,
    number_or_all,
    print_values,
    say,
    sequences_options,
)
from .out import file_name
from .sequences import sequences_of
from .sources import OWN

if TYPE_CHECKING:
    from ..evaluation.evaluation import Evaluation
    from ..evaluation.latents_report import LatentsReport
# options that say how a run is measured, by the names of `evaluate_run`
ASKED = (
    "file",
    "checkpoint",
    "repeats",
    "seed",
    "batch_size",
    "backend",
    "skip_unreadable",
    "baselines",
    "threads",
    "device",
)


def evaluate(argv: Sequence[str]) -> int:
    """Measure a trained model on a split of its data, or on your own: zforcing evaluate RUN [FILE_OR_FOLDER].

    One line has the number, its error, kind and unit; those behind it what else is worth knowing.
    """
    from ..evaluation.runs import evaluate_run
    from ..evaluation.saved import evaluation_file, name_in_files, save_evaluation, weights_of

    options = evaluate_options(argv)
    if options.forecast is not None:
        return evaluate_forecasts(options)
    run = find_run(options.run)
    find_checkpoint(run, which=options.checkpoint)
    bound = in_chunks(options, annealed(chosen_bound(options, trained_by=trained_by(run)), options))
    latents = latents_of(run, options) if options.latents else None
    asked = {name: getattr(options, name) for name in ASKED}
    own = sequences_of if options.file is not None and OWN.fullmatch(options.file) else None
    weights = weights_of(run, checkpoint=options.checkpoint)
    result = evaluate_run(run, bound=bound, split=options.split or "test", own=own, counting=counting, say=say, **asked)
    of = (options.split or "test") if options.file is None else file_name(options.file)
    path = evaluation_file(run, split=of, bound=name_in_files(bound), checkpoint=options.checkpoint)
    values = result.to_json() | {"checkpoint": options.checkpoint, "weights": weights}
    try:
        show(result, values, latents, options, path=path)
    finally:  # also where nobody reads on
        save_evaluation(result, path, checkpoint=options.checkpoint, weights=weights, latents=latents)
    return 0


def show(
    result: Evaluation, values: dict[str, Any], latents: LatentsReport | None, options: Namespace, *, path: Path
) -> None:
    """What was measured, on stdout, and what to mind, on stderr. path: where all numbers will be."""
    from ..evaluation.summary import summary, warnings

    if options.json:
        print(json_text(values | ({} if latents is None else {"latents": latents.to_json()})))
    elif options.all:
        told = ", ".join(f"{name} {value}" for name, value in result.bound_settings.items()) or None
        print_values(values | {"baselines": in_words(result), "bound_settings": told})
        print_latents(latents)
    else:
        description = load(path.parent, which=options.checkpoint).description
        print("\n".join(summary(result, number="dim" if description is None else description.format.number)))
        print_latents(latents)
        print(f"all numbers: {path} (or --all, --json)")
    for warning in warnings(result):
        print(f"warning: {warning}", file=sys.stderr)


def in_words(result: Evaluation) -> str | None:
    """What baselines make of it, on one line."""
    return ", ".join(f"{score.name} {score.nats_per_sequence:.4f}" for score in result.baselines) or None


def evaluate_options(argv: Sequence[str]) -> Namespace:
    """The command's options; what is imported, and which device, is checked."""
    parser = command_parser("evaluate", evaluate)
    sequences_options(parser)
    bound_options(parser)
    annealing_options(parser)
    parser.add_argument("--repeats", type=Count, default=1, help="how often the bound is taken; its mean is reported")
    chunks = "take the elbo in chunks of so many time steps, in less memory"
    parser.add_argument("--chunk-steps", type=Count | None, default=None, help=chunks)
    ahead = "time steps behind a chunk that its posterior sees, or all (exact)"
    parser.add_argument("--look-ahead", type=str, default="all", help=ahead)
    held = "hold out so many last steps of each sequence, and measure forecasts of them (--particles: 64) and no bound"
    parser.add_argument("--forecast", type=Count | None, default=None, help=held)
    futures = "of --forecast: futures of each sequence; 100 by default"
    parser.add_argument("--num-samples", "--num", type=Count | None, default=None, help=futures)
    skip = "recordings: leave out what can't be used, and count it"
    parser.add_argument("--skip-unreadable", action="store_true", help=skip)
    without = "don't fit simple models to the training split, to see what they make of the same data"
    parser.add_argument("--no-baselines", dest="baselines", action="store_false", help=without)
    latents = "also measure what the latents carry: KL, active units, log p(x | z) by posterior and prior"
    parser.add_argument("--latents", action="store_true", help=latents)
    parser.add_argument("--all", action="store_true", help="print every number, as --json does")
    checkpoint_option(parser)
    parser.add_argument("--batch-size", type=Count, default=1024, help="sequences times particles at a time")
    backend = "reference: the model's contract step by step; fast: what is derived from it"
    parser.add_argument("--backend", type=Literal["fast", "reference"], default="fast", help=backend)
    common_options(parser, seed="seed of the latents' noise")
    options = parser.parse_args(list(argv))
    check_common(options)
    if options.file is not None and options.skip_unreadable and not Path(options.file).expanduser().is_dir():
        raise UserError("--skip-unreadable is for the run's own data and for folders: leave it out, or the file")
    if options.forecast is None and options.num_samples is not None:
        raise UserError("--num-samples goes with --forecast; a bound has --particles")
    return options


def trained_by(run: Path) -> Bound | None:
    """The bound that a run was trained by; None where a folder holds only a model."""
    return read_run_config(run).bound if (run / "config.yaml").is_file() else None


def in_chunks(options: Namespace, bound: Bound) -> Bound:
    """The bound as --chunk-steps and --look-ahead want it."""
    ahead = number_or_all("look-ahead", options.look_ahead)
    if options.chunk_steps is None:
        if ahead is not None:
            raise UserError("--look-ahead needs --chunk-steps")
        return bound
    if type(bound) is not ELBO:
        raise UserError(f"--chunk-steps takes the elbo, whose terms add up over time; not {bound.name}")
    return ChunkedELBO(options.chunk_steps, ahead)
