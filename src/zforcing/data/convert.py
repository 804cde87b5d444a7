"""Convert lists, arrays, tensors and torch data sets into rows of sequences."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import ConcatDataset

from ..errors import UserError
from ..files.reading import Array
from ..files.rows import Rows
from ..settings import must_be
from .dataset import SequenceDataset
from .selection import Labels, as_labels

SOURCE = "Sequences"
FORMS = "a list of arrays [T, D] or [T], or one array [N, T, D] or [N, T]"


def rows_of(
    x: Any,
    *,
    lengths: Any = None,
    observed: Any = None,
    names: Sequence[str] | None = None,
    inputs: Any = None,
    input_names: Sequence[str] | None = None,
) -> Rows:
    """Concatenate sequences in memory.

    Args:
        x: N arrays, tensors or nested lists [T_i, D] or [T_i]; or one of them, [N, T, D] or [N, T].
        lengths: [N] steps of each, where x is padded on the right.
        observed: bool, shaped like x; False where a number is missing. So are NaN and masked entries of masked arrays.
        names: [D] names of the numbers of a step.
        inputs: known inputs in the form of x, [T_i, U] or [T_i] for each sequence.
        input_names: [U] names of the inputs.
    """
    sequences = _listed(x, "x", lengths)
    masks = None if observed is None else _listed(observed, "observed", lengths)
    if masks is not None and len(masks) != len(sequences):
        raise UserError(f"{SOURCE}: observed has {len(masks)} sequences, x {len(sequences)}; it must be like x")
    values = _alike(sequences, "sequence")
    known = None if inputs is None else _inputs(_listed(inputs, "inputs", lengths), values)
    if known is None and input_names is not None:
        raise UserError(f"{SOURCE}: input_names names inputs, but there are none; give inputs, or leave it out")
    return Rows(
        source=SOURCE,
        values=np.concatenate(values),
        lengths=np.array([len(value) for value in values], dtype=np.int64),
        observed=_observed(sequences, masks),
        columns=_columns(names, values[0].shape[1], "names"),
        option="",
        inputs=known,
        input_names=None if known is None else _columns(input_names, known.shape[1], "input_names"),
    )


def _alike(sequences: Sequence[Any], what: str) -> list[Array]:
    """Each sequence as [T, D], of one D."""
    values = [_numbers(sequence, f"{what} {index}") for index, sequence in enumerate(sequences)]
    sizes = [value.shape[1] for value in values]
    if len(set(sizes)) > 1:
        other = next(i for i, size in enumerate(sizes) if size != sizes[0])
        raise UserError(
            f"{SOURCE}: {what} {other} has {sizes[other]} numbers per step, {what} 0 has {sizes[0]}; all need the "
            f"same [T, D]"
        )
    return values


def _inputs(inputs: Sequence[Any], sequences: Sequence[Array]) -> Array:
    """[R, U]: the inputs at each step of the sequences."""
    if len(inputs) != len(sequences):
        raise UserError(f"{SOURCE}: inputs has {len(inputs)} sequences, x {len(sequences)}; it must have one for each")
    for index, given in enumerate(inputs):
        if isinstance(given, np.ma.MaskedArray) and np.ma.getmaskarray(given).any():
            raise UserError(f"{SOURCE}: inputs of sequence {index} has masked entries; inputs are known at every step")
    values = _alike(inputs, "inputs of sequence")
    for index, (u, x) in enumerate(zip(values, sequences, strict=True)):
        if len(u) != len(x):
            raise UserError(
                f"{SOURCE}: inputs of sequence {index} has {len(u)} steps, the sequence {len(x)}; it must have as many"
            )
    return np.concatenate(values)


def _listed(x: Any, name: str, lengths: Any) -> list[Any]:
    """One array, tensor or nested list for each sequence, without padding."""
    if _is_of_a_library_of_frames(x):
        raise UserError(f"{SOURCE}: {name} is a {type(x).__name__}; Sequences.from_frame reads data frames")
    if isinstance(x, PackedSequence):
        raise UserError(
            f"{SOURCE}: {name} is a PackedSequence; pad_packed_sequence({name}, batch_first=True) gives {name} and "
            f"lengths"
        )
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
    if any(_is_of_a_library_of_frames(sequence) and hasattr(sequence, "columns") for sequence in sequences):
        raise UserError(
            f"{SOURCE}: {name} is a list of data frames, whose columns may differ; join them with a column that names "
            f"the sequence of each row: from_frame(pd.concat(frames, keys=range(len(frames)), names=['sequence']), "
            f"by='sequence')"
        )
    return sequences


def _is_of_a_library_of_frames(x: Any) -> bool:
    """Whether it is a data frame, or a column of one."""
    return hasattr(x, "__dataframe__") or hasattr(x, "iloc") or hasattr(x, "to_pandas")


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


def _numbers(sequence: Any, what: str) -> Array:
    """[T, D] of bools, integers or reals; None is NaN."""
    try:
        x = _array(sequence) if isinstance(sequence, torch.Tensor) else np.ma.getdata(np.asanyarray(sequence))
        if x.dtype == object:
            x = np.array(x.tolist(), dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise UserError(f"{SOURCE}: {what} can't be read as [T, D] or [T] numbers ({error})") from error
    if x.dtype.kind not in "biuf":
        raise UserError(f"{SOURCE}: {what} holds {x.dtype}; it must hold real numbers, integers or bools")
    if x.ndim not in (1, 2):
        raise UserError(
            f"{SOURCE}: {what} has the shape {list(x.shape)}; it must be [T, D] or [T]. One long sequence is "
            f"a list of one: [x]"
        )
    if x.size == 0:
        raise UserError(f"{SOURCE}: {what} is empty, its shape is {list(x.shape)}; it needs 1 step or more")
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


def _columns(names: Any, size: int, option: str) -> tuple[str, ...] | None:
    if names is None:
        return None
    is_list = isinstance(names, Iterable) and not isinstance(names, str)
    if not is_list or not all(isinstance(name, str) for name in names):
        raise UserError(f"{SOURCE}: {option} is {names!r}; it must be a list of text, one for each number of a step")
    if len(names) != size or len(set(names)) != size:
        raise UserError(f"{SOURCE}: {option} has {len(set(names))} names, a step {size} numbers; give each its own")
    return tuple(map(str, names))  # of NumPy's text too


def labels_of(groups: Sequence[Hashable] | None, sequences: int) -> Labels | None:
    """[N], the group of each sequence."""
    if groups is None:
        return None
    must_be(groups, Iterable, "groups", "a list of labels, one for each sequence")
    labels: list[Any] = [
        label.tolist() if isinstance(label, torch.Tensor) else label for label in groups
    ]  # tensors are unlike
    if len(labels) != sequences:
        raise UserError(f"groups has {len(labels)} labels for {sequences} sequences; it must have one each")
    for index, label in enumerate(labels):
        must_be(label, Hashable, f"the group of sequence {index}", "a label, such as text or a number")
        if _is_missing(label):
            raise UserError(f"groups has {label} for sequence {index}; every sequence must have a group")
    return as_labels(labels)


def _is_missing(label: Any) -> bool:
    """Whether it is None, NaN, which is unlike itself, or pandas' NA, of which nobody knows."""
    like_itself = label == label
    return label is None or not isinstance(like_itself, bool | np.bool_) or not like_itself


@dataclass(frozen=True, eq=False)
class Item:
    """What an item of a torch data set holds of a sequence: x, and perhaps what of it was observed, and inputs."""

    x: Any
    observed: Any = None
    inputs: Any = None


def items_of(dataset: Any, x: str, observed: str, inputs: str) -> list[Item]:
    """The items of a map-style torch data set, read once.

    An item is a sequence, a tuple (sequence,) or (sequence, observed), a dict with the key `x` and perhaps `observed`
    and `inputs`, or an `Example`.
    """
    _refuse_normalized(dataset)
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise UserError(
            f"{SOURCE}: {type(dataset).__name__} has no length or no index; from_dataset reads map-style data sets, so "
            f"make a list of an iterable one"
        )
    items = [_item(dataset[index], index, x, observed, inputs) for index in range(len(dataset))]
    if not items:
        raise UserError(f"{SOURCE}: the data set is empty; it needs one sequence or more")
    return items


def _refuse_normalized(dataset: Any) -> None:
    """Raise where items, of a `Subset` say, aren't in the user's units any more."""
    for known in (origin.description for origin in _origins(dataset)):
        if known is not None and (known.normalization is not None or known.input_normalization is not None):
            raise UserError(
                f"from_dataset: the items of this {type(dataset).__name__} are normalized already ({known.name} data); "
                "take some of Sequences by data[indices] or data.split(), and join several by "
                "Sequences([*a.to_arrays(), *b.to_arrays()])"
            )


def _origins(dataset: Any) -> Iterator[SequenceDataset]:
    """The data sets of sequences whose items a `Subset` or a `ConcatDataset` has."""
    if isinstance(dataset, SequenceDataset):
        yield dataset
    elif isinstance(dataset, ConcatDataset):
        for part in dataset.datasets:
            yield from _origins(part)
    elif hasattr(dataset, "dataset"):
        yield from _origins(dataset.dataset)


def masks_of(items: Sequence[Item]) -> list[Any] | None:
    """What was observed of each item; None where no item says it."""
    if all(item.observed is None for item in items):
        return None
    return [np.ones(np.shape(item.x), dtype=bool) if item.observed is None else item.observed for item in items]


def inputs_of(items: Sequence[Item]) -> list[Any] | None:
    """The inputs of each item; None where no item has some."""
    without = [index for index, item in enumerate(items) if item.inputs is None]
    if len(without) == len(items):
        return None
    if without:
        raise UserError(f"{SOURCE}: item {without[0]} has no inputs, others have; all need them, or none")
    return [item.inputs for item in items]


def _item(item: Any, index: int, x: str, observed: str, inputs: str) -> Item:
    if isinstance(item, dict):
        if x not in item:
            raise UserError(f"{SOURCE}: item {index} has the keys {sorted(map(str, item))}, not {x!r}; name it by x=")
        return Item(item[x], item.get(observed), item.get(inputs))
    if hasattr(item, "x") and hasattr(item, "observed"):
        return Item(item.x, item.observed, getattr(item, "inputs", None))
    if not isinstance(item, tuple):
        return Item(item)
    mask = item[1] if len(item) == 2 else None
    is_mask = mask is not None and str(getattr(mask, "dtype", "")) in ("bool", "torch.bool")
    if len(item) == 1 or is_mask:
        return Item(item[0], mask)
    raise UserError(
        f"{SOURCE}: item {index} is a tuple of {len(item)}; it must be a sequence, or a pair of a sequence and a bool "
        f"like it, True where a number was observed (labels aren't read, and inputs only of a dict: leave them out)"
    )
