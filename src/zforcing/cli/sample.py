"""`zforcing sample` and `zforcing continue`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from torch import Tensor

from ..data.starts import random_first_observations
from ..errors import UserError
from ..files.json_text import json_text
from ..models import SequenceModel
from ..observations import DataDescription, Drawn, Written, collate
from ..runtime.device import pick_device
from ..runtime.threads import threads_asked_for
from ..settings import Count, Range
from ..tasks.sample import pick_starts, tempered_note
from ..training.runs.trained import Trained
from .completions import completions
from .options import (
    RUN_HELP,
    check_common,
    checkpoint_option,
    command_parser,
    common_options,
    past_options,
    tempering_options,
)
from .out import check_drawn, drawn_options, file_name, stem_of, write_drawn
from .parser import Parser
from .sources import HELP, beginnings_of, in_turn, inputs_after, read_inputs, read_sequences

MOST_STEPS = 100_000_000
Steps = Annotated[int, Range(at_least=1, at_most=MOST_STEPS)]


def sample(argv: Sequence[str]) -> int:
    """Draw sequences from a trained model: zforcing sample RUN [--num 64] [--steps N]."""
    from ..tasks.sample import sample as draw

    parser = command_parser("sample", sample)
    parser.add_argument("run", type=str, help=RUN_HELP)
    generating_options(parser, num=64, num_help="how many sequences", steps="as long as what was trained on by default")
    inputs_help = f"of a model that reads known inputs: sequences whose inputs the samples are given in turn; {HELP}"
    parser.add_argument("--inputs", type=str | None, default=None, help=inputs_help)
    common_options(parser, seed="seed of all that is drawn")
    options = parser.parse_args(list(argv))
    check_common(options)
    trained = Trained.load(options.run, which=options.checkpoint, device=pick_device(options.device))
    run, description = trained.folder, trained.description
    check_drawn(options, description)
    driving = read_inputs(options.inputs, trained)
    default = description.format.default_steps(description) if driving is None else min(map(len, driving))
    steps = asked_steps(options, description, default=default)
    inputs = None if driving is None else in_turn(driving, options.num, steps=steps).to(trained.device)
    start = first_observations(trained, options.num, seed=options.seed)
    with threads_asked_for(options.threads):
        drawn = draw(
            trained.model,
            options.num,
            steps=steps,
            seed=options.seed,
            start=start,
            inputs=inputs,
            temperature=options.temperature,
            top_p=options.top_p,
        )
    made, stem = Drawn.of(drawn.x, drawn.latents, start=start), stem_of(options, "sample", *tempered_parts(options))
    written = write_drawn(made, description, options, folder=run / "samples", stem=stem)
    values = {"run": str(run), "num": options.num, "steps": steps, "seed": options.seed} | tempered_values(options)
    report(written, values, as_json=options.json)
    return 0


def first_observations(trained: Trained, num: int, *, seed: int) -> Tensor | None:
    """x_0 of so many samples, where the model conditions on it: the model's own, or, of a run that has none, the
    validation split's. Says so on stderr.
    """
    if not trained.description.spec.conditions_on_first:
        return None
    if trained.model.starts is not None:
        count = len(trained.model.starts)
        print(f"x_1 is that of one of {count} training sequences: the model conditions on it", file=sys.stderr)
        return pick_starts(trained.model, num, seed=seed)
    try:
        valid = trained.data.load("valid", trained.description)
    except UserError as error:
        raise UserError(
            f"the model in {trained.folder} conditions on the first observation and is of a version that kept none "
            f"with it, and its data can't be read ({error}): sample where the data is, or use `zforcing continue`"
        ) from None
    print("x_1 is taken from the validation split: the model conditions on it", file=sys.stderr)
    return random_first_observations(valid, trained.description, num, seed=seed).to(trained.device)


def continue_(argv: Sequence[str]) -> int:
    """Go on from the beginning of a sequence: zforcing continue RUN PREFIX [--num 4] [--steps N]."""
    from ..tasks.continuation import continue_from

    parser = command_parser("continue", continue_)
    parser.add_argument("run", type=str, help=RUN_HELP)
    parser.add_argument("prefix", type=str, help=f"what to go on from: {HELP}")
    default = "one second of audio, what is missing of an image, as long as what was trained on by default"
    generating_options(parser, num=4, num_help="continuations of each sequence", steps=default)
    parser.add_argument(
        "--given", type=float | None, default=None, help="steps of the prefix that are kept, or a share below 1; all"
    )
    past_options(parser)
    common_options(parser, seed="seed of all that is drawn")
    options = parser.parse_args(list(argv))
    check_common(options)
    trained = Trained.load(options.run, which=options.checkpoint, device=pick_device(options.device))
    description = trained.description
    check_drawn(options, description)
    whole = read_sequences(options.prefix, trained)
    if not isinstance(trained.model, SequenceModel):
        return write_continued(trained, completions(trained, whole, options), options, {})
    examples = beginnings_of(whole, options.given, first=description.spec.unscored_steps)
    following = inputs_after(whole, examples) if description.spec.inputs else None
    default_steps = description.format.steps_after(examples, description)
    if following is not None:
        default_steps = min(default_steps, *map(len, following))
    steps = asked_steps(options, description, default=default_steps)
    prefix = collate(examples, description.spec).to(trained.device)
    inputs = None if following is None else in_turn(following, len(examples), steps=steps).to(trained.device)
    with threads_asked_for(options.threads):
        drawn = continue_from(
            trained.model,
            prefix,
            steps=steps,
            num_samples=options.num,
            seed=options.seed,
            inputs=inputs,
            past=options.past,
            particles=options.particles,
            temperature=options.temperature,
            top_p=options.top_p,
        )
    made = Drawn.of(drawn.x, drawn.latents, before=examples * options.num, sources=whole)
    values: dict[str, Any] = {"steps": steps, "past": options.past}
    unknown = description.format.unknown_in(examples)
    if unknown is not None:
        values["unknown"] = unknown
    return write_continued(trained, made, options, values)


def write_continued(trained: Trained, made: Drawn, options: Namespace, more: dict[str, Any]) -> int:
    """Write continuations, and say what they are; `more` is said too."""
    run, num = trained.folder, options.num
    suffix = [*([] if options.given is None else [f"given{options.given:g}"]), *tempered_parts(options)]
    stem = stem_of(options, "continue", file_name(options.prefix), *suffix)
    kind = trained.description.format.continuing(options.prefix)
    described = replace(trained.description, format=kind)
    written = write_drawn(made, described, options, folder=run / "samples", stem=stem)
    assert made.before is not None, "continuations have beginnings"
    lengths = [len(example.x) for example in made.before[: len(made.before) // num]]
    values = {"run": str(run), "prefix": options.prefix, "prefix_steps": lengths, "num": num, "seed": options.seed}
    report(written, values | more | tempered_values(options), as_json=options.json)
    return 0


def tempered_parts(options: Namespace) -> list[str]:
    """Of a file's name: what was drawn by another temperature or top_p."""
    parts = {"temperature": options.temperature, "top-p": options.top_p}
    return [f"{name}{value:g}" for name, value in parts.items() if value != 1]


def tempered_values(options: Namespace) -> dict[str, Any]:
    """What is said of them; nothing of draws from the model."""
    note = tempered_note(temperature=options.temperature, top_p=options.top_p)
    if not note:
        return {}
    return {"temperature": options.temperature, "top_p": options.top_p, "note": note}


def generating_options(parser: Parser, *, num: int, num_help: str, steps: str) -> None:
    """How many and how long, from which checkpoint, to where."""
    parser.add_argument("--num", "--num-samples", type=Count, default=num, help=num_help)
    parser.add_argument("--steps", type=Steps | None, default=None, help=f"time steps drawn; {steps}")
    parser.add_argument("--seconds", type=float | None, default=None, help="audio: the same in seconds")
    tempering_options(parser)
    checkpoint_option(parser)
    drawn_options(parser)


def asked_steps(options: Namespace, description: DataDescription, *, default: int) -> int:
    """--steps, or --seconds in whole frames, or the default."""
    if options.seconds is None:
        steps: int = default if options.steps is None else options.steps
        return steps
    if options.steps is not None:
        raise UserError("--steps and --seconds say the same: leave one out")
    frames = description.format.steps_in(options.seconds, description)
    if not 0 < frames <= MOST_STEPS:
        raise UserError(f"--seconds is {options.seconds}; it must be positive, and reasonable")
    return max(1, int(frames + 0.5))


def report(written: Written, values: dict[str, Any], *, as_json: bool) -> None:
    """Text and the files on stdout; clipped samples, and what couldn't be written, on stderr or in the JSON."""
    if as_json:
        files = {"files": written.files, "clipped_samples": written.clipped, "lacking": written.lacking}
        print(json_text(values | files | ({"text": written.text} if written.text else {})))
        return
    print("\n".join(written.text + written.files))
    if "note" in values:
        print(values["note"], file=sys.stderr)
    if written.clipped:
        print(f"{written.clipped} samples were clipped to 16 bits", file=sys.stderr)
    if written.lacking is not None:
        print(written.lacking, file=sys.stderr)
