"""The commands. Results go to stdout (one JSON object with --json), progress and errors to stderr.

Exit code 0, or 2 with one line for a user's mistake, 1 when training diverged, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings
from rich.console import Console
from rich.progress import Progress

from .bounds import BOUNDS, Bound
from .errors import UserError
from .models import MODELS
from .threads import threads_asked_for
from .training.checkpoint import find_checkpoint, load_checkpoint, read_json, write_text
from .training.config import (
    MOST_THREADS,
    SECTIONED,
    SECTIONS,
    WEIGHTS,
    RunConfig,
    add_settings,
    flatten,
    from_namespace,
    known_settings,
    parse_config,
    read_recipe,
    recipes,
    refuse_unknown,
    section_names,
)

SPLITS = ("train", "valid", "test")
SHORT = {"--threads": "--training.threads", "--backend": "--training.backend"}  # what `train` also understands


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if not words or words[0] in ("-h", "--help"):
            print(overview())
            return 0
        if words[0] == "--version":
            from . import __version__

            print(f"zforcing {__version__}")
            return 0
        if words[0] not in COMMANDS:
            raise UserError(f"unknown command {words[0]!r}; it is one of {', '.join(COMMANDS)}")
        return COMMANDS[words[0]](words[1:])
    except ArgumentError as error:
        return complain(" ".join(str(error).split()))
    except (UserError, OSError) as error:
        return complain(str(error))
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not re.search("alloc|out of memory|Storage size", str(error)):
            raise
        return complain(f"not enough memory: {str(error).splitlines()[0][:200]}; ask for less at a time")
    except KeyboardInterrupt:
        print("zforcing: stopped", file=sys.stderr)
        return 130


def complain(message: str) -> int:
    """One line on stderr; the exit code of a user's mistake."""
    print(f"zforcing: {message}", file=sys.stderr)
    return 2


def overview() -> str:
    """What there is, a line each."""
    lines = [f"  {name:10s} {(command.__doc__ or '').splitlines()[0]}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: zforcing COMMAND ...",
            "",
            *lines,
            "",
            "zforcing COMMAND --help says more; `zforcing --version` which.",
        ]
    )


# The commands.


def train(argv: Sequence[str]) -> int:
    """Train a model: zforcing train RECIPE_OR_FILE [--dotted.setting value ...] [--run-dir DIR] [--resume].

    --threads and --backend are short for --training.threads and --training.backend.
    """
    options, config = parse_train(argv)
    if options.print_config:
        print(json.dumps(config.to_dict()) if options.json else config.to_yaml().rstrip())
        return 0
    from accelerate import PartialState

    from .training.loop import Diverged, Interrupted
    from .training.loop import train as run_training

    run = Path(options.run_dir or f"runs/{config.recipe}")
    try:
        end = run_training(config, run, device=options.device, resume=options.resume)
    except Interrupted:
        file = shlex.quote(str(run / "config.yaml"))
        print(f"stopped; go on with: zforcing train {file} --run-dir {shlex.quote(str(run))} --resume", file=sys.stderr)
        return 130
    except Diverged as error:
        print(f"zforcing: {error}", file=sys.stderr)
        return 1
    if not PartialState().is_main_process:
        return 0
    result = {
        "run": str(run),
        "finished": end.finished,
        "best_validation_nats_per_sequence": end.best,
        "best_epoch": end.best_epoch,
        "updates": end.step,
        "nonfinite_updates": end.nonfinite,
        "seconds": end.seconds,
    }
    if options.json:
        print(json.dumps(result))
    else:
        quoted = shlex.quote(str(run))
        print(f"{run}\nnext: zforcing evaluate {quoted}; zforcing sample {quoted}")
    return 0


def evaluate(argv: Sequence[str]) -> int:
    """Measure a trained model on a split: zforcing evaluate RUN [--split test]."""
    from .evaluation.likelihood import evaluate as measure

    parser = command_parser("evaluate", evaluate)
    parser.add_argument("run", type=str, help="a run folder")
    parser.add_argument("--split", type=str, default="test", help="train, valid or test")
    bound_options(parser)
    parser.add_argument("--repeats", type=int, default=1, help="how often the bound is taken; its mean is reported")
    parser.add_argument("--checkpoint", type=str, default="best", help="best (on the validation split) or last")
    parser.add_argument("--batch-size", type=int, default=1024, help="sequences times particles at a time")
    parser.add_argument(
        "--backend", type=str, default="fast", help="fast, or reference: the model's contract step by step"
    )
    common_options(parser, seed="seed of the latents' noise")
    options = parser.parse_args(list(argv))
    split = one_of("split", options.split, SPLITS)
    one_of("checkpoint", options.checkpoint, ("best", "last"))
    one_of("backend", options.backend, ("fast", "reference"))
    at_least(1, "batch-size", options.batch_size)
    at_least(1, "repeats", options.repeats)
    check_common(options)

    run = run_folder(options.run)
    config = read_run_config(run)
    bound, name = chosen_bound(options, like=config.bound)
    found = load_checkpoint(run, which=options.checkpoint)
    found.model.backend = options.backend
    data = config.data.load(split, found.description)
    with counting(f"{name} of {run}", len(data) * options.repeats) as advance, threads_asked_for(options.threads):
        result = measure(
            found.model,
            data,
            found.description,
            bound=bound,
            bound_name=options.bound,
            split=split,
            repeats=options.repeats,
            true_log_likelihood=config.data.true_log_likelihood,
            seed=options.seed,
            max_rows=options.batch_size,
            device=pick_device(options.device),
            progress=advance,
        )
    values = result.to_json() | {"checkpoint": options.checkpoint}
    which = "" if options.checkpoint == "best" else f"-{options.checkpoint}"
    write_text(run / f"evaluation-{split}-{name}{which}.json", json.dumps(values, indent=1) + "\n")
    if options.json:
        print(json.dumps(values))
    else:
        print_values(values)
    if result.collapsed:
        print(
            f"warning: the latents carry {result.kl_per_sequence:.3g} nats per sequence: the model hardly uses them "
            "(posterior collapse). Try a lower first weights.kl.start, or larger weights.auxiliary and "
            "weights.backward",
            file=sys.stderr,
        )
    return 0


def sample(argv: Sequence[str]) -> int:
    """Draw sequences from a trained model: zforcing sample RUN [--num 64] [--steps N]."""
    from .generation import sample as draw
    from .samples import random_first_observations, write_samples

    parser = command_parser("sample", sample)
    parser.add_argument("run", type=str, help="a run folder")
    parser.add_argument("--num", type=int, default=64, help="how many sequences")
    parser.add_argument(
        "--steps", type=int | None, default=None, help="their length; the longest trained on by default"
    )
    parser.add_argument("--checkpoint", type=str, default="best", help="best (on the validation split) or last")
    parser.add_argument("--out", type=str | None, default=None, help="folder to write to; RUN/samples by default")
    common_options(parser, seed="seed of all that is drawn")
    options = parser.parse_args(list(argv))
    one_of("checkpoint", options.checkpoint, ("best", "last"))
    at_least(1, "num", options.num)
    check_common(options)
    run = run_folder(options.run)
    found = load_checkpoint(run, which=options.checkpoint, device=pick_device(options.device))
    steps = found.description.longest if options.steps is None else options.steps
    at_least(1, "steps", steps)
    start = None
    if found.description.spec.conditions_on_first:
        print("x_1 is taken from the validation split: the model conditions on it", file=sys.stderr)
        valid = read_run_config(run).data.load("valid", found.description)
        start = random_first_observations(valid, found.description, options.num, seed=options.seed)
        start = start.to(pick_device(options.device))
    with threads_asked_for(options.threads):
        drawn = draw(found.model, options.num, steps=steps, seed=options.seed, start=start)
    folder, stem = Path(options.out or run / "samples"), f"sample-seed{options.seed}"
    files = write_samples(folder, stem, drawn, found.description, start=start)
    if options.json:
        print(json.dumps({"run": str(run), "num": options.num, "steps": steps, "seed": options.seed, "files": files}))
    else:
        print("\n".join(files))
    return 0


def list_recipes(argv: Sequence[str]) -> int:
    """List the recipes."""
    parser = command_parser("recipes", list_recipes)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(list(argv))
    known = recipes()
    if options.json:
        print(json.dumps(known))
    else:
        width = max(map(len, known))
        print("\n".join(f"{name:{width}s}  {about}" for name, about in known.items()))
    return 0


def info(argv: Sequence[str]) -> int:
    """Say what a run folder holds: zforcing info RUN."""
    parser = command_parser("info", info)
    parser.add_argument("run", type=str, help="a run folder")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(list(argv))
    run = run_folder(options.run)
    config = read_run_config(run)
    folder = find_checkpoint(run)
    found = load_checkpoint(run)
    progress = read_json(folder / "training.json")
    values = {
        "run": str(run),
        "about": config.about,
        "recipe": config.recipe,
        "model": found.model.label,
        "parameters": sum(p.numel() for p in found.model.parameters()),
        "latent_size": found.model.latent_size,
        "data": found.description.to_json(),
        "best_validation_nats_per_sequence": progress.get("best"),
        "best_epoch": progress.get("best_epoch"),
        "seed": config.seed,
        "evaluations": sorted(p.name for p in run.glob("evaluation-*.json")),
        "settings": asdict(found.model.config),
    }
    if options.json:
        print(json.dumps(values))
    else:
        print_values(values)
    return 0


def table(argv: Sequence[str]) -> int:
    """Compare evaluated runs: zforcing table RUN [RUN ...]."""
    from .evaluation.table import NOTE, read_rows, to_markdown, to_table

    parser = command_parser("table", table)
    parser.add_argument("runs", type=str, nargs="+", help="run folders, each evaluated by `zforcing evaluate`")
    parser.add_argument("--split", type=str, default="test", help="train, valid or test")
    bound_options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--markdown", action="store_true", help="a page with the runs' settings and hardware")
    options = parser.parse_args(list(argv))
    one_of("split", options.split, SPLITS)
    _, name = chosen_bound(options)
    rows = read_rows([Path(run) for run in options.runs], split=options.split, bound=name)
    if options.json:
        print(json.dumps({"rows": [row.to_json() for row in rows]}))
        return 0
    dim = "pixel" if load_checkpoint(Path(options.runs[0])).description.image_shape else "dim"
    if options.markdown:
        print(to_markdown(rows, dim=dim, command=shlex.join(["zforcing", "table", *argv])))
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
        console.print(to_table(rows, dim=dim))
        console.print(NOTE)
    return 0


def bench(argv: Sequence[str]) -> int:
    """Time training beside torch's own LSTMs: zforcing bench [SIZE ...] [--model NAME] [--model.setting value ...].

    At each size in turn: an update (forward, backward, optimizer), the same by the reference backend, and the floor,
    which is forward and backward of as many torch.nn.LSTMs as the model holds recurrent networks. Then their peak
    memory, loading of data alone, and sampling.
    """
    from .benchmark import SIZES, Protocol, measure
    from .benchmark.report import to_json, to_markdown, to_terminal
    from .training.loop import environment

    options, settings = parse_bench(argv)
    device = pick_device(options.device)
    if options.backend == "graph" and device != "cuda":
        raise UserError("--backend graph needs a GPU: use --backend fast")
    protocol = Protocol(
        model=options.model.name,
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
        print(json.dumps(to_json(results, protocol, machine)))
    elif options.markdown:
        print(to_markdown(results, protocol, machine, command=shlex.join(["zforcing", "bench", *argv])))
    else:
        Console(highlight=False, width=None if sys.stdout.isatty() else 100).print(
            to_terminal(results, protocol, machine)
        )
    return 0


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": train,
    "evaluate": evaluate,
    "sample": sample,
    "recipes": list_recipes,
    "info": info,
    "table": table,
    "bench": bench,
}


# Their parts.


def parse_train(argv: Sequence[str]) -> tuple[Namespace, RunConfig]:
    """Options of the command, and the configuration: the recipe's values, then what the command line says."""
    words = ["--print-config" if word == "--print_config" else word for word in argv]  # jsonargparse has one of its own
    if not words or words[0].startswith("-"):
        if {"-h", "--help"} & set(words):
            words = ["digits-zforcing-aux", "--help"]  # some recipe, to have settings to show
        else:
            raise UserError("train: name a recipe first (`zforcing recipes` lists them) or a YAML file")
    words = with_constants([replaced(word, SHORT) for word in words])
    values = with_named_sections(read_recipe(words[0]), words[1:])
    names = section_names(values)
    usage = "zforcing train RECIPE_OR_FILE [--dotted.setting value ...] [--run-dir DIR] [--resume]"
    parser = command_parser("train", train, usage=usage)
    parser.add_argument("recipe", type=str, help="a recipe's name, or a YAML file such as a run's config.yaml")
    parser.add_argument("--run-dir", type=str | None, default=None, help="where to write; runs/RECIPE by default")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --run-dir")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--print-config", action="store_true", help="(or --print_config) show the configuration, stop")
    add_settings(parser, names)
    describe_sections(parser)
    own = {"run-dir", "resume", "device", "json", "print-config", "help"}
    given = {w[2:].split("=")[0]: None for w in words[1:] if w.startswith("--") and w != "--"}
    refuse_unknown({k: "" for k in given if k not in own}, names, where="train")
    config = parse_config(values, where=words[0])  # the recipe's own mistakes, before those of the command line
    parser.set_defaults({k: v for k, v in flatten(config.to_dict()).items() if k != "recipe"})
    parsed = parser.parse_args(words)
    options = Namespace({k: parsed.pop(k) for k in ("recipe", "run_dir", "resume", "device", "json", "print_config")})
    parsed["recipe"] = config.recipe
    return options, from_namespace(parser, parsed)


def parse_bench(argv: Sequence[str]) -> tuple[Namespace, dict[str, Any]]:
    """Options of the command, and the model's settings (its `Config`) at each of the sizes asked for."""
    from .benchmark import SIZES

    words = [replaced(word, {"--model": "--model.name"}) for word in argv]
    model = option_value("--model.name", words) or "zforcing"
    if model not in MODELS:
        raise UserError(f"unknown --model {model!r}; it is one of {', '.join(sorted(MODELS))}")
    parsers = {name: bench_parser(model, name) for name in SIZES}
    options = parsers["pixels"].parse_args(words)
    unknown = [name for name in options.sizes if name not in SIZES]
    if unknown:
        raise UserError(f"unknown size {unknown[0]!r}; it is one of {', '.join(SIZES)}")
    one_of("backend", options.backend, ("fast", "graph"))
    one_of("precision", options.precision, ("float32", "bfloat16"))
    at_least(1, "repeats", options.repeats)
    check_common(options)
    settings = {}
    for name in options.sizes or SIZES:
        parsed = parsers[name].parse_args(words)
        parsed["model"].pop("name")
        settings[name] = parsers[name].instantiate(parsed)["model"]
    return options, settings


def bench_parser(model: str, size: str) -> ArgumentParser:
    """Of `bench`, the model's settings as this size has them."""
    from .benchmark import SIZES

    config = MODELS[model].Config
    usage = "zforcing bench [SIZE ...] [--model NAME] [--model.setting value ...] [--backend NAME] [--json] ..."
    parser = command_parser("bench", bench, usage=usage)
    sizes = "; ".join(f"{name}: {size.about}" for name, size in SIZES.items())
    parser.add_argument("sizes", type=str, nargs="*", default=[], metavar="SIZE", help=f"all by default. {sizes}")
    parser.add_argument("--backend", type=str, default="fast", help="what is timed: fast, or graph (needs a GPU)")
    parser.add_argument(
        "--repeats", type=int, default=9, help="of each after a warm-up; a third of it of the reference"
    )
    parser.add_argument("--precision", type=str, default="float32", help="float32 or bfloat16 (autocast)")
    common_options(parser, seed="seed of weights, data and noise")
    parser.add_argument("--markdown", action="store_true", help="part of a page, with the command that made it")
    parser.add_argument("--model.name", type=str, default=model, help=f"one of {', '.join(sorted(MODELS))}")
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser.add_class_arguments(config, "model")
    parser.set_defaults({f"model.{name}": value for name, value in SIZES[size].known_settings(config).items()})
    describe_sections(parser)
    return parser


def with_named_sections(values: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The recipe's values where --data.name, --model.name or --bound.name choose another part than the recipe.

    Of the old part's settings those stay that the new one has too; the others are named on stderr.
    """
    for section in SECTIONS:
        name = option_value(f"--{section}.name", words)
        given = values.get(section) or {}
        if name is None or not isinstance(given, dict) or name == given.get("name"):
            continue
        values = values | {section: {"name": name}}
        names = section_names(values)
        kept = {k: v for k, v in given.items() if k != "name" and f"{section}.{k}" in known_settings(names)}
        dropped = sorted(set(given) - set(kept) - {"name"})
        if dropped:
            print(f"{section} {name} has no {', '.join(dropped)}: the recipe's values are left out", file=sys.stderr)
        values = values | {section: {"name": name} | kept}
    return values


def replaced(word: str, names: Mapping[str, str]) -> str:
    """An option, or `--option=value`, by its other name."""
    option, equals, value = word.partition("=")
    return names.get(option, option) + equals + value


def with_constants(words: Sequence[str]) -> list[str]:
    """`--weights.kl 0.5` spelled out: the schedule that is 0.5 at every step."""
    out: list[str] = []
    pending = [part for word in words for part in (word.split("=", 1) if word.startswith("--weights.") else [word])]
    while pending:
        word = pending.pop(0)
        if word in {f"--weights.{name}" for name in WEIGHTS} and pending and is_number(pending[0]):
            constant = {"start": pending.pop(0), "end": "null", "per_step": "0", "period": "null"}
            out += [part for key, value in constant.items() for part in (f"{word}.{key}", value)]
        else:
            out.append(word)
    return out


def is_number(text: str) -> bool:
    """Whether float() takes it."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def option_value(option: str, words: Sequence[str]) -> str | None:
    """The value of `--option value` or `--option=value`, the last one given."""
    found = None
    for word, following in pairwise([*words, ""]):
        if word == option:
            found = following
        elif word.startswith(option + "="):
            found = word.split("=", 1)[1]
    return found


def command_parser(name: str, command: Callable[..., Any], *, usage: str | None = None) -> ArgumentParser:
    """A parser that raises instead of exiting; its help says what the command is for."""
    return ArgumentParser(prog=f"zforcing {name}", description=command.__doc__, usage=usage, exit_on_error=False)


def describe_sections(parser: ArgumentParser) -> None:
    """jsonargparse offers each section as an option that reads a file (`--data CONFIG`): here a recipe is that file.

    What is refused goes from the help; a number for `--weights.kl` is a constant.
    """
    hidden, constants = {f"--{name}" for name in SECTIONED}, {f"--weights.{name}" for name in WEIGHTS}
    for action in parser._actions:
        if hidden & set(action.option_strings):
            action.help = argparse.SUPPRESS
        elif constants & set(action.option_strings):
            action.metavar, action.help = "NUMBER", "the same at every step"


def common_options(parser: ArgumentParser, *, seed: str) -> None:
    """What evaluate, sample and their like share."""
    parser.add_argument("--seed", type=int, default=0, help=seed)
    threads = "CPU threads; by default one where a time step is little work, else torch's own choice"
    parser.add_argument("--threads", type=int | None, default=None, help=threads)
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def bound_options(parser: ArgumentParser) -> None:
    """Which bound, and its particles."""
    parser.add_argument("--bound", type=str, default="elbo", help=f"what is measured: {', '.join(BOUNDS)}")
    parser.add_argument("--particles", type=int | None, default=None, help="K of fivo, importance and iwae")


def chosen_bound(options: Namespace, like: Bound | None = None) -> tuple[Bound, str]:
    """The bound and its name in files (with the number of particles). `like`: settings to keep if it is the same."""
    cls = one_of("bound", options.bound, tuple(BOUNDS)) and BOUNDS[options.bound]
    bound = like if type(like) is cls else cls()
    if "particles" not in {field.name for field in fields(cls)}:  # type: ignore[arg-type]  # bounds are dataclasses
        if options.particles is not None:
            raise UserError(f"--particles: {options.bound} has none to choose; fivo, importance and iwae have")
        return bound, options.bound
    if options.particles is not None:
        at_least(1, "particles", options.particles)
        bound = replace(bound, particles=options.particles)  # type: ignore[type-var]  # bounds are dataclasses
    return bound, f"{options.bound}{bound.particles}"


def one_of(option: str, value: str, allowed: Sequence[str]) -> Any:
    """The value, if it is allowed."""
    if value not in allowed:
        raise UserError(f"--{option} is {value!r}; it is one of {', '.join(allowed)}")
    return value


def at_least(least: int, option: str, value: int) -> None:
    """Refuse smaller numbers."""
    if value < least:
        raise UserError(f"--{option} is {value}; it must be {least} or more")


def check_common(options: Namespace) -> None:
    """Refuse a seed that no generator takes, and threads that torch doesn't."""
    if not 0 <= options.seed < 2**63:
        raise UserError(f"--seed is {options.seed}; it must be 0 or more and less than 2**63")
    if options.threads is not None and not 1 <= options.threads <= MOST_THREADS:
        raise UserError(f"--threads is {options.threads}; it must be between 1 and {MOST_THREADS}")


def pick_device(device: str) -> str:
    """auto becomes cuda where there is one."""
    one_of("device", device, ("auto", "cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no GPU here; use --device cpu or auto")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def run_folder(name: str) -> Path:
    """The folder, if it is a run's."""
    run = Path(name)
    if not run.is_dir():
        raise UserError(f"no such run folder: {run}")
    if not (run / "config.yaml").is_file():
        raise UserError(f"{run} is no run folder: it has no config.yaml (`zforcing train` makes one)")
    return run


def read_run_config(run: Path) -> RunConfig:
    """The run's resolved configuration."""
    path = run / "config.yaml"
    return parse_config(read_recipe(str(path)), where=str(path))


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr (on a terminal), advanced by the function it gives."""
    with Progress(console=Console(file=sys.stderr), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


def print_values(values: dict[str, Any]) -> None:
    """name  value, a line each."""
    width = max(map(len, values))
    for name, value in values.items():
        text = f"{value:.4f}" if isinstance(value, float) else "-" if value is None else value
        print(f"{name:{width}s}  {text}")
