"""The settings that a run knows, by dotted name, and the checks of plain values against them.

Which settings there are depends on the data set, the model and the bound. Nothing here imports torch: the command line
answers a typo from its list of settings (`zforcing.cli.index`), training from the classes
(`zforcing.training.runs.config`).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import UserError
from ...settings import Setting, as_typed, takes_mapping, takes_null, unfit
from .paths import KEY
from .recipes import suggest

SECTIONS = ("data", "model", "bound", "player")  # of which each has a name
NOBODY = "none"  # the player of most runs
DEFAULT_NAMES = {"bound": "elbo", "player": NOBODY}
SECTIONED = (*SECTIONS, "weights", "training")


@dataclass(frozen=True)
class Known:
    """The settings of a run. names: its data set, model, bound and player; settings: all of theirs, by dotted name."""

    names: Mapping[str, str]
    settings: Mapping[str, Setting]

    @property
    def weights(self) -> tuple[str, ...]:
        """The terms that have a weight: the KL, and the model's extra ones."""
        return tuple(dict.fromkeys(name.split(".")[1] for name in self.settings if name.startswith("weights.")))

    @property
    def mappings(self) -> set[str]:
        """The dotted names of settings that are mappings themselves."""
        return {name for name, setting in self.settings.items() if takes_mapping(setting.hint)}


def section_names(values: Mapping[str, Any], known: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Which data set, model, bound and player these values name; by default the ELBO, and no player.

    Args:
        values: sections of settings.
        known: the names of each section.

    Raises:
        UserError: a section is no mapping, or has no name.
    """
    names = {}
    for section in SECTIONS:
        given = values.get(section) or {}
        if not isinstance(given, Mapping):
            raise UserError(f"{section} is {given!r}; it must be a mapping with a name")
        name = given.get("name", DEFAULT_NAMES.get(section))
        if name is None:
            raise UserError(f"{section}.name is missing; it is one of {', '.join(sorted(known[section]))}")
        names[section] = name
    return names


def fitting(values: Mapping[str, Any], known: Known, *, where: str, lines: Mapping[str, int]) -> dict[str, Any]:
    """The settings that plain values give, by dotted name.

    Args:
        values: sections of settings, without `imports` and `callbacks`.
        known: the settings that there are.
        where: what the values are from, for messages.
        lines: the line of each dotted name in that file.

    Raises:
        UserError: one line with every unknown key, or with every setting that has a wrong type or a wrong value.
    """
    flat = flatten(without_idle_weights(values, known.weights), whole=known.mappings)
    refuse_unknown(flat, known, where=where)
    given = {key: value for key, value in flat.items() if value != {}}  # an empty section is its defaults
    refuse_unfit(given, known.settings, where=where, lines=lines)
    return given


def whole(given: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """All settings by dotted name, as their types want them: those given, which fit, and the others' defaults."""
    defaults = {name: setting.default for name, setting in known.settings.items()}
    return defaults | {name: as_typed(value, known.settings[name].hint) for name, value in given.items()}


def plain_sections(values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's values with its weights spelled out, without empty sections and where its paths start."""
    spelled = with_constants(values).items()
    return {key: value for key, value in spelled if key != KEY and (key not in SECTIONED or value is not None)}


def refuse_unknown(given: Mapping[str, Any], known: Known, *, where: str, prefix: str = "") -> None:
    """Raise UserError, all in one line, when dotted keys are no settings of this data set, model, bound and player.

    prefix: what stands before a setting where it is written, "--" on the command line.
    """
    names = set(known.settings)
    sections = {key.rsplit(".", n)[0] for key in names for n in (1, 2)}
    bad = [key for key in given if key not in names and not (key in sections and given[key] in (None, {}))]
    if bad:
        # a recipe of another model is the usual reason, so say what was chosen
        chosen = ", ".join(f"{section} {name}" for section, name in known.names.items() if name != NOBODY)
        said = dict.fromkeys(f"unknown setting {_with_hint(key, known, prefix)}" for key in bad)
        raise UserError(f"{where}: {'; '.join(said)} (with {chosen})")


def _with_hint(key: str, known: Known, prefix: str) -> str:
    """An unknown setting, and what may be meant: of a weight, the terms that the model has."""
    section, _, rest = key.partition(".")
    term = rest.partition(".")[0]
    if section == "weights" and term and term not in known.weights:
        return f"weights.{term} (model {known.names['model']} has weights of {', '.join(known.weights)})"
    return f"{key}{suggest(key, known.settings, prefix=prefix)}"


def refuse_unfit(
    given: Mapping[str, Any], known: Mapping[str, Setting], *, where: str, lines: Mapping[str, int]
) -> None:
    """Raise UserError, all in one line, when values don't fit their settings' types and ranges."""
    empty = [
        key for key, value in given.items() if value is None and not (key in known and takes_null(known[key].hint))
    ]
    if empty:
        raise UserError(f"{where}: {', '.join(empty)} must not be null: give a value, or leave it out for the default")
    unfits = {key: unfit(value, known[key].hint) for key, value in given.items()}
    bad = [f"{at_line(key, lines)} is {given[key]!r}; it must be {wanted}" for key, wanted in unfits.items() if wanted]
    if bad:
        raise UserError(f"{where}: {'; '.join(bad)}")


def at_line(key: str, lines: Mapping[str, int]) -> str:
    """The setting's name, and its line in a file if that is known (a constant's is that of its schedule)."""
    name = key if key in lines else key.removesuffix(".start")
    return f"{key} (line {lines[name]})" if name in lines else key


def with_constants(values: Mapping[str, Any]) -> dict[str, Any]:
    """`weights: {kl: 0.5}` spelled out: the schedule that is 0.5 at every step."""
    weights = values.get("weights")
    if not isinstance(weights, Mapping):
        return dict(values)
    constant = {k: {"start": v} if isinstance(v, int | float) else v for k, v in weights.items()}
    return dict(values) | {"weights": constant}


def without_idle_weights(values: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """Without the weights 0 of terms that the model doesn't have, which files of before 0.2 list for every model."""
    weights = values.get("weights")
    if not isinstance(weights, Mapping):
        return dict(values)
    idle = [name for name, schedule in weights.items() if name not in known and _is_zero(schedule)]
    return dict(values) | {"weights": {name: schedule for name, schedule in weights.items() if name not in idle}}


def _is_zero(schedule: Any) -> bool:
    return isinstance(schedule, Mapping) and schedule.get("start") == 0 and schedule.get("end") is None


def flatten(values: Mapping[str, Any], prefix: str = "", *, whole: Container[str] = ()) -> dict[str, Any]:
    """{a: {b: 1}} -> {"a.b": 1}. whole: dotted names of mappings that stay."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value and f"{prefix}{key}" not in whole:
            flat |= flatten(value, f"{prefix}{key}.", whole=whole)
        else:
            flat[f"{prefix}{key}"] = value
    return flat
