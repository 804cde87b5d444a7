"""The files of evaluations in a run folder: evaluation-SPLIT-BOUND.json, and which bound a name there stands for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ..bounds import AIS, BOUNDS, Bound, ChunkedELBO
from ..errors import UserError
from ..files.paths import refuse_special
from ..saving.atomic import parse_json, with_digest, write_text
from ..saving.digests import check_digests, stored_digest
from ..saving.model import find_checkpoint
from ..training.runs.folder import read_run_config
from .evaluation import Evaluation
from .latents_report import LatentsReport
from .likelihood import bound_name

ANNEALED = re.compile(r"-\d+-chains-\d+-temperatures$")


def has_particles(bound: Bound) -> bool:
    """Whether their number is a setting of it."""
    return "particles" in {field.name for field in fields(bound)}  # type: ignore[arg-type]  # bounds are dataclasses


def name_in_files(bound: Bound) -> str:
    """elbo, iwae25, elbo-chunks-of-100-ahead-5, ais100-20-chains-500-temperatures: another name for another number."""
    if isinstance(bound, ChunkedELBO) and bound.look_ahead is not None:
        return f"{bound_name(bound)}-chunks-of-{bound.steps}-ahead-{bound.look_ahead}"
    name = f"{bound_name(bound)}{bound.particles if has_particles(bound) else ''}"
    return name + _annealing(bound) if isinstance(bound, AIS) else name


def _annealing(bound: AIS) -> str:
    """How log Z is estimated, where it isn't by the usual chains and temperatures."""
    usual = (bound.chains, bound.temperatures) == (AIS.chains, AIS.temperatures)
    return "" if usual else f"-{bound.chains}-chains-{bound.temperatures}-temperatures"


def measured_otherwise(runs: Iterable[Path], *, particles: int | None = None) -> dict[Path, str]:
    """Runs that were trained by `ais`, which measures them in place of any other bound, and its name in files: with its
    own particles, or so many.
    """
    trained_by = {run: read_run_config(run).bound for run in runs if (run / "config.yaml").is_file()}
    own = {run: bound for run, bound in trained_by.items() if isinstance(bound, AIS)}
    return {run: name_in_files(replace(bound, particles=particles or bound.particles)) for run, bound in own.items()}


def split_name(name: str) -> tuple[str, int | None]:
    """iwae25 -> (iwae, 25): the bound's name and its particles; of a name that isn't known, itself and None."""
    name = ANNEALED.sub("", name)
    for known in sorted(BOUNDS, key=len, reverse=True):  # one's own may be called elbo2
        rest = name.removeprefix(known)
        if name.startswith(known) and (not rest or rest.isdecimal()):
            return known, int(rest) if rest else None
    return name, None


def read_bound(name: str, *, trained_by: Bound) -> Bound:
    """The bound of a name such as elbo or iwae25; its other settings are those it was trained by, if it was."""
    kind, particles = split_name(name)
    if kind not in BOUNDS:
        raise UserError(f"unknown bound {name!r}; it is one of {', '.join(BOUNDS)}, or iwae25, with particles")
    bound = trained_by if type(trained_by) is BOUNDS[kind] else BOUNDS[kind]()
    if particles is None:
        return bound
    return replace(bound, particles=particles)  # type: ignore[type-var]  # bounds are dataclasses


def evaluation_file(run: Path, *, split: str, bound: str, checkpoint: str = "best") -> Path:
    """Where the evaluation of a run's checkpoint is. bound: as `name_in_files` says it."""
    of_checkpoint = "" if checkpoint == "best" else f"-{checkpoint}"
    return run / f"evaluation-{split}-{bound}{of_checkpoint}.json"


def save_evaluation(
    evaluation: Evaluation, path: Path, *, checkpoint: str, weights: str, latents: LatentsReport | None = None
) -> None:
    """As JSON, with the checkpoint that it is of, the digest of its weights, what was measured of its latents, and a
    digest of all of it.

    Raises:
        UserError: It can't be written.
    """
    values = evaluation.to_json() | {"checkpoint": checkpoint, "weights": weights}
    values |= {} if latents is None else {"latents": latents.to_json()}
    write_shown(path, with_digest(values))


def write_shown(path: Path, text: str) -> None:
    """Write what a command has shown. Raises UserError where that is impossible."""
    try:
        write_text(path, text + "\n")
    except OSError as error:
        raise UserError(f"can't write {path} ({error.strerror}), which has the numbers above") from None


def read_evaluation(path: Path, *, remedy: str) -> Evaluation:
    """The evaluation in a file.

    Args:
        path: Of the JSON file.
        remedy: What the message says to do about a file that is missing or damaged.

    Raises:
        UserError: There is none. The message names the file, and the fields that are missing or wrong.
    """
    values = read_mapping(path, parse_json, remedy=remedy)
    try:
        return Evaluation.from_json(values)
    except UserError as error:
        raise UserError(f"{path} is damaged or of an older zforcing ({error}): {remedy}") from None


def weights_of(run: Path, *, checkpoint: str = "best") -> str:
    """The digest of the weights of a run's checkpoint, by which an evaluation knows them."""
    return stored_digest(find_checkpoint(run, which=checkpoint) / "model.safetensors")


def is_of_other_weights(path: Path) -> bool:
    """Whether the evaluation in a run's file is of weights that have been trained further, or replaced, since.

    Of one that doesn't say (version 0.1) that isn't known; of a damaged one `read_evaluation` says what is wrong.
    """
    try:
        refuse_special(path, str(path))
        values = parse_json(path.read_text("utf-8"))
        return values.get("weights") not in (None, weights_of(path.parent, checkpoint=values["checkpoint"]))
    except (OSError, ValueError, RecursionError, AttributeError, LookupError, UserError):
        return False


def read_mapping(path: Path, parse: Callable[[str], Any], *, remedy: str) -> dict[str, Any]:
    """The names and values in a file. Raises UserError, as `read_evaluation` does."""
    refuse_special(path, str(path))
    check_digests(path.parent, [path.name])
    try:
        values = parse(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {remedy}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} can't be read ({' '.join(str(error).split())}): {remedy}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged, it holds no names and values: {remedy}")
    return values
