"""`zforcing interpolate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data import collate
from ..distributions import most_likely
from ..samples import write_samples
from ..threads import threads_asked_for
from ..training.checkpoint import load_checkpoint
from .generating import report
from .options import (
    at_least,
    check_common,
    command_parser,
    common_options,
    one_of,
    pick_device,
    read_run_config,
    run_folder,
)
from .sources import HELP, read_sequence


def interpolate(argv: Sequence[str]) -> int:
    """From one sequence to another, through their latents: zforcing interpolate RUN A B [--num 7].

    The latents of both are inferred, mixed step by step and decoded. The first and the last are reconstructions of A
    and B. Of text the sentences are printed.
    """
    from ..generation import draw
    from ..interpolation import PATHS
    from ..interpolation import interpolate as between

    parser = command_parser("interpolate", interpolate)
    parser.add_argument("run", type=str, help="a run folder")
    parser.add_argument("a", type=str, help=HELP)
    parser.add_argument("b", type=str, help="the same")
    parser.add_argument("--num", type=int, default=7, help="sequences, both ends included")
    parser.add_argument("--path", type=str, default="linear", help=f"of the latents: {' or '.join(PATHS)}")
    parser.add_argument("--decode", type=str, default="greedy", help="greedy (the likeliest x_t) or sample")
    parser.add_argument("--infer", type=str, default="mean", help="latents of A and B: the posterior's mean, or draw")
    parser.add_argument("--checkpoint", type=str, default="best", help="best (on the validation split) or last")
    parser.add_argument("--out", type=str | None, default=None, help="folder to write to; RUN/samples by default")
    common_options(parser, seed="seed of all that is drawn")
    options = parser.parse_args(list(argv))
    at_least(2, "num", options.num)
    for name, allowed in (
        ("path", tuple(PATHS)),
        ("decode", ("greedy", "sample")),
        ("infer", ("mean", "draw")),
        ("checkpoint", ("best", "last")),
    ):
        one_of(name, options[name], allowed)
    check_common(options)
    run, device = run_folder(options.run), pick_device(options.device)
    found = load_checkpoint(run, which=options.checkpoint, device=device)
    data, description = read_run_config(run).data, found.description
    ends = [
        collate([read_sequence(source, data, description)], description.spec).to(device)
        for source in (options.a, options.b)
    ]
    with threads_asked_for(options.threads):
        drawn = between(
            found.model,
            *ends,
            num=options.num,
            path=options.path,
            choose=most_likely if options.decode == "greedy" else draw,
            infer=options.infer,
            seed=options.seed,
        )
    written = write_samples(Path(options.out or run / "samples"), f"interpolate-seed{options.seed}", drawn, description)
    values = {name: options[name] for name in ("a", "b", "num", "path", "decode", "infer", "seed")}
    if description.vocabulary is not None:
        values["text"] = [description.vocabulary.decode(row) for row in drawn.x.tolist()]
    if description.vocabulary is not None and not options.json:
        print("\n".join(values["text"]))
    report(written, {"run": str(run)} | values, json_wanted=options.json)
    return 0
