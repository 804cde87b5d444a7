"""The whole configuration of a run: dataclasses by topic, read from a recipe (YAML) and dotted options.

about, seed                       a line of text; the seed of everything random
imports: [FILE_OR_MODULE, ...]    Python that registers models, bounds or data sets of one's own (zforcing.register)
data:     {name, ...}             a data set and its settings (zforcing.data)
model:    {name, ...}             a model and its settings (zforcing.models)
bound:    {name, ...}             what is optimized (zforcing.bounds)
player:   {name, ...}             what trains beside the bound (zforcing.training.players), if anything does
weights:  {kl, ...}               schedules of the loss's weights: of the KL, and of the model's extra terms by name
training: {...}                   the optimizer and the loop
callbacks: [{name, ...}, ...]     what else happens on the way: registered callbacks and their settings
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Annotated, Any

from ...bounds import BOUNDS, Bound
from ...data import DATA, DataModule
from ...errors import UserError
from ...files.strict_yaml import write_yaml
from ...models import MODELS, DensityModel
from ...observations import ObservationSpec
from ...registry import Family, import_source
from ...settings import Range, Setting, made, settings_in, unfit
from ..callbacks import CALLBACKS, Callback
from ..players import PLAYERS, Player
from ..schedules import Schedule, WeightSchedules
from ..settings import TrainingConfig, check_together
from .known import NOBODY, Known, fitting, plain_sections, refuse_unfit, section_names, whole
from .recipes import suggest

SEED = Annotated[int, Range(at_least=0, below=2**63)]  # what torch's generators take
SECTIONS: dict[str, Family[Any]] = {"data": DATA, "model": MODELS, "bound": BOUNDS, "player": PLAYERS}
RUN_SETTINGS = (  # of no section
    Setting("about", str, "", "a line on what the run is about"),
    Setting("seed", SEED, 0, "seed of the weights, the batches and all noise"),
    Setting("recipe", str, "", "the recipe that it came from"),
)


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
    player: Player | None = None

    def __post_init__(self) -> None:
        if wanted := unfit(self.seed, SEED):
            raise UserError(f"seed is {self.seed}; it must be {wanted}")
        check_together(MODELS[self.model_name], self.bound, self.weights, self.training, self.player)

    def build_model(self, spec: ObservationSpec) -> DensityModel:
        """A new model; its parameters come from torch's global generator."""
        return MODELS[self.model_name](spec, self.model)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, the way a recipe is written; `parse_config` reads it back."""
        names = {"data": self.data.name, "model": self.model_name, "bound": self.bound.name}
        names |= {} if self.player is None else {"player": self.player.name}
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
    return write_yaml(dict(settings))


def known_settings(values: Mapping[str, Any]) -> Known:
    """The settings of a run with the data set, the model, the bound and the player that these values name.

    Raises UserError for a missing or an unknown name.
    """
    names = section_names(values, SECTIONS)
    for section, family in SECTIONS.items():
        if not _is_nobody(section, names[section]):
            family.find(names[section], setting=f"{section}.name", besides=_besides(section))
    return settings_of(names)


def settings_of(names: Mapping[str, str]) -> Known:
    """All the settings of a run with this data set, model, bound and player."""
    sections = [setting for section, name in names.items() for setting in section_settings(section, name)]
    settings = [*RUN_SETTINGS, *sections, *settings_in(TrainingConfig, "training"), *weight_settings(names["model"])]
    return Known(dict(names), {setting.name: setting for setting in settings})


def section_settings(section: str, name: str) -> list[Setting]:
    """The settings of a data set, a model, a bound or a player, with its name."""
    family = SECTIONS[section]
    chosen = Setting(f"{section}.name", str, name, f"one of {', '.join(names_of(section))}")
    if _is_nobody(section, name):
        return [chosen]
    return [chosen, *settings_in(family.settings_of(name), section)]


def names_of(section: str) -> list[str]:
    """What a section's name may be; a run may be without a player."""
    return [*sorted(SECTIONS[section]), *_besides(section)]


def _besides(section: str) -> list[str]:
    return [NOBODY] if section == "player" else []


def _is_nobody(section: str, name: str) -> bool:
    return section == "player" and name == NOBODY


def weight_settings(model: str) -> list[Setting]:
    """The schedules of the terms that have a weight: the KL, and the model's extra ones."""
    defaults = {"kl": Schedule(1.0)} | dict.fromkeys(MODELS[model].cost_names, Schedule(0.0))
    return [
        setting for term, schedule in defaults.items() for setting in settings_in(Schedule, f"weights.{term}", schedule)
    ]


def parts_of(names: Mapping[str, str]) -> dict[str, type[Any]]:
    """The dataclass of each section but `weights`, whose settings are schedules of what the model has."""
    chosen = {s: SECTIONS[s].settings_of(name) for s, name in names.items() if not _is_nobody(s, name)}
    return chosen | {"training": TrainingConfig}


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
    values = plain_sections(values)
    imports = import_all(values.pop("imports", None), where=where)
    callbacks = read_callbacks(values.pop("callbacks", None), where=where)
    known = known_settings(values)
    given = fitting(values, known, where=where, lines=lines or {})
    return build_config(given, known, imports=imports, callbacks=callbacks)


def build_config(
    given: Mapping[str, Any],
    known: Known,
    *,
    imports: tuple[str, ...] = (),
    callbacks: tuple[Callback, ...] = (),
) -> RunConfig:
    """The configuration from settings by dotted name, which fit; those that aren't given have their defaults."""
    missing = [name for name, setting in known.settings.items() if name not in given and setting.default is MISSING]
    if missing:
        raise UserError(f"{', '.join(missing)} must be given: there is no default")
    flat = whole(given, known)
    built = {section: made(cls, section, flat) for section, cls in parts_of(known.names).items()}
    weights = WeightSchedules(**{name: made(Schedule, f"weights.{name}", flat) for name in known.weights})
    rest = {name: flat[name] for name in ("seed", "recipe", "about")}
    model = known.names["model"]
    return RunConfig(**built, **rest, weights=weights, model_name=model, imports=imports, callbacks=callbacks)


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
