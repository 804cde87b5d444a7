"""Evaluating trained runs: the model of a run folder on a split of the run's data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..bounds import Bound
from ..data import DataModule, SequenceDataset
from ..data.own_files import read_own
from ..data.splits import SPLITS, Split
from ..errors import UserError
from ..models import SequenceModel
from ..observations import Example
from ..runtime.device import pick_device
from ..runtime.threads import threads_asked_for
from ..training.runs.trained import Trained
from .doubts import doubts_about
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
    own: Callable[[str, Trained], SequenceDataset] | None = None,
    checkpoint: Which = "best",
    repeats: int = 1,
    seed: int = 0,
    batch_size: int = 1024,
    backend: Backend = "fast",
    skip_unreadable: bool = False,
    baselines: bool = True,
    threads: int | None = None,
    device: str = "auto",
    counting: Counter = silent,
    say: Callable[[str], None] = lambda line: None,
    each: Callable[[NDArray[np.float64]], None] = lambda nats: None,
) -> Evaluation:
    """How well a run's model explains a split of its data, or a file or folder of one's own.

    Nothing is written: see `saved.save_evaluation`.

    Args:
        run: A run folder or the name of one in runs/, or, to measure a file, a folder that `zforcing.save` wrote.
        bound: What is measured of log p(x).
        split: train, valid or test.
        file: A file of sequences in the training data's units, or a folder of such files, in place of a split; the data
            need not be there.
        own: Reads what `file` names, where that is some of the run's own sequences and no file.
        checkpoint: best on the validation split, or last.
        repeats: How often the bound is taken; its mean is reported.
        seed: Of the latents' noise.
        batch_size: Sequences times particles taken at once.
        backend: fast, or reference: the model's contract step by step.
        skip_unreadable: Leave out recordings and MIDI files that can't be used, and count them.
        baselines: Whether simple models are fitted to the training split, where it is there, and measured too.
        threads: CPU threads; None: by the work of a time step.
        device: auto, cpu or cuda.
        counting: counting(what, total) is a context that gives a function of how many more sequences are done.
        say: Called with a line where there are no baselines, though they are wanted.
        each: Called in the end with [N], the nats of each sequence.

    Raises:
        UserError: The folder is no run's, or its data isn't there or can't be scored.
    """
    trained = Trained.load(str(run), which=checkpoint)
    if isinstance(trained.model, SequenceModel):
        trained.model.backend = backend
    sequences: SequenceDataset
    if file is None:
        data = without_unreadable(trained.data) if skip_unreadable else trained.data
        sequences, true_log_likelihood = data.load(split, trained.description), data.true_log_likelihood
    else:
        sequences = (
            read_own(file, trained.description, skip_unreadable=skip_unreadable) if own is None else own(file, trained)
        )
        true_log_likelihood = unknown_likelihood
    shown = counting(f"{name_in_files(bound)} of {run}", len(sequences) * repeats)
    train = training_split(trained, skip_unreadable=skip_unreadable, say=say) if baselines else None
    with shown as advance, threads_asked_for(threads):
        found = evaluate(
            trained.model,
            sequences,
            description=trained.description,
            bound=bound,
            split=split if file is None else name_of_own(file),
            repeats=repeats,
            true_log_likelihood=true_log_likelihood,
            baselines=train,
            seed=seed,
            max_rows=batch_size,
            device=pick_device(device),
            progress=advance,
            each=each,
        )
    doubts = doubts_about(trained, sequences, train=train, split=split if file is None else None, name=found.split)
    return replace(found, remark="; ".join(filter(None, [found.remark, *doubts])))


def name_of_own(file: str) -> str:
    """Of a file or folder in results; with its folder's where the run has a split of that name: recordings/test."""
    place = Path(file).expanduser().resolve()
    return f"{place.parent.name}/{place.name}" if place.name in SPLITS else place.name


def training_split(
    trained: Trained, *, skip_unreadable: bool = False, say: Callable[[str], None]
) -> SequenceDataset | None:
    """The training split of a run's own data, from which the baselines are made; None where that isn't there any more,
    or isn't known, which is said.
    """
    if trained.config is None:
        say(f"no baselines: {trained.folder} doesn't say where the training data is")
        return None
    try:
        data = without_unreadable(trained.data) if skip_unreadable else trained.data
        return data.load("train", trained.description)
    except (UserError, OSError) as error:  # OSError: of a data set of one's own
        say(f"no baselines: the training data can't be read: {error}")
        return None


def unknown_likelihood(example: Example) -> float | None:
    """None: log p(x) under the process that generated the data isn't known."""
    return None


def without_unreadable(data: DataModule) -> DataModule:
    """The same data without what can't be read."""
    if "skip_unreadable" not in {field.name for field in fields(data)}:  # type: ignore[arg-type]  # data sets are dataclasses
        raise UserError("--skip-unreadable is for recordings and MIDI files; this run's data is none")
    return replace(data, skip_unreadable=True)  # type: ignore[type-var]  # as above
