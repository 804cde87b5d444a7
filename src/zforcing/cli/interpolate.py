"""`zforcing interpolate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..distributions import most_likely
from ..observations import Drawn, collate
from ..runtime.device import pick_device
from ..runtime.threads import threads_asked_for
from ..training.runs.trained import Trained
from .options import at_least, check_common, command_parser, common_options, one_of
from .sample import checkpoint_and_folder, file_name, report, stem_of
from .sources import HELP, read_sequence


def interpolate(argv: Sequence[str]) -> int:
    """From one sequence to another, through their latents: zforcing interpolate RUN A B [--num 7].

    The latents of both are inferred, mixed step by step and decoded. The first and the last are reconstructions of A
    and B; the shorter one goes on by the prior. Of text the sentences are printed, "..." behind one without an end.
    """
    from ..tasks.interpolate import PATHS, first_observations
    from ..tasks.interpolate import interpolate as between
    from ..tasks.sample import draw

    parser = command_parser("interpolate", interpolate)
    parser.add_argument("run", type=str, help="a run folder, or one that zforcing.save wrote")
    parser.add_argument("a", type=str, help=HELP)
    parser.add_argument("b", type=str, help="the same")
    parser.add_argument("--num", type=int, default=7, help="sequences, both ends included")
    parser.add_argument("--path", type=str, default="linear", help=f"of the latents: {' or '.join(PATHS)}")
    parser.add_argument("--decode", type=str, default="greedy", help="greedy (the likeliest x_t) or sample")
    parser.add_argument("--infer", type=str, default="mean", help="latents of A and B: the posterior's mean, or draw")
    checkpoint_and_folder(parser)
    common_options(parser, seed="seed of all that is drawn")
    options = parser.parse_args(list(argv))
    at_least(2, "num", options.num)
    for name, allowed in (
        ("path", tuple(PATHS)),
        ("decode", ("greedy", "sample")),
        ("infer", ("mean", "draw")),
        ("checkpoint", ("best", "last")),
    ):
        one_of(name, vars(options)[name], allowed)
    check_common(options)
    found = Trained.load(options.run, which=options.checkpoint, device=pick_device(options.device))
    run, description, device = found.folder, found.description, found.device
    examples = [read_sequence(source, found) for source in (options.a, options.b)]
    ends = [collate([example], description.spec).to(device) for example in examples]
    with threads_asked_for(options.threads):
        drawn = between(
            found.model,
            *ends,
            num_samples=options.num,
            path=options.path,
            choose=most_likely if options.decode == "greedy" else draw,
            infer=options.infer,
            steps=description.format.steps_between(examples, description),
            seed=options.seed,
        )
    start = (
        first_observations(found.model, *ends, num_samples=options.num)
        if description.spec.conditions_on_first
        else None
    )
    given = vars(options)
    chosen = [given[name] for name in ("path", "decode", "infer") if given[name] != parser.get_default(name)]
    stem = stem_of(options, "interpolate", file_name(options.a), file_name(options.b), *chosen)
    made, folder = Drawn.of(drawn.x, drawn.latents, start=start), Path(options.out or run / "samples")
    written = description.format.write(folder, stem, made, description)
    values = {name: given[name] for name in ("a", "b", "num", "path", "decode", "infer", "seed")}
    unknown = description.format.unknown_in(examples)
    if unknown is not None:
        values["unknown"] = unknown
    report(written, {"run": str(run)} | values, json_wanted=options.json)
    return 0
