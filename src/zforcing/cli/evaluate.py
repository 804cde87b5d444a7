"""`zforcing evaluate`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from ..bounds import ELBO, Bound, ChunkedELBO
from ..data import DataModule, Music, Speech
from ..data.splits import SPLITS
from ..errors import UserError
from ..runtime.device import pick_device
from ..runtime.threads import threads_asked_for
from ..saving.atomic import write_text
from ..saving.model import load_checkpoint
from ..training.runs.folder import read_run_config, run_folder
from .options import (
    at_least,
    bound_options,
    check_common,
    chosen_bound,
    command_parser,
    common_options,
    counting,
    one_of,
    print_values,
    whole_number,
)

if TYPE_CHECKING:
    from ..evaluation.likelihood import Evaluation
MUCH_UNKNOWN = 0.25  # of the symbols


def evaluate(argv: Sequence[str]) -> int:
    """Measure a trained model on a split: zforcing evaluate RUN [--split test]."""
    parser = command_parser("evaluate", evaluate)
    parser.add_argument("run", type=str, help="a run folder")
    parser.add_argument("--split", type=str, default="test", help="train, valid or test")
    bound_options(parser)
    parser.add_argument("--repeats", type=int, default=1, help="how often the bound is taken; its mean is reported")
    parser.add_argument(
        "--chunk-steps",
        type=int | None,
        default=None,
        help="take the elbo in chunks of so many time steps, in less memory",
    )
    parser.add_argument(
        "--look-ahead",
        type=str,
        default="all",
        help="time steps behind a chunk that its posterior sees, or all (exact)",
    )
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="recordings: leave out what can't be used, and count it"
    )
    parser.add_argument("--checkpoint", type=str, default="best", help="best (on the validation split) or last")
    parser.add_argument("--batch-size", type=int, default=1024, help="sequences times particles at a time")
    parser.add_argument(
        "--backend", type=str, default="fast", help="fast, or reference: the model's contract step by step"
    )
    common_options(parser, seed="seed of the latents' noise")
    options = parser.parse_args(list(argv))
    one_of("split", options.split, SPLITS)
    one_of("checkpoint", options.checkpoint, ("best", "last"))
    one_of("backend", options.backend, ("fast", "reference"))
    at_least(1, "batch-size", options.batch_size)
    at_least(1, "repeats", options.repeats)
    check_common(options)
    run = run_folder(options.run)
    result, name = measured(run, options)
    values = result.to_json() | {"checkpoint": options.checkpoint}
    which = "" if options.checkpoint == "best" else f"-{options.checkpoint}"
    write_text(run / f"evaluation-{options.split}-{name}{which}.json", json.dumps(values, indent=1) + "\n")
    if options.json:
        print(json.dumps(values))
    else:
        print_values(values)
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
            "(posterior collapse). Try a lower first weights.kl.start, or larger weights.auxiliary and "
            "weights.backward",
            file=sys.stderr,
        )
    return 0


def measured(run: Path, options: Namespace) -> tuple[Evaluation, str]:
    """What the options ask for of a run, and the bound's name in files."""
    from ..evaluation.likelihood import evaluate as measure

    config = read_run_config(run)
    bound, name = in_chunks(options, *chosen_bound(options, like=config.bound))
    found = load_checkpoint(run, which=options.checkpoint)
    found.model.backend = options.backend
    module = without_unreadable(config.data) if options.skip_unreadable else config.data
    data = module.load(options.split, found.description)
    with counting(f"{name} of {run}", len(data) * options.repeats) as advance, threads_asked_for(options.threads):
        result = measure(
            found.model,
            data,
            found.description,
            bound=bound,
            bound_name=options.bound,
            split=options.split,
            repeats=options.repeats,
            true_log_likelihood=module.true_log_likelihood,
            seed=options.seed,
            max_rows=options.batch_size,
            device=pick_device(options.device),
            progress=advance,
        )
    return result, name


def without_unreadable(data: DataModule) -> DataModule:
    """The same data without what can't be read."""
    if not isinstance(data, Speech | Music):
        raise UserError("--skip-unreadable is for recordings and MIDI files; this run's data is none")
    return replace(data, skip_unreadable=True)


def in_chunks(options: Namespace, bound: Bound, name: str) -> tuple[Bound, str]:
    """The bound as --chunk-steps and --look-ahead want it, and its name in files: another one for another number."""
    ahead = None if options.look_ahead == "all" else whole_number("look-ahead", options.look_ahead)
    if options.chunk_steps is None:
        if ahead is not None:
            raise UserError("--look-ahead needs --chunk-steps")
        return bound, name
    at_least(1, "chunk-steps", options.chunk_steps)
    if type(bound) is not ELBO:
        raise UserError(f"--chunk-steps takes the elbo, whose terms add up over time; not {options.bound}")
    suffix = "" if ahead is None else f"-chunks-of-{options.chunk_steps}-ahead-{ahead}"
    return ChunkedELBO(options.chunk_steps, ahead), name + suffix
