"""`zforcing recipes`. It imports no torch."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from ..errors import UserError
from ..files.json_text import json_text
from ..training.runs.recipes import GROUPS, Recipe, listed
from .parser import Parser


def recipes(argv: Sequence[str]) -> int:
    """List the recipes, or those of a group or with some words: zforcing recipes [WORD ...].

    A recipe is listed where each word is its group, or in its name, its data set's, its model's, or in what it is
    about, whether with hyphens or without: zforcing recipes speech; zforcing recipes music z-forcing.
    """
    parser = Parser("zforcing recipes", description=recipes.__doc__)
    parser.add_argument("words", type=str, nargs="*", default=[], help=f"groups are {', '.join(GROUPS)}")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(list(argv))
    found = chosen(listed(), options.words)
    if options.json:
        print(json_text({name: {"group": one.group, "about": one.about} for name, one in found.items()}))
    else:
        print("\n".join(lines_of(found)))
    return 0


def chosen(known: Mapping[str, Recipe], words: Sequence[str]) -> dict[str, Recipe]:
    """The recipes that have all words. Raises UserError where none has."""
    group = " ".join(words).lower()
    if group in GROUPS:
        return {name: one for name, one in known.items() if one.group == group}
    found = {name: one for name, one in known.items() if all(has(name, one, word) for word in words)}
    if found:
        return found
    terms = {*GROUPS, *(part for name in known for part in name.split("-"))}
    close = difflib.get_close_matches(group, sorted(terms), n=1, cutoff=0.6)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise UserError(f"no recipe has {' '.join(map(repr, words))}{hint}; groups are {', '.join(GROUPS)}")


def has(name: str, recipe: Recipe, word: str) -> bool:
    """Whether a recipe has a word, hyphens and the like apart."""
    if word.lower() in GROUPS:
        return recipe.group == word.lower()
    return any(plain(word) in plain(text) for text in (name, recipe.group, recipe.data, recipe.model, recipe.about))


def plain(text: str) -> str:
    """In small letters, and letters and digits alone."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def lines_of(found: Mapping[str, Recipe]) -> Iterable[str]:
    """A line for each recipe, under the name of its group."""
    width = max(map(len, found))
    by_group = sorted(found.items(), key=lambda pair: GROUPS.index(pair[1].group))  # stable: names stay in order
    for i, (group, of_group) in enumerate(groupby(by_group, key=lambda pair: pair[1].group)):
        yield from [""] * (i > 0)
        yield group
        yield from (f"  {name:{width}s}  {one.about}" for name, one in of_group)
