"""Recipes: a run's settings in a YAML file, one published or house result each, shipped inside the package.

A recipe may have a base (`base: NAME`, or a file in its folder, or a list of them, each overriding the one before): its
own settings override the base's, a schedule (`weights.kl`) as a whole. Besides settings it has facts: `group` (under
which it is listed), `source`, `published` (the number and what it is), `protocol` and `departures`, which are appended
to the base's, as are its `imports` (the Python files or modules that register what it names; files are relative to the
recipe's folder). Paths of data are relative to the folder that a command runs in, unless `paths_from` names another
(`.`: the recipe's own). Files whose names begin with an underscore are only bases.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...files.paths import user_path
from ...files.strict_yaml import Document, read_yaml
from ...registry import is_file
from .paths import found_from
from .renamed import renamed

FACTS = ("source", "published", "protocol", "departures", "group")
GROUPS = ("your own", "speech", "music", "images", "text", "known likelihood")  # in which `zforcing recipes` lists them
KINDS = ("exact", "lower bound", "estimate")
LARGEST = 1_000_000  # bytes of a recipe's file
MOST_HINTS = 4  # known words that a hint names


@dataclass(frozen=True)
class Published:
    """A number of a paper. value: log p(x) in nats, as printed; kind: "exact", "lower bound" or "estimate"; protocol:
    in a few words, what tells it from other numbers on this data that it can't be compared with.
    """

    value: float
    kind: str
    unit: str
    protocol: str


@dataclass(frozen=True)
class Facts:
    """The facts of a recipe: what it says besides its settings.

    source:     the paper, and what of it
    published:  its number, if there is one
    protocol:   what was scored, how
    departures: how the recipe differs from the source
    """

    source: str = ""
    published: Published | None = None
    protocol: str = ""
    departures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """A recipe in a list. about: one line; data, model: their names; group: one of GROUPS."""

    group: str
    about: str
    data: str
    model: str


def names() -> list[str]:
    """The names of the recipes inside the package."""
    files = sorted(file.name for file in _folder().iterdir())
    return [name.removesuffix(".yaml") for name in files if name.endswith(".yaml") and not name.startswith("_")]


def listed() -> dict[str, Recipe]:
    """The recipes inside the package."""
    resolved = {name: _resolved(name) for name in names()}
    return {
        name: Recipe(of["group"], of["about"], of["data"]["name"], of["model"]["name"]) for name, of in resolved.items()
    }


def recipes() -> dict[str, str]:
    """The recipes inside the package: name -> what it is about."""
    return {name: recipe.about for name, recipe in listed().items()}


def read_recipe(name_or_file: str) -> dict[str, Any]:
    """A recipe's settings, by its name or from a file. Raises UserError when there is none, or it is no mapping."""
    return {key: value for key, value in _resolved(name_or_file).items() if key not in FACTS}


def recipe_lines(name_or_file: str) -> dict[str, int]:
    """The line of each dotted name in a recipe's own file (not in its bases'), for messages."""
    path = user_path(name_or_file, name_or_file)
    return _parsed(path.read_text("utf-8"), name_or_file).lines if path.is_file() else {}


def read_facts(name_or_file: str) -> Facts:
    """Read a recipe's facts. Raises UserError where they aren't valid."""
    facts = {key: value for key, value in _resolved(name_or_file).items() if key in FACTS}
    published, departures = facts.get("published"), facts.get("departures") or []
    if not (isinstance(departures, list) and all(isinstance(line, str) for line in departures)):
        raise UserError(
            f"{name_or_file}: departures is {departures!r}; it must be a list of texts (quote those with ': ')"
        )
    if isinstance(published, dict) and published.get("kind") not in KINDS:
        raise UserError(f"{name_or_file}: published.kind is {published.get('kind')!r}; it is one of {', '.join(KINDS)}")
    try:
        return Facts(
            source=" ".join(str(facts.get("source", "")).split()),
            published=None if published is None else Published(**published),
            protocol=" ".join(str(facts.get("protocol", "")).split()),
            departures=tuple(" ".join(str(line).split()) for line in departures),
        )
    except TypeError as error:
        raise UserError(f"{name_or_file}: published needs value, kind, unit and protocol: {error}") from None


def suggest(word: str, known: Iterable[str], *, prefix: str = "") -> str:
    """A hint for an unknown word: the settings below it, or the known words that may be meant; "" without one.

    prefix: what stands before a known word where it is written, such as "--".
    """
    below = {".".join(key.split(".")[: word.count(".") + 2]) for key in known if key.startswith(f"{word}.")}
    if below:
        return f" (it has {', '.join(sorted(below))})"
    meant = [f"{prefix}{key}" for key in alike(word, list(known))]
    return f" (did you mean {' or '.join(meant)}?)" if meant else ""


def alike(word: str, known: Sequence[str]) -> list[str]:
    """The known words that may be meant: those that end in its last part, or the most similar one, by that part too."""
    last = _last_part(word)
    ends = [key for key in known if _last_part(key) == last]
    if ends:
        return ends[:MOST_HINTS]
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    parts = {_last_part(key): key for key in reversed(known) if "." in key}
    return near or [parts[part] for part in difflib.get_close_matches(last, parts, n=1, cutoff=0.75)]


def _last_part(name: str) -> str:
    return name.rpartition(".")[2].replace("-", "_")


def one_line(error: BaseException) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split())


def _folder() -> Traversable:
    return resources.files("zforcing.training.runs") / "recipes"


def _resolved(name_or_file: str, derived: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A recipe's content merged over that of its bases. derived: the recipes that it is a base of, by file or name."""
    derived = derived or {}
    where = user_path(name_or_file, name_or_file)
    this = str(where.resolve()) if where.is_file() else name_or_file
    if this in derived:
        chain = [*derived.values(), name_or_file]
        raise UserError(f"recipe {chain[0]} is its own base: {' -> '.join(chain)}")
    name, values = _read(name_or_file)
    base = values.pop("base", [])
    merged: dict[str, Any] = {}
    for one in [base] if isinstance(base, str) else base if isinstance(base, list) else [base]:
        if not isinstance(one, str):
            raise UserError(
                f"{name_or_file}: base is {one!r}; it must be the name of a recipe, a file, or a list of them"
            )
        file = where.parent / user_path(one, f"{name_or_file}: base {one}")
        settings = _resolved(str(file) if file.is_file() else one, {**derived, this: name_or_file})
        del settings["recipe"]
        merged = merge_settings(merged, settings)
    return {"recipe": name} | merge_settings(merged, values)  # a run's config.yaml names the recipe that it came from


def merge_settings(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the settings of `override` over those of `base`.

    A section with another name, a schedule and a fact replace the base's as a whole; departures and imports are
    appended to the base's.
    """
    merged = dict(base)
    for key, value in override.items():
        below = merged.get(key)
        if key not in FACTS and isinstance(below, Mapping) and isinstance(value, Mapping):
            same = value.get("name", below.get("name")) == below.get("name")
            merged[key] = {**below, **value} if same else value
        elif key in ("departures", "imports") and isinstance(below, list) and isinstance(value, list):
            merged[key] = below + [line for line in value if line not in below]
        else:
            merged[key] = value
    return merged


def _read(name_or_file: str) -> tuple[str, dict[str, Any]]:
    """The name and the content of a recipe of the package, or of a file."""
    known = _folder() / f"{name_or_file}.yaml"
    looks_like_file = name_or_file.endswith((".yaml", ".yml")) or "/" in name_or_file
    if not looks_like_file and known.is_file():
        return name_or_file, _mapping(known.read_text("utf-8"), name_or_file)
    path = user_path(name_or_file, name_or_file)
    if path.is_file():
        try:
            text = _text(path, name_or_file)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{name_or_file} can't be read as a recipe: {one_line(error)}") from None
        values = _mapping(text, name_or_file)
        if isinstance(values.get("data"), dict):
            values["data"] = renamed(values["data"])
        values = found_from(path.parent, values, where=name_or_file)
        return path.stem, with_absolute_imports(path, values)
    if looks_like_file:
        raise UserError(f"no such recipe file: {name_or_file}")
    hint = suggest(name_or_file, names())
    raise UserError(f"unknown recipe {name_or_file!r}{hint}; `zforcing recipes` lists them, or name a YAML file")


def _text(path: Path, name: str) -> str:
    """What a recipe's file holds. Raises UserError where it is no recipe's size: PyYAML takes minutes for megabytes."""
    if path.stat().st_size > LARGEST:
        raise UserError(f"{name} is larger than {LARGEST} bytes: it is no recipe")
    return path.read_text("utf-8")


def with_absolute_imports(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The recipe in `path` with absolute paths of the files it imports, so that a run finds them from any folder."""
    imports = values.get("imports")
    if not isinstance(imports, list):
        return values
    return values | {"imports": [absolute_path(one, path.parent) if isinstance(one, str) else one for one in imports]}


def absolute_path(source: str, folder: Path) -> str:
    """The absolute path of a file to import; the name of a module unchanged."""
    return str((folder / Path(source).expanduser()).resolve()) if is_file(source) else source


@cache
def _parsed(text: str, name: str) -> Document:
    """Cached: a few files are read again and again. Copy the value before changing it."""
    return read_yaml(text, name)


def _mapping(text: str, name: str) -> dict[str, Any]:
    document = _parsed(text, name)
    values = copy.deepcopy(document.value)
    if not isinstance(values, dict):
        raise UserError(f"{name} is not a recipe: it must be a YAML mapping with data, model and training")
    _refuse_dotted(values, document.lines, name)
    return values


def _refuse_dotted(values: Mapping[Any, Any], lines: Mapping[str, int], name: str) -> None:
    """Dotted names are for the command line: in a file, one setting could stand both so and below its section. What a
    setting itself maps from (`data.kinds`: names of columns) may have dots.
    """
    sections = {"": values} | {f"{key}.": value for key, value in values.items() if isinstance(value, Mapping)}
    for section, settings in sections.items():
        for key in settings:
            if isinstance(key, str) and "." in key:
                whole, (first, _, rest) = f"{section}{key}", key.partition(".")
                at = f"{name}, line {lines[whole]}" if whole in lines else name
                raise UserError(f"{at}: {whole} is written with a dot; write {first}: {{{rest}: ...}}")
