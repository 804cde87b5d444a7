"""How well scores tell labelled steps from the others, beside chance and beside baselines that need no training.

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
from ..data.dataset import check_dataset
from ..errors import UserError
from ..files.reading import Array
from ..settings import Seed, must_be, must_fit
from ..tasks.scores import Scores
from .baselines import Baseline, fit_baselines
from .change import changes


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
    """random scores; the simple densities of `zforcing.evaluate`'s baselines; and the distance of a step from the one
    before it (`change`, see `evaluation.change`: columns of several units are scaled)"""
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
        labels: 0 or 1 for each step of the data: [T_i] for each sequence, or all in a row, in the order of the scores'
            table (`scores.to_frame()`).
        data: what was scored.
        clean: data without anomalies, such as the training split, to which the baselines are fitted; None: the data
            itself.
        seed: of the random scores.

    Returns:
        AUROC and average precision of each; steps without a score count in none.

    Raises:
        UserError: the labels don't fit the steps, aren't 0 or 1, or are all the same; the data isn't what was scored,
            or has no description.

    Example:
        zf.detection(scores, labels, data=test, clean=train).model.auroc
    """
    must_be(scores, Scores, "scores", "what score(model, data) returns")
    check_dataset(data, "data")
    if clean is not None:
        check_dataset(clean, "clean")
    must_fit(seed, Seed, "seed")
    truth = _labels(labels, [len(x) for x in scores.nats])
    _refuse_other(data, scores)
    nats = np.concatenate(scores.nats)
    used = ~np.isnan(nats)
    if np.isnan(truth[used]).any():
        raise UserError("a label is missing of a step that has a score; labels must be 0 or 1")
    if len({*truth[used].tolist()}) < 2:
        raise UserError(
            f"the {used.sum()} scored steps are all labelled {truth[used][:1].tolist()}; detection takes 0 and 1"
        )
    data = data if clean is None or clean.description is None else data.described_as(clean.description)
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

    surprise = -np.nan_to_num(scores.astype(np.float64), neginf=-1e300)
    return Detection(name, float(roc_auc_score(labels, surprise)), float(average_precision_score(labels, surprise)))


def baseline_scores(data: SequenceDataset, clean: SequenceDataset | None = None) -> dict[str, Array]:
    """Scores of all steps in a row, low where surprising, that need no model: see `DetectionTable`.

    Args:
        data: what is scored, with a description.
        clean: what the baselines are fitted to, in the same units as data; None: data itself.

    Raises:
        UserError: the data has no description, which says of what kind it is.
    """
    if data.description is None:
        raise UserError("data has no description, which says of what kind it is: data.described_as(model.description)")
    fitted = fit_baselines(data if clean is None else clean, data.description.spec, scored=data.lengths)
    change = changes(data, data if clean is None else clean, data.description)
    return {baseline.name: _nats_of_steps(baseline, data) for baseline in fitted} | {"change": -change}


def _nats_of_steps(baseline: Baseline, data: SequenceDataset) -> Array:
    return np.concatenate([baseline.log_prob([data[i]])[0] for i in range(len(data))])


def _refuse_other(data: SequenceDataset, scores: Scores) -> None:
    """Raise UserError where the data isn't what was scored, by its lengths and ids."""
    if data.lengths.tolist() != [len(x) for x in scores.nats]:
        raise UserError("data has sequences of other lengths than those that were scored: give the data of the scores")
    ids = [str(name) for name in getattr(data, "ids", range(len(data)))]
    other = next((pair for pair in zip(ids, map(str, scores.ids), strict=True) if pair[0] != pair[1]), None)
    if other is not None:
        raise UserError(f"data has a sequence {other[0]} where {other[1]} was scored: give the data of the scores")


def _labels(labels: Any, lengths: Sequence[int]) -> Array:
    """0 or 1 of each step, in a row."""
    if labels is None:
        raise UserError("labels is None; give 0 or 1 for each step of the data")
    by_sequence = isinstance(labels, list | tuple) and len(labels) > 0 and np.ndim(labels[0]) == 1
    if by_sequence and [len(part) for part in labels] != list(lengths):
        raise UserError(f"labels are of sequences of other lengths than the {len(lengths)} that were scored")
    try:
        values = np.concatenate([np.asarray(part) for part in labels]) if by_sequence else np.asarray(labels).ravel()
    except (TypeError, ValueError):  # a list of numbers and lists
        raise UserError("labels must be 0 or 1 for each step: [T_i] for each sequence, or all in a row") from None
    if len(values) != sum(lengths):
        raise UserError(f"there are {len(values)} labels for {sum(lengths)} steps; give one for each")
    if values.dtype.kind not in "biuf" or not np.isin(values[~np.isnan(values)], (0, 1)).all():
        raise UserError("labels must be 0 (as usual) or 1 (anomalous)")
    return values
