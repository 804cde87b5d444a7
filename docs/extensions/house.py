"""The house drawn: `{house}` is a picture of the rooms and who imports whom, `{rooms}` a table of what is in each.

Both are made from the code when the site is built. The arrows are those of the imports, but for the ones that others
imply. A room stands right under the lowest room that imports it, and rows are ordered so that few arrows cross
(Sugiyama's method: layers, then each room at the mean place of its neighbours, some times up and down).
"""

from __future__ import annotations

import ast
import re
from html import escape
from itertools import pairwise
from statistics import mean
from typing import TYPE_CHECKING, Any, NamedTuple

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from rooms import FILES, ROOMS, arrows, reduced

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOORS = ("", "__main__")  # ways into the house, not rooms of it
WIDTH, HEIGHT, GAP, RISE = 90, 26, 8, 54  # of a box, between two, and from storey to storey, in pixels
BEND = 14  # what an arrow that only passes a storey takes of its row
SWEEPS = 24


class Graph(NamedTuple):
    """Rooms, and points at which long arrows pass a storey: of each the storey, and what its arrows lead to."""

    storey: dict[str, int]
    down: dict[str, list[str]]

    @property
    def rows(self) -> list[list[str]]:
        """What is on each storey, the lowest first."""
        return [
            [one for one, at in self.storey.items() if at == level] for level in range(max(self.storey.values()) + 1)
        ]


def graph_of(edges: dict[str, set[str]]) -> Graph:
    """Rooms by storey, with a point on each storey that an arrow passes."""
    storey = storeys(edges)
    down: dict[str, list[str]] = {one: [] for one in edges}
    for one, others in edges.items():
        for other in sorted(others, key=ROOMS.index):
            above = one
            for level in range(storey[one] - 1, storey[other], -1):
                point = f"{one}>{other}@{level}"
                storey[point], down[point] = level, []
                down[above].append(point)
                above = point
            down[above].append(other)
    return Graph(storey, down)


def storeys(edges: dict[str, set[str]]) -> dict[str, int]:
    """Of each room the storey, 0 or more, as high as those that import it allow."""
    below: dict[str, int] = {}
    for one in reversed(edges):  # in the order of imports: what imports a room stands behind it
        below[one] = 1 + max((below[other] for other in edges if one in edges[other]), default=-1)
    return {one: max(below.values()) - below[one] for one in edges}


def places(graph: Graph) -> dict[str, float]:
    """Where each stands in its row: its middle, in pixels from the left."""
    up: dict[str, list[str]] = {one: [] for one in graph.down}
    for one, others in graph.down.items():
        for other in others:
            up[other].append(one)
    x = {one: at for row in graph.rows for one, at in zip(row, spread([0.0] * len(row), row), strict=True)}
    for sweep in range(SWEEPS):
        rows, near = (graph.rows, graph.down) if sweep % 2 == 0 else (graph.rows[::-1], up)
        for row in rows:
            wanted = {one: mean([x[other] for other in near[one]] or [x[one]]) for one in row}
            row = sorted(row, key=lambda one: (wanted[one], x[one]))
            x |= zip(row, spread([wanted[one] for one in row], row), strict=True)
    left = min(x[one] - room_for(one) / 2 for one in x)
    return {one: at - left + 1 for one, at in x.items()}


def room_for(one: str) -> float:
    """The width that a room or a point takes of its row."""
    return WIDTH if one in ROOMS else BEND


def spread(wanted: list[float], row: list[str]) -> list[float]:
    """Places in this order, as near to the wanted ones as is possible: boxes that would touch move as one."""
    steps = [(room_for(a) + room_for(b)) / 2 + GAP for a, b in pairwise(row)]
    offsets = [sum(steps[:i]) for i in range(len(row))]
    runs: list[list[float]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        runs.append([want - offset])
        while len(runs) > 1 and mean(runs[-2]) > mean(runs[-1]):
            runs[-2:] = [runs[-2] + runs[-1]]
    shifts = [mean(run) for run in runs for _ in run]
    return [shift + offset for shift, offset in zip(shifts, offsets, strict=True)]


def picture(edges: dict[str, set[str]]) -> str:
    """The house as SVG, in the colours of the page."""
    graph = graph_of(edges)
    x, top = places(graph), max(graph.storey.values())
    y = {one: (top - level) * RISE + HEIGHT / 2 + 1 for one, level in graph.storey.items()}
    lines = [line(one, other, graph, x, y) for one in edges for other in graph.down[one]]
    width = max(at + room_for(one) / 2 for one, at in x.items()) + 1
    size = f'viewBox="0 0 {width:.0f} {top * RISE + HEIGHT + 2}" width="{width:.0f}"'
    head = '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    head = f'<defs>{head}<path d="M0 0 8 4 0 8z"/></marker></defs>'
    boxes = [box(one, x[one], y[one]) for one in edges]
    said = "The rooms of the package, each above those that it imports"
    return f'<div class="house"><svg {size} role="img" aria-label="{said}">{head}{"".join(lines + boxes)}</svg></div>'


def line(one: str, other: str, graph: Graph, x: dict[str, float], y: dict[str, float]) -> str:
    """An arrow from a room's lower edge, through the points of the storeys between, to another's upper edge."""
    path = f"M{x[one]:.1f} {y[one] + HEIGHT / 2:.1f}"
    at = (x[one], y[one] + HEIGHT / 2)
    while True:
        end = (x[other], y[other] - HEIGHT / 2)
        half = (at[1] + end[1]) / 2
        path += f"C{at[0]:.1f} {half:.1f} {end[0]:.1f} {half:.1f} {end[0]:.1f} {end[1]:.1f}"
        if other in ROOMS:
            return f'<path class="arrow" d="{path}" marker-end="url(#tip)"/>'
        path += f"v{HEIGHT}"  # straight past the boxes of a storey
        at, other = (end[0], end[1] + HEIGHT), graph.down[other][0]


def box(one: str, x: float, y: float) -> str:
    """A room, which leads to its row of the table."""
    shape = f'<rect x="{x - WIDTH / 2:.1f}" y="{y - HEIGHT / 2:.1f}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>'
    return (
        f'<a href="#room-{one.replace("_", "-")}">{shape}<text x="{x:.1f}" y="{y + 4.5:.1f}">{escape(one)}</text></a>'
    )


def house() -> dict[str, set[str]]:
    """The rooms, without the doors, and the arrows that no others imply."""
    edges = {one: others - set(DOORS) for one, others in arrows().items() if one not in DOORS}
    return reduced(edges)


def about(room: str) -> str:
    """The first paragraph of a room's docstring."""
    text = ast.get_docstring(ast.parse(FILES[room].read_text("utf-8")))
    return " ".join((text or "").partition("\n\n")[0].split())


def inline(text: str) -> list[nodes.Node]:
    """Text in which `names` are code."""
    parts = enumerate(re.split(r"`([^`]+)`", text))
    return [nodes.literal(text=part) if i % 2 else nodes.Text(part) for i, part in parts if part]


class House(SphinxDirective):
    """The picture."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # the code may change while the page stays
        return [nodes.raw("", picture(house()), format="html")]


class Rooms(SphinxDirective):
    """The table, in the order of imports."""

    def run(self) -> list[nodes.Node]:
        edges = house()
        rows = [row(one, edges[one]) for one in edges]
        head = nodes.thead(
            "", nodes.row("", *(cell([nodes.Text(text)]) for text in ("room", "what is in it", "imports")))
        )
        group = nodes.tgroup(
            "", *(nodes.colspec(colwidth=n) for n in (15, 60, 25)), head, nodes.tbody("", *rows), cols=3
        )
        return [nodes.table("", group, classes=["rooms"])]


def row(room: str, others: set[str]) -> nodes.row:
    """A room's row, to which its box in the picture leads."""
    names = ", ".join(f"`{other}`" for other in sorted(others, key=ROOMS.index))
    made = nodes.row("", cell([nodes.literal(text=room)]), cell(inline(about(room))), cell(inline(names)))
    made.children[0]["ids"] = [f"room-{room.replace('_', '-')}"]
    return made


def cell(content: list[nodes.Node]) -> nodes.entry:
    """A cell of one paragraph."""
    return nodes.entry("", nodes.paragraph("", "", *content))


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_css_file("house.css")
    app.add_directive("house", House)
    app.add_directive("rooms", Rooms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
