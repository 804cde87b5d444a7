"""`zforcing plot`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..files.json_text import json_text
from ..files.writing import file_to_write, whole_file
from ..report.charts import png_of_curves
from ..report.curves import Against, Curves, panels
from ..training.runs.folder import find_run
from .options import command_parser


def plot(argv: Sequence[str]) -> int:
    """Draw learning curves as PNG: zforcing plot RUN [RUN ...] [--out curves.png].

    Every term of the loss, in training (broken lines) and in validation, against updates or epochs, and against time.
    """
    parser = command_parser("plot", plot)
    parser.add_argument("runs", type=str, nargs="+", help="run folders, or names of some in runs/")
    parser.add_argument("--out", type=str, default="curves.png", help="the file, a .png")
    parser.add_argument("--against", type=Literal["updates", "epochs"], default="updates", help="the first column's x")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args(list(argv))
    out = file_to_write(options.out)
    if out.suffix.lower() != ".png":
        raise UserError(f"--out is {options.out}; it must be a .png file")
    curves = [Curves.read(find_run(run)) for run in options.runs]
    found = panels(curves)
    timed = any(panel.has("minutes") for panel in found)  # rows of before had no times
    against: list[Against] = [options.against, "minutes"] if timed else [options.against]
    with whole_file(out) as part:
        part.write_bytes(png_of_curves([each.name for each in curves], found, against))
    print(json_text({"file": str(out)}) if options.json else out)
    return 0
