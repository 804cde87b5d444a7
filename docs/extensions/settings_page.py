"""The page of the settings: dotted name, type, default and meaning, by section."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING

from markdown import described, plain, sentence

from zforcing.cli.index import read_index
from zforcing.cli.parser import shown
from zforcing.settings import Setting, in_words, setting_from_json
from zforcing.settings.check import ranges_of

INTRODUCTION = """---
tocdepth: 3
---

# Settings

A run has settings of its data set, its model, its bound, its player and its training. On the command line they are
options, `zforcing train RECIPE --training.epochs 20`; in a file they stand below their sections,
`training: {epochs: 20}`. Which there are depends on the four names (`data.name`, `model.name`, `bound.name`,
`player.name`); `zforcing train RECIPE --help-all` lists those of a recipe, with its values. What stands here are the
defaults where a recipe says nothing. Unknown names and values out of range are refused, in one line.
"""
ABOUT = {
    "run": "Of the run as a whole.",
    "training": "The optimizer and the loop.",
    "data": "Each data set has its own. A part's name is `data.name`.",
    "model": "Each model has its own: the fields of its `Config`. A part's name is `model.name`.",
    "bound": "What is maximized: the fields of the bound. A part's name is `bound.name`.",
    "player": "What trains beside the bound. A part's name is `player.name`.",
    "weights": "Weights of the loss's terms, as schedules over updates: each moves from `start` to `end` by `per_step` "
    "an update, and begins again every `period` updates. `--weights.kl 0.5` alone is a weight that stays. The KL has "
    "one with every model; the others are of a model's extra terms.",
}


def settings_page() -> str:
    """The page, as Markdown."""
    parts = {name: [setting_from_json(one) for one in part] for name, part in read_index().parts.items()}
    of_weights = weights(parts)
    sections = [text for section in ABOUT for text in section_text(section, {**parts, **of_weights})]
    return "\n".join([INTRODUCTION, *sections])


def weights(parts: Mapping[str, list[Setting]]) -> dict[str, list[Setting]]:
    """Those of the KL, which are the same for all models, and what a model has besides."""
    of_models = {name: part for name, part in parts.items() if name.startswith("weights ")}
    common = [one for one in next(iter(of_models.values())) if one.name.startswith("weights.kl.")]
    beside = {name: [one for one in part if one not in common] for name, part in of_models.items()}
    return {"weights": common, **beside}


def section_text(section: str, parts: Mapping[str, Sequence[Setting]]) -> Iterator[str]:
    """A section, and the parts below it that have settings."""
    yield f"## {section}\n\n{ABOUT[section]}\n"
    yield from entries(section, parts.get(section, []))
    for name, settings in parts.items():
        own = [one for one in settings if one.name != f"{section}.name"]
        if name.startswith(f"{section} ") and own:
            yield f"### {name}\n"
            yield from entries(name, own)
    bare = [name for name, part in parts.items() if name.startswith(f"{section} ") and not part[1:]]
    if bare and section != "weights":
        yield f"{', '.join(f'`{name}`' for name in bare)}: no settings.\n"


def entries(part: str, settings: Iterable[Setting]) -> Iterator[str]:
    """An entry for each setting."""
    yield f"```{{program}} {part}\n```\n"
    yield from (described(one.name, [sentence(one.about), type_of(one), default_of(one)]) for one in settings)


def type_of(setting: Setting) -> str:
    """What it takes, in words."""
    ranges = " and ".join(map(str, ranges_of(setting.hint)))
    return f"*{plain(in_words(setting.hint))}{f', {ranges}' if ranges else ''}*."


def default_of(setting: Setting) -> str:
    """Its default; a setting without one must be given."""
    if setting.default is MISSING:
        return "Must be given."
    return f"Default: `{shown(setting.default)}`." if setting.default not in ("", {}) else "Default: empty."
