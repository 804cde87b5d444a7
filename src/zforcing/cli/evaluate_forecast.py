"""`zforcing evaluate --forecast`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from ..errors import UserError
from ..files.json_text import json_text
from ..runtime.device import pick_device
from ..runtime.threads import threads_asked_for
from ..text_table import Table
from ..training.runs.trained import Trained
from .options import counting, print_values, say
from .out import stem_of
from .sequences import name_of, sequences_of, source_of

if TYPE_CHECKING:
    from ..evaluation.forecasts import ForecastRow, ForecastTable

OF_BOUNDS = {  # options that say how a bound is taken, and what they are where nobody gives them
    "bound": None,
    "chains": None,
    "temperatures": None,
    "repeats": 1,
    "chunk_steps": None,
    "look_ahead": "all",
    "backend": "fast",
    "skip_unreadable": False,
    "latents": False,
}
MOST_FEATURES = 12  # that have rows of their own without --all


def evaluate_forecasts(options: Namespace) -> int:
    """Hold out the last steps of each sequence, and measure forecasts of them."""
    from ..evaluation.forecasts import evaluate_forecast
    from ..evaluation.runs import training_split
    from ..evaluation.saved import write_shown

    given = [name for name, usual in OF_BOUNDS.items() if getattr(options, name) != usual]
    if given:
        raise UserError(f"--{given[0].replace('_', '-')} is for bounds, and --forecast measures none: leave it out")
    trained = Trained.load(options.run, which=options.checkpoint, device=pick_device(options.device))
    data = sequences_of(source_of(options), trained)
    with threads_asked_for(options.threads), counting(f"forecasts of {options.run}", len(data)) as advance:
        table = evaluate_forecast(
            trained.model,
            data,
            steps=options.forecast,
            train=training_split(trained, say=say) if options.baselines else None,
            num_samples=options.num_samples or 100,
            particles=options.particles or 64,
            seed=options.seed,
            max_rows=options.batch_size,
            progress=advance,
        )
    of = name_of(options)
    path = trained.folder / f"{stem_of(options, 'forecast', of, f'steps{options.forecast}')}.json"
    values = {"split": of, "seed": options.seed, "checkpoint": options.checkpoint}
    try:
        if options.json:
            print(json_text(table.to_json() | values | {"file": str(path)}))
        else:
            show(table, path, every_feature=options.all)
    finally:  # also where nobody reads on
        write_shown(path, json_text(table.to_json() | values, indent=1))
    return 0


def show(table: ForecastTable, path: Path, *, every_feature: bool) -> None:
    """What was measured, by steps ahead and by features, if they are few."""
    said = {name: getattr(table, name) for name in ("kind", "steps", "sequences", "too_short", "numbers")}
    print_values(said | {"file": str(path)})
    Console().print(by_steps(table).to_terminal(), crop=False)
    if len(table.names) > 1 and (every_feature or len(table.names) <= MOST_FEATURES):
        Console().print(by_features(table).to_terminal(), crop=False)


def by_steps(table: ForecastTable) -> Table:
    """A row for each way to forecast and each span of steps ahead."""
    several = len(table.names) > 1
    mean = f"means over {len(table.names)} features, each in its own unit" if several else "in the data's unit"
    covered = [] if table.rows[0].coverage is None else [f"{level:.0%}" for level in table.levels]
    rows = [
        [
            row.name,
            steps_of(row),
            *(f"{share:.1%}" for share in row.coverage or ()),
            *numbers(row.crps, row.median_error),
        ]
        for row in table.rows
    ]
    title = f"Coverage of intervals, CRPS and error of the median: {mean}"
    return Table(title, ["forecast", "steps ahead", *covered, "CRPS", "median's error"], rows, text_columns=2)


def by_features(table: ForecastTable) -> Table:
    """A row for each way to forecast and each feature, over all steps."""
    rows = [
        [name, row.name, *numbers([row.crps[d]], [row.median_error[d]])]
        for d, name in enumerate(table.names)
        for row in table.overall
    ]
    return Table(f"All {table.steps} steps", ["feature", "forecast", "CRPS", "median's error"], rows, text_columns=2)


def steps_of(row: ForecastRow) -> str:
    """7, or 1-24."""
    return f"{row.first}" if row.first == row.last else f"{row.first}-{row.last}"


def numbers(*of_features: Sequence[float]) -> list[str]:
    """The mean of each over the features of which something came; - where nothing did."""
    there = [[value for value in values if value == value] for values in of_features]
    return [f"{np.mean(values):.4g}" if values else "-" for values in there]
