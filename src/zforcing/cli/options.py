"""What the commands share: options, a progress bar, and how values are printed."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, Literal, get_args

from rich.console import Console
from rich.progress import Progress

from ..bounds import AIS, BOUNDS, Bound
from ..bounds.ais import Chains
from ..data.splits import Split
from ..errors import UserError
from ..files.json_text import json_text
from ..registry import import_source
from ..settings import Count, Factor, Positive
from ..tasks.proposals import Proposal
from ..training.runs.config import SEED
from ..training.settings import THREADS
from .parser import Parser
from .words import import_option

LONGEST = 18  # digits of a whole number: of 64 bits, and Python itself refuses thousands
RUN_HELP = "a run folder, the name of one in runs/, or a folder that zforcing.save wrote"


def command_parser(name: str, command: Callable[..., Any], *, usage: str | None = None) -> Parser:
    """A parser whose help says what the command is for."""
    return Parser(f"zforcing {name}", description=command.__doc__, usage=usage)


def common_options(parser: Parser, *, seed: str) -> None:
    """What evaluate, sample and their like share."""
    computing_options(parser, seed=seed)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def computing_options(parser: Parser, *, seed: str, default_seed: int | None = 0) -> None:
    """How it is computed."""
    parser.add_argument(
        "--seed", type=SEED if default_seed is not None else SEED | None, default=default_seed, help=seed
    )
    threads = "CPU threads; by default one where a time step is little work, else torch's own choice"
    parser.add_argument("--threads", type=THREADS | None, default=None, help=threads)
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda")
    import_option(parser)


def sequences_options(
    parser: Parser,
    file_help: str = "sequences in the units of the training data: a file of their kind, a folder of such files, or "
    "some of the run's own (test:0-7)",
    *,
    without: str = "the test split",
) -> None:
    """A run, and the sequences that the command reads: a file of one's own, or a split of the run's data."""
    parser.add_argument("run", type=str, help=RUN_HELP)
    help_text = f"{file_help}; without it and --split, {without}"
    parser.add_argument("file", type=str | None, nargs="?", default=None, help=help_text)
    parser.add_argument("--split", type=Split | None, default=None, help="in place of FILE: a split of the run's data")


def tempering_options(parser: Parser) -> None:
    """How likely what is drawn is; by default as the model says."""
    temperature = "T: below 1 likelier values of x_t, by p^(1/T); not 1: no longer the model's distribution"
    parser.add_argument("--temperature", type=Positive, default=1.0, help=temperature)
    top_p = "draw x_t within its most likely values of this probability; below 1: no longer the model's distribution"
    parser.add_argument("--top-p", type=Factor, default=1.0, help=top_p)


def past_options(parser: Parser) -> None:
    """What the latents of the past are drawn by."""
    past = "what the latents of the past are drawn by: a particle filter, or the model's posterior"
    parser.add_argument("--past", type=Literal["filter", "posterior"], default="filter", help=past)
    parser.add_argument("--particles", type=Count, default=64, help="K of the filter; 1 without latents")


def proposal_option(parser: Parser, *, default: Proposal | None) -> None:
    """What a filter's particles are drawn from."""
    what = "what the particles are drawn from: prior, or mixture, also the model's posterior that has read x_t: better "
    what += "where the latents carry much, for up to 1.6 times the time" + "; prior by default" * (default is None)
    parser.add_argument("--proposal", type=Proposal if default else Proposal | None, default=default, help=what)


def checkpoint_option(parser: Parser) -> None:
    """Which of a run's two."""
    which = "best: of the validation split"
    parser.add_argument("--checkpoint", type=Literal["best", "last"], default="best", help=which)


def bound_options(parser: Parser) -> None:
    """Which bound, and its particles."""
    what = f"what is measured: {', '.join(BOUNDS)}; elbo by default, and ais of a run that was trained by it"
    parser.add_argument("--bound", type=str | None, default=None, help=what)
    parser.add_argument(
        "--particles", type=Count | None, default=None, help="K of ais, chib, fivo, importance, iwae and orders"
    )


def annealing_options(parser: Parser) -> None:
    """How log Z is estimated, of a model that knows p(x) up to it."""
    parser.add_argument(
        "--chains", type=Chains | None, default=None, help="of ais and chib: chains that estimate log Z; 100"
    )
    how = "of these: steps that lead each chain to the model; 14500, or of ais as in training"
    parser.add_argument("--temperatures", type=Count | None, default=None, help=how)


def annealed(bound: Bound, options: Namespace) -> Bound:
    """The bound with what --chains and --temperatures say. Raises UserError where it has none."""
    given = {name: getattr(options, name) for name in ("chains", "temperatures")}
    given = {name: value for name, value in given.items() if value is not None}
    if given and not isinstance(bound, AIS):
        raise UserError(f"--{next(iter(given))}: bound {bound.name} has none to choose; ais and chib have")
    return replace(bound, **given) if isinstance(bound, AIS) else bound


def chosen_bound(options: Namespace, *, trained_by: Bound | None = None) -> Bound:
    """The bound; its other settings are those of `trained_by`, if it is that one."""
    by_default = AIS.name if isinstance(trained_by, AIS) else "elbo"
    cls = BOUNDS.find(options.bound or by_default, setting="--bound")
    bound = trained_by if type(trained_by) is cls else cls()
    if not _has_particles(cls):
        if options.particles is not None:
            having = ", ".join(name for name, each in BOUNDS.items() if _has_particles(each))
            raise UserError(f"--particles: {cls.name} has none to choose; these have: {having}")
        return bound
    if options.particles is not None:
        bound = replace(bound, particles=options.particles)  # type: ignore[type-var]  # bounds are dataclasses
    return bound


def _has_particles(cls: type[Bound]) -> bool:
    """Whether K is a setting."""
    return "particles" in {field.name for field in fields(cls)}  # type: ignore[arg-type]  # bounds are dataclasses


def one_of(option: str, value: str, allowed: Sequence[str]) -> Any:
    """Return the value. Raises UserError if it isn't allowed."""
    if value not in allowed:
        raise UserError(f"--{option} is {value!r}; it is one of {', '.join(allowed)}")
    return value


def number_or_all(option: str, text: str, *, at_least: int = 0) -> int | None:
    """Parse a whole number; None of `all`. Raises UserError for anything else."""
    if text == "all":
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= LONGEST) or int(text) < at_least:
        raise UserError(f"--{option} is {text[:LONGEST]!r}; it must be a whole number, {at_least} or more, or all")
    return int(text)


def check_common(options: Namespace) -> None:
    """Import what is to be imported, and take a split's name for FILE as --split. Raises UserError for both."""
    if getattr(options, "file", None) is not None and getattr(options, "split", None) is not None:
        raise UserError("--split is for the run's own data: leave it out, or the file")
    if hasattr(options, "split") and getattr(options, "file", None) in get_args(Split):
        options.split, options.file = options.file, None
    for source in options.imports:
        import_source(source)


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr (on a terminal), advanced by the function it gives."""
    with Progress(console=Console(file=sys.stderr), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


def say(line: str) -> None:
    """What a person should know besides the result, on stderr."""
    print(line, file=sys.stderr)


def print_values(values: dict[str, Any], *, as_json: bool = False) -> None:
    """Print a line `name  value` for each, or one JSON object."""
    if as_json:
        print(json_text(values))
        return
    width = max(map(len, values))
    for name, value in values.items():
        text = f"{value:.4f}" if isinstance(value, float) else "-" if value is None else value
        print(f"{name:{width}s}  {text}")
