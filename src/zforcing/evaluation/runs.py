"""Evaluating trained runs: the model of a run folder on a split of the run's data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Literal

from ..bounds import Bound
from ..data import DataModule, InMemory, SequenceDataset
from ..data.splits import Split
from ..errors import UserError
from ..models import SequenceModel
from ..observations import DataDescription, Example, read_file
from ..runtime.device import pick_device
from ..runtime.threads import threads_asked_for
from ..training.runs.trained import Trained
from .evaluation import Evaluation
from .likelihood import evaluate
from .saved import name_in_files

Backend = Literal["fast", "reference"]
Which = Literal["best", "last"]
Counter = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@contextmanager
def silent(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A counter that shows nothing."""
    yield lambda done: None


def evaluate_run(
    run: Path,
    *,
    bound: Bound,
    split: Split = "test",
    file: str | None = None,
    checkpoint: Which = "best",
    repeats: int = 1,
    seed: int = 0,
    batch_size: int = 1024,
    backend: Backend = "fast",
    skip_unreadable: bool = False,
    threads: int | None = None,
    device: str = "auto",
    counting: Counter = silent,
) -> Evaluation:
    """How well a run's model explains a split of its data, or a file of one's own.

    Nothing is written: see `saved.save_evaluation`.

    Args:
        run: A run folder, or, to measure a file, one that `zforcing.save` wrote.
        bound: What is measured of log p(x).
        split: train, valid or test.
        file: A file of sequences in the training data's units, in place of a split; the data need not be there.
        checkpoint: best on the validation split, or last.
        repeats: How often the bound is taken; its mean is reported.
        seed: Of the latents' noise.
        batch_size: Sequences times particles taken at once.
        backend: fast, or reference: the model's contract step by step.
        skip_unreadable: Leave out recordings and MIDI files that can't be used, and count them.
        threads: CPU threads; None: by the work of a time step.
        device: auto, cpu or cuda.
        counting: counting(what, total) is a context that gives a function of how many more sequences are done.

    Raises:
        UserError: The folder is no run's, or its data isn't there or can't be scored.
    """
    trained = Trained.load(str(run), which=checkpoint)
    if isinstance(trained.model, SequenceModel):
        trained.model.backend = backend
    if file is None:
        data = without_unreadable(trained.data) if skip_unreadable else trained.data
        sequences, true_log_likelihood = data.load(split, trained.description), data.true_log_likelihood
    else:
        sequences, true_log_likelihood = read_whole(file, trained.description), unknown_likelihood
    shown = counting(f"{name_in_files(bound)} of {run}", len(sequences) * repeats)
    with shown as advance, threads_asked_for(threads):
        return evaluate(
            trained.model,
            sequences,
            description=trained.description,
            bound=bound,
            split=split if file is None else Path(file).name,
            repeats=repeats,
            true_log_likelihood=true_log_likelihood,
            seed=seed,
            max_rows=batch_size,
            device=pick_device(device),
            progress=advance,
        )


def read_whole(file: str, description: DataDescription) -> SequenceDataset:
    """The sequences of a file, each with its end symbol if the format has one."""
    kind = description.format
    data = InMemory([kind.whole(example) for example in read_file(kind, file, description)])
    data.unknown = kind.unknown_in(data.examples)
    return data


def unknown_likelihood(example: Example) -> float | None:
    """None: log p(x) under the process that generated the data isn't known."""
    return None


def without_unreadable(data: DataModule) -> DataModule:
    """The same data without what can't be read."""
    if "skip_unreadable" not in {field.name for field in fields(data)}:  # type: ignore[arg-type]  # data sets are dataclasses
        raise UserError("--skip-unreadable is for recordings and MIDI files; this run's data is none")
    return replace(data, skip_unreadable=True)  # type: ignore[type-var]  # as above
