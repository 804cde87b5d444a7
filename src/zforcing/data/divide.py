"""Divide sequences in memory into train, valid and test."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Literal, get_args

import numpy as np

from ..errors import UserError
from ..settings import Seed, Share, must_fit
from .selection import Labels, Selection
from .splits import Index, Split, cut, cut_groups

How = Literal["sequence", "time", "group"]
Shares = dict[Split, float]


def divide(whole: Selection, shares: Shares, *, seed: int, how: How, least: int) -> list[Selection]:
    """The parts of train, valid and test; see `Sequences.split`.

    Args:
        whole: All sequences.
        shares: Of train, valid and test.
        seed: Which sequences or groups are in which.
        how: By sequence, by time or by group.
        least: Steps that a sequence must have.
    """
    _check(shares, seed)
    if how not in get_args(How):
        raise UserError(f"how is {how!r}; it must be sequence, time or group")
    if how != "group" and whole.pieces.overlap:
        raise UserError(
            f"these windows overlap, so that a split by {how} would put the same steps into two; split first and "
            f"make windows then, or split by how='group'"
        )
    if how == "time":
        return _by_time(whole, shares, least)
    index = _of_groups(whole.groups, shares, seed) if how == "group" else _of_sequences(whole, shares, seed)
    return [whole.take(index[split]) for split in shares]


def _check(shares: Shares, seed: int) -> None:
    for split, share in shares.items():
        must_fit(share, Share, split)
    total = sum(shares.values())
    if abs(total - 1) > 1e-6:
        each = ", ".join(f"{split} {share}" for split, share in shares.items()).replace(", test", " and test")
        raise UserError(f"{each} sum to {total:g}; it must be 1")
    must_fit(seed, Seed, "seed")


def _of_sequences(whole: Selection, shares: Shares, seed: int) -> dict[Split, Index]:
    remedy = "give it more sequences, split one long one by how='time', or cut it into windows"
    return cut(len(whole.lengths), _held_out(shares), seed=seed, what="sequences to split", remedy=remedy)


def _of_groups(groups: Labels | None, shares: Shares, seed: int) -> dict[Split, Index]:
    if groups is None:
        raise UserError("how is 'group', but these sequences have no groups; give Sequences groups=, one label each")
    labels = groups.tolist()
    known = len(set(labels))
    if known < len(shares):
        raise UserError(f"there are {known} groups to split into train, valid and test; it takes one each")
    return cut_groups(labels, _held_out(shares), seed=seed)


def _held_out(shares: Shares) -> Shares:
    return {"test": shares["test"], "valid": shares["valid"]}


def _by_time(whole: Selection, shares: Shares, least: int) -> list[Selection]:
    ids = whole.ids
    edges = edges_in_time(
        whole.lengths,
        shares,
        least=least,
        name=lambda index: f"sequence {ids[index]!r}",
        remedy="split by how='sequence'",
    )
    return [whole.between(*edges[split]) for split in shares]


def edges_in_time(
    lengths: Index, shares: Shares, *, least: int, name: Callable[[int], str], remedy: str
) -> dict[Split, tuple[Index, Index]]:
    """The first step of each split in each sequence, and the step after its last, one split after the other in time.

    Args:
        lengths: [N], of the sequences.
        shares: Of the splits, in the order of time; they sum to 1.
        least: Steps that each has at least.
        name: What a message calls a sequence.
        remedy: Another way out than leaving a sequence out, for the message about one that is too short.

    Raises:
        UserError: A sequence has too few steps.
    """
    if int(lengths.min()) < len(shares) * least:
        index = int(np.argmin(lengths))
        splits = f"{', '.join(list(shares)[:-1])} and {list(shares)[-1]}"
        raise UserError(
            f"{name(index)} has {lengths[index]} steps, too few to give {splits} {least} each; leave it out, or "
            f"{remedy}"
        )
    edges = [np.zeros_like(lengths)]
    for number, share in enumerate(accumulate(shares.values()), start=1):
        after = len(shares) - number
        end = np.rint(lengths * share).astype(np.int64) if after else lengths
        edges.append(np.clip(end, edges[-1] + least, lengths - after * least))
    return dict(zip(shares, pairwise(edges), strict=True))
