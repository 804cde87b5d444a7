"""The whole configuration of a run: dataclasses by topic, read from a recipe (YAML) and dotted options.

about, seed                       a line of text; the seed of everything random
data:     {name, ...}             a data set and its settings (zforcing.data)
model:    {name, ...}             a model and its settings (zforcing.models)
bound:    {name, ...}             what is optimized (zforcing.bounds)
weights:  {kl, auxiliary, backward}  schedules of the loss's weights
training: {...}                   the optimizer and the loop
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, Literal, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings

from ..bounds import BOUNDS, Bound, WeightSchedules
from ..data import DATA, DataModule
from ..errors import UserError
from ..models import MODELS, SequenceModel
from ..sequences import ObservationSpec
from ..settings import check_types
from .recipes import one_line, suggest

SECTIONED = ("data", "model", "bound", "weights", "training")
WEIGHTS = tuple(field.name for field in fields(WeightSchedules))
SECTIONS: dict[str, dict[str, type[Any]]] = {
    "data": dict(DATA),
    "model": {name: model.Config for name, model in MODELS.items()},
    "bound": dict(BOUNDS),
}


MOST_THREADS = 1024  # torch accepts more and then fails


@dataclass(frozen=True)
class TrainingConfig:
    """The optimizer and the loop."""

    epochs: int = 100
    """passes over the training split, at most"""
    max_steps: int | None = None
    """updates, at most; null: as many as the epochs have"""
    max_minutes: float | None = None
    """minutes of training, at most, over all its sessions; null: no limit. How far that is depends on the machine"""
    batch_size: int = 32
    """sequences per update, over all processes"""
    evaluation_batch_size: int = 256
    """sequences at a time where nothing is learned"""
    learning_rate: float = 1e-3
    """Adam's"""
    beta1: float = 0.9
    """Adam's decay of the gradient's mean"""
    beta2: float = 0.999
    """Adam's decay of the squared gradient's mean"""
    eps: float = 1e-8
    """Adam's constant under the square root"""
    max_grad_norm: float | None = 100.0
    """the gradient is scaled down to this norm; null: never"""
    learning_rate_factor: float = 0.5
    """the learning rate is multiplied by this whenever validation is worse than the time before; 1: never"""
    learning_rate_decay: float = 1.0
    """the learning rate is multiplied by this after every epoch from learning_rate_decay_from on; 1: never"""
    learning_rate_decay_from: int = 1
    """the first epoch, counted from 1, after which it is"""
    min_learning_rate: float = 1e-4
    """neither takes the learning rate below this"""
    patience: int | None = 10
    """stop after this many validations without a new best; null: never"""
    truncated_bptt_steps: int | None = None
    """sequences are taken in chunks of so many time steps, the state carried from each to the next and no gradient;
    null: whole sequences"""
    look_ahead: int = 0
    """time steps behind such a chunk that a backward network reads too"""
    word_dropout: float = 0.0
    """in training, each word is read as the unknown word with this probability where a model reads its own past, and
    is still predicted (text; Bowman et al. 2016, whose keep rate is 1 minus this)"""
    log_every: int = 50
    """updates between rows of metrics.jsonl"""
    checkpoint_every: int | None = 500
    """updates between checkpoints within an epoch (there is one after every epoch too); null: none"""
    max_nonfinite: int = 10
    """stop after this many updates in a row whose loss or gradient is not finite; they are skipped"""
    threads: int | None = None
    """CPU threads; null: 1 where a time step is little work, torch's own choice where it is much (zforcing.threads)"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: autocast; log-densities and sums stay in float32 and float64"""
    backend: Literal["reference", "fast", "graph"] = "fast"
    """how an update runs: reference walks the model's step contract, fast takes its fast loop, graph (one CUDA device)
    also captures the whole update in CUDA graphs, one for each padded length and size of a batch"""

    def __post_init__(self) -> None:
        problems = check_types(self, "training")
        if problems:
            raise UserError("; ".join(problems))
        for name in (
            "epochs", "batch_size", "evaluation_batch_size", "log_every", "max_nonfinite", "learning_rate_decay_from"
        ):  # fmt: skip
            if getattr(self, name) < 1:
                problems.append(f"training.{name} is {getattr(self, name)}; it must be 1 or more")
        for name in ("max_steps", "patience", "checkpoint_every", "threads", "truncated_bptt_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                problems.append(f"training.{name} is {value}; it must be 1 or more, or null")
        if self.max_minutes is not None and self.max_minutes <= 0:
            problems.append(f"training.max_minutes is {self.max_minutes}; it must be positive, or null")
        if self.look_ahead < 0:
            problems.append(f"training.look_ahead is {self.look_ahead}; it must be 0 or more")
        if self.look_ahead and self.truncated_bptt_steps is None:
            problems.append(f"training.look_ahead is {self.look_ahead}; it needs training.truncated_bptt_steps")
        if self.truncated_bptt_steps is not None and self.backend == "graph":
            problems.append("training.backend graph can't carry a state from update to update: set it fast")
        if self.min_learning_rate < 0:
            problems.append(f"training.min_learning_rate is {self.min_learning_rate}; it must be 0 or more")
        if self.threads is not None and self.threads > MOST_THREADS:
            problems.append(f"training.threads is {self.threads}; it must be {MOST_THREADS} or less, or null")
        for name in ("learning_rate", "eps"):
            if getattr(self, name) <= 0:
                problems.append(f"training.{name} is {getattr(self, name)}; it must be positive")
        for name in ("beta1", "beta2", "word_dropout"):
            if not 0 <= getattr(self, name) < 1:
                problems.append(f"training.{name} is {getattr(self, name)}; it must be 0 or more and less than 1")
        if self.max_grad_norm is not None and self.max_grad_norm <= 0:
            problems.append(f"training.max_grad_norm is {self.max_grad_norm}; it must be positive, or null")
        for name in ("learning_rate_factor", "learning_rate_decay"):
            if not 0 < getattr(self, name) <= 1:
                problems.append(f"training.{name} is {getattr(self, name)}; it must be in (0, 1]")
        if problems:
            raise UserError("; ".join(problems))


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run. `model` is the settings (`Config`) of one of the registered models."""

    data: DataModule
    model: Any
    bound: Bound
    weights: WeightSchedules
    training: TrainingConfig
    seed: int = 0
    recipe: str = ""
    about: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise UserError(f"seed is {self.seed}; it must be 0 or more and less than 2**63")
        self.bound.check_weights(self.weights)
        if self.training.truncated_bptt_steps is not None and not self.bound.carries_state:
            name = _name_of("bound", self.bound)
            raise UserError(f"training.truncated_bptt_steps needs bound elbo, whose terms add up over time; not {name}")

    def build_model(self, spec: ObservationSpec) -> SequenceModel:
        """A new model; its parameters come from torch's global generator."""
        return MODELS[_name_of("model", self.model)](spec, self.model)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, the way a recipe is written; `parse_config` reads it back."""
        named = {s: {"name": _name_of(s, getattr(self, s))} | asdict(getattr(self, s)) for s in SECTIONS}
        rest = {"weights": asdict(self.weights), "training": asdict(self.training)}
        return {"recipe": self.recipe, "about": self.about, "seed": self.seed} | named | rest

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
        if not isinstance(name, str) or name not in known:
            hint = suggest(str(name), known)
            raise UserError(f"unknown {section}.name {name!r}{hint}; it is one of {', '.join(sorted(known))}")
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
        parser.add_class_arguments(known[names[section]], section)
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
    return from_namespace(parser, parsed)


def from_namespace(parser: ArgumentParser, parsed: Namespace) -> RunConfig:
    """The configuration from what a parser with `add_settings` has parsed."""
    for section in SECTIONS:
        parsed[section].pop("name")
    made = parser.instantiate(parsed)
    parts = {field.name: made[field.name] for field in fields(RunConfig) if field.name in made}
    return RunConfig(**parts)


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
    classes = {section: SECTIONS[section][name] for section, name in names.items()}
    classes |= {"weights": WeightSchedules, "training": TrainingConfig}
    known: dict[str, Any] = {"about": str, "seed": int, "recipe": str}
    known |= {f"{section}.name": str for section in SECTIONS}
    for section, cls in classes.items():
        known |= dict(_leaves(cls, section))
    return known


def _name_of(section: str, settings: Any) -> str:
    return next(name for name, cls in SECTIONS[section].items() if type(settings) is cls)


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
