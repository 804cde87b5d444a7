"""`zforcing evaluate`."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..bounds import ELBO, Bound, ChunkedELBO
from ..data.splits import Split
from ..errors import UserError
from ..saving.model import find_checkpoint
from ..settings import Count
from ..training.runs.folder import read_run_config
from .options import (
    bound_options,
    check_common,
    checkpoint_option,
    chosen_bound,
    command_parser,
    common_options,
    counting,
    print_values,
    whole_number,
)
from .sample import file_name

if TYPE_CHECKING:
    from ..evaluation.evaluation import Evaluation
# options that say how a run is measured, by the names of `evaluate_run`
ASKED = ("file", "checkpoint", "repeats", "seed", "batch_size", "backend", "skip_unreadable", "threads", "device")
MUCH_UNKNOWN = 0.25  # of the symbols


def evaluate(argv: Sequence[str]) -> int:
    """Measure a trained model on a split of its data, or on a file: zforcing evaluate RUN [FILE] [--split test]."""
    from ..evaluation.runs import evaluate_run
    from ..evaluation.saved import evaluation_file, name_in_files, save_evaluation

    options = evaluate_options(argv)
    run = Path(options.run)
    find_checkpoint(run, which=options.checkpoint)
    bound = in_chunks(options, chosen_bound(options, trained_by=trained_by(run)))
    asked = {name: getattr(options, name) for name in ASKED}
    result = evaluate_run(run, bound=bound, split=options.split or "test", counting=counting, **asked)
    of = (options.split or "test") if options.file is None else file_name(options.file)
    path = evaluation_file(run, split=of, bound=name_in_files(bound), checkpoint=options.checkpoint)
    save_evaluation(result, path, checkpoint=options.checkpoint)
    values = result.to_json() | {"checkpoint": options.checkpoint}
    if options.json:
        print(json.dumps(values))
    else:
        print_values(values)
    warn(result)
    return 0


def evaluate_options(argv: Sequence[str]) -> Namespace:
    """The command's options; what is imported, and which device, is checked."""
    parser = command_parser("evaluate", evaluate)
    parser.add_argument("run", type=str, help="a run folder, or one that zforcing.save wrote")
    file_help = "sequences in the units of the training data, in a file of their kind; without it, a split of the data"
    parser.add_argument("file", type=str | None, nargs="?", default=None, help=file_help)
    parser.add_argument("--split", type=Split | None, default=None, help="test by default")
    bound_options(parser)
    parser.add_argument("--repeats", type=Count, default=1, help="how often the bound is taken; its mean is reported")
    chunks = "take the elbo in chunks of so many time steps, in less memory"
    parser.add_argument("--chunk-steps", type=Count | None, default=None, help=chunks)
    ahead = "time steps behind a chunk that its posterior sees, or all (exact)"
    parser.add_argument("--look-ahead", type=str, default="all", help=ahead)
    skip = "recordings: leave out what can't be used, and count it"
    parser.add_argument("--skip-unreadable", action="store_true", help=skip)
    checkpoint_option(parser)
    parser.add_argument("--batch-size", type=Count, default=1024, help="sequences times particles at a time")
    backend = "reference: the model's contract step by step; fast: what is derived from it"
    parser.add_argument("--backend", type=Literal["fast", "reference"], default="fast", help=backend)
    common_options(parser, seed="seed of the latents' noise")
    options = parser.parse_args(list(argv))
    if options.file is not None and (options.split is not None or options.skip_unreadable):
        raise UserError("--split and --skip-unreadable are for the run's own data: leave them out, or the file")
    check_common(options)
    return options


def warn(result: Evaluation) -> None:
    """Of what makes a number mean little, on stderr."""
    if result.num_unknown is not None and result.num_unknown > MUCH_UNKNOWN * result.num_dims:
        share = result.num_unknown / result.num_dims
        print(
            f"warning: {share:.0%} of the symbols are unknown to the vocabulary, and easy to predict: is this text in "
            "the language, and split into words, as that it was trained on?",
            file=sys.stderr,
        )
    if result.collapsed:
        print(
            f"warning: the latents carry {result.kl_per_sequence:.3g} nats per sequence: the model hardly uses them "
            "(posterior collapse). Try a lower first weights.kl.start, or, of zforcing, larger "
            "weights.auxiliary and weights.backward",
            file=sys.stderr,
        )


def trained_by(run: Path) -> Bound | None:
    """The bound that a run was trained by; None where a folder holds only a model."""
    return read_run_config(run).bound if (run / "config.yaml").is_file() else None


def in_chunks(options: Namespace, bound: Bound) -> Bound:
    """The bound as --chunk-steps and --look-ahead want it."""
    ahead = None if options.look_ahead == "all" else whole_number("look-ahead", options.look_ahead)
    if options.chunk_steps is None:
        if ahead is not None:
            raise UserError("--look-ahead needs --chunk-steps")
        return bound
    if type(bound) is not ELBO:
        raise UserError(f"--chunk-steps takes the elbo, whose terms add up over time; not {options.bound}")
    return ChunkedELBO(options.chunk_steps, ahead)
