"""Convert lists, arrays, tensors and torch data sets into rows of sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UserError
from ..files.reading import Array
from ..files.rows import Rows

SOURCE = "Sequences"
FORMS = "a list of arrays [T, D] or [T], or one array [N, T, D] or [N, T]"


def rows_of(x: Any, *, lengths: Any = None, observed: Any = None, names: Sequence[str] | None = None) -> Rows:
    """Concatenate sequences in memory.

    Args:
        x: N arrays, tensors or nested lists [T_i, D] or [T_i]; or one of them, [N, T, D] or [N, T].
        lengths: [N] steps of each, where x is padded on the right.
        observed: bool, shaped like x; False where a number is missing. So are NaN and masked entries of masked arrays.
        names: [D] names of the numbers of a step.
    """
    sequences = _listed(x, "x", lengths)
    masks = None if observed is None else _listed(observed, "observed", lengths)
    if masks is not None and len(masks) != len(sequences):
        raise UserError(f"{SOURCE}: observed has {len(masks)} sequences, x {len(sequences)}; it must be like x")
    values = [_numbers(sequence, index) for index, sequence in enumerate(sequences)]
    sizes = [value.shape[1] for value in values]
    if len(set(sizes)) > 1:
        other = next(i for i, size in enumerate(sizes) if size != sizes[0])
        raise UserError(
            f"{SOURCE}: sequence {other} has {sizes[other]} numbers per step, sequence 0 has {sizes[0]}; all need the "
            f"same [T, D]"
        )
    return Rows(
        source=SOURCE,
        values=np.concatenate(values),
        lengths=np.array([len(value) for value in values], dtype=np.int64),
        observed=_observed(sequences, masks),
        columns=_columns(names, sizes[0]),
        option="",
    )


def _listed(x: Any, name: str, lengths: Any) -> list[Any]:
    """One array, tensor or nested list for each sequence, without padding."""
    if hasattr(x, "__dataframe__") or hasattr(x, "iloc") or hasattr(x, "to_pandas"):
        raise UserError(f"{SOURCE}: {name} is a {type(x).__name__}; Sequences.from_frame reads data frames")
    if isinstance(x, torch.Tensor):
        x = x.unbind() if x.is_nested else _array(x)
    if isinstance(x, np.ndarray) and x.dtype != object:
        if x.ndim not in (2, 3):
            raise UserError(
                f"{SOURCE}: {name} has the shape {list(x.shape)}; it must be {FORMS}. One long sequence is a list of "
                f"one: [{name}]"
            )
        return _cut(x, name, lengths)
    if lengths is not None:
        raise UserError(f"{SOURCE}: lengths go with one padded array, but {name} is a {type(x).__name__}; leave it out")
    if isinstance(x, str | bytes | dict) or not hasattr(x, "__iter__"):
        raise UserError(f"{SOURCE}: {name} is a {type(x).__name__}; it must be {FORMS}")
    sequences = list(x)
    if not sequences:
        raise UserError(f"{SOURCE}: {name} is empty; it must be {FORMS}")
    return sequences


def _cut(x: Array, name: str, lengths: Any) -> list[Any]:
    if len(x) == 0:
        raise UserError(f"{SOURCE}: {name} is empty, its shape is {list(x.shape)}; it must be {FORMS}")
    if lengths is None:
        return list(x)
    steps = _array(lengths) if isinstance(lengths, torch.Tensor) else np.asarray(lengths)
    if steps.shape != (len(x),) or steps.dtype.kind not in "iu":
        raise UserError(
            f"{SOURCE}: lengths is {steps.dtype} {list(steps.shape)}; it must be integers [{len(x)}], the steps of "
            f"each sequence"
        )
    wrong = (steps < 1) | (steps > x.shape[1])
    if wrong.any():
        index = int(np.argmax(wrong))
        raise UserError(
            f"{SOURCE}: sequence {index} has the length {steps[index]}; it must be 1..{x.shape[1]}, the steps of {name}"
        )
    return [row[:length] for row, length in zip(x, steps.tolist(), strict=True)]


def _array(x: torch.Tensor) -> Array:
    plain = x.detach().cpu()
    array: Array = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
    return array


def _numbers(sequence: Any, index: int) -> Array:
    """[T, D] of bools, integers or reals; None is NaN."""
    try:
        x = _array(sequence) if isinstance(sequence, torch.Tensor) else np.ma.getdata(np.asanyarray(sequence))
        if x.dtype == object:
            x = np.array(x.tolist(), dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise UserError(f"{SOURCE}: sequence {index} can't be read as [T, D] or [T] numbers ({error})") from error
    if x.dtype.kind not in "biuf":
        raise UserError(f"{SOURCE}: sequence {index} holds {x.dtype}; it must hold real numbers, integers or bools")
    if x.ndim not in (1, 2):
        raise UserError(
            f"{SOURCE}: sequence {index} has the shape {list(x.shape)}; it must be [T, D] or [T]. One long sequence is "
            f"a list of one: [x]"
        )
    if x.size == 0:
        raise UserError(f"{SOURCE}: sequence {index} is empty, its shape is {list(x.shape)}; it needs 1 step or more")
    return x.reshape(len(x), -1)


def _observed(sequences: Sequence[Any], masks: Sequence[Any] | None) -> NDArray[np.bool_] | None:
    """[R, D], or None where nothing is missing and no mask was given."""
    parts = []
    for index, sequence in enumerate(sequences):
        shape = np.shape(sequence)
        part = ~np.ma.getmaskarray(sequence) if isinstance(sequence, np.ma.MaskedArray) else np.ones(shape, dtype=bool)
        if masks is not None:
            mask = _array(masks[index]) if isinstance(masks[index], torch.Tensor) else np.asarray(masks[index])
            if mask.dtype != bool or mask.shape != shape:
                raise UserError(
                    f"{SOURCE}: observed of sequence {index} is {mask.dtype} {list(mask.shape)}; it must be bool "
                    f"{list(shape)} like x, True where a number was observed"
                )
            part = part & mask
        parts.append(part.reshape(len(part), -1))
    rows = np.concatenate(parts)
    return None if masks is None and rows.all() else rows


def _columns(names: Sequence[str] | None, size: int) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{SOURCE}: names is {names!r}; it must be a list of text, one for each number of a step")
    if len(names) != size or len(set(names)) != size:
        raise UserError(f"{SOURCE}: names has {len(set(names))} names, a step {size} numbers; give each its own")
    return tuple(map(str, names))  # of NumPy's text too


def items_of(dataset: Any, x: str, observed: str) -> tuple[list[Any], list[Any] | None]:
    """The sequences of a map-style torch data set, read once, and what of them was observed.

    An item is a sequence, a tuple (sequence,) or (sequence, observed), a dict with the keys `x` and perhaps
    `observed`, or an `Example`.
    """
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise UserError(
            f"{SOURCE}: {type(dataset).__name__} has no length or no index; from_dataset reads map-style data sets, so "
            f"make a list of an iterable one"
        )
    pairs = [_pair(dataset[index], index, x, observed) for index in range(len(dataset))]
    if not pairs:
        raise UserError(f"{SOURCE}: the data set is empty; it needs one sequence or more")
    values, masks = [value for value, _ in pairs], [mask for _, mask in pairs]
    if all(mask is None for mask in masks):
        return values, None
    return values, [np.ones(np.shape(v), dtype=bool) if m is None else m for v, m in zip(values, masks, strict=True)]


def _pair(item: Any, index: int, x: str, observed: str) -> tuple[Any, Any]:
    if isinstance(item, dict):
        if x not in item:
            raise UserError(f"{SOURCE}: item {index} has the keys {sorted(map(str, item))}, not {x!r}; name it by x=")
        return item[x], item.get(observed)
    if hasattr(item, "x") and hasattr(item, "observed"):
        return item.x, item.observed
    if not isinstance(item, tuple):
        return item, None
    mask = item[1] if len(item) == 2 else None
    is_mask = mask is not None and str(getattr(mask, "dtype", "")) in ("bool", "torch.bool")
    if len(item) == 1 or is_mask:
        return item[0], mask
    raise UserError(
        f"{SOURCE}: item {index} is a tuple of {len(item)}; it must be a sequence, or a pair of a sequence and a bool "
        f"like it, True where a number was observed (labels and inputs aren't read: leave them out)"
    )
