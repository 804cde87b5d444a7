"""The page of the recipes: what each is about, where its number comes from, and how it departs from there."""

from __future__ import annotations

from collections.abc import Iterator

from markdown import plain, sentence

from zforcing.training.runs.recipes import GROUPS, Facts, Recipe, listed, read_facts

INTRODUCTION = """---
tocdepth: 2
---

# Recipes

A recipe is a run's settings by name: `zforcing train NAME` trains it, `zforcing train NAME --print-config` shows its
settings, and each of them is an option (see [Settings](settings.md)). `zforcing recipes` lists them,
`zforcing recipes WORD` those of a group or with a word. A YAML file of your own may begin with `base: NAME`.
"""


def recipes_page() -> str:
    """The page, as Markdown."""
    return "\n".join([INTRODUCTION, *(text for group in GROUPS for text in group_text(group))])


def group_text(group: str) -> Iterator[str]:
    """A group, and each recipe of it."""
    yield f"## {group.capitalize()}\n"
    for name, recipe in listed().items():
        if recipe.group == group:
            yield from recipe_text(name, recipe, read_facts(name))


def recipe_text(name: str, recipe: Recipe, facts: Facts) -> Iterator[str]:
    """A recipe."""
    yield f"### {name}\n\n{sentence(recipe.about)}\n"
    data, model = (
        f"[`{kind} {one}`](settings.md#{kind}-{one})" for kind, one in (("data", recipe.data), ("model", recipe.model))
    )
    yield f"- Settings: {data}, {model}"
    if facts.source:
        yield f"- Source: {plain(facts.source)}"
    if facts.published:
        one = facts.published
        yield f"- Published: {one.value} {plain(one.unit)}, {one.kind} ({plain(one.protocol)})"
    if facts.protocol:
        yield f"- Protocol: {plain(facts.protocol)}"
    if facts.departures:
        yield "- Departures:"
        yield from (f"  - {plain(line)}" for line in facts.departures)
    yield ""
