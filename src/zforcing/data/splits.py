"""Splits: their names, and which sequences are in which where they are made at random."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
Files = dict[Split, list[str]]  # of each split, relative to a folder, with slashes, sorted


def check_random_split(*, valid_fraction: float, test_fraction: float, split_seed: int) -> None:
    """Raises UserError, by the names that the settings have, for shares or a seed that split nothing."""
    if split_seed < 0:
        raise UserError(f"data.split_seed is {split_seed}; it must be 0 or more")
    for name, share in (("valid_fraction", valid_fraction), ("test_fraction", test_fraction)):
        if not (math.isfinite(share) and 0 < share < 1):
            raise UserError(f"data.{name} is {share}; it must be a number between 0 and 1")
    if valid_fraction + test_fraction >= 1:
        raise UserError(
            f"data.valid_fraction {valid_fraction} and data.test_fraction {test_fraction} leave nothing to train on; "
            f"their sum must be below 1"
        )


def cut(count: int, shares: Mapping[Split, float], *, seed: int, what: str) -> dict[Split, NDArray[np.int64]]:
    """Which of `count` things are in which split, at random, in ascending order: max(1, round(share * count)) each.

    The training split is what is left. The splits come in the order of `shares`, so that the first one depends on
    nothing but its own share. `what` are the things, for a message.
    """
    sizes = [max(1, round(share * count)) for share in shares.values()]
    if sum(sizes) >= count:
        lower = " and ".join(f"data.{split}_fraction" for split in shares)
        raise UserError(
            f"{what}: there are {count}, {sum(sizes)} are held out and none is left to train on; add some, lower "
            f"{lower}, or give {' and '.join(shares)} files of their own"
        )
    pieces = np.split(np.random.default_rng(seed).permutation(count), np.cumsum(sizes))
    names: list[Split] = [*shares, "train"]
    return {split: np.sort(piece) for split, piece in zip(names, pieces, strict=True)}


def split_off(files: Sequence[str], shares: Mapping[Split, float], *, seed: int, root: Path) -> Files:
    """Splits at random by file, in the order of `shares`; the rest is the training split.

    The sorted files are shuffled by `random.Random(seed)`; the first max(1, round(share * N)) are the first split.
    """
    if len(files) < 1 + len(shares):
        raise UserError(
            f"data.root {root}: has {len(files)} recording(s) to split into train, {' and '.join(shares)}, at least "
            f"one each; add recordings, or folders {', '.join(SPLITS)} and data.layout folders"
        )
    shuffled = sorted(files)
    random.Random(seed).shuffle(shuffled)
    result: Files = {}
    for split, share in shares.items():
        count = max(1, round(share * len(files)))
        result[split], shuffled = sorted(shuffled[:count]), shuffled[count:]
    return _with_rest(result, shuffled, root)


def split_off_speakers(
    files: Sequence[str], shares: Mapping[Split, float], speakers: Mapping[str, str], *, seed: int, root: Path
) -> Files:
    """Splits at random by speaker, in the order of `shares`, at least one each; the rest is the training split.

    The sorted speakers are shuffled; one joins the first split if that brings its number of files nearer to its share.
    """
    by_speaker: dict[str, list[str]] = {}
    for name in sorted(files):
        by_speaker.setdefault(speakers[name], []).append(name)
    if len(by_speaker) < 1 + len(shares):
        raise UserError(
            f"data.root {root}: has {len(by_speaker)} speaker(s) by data.speaker ({', '.join(sorted(by_speaker))}) for "
            f"train, {' and '.join(shares)}, at least one each; mend data.speaker, or leave it out to split by file"
        )
    order = sorted(by_speaker)
    random.Random(seed).shuffle(order)
    result: Files = {}
    for number, (split, share) in enumerate(shares.items(), start=1):
        needed = len(shares) - number + 1  # speakers that the splits after this one need, training among them
        chosen = _nearest(order, by_speaker, share * len(files), most=len(order) - needed)
        order = [speaker for speaker in order if speaker not in chosen]
        result[split] = sorted(name for speaker in chosen for name in by_speaker[speaker])
    return _with_rest(result, [name for speaker in order for name in by_speaker[speaker]], root)


def _nearest(order: Sequence[str], by_speaker: Mapping[str, list[str]], wanted: float, *, most: int) -> list[str]:
    """Speakers whose files are nearly as many as wanted; where each has too many, the one with the fewest."""
    chosen: list[str] = []
    total = 0
    for speaker in order:
        count = len(by_speaker[speaker])
        if len(chosen) < most and abs(total + count - wanted) < abs(total - wanted):
            chosen.append(speaker)
            total += count
    return chosen or [min(order, key=lambda speaker: len(by_speaker[speaker]))]


def _with_rest(held_out: Files, rest: Sequence[str], root: Path) -> Files:
    if not rest:
        raise UserError(
            f"data.root {root}: all recordings are held out and none is left to train on; lower "
            f"{' or '.join(f'data.{split}_fraction' for split in held_out)}"
        )
    return held_out | {"train": sorted(rest)}
