"""`Sequences`: data in memory, in the user's units, as a data set that models read."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, Protocol, Self, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..files.reading import Array, listed
from ..files.rows import Rows
from ..observations import (
    DataDescription,
    Example,
    TableFormat,
    check_inputs,
    check_kind,
    check_values,
    example_of,
    mark_gaps,
    refuse_large,
    scaled,
)
from ..settings import Count, Seed, Share, must_be, must_fit
from . import convert
from .dataset import SequenceDataset
from .declared import Declared, First, RowKind, hardly_varying
from .frames import Gaps, read_frame
from .pieces import Pieces
from .splits import Split, cut, cut_groups

How = Literal["sequence", "time", "group"]
Labels = NDArray[Any]  # [N] groups
NAME = "memory"


class Options(TypedDict, total=False):
    """The arguments that every way to make `Sequences` takes."""

    kind: RowKind
    categories: int | None
    normalize: bool
    first_observation: First
    missing: bool | None


class Describer(Protocol):
    """Makes a description of a training split."""

    def describe(self, train: Rows, name: str) -> DataDescription:
        """The description of rows, for a data set of this name."""


@dataclass(frozen=True)
class FixedDescription:
    """Gives a trained model's description, whatever the rows are."""

    description: DataDescription

    def describe(self, train: Rows, name: str) -> DataDescription:
        """The trained model's description."""
        return self.description


class Sequences(SequenceDataset):
    """N sequences of real, binary or categorical observations, in memory and in your units.

    An item is an `Example` as a model reads it, normalized where the description says so; `raw` gives your units back.
    A slice, or an array of indices, is a `Sequences` of these. Nothing is copied by slices, splits and windows.

    Args:
        x: a list of N arrays, tensors or nested lists `[T_i, D]`, or `[T_i]` (categories, or D = 1); or one array
            `[N, T, D]` or `[N, T]`. One long sequence is a list of one. NaN, None and the masked entries of masked
            arrays are missing.
        kind: `"real"` numbers, `"binary"` 0 or 1, or `"categorical"`, one integer from 0 a step.
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

    Attributes:
        lengths: `[N]` steps.
        description: what a model keeps of the data: kind, size, normalization.
        names: of the D features, or None.
        input_names: of the U inputs, or None.
        groups: `[N]`, or None.
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
    ):
        declared = Declared(kind, categories, normalize, first_observation, missing)
        declared.check("")
        rows = convert.rows_of(
            x, lengths=lengths, observed=observed, names=names, inputs=inputs, input_names=input_names
        )
        self._begin(*_checked(rows, declared), _labels(groups, len(rows.lengths)))

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
        **options: Unpack[Options],
    ) -> Self:
        """Make sequences of a pandas, polars or pyarrow data frame whose rows are steps.

        `remark` says which columns were left out because they only number the rows, and where time has gaps.

        Args:
            frame: a data frame; nulls and NaN are missing numbers, bools are 0 and 1.
            by: column, or columns, that name each row's sequence; without it the frame is one sequence.
            order: column of numbers, dates or times that rows are sorted by; pandas' index, if that has this name.
                Without it rows keep their order.
            columns: the features; without it, all columns but those named otherwise.
            inputs: columns of known inputs, such as control signals or the calendar, which models read at each step
                and don't score.
            group: column with the group of each row's sequence, for `split(how="group")`; without it that is `by`.
            gaps: what becomes of an interval longer than `max_gap` times the median one: `"keep"` it, `"split"` the
                sequence there, or `"fill"` it with missing steps, on a regular grid.
            max_gap: in median intervals.
            **options: kind, categories, normalize, first_observation and missing, as `Sequences` takes them.

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
        declared = Declared(**options, format=TableFormat(sequence=by if isinstance(by, str) else None))
        declared.check("")
        table = read_frame(
            frame, by=by, order=order, columns=columns, inputs=inputs, group=group, gaps=gaps, max_gap=max_gap
        )
        return cls._made(*_checked(table.rows, declared), table.groups, table.remark)

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
            **options: kind, categories, normalize, first_observation and missing, as `Sequences` takes them.

        Returns:
            One sequence for each item.

        Raises:
            UserError: about a data set without a length, an item that is no sequence, items that Sequences (or part of
                them) have normalized already, and as `Sequences`.
        """
        _refuse_normalized(dataset)
        items = convert.items_of(dataset, x, observed, inputs)
        return cls(
            [item.x for item in items],
            observed=convert.masks_of(items),
            inputs=convert.inputs_of(items),
            names=names,
            input_names=input_names,
            groups=groups,
            **options,
        )

    @classmethod
    def of_rows(cls, rows: Rows, describer: Describer) -> Self:
        """Make sequences of rows whose gaps are marked and whose kind is checked."""
        return cls._made(rows, describer, None)

    @classmethod
    def _made(cls, rows: Rows, describer: Describer, groups: Labels | None, remark: str = "") -> Self:
        self = cls.__new__(cls)
        self._begin(rows, describer, groups, remark)
        return self

    def _begin(self, rows: Rows, describer: Describer, groups: Labels | None, remark: str = "") -> None:
        starts = np.cumsum(rows.lengths) - rows.lengths
        self._raw, self._describer, self.groups, self._note = rows, describer, groups, remark
        self._pieces = Pieces(np.arange(len(rows.lengths)), starts, rows.lengths)
        self.lengths = self._pieces.length
        self._describe(describer.describe(rows, NAME))

    def _describe(self, description: DataDescription) -> None:
        check_values(self._raw, description.spec)
        self.description = description
        self._read = scaled(self._raw, description)
        varies = hardly_varying(self._raw, description.normalization)
        inputs = self._raw.of_inputs
        of_inputs = "" if inputs is None else hardly_varying(inputs, description.input_normalization)
        self.remark = "; ".join(part for part in (self._note, varies, of_inputs) if part)

    def _with(self, pieces: Pieces, groups: Labels | None) -> Self:
        """Other steps of the same rows, described as these."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__, _pieces=pieces, groups=groups, lengths=pieces.length)
        return other

    # ---- as a data set

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | NDArray[Any]) -> Self: ...
    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any]) -> Example | Self:
        if isinstance(index, int | np.integer):
            at = range(len(self))[index]
            return self.piece(at, 0, int(self.lengths[at]))
        chosen = np.arange(len(self))[index if isinstance(index, slice) else np.asarray(index)]
        if chosen.ndim != 1 or len(chosen) == 0:
            raise UserError(f"an index of {len(self)} sequences picks none of them; it must pick 1 or more")
        return self._with(self._pieces.take(chosen), None if self.groups is None else self.groups[chosen])

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))

    def piece(self, index: int, start: int, stop: int) -> Example:
        begin = int(self._pieces.start[index])
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
        return f"Sequences({spec.kind}, N={len(self)}, T={steps}, {size}, {missing}{names}{inputs}{remark})"

    @property
    def names(self) -> tuple[str, ...] | None:
        """Of the D features, or None."""
        return self._raw.columns

    @property
    def input_names(self) -> tuple[str, ...] | None:
        """Of the U inputs, or None."""
        return self._raw.input_names

    @property
    def ids(self) -> list[Any]:
        """[N] ids of the sequences (the `by` columns), or their numbers in the input."""
        number = self._pieces.recording.tolist()
        return number if self._raw.names is None else list(self._raw.names[number])

    @property
    def missing_share(self) -> float:
        """Percentage of the numbers that is missing."""
        if self._raw.observed is None:
            return 0.0
        before = np.concatenate([[0], np.cumsum(self._raw.observed.sum(axis=1))])  # observed before each row
        start = self._pieces.start
        seen = (before[start + self.lengths] - before[start]).sum()
        return float(100 * (1 - seen / (self.lengths.sum() * self._raw.observed.shape[1])))

    # ---- your units

    def raw(self, index: int) -> Array:
        """One sequence in your units: [T, D] float64 with NaN for missing numbers; categories: [T] int64 with -1."""
        rows = self._rows(range(len(self))[index])
        values = self._raw.values[rows]
        gaps = None if self._raw.observed is None else ~self._raw.observed[rows]
        if self.description.spec.kind == "categorical":
            categories: Array = (values if gaps is None else np.where(gaps, -1, values)).astype(np.int64)[:, 0]
            return categories
        numbers = values.astype(np.float64)
        if gaps is not None:
            numbers[gaps] = np.nan
        return numbers

    def to_arrays(self) -> list[Array]:
        """All sequences in your units, each as `raw` returns it."""
        return [self.raw(index) for index in range(len(self))]

    def _rows(self, index: int) -> slice:
        start = int(self._pieces.start[index])
        return slice(start, start + int(self.lengths[index]))

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
        shares = _shares(train, valid, test, seed)
        if how not in ("sequence", "time", "group"):
            raise UserError(f"how is {how!r}; it must be sequence, time or group")
        if how != "group" and self._pieces.overlap:
            raise UserError(
                f"these windows overlap, so that a split by {how} would put the same steps into two; split first and "
                f"make windows then, or split by how='group'"
            )
        parts = self._by_time(shares) if how == "time" else self._at_random(shares, how, seed)
        return self._described_by_first(parts)

    def _at_random(self, shares: dict[Split, float], how: How, seed: int) -> list[Self]:
        held_out: dict[Split, float] = {"test": shares["test"], "valid": shares["valid"]}
        if how == "sequence":
            remedy = "give it more sequences, split one long one by how='time', or cut it into windows"
            index = cut(len(self), held_out, seed=seed, what="sequences to split", remedy=remedy)
            return [self[index[split]] for split in shares]
        if self.groups is None:
            raise UserError(
                "how is 'group', but these sequences have no groups; give Sequences groups=, one label each"
            )
        if len(set(self.groups.tolist())) < len(shares):
            raise UserError(
                f"there are {len(set(self.groups.tolist()))} groups to split into train, valid and test; it takes one "
                f"each"
            )
        index = cut_groups(self.groups.tolist(), held_out, seed=seed)
        return [self[index[split]] for split in shares]

    def _by_time(self, shares: dict[Split, float]) -> list[Self]:
        least = 1 + self._unscored
        if int(self.lengths.min()) < 3 * least:
            index = int(np.argmin(self.lengths))
            raise UserError(
                f"sequence {self.ids[index]!r} has {self.lengths[index]} steps, too few to give train, valid and test "
                f"{least} each; leave it out, or split by how='sequence'"
            )
        first = np.rint(self.lengths * shares["train"]).astype(np.int64)
        second = np.rint(self.lengths * (shares["train"] + shares["valid"])).astype(np.int64)
        first = np.clip(first, least, self.lengths - 2 * least)
        second = np.clip(second, first + least, self.lengths - least)
        edges = [np.zeros_like(first), first, second, self.lengths]
        return [self._with(self._pieces.between(start, stop), self.groups) for start, stop in pairwise(edges)]

    def _described_by_first(self, parts: list[Self]) -> tuple[Self, Self, Self]:
        train, valid, test = parts
        description = self._describer.describe(train._own_rows(), NAME)
        train._describe(description)
        for part in (valid, test):
            part.description, part._read, part.remark = train.description, train._read, train.remark
        return train, valid, test

    def windows(self, length: int, stride: int | None = None, *, keep_last: bool = True) -> Self:
        """Cut each sequence into windows, to train on one long series, for example.

        Windows of one sequence are one group, unless the sequences have groups already.

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
        pieces, origin = self._pieces.windows(length, stride=step, keep_last=keep_last, least=least)
        if len(pieces.start) == 0:
            raise UserError(
                f"no sequence has {length} steps, the longest has {self.lengths.max()}; make the windows shorter, or "
                f"keep shorter ones by keep_last=True"
            )
        other = self._with(pieces, pieces.recording if self.groups is None else self.groups[origin])
        other.description = replace(self.description, longest=int(other.lengths.max()) - self._unscored)
        return other

    @property
    def _unscored(self) -> int:
        return self.description.spec.unscored_steps

    def _own_rows(self) -> Rows:
        """The rows of these sequences, each once, to fit a description to."""
        chosen = np.zeros(len(self._raw.values), dtype=bool)
        for index in range(len(self)):
            chosen[self._rows(index)] = True
        observed, inputs = self._raw.observed, self._raw.inputs
        return replace(
            self._raw,
            values=self._raw.values[chosen],
            observed=None if observed is None else observed[chosen],
            inputs=None if inputs is None else inputs[chosen],
            lengths=self.lengths,
        )

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
        _refuse_other(self, description)
        other = self._with(self._pieces, self.groups)
        other._describer = FixedDescription(description)
        other._describe(description)
        return other


def _checked(rows: Rows, declared: Declared) -> tuple[Rows, Declared]:
    """Mark the gaps and check the kind; `missing` becomes True or False, so that all splits agree."""
    marked = mark_gaps(rows)
    refuse_large(marked)
    check_inputs(marked)
    declared.check_steps(marked)
    check_kind(marked, declared.kind)
    has_gaps = marked.observed is not None
    if declared.missing is False and has_gaps:
        raise UserError(f"{rows.source}: has gaps, but missing is False; leave missing out, or fill them")
    return marked, replace(declared, missing=has_gaps if declared.missing is None else declared.missing)


def _refuse_normalized(dataset: Any) -> None:
    """Raise where items, of a `Subset` say, aren't in the user's units any more."""
    origin = dataset
    while not isinstance(origin, SequenceDataset) and hasattr(origin, "dataset"):
        origin = origin.dataset
    known = origin.description if isinstance(origin, SequenceDataset) else None
    if known is not None and known.normalization is not None:
        raise UserError(
            f"from_dataset: the items of this {type(dataset).__name__} are normalized already ({known.name} data); "
            "take some of Sequences by data[indices] or data.split()"
        )


def _labels(groups: Sequence[Hashable] | None, sequences: int) -> Labels | None:
    if groups is None:
        return None
    labels = list(groups)
    if len(labels) != sequences:
        raise UserError(f"groups has {len(labels)} labels for {sequences} sequences; it must have one each")
    for index, label in enumerate(labels):
        if label is None or label != label:  # NaN, which is no group: it is unlike itself
            raise UserError(f"groups has {label} for sequence {index}; every sequence must have a group")
        must_be(label, Hashable, f"the group of sequence {index}", "a label, such as text or a number")
    result = np.empty(sequences, dtype=object)
    result[:] = labels
    return result


def _shares(train: float, valid: float, test: float, seed: int) -> dict[Split, float]:
    shares: dict[Split, float] = {"train": train, "valid": valid, "test": test}
    for split, share in shares.items():
        must_fit(share, Share, split)
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(f"train {train}, valid {valid} and test {test} sum to {sum(shares.values()):g}; it must be 1")
    must_fit(seed, Seed, "seed")
    return shares


def _refuse_other(data: Sequences, description: DataDescription) -> None:
    """Raise UserError where a model of that description can't read these sequences."""
    own, spec = data.description.spec, description.spec
    for name in ("kind", "first_observation"):
        if getattr(own, name) != getattr(spec, name):
            raise UserError(
                f"these sequences have {name} {getattr(own, name)!r}, but the model was trained with "
                f"{getattr(spec, name)!r}; give Sequences {name}={getattr(spec, name)!r}"
            )
    if isinstance(description.format, TableFormat):
        _refuse_other_names(data.names, description.format.names, "columns")
        _refuse_other_names(data.input_names, description.format.input_names, "inputs")
    if data._raw.observed is not None and not spec.missing:
        raise UserError(
            "these sequences have gaps, but the model was trained on data without; train it with missing=True"
        )


def _refuse_other_names(names: Sequence[str] | None, known: Sequence[str] | None, option: str) -> None:
    """`known`: of a model's training data. Names that neither has may be anything."""
    if known is not None and names is not None and tuple(known) != tuple(names):
        raise UserError(
            f"the {option} are {listed(names)}, those that the model was trained on {listed(known)}; give it the "
            f"same in the same order ({option}=[...] of from_frame)"
        )
