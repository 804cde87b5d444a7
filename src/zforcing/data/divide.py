"""Divide sequences in memory into train, valid and test."""

from __future__ import annotations

from itertools import pairwise
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
    lengths = whole.lengths
    if int(lengths.min()) < 3 * least:
        index = int(np.argmin(lengths))
        raise UserError(
            f"sequence {whole.ids[index]!r} has {lengths[index]} steps, too few to give train, valid and test "
            f"{least} each; leave it out, or split by how='sequence'"
        )
    first = np.rint(lengths * shares["train"]).astype(np.int64)
    second = np.rint(lengths * (shares["train"] + shares["valid"])).astype(np.int64)
    first = np.clip(first, least, lengths - 2 * least)
    second = np.clip(second, first + least, lengths - least)
    return [whole.between(*edges) for edges in pairwise([np.zeros_like(first), first, second, lengths])]
