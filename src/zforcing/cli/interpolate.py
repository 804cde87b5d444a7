"""`zforcing interpolate`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ..observations import Example
from ..runtime.device import pick_device
from ..runtime.threads import threads_asked_for
from ..settings import Range
from ..training.runs.trained import Trained
from .options import RUN_HELP, check_common, checkpoint_option, command_parser, common_options
from .out import check_drawn, drawn_options, file_name, stem_of, write_drawn
from .sample import report
from .sources import HELP, read_sequence

if TYPE_CHECKING:
    from ..tasks.interpolate import Interpolation

WAYS = {"path": "linear", "decode": "greedy", "infer": "mean"}  # how latents are mixed, decoded, inferred


def interpolate(argv: Sequence[str]) -> int:
    """From one sequence to another, through their latents: zforcing interpolate RUN A B [--num 7].

    The latents of both are inferred, mixed step by step and decoded. The first and the last are reconstructions of A
    and B; the shorter one goes on by the prior. Of text the sentences are printed, "..." behind one without an end.
    """
    options = interpolate_options(argv)
    trained = Trained.load(options.run, which=options.checkpoint, device=pick_device(options.device))
    description = trained.description
    check_drawn(options, description)
    examples = [read_sequence(source, trained) for source in (options.a, options.b)]
    with threads_asked_for(options.threads):
        made = between(trained, examples, options)
    changed = [getattr(options, name) for name, usual in WAYS.items() if getattr(options, name) != usual]
    stem = stem_of(options, "interpolate", file_name(options.a), file_name(options.b), *changed)
    written = write_drawn(made.drawn, description, options, folder=trained.folder / "samples", stem=stem)
    values: dict[str, Any] = {name: getattr(options, name) for name in ("a", "b", "num", *WAYS, "seed")}
    values |= {"kl_per_step": made.nats_per_step, "warning": made.warning}
    unknown = description.format.unknown_in(examples)
    if unknown is not None:
        values["unknown"] = unknown
    report(written, {"run": str(trained.folder)} | values, as_json=options.json)
    if made.warning is not None:
        print(f"warning: {made.warning}", file=sys.stderr)
    return 0


def interpolate_options(argv: Sequence[str]) -> Namespace:
    """The command's options; what is imported is there."""
    parser = command_parser("interpolate", interpolate)
    parser.add_argument("run", type=str, help=RUN_HELP)
    parser.add_argument("a", type=str, help=HELP)
    parser.add_argument("b", type=str, help="the same")
    parser.add_argument("--num", type=Annotated[int, Range(at_least=2)], default=7, help="sequences, with both ends")
    paths, decoders, inferred = Literal["linear", "spherical"], Literal["greedy", "sample"], Literal["mean", "draw"]
    parser.add_argument("--path", type=paths, default=WAYS["path"], help="of the latents")
    parser.add_argument("--decode", type=decoders, default=WAYS["decode"], help="greedy: the likeliest x_t")
    parser.add_argument("--infer", type=inferred, default=WAYS["infer"], help="latents of A and B by the posterior")
    checkpoint_option(parser)
    drawn_options(parser)
    common_options(parser, seed="seed of all that is drawn")
    options = parser.parse_args(list(argv))
    check_common(options)
    return options


def between(trained: Trained, examples: Sequence[Example], options: Namespace) -> Interpolation:
    """The sequences between two, as the options want them."""
    from ..tasks.interpolate import interpolate as interpolate_examples

    description = trained.description
    return interpolate_examples(
        trained.model,
        *examples,
        num=options.num,
        path=options.path,
        decode=options.decode,
        infer=options.infer,
        steps=description.format.steps_between(examples, description),
        seed=options.seed,
    )
