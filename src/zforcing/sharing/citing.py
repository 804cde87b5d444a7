"""What is to be cited of a run: the software, and the papers of its model, its bounds, its data set and its player."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..bounds import BOUNDS, ELBO
from ..data import DATA, DataModule
from ..errors import UserError
from ..evaluation.saved import read_mapping, split_name
from ..registry import Family
from ..saving.atomic import parse_json
from ..training.players import PLAYERS
from ..training.runs.trained import Trained
from .bibtex import Work, entry, read_works, with_keys

AUTHORS = ("The zforcing developers",)
TITLE = "zforcing: stochastic recurrent networks, trained, measured and used"


@dataclass(frozen=True)
class Used:
    """A part of a run: what it is (model vrnn), and what is to be cited of it, or else why nothing is."""

    what: str
    works: tuple[Work, ...]
    nothing: str = ""


@dataclass(frozen=True)
class Citation:
    """The works of a run by key, each with what used it, and a line for each part that names none."""

    works: dict[str, Work]
    used_by: dict[str, list[str]]
    nothing: list[str]

    @classmethod
    def of(cls, used: list[Used]) -> Citation:
        """Each work once, whatever it is cited for."""
        once = {work.identity: work for part in reversed(used) for work in part.works}
        order = dict.fromkeys(work.identity for part in used for work in part.works)
        keyed = with_keys(once[identity] for identity in order)
        used_by = {
            key: [part.what for part in used if work.identity in {one.identity for one in part.works}]
            for key, work in keyed.items()
        }
        return cls(keyed, used_by, [f"{part.what}: {part.nothing}" for part in used if not part.works])

    def bibtex(self) -> str:
        """A file of BibTeX, which takes lines outside of entries for comments."""
        entries = [f"{comment(', '.join(self.used_by[key]))}\n{entry(key, work)}" for key, work in self.works.items()]
        return "\n\n".join([*entries, *(["\n".join(map(comment, self.nothing))] if self.nothing else [])])


def comment(line: str) -> str:
    """A line that begins no entry."""
    return "% " + " ".join(line.replace("@", "(at)").split())


def citation(trained: Trained, *, version: str) -> Citation:
    """What a run used, or a model that was saved alone, which says nothing of bounds and players.

    Args:
        trained: The run.
        version: Of this package, for a folder that doesn't say by which it was trained.

    Raises:
        UserError: A file of the run is damaged, or a class of the user's own has a `paper` that isn't text.
    """
    return Citation.of(
        [_software(trained.folder, version), _model(trained), *_bounds(trained), *_data(trained), *_player(trained)]
    )


def _software(run: Path, version: str) -> Used:
    path = run / "environment.json"
    versions = read_mapping(path, parse_json, remedy="restore or remove it").get("versions") if path.is_file() else None
    known = versions.get("zforcing") if isinstance(versions, dict) else None
    fields = {"title": TITLE, "note": f"Software, version {known or version}"}
    return Used("the software", (Work("misc", AUTHORS, fields),))


def _model(trained: Trained) -> Used:
    return _used("the model", trained.model.name, type(trained.model))


def _bounds(trained: Trained) -> Iterator[Used]:
    """What trained the run, and what it was measured by."""
    files = sorted(trained.folder.glob("evaluation-*.json"))
    measured = [read_mapping(path, parse_json, remedy="evaluate again, or remove it").get("bound") for path in files]
    names = [] if trained.config is None else [trained.config.bound.name]
    names += [split_name(name)[0] for name in measured if isinstance(name, str)]
    yield from (_of_family("the bound", name, BOUNDS) for name in dict.fromkeys(names) if name != ELBO.name)


def _data(trained: Trained) -> Iterator[Used]:
    """Its data set; a model in memory may have been trained on data that has none."""
    name = trained.description.name
    if trained.config is not None:
        yield _used("the data set", name, type(trained.config.data))
    elif name:
        yield _of_family("the data set", name, DATA)


def _player(trained: Trained) -> Iterator[Used]:
    if trained.config is not None and trained.config.player is not None:
        yield _of_family("the player", trained.config.player.name, PLAYERS)


def _of_family(kind: str, name: str, family: Family[Any]) -> Used:
    return _used(kind, name, family[name]) if name in family else Used(f"{kind} {name}", (), "isn't known here")


def _used(kind: str, name: str, cls: type[Any]) -> Used:
    """A part by its class, which says what to cite."""
    paper = getattr(cls, "paper", "")
    if not isinstance(paper, str):
        raise UserError(
            f"{cls.__name__}.paper is a {type(paper).__name__}; it must be text, such as 'A. Author, \"Title\", 2020'"
        )
    return Used(f"{kind} {name}", tuple(read_works(paper)), why_nothing(cls))


def why_nothing(cls: type[Any]) -> str:
    """What to say of a class without a paper."""
    if not f"{cls.__module__}.".startswith("zforcing."):
        return f"it is your own, and {cls.__name__}.paper names nothing to cite"
    files = issubclass(cls, DataModule) and any(field.name in cls.paths for field in fields(cls))  # type: ignore[arg-type]  # they are dataclasses
    return "it reads files that it knows no source of: cite where they come from" if files else "nothing to cite"
