"""`zforcing stream`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files.json_text import json_text
from ..files.reading import Array
from ..files.writing import file_to_write
from ..models import of_sequences
from ..runtime.device import pick_device
from ..runtime.threads import threads_asked_for
from ..settings import Count
from ..tasks.next_step import NextStep
from ..tasks.scores import names_of
from ..tasks.stream import Stream
from ..tasks.stream import stream as new_stream
from ..training.runs.trained import Trained
from .options import RUN_HELP, check_common, checkpoint_option, command_parser, computing_options, proposal_option
from .rows import Columns, Row, lines_of, read_rows

QUANTILES = (0.05, 0.5, 0.95)


def stream(argv: Sequence[str]) -> int:
    """Score rows as they come, a JSON line for each: tail -f data.csv | zforcing stream RUN.

    Rows are lines of CSV (a header names the columns; without one they stand in the model's order, inputs last) or of
    JSON ({"column": number, ...} or [number, ...]); an empty cell or null is missing. Where a column names the sequence
    of each row, as in the training data, each sequence is a stream of its own. Categories are their words or
    numbers. Nats are null where nothing was observed, and "-inf" where the model gave what came no probability at all.
    """
    options = stream_options(argv)
    trained = Trained.load(options.run, which=options.checkpoint, device=pick_device(options.device))
    of_sequences(trained.model, needed_by="a stream")  # before a row is waited for
    with threads_asked_for(options.threads):
        streams = Streams(trained, options)
        try:
            for number, row in enumerate(read_rows(lines_of(sys.stdin), trained.description), start=1):
                print(json_text(answer(streams, row, number)), flush=True)
        except UnicodeDecodeError:
            raise UserError("what comes in is not UTF-8") from None
        finally:
            streams.save()
    return 0


def answer(streams: Streams, row: Row, number: int) -> dict[str, Any]:
    """What is said of a row. Raises UserError that names it."""
    try:
        return streams.push(row)
    except UserError as error:
        raise UserError(f"row {number}: {error}") from None


def stream_options(argv: Sequence[str]) -> Namespace:
    """The command's options; what is imported is there."""
    parser = command_parser("stream", stream)
    parser.add_argument("run", type=str, help=RUN_HELP)
    parser.add_argument("--particles", type=Count | None, default=None, help="K; 64 by default, 1 without latents")
    proposal_option(parser, default=None)
    threshold = "nats, as `zforcing score --threshold-from` gives them; a step below is an alarm"
    parser.add_argument("--threshold", type=float | None, default=None, help=threshold)
    parser.add_argument("--quantiles", action="store_true", help="also the forecast's 5, 50 and 95 percent quantiles")
    state = "go on from this file if it is there, and write it at the end; of one sequence"
    parser.add_argument("--state", type=str | None, default=None, help=state)
    checkpoint_option(parser)
    computing_options(parser, seed="seed of the particles; 0 by default", default_seed=None)
    options = parser.parse_args(list(argv))
    check_common(options)
    return options


class Streams:
    """The streams of a model's sequences, by their names.

    Args:
        trained: The model.
        options: Those of the command.
    """

    def __init__(self, trained: Trained, options: Namespace):
        self.trained, self.options = trained, options
        columns = Columns.of(trained.description)
        names = None if columns.names is None else columns.names[: columns.features]
        self.names = names_of(names, columns.features)
        self.streams: dict[str | None, Stream] = {}
        if options.state is not None and columns.sequence is not None:
            raise UserError(
                f"--state is of one sequence, and column {columns.sequence!r} names that of each row: leave it out"
            )
        if options.state is not None:
            self._begin_with(file_to_write(options.state))

    def push(self, row: Row) -> dict[str, Any]:
        """What is said of a row."""
        if row.sequence not in self.streams:
            self.streams[row.sequence] = new_stream(
                self.trained.model,
                particles=self.options.particles or 64,
                seed=self.options.seed or 0,
                proposal=self.options.proposal or "prior",
            )
        step = self.streams[row.sequence].push(row.x, row.inputs)
        named = {} if row.sequence is None else {"sequence": row.sequence}
        values = named | {"step": step.step, "nats": step.nats, "features": self._by_name(step.features)}
        if self.options.threshold is not None:
            values["alarm"] = step.nats < self.options.threshold
        return values | {"forecast": None if step.forecast is None else self._forecast(step.forecast)}

    def save(self) -> None:
        """Write --state."""
        if self.options.state is not None and None in self.streams:
            self.streams[None].save(self.options.state)

    def _begin_with(self, state: Path) -> None:
        """Go on from --state, if it is there. Raises UserError where it was begun with other options."""
        if not state.exists():
            return
        begun = self.streams[None] = Stream.load(state, self.trained.model)
        given = self.options.particles
        if given is not None and begun.model.latent_size and given != begun.particles:
            raise UserError(f"--particles is {given}, but {state} was begun with {begun.particles}: leave it out")
        if self.options.proposal not in (None, begun.proposal):
            was = f"but {state} was begun with {begun.proposal}"
            raise UserError(f"--proposal is {self.options.proposal}, {was}: leave it out")
        if self.options.seed not in (None, begun.seed):
            raise UserError(f"--seed is {self.options.seed}, but {state} was begun with {begun.seed}: leave it out")

    def _forecast(self, forecast: NextStep) -> dict[str, Any]:
        if forecast.probabilities is not None:
            return {"probabilities": forecast.probabilities.tolist()}
        values: dict[str, Any] = {"mean": self._by_name(forecast.mean), "std": self._by_name(forecast.std)}
        if self.options.quantiles:
            each = forecast.quantile(QUANTILES)
            values["quantiles"] = {f"{q:g}": self._by_name(row) for q, row in zip(QUANTILES, each, strict=True)}
        return values

    def _by_name(self, numbers: Array | None) -> dict[str, float] | None:
        """Numbers [D] by the features' names."""
        return None if numbers is None else dict(zip(self.names, numbers.tolist(), strict=True))
