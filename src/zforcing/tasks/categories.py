"""Which numbers of an observation are categories, and what their codes are called in tables."""

from __future__ import annotations

import numpy as np

from ..files.reading import Array
from ..observations import ObservationSpec, labels_of


def are_categories(spec: ObservationSpec) -> Array:
    """[D] bool, which numbers of `mixed` observations are categories, that have no mean and no quantiles."""
    columns = spec.columns or (None,) * spec.size
    return np.array([c is not None and not c.ordered and c.name != "binary" for c in columns])


def are_bits(spec: ObservationSpec) -> Array:
    """[D] bool, which numbers of an observation are 0 or 1: they have a mean, a probability, and no interval."""
    if spec.columns is not None:
        return np.array([column.name == "binary" for column in spec.columns])
    return np.full(1 if spec.kind == "categorical" else spec.size, spec.kind == "binary")


def words_of(spec: ObservationSpec) -> dict[int, tuple[str, ...]]:
    """Of mixed observations, for each column of categories by its place: what its codes are called."""
    columns = spec.columns or ()
    sizes = {d: columns[d].size for d in np.flatnonzero(are_categories(spec)).tolist()}  # type: ignore[attr-defined]  # a category's
    return {d: labels_of(columns[d]) or tuple(map(str, range(size))) for d, size in sizes.items()}


def in_words(codes: Array, words: tuple[str, ...]) -> Array:
    """Codes [...] by their words; nothing for what is no code: NaN or -1."""
    known = (codes >= 0) & (codes < len(words))
    found: Array = np.where(known, np.array([*words])[np.where(known, codes, 0).astype(np.int64)], "")
    return found


def values_in_words(values: Array, place: Array, spec: ObservationSpec) -> dict[str, Array]:
    """`value` [M], where `place` [M] is of which number of a step each one is; and where some of these are categories
    among others, `category` [M]: its word, with the value NaN.
    """
    known = words_of(spec)
    if not known:
        return {"value": values}
    words = np.full(len(values), "", dtype=object)
    for d, of_column in known.items():
        words[place == d] = in_words(values[place == d], of_column)
    return {"value": np.where(np.isin(place, [*known]), np.nan, values), "category": words.astype(str)}
