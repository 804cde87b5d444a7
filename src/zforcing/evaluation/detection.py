"""How well scores tell labelled steps from the others, beside chance and beside baselines that a minute of work gives.

Every step counts by itself, without point adjustment: where one step of an anomaly is found, its others don't count as
found. By such an adjustment random scores beat published methods: S. Kim et al., "Towards a rigorous evaluation of
time-series anomaly detection", AAAI 2022, arXiv 2109.05257.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import SequenceDataset
from ..errors import UserError
from ..files.reading import Array
from ..tasks.scores import Scores


@dataclass(frozen=True)
class Detection:
    """How well scores find the steps that are labelled 1."""

    name: str
    """of the scores"""
    auroc: float
    """area under the ROC curve: how probably an anomalous step is more surprising than a usual one; 0.5 by chance"""
    average_precision: float
    """area under the precision-recall curve; by chance the share of anomalous steps"""


@dataclass(frozen=True)
class DetectionTable:
    """A model's detection, and that of other scores of the same steps."""

    model: Detection
    baselines: tuple[Detection, ...]
    """random scores; each number by itself, without time (`independent`); the distance from the last step (`change`)"""
    steps: int
    """scored and labelled steps"""
    anomalous: int
    """how many of them are labelled 1"""

    @property
    def rows(self) -> tuple[Detection, ...]:
        """The model first."""
        return (self.model, *self.baselines)


def detection(
    scores: Scores, labels: Any, *, data: SequenceDataset, clean: SequenceDataset | None = None, seed: int = 0
) -> DetectionTable:
    """Measure how well scores find labelled steps, beside baselines on the same steps.

    Args:
        scores: of the data.
        labels: 0 or 1 for each step of the data: [T_i] for each sequence, or all in a row.
        data: what was scored.
        clean: data without anomalies, such as the training split, from which the baseline `independent` takes each
            number's mean and standard deviation, or frequencies; None: from the data itself.
        seed: of the random scores.

    Returns:
        AUROC and average precision of each; steps without a score count in none.

    Raises:
        UserError: the labels don't fit the steps, aren't 0 or 1, or are all the same.

    Example:
        zf.detection(scores, labels, data=test, clean=train).model.auroc
    """
    truth = _labels(labels, [len(x) for x in scores.nats])
    nats = np.concatenate(scores.nats)
    used = ~np.isnan(nats)
    if len({*truth[used].tolist()}) < 2:
        raise UserError(
            f"the {used.sum()} scored steps are all labelled {truth[used][:1].tolist()}; detection takes 0 and 1"
        )
    others = {"random": np.random.default_rng(seed).random(len(nats))} | baseline_scores(data, clean)
    return DetectionTable(
        model=measured(scores.model, nats[used], truth[used]),
        baselines=tuple(measured(name, values[used], truth[used]) for name, values in others.items()),
        steps=int(used.sum()),
        anomalous=int(truth[used].sum()),
    )


def measured(name: str, scores: Array, labels: Array) -> Detection:
    """AUROC and average precision of scores [n], low where labels [n] should be 1. Ties count half."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    surprise = -np.nan_to_num(scores, neginf=-1e300)
    return Detection(name, float(roc_auc_score(labels, surprise)), float(average_precision_score(labels, surprise)))


def baseline_scores(data: SequenceDataset, clean: SequenceDataset | None = None) -> dict[str, Array]:
    """Scores of all steps in a row, low where surprising: what needs no model. See `detection`."""
    examples = [data[i] for i in range(len(data))]
    rows, changes = [], []
    for example in examples:
        x = _numbers(example.x, example.observed)
        rows.append(x)
        before = np.concatenate([x[:1], x[:-1]])
        changed = x != before if example.x.dtype.kind == "i" else x - before
        changes.append(np.where(np.isnan(x) | np.isnan(before), 0.0, np.square(changed)).sum(-1))
    known = rows if clean is None else [_numbers(e.x, e.observed) for e in (clean[i] for i in range(len(clean)))]
    density = _frequencies if examples[0].x.dtype.kind == "i" else _gaussian
    return {
        "independent": density(np.concatenate(known), np.concatenate(rows)),
        "change": -np.concatenate(changes),
    }


def _numbers(x: Array, observed: Array | None) -> Array:
    """[T, D] float64, NaN where something is missing; a category is one number."""
    values = np.where(True if observed is None else observed, x, np.nan)
    return values.reshape(len(x), -1).astype(np.float64)


def _gaussian(known: Array, x: Array) -> Array:
    """sum_d log N(x_d; mean_d, std_d) without its constants, [R]."""
    mean, std = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
    each = -np.square((x - mean) / np.where(std > 0, std, 1)) / 2
    total: Array = np.nansum(each, axis=1)
    return total


def _frequencies(known: Array, x: Array) -> Array:
    """The log of each category's frequency, one more than was seen, [R]."""
    size = int(max(np.nanmax(known), np.nanmax(x))) + 1
    counts = 1 + np.bincount(known[~np.isnan(known)].astype(np.int64), minlength=size)
    category = np.nan_to_num(x[:, 0]).astype(np.int64)
    total: Array = np.where(np.isnan(x[:, 0]), 0.0, np.log(counts / counts.sum())[category])
    return total


def _labels(labels: Any, lengths: Sequence[int]) -> Array:
    """0 or 1 of each step, in a row."""
    by_sequence = not isinstance(labels, np.ndarray) and len(labels) and np.ndim(labels[0]) == 1
    if by_sequence and [len(part) for part in labels] != list(lengths):
        raise UserError(f"labels are of sequences of other lengths than the {len(lengths)} that were scored")
    values = np.concatenate([np.asarray(part) for part in labels]) if by_sequence else np.asarray(labels).reshape(-1)
    if len(values) != sum(lengths):
        raise UserError(f"there are {len(values)} labels for {sum(lengths)} steps; give one for each")
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise UserError("labels must be 0 (as usual) or 1 (anomalous)")
    return values.astype(np.int64)
