"""`zforcing forecast`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data import SequenceDataset
from ..errors import UserError
from ..files.reading import Array
from ..observations import contents_of
from ..runtime.device import pick_device
from ..runtime.threads import threads_asked_for
from ..settings import Count
from ..tasks.forecasts import Forecast
from ..training.runs.trained import Trained
from .options import (
    check_common,
    checkpoint_option,
    command_parser,
    common_options,
    counting,
    past_options,
    print_values,
    say,
    sequences_options,
    tempering_options,
)
from .out import check_out, out_option
from .sample import Steps, tempered_parts
from .sequences import out_file, sequences_of, source_of
from .sources import OWN


def forecast(argv: Sequence[str]) -> int:
    """Draw what comes after the end of each sequence: zforcing forecast RUN [FILE_OR_FOLDER] [--steps 24]."""
    options = forecast_options(argv)
    trained = Trained.load(options.run, which=options.checkpoint, device=pick_device(options.device))
    if trained.description.format.is_text:
        raise UserError("a sequence of text ends with its end symbol: use zforcing continue RUN and a beginning")
    data = sequences_of(source_of(options), trained)
    inputs = inputs_to_come(options, trained, sequences=len(data))
    ahead = forecasts(trained, data, options, inputs=inputs)
    values = summary(ahead) | {"run": str(trained.folder), "checkpoint": options.checkpoint}
    parts = [f"steps{options.steps}", *tempered_parts(options)]
    values["file"] = str(ahead.save(out_file(options, trained, "forecasts", *parts)))
    print_values(values, as_json=options.json)
    return 0


def forecast_options(argv: Sequence[str]) -> Namespace:
    """The command's options; what is imported is there."""
    parser = command_parser("forecast", forecast)
    sequences_options(parser)
    parser.add_argument("--steps", type=Steps, default=24, help="time steps drawn after the end of each sequence")
    parser.add_argument("--num-samples", "--num", type=Count, default=100, help="S, futures of each sequence")
    known = "of a model that reads known inputs: a file of those of the steps to come, for each sequence or for all"
    parser.add_argument("--inputs", type=str | None, default=None, help=known)
    rows = "a row for each step and column (of an .npz the futures themselves)"
    out_option(parser, writes=rows, suffixes=".csv or .npz", folder="forecasts")
    past_options(parser)
    tempering_options(parser)
    checkpoint_option(parser)
    rows = "sequences times the larger of samples and particles at a time; 2048 by default"
    parser.add_argument("--batch-size", type=Count | None, default=None, help=rows)
    common_options(parser, seed="seed of all that is drawn")
    options = parser.parse_args(list(argv))
    check_common(options)
    check_out(options, "forecasts")
    return options


def forecasts(trained: Trained, data: SequenceDataset, options: Namespace, *, inputs: Array | None = None) -> Forecast:
    """The forecasts that the options want."""
    from ..tasks.forecast import forecast as forecast_all

    with threads_asked_for(options.threads), counting(f"forecasts of {options.run}", len(data)) as advance:
        return forecast_all(
            trained.model,
            data,
            steps=options.steps,
            num_samples=options.num_samples,
            particles=options.particles,
            seed=options.seed,
            inputs=inputs,
            temperature=options.temperature,
            top_p=options.top_p,
            past=options.past,
            max_rows=options.batch_size,
            progress=advance,
        )


def inputs_to_come(options: Namespace, trained: Trained, *, sequences: int) -> Array | None:
    """The first inputs of --inputs for each sequence, [N, steps, U]. Raises UserError where they don't fit."""
    source, steps, description = options.inputs, options.steps, trained.description
    size = description.spec.inputs
    if not size:
        if source is not None:
            raise UserError(f"--inputs is {source}, but the model reads no known inputs; leave it out")
        return None
    if source is None:
        raise UserError(
            f"the model reads {size} known inputs at each step: name a file with those of the steps to come in --inputs"
        )
    each, called = description.format.read_inputs(source, description)
    names = None
    if options.file is not None and not OWN.fullmatch(options.file) and not Path(options.file).is_dir():
        names = contents_of(description.format, options.file, description).names
    if names is not None and called is not None:
        chosen = by_name(each, called, names, source)
    else:
        chosen = in_order(each, sequences, source)
    shortest = min(map(len, chosen))
    if shortest < steps:
        raise UserError(f"--inputs {source}: has {shortest} steps to come, and --steps is {steps}: lower it")
    longest = max(map(len, chosen))
    if longest > steps:
        say(f"--inputs {source}: has {longest} steps; the first {steps} are taken for those to come")
    return np.stack([inputs[:steps] for inputs in chosen])


def by_name(inputs: Sequence[Array], called: Sequence[Any], names: Sequence[Any], source: str) -> list[Array]:
    """Those of each sequence by its name, wherever they stand."""
    known = {str(name): values for name, values in zip(called, inputs, strict=True)}
    lacking = [name for name in names if str(name) not in known]
    if lacking:
        raise UserError(f"--inputs {source}: has no sequence {lacking[0]!r}, which is to be forecast")
    return [known[str(name)] for name in names]


def in_order(inputs: Sequence[Array], sequences: int, source: str) -> list[Array]:
    """Those of each sequence where they have no names: the first ones of the first, or the only ones for all."""
    if len(inputs) not in (1, sequences):
        raise UserError(
            f"--inputs {source}: has {len(inputs)} sequences for {sequences}; give one for each, or for all"
        )
    return list(inputs) * (sequences if len(inputs) == 1 else 1)


def summary(ahead: Forecast) -> dict[str, Any]:
    """What is said of the forecasts."""
    return {
        "model": ahead.model,
        "kind": ahead.kind,
        "num_sequences": len(ahead),
        "steps": ahead.steps,
        "num_samples": ahead.num_samples,
        "particles": ahead.particles,
        "past": ahead.past,
        "temperature": ahead.temperature,
        "top_p": ahead.top_p,
        "seed": ahead.seed,
    }
