"""The page: sections of several runs, as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from .blocks import Section
from .charts import COLOURS
from .sections import SECTIONS
from .subject import Subject

LIGHT, DARK = COLOURS, ("#5cb8ee", "#f0a830", "#3fcf9f", "#e59ac4", "#d8c25a", "#c8c8c8")


def page(subjects: Sequence[Subject], *, command: str, progress: Callable[[int], None] = lambda done: None) -> str:
    """The HTML of the runs, side by side.

    Args:
        subjects: The runs.
        command: That made it, for its foot.
        progress: Called after each section with 1.
    """
    sections = []
    for make in SECTIONS:
        sections.append(make(subjects))
        progress(1)
    return html(sections, title=", ".join(subject.name for subject in subjects), command=command)


def html(sections: Sequence[Section], *, title: str, command: str) -> str:
    """Sections by the template. All text is escaped; drawings alone are markup, which `charts` makes."""
    source = (files("zforcing.report") / "page.html").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(source)
    colours = {"light": _variables(LIGHT), "dark": _variables(DARK)}
    return template.render(sections=sections, title=title, command=command, colours=colours, markup=Markup)


def _variables(colours: Sequence[str]) -> str:
    return " ".join(f"--line-{i}: {colour};" for i, colour in enumerate(colours))
