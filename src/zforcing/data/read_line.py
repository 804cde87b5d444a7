"""What was read of a split, on one line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..files.reading import listed
from ..observations import Column, DataDescription
from .dataset import SequenceDataset

NAMED = 8  # columns, at most
LOOKED_AT = 1000  # sequences, for the share that is missing


def read_line(name: str, data: SequenceDataset) -> str:
    """train: 120 sequences of 3..12 steps (870 in all); 2 real columns (a, b), 1.3% missing; normalized (...)."""
    lengths = data.lengths
    steps = "..".join(dict.fromkeys((str(lengths.min()), str(lengths.max()))))
    read = f"{name}: {len(lengths)} sequence{_s(len(lengths))} of {steps} steps ({int(lengths.sum())} in all)"
    if data.description is None:
        return read
    return f"{read}; {_columns(data)}, {_missing(data)}{_units(data.description)}"


def _columns(data: SequenceDataset) -> str:
    """Their kind, and the names that they have."""
    assert data.description is not None, "data without a description has no columns to tell"
    spec, number = data.description.spec, data.description.format.number
    if spec.kind == "categorical":
        what = f"{spec.size} categories"
    else:
        names = getattr(data, "names", None)
        called = f"column{_s(spec.size)}{_named(names)}" if names else f"{number}{_s(spec.size)} a step"
        what = f"{spec.size} {spec.kind} {called}"
    if spec.columns is not None:
        what = f"{spec.size} columns ({_kinds(spec.columns, getattr(data, 'names', None))})"
    known = _named(getattr(data, "input_names", None))
    return f"{what}, {spec.inputs} known input{_s(spec.inputs)}{known}" if spec.inputs else what


def _kinds(columns: Sequence[Column], names: Sequence[str] | None) -> str:
    """The first of them with their kinds: speed real, on binary."""
    kinds = [f"{name} {column.name}" for name, column in zip(names or range(len(columns)), columns, strict=True)]
    return f"{', '.join(kinds[:NAMED])}{', ...' if len(kinds) > NAMED else ''}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _named(names: tuple[str, ...] | None) -> str:
    """The first of them, in brackets."""
    if not names:
        return ""
    return f" ({listed(names[:NAMED])}{', ...' if len(names) > NAMED else ''})"


def _missing(data: SequenceDataset) -> str:
    """The share of the numbers that is missing, of the first sequences where there are many."""
    assert data.description is not None, "data without a description has no gaps to tell"
    if not data.description.spec.missing:
        return "nothing missing"
    known = getattr(data, "missing_share", None)
    if known is None:
        masks = [data[i].observed for i in range(min(len(data), LOOKED_AT))]
        known = 100 * float(np.mean([0.0 if mask is None else 1 - mask.mean() for mask in masks]))
    return f"{known:.3g}% missing" if known else "nothing missing"


def _units(description: DataDescription) -> str:
    """How numbers are scaled, and how fast samples follow each other."""
    rate, scaling = description.format.samples_per_second, description.normalization
    parts = [] if rate is None else [f"{rate} samples per second"]
    if scaling is not None:
        columns = description.spec.columns
        std = [s for i, s in enumerate(scaling.std) if columns is None or columns[i].scaled]
        ends = dict.fromkeys(f"{end:.3g}" for end in (min(std, default=1), max(std, default=1)))
        parts.append(
            f"{'' if columns is None else 'real ones '}normalized (standard deviation {'..'.join(ends)} in your units)"
        )
    elif description.spec.kind == "real":
        parts.append("in your units, not normalized")
    return "".join(f"; {part}" for part in parts)
