"""Whether what a run is measured on may have been trained on."""

from __future__ import annotations

from ..data import SequenceDataset
from ..data.arrays.dataset import FileDataModule
from ..data.splits import Split
from ..data.suspicious import same_content
from ..errors import UserError
from ..saving.model import find_checkpoint
from ..training.runs.checkpoint import check_same_data
from ..training.runs.trained import Trained


def doubts_about(
    trained: Trained, scored: SequenceDataset, *, train: SequenceDataset | None, split: Split | None, name: str
) -> list[str]:
    """What a reader of the number should know, each in one line.

    Args:
        trained: The run.
        scored: What it is measured on.
        train: Its training split, where that is at hand.
        split: Which of the run's splits is measured; None: a file.
        name: What a message calls the file.
    """
    if split == "train":
        return []
    called = name if split is None else f"the {split} split"
    same = None if train is None else same_content(train, scored, called)
    moved = None if split is None else _moved(trained, split)
    return [doubt for doubt in (moved, same) if doubt is not None]


def _moved(trained: Trained, split: Split) -> str | None:
    """Whether the file that training and this split were taken from has other training sequences than it had then."""
    data = None if trained.config is None else trained.config.data
    if not isinstance(data, FileDataModule) or not data.takes_from_training_file(split):
        return None
    try:
        check_same_data(find_checkpoint(trained.folder), data.describe())
    except UserError:
        return (
            f"{data.path} isn't what the run was trained on, so that sequences of the {split} split may have been; "
            f"restore it, or measure new sequences as a file (zforcing evaluate RUN FILE)"
        )
    return None
