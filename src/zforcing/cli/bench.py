"""`zforcing bench`."""

from __future__ import annotations

import json
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any, Literal

import torch
from rich.console import Console

from ..errors import UserError
from ..files.json_text import json_text
from ..models import MODELS
from ..runtime.device import pick_device
from ..settings import Count, made, settings_in
from .options import (
    check_common,
    command_parser,
    common_options,
    counting,
)
from .parser import Parser, add_settings
from .words import option_value, take_imports


def bench(argv: Sequence[str]) -> int:
    """Time training beside torch's own LSTMs: zforcing bench [SIZE ...] [--model NAME] [--model.setting value ...].

    At each size in turn: an update (forward, backward, optimizer), the same by the reference backend, and the floor,
    which is forward and backward of as many torch.nn.LSTMs as the model holds recurrent networks. Then their peak
    memory, loading of data alone, and sampling.
    """
    from ..benchmark import SIZES, Protocol, measure
    from ..benchmark.report import to_json, to_markdown, to_terminal
    from ..training.runs.folder import environment

    options, settings = parse_bench(argv)
    device = pick_device(options.device)
    if options.backend == "graph" and device != "cuda":
        raise UserError("--backend graph needs a GPU: use --backend fast")
    protocol = Protocol(
        model=options.model,
        backend=options.backend,
        repeats=options.repeats,
        threads=options.threads,
        precision=options.precision,
        device=device,
        seed=options.seed,
    )
    machine = json.loads(environment(torch.device(device)))
    del machine["threads"]  # each size has its own
    with counting("bench", protocol.runs * len(settings)) as advance:
        results = [measure(SIZES[name], config, protocol, done=lambda: advance(1)) for name, config in settings.items()]
    if options.json:
        print(json_text(to_json(results, protocol, machine)))
    elif options.markdown:
        print(to_markdown(results, protocol, machine, command=shlex.join(["zforcing", "bench", *argv])))
    else:
        Console(highlight=False, width=None if sys.stdout.isatty() else 100).print(
            to_terminal(results, protocol, machine)
        )
    return 0


def parse_bench(argv: Sequence[str]) -> tuple[Namespace, dict[str, Any]]:
    """Options of the command, and the model's settings (its `Config`) at each of the sizes asked for."""
    from ..benchmark import SIZES

    words, _ = take_imports(argv)
    model = option_value(("--model", "--model.name"), words) or "zforcing"
    MODELS.find(model, setting="--model")
    config = MODELS.settings_of(model)
    options = bench_parser(model).parse_args(words)
    unknown = [name for name in options.sizes if name not in SIZES]
    if unknown:
        raise UserError(f"unknown size {unknown[0]!r}; it is one of {', '.join(SIZES)}")
    check_common(options)
    settings = {name: value for name, value in vars(options).items() if name.startswith("model.")}
    defaults = {setting.name: setting.default for setting in settings_in(config, "model")}
    sizes = options.sizes or SIZES
    return options, {name: made(config, "model", defaults | sizes_of(name, config) | settings) for name in sizes}


def bench_parser(model: str) -> Parser:
    """Of `bench`; help shows the model's settings as the first size has them."""
    from ..benchmark import SIZES

    config = MODELS.settings_of(model)
    usage = "zforcing bench [SIZE ...] [--model NAME] [--model.setting value ...] [--backend NAME] [--json] ..."
    parser = command_parser("bench", bench, usage=usage)
    sizes = "; ".join(f"{name}: {size.about}" for name, size in SIZES.items())
    parser.add_argument("sizes", type=str, nargs="*", default=[], metavar="SIZE", help=f"all by default. {sizes}")
    backend = "fast: derived from the model's contract; graph: that, captured in CUDA graphs"
    parser.add_argument("--backend", type=Literal["fast", "graph"], default="fast", help=backend)
    repeats = "of each after a warm-up; a third of it of the reference"
    parser.add_argument("--repeats", type=Count, default=9, help=repeats)
    precision = Literal["float32", "bfloat16"]
    parser.add_argument("--precision", type=precision, default="float32", help="bfloat16 by autocast")
    common_options(parser, seed="seed of weights, data and noise")
    parser.add_argument("--markdown", action="store_true", help="part of a page, with the command that made it")
    names = f"one of {', '.join(sorted(MODELS))}"
    parser.add_argument("--model", "--model.name", type=str, default=model, help=names)
    add_settings(parser, settings_in(config, "model"), sizes_of(next(iter(SIZES)), config), short={})
    return parser


def sizes_of(size: str, config: type[Any]) -> dict[str, int]:
    """The model's settings at this size, by dotted name."""
    from ..benchmark import SIZES

    return {f"model.{name}": value for name, value in SIZES[size].known_settings(config).items()}
