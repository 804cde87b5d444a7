"""One observation in the user's units, as a model reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UserError
from ..files.reading import Array, listed
from ..models import DensityModel
from ..observations import Column, DataDescription, TableFormat, labels_of
from ..runtime.device import place_of

LARGEST = float(np.finfo(np.float32).max)


class ObservationReader:
    """Reads x_t and u_t in the user's units, one step of one sequence at a time.

    Args:
        model: What reads them. Its description says what the units are; without one they are what it reads.
    """

    def __init__(self, model: DensityModel):
        self.spec = model.spec
        self.description = model.description or DataDescription("data", model.spec, longest=1)
        self.place = place_of(model)
        kind = self.description.format
        self.names, self.input_names = (kind.names, kind.input_names) if isinstance(kind, TableFormat) else (None, None)

    def x(self, values: Any) -> tuple[Tensor, Tensor | None]:
        """x_t from D numbers, NaN or None where one is missing; or from a category, -1, NaN or None if it is missing.

        Numbers may be in the model's order, or, in a dict or a pandas Series, by name. In a column of categories one
        may be the category's word.

        Returns:
            x_t [1, D] or [1] with 0 where it is missing, and what is observed, bool like x; None if all is.

        Raises:
            UserError: Another shape or type, or a value that x_t can't have.
        """
        spec = self.spec
        size = 1 if spec.kind == "categorical" else spec.size
        raw = _numbers(_coded(_in_order(values, self.names, "x_t"), self.spec.columns or ()), size, "x_t")
        missing = np.isnan(raw)
        if spec.kind == "categorical":
            missing |= raw == -1
        if not missing.any():
            return self._read(raw, missing), None
        if not spec.missing:
            raise UserError(
                "x_t has a missing number, but the model was trained on data without gaps: train it with missing=True "
                "(data.missing allow)"
            )
        x = self._read(np.where(missing, 0, raw), missing)
        observed = torch.from_numpy(~missing).reshape(x.shape).to(x.device)
        return torch.where(observed, x, torch.zeros_like(x)), observed

    def _read(self, raw: Array, missing: NDArray[np.bool_]) -> Tensor:
        """What the model reads, [1, D] or [1]; the numbers that aren't missing are checked."""
        self._check(raw[~missing])
        self._check_columns(raw, missing)
        with np.errstate(over="ignore"):
            read = self.description.format.from_units(raw, self.description)
        return self._tensor(_near(read, raw, "x_t"))

    def u(self, values: Any) -> Tensor | None:
        """u_t [1, U] from U numbers; None of a model that reads none. Raises UserError where they don't fit."""
        size = self.spec.inputs
        if not size:
            if values is not None:
                raise UserError("inputs are given, but the model reads none: leave them out")
            return None
        if values is None:
            raise UserError(f"the model reads {size} known inputs at every step: give inputs, those of this step")
        raw = _numbers(_in_order(values, self.input_names, "inputs"), size, "inputs")
        if np.isnan(raw).any():
            raise UserError("inputs hold NaN; inputs are known at every step")
        scaling = self.description.input_normalization
        return self._tensor(_near(raw if scaling is None else scaling.apply(raw), raw, "inputs"))

    def _tensor(self, read: Array) -> Tensor:
        """[1, D], or [1] of a category."""
        device, dtype = self.place
        if self.spec.kind == "categorical" and read.dtype.kind == "i":
            return torch.from_numpy(read).to(device)
        return torch.from_numpy(read)[None].to(device, dtype)

    def _check(self, seen: Array) -> None:
        """Refuse what the model can't read."""
        spec = self.spec
        if spec.kind == "binary" and not np.isin(seen, (0, 1)).all():
            raise UserError(f"x_t is {seen.tolist()}; the model reads numbers that are 0 or 1")
        if spec.kind == "categorical" and not (np.isin(seen, np.arange(spec.size))).all():
            raise UserError(f"x_t is {seen[0]:g}; the model reads a category, 0..{spec.size - 1}")

    def _check_columns(self, raw: Array, missing: NDArray[np.bool_]) -> None:
        """Refuse what a column of mixed observations can't hold."""
        for index, column in enumerate(self.spec.columns or ()):
            for judge in (column.refused, column.unfit) if not missing[index] else ():
                refusal = judge(raw[index : index + 1])
                if refusal is not None and refusal.wrong.any():
                    raise UserError(f"x_t is {raw.tolist()}: {raw[index]:g} in place {index}; {refusal.why}")


def _in_order(values: Any, names: Sequence[str] | None, what: str) -> Any:
    """The values in the model's order, where both have names. Raises UserError about names that aren't the model's."""
    called = list(values) if isinstance(values, Mapping) else _index_of(values)
    if called is None:
        return values
    if names is None:
        if isinstance(values, Mapping):
            raise UserError(f"{what} is by name, but the model knows no names: give numbers in the order of its data")
        return values
    unknown, lacking = [n for n in called if n not in names], [n for n in names if n not in called]
    if unknown or lacking or len(called) != len(names):
        wrong = f"also has {listed(unknown)}" if unknown else f"lacks {listed(lacking)}" if lacking else "has one twice"
        raise UserError(f"{what} {wrong}; the model reads {listed(names)}")
    return [values[name] for name in names]


def _coded(values: Any, columns: Sequence[Column]) -> Any:
    """The values with categories' words as their numbers. Raises UserError about another word."""
    if not columns or isinstance(values, str) or not hasattr(values, "__len__") or len(values) != len(columns):
        return values
    return [_code(value, column) for value, column in zip(values, columns, strict=True)]


def _code(value: Any, column: Column) -> Any:
    labels = labels_of(column)
    if labels is None or not isinstance(value, str):
        return value
    if value not in labels:
        raise UserError(f"x_t has {value[:40]!r}, which is no category; the model knows {listed(labels)}")
    return labels.index(value)


def _index_of(values: Any) -> list[Any] | None:
    """The names of a pandas Series; None of what has none, or numbers for them."""
    index = getattr(values, "index", None)
    if index is None or callable(index):  # list.index
        return None
    called = list(index)
    return called if any(isinstance(name, str) for name in called) else None


def _numbers(values: Any, size: int, name: str) -> Array:
    """[size] float64, None as NaN. Raises UserError for another shape, text, or an infinite number."""
    try:
        raw = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{name} is {str(values)[:60]!r}; it must be {_amount(size)}") from None
    if isinstance(values, str) or raw.size != size or raw.ndim > 1 or (raw.ndim == 0 and size != 1):
        shape = f"of shape {list(raw.shape)}" if raw.ndim else repr(values)
        raise UserError(f"{name} is {shape}; it must be {_amount(size)}")
    if (np.abs(raw) > LARGEST).any():
        raise UserError(f"{name} is {raw.tolist()}; numbers must be finite, and at most {LARGEST:.1e} in size")
    return raw.reshape(size)


def _near(read: Array, raw: Array, name: str) -> Array:
    """What a model reads. Raises UserError where it isn't finite."""
    if not (np.abs(read) <= LARGEST).all():
        raise UserError(f"{name} is {raw.tolist()}: further from the training data than a number can say")
    return read


def _amount(size: int) -> str:
    return "one number" if size == 1 else f"{size} numbers"
