"""`zforcing export`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from ..settings import Count
from ..training.runs.trained import Trained
from .options import RUN_HELP, check_common, checkpoint_option, command_parser, print_values
from .words import import_option


def export(argv: Sequence[str]) -> int:
    """Write a model's step for programs without zforcing: zforcing export RUN [--out model.onnx] [--particles 64].

    The file holds what `zforcing stream` does with a row: x_t, the state and random numbers go in; the score of x_t,
    what was expected of it and the next state come out. The filter draws latents from the prior. In the sources,
    examples/stream_onnx.py runs an .onnx with numpy and onnxruntime alone, and docs/using.md has inputs and outputs.
    """
    options = export_options(argv)
    trained = Trained.load(options.run, which=options.checkpoint)
    from ..exporting.export import export as export_step

    made = export_step(trained.model, options.out or trained.folder / "model.onnx", particles=options.particles)
    known = {name: made.about[name] for name in ("model", "relation", "particles", "units")}
    values = known | {"columns": ", ".join(column["name"] for column in made.about["columns"])}
    values |= {"run": str(trained.folder), "checkpoint": options.checkpoint, "file": str(made.file)}
    print_values(values, as_json=options.json)
    return 0


def export_options(argv: Sequence[str]) -> Namespace:
    """The command's options; what is imported is there."""
    parser = command_parser("export", export)
    parser.add_argument("run", type=str, help=RUN_HELP)
    out = "an .onnx, for onnxruntime, or a .pt2, for torch.export.load; RUN/model.onnx by default"
    parser.add_argument("--out", type=str | None, default=None, help=out)
    parser.add_argument("--particles", type=Count, default=64, help="K, which the file holds; 1 without latents")
    checkpoint_option(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    import_option(parser)
    options = parser.parse_args(list(argv))
    check_common(options)
    return options
