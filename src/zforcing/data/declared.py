"""What the user declares about rows, and the description that follows from it and the training split."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from ..errors import UserError
from ..files.rows import Rows
from ..observations import DataDescription, Normalization, ObservationSpec, TableFormat
from ..settings import Count, must_fit

MANY_CATEGORIES = 100_000  # more, found and not asked for, need at least a tenth of an observation each
HARDLY = 1e-7  # a standard deviation below this part of the mean is less than float32 resolves there
RowKind = Literal["real", "binary", "categorical"]
First = Literal["scored", "conditioned"]


@dataclass(frozen=True)
class Declared:
    """What the user declares about sequences; the rest of a description comes from the training split.

    Args:
        kind: what a step holds.
        categories: how many there are; None: the largest of the training split plus 1.
        normalize: whether real numbers and inputs are scaled by the training split's mean and standard deviation.
        first_observation: whether a sequence's first observation is scored, or only conditioned on.
        missing: whether there may be gaps, also where the training split has none; None: if it has some.
        format: what files a model of these sequences reads; the names of the features are the rows'.
    """

    kind: RowKind = "real"
    categories: int | None = None
    normalize: bool = True
    first_observation: First = "scored"
    missing: bool | None = None
    format: TableFormat = field(default_factory=TableFormat)

    def check(self, option: str) -> None:
        """Raises UserError about a wrong value; `option` is what stands before its name (`data.`, or nothing)."""
        for name, choices in (("kind", get_args(RowKind)), ("first_observation", get_args(First))):
            if getattr(self, name) not in choices:
                raise UserError(f"{option}{name} is {getattr(self, name)!r}; it must be {' or '.join(choices)}")
        must_fit(self.normalize, bool, f"{option}normalize")
        must_fit(self.categories, Count | None, f"{option}categories")
        if self.categories is None:
            return
        if self.kind != "categorical":
            raise UserError(
                f"{option}categories is {self.categories}, but {option}kind {self.kind}; leave one of them out"
            )

    def check_steps(self, rows: Rows) -> None:
        """Raises UserError about a sequence of which nothing would be scored."""
        if self.first_observation == "conditioned" and rows.lengths.min() < 2:
            raise UserError(
                f"{rows.source}: {rows.sequence(int(np.argmin(rows.lengths)))} has 1 step; {rows.option}"
                f"first_observation conditioned needs 2 or more"
            )

    def describe(self, train: Rows, name: str) -> DataDescription:
        """Describe a training split whose gaps are marked. Raises UserError about a feature that is never observed."""
        missing = train.observed is not None if self.missing is None else self.missing
        inputs = train.of_inputs
        known = 0 if inputs is None else inputs.values.shape[1]
        spec = ObservationSpec(self.kind, self._size(train), self.first_observation, missing=missing, inputs=known)
        longest = int(train.lengths.max()) - spec.unscored_steps
        normalization = _fit(train) if self.kind == "real" and self.normalize else None
        of_inputs = _fit(inputs) if inputs is not None and self.normalize else None
        names = replace(self.format, names=train.columns, input_names=train.input_names)
        return DataDescription(name, spec, longest, normalization, names, of_inputs)

    def _size(self, train: Rows) -> int:
        if self.kind != "categorical":
            return int(train.values.shape[1])
        if self.categories is not None:
            return self.categories
        largest = int(train.values.max())
        observations = len(train.values) if train.observed is None else int(train.observed.sum())
        if largest > max(MANY_CATEGORIES, 10 * observations):
            raise UserError(
                f"{train.source}: the largest category in the training split is {largest}, with {observations} "
                f"observations; categories are numbered from 0, so renumber ids or times (numpy.unique, "
                f"return_inverse), or set {train.option}categories to how many there are"
            )
        return largest + 1


def _fit(train: Rows) -> Normalization:
    """Fit a normalization to what is observed; every feature must be observed at least once."""
    if train.observed is None:
        return Normalization.fit(train.values)
    never = ~train.observed.any(axis=0)  # [D]
    if never.any():
        raise UserError(
            f"{train.source}: {train.feature(int(np.argmax(never)))} is never observed in the training split; leave it "
            f"out, or set {train.option}normalize false"
        )
    return Normalization.fit(np.where(train.observed, train.values, np.nan))


def hardly_varying(rows: Rows, normalization: Normalization | None) -> str:
    """The remark about features whose standard deviation is tiny compared to their mean."""
    if normalization is None:
        return ""
    remarks = [
        f"{rows.feature(i)} hardly varies in the training split (standard deviation {std:.1e} around {mean:.6g})"
        for i, (mean, std) in enumerate(zip(normalization.mean, normalization.std, strict=True))
        if std < HARDLY * abs(mean)
    ]
    return "; ".join(remarks)
