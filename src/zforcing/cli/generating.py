"""`zforcing sample`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ..threads import threads_asked_for
from ..training.checkpoint import load_checkpoint
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


def sample(argv: Sequence[str]) -> int:
    """Draw sequences from a trained model: zforcing sample RUN [--num 64] [--steps N]."""
    from ..generation import sample as draw
    from ..samples import random_first_observations, write_samples

    parser = command_parser("sample", sample)
    parser.add_argument("run", type=str, help="a run folder")
    parser.add_argument("--num", type=int, default=64, help="how many sequences")
    parser.add_argument(
        "--steps", type=int | None, default=None, help="their length; the longest trained on by default"
    )
    parser.add_argument("--checkpoint", type=str, default="best", help="best (on the validation split) or last")
    parser.add_argument("--out", type=str | None, default=None, help="folder to write to; RUN/samples by default")
    common_options(parser, seed="seed of all that is drawn")
    options = parser.parse_args(list(argv))
    one_of("checkpoint", options.checkpoint, ("best", "last"))
    at_least(1, "num", options.num)
    check_common(options)
    run = run_folder(options.run)
    found = load_checkpoint(run, which=options.checkpoint, device=pick_device(options.device))
    steps = found.description.longest if options.steps is None else options.steps
    at_least(1, "steps", steps)
    start = None
    if found.description.spec.conditions_on_first:
        print("x_1 is taken from the validation split: the model conditions on it", file=sys.stderr)
        valid = read_run_config(run).data.load("valid", found.description)
        start = random_first_observations(valid, found.description, options.num, seed=options.seed)
        start = start.to(pick_device(options.device))
    with threads_asked_for(options.threads):
        drawn = draw(found.model, options.num, steps=steps, seed=options.seed, start=start)
    folder, stem = Path(options.out or run / "samples"), f"sample-seed{options.seed}"
    files = write_samples(folder, stem, drawn, found.description, start=start)
    if options.json:
        print(json.dumps({"run": str(run), "num": options.num, "steps": steps, "seed": options.seed, "files": files}))
    else:
        print("\n".join(files))
    return 0
