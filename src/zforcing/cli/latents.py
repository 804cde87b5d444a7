"""What the commands about latents share: the sequences that they take, and what the latents carry of them."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ..data import SequenceDataset
from ..data.own_files import read_own
from ..models import SequenceModel
from ..runtime.device import pick_device
from ..runtime.threads import threads_asked_for
from ..training.runs.trained import Trained
from .options import counting
from .sequences import sequences_of
from .sources import OWN

if TYPE_CHECKING:
    from ..evaluation.latents_report import LatentsReport


def latents_of(run: Path, options: Namespace) -> LatentsReport:
    """What the latents carry, by the options of `evaluate`."""
    from ..evaluation.latents import latents_report

    trained = Trained.load(str(run), which=options.checkpoint, device=pick_device(options.device))
    if isinstance(trained.model, SequenceModel):
        trained.model.backend = options.backend
    data = evaluated(trained, options)
    with threads_asked_for(options.threads), counting(f"latents of {run}", len(data)) as advance:
        return latents_report(trained.model, data, seed=options.seed, max_rows=options.batch_size, progress=advance)


def evaluated(trained: Trained, options: Namespace) -> SequenceDataset:
    """The sequences of the split, or of the file or folder."""
    from ..evaluation.runs import without_unreadable

    if options.file is not None and OWN.fullmatch(options.file):
        return sequences_of(options.file, trained)
    if options.file is not None:
        return read_own(options.file, trained.description, skip_unreadable=options.skip_unreadable)
    data = without_unreadable(trained.data) if options.skip_unreadable else trained.data
    return data.load(options.split or "test", trained.description)


def print_latents(report: LatentsReport | None) -> None:
    """What was found, and what to try."""
    if report is not None:
        print("\n".join([*report.lines(), *(f"latents: {line}" for line in report.advice)]))
