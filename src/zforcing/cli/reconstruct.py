"""`zforcing reconstruct`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..runtime.device import pick_device
from ..runtime.threads import threads_asked_for
from ..settings import Count
from ..training.runs.trained import Trained
from .options import check_common, checkpoint_option, command_parser, common_options, sequences_options
from .out import check_drawn, drawn_options, file_name, stem_of, write_drawn
from .sample import report
from .sequences import sequences_of
from .sources import HELP

if TYPE_CHECKING:
    from ..tasks.reconstruction import Reconstruction

SHOWN = 8  # sequences of the test split, by default


def reconstruct(argv: Sequence[str]) -> int:
    """Rebuild sequences from their latents: zforcing reconstruct RUN [FILE] [--mode mean] [--past own].

    The latents are those of the posterior, which reads the sequences. The emission is given them, and reads before each
    step what it rebuilt itself, or with --past true the data. How far off it is goes to stderr, or into the JSON.
    """
    options = reconstruct_options(argv)
    trained = Trained.load(options.run, which=options.checkpoint, device=pick_device(options.device))
    description = trained.description
    check_drawn(options, description)
    source = options.file or options.split or first_of_test(trained)
    made = rebuilt(trained, source, options)
    stem = stem_of(options, "reconstruct", options.split or file_name(source), *changed(options))
    written = write_drawn(made.drawn, description, options, folder=trained.folder / "samples", stem=stem)
    values = {"run": str(trained.folder), "source": source, "seed": options.seed}
    report(written, values | summary(made), as_json=options.json)
    print(f"{made.summary}; {made.kind}", file=sys.stderr)
    if made.collapsed:
        print("warning: the latents carry nothing (posterior collapse): see evaluate --latents", file=sys.stderr)
    return 0


def reconstruct_options(argv: Sequence[str]) -> Namespace:
    """The command's options; what is imported is there."""
    parser = command_parser("reconstruct", reconstruct)
    sequences_options(parser, HELP, without=f"the first {SHOWN} sequences of the test split")
    mode = "mean: the posterior's means, and the likeliest x_t; sample: both drawn"
    parser.add_argument("--mode", type=Literal["mean", "sample"], default="mean", help=mode)
    past = "what the emission reads of x_<t. own: what it rebuilt (free-running); true: the data (teacher-forced)"
    parser.add_argument("--past", type=Literal["own", "true"], default="own", help=past)
    parser.add_argument("--batch-size", type=Count, default=256, help="sequences at a time")
    checkpoint_option(parser)
    drawn_options(parser)
    common_options(parser, seed="seed of all that is drawn")
    options = parser.parse_args(list(argv))
    check_common(options)
    return options


def first_of_test(trained: Trained) -> str:
    """The first sequences of the test split, as `read_sequences` takes them."""
    there = len(trained.data.load("test", trained.description))
    return f"test:0-{min(there, SHOWN) - 1}"


def rebuilt(trained: Trained, source: str, options: Namespace) -> Reconstruction:
    """The reconstruction that the options want."""
    from ..tasks.reconstruct import reconstruct as rebuild

    data = sequences_of(source, trained)
    given: dict[str, Any] = {name: getattr(options, name) for name in ("mode", "past", "seed")}
    with threads_asked_for(options.threads):
        return rebuild(trained.model, data, max_rows=options.batch_size, **given)


def changed(options: Namespace) -> list[str]:
    """What isn't as usual, for the file's name."""
    sampled, forced = options.mode == "sample", options.past == "true"
    return ["sample"] * sampled + ["true-past"] * forced


def summary(made: Reconstruction) -> dict[str, Any]:
    """What is said of a reconstruction."""
    return {
        "mode": made.mode,
        "past": made.past,
        "kind": made.kind,
        "num_sequences": len(made),
        "error": made.error.total,
        "error_unit": made.error_unit,
        "error_by_feature": made.error.features.tolist(),
        "error_by_sequence": made.error.sequences.tolist(),
        "error_of_constant_guess": made.guess.total,
        "kl_per_step": made.nats_per_step,
        "collapsed": made.collapsed,
    }
