"""`share`: a model, or the model of a run, as a folder that can be handed over."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError

from ..data import SequenceDataset
from ..errors import UserError
from ..evaluation.evaluation import Evaluation
from ..files.paths import user_path
from ..files.writing import hidden_folder
from ..models import DensityModel
from ..saving.atomic import Writing, write_text
from ..saving.model import FILES, HUB_NAME, WEIGHTS, write_model
from ..settings import must_be
from ..training.runs.trained import Trained
from .card import card, kept_of_data
from .facts import Facts, facts_of_run, with_more

CARD = "README.md"
SHARED = (CARD, *FILES)  # all that such a folder holds
LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")  # as the Hub writes them


@dataclass(frozen=True)
class Shared:
    """A folder that was made to be handed over.

    Attributes:
        folder: Where it is.
        files: Its files' names.
        size: Of all of them, in bytes.
        holds: What of the training data is in it, besides what the weights have learnt.
    """

    folder: Path
    files: tuple[str, ...]
    size: int
    holds: tuple[str, ...]


def share(
    source: str | Path | DensityModel,
    folder: str | Path,
    *,
    which: str = "best",
    license_id: str = "unknown",
    repo: str | None = None,
    data: SequenceDataset | None = None,
    evaluations: Iterable[Evaluation] = (),
    overwrite: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Shared:
    """Make a folder with what is needed to use a model, and a model card; nothing else of the run and its machine.

    The weights (safetensors), their config.json and README.md; of a model that conditions on the first observation
    those of some training sequences too. No data, no optimizer, no paths, nothing that is unpickled.

    Args:
        source: A run folder, the name of one in runs/, a folder that `save` wrote, or a model.
        folder: What is made.
        which: Checkpoint of a run: "best" (on the validation split) or "last".
        license_id: The model's licence, by the Hub's name for it (apache-2.0, cc-by-4.0); unknown if nobody says it.
        repo: user/name, if it goes to the Hugging Face Hub.
        data: The training data, to be counted on the card; that of a run is found by itself, where it still is.
        evaluations: What `evaluate` measured, for the card; those in a run's folder are there by themselves.
        overwrite: Whether to replace what an earlier `share` made there, also a card that was edited.
        say: Called with a line where the card lacks something.

    Returns:
        What was made.

    Raises:
        UserError: There is no such run or model, the folder isn't free, or it can't be written.

    Example:
        zf.share("runs/mine", "mine", license_id="cc-by-4.0")
        model = zf.load("mine")
    """
    must_be(folder, (str, Path), "folder", "a folder's name: share(run, folder)")
    place = user_path(str(folder), str(folder)).resolve()
    check_names(license_id=license_id, repo=repo)
    _check_free(place, overwrite=overwrite)
    found = _facts_of(source, which=which, count=data is None, say=say)
    if isinstance(source, DensityModel):
        found = replace(found, name=place.name)
    facts = with_more(found, data=data, evaluations=evaluations, name=repo and repo.rpartition("/")[2])
    named = facts.name if repo else place.name
    _write(facts, place, card(facts, folder=named, license_id=license_id, repo=repo))
    files = tuple(sorted(path.name for path in place.iterdir()))
    size = sum((place / name).stat().st_size for name in files)
    return Shared(place, files, size, tuple(kept_of_data(facts)))


def check_names(*, license_id: str, repo: str | None) -> None:
    """Raise UserError about a licence or a name of the Hub that can't be one."""
    if not LICENSE.fullmatch(license_id):
        raise UserError(f"license_id is {license_id!r}; it must be written as the Hub does: apache-2.0, mit, cc-by-4.0")
    if repo is not None and not HUB_NAME.fullmatch(repo):
        raise UserError(f"{repo!r} is no name on the Hub; it must be user/name")


def _check_free(place: Path, *, overwrite: bool) -> None:
    """Raise UserError where something stands that isn't to be replaced."""
    if place.exists() and not place.is_dir():
        raise UserError(f"{place} is a file; name a folder")
    there = sorted(path.name for path in place.iterdir()) if place.is_dir() else []
    others = [name for name in there if name not in SHARED]
    if others:
        raise UserError(f"{place} holds other files ({', '.join(others[:4])}): name a folder of its own")
    if there and not overwrite:
        raise UserError(f"{place} exists already: name another folder, or replace it (overwrite), also its {CARD}")


def is_shared(source: str | Path | DensityModel) -> bool:
    """Whether it is a folder that `share` made."""
    names = (CARD, "config.json", WEIGHTS)
    return isinstance(source, str | Path) and all((Path(source).expanduser() / name).is_file() for name in names)


def _facts_of(source: str | Path | DensityModel, *, which: str, count: bool, say: Callable[[str], None]) -> Facts:
    if is_shared(source):
        raise UserError(f"{source} is a folder that share made, and has a {CARD} already: copy it as it stands")
    if isinstance(source, str | Path):
        return facts_of_run(Trained.load(str(source), which=which), which=which, count=count, say=say)
    must_be(source, DensityModel, "source", "a run folder or a model")
    if source.description is None:
        raise UserError(f"this {source.name} has no description of its data: make it with for_data")
    return Facts("model", source, source.description)


def _write(facts: Facts, place: Path, text: str) -> None:
    """The whole folder, or nothing of it."""
    facts.model.description = facts.description  # of an old run's table with the columns that its settings name
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with hidden_folder(place.parent) as room, Writing(place, edited=[CARD], room=room) as temporary:
            write_model(temporary, facts.model)
            write_text(temporary / CARD, text)
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"can't write {place}: {why}; name another folder") from error
