"""Charts by matplotlib: as SVG whose colours are the page's, or as PNG.

No line is told by its colour alone: runs differ by their markers, training is broken and validation whole.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files.reading import Array
from .blocks import Drawing
from .curves import Against, Panel, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (
    "#0072b2",
    "#d55e00",
    "#007a5a",
    "#a8447e",
    "#8a5f00",
    "#444444",
)  # after Okabe and Ito, dark enough for lines
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ((0, (1, 1)), (0, (4, 1.5)), (0, (6, 1, 1, 1)), (0, (2, 2)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))
INK, FAINT, AREA = "#010203", "#010204", "#010205"
PAGE_COLOURS = {INK: "currentColor", FAINT: "var(--faint)", AREA: "var(--area)"}
PAGE_COLOURS |= {colour: f"var(--line-{i})" for i, colour in enumerate(COLOURS)}
TEXT_SIZE = 9
X_LABELS: dict[Against, str] = {
    "updates": "updates",
    "epochs": "epochs",
    "minutes": "minutes of training",
    "cpu_minutes": "CPU minutes of training",
}
numbers = itertools.count()


def colour(run: int) -> str:
    """Of a run's lines."""
    return COLOURS[run % len(COLOURS)]


@contextmanager
def style(*, faint: str = FAINT) -> Iterator[None]:
    """Plain text, no mathematics in names, thin axes."""
    import matplotlib as mpl

    axes = {"axes.edgecolor": INK, "axes.labelcolor": INK, "axes.spines.top": False, "axes.spines.right": False}
    text = {"text.color": INK, "text.parse_math": False, "font.size": TEXT_SIZE, "axes.titlesize": TEXT_SIZE}
    ticks = {"xtick.color": INK, "ytick.color": INK, "axes.grid": True, "grid.color": faint, "grid.linewidth": 0.5}
    rest = {"svg.fonttype": "none", "lines.linewidth": 1.5, "legend.frameon": False, "axes.linewidth": 0.6}
    ground = {"figure.facecolor": "none", "axes.facecolor": "none", "axes.formatter.useoffset": False}
    settings: dict[Any, Any] = {**axes, **text, **ticks, **rest, **ground}  # its own type lists every name there is
    with mpl.rc_context(settings):
        yield


def drawing(draw: Callable[[Axes], None], *, label: str, size: tuple[float, float] = (3.6, 2.4)) -> Drawing:
    """A chart of one pair of axes. size: in inches."""
    from matplotlib.figure import Figure

    with style():
        figure = Figure(size, layout="constrained")
        draw(figure.add_subplot())
        return Drawing(svg_of(figure, label=label), label)


def stacked(rows: Sequence[Callable[[Axes], None]], *, label: str, x: str) -> Drawing:
    """Charts above each other, that share their x."""
    from matplotlib.figure import Figure

    with style():
        figure = Figure((3.6, 0.35 + 1.05 * len(rows)), layout="constrained")
        all_axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
        for draw, axes in zip(rows, all_axes, strict=True):
            draw(axes)
        all_axes[-1].set_xlabel(x)
        return Drawing(svg_of(figure, label=label), label)


def svg_of(figure: Figure, *, label: str) -> str:
    """Markup for a page: names of its own, the page's colours, and nothing in front of <svg>."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    prefix = f"c{next(numbers)}-"
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", text)
    for ink, named in PAGE_COLOURS.items():
        text = text.replace(ink, named)
    return text.replace("<svg ", f'<svg role="img" aria-label="{_attribute(label)}" ', 1)


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


# ---- learning curves


def curve(axes: Axes, panel: Panel, against: Against) -> None:
    """A term of all runs, training and validation."""
    for series in panel.series:
        axes.plot(series.x[against], series.y, **line_of(series))
    axes.set_title(panel.title, loc="left")
    axes.set_xlabel(X_LABELS[against])
    axes.set_ylabel(panel.unit)
    if panel.term in ("gradient_norm", "learning_rate") and all((series.y > 0).all() for series in panel.series):
        _by_factors(axes)
    _mind_the_middle(axes, panel)


def _by_factors(axes: Axes) -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5 of each power of ten."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")


def line_of(series: Series) -> dict[str, Any]:
    """How it is drawn: some twelve markers, whatever its length."""
    run = series.run
    if series.event == "training":
        return {"color": colour(run), "linestyle": DASHES[run % len(DASHES)], "linewidth": 1.1}
    every = max(1, len(series.y) // 12)
    marker = MARKERS[(run + run // len(COLOURS)) % len(MARKERS)]  # another beside the colour in each round of colours
    return {"color": colour(run), "marker": marker, "markersize": 4, "markevery": every}


def legend(names: Sequence[str], panels: Sequence[Panel]) -> list[tuple[str, dict[str, Any]]]:
    """The name and the look of every line."""
    found: dict[tuple[int, str], Series] = {(s.run, s.event): s for panel in panels for s in panel.series}
    return [(f"{names[run]}, {event}", line_of(s)) for (run, event), s in sorted(found.items())]


def legend_drawing(names: Sequence[str], panels: Sequence[Panel]) -> Drawing:
    """What the lines of the curves are."""
    entries = legend(names, panels)

    def draw(axes: Axes) -> None:
        axes.set_axis_off()
        for name, look in entries:
            axes.plot([], [], label=name, **look)
        axes.legend(loc="upper left", bbox_to_anchor=(0, 1), borderaxespad=0, borderpad=0, handlelength=4)

    return drawing(draw, label="what the lines are", size=(3.6, 0.1 + 0.19 * len(entries)))


def _mind_the_middle(axes: Axes, panel: Panel) -> None:
    """Leave the first wild rows out of the picture where they would flatten all that follows; an arrow says so."""
    y = np.concatenate([series.y for series in panel.series])
    if len(y) < 20 or axes.get_yscale() == "log":
        return
    low, high = np.quantile(y, [0.02, 0.98])
    span = high - low
    if span <= 0 or (y.min() > low - 2 * span and y.max() < high + 2 * span):
        return
    bottom, top = max(y.min(), low - 0.4 * span), min(y.max(), high + 0.4 * span)
    axes.set_ylim(bottom - 0.05 * span, top + 0.05 * span)
    out = int(((y < bottom) | (y > top)).sum())
    axes.text(1, 1.02, f"{out} points outside", transform=axes.transAxes, ha="right", va="bottom", fontsize=7)


def png_of_curves(
    names: Sequence[str], found: Sequence[Panel], against: Sequence[Against], *, row_height: float = 2.1
) -> bytes:
    """All terms, a row each, against each of these. row_height: in inches."""
    from matplotlib.figure import Figure

    with style(faint="#cccccc"):
        rows, columns = len(found), len(against)
        height = row_height * rows + 0.25 * len(legend(names, found))
        figure = Figure((4.6 * columns, height), layout="constrained", facecolor="white")
        grid = figure.subplots(rows, columns, squeeze=False)
        for row, panel in zip(grid, found, strict=True):
            for axes, x in zip(row, against, strict=True):
                curve(axes, panel, x)
        lines = [grid[0][0].plot([], [], label=name, **look)[0] for name, look in legend(names, found)]
        figure.legend(handles=lines, loc="outside upper left", ncols=2, handlelength=4)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=120)
        return file.getvalue()


# ---- other charts


def lines(
    values: Mapping[str, tuple[Array, Array]], *, x: str, y: str, label: str, size: tuple[float, float] = (3.6, 2.4)
) -> Drawing:
    """x and y of each run by its name; told apart by markers as the curves are."""

    def draw(axes: Axes) -> None:
        for run, (name, (at, of)) in enumerate(values.items()):
            every = max(1, len(of) // 12)
            marker = MARKERS[run % len(MARKERS)]
            axes.plot(at, of, color=colour(run), marker=marker, markevery=every, markersize=4, label=name)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.set_ylim(bottom=min(0, *(float(np.min(of)) for _, of in values.values())))
        if len(values) > 1:
            axes.legend(fontsize=7)

    return drawing(draw, label=label, size=size)
