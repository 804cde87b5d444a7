"""Tables of several runs, from the files that `zforcing evaluate` wrote into their folders."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files.strict_yaml import read_yaml
from ..saving.atomic import current, parse_json
from ..training.runs.config import parse_config
from ..training.runs.known import flatten
from ..training.runs.renamed import renamed
from .evaluation import Evaluation
from .paper import NOTHING_KNOWN, KnownData
from .saved import evaluation_file, is_of_other_weights, read_evaluation, read_mapping, split_name
from .validations import Validation, read_validations

ENVIRONMENT: dict[str, tuple[type, ...]] = {
    "processor": (str,),
    "device": (str,),
    "threads": (int,),
    "started": (str,),
    "command": (list,),
    "versions": (dict,),
}
OWN: dict[str, tuple[type, ...]] = {
    "run": (str,),
    "recipe": (str,),
    "seconds": (int, float),
    "cpu_seconds": (int, float),
    "updates": (int,),
    "epochs": (int,),
}
TRAINED = {"seconds": (int, float), "step": (int,), "epoch": (int,)}
NO_DIFFERENCE = {"seed", "about", "recipe", "data.root"} | {  # runs that differ only in these are averaged
    f"training.{name}"
    for name in ("threads", "backend", "evaluation_batch_size", "log_every", "checkpoint_every", "track")
}


@dataclass(frozen=True)
class ScoredData:
    """What an evaluation scored, in which units, as in `Evaluation`: where it differs, numbers can't be compared."""

    data: str
    split: str
    first_observation: str
    sample_rate: int | None
    normalization_std: float | None
    num_sequences: int
    num_skipped: int
    num_steps: int
    num_dims: int
    num_unknown: int | None
    data_fingerprint: str

    @classmethod
    def of(cls, evaluation: Evaluation) -> ScoredData:
        """Of this evaluation."""
        return cls(**{field.name: getattr(evaluation, field.name) for field in fields(cls)})


@dataclass(frozen=True)
class RunRow:
    """An evaluated run.

    evaluation:  of its best checkpoint
    seconds:     how long it trained, by the clock and (`cpu_seconds`) by the CPUs, 0 where a run of before doesn't say
    updates:     how many it took, in how many (whole) `epochs`
    environment: the machine and the versions, as `train` recorded them
    settings:    by dotted name, without the seed: runs with the same ones differ only by their seeds
    curve:       its validations, oldest first
    """

    run: str
    recipe: str
    evaluation: Evaluation
    seconds: float
    cpu_seconds: float
    updates: int
    epochs: int
    environment: dict[str, Any]
    settings: dict[str, Any]
    curve: tuple[Validation, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        own = {name: getattr(self, name) for name in OWN}
        rest = {"environment": self.environment, "settings": self.settings}
        return own | self.evaluation_to_json() | rest | {"curve": [one.to_json() for one in self.curve]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunRow:
        """The inverse of `to_json`. Raises UserError, or what Python raises, for other values."""
        of_run = _checked(values, OWN | {"environment": (dict,), "settings": (dict,)}, "it")
        environment = _checked(of_run["environment"], ENVIRONMENT, "its environment")
        curve = tuple(Validation.of(row) for row in values["curve"])
        own = {name: values[name] for name in OWN}
        evaluation = Evaluation.from_json(values)
        return cls(**own, evaluation=evaluation, environment=environment, settings=values["settings"], curve=curve)

    def evaluation_to_json(self) -> dict[str, Any]:
        """As its file has it."""
        return self.evaluation.to_json() | {"checkpoint": "best"}

    def cells(self) -> list[str]:
        """The row as text. Every number says what kind it is."""
        e = self.evaluation
        error = "" if e.standard_error is None else f" ± {e.standard_error:.2f}"
        kl = f"{e.kl_per_sequence:.2f}" if e.has_latents else "-"
        nats, bits = f"{e.nats_per_sequence:.2f}{error}", f"{e.bits_per_dim:.4f}"
        return [self.run, e.model, self.kind, nats, bits, kl, f"{self.seconds:.0f}"]

    @property
    def kind(self) -> str:
        """The kind of its number, with the bound where it says more."""
        return self.evaluation.short_kind


def read_rows(
    runs: Sequence[Path],
    *,
    split: str,
    bound: str,
    others: Mapping[Path, str] | None = None,
    known: KnownData = NOTHING_KNOWN,
) -> list[RunRow]:
    """One row a run.

    Args:
        runs: Run folders.
        split: train, valid or test.
        bound: As files name it (elbo, iwae25).
        others: Runs that another bound measures, and its name.
        known: What evaluations say of data that everybody has: such data may be read in steps of different sizes.

    Raises:
        UserError: One isn't evaluated yet, or they were measured on different things.
    """
    rows = [_read_row(run, split=split, bound=(others or {}).get(run, bound)) for run in runs]
    check_comparable(rows, known=known)
    return rows


def check_comparable(rows: Sequence[RunRow], *, known: KnownData = NOTHING_KNOWN) -> None:
    """Raises UserError for rows that were measured on different things. known: as in `read_rows`."""
    for row in rows[1:]:
        if _are_known_in_other_steps(rows[0].evaluation, row.evaluation, known):
            continue
        different = _differences(ScoredData.of(rows[0].evaluation), ScoredData.of(row.evaluation))
        if different:
            raise UserError(f"{rows[0].run} and {row.run} can't stand in one table: {different}")


def _are_known_in_other_steps(first: Evaluation, second: Evaluation, known: KnownData) -> bool:
    """Whether both scored all the known numbers, one as more steps than the other: images whole, and by pixels. Their
    fingerprints, which are of steps, differ then; their units can't, for the data's name says which they are.
    """
    by_steps = known.data is None or known.num_dims is None or first.num_steps == second.num_steps
    return not by_steps and not known.differences(first) and not known.differences(second)


def _differences(first: ScoredData, second: ScoredData) -> str:
    """In words; empty where there are none. That the fingerprint differs says nothing where something else does."""
    before, after = asdict(first), asdict(second)
    different = [name for name in before if before[name] != after[name]]
    named = [name for name in different if name != "data_fingerprint"] or different
    values = ", ".join(f"{name} {before[name]} and {after[name]}" for name in named)
    if named == ["data_fingerprint"]:
        return (
            f"they were measured on different sequences or in different units ({values}); give them the same data "
            "settings, or make two tables"
        )
    return values


def _read_row(run: Path, *, split: str, bound: str) -> RunRow:
    if not run.is_dir():
        raise UserError(f"no such run folder: {run}")
    command = f"run `{_evaluate_command(run, split=split, bound=bound)}`"
    path = evaluation_file(run, split=split, bound=bound)
    evaluation = read_evaluation(path, remedy=command)
    if is_of_other_weights(path):
        raise UserError(f"{path} is of weights that the run doesn't have any more: {command}")
    checkpoint, remedy = current(run / "checkpoints" / "last"), "restore a copy, or train the run again"
    trained = _read(checkpoint / "training.json", parse_json, TRAINED, remedy=remedy)
    environment = _read(run / "environment.json", parse_json, ENVIRONMENT, remedy=remedy)
    environment["command"] = _without_out(environment["command"])
    config = trained.get("settings")  # which have a digest
    if not isinstance(config, dict) or not isinstance(config.get("recipe"), str):
        config = _read(run / "config.yaml", _yaml, {"recipe": (str,)}, remedy=remedy)
    if isinstance(config.get("data"), dict):
        config["data"] = renamed(config["data"])
    settings = {name: value for name, value in flatten(_complete(config)).items() if name not in NO_DIFFERENCE}
    return RunRow(
        run=run.absolute().name,
        recipe=config["recipe"],
        evaluation=evaluation,
        seconds=trained["seconds"],
        cpu_seconds=trained.get("cpu_seconds", 0.0),
        updates=trained["step"],
        epochs=trained["epoch"],
        environment=environment,
        settings=settings,
        curve=read_validations(run),
    )


def _yaml(text: str) -> Any:
    return read_yaml(text, "it").value


def _without_out(command: Sequence[object]) -> list[str]:
    """A command that made a run but for where a page of it went: it says nothing of the run."""
    words, rest = [], iter(map(str, command))
    for word in rest:
        if word == "--out":
            next(rest, None)
        elif not word.startswith("--out="):
            words.append(word)
    return words


def _complete(config: dict[str, Any]) -> dict[str, Any]:
    """With the defaults of settings that there were not when the run was made."""
    try:
        return parse_config(config).to_dict()
    except UserError:
        return config


def _read(
    path: Path, parse: Callable[[str], Any], required: Mapping[str, tuple[type, ...]], *, remedy: str
) -> dict[str, Any]:
    """A mapping with at least the entries `required`, of these types. remedy: what to do about a file without them."""
    values = read_mapping(path, parse, remedy=remedy)
    try:
        return _checked(values, required, str(path))
    except UserError as error:
        raise UserError(f"{error}, it is damaged or of an older zforcing: {remedy}") from None


def _checked(given: Any, required: Mapping[str, tuple[type, ...]], where: str) -> dict[str, Any]:
    """A mapping that has the entries `required`, of these types."""
    values: dict[str, Any] = given if isinstance(given, dict) else {}
    wrong = [name for name, types in required.items() if not isinstance(values.get(name), types)]
    if wrong:
        raise UserError(f"{where} has no valid {', '.join(wrong)}")
    return values


def _evaluate_command(run: Path, *, split: str, bound: str) -> str:
    """What writes evaluation-SPLIT-BOUND.json."""
    name, particles = split_name(bound)
    words = ["zforcing", "evaluate", str(run), "--split", split, "--bound", name]
    return shlex.join([*words, *([] if particles is None else ["--particles", str(particles)])])
