"""What a model card is made of, gathered from a model, its run and its evaluations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ..data import SequenceDataset
from ..data.read_line import read_line
from ..data.splits import SPLITS
from ..errors import UserError
from ..evaluation.evaluation import Evaluation
from ..evaluation.saved import is_of_other_weights, read_evaluation, read_mapping
from ..files.paths import refuse_special
from ..models import DensityModel
from ..observations import DataDescription
from ..saving.atomic import parse_json
from ..saving.model import find_checkpoint
from ..training.runs.checkpoint import check_same_data, read_progress
from ..training.runs.config import RunConfig
from ..training.runs.trained import Trained
from .places import public, without_places

OF_FILE = re.compile(r"evaluation-\w+-[0-9a-f]{8}-")  # no split's: that of a file or folder has a hash in its name
COUNTED = 100_000_000  # numbers of a split, above which reading them all for a fingerprint takes minutes


@dataclass(frozen=True)
class Facts:
    """What is known of a model.

    name:        what the card calls it
    model, description: the model, and what its numbers stand for
    about:       a line on what it is; may be empty
    settings:    of the run, as a recipe is written, without paths; None where there was no run
    training:    how it was trained, a line each
    data:        what it was trained on, a line each
    evaluations: how well it explains data
    """

    name: str
    model: DensityModel
    description: DataDescription
    about: str = ""
    settings: Mapping[str, Any] | None = None
    training: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    evaluations: tuple[Evaluation, ...] = field(default=())


def facts_of_run(trained: Trained, *, which: str, count: bool, say: Callable[[str], None]) -> Facts:
    """Of the checkpoint of a run, or of a folder that holds a model alone.

    Args:
        trained: The run.
        which: Its checkpoint: best or last.
        count: Whether to read the training data, where it is still there, to count it and to take its fingerprint.
        say: Called with a line where that can't be done, and about evaluations of other weights, which are left out.

    Raises:
        UserError: A file of the run is damaged.
    """
    known = Facts(trained.folder.resolve().name, trained.model, trained.description)
    if trained.config is None:
        return known
    return replace(
        known,
        about=without_places(trained.config.about),
        settings=public(trained.config.to_dict()),
        training=training_lines(trained.folder, trained.config, which=which),
        data=counted_lines(trained, trained.config, say) if count else (),
        evaluations=tuple(evaluations_in(trained.folder, which=which, say=say)),
    )


def training_lines(run: Path, config: RunConfig, *, which: str) -> tuple[str, ...]:
    """How long a run was trained, why it ended, what it was chosen by, and with which versions."""
    if not all((find_checkpoint(run, which=one) / "training.json").is_file() for one in (which, "last")):
        return tuple(_environment(run))  # a run whose training can't go on may still be used
    at = read_progress(find_checkpoint(run, which=which))
    end = read_progress(find_checkpoint(run, which="last"))
    lines = [f"{at.step} updates ({at.epoch} whole epochs) to this checkpoint, which is the {which} one"]
    lines.append(f"{end.step} updates in all, in {end.seconds:.0f} s{_ended(end.finished)}")
    kind = _kind_of_validation(run)
    if kind is not None and end.best_epoch >= 0:
        lines.append(
            f"best validation: {end.best:.2f} nats per sequence ({kind}, {config.bound.name}) after {end.best_epoch} "
            "epochs; the best checkpoint was chosen by it"
        )
    return (*lines, *_environment(run))


def _ended(reason: str) -> str:
    return f" (ended by: {reason})" if reason else ""


def _kind_of_validation(run: Path) -> str | None:
    """exact, lower bound or estimate; None where the rows of metrics aren't there."""
    rows = run / "metrics.jsonl"
    try:
        refuse_special(rows, str(rows))
        lines = rows.read_text("utf-8").splitlines()
        kinds = [parse_json(line).get("kind") for line in lines if '"validation"' in line]
    except (OSError, ValueError, AttributeError):
        return None
    return kinds[-1] if kinds and isinstance(kinds[-1], str) else None


def _environment(run: Path) -> list[str]:
    """The versions and the device; the file also has a command with paths, which is nobody else's."""
    path = run / "environment.json"
    if not path.is_file():
        return []
    values = read_mapping(path, parse_json, remedy="restore or remove it")
    versions = values.get("versions")
    named = [f"{name} {version}" for name, version in versions.items()] if isinstance(versions, dict) else []
    return [without_places(f"on {values.get('device')}, with {', '.join(named)}")]


def counted_lines(trained: Trained, config: RunConfig, say: Callable[[str], None]) -> tuple[str, ...]:
    """What a run was trained and validated on, counted; nothing where it isn't there as it was."""
    try:
        check_same_data(find_checkpoint(trained.folder), config.data.describe())
        splits = {name: config.data.load(name, trained.description) for name in ("train", "valid")}
        return tuple(line for name, data in splits.items() for line in data_lines(name, data))
    except (UserError, OSError) as error:  # OSError: of a data set of one's own
        say(f"the training data isn't counted on the card: {error}")
        return ()


def data_lines(name: str, data: SequenceDataset) -> list[str]:
    """How many sequences and steps of what a split has, in which units, and the fingerprint of its numbers."""
    size = 1 if data.description is None else data.description.spec.size
    lines = [read_line(name, data)]
    if int(data.lengths.sum()) * size <= COUNTED:
        lines[0] += f"; fingerprint {data.fingerprint()}"
    return [without_places(line) for line in [*lines, *([data.remark] if data.remark else [])]]


def evaluations_in(run: Path, *, which: str, say: Callable[[str], None]) -> Iterable[Evaluation]:
    """Those of a checkpoint, as it is now, on the run's own splits, by their files' names.

    Args:
        run: Its folder.
        which: The checkpoint.
        say: Called with a line about one of weights that the checkpoint had before, which is left out.

    Raises:
        UserError: A file is damaged.
    """
    for split in SPLITS:
        for path in sorted(run.glob(f"evaluation-{split}-*.json")):
            remedy = "evaluate again, or remove it"
            found = read_evaluation(path, remedy=remedy)
            of = read_mapping(path, parse_json, remedy=remedy).get("checkpoint")
            if of != which or found.split != split or OF_FILE.match(path.name):
                continue
            if is_of_other_weights(path):
                say(f"{path} isn't on the card: it is of weights that the run doesn't have any more; {remedy}")
                continue
            yield found


def with_more(
    facts: Facts, *, data: SequenceDataset | None, evaluations: Iterable[Evaluation], name: str | None
) -> Facts:
    """The facts with the training data, evaluations and another name that somebody has at hand."""
    lines = facts.data if data is None else tuple(data_lines("train", data))
    return replace(facts, data=lines, evaluations=(*facts.evaluations, *evaluations), name=name or facts.name)


def as_yaml_block(values: Mapping[str, Any]) -> str:
    """As a recipe is written, with long lists counted."""
    return yaml.safe_dump(_shortened(values), sort_keys=False, width=100, allow_unicode=True).strip()


def _shortened(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {name: _shortened(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        few = [_shortened(value) for value in values[:8]]
        return few if len(values) <= 8 else [*few, f"... {len(values)} in all"]
    return values
