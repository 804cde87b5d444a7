"""What a reader should know of recordings that aren't read as they are, or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from ...files.audio import Channel, unread_suffixes
from ..folders import find_files
from .framed import Recordings


def passed_over(root: Path) -> str:
    """Audio below a folder that libsndfile can't read, counted by suffix; "" if there is none."""
    unread = unread_suffixes()
    names = find_files(root, root, lambda file: file.suffix.lower() in unread)
    counts = Counter(PurePosixPath(name).suffix.lower() for name in names)
    if not counts:
        return ""
    files = " and ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
    plural = "s" if counts.total() > 1 else ""
    return (
        f"{files} file{plural} passed over: this libsndfile can't read them; convert them, "
        "as by ffmpeg -i IN.m4a OUT.flac"
    )


def channels_remark(channels: NDArray[np.int64], channel: Channel) -> str:
    """What became of several channels; "" where every recording, [N], has one."""
    several = channels > 1
    if not several.any():
        return ""
    read = "mixed down to one" if channel == "mix" else f"of which {channel} is read"
    counts = _listed(channels[several])
    return f"{np.count_nonzero(several)} of {len(channels)} recordings have {counts} channels, {read} (data.channel)"


def rates_remark(rates: NDArray[np.int64], rate: int) -> str:
    """From which sample rates recordings, [N], are resampled; "" where none is."""
    other = rates != rate
    if not other.any():
        return ""
    return (
        f"{np.count_nonzero(other)} of {len(rates)} recordings are resampled from {_listed(rates[other])} to {rate} "
        "samples per second (data.sample_rate)"
    )


def beyond_remark(splits: Sequence[Recordings], *, clips: bool) -> str:
    """How many samples of floats are beyond full scale; "" where none is. clips: whether they are clipped."""
    beyond = [count for recordings in splits for count in recordings.beyond.values()]
    if not beyond:
        return ""
    total = sum(len(recordings.names) for recordings in splits)
    return (
        f"{len(beyond)} of {total} recordings have samples of floats beyond full scale (-1 to 1), {sum(beyond)} in all"
        f"{', which are clipped' if clips else ''}"
    )


def count_rates(rates: Iterable[int]) -> str:
    """How many recordings have each rate: 12 of 44100 and 3 of 48000."""
    return " and ".join(f"{count} of {rate}" for rate, count in sorted(Counter(rates).items()))


def _listed(numbers: NDArray[np.int64]) -> str:
    return " or ".join(map(str, sorted(set(numbers.tolist()))))
