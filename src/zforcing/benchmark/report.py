"""Measurements as text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group
from rich.text import Text

from ..runtime.threads import RecurrentNetwork
from ..text_table import Table
from .measure import REFERENCE_EVERY, SAMPLES, Protocol, Result
from .timing import Ratio, Timing

MEGABYTE = 1e6
UNITS = {"s": 1, "ms": 1e3, "µs": 1e6}
SPREAD = "Times are medians (min-max of the repeats)."
MEMORY = (
    "Peak memory is that of tensors: weights, gradients, optimizer, batch and all that is kept for the backward pass."
)


def to_json(results: Sequence[Result], protocol: Protocol, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Format measurements as a JSON object, in seconds and bytes; a time step is one step of one sequence."""
    about = asdict(protocol) | {"reference_every": REFERENCE_EVERY}
    return {"machine": dict(machine), "protocol": about, "sizes": [_to_json(result) for result in results]}


def to_terminal(results: Sequence[Result], protocol: Protocol, machine: Mapping[str, Any]) -> Group:
    """The header, the tables and what their numbers are."""
    shown = [table.to_terminal() for table in tables(results)]
    for table in shown:  # flush with the lines around them, within 100 columns; cells fold where there are fewer
        table.title_justify, table.pad_edge = "left", False
        for column in table.columns:
            column.min_width = None
    before = [*header(protocol, machine), *map(_about, results), *_walking(results), ""]
    return Group(*map(Text, before), *shown, Text(SPREAD), Text(MEMORY))  # a plain string would be read as markup


def to_markdown(results: Sequence[Result], protocol: Protocol, machine: Mapping[str, Any], *, command: str) -> str:
    """Format measurements as a part of a Markdown page, with the command that made it."""
    about = [f"- {line}" for line in (*map(_about, results), *_walking(results))]
    lines = [f"Made by `{command}`.", *header(protocol, machine), "", *about]
    titled = [f"\n{table.title}:\n\n{table.to_markdown()}" for table in tables(results)]
    return "\n".join([*lines, *titled, "", SPREAD, MEMORY])


def header(protocol: Protocol, machine: Mapping[str, Any]) -> list[str]:
    """Describe in two lines where and how it was measured."""
    where = [machine["processor"], machine["device"], f"torch {machine['versions']['torch']}", protocol.precision]
    threads = "threads by size" if protocol.threads is None else f"threads {protocol.threads}"
    how = f"{protocol.repeats} repeats in turn after a warm-up, the reference in one of {REFERENCE_EVERY}"
    return [
        ", ".join([*where, threads, machine["started"]]),
        f"{protocol.model}, backend {protocol.backend}, seed {protocol.seed}, {how}",
    ]


def tables(results: Sequence[Result]) -> list[Table]:
    """Of updates, of how they grow with the steps where that was measured, of loading and of sampling."""
    out = [_updates(results)]
    if any(result.size.grows_from for result in results):
        out.append(_growth(results))
    return [*out, _loading(results), _sampling(results)]


def _updates(results: Sequence[Result]) -> Table:
    headers = ["size", "what", "time", "/ floor", "updates/s", "time steps/s", "peak MB"]
    rows = []
    for result in results:
        for name in ("floor", "update", "reference"):
            timing, peak = result.times[name], result.peaks.get(name)
            ratio = "1" if name == "floor" else _ratio(result.ratio(name, "floor"))
            rates = [f"{1 / timing.median:.2f}", f"{result.time_steps(name) / timing.median:,.0f}"]
            memory = "-" if peak is None else f"{peak / MEGABYTE:,.1f}"
            rows.append([result.size.name, name, _time(timing), ratio, *rates, memory])
    return Table(
        "An update (forward, backward, optimizer; the floor: forward and backward)", headers, rows, text_columns=2
    )


def _growth(results: Sequence[Result]) -> Table:
    rows = [
        [
            result.size.name,
            f"{result.size.grows_from} to {result.size.steps}",
            f"{result.size.steps / result.size.grows_from:.2f}",
            _ratio(result.ratio("update", "shorter")),
            f"{result.peaks['update'] / result.peaks['shorter']:.2f}",
        ]
        for result in results
        if result.size.grows_from is not None
    ]
    return Table("How an update grows with the steps", ["size", "steps", "steps x", "time x", "peak memory x"], rows)


def _loading(results: Sequence[Result]) -> Table:
    rows = [
        [
            result.size.name,
            _time(result.loading),
            f"{result.size.sequences / result.loading.median:,.0f}",
            f"{100 * result.loading.median / result.times['update'].median:.2f}",
        ]
        for result in results
    ]
    return Table("Loading data alone", ["size", "time per batch", "sequences/s", "% of an update"], rows)


def _sampling(results: Sequence[Result]) -> Table:
    rows = []
    for result in results:
        seconds, steps = result.sampling.median, result.size.steps
        rates = [f"{steps / seconds:,.0f}", f"{SAMPLES * steps / seconds:,.0f}"]
        rows.append([result.size.name, f"{SAMPLES} x {steps}", _time(result.sampling), *rates])
    headers = ["size", "sequences x steps", "time", "steps of all/s", "time steps/s"]
    return Table("Sampling (float32)", headers, rows)


def _about(result: Result) -> str:
    """Describe a size, its model and its floor in a line."""
    size = result.size
    chosen = {k: v for k, v in result.settings.items() if k in size.settings or v != result.defaults[k]}
    settings = ", ".join(f"{name} {value}" for name, value in chosen.items())
    floor = ", ".join(map(_network, result.networks))
    batch = f"T={size.steps}, B={size.sequences}, {size.spec.kind} observations of size {size.spec.size}"
    model = f"{result.parameters:,} parameters; threads {result.threads}; floor: {floor}"
    return f"{size.name}: {size.about}; {batch}; {settings}; {model}"


def _walking(results: Sequence[Result]) -> list[str]:
    """Why updates run step by step, if they do; in a line."""
    reasons = dict.fromkeys(result.walks for result in results if result.walks is not None)
    return [f"the update runs step by step, which is slow: {reason}" for reason in reasons]


def _network(network: RecurrentNetwork) -> str:
    more = f" x{network.layers}" if network.layers > 1 else ""
    return f"{network.kind} {network.input_size}→{network.hidden_size}{more}{' both ways' * (network.directions - 1)}"


def _time(timing: Timing) -> str:
    """Format the median (min-max), in a unit that suits the median."""
    unit, factor = next((u, f) for u, f in UNITS.items() if timing.median * f >= 1 or u == "µs")
    values = [factor * x for x in (timing.median, min(timing.seconds.values()), max(timing.seconds.values()))]
    digits = max(0, 2 - int(math.log10(max(values[0], 1))))  # three significant ones
    middle, low, high = (f"{value:.{digits}f}" for value in values)
    return f"{middle} {unit} ({low}-{high})"


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.of_medians:.2f} ({ratio.least:.2f}-{ratio.most:.2f})"


def _to_json(result: Result) -> dict[str, Any]:
    size = result.size
    updates = {name: _update_to_json(result, name) for name in ("floor", "update", "reference")}
    growth = None
    if size.grows_from:
        growth = {
            "from_steps": size.grows_from,
            "to_steps": size.steps,
            "seconds": result.ratio("update", "shorter").to_json(),
            "peak_bytes": result.peaks["update"] / result.peaks["shorter"],
            "shorter": _update_to_json(result, "shorter"),
        }
    return {
        "name": size.name,
        "steps": size.steps,
        "sequences": size.sequences,
        "observations": asdict(size.spec),
        "settings": dict(result.settings),
        "parameters": result.parameters,
        "threads": result.threads,
        "networks": [network._asdict() for network in result.networks],
        "walks": result.walks,
        "updates": updates,
        "growth": growth,
        "loading": result.loading.to_json()
        | {
            "sequences_per_second": size.sequences / result.loading.median,
            "share_of_update": result.loading.median / result.times["update"].median,
        },
        "sampling": result.sampling.to_json()
        | {
            "sequences": SAMPLES,
            "steps": size.steps,
            "steps_per_second": size.steps / result.sampling.median,
            "time_steps_per_second": SAMPLES * size.steps / result.sampling.median,
        },
    }


def _update_to_json(result: Result, name: str) -> dict[str, Any]:
    timing = result.times[name]
    return timing.to_json() | {
        "updates_per_second": 1 / timing.median,
        "time_steps_per_second": result.time_steps(name) / timing.median,
        "peak_bytes": result.peaks.get(name),
        "ratio_to_floor": result.ratio(name, "floor").to_json(),
    }
