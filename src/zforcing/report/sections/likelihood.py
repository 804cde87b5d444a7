"""Likelihoods: what `zforcing evaluate` wrote, or else what the page measures; baselines, and published numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...bounds import AIS, ELBO, Bound, Exact
from ...bounds.ais import HasPartition
from ...errors import UserError
from ...evaluation.evaluation import Evaluation
from ...evaluation.likelihood import evaluate
from ...evaluation.rows import ScoredData
from ...evaluation.runs import training_split
from ...evaluation.saved import is_of_other_weights, read_evaluation
from ...evaluation.summary import SIGNS, warnings
from ...models import SequenceModel
from ...text_table import Table
from ..blocks import Grid, Line, Part, Section
from ..subject import Subject
from .published import published

HEADINGS = ("run", "kind", "nats per sequence", "nats per step", "bits per {number}", "KL, nats", "from")
HERE = "this page"
NOTE = (
    "log p(x), higher is better; = is exact, ≥ a lower bound, ≈ an estimate. ± is the standard error over sequences. "
    "Baselines are simple models, fitted to the training split in closed form: where one is higher, use it."
)


def likelihood(subjects: Sequence[Subject]) -> Section:
    """A table for all that was measured on the same sequences in the same units."""
    found, lines = [], []
    for subject in subjects:
        try:
            found += [(subject, *each) for each in evaluations(subject)]
            lines += [Line(line) for line in _new(subject, found[-1][2])]
        except UserError as error:
            lines.append(Line(f"{subject.name}: not evaluated, and {error}"))
    groups: dict[ScoredData, list[tuple[Subject, Evaluation, str]]] = {}
    for subject, evaluation, origin in found:
        groups.setdefault(ScoredData.of(evaluation), []).append((subject, evaluation, origin))
    blocks: list[Any] = [Grid(_table(data, rows)) for data, rows in groups.items()]
    doubts = dict.fromkeys(f"{subject.name}: {line}" for subject, e, _ in found for line in _doubts(e))
    blocks += [Line(line, "warning") for line in doubts]
    for subject in subjects:
        own = [e for other, e, origin in found if other is subject and origin.startswith("evaluation-")]
        blocks += published(subject, own)
    return Section("Likelihood", NOTE, [Part("", [*lines, *blocks])])


def evaluations(subject: Subject) -> list[tuple[Evaluation, str]]:
    """Those in the run's files with their names, of the weights that it has; without any, one by this page."""
    every = sorted(Path(subject.trained.folder).glob("evaluation-*.json"))
    files = [file for file in every if not is_of_other_weights(file)]
    known = [(read_evaluation(file, remedy="run `zforcing evaluate` again"), file.name) for file in files]
    return known or [(measured(subject), HERE)]


def _new(subject: Subject, origin: str) -> list[str]:
    """Of what this page measured it."""
    if origin != HERE:
        return []
    here = f"{subject.name}: not evaluated yet. Measured here on {subject.measured_on}"
    return [f"{here}; `zforcing evaluate` keeps a number of the whole split."]


def measured(subject: Subject) -> Evaluation:
    """The ELBO, the exact likelihood or an estimate, as the model has it, of the sequences that the page takes."""
    bound = bound_of(subject)
    train = training_split(subject.trained, say=lambda line: None)
    return evaluate(
        subject.model,
        subject.sequences,
        bound=bound,
        split=subject.split,
        description=subject.description,
        baselines=train,
        seed=subject.budget.seed,
        device=subject.trained.device,
    )


def bound_of(subject: Subject) -> Bound:
    """Exact where nothing is latent, and an estimate where p(x) is known up to a constant."""
    if isinstance(subject.model, HasPartition):
        return AIS().validating()
    without = isinstance(subject.model, SequenceModel) and not subject.model.latent_size
    return Exact() if without else ELBO()


def _table(data: ScoredData, rows: Sequence[tuple[Subject, Evaluation, str]]) -> Table:
    title = f"{data.data}, {data.split} split: {data.num_sequences} sequences, {data.num_steps} steps"
    number = rows[0][0].description.format.number
    cells = [_cells(subject.name, evaluation, origin) for subject, evaluation, origin in rows]
    beside = next((evaluation for _, evaluation, _ in rows if evaluation.baselines), None)
    cells += (
        [] if beside is None else [_baseline(beside, score.name, score.nats_per_sequence) for score in beside.baselines]
    )
    return Table(title, [heading.format(number=number) for heading in HEADINGS], cells, text_columns=2)


def _cells(name: str, e: Evaluation, origin: str) -> list[str]:
    error = "" if e.standard_error is None else f" ± {e.standard_error:.2f}"
    kl = f"{e.kl_per_sequence:.2f}" if e.has_latents else "-"
    nats = f"{SIGNS[e.kind]} {e.nats_per_sequence:.2f}{error}"
    return [name, e.how, nats, f"{e.nats_per_step:.4g}", f"{e.bits_per_dim:.4f}", kl, origin]


def _baseline(e: Evaluation, name: str, nats: float) -> list[str]:
    per_step = nats * e.num_sequences / e.num_steps
    bits = e.bits_per_dim * nats / e.nats_per_sequence if e.nats_per_sequence else 0.0
    return [f"baseline: {name}", "exact", f"= {nats:.2f}", f"{per_step:.4g}", f"{bits:.4f}", "-", "-"]


def _doubts(e: Evaluation) -> list[str]:
    return [*warnings(e), *([f"the data: {e.remark}"] if e.remark else [])]
