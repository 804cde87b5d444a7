"""What a step's file says of itself: all that a script needs that has nothing but the file."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from ..observations import ObservationSpec, TableFormat, labels_of
from ..tasks.scores import names_of
from .step import FilterStep

KEY = "zforcing"  # of the metadata in the file
FORMAT = "zforcing step 1"


def about_step(step: FilterStep) -> dict[str, Any]:
    """Plain JSON values; docs/using.md says what they mean."""
    model, spec = step.model, step.model.spec
    return {
        "format": FORMAT,
        "zforcing_version": version("zforcing"),
        "model": model.label,
        "relation": "estimate" if model.latent_size else "exact",
        "filter": "bootstrap: latents are drawn from the prior" if model.latent_size else None,
        "particles": step.K,
        "latent_size": model.latent_size,
        "kind": spec.kind,
        "unit": "density" if spec.has_density else "probability",
        "units": step.units.of,
        "unscored_steps": spec.unscored_steps,
        "missing": spec.missing,
        "columns": _columns(step),
        "inputs": _inputs(step),
        "sequence": _table(step).sequence,
        "state": "zeros before the first observation",
    }


def _table(step: FilterStep) -> TableFormat:
    """The names of the model's data, if it has some."""
    description = step.model.description
    known = None if description is None else description.format
    return known if isinstance(known, TableFormat) else TableFormat()


def _columns(step: FilterStep) -> list[dict[str, Any]]:
    names, spec = names_of(_table(step).names, step.units.size), step.model.spec
    return [{"name": name} | _column(spec, place) for place, name in enumerate(names)]


def _column(spec: ObservationSpec, place: int) -> dict[str, Any]:
    """The kind of a number, and the names of categories in the order of their codes."""
    if spec.columns is None:
        return {"kind": spec.kind, "labels": None}
    labels = labels_of(spec.columns[place])
    return {"kind": spec.columns[place].name, "labels": None if labels is None else list(labels)}


def _inputs(step: FilterStep) -> list[str]:
    return list(_table(step).input_names or (f"u{i}" for i in range(step.model.spec.inputs)))
