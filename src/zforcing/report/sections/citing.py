"""What to cite."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import UserError
from ...sharing.card import SOFTWARE
from ...training.runs.recipes import Facts, read_facts, recipes
from ..blocks import Line, Part, Section
from ..subject import Subject


def citing(subjects: Sequence[Subject]) -> Section:
    """The papers of the models and recipes, each once, and the software."""
    lines = dict.fromkeys(line for subject in subjects for line in _of(subject))
    return Section("What to cite", "", [Part("", [Line(line) for line in [*lines, SOFTWARE]])])


def _of(subject: Subject) -> list[str]:
    facts = _facts("" if subject.trained.config is None else subject.trained.config.recipe)
    source = (
        f"Recipe {subject.trained.config.recipe}: {facts.source}" if subject.trained.config and facts.source else ""
    )
    departures = [f"It departs from its source: {line}" for line in facts.departures]
    return [line for line in (subject.model.paper, source, *departures) if line]


def _facts(recipe: str) -> Facts:
    """Of a recipe of the package; of a run of another none."""
    if recipe not in recipes():
        return Facts()
    try:
        return read_facts(recipe)
    except UserError:
        return Facts()
