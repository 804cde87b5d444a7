"""What the user declares about rows, and the description that follows from it; or a trained model's description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, Protocol, TypedDict, get_args

import numpy as np

from ..errors import UserError
from ..files.reading import listed
from ..files.rows import Rows
from ..observations import (
    Column,
    DataDescription,
    Normalization,
    ObservationSpec,
    TableFormat,
    check_inputs,
    check_kind,
    mark_gaps,
    refuse_large,
)
from ..settings import Count, must_be, must_fit
from .kinds import Choice, Kinds, bits_remark, check_kinds, choose_kinds, fit_columns, fit_scaling, recognized_remark

MANY_CATEGORIES = 100_000  # more, found and not asked for, need at least a tenth of an observation each
HARDLY = 1e-7  # a standard deviation below this part of the mean is less than float32 resolves there
RowKind = Literal["real", "binary", "categorical", "mixed"]
First = Literal["scored", "conditioned"]


class Options(TypedDict, total=False):
    """The arguments that every way to make `Sequences` takes."""

    kind: RowKind
    kinds: Kinds | None
    categories: int | None
    normalize: bool
    first_observation: First
    missing: bool | None


class Describer(Protocol):
    """Makes a description of a training split."""

    def describe(self, train: Rows, name: str) -> DataDescription:
        """The description of rows, for a data set of this name."""

    def remark(self, rows: Rows) -> str:
        """What the user should know of the kinds of rows."""


@dataclass(frozen=True)
class FixedDescription:
    """Gives a trained model's description, whatever the rows are; `note`: what the user should know of their kinds."""

    description: DataDescription
    note: str = ""

    def describe(self, train: Rows, name: str) -> DataDescription:
        """The trained model's description."""
        return self.description

    def remark(self, rows: Rows) -> str:
        """The note."""
        return self.note

    def check_agrees(self, rows: Rows, spec: ObservationSpec) -> None:
        """Raises UserError where the trained model can't read sequences of these rows and this spec."""
        trained = self.description.spec
        for name in ("kind", "first_observation"):
            own, known = getattr(spec, name), getattr(trained, name)
            if own != known:
                raise UserError(
                    f"these sequences have {name} {own!r}, but the model was trained with {known!r}; give Sequences "
                    f"{name}={known!r}"
                )
        if isinstance(self.description.format, TableFormat):
            _refuse_other_names(rows.columns, self.description.format.names, "columns")
            _refuse_other_names(rows.input_names, self.description.format.input_names, "inputs")
        if rows.observed is not None and not trained.missing:
            raise UserError(
                "these sequences have gaps, but the model was trained on data without; fill them by impute, or train "
                "it with missing=True"
            )


def _refuse_other_names(names: Sequence[str] | None, known: Sequence[str] | None, option: str) -> None:
    """`known`: of a model's training data. Names that neither has may be anything."""
    if known is not None and names is not None and tuple(known) != tuple(names):
        raise UserError(
            f"the {option} are {listed(names)}, those that the model was trained on {listed(known)}; give it the "
            f"same in the same order ({option}=[...] of from_frame)"
        )


@dataclass(frozen=True)
class Declared:
    """What the user declares about sequences; the rest of a description comes from the training split.

    Args:
        kind: what a step holds.
        kinds: what each column holds, of mixed observations; None: as their numbers look.
        categories: how many there are; None: the largest of the training split plus 1.
        normalize: whether real numbers and inputs are scaled by the training split's mean and standard deviation.
        first_observation: whether a sequence's first observation is scored, or only conditioned on.
        missing: whether there may be gaps, also where the training split has none; None: if it has some.
        format: what files a model of these sequences reads; the names of the features are the rows'.
        choices: the kind of each column, once it is known (`resolved`).
    """

    kind: RowKind = "real"
    categories: int | None = None
    normalize: bool = True
    first_observation: First = "scored"
    missing: bool | None = None
    format: TableFormat = field(default_factory=TableFormat)
    kinds: Kinds | None = None
    choices: tuple[Choice, ...] | None = None

    @property
    def row_kind(self) -> RowKind:
        """What a step holds: kinds of columns make it mixed."""
        return "mixed" if self.kinds is not None else self.kind

    def check(self, option: str) -> None:
        """Raises UserError about a wrong value; `option` is what stands before its name (`data.`, or nothing)."""
        for name, choices in (("kind", get_args(RowKind)), ("first_observation", get_args(First))):
            if getattr(self, name) not in choices:
                raise UserError(f"{option}{name} is {getattr(self, name)!r}; it must be {' or '.join(choices)}")
        check_kinds(self.kinds, option)
        if self.kinds is not None and self.kind not in ("real", "mixed"):
            raise UserError(
                f"{option}kinds goes with {option}kind mixed, and that is {self.kind}: leave one of them out"
            )
        must_fit(self.normalize, bool, f"{option}normalize")
        must_fit(self.categories, Count | None, f"{option}categories")
        if self.categories is None:
            return
        if self.row_kind != "categorical":
            raise UserError(
                f"{option}categories is {self.categories}, but {option}kind {self.row_kind}; leave one of them out"
            )

    def check_steps(self, rows: Rows) -> None:
        """Raises UserError about a sequence of which nothing would be scored."""
        if self.first_observation == "conditioned" and rows.lengths.min() < 2:
            raise UserError(
                f"{rows.source}: {rows.sequence(int(np.argmin(rows.lengths)))} has 1 step; {rows.option}"
                f"first_observation conditioned needs 2 or more"
            )

    def checked(self, rows: Rows) -> tuple[Rows, Declared]:
        """Mark the gaps and check the kind; `missing` becomes True or False, so that all splits agree."""
        marked = mark_gaps(rows)
        refuse_large(marked)
        check_inputs(marked)
        self.check_steps(marked)
        check_kind(marked, self.row_kind)
        has_gaps = marked.observed is not None
        if self.missing is False and has_gaps:
            raise UserError(f"{rows.source}: has gaps, but missing is False; leave missing out, or fill them")
        return marked, replace(self.resolved(marked), missing=has_gaps if self.missing is None else self.missing)

    def resolved(self, rows: Rows) -> Declared:
        """With the kind of each column of mixed observations, as it is recognized in these rows."""
        return replace(self, choices=choose_kinds(rows, self.kinds)) if self.row_kind == "mixed" else self

    def remark(self, rows: Rows) -> str:
        """What the user should know of the kinds: what was recognized, or looks wrong."""
        if self.choices is not None:
            return recognized_remark(rows, self.choices)
        return bits_remark(rows) if self.row_kind == "real" else ""

    def describe(self, train: Rows, name: str) -> DataDescription:
        """Describe a training split whose gaps are marked. Raises UserError about a feature that is never observed."""
        missing = train.observed is not None if self.missing is None else self.missing
        inputs = train.of_inputs
        known = 0 if inputs is None else inputs.values.shape[1]
        columns = self._columns(train)
        spec = ObservationSpec(
            self.row_kind, self._size(train), self.first_observation, missing=missing, inputs=known, columns=columns
        )
        longest = int(train.lengths.max()) - spec.unscored_steps
        normalization = self._scaling(train, columns) if self.normalize else None
        of_inputs = _fit(inputs) if inputs is not None and self.normalize else None
        names = replace(self.format, names=train.columns, input_names=train.input_names)
        return DataDescription(name, spec, longest, normalization, names, of_inputs)

    def _columns(self, train: Rows) -> tuple[Column, ...] | None:
        choices = self.resolved(train).choices if self.choices is None else self.choices
        return None if choices is None else fit_columns(train, choices)

    def _scaling(self, train: Rows, columns: tuple[Column, ...] | None) -> Normalization | None:
        if columns is not None:
            return fit_scaling(train, columns)
        return _fit(train) if self.kind == "real" else None

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


def checked_like(rows: Rows, declared: Declared, like: DataDescription | None) -> tuple[Rows, Describer]:
    """Rows as the user declares them; or, with `like`, as a trained model reads them, of which nothing is fitted.

    Gaps may be there where the model knows none, for `impute`; other verbs refuse them.

    Raises:
        UserError: as `Declared.checked`; the model can't read such rows, or something else is declared too.
    """
    if like is None:
        return declared.checked(rows)
    _check_like(like)
    if declared != Declared(format=declared.format):
        raise UserError("like says how a model reads the data: leave kind, kinds, normalize and the like out")
    marked = mark_gaps(rows)
    refuse_large(marked)
    check_inputs(marked)
    replace(declared, first_observation=like.spec.first_observation).check_steps(marked)
    check_kind(marked, like.spec.kind)
    spec = replace(like.spec, missing=like.spec.missing or marked.observed is not None)
    known = FixedDescription(replace(like, spec=spec))
    known.check_agrees(marked, spec)
    return marked, known


class Names(NamedTuple):
    """Of the columns that a trained model reads; None where it knows no names."""

    columns: Sequence[str] | None
    inputs: Sequence[str] | None


def names_like(like: DataDescription | None) -> Names:
    """The names that a trained model's description has."""
    if like is None:
        return Names(None, None)
    _check_like(like)
    known = like.format
    return Names(known.names, known.input_names) if isinstance(known, TableFormat) else Names(None, None)


def _check_like(like: DataDescription) -> None:
    must_be(like, DataDescription, "like", "the description of a model, model.description")


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
