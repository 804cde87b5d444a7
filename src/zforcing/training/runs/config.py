"""The whole configuration of a run: dataclasses by topic, read from a recipe (YAML) and dotted options.

about, seed                       a line of text; the seed of everything random
imports: [FILE_OR_MODULE, ...]    Python that registers models, bounds or data sets of one's own (zforcing.register)
data:     {name, ...}             a data set and its settings (zforcing.data)
model:    {name, ...}             a model and its settings (zforcing.models)
bound:    {name, ...}             what is optimized (zforcing.bounds)
weights:  {kl, ...}               schedules of the loss's weights: of the KL, and of the model's extra terms by name
training: {...}                   the optimizer and the loop
callbacks: [{name, ...}, ...]     what else happens on the way: registered callbacks and their settings
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Annotated, Any

import yaml

from ...bounds import BOUNDS, Bound
from ...data import DATA, DataModule
from ...errors import UserError
from ...models import MODELS, DensityModel
from ...observations import ObservationSpec
from ...registry import Family, import_source
from ...settings import Range, Setting, as_typed, made, settings_in, takes_mapping, takes_null, unfit
from ..callbacks import CALLBACKS, Callback
from ..schedules import Schedule, WeightSchedules
from ..settings import TrainingConfig, check_together
from .paths import KEY
from .recipes import suggest

SECTIONED = ("data", "model", "bound", "weights", "training")
SEED = Annotated[int, Range(at_least=0, below=2**63)]  # what torch's generators take
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
    callbacks: tuple[Callback, ...] = ()

    def __post_init__(self) -> None:
        if wanted := unfit(self.seed, SEED):
            raise UserError(f"seed is {self.seed}; it must be {wanted}")
        check_together(MODELS[self.model_name], self.bound, self.weights, self.training)

    def build_model(self, spec: ObservationSpec) -> DensityModel:
        """A new model; its parameters come from torch's global generator."""
        return MODELS[self.model_name](spec, self.model)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, the way a recipe is written; `parse_config` reads it back."""
        names = {"data": self.data.name, "model": self.model_name, "bound": self.bound.name}
        named = {s: {"name": name} | asdict(getattr(self, s)) for s, name in names.items()}
        weights = {name: asdict(schedule) for name, schedule in self.weights.by_name.items()}
        rest = {"weights": weights, "training": asdict(self.training)}
        imports = {"imports": list(self.imports)} if self.imports else {}
        callbacks = {"callbacks": [_as_dict(one) for one in self.callbacks]} if self.callbacks else {}
        return {"recipe": self.recipe, "about": self.about, "seed": self.seed} | imports | named | rest | callbacks

    def to_yaml(self) -> str:
        """`to_dict` as YAML."""
        return as_yaml(self.to_dict())


def as_yaml(settings: Mapping[str, Any]) -> str:
    """As a recipe is written."""
    return yaml.safe_dump(dict(settings), sort_keys=False, width=120)


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


def settings_of(names: Mapping[str, str]) -> dict[str, Setting]:
    """All the settings of a run with this data set, model and bound, by their dotted names."""
    known = [
        Setting("about", str, "", "a line on what the run is about"),
        Setting("seed", SEED, 0, "seed of the weights, the batches and all noise"),
        Setting("recipe", str, ""),
    ]
    for section, cls in parts_of(names).items():
        if section in names:
            choices = ", ".join(sorted(SECTIONS[section]))
            known.append(Setting(f"{section}.name", str, names[section], f"one of {choices}"))
        known += settings_in(cls, section)
    for weight in weight_names(names):
        known += settings_in(Schedule, f"weights.{weight}", Schedule(1.0 if weight == "kl" else 0.0))
    return {setting.name: setting for setting in known}


def parts_of(names: Mapping[str, str]) -> dict[str, type[Any]]:
    """The dataclass of each section but `weights`, whose settings are schedules of what the model has."""
    chosen = {section: SECTIONS[section].settings_of(name) for section, name in names.items()}
    return chosen | {"training": TrainingConfig}


def weight_names(names: Mapping[str, str]) -> tuple[str, ...]:
    """The terms that have a weight: the KL, and the model's extra ones."""
    return ("kl", *MODELS[names["model"]].cost_names)


def parse_config(
    values: Mapping[str, Any], *, where: str = "configuration", lines: Mapping[str, int] | None = None
) -> RunConfig:
    """A configuration from plain values (a recipe's, a run folder's).

    Args:
        values: sections of settings, as `RunConfig.to_dict` gives them; where relative paths of data start is known by
            whoever read them (`zforcing.training.runs.paths`).
        where: what the values are from, for messages.
        lines: the line of each dotted name in that file.

    Raises:
        UserError: one line with every unknown key, or with every setting that has a wrong type or a wrong value.
    """
    values = {k: v for k, v in with_constants(values).items() if k != KEY and (k not in SECTIONED or v is not None)}
    imports = import_all(values.pop("imports", None), where=where)
    callbacks = read_callbacks(values.pop("callbacks", None), where=where)
    names = section_names(values)
    flat = flatten(without_idle_weights(values, weight_names(names)), whole=mappings(names))
    refuse_unknown(flat, names, where=where)
    given = {key: value for key, value in flat.items() if value != {}}  # an empty section is its defaults
    refuse_unfit(given, settings_of(names), where=where, lines=lines or {})
    return build_config(given, names, imports=imports, callbacks=callbacks)


def build_config(
    given: Mapping[str, Any],
    names: Mapping[str, str],
    *,
    imports: tuple[str, ...] = (),
    callbacks: tuple[Callback, ...] = (),
) -> RunConfig:
    """The configuration from settings by dotted name, which fit; those that aren't given have their defaults."""
    known = settings_of(names)
    missing = [name for name, setting in known.items() if name not in given and setting.default is MISSING]
    if missing:
        raise UserError(f"{', '.join(missing)} must be given: there is no default")
    defaults = {name: setting.default for name, setting in known.items()}
    flat = defaults | {name: as_typed(value, known[name].hint) for name, value in given.items()}
    built = {section: made(cls, section, flat) for section, cls in parts_of(names).items()}
    weights = WeightSchedules(**{name: made(Schedule, f"weights.{name}", flat) for name in weight_names(names)})
    rest = {name: flat[name] for name in ("seed", "recipe", "about")}
    return RunConfig(**built, **rest, weights=weights, model_name=names["model"], imports=imports, callbacks=callbacks)


def import_all(sources: Any, *, where: str) -> tuple[str, ...]:
    """Import what a configuration's `imports` names: Python files, and modules that Python finds."""
    if not (sources is None or (isinstance(sources, list) and all(isinstance(source, str) for source in sources))):
        raise UserError(
            f"{where}: imports is {sources!r}; it must be a list of Python files (mine.py) or names of modules"
        )
    for source in sources or ():
        try:
            import_source(source)
        except UserError as error:
            raise UserError(f"{where}, imports: {error}") from error
    return tuple(sources or ())


def read_callbacks(given: Any, *, where: str) -> tuple[Callback, ...]:
    """The callbacks of a list of names, or of mappings with a name and settings."""
    if not (given is None or (isinstance(given, list) and all(isinstance(one, str | dict) for one in given))):
        raise UserError(f"{where}: callbacks is {given!r}; it must be a list such as [my_callback, {{name: another}}]")
    return tuple(_callback({"name": one} if isinstance(one, str) else one, where=where) for one in given or ())


def _callback(given: Mapping[str, Any], *, where: str) -> Callback:
    cls = CALLBACKS.find(given.get("name"), setting="callbacks.name")
    known = {setting.name: setting for setting in settings_in(cls, cls.name)}
    values = {f"{cls.name}.{key}": value for key, value in given.items() if key != "name"}
    for key in values:
        if key not in known:
            raise UserError(f"{where}: unknown setting {key}{suggest(key, set(known))} (of a callback)")
    refuse_unfit(values, known, where=where, lines={})
    left = [name for name, setting in known.items() if name not in values and setting.default is MISSING]
    if left:
        raise UserError(f"{where}: {', '.join(left)} must be given: there is no default")
    made_of = {name: setting.default for name, setting in known.items()} | values
    callback: Callback = made(cls, cls.name, made_of)
    return callback


def _as_dict(callback: Any) -> dict[str, Any]:
    settings = {field.name: getattr(callback, field.name) for field in fields(callback) if field.init}
    return {"name": callback.name} | settings


def refuse_unknown(given: Mapping[str, Any], names: Mapping[str, str], *, where: str) -> None:
    """Raise UserError, all in one line, when dotted keys are no settings of this data set, model and bound."""
    known = set(settings_of(names))
    sections = {key.rsplit(".", n)[0] for key in known for n in (1, 2)}
    bad = [key for key in given if key not in known and not (key in sections and given[key] in (None, {}))]
    if bad:
        # a recipe of another model is the usual reason, so say what was chosen
        chosen = ", ".join(f"{section} {name}" for section, name in names.items())
        said = dict.fromkeys(f"unknown setting {_with_hint(key, known, names)}" for key in bad)
        raise UserError(f"{where}: {'; '.join(said)} (with {chosen})")


def _with_hint(key: str, known: set[str], names: Mapping[str, str]) -> str:
    """An unknown setting, and what may be meant: of a weight, the terms that the model has."""
    section, _, rest = key.partition(".")
    term = rest.partition(".")[0]
    if section == "weights" and term not in weight_names(names):
        return f"weights.{term} (model {names['model']} has weights of {', '.join(weight_names(names))})"
    return f"{key}{suggest(key, known)}"


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


def mappings(names: Mapping[str, str]) -> set[str]:
    """The dotted names of settings that are mappings themselves."""
    return {name for name, setting in settings_of(names).items() if takes_mapping(setting.hint)}


def flatten(values: Mapping[str, Any], prefix: str = "", *, whole: Container[str] = ()) -> dict[str, Any]:
    """{a: {b: 1}} -> {"a.b": 1}. whole: dotted names of mappings that stay."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value and f"{prefix}{key}" not in whole:
            flat |= flatten(value, f"{prefix}{key}.", whole=whole)
        else:
            flat[f"{prefix}{key}"] = value
    return flat
