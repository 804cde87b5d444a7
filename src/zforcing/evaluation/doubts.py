"""Whether what a run is measured on may have been trained on."""

from __future__ import annotations

from pathlib import Path

from ..data import SequenceDataset
from ..data.arrays.dataset import FileDataModule
from ..data.record import SplitRecord
from ..data.splits import Split
from ..data.suspicious import real_columns, same_content
from ..saving.model import find_checkpoint
from ..training.runs.checkpoint import read_splits
from ..training.runs.folder import differences, trained_with
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
    checkpoint = find_checkpoint(trained.folder)
    known = read_splits(checkpoint).get("train")
    called = name if split is None else f"the {split} split"
    edited = None if split is None else edited_settings(trained, checkpoint)
    moved = None if known is None or split is None else _moved(trained, split, known, train=train)
    same = None if train is None else same_content(train, scored, called)
    if same is None and known is not None and (moved or _is_real(scored)):
        same = _trained_on(known, scored, called)
    return [doubt for doubt in (edited, moved, same) if doubt is not None]


def edited_settings(trained: Trained, checkpoint: Path) -> str | None:
    """Whether the run's config.yaml has other settings than the weights were trained by; its data may have moved."""
    if trained.config is None or not (checkpoint / "training.json").is_file():
        return None
    changed = differences(trained_with(trained.folder, checkpoint), trained.config)
    paths = tuple(f"data.{name} " for name in trained.config.data.paths)
    edited = [change for change in changed if not change.startswith(paths)]
    if not edited:
        return None
    return f"{trained.folder / 'config.yaml'} has been edited, or is damaged: {'; '.join(edited)}"


def _moved(trained: Trained, split: Split, known: SplitRecord, *, train: SequenceDataset | None) -> str | None:
    """Whether training sequences are others than they were: what this split is taken from has changed."""
    data = None if trained.config is None else trained.config.data
    if train is None and isinstance(data, FileDataModule) and data.takes_from_training_file(split):
        train = data.load("train", trained.description)
    change = "" if train is None else known.change(SplitRecord.of(train))
    if data is None or not change:
        return None
    place = next((value for name in data.paths if (value := getattr(data, name, None))), "the data")
    return (
        f"{place} isn't what the run was trained on, so that sequences of the {split} split may have been: the train "
        f"split {change}; restore it, or measure new sequences as a file (zforcing evaluate RUN FILE)"
    )


def _is_real(data: SequenceDataset) -> bool:
    """Whether two sequences are hardly the same by chance."""
    return data.description is not None and bool(real_columns(data.description.spec))


def _trained_on(known: SplitRecord, scored: SequenceDataset, called: str) -> str | None:
    """How many of these sequences the run was trained on."""
    count = SplitRecord.of(scored).same(known)
    if not count:
        return None
    return (
        f"the run was trained on {count} of the {len(scored)} sequences of {called}, which says nothing about new data"
    )
