"""`Sequences`: data in memory, in the user's units, as a data set that models read."""

from __future__ import annotations

import copy
import operator
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Self, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..files.reading import Array, listed
from ..files.rows import Gaps, Rows
from ..observations import DataDescription, Example, TableFormat, check_values, example_of, scaled, with_labels_of
from ..settings import Count, must_fit
from . import convert
from .dataset import SequenceDataset
from .declared import (
    Declared,
    Describer,
    First,
    FixedDescription,
    Options,
    RowKind,
    checked_like,
    hardly_varying,
    names_like,
)
from .divide import How, Shares, divide
from .frames import keys_of, read_frame
from .kinds import Kinds
from .selection import Labels, Selection

NAME = "memory"


class Sequences(SequenceDataset):
    """N sequences of real, binary, categorical or mixed observations, in memory and in your units.

    An item is an `Example` as a model reads it, normalized where the description says so; `raw` gives your units back.
    A slice, or an array of indices, is a `Sequences` of these. Nothing is copied by slices, splits and windows.

    Args:
        x: a list of N arrays, tensors or nested lists `[T_i, D]`, or `[T_i]` (categories, or D = 1); or one array
            `[N, T, D]` or `[N, T]`. One long sequence is a list of one. NaN, None and the masked entries of masked
            arrays are missing.
        kind: `"real"` numbers, `"binary"` 0 or 1, `"categorical"`, one integer from 0 a step, or
            `"mixed"`, numbers of several kinds.
        kinds: of mixed observations, the kind of each number of a step: `real`, `positive`, `count`, `binary`,
            `category`; by name, `{"pen": "binary"}`, or a list of D. Those without one, and all with `"auto"`, have the
            kind that their values look like, which `remark` says.
        names: D names of the numbers of a step.
        lengths: `[N]` steps, where x is one array padded on the right.
        observed: bool, shaped like x; False where a number is missing.
        categories: how many categories there are; None: the largest in the training split plus 1.
        normalize: subtract the training split's mean and divide by its standard deviation, per feature (real data, and
            inputs).
        first_observation: whether a sequence's first observation is `"scored"`, or only `"conditioned"` on.
        missing: whether there may be gaps, also where these sequences have none; None: if they have some.
        groups: `[N]` labels; `split(how="group")` leaves each group in one split.
        inputs: what is known at every step, such as control signals or the calendar, in the form of x, `[T_i, U]` or
            `[T_i]` for each sequence; models read it at each step and don't score it. Nothing of it may be missing.
        input_names: U names of the inputs.
        like: a trained model's description, by which the data is read, also where a number is never observed; kind,
            normalize and the like are the model's.

    Attributes:
        lengths: `[N]` steps.
        description: what a model keeps of the data: kind, size, normalization.
        names: of the D features, or None.
        input_names: of the U inputs, or None.
        groups: `[N]`, or None.
        time_column: the times of the steps, as the column `order` of a frame has them, or None.
        remark: what a reader should know, such as gaps in time and columns that were left out.

    Raises:
        UserError: about a number that doesn't fit the kind, by its sequence, step and feature; an empty sequence;
            sequences of different D.

    Example:
        >>> import zforcing as zf
        >>> data = zf.Sequences([[[1.0], [2.0]], [[3.0]], [[4.0], [5.0], [6.0]]], names=["speed"])
        >>> data
        Sequences(real, N=3, T=1..3, D=1, 0% missing, names=[speed])
        >>> train, valid, test = data.split(0.4, 0.3, 0.3, seed=0)
        >>> len(train), len(valid), len(test)
        (1, 1, 1)
    """

    description: DataDescription

    def __init__(
        self,
        x: Any,
        *,
        kind: RowKind = "real",
        kinds: Kinds | None = None,
        names: Sequence[str] | None = None,
        lengths: Any = None,
        observed: Any = None,
        categories: int | None = None,
        normalize: bool = True,
        first_observation: First = "scored",
        missing: bool | None = None,
        groups: Sequence[Hashable] | None = None,
        inputs: Any = None,
        input_names: Sequence[str] | None = None,
        like: DataDescription | None = None,
    ):
        declared = Declared(kind, categories, normalize, first_observation, missing, kinds=kinds)
        declared.check("")
        rows = convert.rows_of(
            x, lengths=lengths, observed=observed, names=names, inputs=inputs, input_names=input_names
        )
        self._begin(*checked_like(rows, declared, like), convert.labels_of(groups, len(rows.lengths)))

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        by: str | Sequence[str] | None = None,
        order: str | None = None,
        columns: Sequence[str] | None = None,
        inputs: Sequence[str] | None = None,
        group: str | None = None,
        gaps: Gaps = "keep",
        max_gap: float = 1.5,
        like: DataDescription | None = None,
        **options: Unpack[Options],
    ) -> Self:
        """Make sequences of a pandas, polars or pyarrow data frame whose rows are steps.

        `remark` says which columns were left out because they only number the rows, and where time has gaps.

        Args:
            frame: a data frame; nulls and NaN are missing numbers, bools are 0 and 1.
            by: column, or columns, that name each row's sequence; without it the frame is one sequence.
            order: column of numbers, dates or times that rows are sorted by, and that tables of results have too;
                pandas' index, if that has this name. Without it rows keep their order.
            columns: the features; without it, all columns but those named otherwise.
            inputs: columns of known inputs, such as control signals or the calendar, which models read at each step
                and don't score.
            group: column with the group of each row's sequence, for `split(how="group")`; without it that is `by`.
            gaps: what becomes of an interval longer than `max_gap` times the median one: `"keep"` it, `"split"` the
                sequence there, or `"fill"` it with missing steps, on a regular grid.
            max_gap: in median intervals.
            like: a trained model's description, by which the data is read, also where a column is never observed; its
                columns and inputs are the model's.
            **options: kind, kinds, categories, normalize, first_observation and missing, as `Sequences` takes them.

        Returns:
            N sequences, in the order in which their ids first appear.

        Raises:
            UserError: about a row without an id or a time, two rows of the same time, or columns that hold no numbers.

        Example:
            >>> import pandas, zforcing as zf
            >>> frame = pandas.DataFrame({"machine": ["a", "a", "b"], "time": [2, 1, 1], "speed": [20.0, 10.0, None]})
            >>> zf.Sequences.from_frame(frame, by="machine", order="time", normalize=False).to_arrays()
            [array([[10.],
                   [20.]]), array([[nan]])]
        """
        keys = keys_of(by)
        naming = TableFormat(sequence=keys[0]) if len(keys) == 1 else TableFormat(keys=tuple(keys))
        declared = Declared(**options, format=naming)
        declared.check("")
        known = names_like(like)
        table = read_frame(
            frame,
            keys=keys,
            order=order,
            columns=known.columns if columns is None else columns,
            inputs=known.inputs if inputs is None else inputs,
            group=group,
            gaps=gaps,
            max_gap=max_gap,
            text=(declared.row_kind if like is None else like.spec.kind) == "mixed",
        )
        if order is not None:
            files = replace(declared.format, order=order, gaps=gaps, max_gap=max_gap)
            declared = replace(declared, format=files)
        return cls.of_rows(*checked_like(table.rows, declared, like), groups=table.groups, remark=table.remark)

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        *,
        x: str = "x",
        observed: str = "observed",
        inputs: str = "inputs",
        names: Sequence[str] | None = None,
        input_names: Sequence[str] | None = None,
        groups: Sequence[Hashable] | None = None,
        like: DataDescription | None = None,
        **options: Unpack[Options],
    ) -> Self:
        """Make sequences of a map-style `torch.utils.data.Dataset`, whose items are read once.

        Args:
            dataset: its items are sequences, pairs (sequence, observed), tuples of one, or dicts.
            x: of dicts, the key of the sequence.
            observed: of dicts, the key of what was observed, if there is one.
            inputs: of dicts, the key of the known inputs, if there is one.
            names: D names of the numbers of a step.
            input_names: U names of the inputs.
            groups: `[N]` labels, see `Sequences`.
            like: a trained model's description, see `Sequences`.
            **options: kind, kinds, categories, normalize, first_observation and missing, as `Sequences` takes them.

        Returns:
            One sequence for each item.

        Raises:
            UserError: about a data set without a length, an item that is no sequence, items that Sequences (or part of
                them) have normalized already, and as `Sequences`.
        """
        items = convert.items_of(dataset, x, observed, inputs)
        return cls(
            [item.x for item in items],
            observed=convert.masks_of(items),
            inputs=convert.inputs_of(items),
            names=names,
            input_names=input_names,
            groups=groups,
            like=like,
            **options,
        )

    @classmethod
    def of_rows(cls, rows: Rows, describer: Describer, *, groups: Labels | None = None, remark: str = "") -> Self:
        """Make sequences of rows whose gaps are marked and whose kind is checked."""
        self = cls.__new__(cls)
        self._begin(rows, describer, groups, remark)
        return self

    def _begin(self, rows: Rows, describer: Describer, groups: Labels | None, remark: str = "") -> None:
        self._chosen, self._describer, self._note = Selection.of(rows, groups), describer, remark
        self.lengths, self.time_column = rows.lengths, self._chosen.time_column
        self._describe(describer.describe(rows, NAME))

    def _describe(self, description: DataDescription) -> None:
        rows = with_labels_of(self._chosen.rows, description.spec)
        check_values(rows, description.spec)
        self._chosen = replace(self._chosen, rows=rows)
        self.description = description
        self._read = scaled(rows, description)
        varies = hardly_varying(rows, description.normalization)
        inputs = rows.of_inputs
        of_inputs = "" if inputs is None else hardly_varying(inputs, description.input_normalization)
        self.remark = "; ".join(part for part in (self._note, self._describer.remark(rows), varies, of_inputs) if part)

    def _with(self, chosen: Selection) -> Self:
        """Other steps of the same rows, described as these."""
        other = copy.copy(self)
        other._chosen, other.lengths, other.time_column = chosen, chosen.lengths, chosen.time_column
        return other

    # ---- as a data set

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | NDArray[Any]) -> Self: ...
    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any]) -> Example | Self:
        if not isinstance(index, slice) and np.ndim(index) == 0:  # of a tensor, too
            at = range(len(self))[operator.index(index)]  # type: ignore[arg-type]  # one number, by its rank
            return self.piece(at, 0, int(self.lengths[at]))
        chosen = np.arange(len(self))[index if isinstance(index, slice) else _indices(index)]
        if chosen.ndim != 1 or len(chosen) == 0:
            raise UserError(f"an index of {len(self)} sequences picks none of them; it must pick 1 or more")
        return self._with(self._chosen.take(chosen))

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))

    def piece(self, index: int, start: int, stop: int) -> Example:
        begin = self._chosen.steps(index).start
        return example_of(self._read, begin + start, begin + stop, kind=self.description.spec.kind)

    def __repr__(self) -> str:
        spec = self.description.spec
        size = f"{spec.size} categories" if spec.kind == "categorical" else f"D={spec.size}"
        steps = "..".join(dict.fromkeys((str(self.lengths.min()), str(self.lengths.max()))))
        names = "" if self.names is None else f", names=[{listed(self.names)}]"
        called = "" if self.input_names is None else f" ({listed(self.input_names)})"
        inputs = f", {spec.inputs} inputs{called}" if spec.inputs else ""
        remark = f", remark={self.remark!r}" if self.remark else ""
        missing = f"{self.missing_share:.3g}% missing"
        kinds = "" if spec.columns is None else f", kinds=[{', '.join(column.name for column in spec.columns)}]"
        return f"Sequences({spec.kind}, N={len(self)}, T={steps}, {size}, {missing}{names}{kinds}{inputs}{remark})"

    @property
    def groups(self) -> Labels | None:
        """[N], or None."""
        return self._chosen.groups

    @property
    def names(self) -> tuple[str, ...] | None:
        """Of the D features, or None."""
        return self._chosen.rows.columns

    @property
    def input_names(self) -> tuple[str, ...] | None:
        """Of the U inputs, or None."""
        return self._chosen.rows.input_names

    @property
    def ids(self) -> list[Any]:
        """[N] ids of the sequences (the `by` columns), or their numbers in the input."""
        return self._chosen.ids

    @property
    def missing_share(self) -> float:
        """Percentage of the numbers that is missing."""
        return self._chosen.missing_share

    # ---- your units

    def raw(self, index: int) -> Array:
        """One sequence in your units: [T, D] float64 with NaN for missing numbers; categories: [T] int64 with -1."""
        at = range(len(self))[index]
        return self._chosen.categories(at) if self.description.spec.kind == "categorical" else self._chosen.numbers(at)

    def to_arrays(self) -> list[Array]:
        """All sequences in your units, each as `raw` returns it."""
        return [self.raw(index) for index in range(len(self))]

    # ---- splits and windows

    def split(
        self, train: float = 0.8, valid: float = 0.1, test: float = 0.1, *, seed: int = 0, how: How = "sequence"
    ) -> tuple[Self, Self, Self]:
        """Split into train, valid and test. All three have the description (normalization, categories) of train.

        Args:
            train: share of the training split.
            valid: share of the validation split.
            test: share of the test split; the three sum to 1.
            seed: which sequences or groups are in which.
            how: `"sequence"`: whole sequences, at random. `"time"`: the first steps of each sequence, the next, and the
                last, so that no step is in two. `"group"`: sequences of one group are in one split, at random.

        Returns:
            train, valid and test.

        Raises:
            UserError: for shares that don't sum to 1, too few sequences, steps or groups, or windows that overlap.
        """
        shares: Shares = {"train": train, "valid": valid, "test": test}
        parts = divide(self._chosen, shares, seed=seed, how=how, least=1 + self._unscored)
        return self._described_by_first([self._with(part) for part in parts])

    def _described_by_first(self, parts: list[Self]) -> tuple[Self, Self, Self]:
        train, valid, test = parts
        description = self._describer.describe(train._chosen.own_rows(), NAME)
        train._describe(description)
        for part in (valid, test):
            part.description, part._read, part.remark = train.description, train._read, train.remark
        return train, valid, test

    def windows(self, length: int, stride: int | None = None, *, keep_last: bool = True) -> Self:
        """Cut each sequence into windows, to train on one long series, for example.

        Windows of one sequence are one group, unless the sequences have groups already. Each window begins from a
        model's initial state: `fit(..., truncated_bptt_steps=50)` carries the state through a sequence instead, and
        trains on as many windows side by side as its batches have rows.

        Args:
            length: steps in a window.
            stride: steps from the start of one window to that of the next; None: every step is scored once.
            keep_last: whether the remaining steps become a last, shorter window.

        Returns:
            The windows, each a sequence, in the order of the sequences they are cut from.

        Raises:
            UserError: for a length or a stride that is too small, or where no sequence has `length` steps.
        """
        least = 1 + self._unscored
        must_fit(length, int, "length")
        must_fit(stride, Count | None, "stride")
        if length < least:
            raise UserError(f"windows of {length} steps; they must have {least} or more")
        step = length - self._unscored if stride is None else stride
        windows = self._chosen.windows(length, stride=step, keep_last=keep_last, least=least)
        if len(windows.lengths) == 0:
            raise UserError(
                f"no sequence has {length} steps, the longest has {self.lengths.max()}; make the windows shorter, or "
                f"keep shorter ones by keep_last=True"
            )
        other = self._with(windows)
        other.description = replace(self.description, longest=int(other.lengths.max()) - self._unscored)
        return other

    @property
    def _unscored(self) -> int:
        return self.description.spec.unscored_steps

    # ---- a trained model's description

    def described_as(self, description: DataDescription) -> Self:
        """The same sequences as a trained model reads them: normalized by the description that it keeps.

        Args:
            description: the model's.

        Returns:
            The sequences with that description.

        Raises:
            UserError: for another kind or size, other columns, more categories, or gaps where it knows none.
        """
        if description == self.description:
            return self
        trained = FixedDescription(description)
        trained.check_agrees(self._chosen.rows, self.description.spec)
        other = self._with(self._chosen)
        other._describer = trained
        other._describe(description)
        return other


def _indices(index: Any) -> NDArray[Any]:
    """An array of indices, of whole numbers also where NumPy makes floats of none."""
    indices = np.asarray(index)
    return indices if indices.size else indices.astype(np.int64)
