"""`zforcing encode`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from ..runtime.device import pick_device
from ..runtime.threads import threads_asked_for
from ..settings import Count, Range
from ..training.runs.trained import Trained
from .options import (
    check_common,
    checkpoint_option,
    command_parser,
    common_options,
    counting,
    print_values,
    sequences_options,
)
from .out import check_out, out_option
from .sequences import out_file, sequences_of, source_of
from .sources import HELP

if TYPE_CHECKING:
    from ..tasks.encoded import Encoded


def encode(argv: Sequence[str]) -> int:
    """Infer the latents of a file or of a split: zforcing encode RUN [FILE] [--num 0] [--out z.npz].

    A .csv has a row for each step, with the posterior's mean and standard deviation of each latent; an .npz the same as
    arrays.
    """
    options = encode_options(argv)
    trained = Trained.load(options.run, which=options.checkpoint, device=pick_device(options.device))
    encoded = encoded_of(trained, source_of(options), options)
    file = encoded.save(out_file(options, trained, "latents", ending="npz"))
    values = summary(encoded) | {"run": str(trained.folder), "checkpoint": options.checkpoint, "file": str(file)}
    print_values(values, as_json=options.json)
    if encoded.collapsed:
        print("warning: the latents carry nothing (posterior collapse): see evaluate --latents", file=sys.stderr)
    return 0


def encode_options(argv: Sequence[str]) -> Namespace:
    """The command's options; what is imported is there."""
    parser = command_parser("encode", encode)
    sequences_options(parser, HELP)
    num = "paths of latents that are drawn of each sequence, besides the means"
    parser.add_argument("--num", "--num-samples", type=Annotated[int, Range(at_least=0)], default=0, help=num)
    out_option(parser, writes="the latents", suffixes=".csv or .npz", folder="latents")
    checkpoint_option(parser)
    parser.add_argument("--batch-size", type=Count, default=256, help="sequences times paths at a time")
    common_options(parser, seed="seed of what is drawn")
    options = parser.parse_args(list(argv))
    check_common(options)
    check_out(options, "latents")
    return options


def encoded_of(trained: Trained, source: str, options: Namespace) -> Encoded:
    """The latents that the options want."""
    from ..tasks.encode import encode as encode_all

    data = sequences_of(source, trained)
    with threads_asked_for(options.threads), counting(f"latents of {options.run}", len(data)) as advance:
        return encode_all(
            trained.model,
            data,
            num_samples=options.num,
            seed=options.seed,
            max_rows=options.batch_size,
            progress=advance,
        )


def summary(encoded: Encoded) -> dict[str, Any]:
    """What is said of the latents."""
    return {
        "model": encoded.model,
        "kind": encoded.kind,
        "num_sequences": len(encoded),
        "num_steps": sum(map(len, encoded.means)),
        "latent_size": encoded.latent_size,
        "num_samples": encoded.num_samples,
        "seed": encoded.seed,
        "kl_per_step": encoded.nats_per_step,
        "collapsed": encoded.collapsed,
    }
