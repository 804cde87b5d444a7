"""The names of the splits, and random splits of sequences and files."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
Index = NDArray[np.int64]
Shuffle = Callable[[int, int], Index]  # how many things, seed -> their numbers in random order
SplitFiles = dict[Split, list[str]]  # of each split, relative to a folder, with slashes, sorted


def check_random_split(*, used: Collection[Split] = SPLITS, **fractions: float) -> None:
    """Raises UserError, by the names that the settings have (valid_fraction), for shares that split nothing.

    A share of a split that isn't `used`, because it has files of its own, may be any number.
    """
    shares = {name: share for name, share in fractions.items() if name.removesuffix("_fraction") in used}
    for name, share in shares.items():
        if not 0 < share < 1:
            raise UserError(f"data.{name} is {share}; it must be more than 0 and less than 1")
    if sum(shares.values()) >= 1:
        settings = " and ".join(f"data.{name} {share}" for name, share in shares.items())
        raise UserError(f"{settings} leave nothing to train on; their sum must be below 1")


# ---- shuffles; published splits depend on both


def numpy_shuffle(count: int, seed: int) -> Index:
    """0..count-1 as `numpy.random.default_rng(seed)` permutes them."""
    return np.random.default_rng(seed).permutation(count)


def python_shuffle(count: int, seed: int) -> Index:
    """0..count-1 as `random.Random(seed)` shuffles them."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return np.array(order, dtype=np.int64)


# ---- which things are in which split


def cut(
    count: int,
    shares: Mapping[Split, float],
    *,
    seed: int,
    what: str,
    remedy: str = "",
    shuffle: Shuffle = numpy_shuffle,
) -> dict[Split, Index]:
    """Which of `count` things are in which split, at random, in ascending order: max(1, round(share * count)) each.

    The training split is what is left. The splits come in the order of `shares`, so that the first one depends on
    nothing but its own share. `what` are the things and `remedy` what to do where they are too few, for a message.
    """
    sizes = [max(1, round(share * count)) for share in shares.values()]
    if sum(sizes) >= count:
        lower = " or ".join(f"data.{split}_fraction" for split in shares)
        remedy = remedy or f"add some, lower {lower}, or give {' and '.join(shares)} files of their own"
        raise UserError(f"{what}: there are {count}, {sum(sizes)} are held out and none is left to train on; {remedy}")
    pieces = np.split(shuffle(count, seed), np.cumsum(sizes))
    names: list[Split] = [*shares, "train"]
    return {split: np.sort(piece) for split, piece in zip(names, pieces, strict=True)}


def cut_groups(
    labels: Sequence[Hashable], shares: Mapping[Split, float], *, seed: int, shuffle: Shuffle = numpy_shuffle
) -> dict[Split, Index]:
    """Which things are in which split, at random, those of one label together; each split has one label at least.

    There must be as many labels as splits, training among them. The labels come in the order in which they first
    appear, shuffled; one joins a split if that brings its number of things nearer to its share.
    """
    members: dict[Hashable, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(label, []).append(index)
    known = list(members)
    left = [known[i] for i in shuffle(len(known), seed).tolist()]
    result: dict[Split, Index] = {}
    for number, (split, share) in enumerate(shares.items(), start=1):
        needed = len(shares) - number + 1  # labels that the splits after this one need, training among them
        chosen = _nearest(left, members, share * len(labels), most=len(left) - needed)
        left = [label for label in left if label not in chosen]
        result[split] = np.array(sorted(i for label in chosen for i in members[label]), dtype=np.int64)
    return result | {"train": np.array(sorted(i for label in left for i in members[label]), dtype=np.int64)}


def _nearest(
    order: Sequence[Hashable], members: Mapping[Hashable, list[int]], target: float, *, most: int
) -> list[Hashable]:
    """Labels whose things are about `target`; where each has too many, the one with the fewest."""
    chosen: list[Hashable] = []
    total = 0
    for label in order:
        count = len(members[label])
        if len(chosen) < most and abs(total + count - target) < abs(total - target):
            chosen.append(label)
            total += count
    return chosen or [min(order, key=lambda label: len(members[label]))]


# ---- files


def split_off(files: Sequence[str], shares: Mapping[Split, float], *, seed: int, what: str) -> SplitFiles:
    """Splits at random by file, in the order of `shares`; the rest is the training split. `what`, for a message."""
    parts = cut(len(files), shares, seed=seed, what=what, shuffle=python_shuffle)
    return _named(sorted(files), parts)


def split_off_speakers(
    files: Sequence[str],
    shares: Mapping[Split, float],
    speakers: Mapping[str, str],
    *,
    seed: int,
    root: Path,
    setting: str = "data.speaker",
) -> SplitFiles:
    """Splits at random by speaker, in the order of `shares`, at least one each; the rest is the training split.
    `setting` asked for it, for messages.
    """
    names = sorted(files, key=lambda name: (speakers[name], name))
    known = sorted({speakers[name] for name in names})
    if len(known) < 1 + len(shares):
        raise UserError(
            f"data.root {root}: has {len(known)} speaker(s) by {setting} ({', '.join(known)}) for "
            f"train, {' and '.join(shares)}, at least one each; correct {setting}, or leave it out to split by file"
        )
    return _named(names, cut_groups([speakers[name] for name in names], shares, seed=seed, shuffle=python_shuffle))


def _named(names: Sequence[str], parts: Mapping[Split, Index]) -> SplitFiles:
    return {split: sorted(names[i] for i in index) for split, index in parts.items()}
