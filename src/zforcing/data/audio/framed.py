"""Recordings as sequences of frames, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...files.audio import Channel, Header, Samples, blocks_of, read_header, read_resampled
from ...files.reading import Unreadable, printable
from ...observations import AudioFormat, DataDescription, Example, encode, shorter_than
from ..dataset import SequenceDataset
from ..pieces import Pieces

NAMED = 100  # recordings that one message names


@dataclass(frozen=True, eq=False)
class Recordings:
    """N recordings, by what their headers say.

    root:    the folder that the names start at
    names:   [N]
    samples: [N], at their own rates
    rates:   [N], samples per second
    channels: [N], how many each has
    channel: what is read of several
    skipped: how many more there were that can't be used
    beyond: how many samples are beyond full scale, by the name of each recording of floats that has some
    """

    root: Path
    names: Sequence[str]
    samples: NDArray[np.int64]
    rates: NDArray[np.int64]
    channels: NDArray[np.int64]
    channel: Channel = "mix"
    skipped: int = 0
    beyond: Mapping[str, int] = field(default_factory=dict)

    def header(self, index: int) -> Header:
        """Of one recording."""
        return Header(int(self.samples[index]), int(self.rates[index]), int(self.channels[index]), self.channel)

    def frames(self, size: int, rate: int) -> NDArray[np.int64]:
        """[N]: how many whole frames of `size` samples each recording has at `rate`."""
        return self.samples * rate // self.rates // size

    def blocks(self, rate: int) -> Iterator[Samples]:
        """All samples of all recordings at `rate`, a few seconds or minutes at a time."""
        for index, name in enumerate(self.names):
            yield from blocks_of(self.root / name, self.header(index), rate)


def scan(
    root: Path,
    names: Sequence[str],
    *,
    size: int,
    first: int,
    rate: int | None,
    channel: Channel,
    has_levels: bool = False,
) -> tuple[Recordings, dict[str, str]]:
    """Recordings with a frame to score after `first` frames that aren't; and of the others, what is wrong with each.

    has_levels: whether samples become 16-bit levels or mu-law's, which clip what is beyond full scale
    """
    good, headers, wrong, beyond = [], [], {}, {}
    for name in names:
        try:
            header = read_header(root / name, channel=channel)
        except Unreadable as error:
            wrong[name] = error.reason
            continue
        target = header.rate if rate is None else rate
        if header.resampled(target) // size <= first:
            wrong[name] = shorter_than(1 + first, size, target)
            continue
        if has_levels and header.unscaled:
            wrong[name] = header.unscaled
            continue
        good.append(name)
        if header.beyond:
            beyond[name] = header.beyond
        headers.append((header.samples, header.rate, header.channels))
    numbers = np.array(headers, dtype=np.int64).reshape(-1, 3)
    samples, rates, channels = numbers.T
    return Recordings(root, good, samples, rates, channels, channel, len(wrong), beyond), wrong


def refuse(root: Path, wrong: dict[str, str], total: int) -> None:
    """Raise about recordings that can't be used, if there are any: `NAMED` with the reason, then how many more."""
    if wrong:
        reasons = [f"{printable(name)} {reason}" for name, reason in list(wrong.items())[:NAMED]]
        if len(wrong) > NAMED:
            reasons.append(f"and {len(wrong) - NAMED} more")
        raise UserError(
            f"data.root {root}: {len(wrong)} of {total} recordings can't be used; leave them out by "
            f"data.skip_unreadable true, or correct them: {'; '.join(reasons)}"
        )


class FramedRecordings(SequenceDataset):
    """One split of audio: a sequence is a recording or a piece of it, a step is a frame, as `description` says.

    `skipped` recordings of the split were left out because they can't be used.
    """

    def __init__(self, recordings: Recordings, pieces: Pieces, description: DataDescription, *, remark: str = ""):
        if not isinstance(description.format, AudioFormat):
            raise ValueError("the description of recordings must say what their samples are")
        self.description = description
        self.recordings = recordings
        self.pieces = pieces
        self.lengths = pieces.length
        self.skipped, self.remark = recordings.skipped, remark
        self.audio = description.format
        self.frame_size = description.spec.size
        self.normalization = description.normalization

    def __getitem__(self, index: int) -> Example:
        return self.piece(index, 0, int(self.lengths[index]))

    def piece(self, index: int, start: int, stop: int) -> Example:
        """Reads no more of the file than these frames, and what resampling them needs."""
        recording, size = int(self.pieces.recording[index]), self.frame_size
        begin = int(self.pieces.start[index])
        samples = read_resampled(
            self.recordings.root / self.recordings.names[recording],
            self.recordings.header(recording),
            self.audio.sample_rate,
            (begin + start) * size,
            (begin + stop) * size,
        )
        return Example(encode(samples.reshape(-1, size), self.audio, self.normalization))


def mean_and_std(blocks: Iterable[Samples]) -> tuple[float, float]:
    """Of all numbers of all blocks, in float64, one block in memory at a time.

    Each block's mean and sum of squares around it, joined by T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae
    and a pairwise algorithm for computing sample variances", 1979: no difference of large sums.
    """
    count, mean, squares = 0, 0.0, 0.0
    for block in blocks:
        numbers = block.astype(np.float64)
        total, own = count + len(numbers), float(numbers.mean())
        squares += float(np.square(numbers - own).sum()) + (own - mean) ** 2 * count * len(numbers) / total
        mean += (own - mean) * len(numbers) / total
        count = total
    return mean, float(np.sqrt(squares / count))
