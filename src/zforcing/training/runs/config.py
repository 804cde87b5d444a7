"""The whole configuration of a run: dataclasses by topic, read from a recipe (YAML) and dotted options.

about, seed                       a line of text; the seed of everything random
imports: [FILE_OR_MODULE, ...]    Python that registers models, bounds or data sets of one's own (zforcing.register)
data:     {name, ...}             a data set and its settings (zforcing.data)
model:    {name, ...}             a model and its settings (zforcing.models)
bound:    {name, ...}             what is optimized (zforcing.bounds)
weights:  {kl, auxiliary, backward}  schedules of the loss's weights
training: {...}                   the optimizer and the loop
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings

from ...bounds import BOUNDS, Bound
from ...data import DATA, DataModule
from ...errors import UserError
from ...models import MODELS, SequenceModel
from ...observations import ObservationSpec
from ...registry import Family, import_source
from ..schedules import WeightSchedules
from ..settings import TrainingConfig, check_together
from .recipes import one_line, suggest

SECTIONED = ("data", "model", "bound", "weights", "training")
WEIGHTS = tuple(field.name for field in fields(WeightSchedules))
SECTIONS: dict[str, Family[Any]] = {"data": DATA, "model": MODELS, "bound": BOUNDS}


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run. `model` is the settings (`Config`) of the registered model `model_name`."""

    data: DataModule
    model_name: str
    model: Any
    bound: Bound
    weights: WeightSchedules
    training: TrainingConfig
    seed: int = 0
    recipe: str = ""
    about: str = ""
    imports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise UserError(f"seed is {self.seed}; it must be 0 or more and less than 2**63")
        check_together(self.bound, self.weights, self.training)

    def build_model(self, spec: ObservationSpec) -> SequenceModel:
        """A new model; its parameters come from torch's global generator."""
        return MODELS[self.model_name](spec, self.model)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, the way a recipe is written; `parse_config` reads it back."""
        names = {"data": self.data.name, "model": self.model_name, "bound": self.bound.name}
        named = {s: {"name": name} | asdict(getattr(self, s)) for s, name in names.items()}
        rest = {"weights": asdict(self.weights), "training": asdict(self.training)}
        imports = {"imports": list(self.imports)} if self.imports else {}
        return {"recipe": self.recipe, "about": self.about, "seed": self.seed} | imports | named | rest

    def to_yaml(self) -> str:
        """`to_dict` as YAML."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, width=120)


def section_names(values: Mapping[str, Any]) -> dict[str, str]:
    """Which data set, model and bound these values name. Raises UserError for a missing or an unknown name."""
    names = {}
    for section, known in SECTIONS.items():
        given = values.get(section) or {}
        if not isinstance(given, Mapping):
            raise UserError(f"{section} is {given!r}; it must be a mapping with a name")
        name = given.get("name", "elbo" if section == "bound" else None)
        if name is None:
            raise UserError(f"{section}.name is missing; it is one of {', '.join(sorted(known))}")
        known.find(name, setting=f"{section}.name")
        names[section] = name
    return names


def add_settings(parser: ArgumentParser, names: Mapping[str, str]) -> None:
    """All the settings of a run with this data set, model and bound, as dotted options with help."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser.add_argument("--about", type=str, default="", help="a line on what the run is about")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights, the batches and all noise")
    for section, known in SECTIONS.items():
        choices = ", ".join(sorted(known))
        parser.add_argument(f"--{section}.name", type=str, default=names[section], help=f"one of {choices}")
        parser.add_class_arguments(known.settings_of(names[section]), section)
    parser.add_class_arguments(WeightSchedules, "weights")
    parser.add_class_arguments(TrainingConfig, "training")


def known_settings(names: Mapping[str, str]) -> set[str]:
    """The dotted names of all settings."""
    return set(_settings(names))


def parse_config(values: Mapping[str, Any], *, where: str = "configuration") -> RunConfig:
    """A configuration from plain values (a recipe's, a run folder's).

    Raises UserError: one line with every unknown key, or the setting that has a wrong type or a wrong value.
    """
    values = {k: v for k, v in with_constants(values).items() if k not in SECTIONED or v is not None}
    imports = import_all(values.pop("imports", None), where=where)
    names = section_names(values)
    refuse_unknown(flatten(values), names, where=where)
    refuse_null(flatten(values), names, where=where)
    parser = ArgumentParser(exit_on_error=False)
    add_settings(parser, names)
    parser.add_argument("--recipe", type=str, default="")
    try:
        parsed = parser.parse_object(dict(values))
    except ArgumentError as error:
        raise UserError(f"{where}: {one_line(error)}") from None
    return from_namespace(parser, parsed, imports=imports)


def import_all(sources: Any, *, where: str) -> tuple[str, ...]:
    """Import what a configuration's `imports` names: Python files, and modules that Python finds."""
    if not (sources is None or (isinstance(sources, list) and all(isinstance(source, str) for source in sources))):
        raise UserError(
            f"{where}: imports is {sources!r}; it must be a list of Python files (mine.py) or names of modules"
        )
    for source in sources or ():
        import_source(source)
    return tuple(sources or ())


def from_namespace(parser: ArgumentParser, parsed: Namespace, *, imports: tuple[str, ...] = ()) -> RunConfig:
    """The configuration from what a parser with `add_settings` has parsed."""
    names = {section: parsed[section].pop("name") for section in SECTIONS}
    made = parser.instantiate(parsed)
    parts = {field.name: made[field.name] for field in fields(RunConfig) if field.name in made}
    return RunConfig(**parts, model_name=names["model"], imports=imports)


def refuse_unknown(given: Mapping[str, Any], names: Mapping[str, str], *, where: str) -> None:
    """Raise UserError, all in one line, when dotted keys are no settings of this data set, model and bound."""
    known = known_settings(names)
    branches = {key.rsplit(".", n)[0] for key in known for n in (1, 2)}
    bad = [key for key in given if key not in known and not (key in branches and given[key] in (None, {}))]
    if bad:
        # a recipe of another model is the usual reason, so say what was chosen
        chosen = ", ".join(f"{section} {name}" for section, name in names.items())
        said = "; ".join(f"unknown setting {key}{suggest(key, known)}" for key in bad)
        raise UserError(f"{where}: {said} (with {chosen})")


def refuse_null(given: Mapping[str, Any], names: Mapping[str, str], *, where: str) -> None:
    """Raise UserError, all in one line, when settings are null that must have a value."""
    hints = _settings(names)
    empty = [key for key, value in given.items() if value is None and type(None) not in get_args(hints.get(key))]
    if empty:
        raise UserError(f"{where}: {', '.join(empty)} must not be null: give a value, or leave it out for the default")


def _settings(names: Mapping[str, str]) -> dict[str, Any]:
    """The dotted name of every setting, and its type."""
    classes = {section: SECTIONS[section].settings_of(name) for section, name in names.items()}
    classes |= {"weights": WeightSchedules, "training": TrainingConfig}
    known: dict[str, Any] = {"about": str, "seed": int, "recipe": str}
    known |= {f"{section}.name": str for section in SECTIONS}
    for section, cls in classes.items():
        known |= dict(_leaves(cls, section))
    return known


def _leaves(cls: type[Any], prefix: str) -> Iterator[tuple[str, Any]]:
    hints = get_type_hints(cls)
    for field in fields(cls):
        name, hint = f"{prefix}.{field.name}", hints[field.name]
        if is_dataclass(hint):
            yield from _leaves(hint, name)  # type: ignore[arg-type]  # is_dataclass admits instances, a hint is a class
        else:
            yield name, hint


def with_constants(values: Mapping[str, Any]) -> dict[str, Any]:
    """`weights: {kl: 0.5}` spelled out: the schedule that is 0.5 at every step."""
    weights = values.get("weights")
    if not isinstance(weights, Mapping):
        return dict(values)
    constant = {k: {"start": v} if isinstance(v, int | float) else v for k, v in weights.items()}
    return dict(values) | {"weights": constant}


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{a: {b: 1}} -> {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
