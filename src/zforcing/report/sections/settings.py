"""Settings of runs side by side, and where they ran."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...saving.atomic import current, read_json
from ...text_table import Table
from ...training.runs.known import flatten
from ..blocks import Details, Grid, Part, Section
from ..subject import Subject


def settings(subjects: Sequence[Subject]) -> Section:
    """What differs between runs in sight, all the rest folded up."""
    values = {s.name: _settings(s) for s in subjects}
    names = list(dict.fromkeys(name for of in values.values() for name in of))
    different = [name for name in names if len({of.get(name) for of in values.values()}) > 1]
    blocks: list[Any] = [Grid(_table("Runs", {s.name: _facts(s) for s in subjects}))]
    if different and len(subjects) > 1:
        blocks.append(Grid(_table("Settings that differ", values, different)))
    blocks.append(Details(f"All {len(names)} settings", [Grid(_table("Settings", values, names))]))
    return Section("Configuration", "Settings as config.yaml has them: that file repeats the run.", [Part("", blocks)])


def _settings(subject: Subject) -> dict[str, str]:
    config = subject.trained.config
    return {} if config is None else {name: str(value) for name, value in flatten(config.to_dict()).items()}


def _facts(subject: Subject) -> dict[str, str]:
    """What it is, how long it trained, and on what machine."""
    model, found = subject.model, {}
    found["model"] = model.label
    found["parameters"] = f"{sum(p.numel() for p in model.parameters()):,}"
    found["data"] = subject.description.name
    folder = Path(subject.trained.folder)
    trained, machine = (
        _json(current(folder / "checkpoints" / "last") / "training.json"),
        _json(folder / "environment.json"),
    )
    if isinstance(trained.get("seconds"), int | float):
        found["trained"] = f"{trained['seconds']:.0f} s, {trained.get('step')} updates, {trained.get('epoch')} epochs"
    if trained.get("finished"):
        found["ended by"] = str(trained["finished"])
    for name in ("processor", "device", "threads", "started"):
        if name in machine:
            found[name] = str(machine[name])
    versions = machine.get("versions")
    if isinstance(versions, dict):
        found["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    return found


def _json(path: Path) -> dict[str, Any]:
    """Of a file, nothing where there is none: a saved model has no record of its training."""
    try:
        return read_json(path)
    except UserError:
        return {}


def _table(title: str, values: dict[str, dict[str, str]], names: Sequence[str] | None = None) -> Table:
    """A row for each name, a column for each run."""
    rows = names or list(dict.fromkeys(name for of in values.values() for name in of))
    cells = [[name, *(of.get(name, "-") for of in values.values())] for name in rows]
    return Table(title, ["", *values], cells, text_columns=1 + len(values))
