"""Recordings as sequences of frames of raw samples, one frame a step: what all data sets of audio share.

As in J. Chung et al., "A Recurrent Latent Variable Model for Sequential Data", NeurIPS 2015 (https://arxiv.org/abs/
1506.02216): frames of 200 consecutive samples, normalized by one mean and standard deviation for all of them.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...files.audio import Channel
from ...files.paths import user_path
from ...observations import (
    LEVELS,
    AudioFormat,
    DataDescription,
    Normalization,
    ObservationSpec,
)
from ...settings import Count
from ..module import DataModule
from ..pieces import Pieces
from ..splits import Split, SplitFiles
from .framed import FramedRecordings, Recordings, mean_and_std, refuse, scan
from .remarks import beyond_remark, channels_remark, count_rates, passed_over, rates_remark


@dataclass(frozen=True)
class AudioDataModule(DataModule):
    """Audio files read as one channel, in frames of raw samples; a step is a frame. A subclass says which files.

    SplitFiles are read when they are needed, so that a data set may be larger than the memory.
    """

    root: str = ""
    """folder of the recordings"""

    frame_size: Count = 200
    """samples in a frame; what is left at a recording's end is not read"""

    sample_rate: Count | None = None
    """samples per second (Hz) to resample to; without it, the rate of the recordings, which must all have the same"""

    channel: Channel = "mix"
    """what is read of several channels: mix (their mean), left, right, or a number from 0, which is left"""

    encoding: Literal["float", "pcm", "mulaw"] = "float"
    """what a sample is: float (a real number, normalized), pcm (65536 levels) or mulaw (256 levels, mu = 255)"""

    first_observation: Literal["scored", "conditioned"] = "scored"
    """whether a sequence's first frame counts in the likelihood, or is only conditioned on"""

    chunk_frames: Count | None = None
    """scored frames of the pieces that training recordings are cut into, the last one shorter; without it, none are"""

    evaluation_chunk_frames: Count | None = None
    """the same for the validation and test recordings, each piece of which is then a sequence of its own"""

    skip_unreadable: bool = False
    """whether to leave out files that can't be used (damaged, shorter than a frame), or refuse them"""

    def describe(self) -> DataDescription:
        """What a frame is, how samples are scaled and how long sequences are, from the training split.

        For float it reads all training recordings once: a few minutes for some hundred hours.
        """
        train, rate = self._recordings["train"], self._rate
        frames = train.frames(self.frame_size, rate)
        pieces = Pieces.cut(frames, first=self._first, chunk=self.chunk_frames)
        return DataDescription(
            name=self.name,
            spec=self._spec,
            longest=int(pieces.length.max()) - self._first,
            normalization=self._fit(train, rate) if self._spec.levels is None else None,
            format=AudioFormat(rate, self.encoding, self.channel),
        )

    def load(self, split: Split, description: DataDescription) -> FramedRecordings:
        """One split. All recordings of all splits are looked at, so that a bad test set fails early."""
        self._check_settings(description)
        recordings = self._recordings[split]
        chunk = self.chunk_frames if split == "train" else self.evaluation_chunk_frames
        frames = recordings.frames(self.frame_size, self._rate)
        pieces = Pieces.cut(frames, first=self._first, chunk=chunk)
        return FramedRecordings(recordings, pieces, description, remark=self._remark_on(split))

    @property
    def _spec(self) -> ObservationSpec:
        levels = LEVELS[self.encoding]
        return ObservationSpec(
            "real" if levels is None else "quantized", self.frame_size, self.first_observation, levels=levels
        )

    @property
    def _first(self) -> int:
        """How many frames of a sequence are not scored."""
        return self._spec.unscored_steps

    @cached_property
    def _root(self) -> Path:
        if not self.root:
            raise UserError("data.root is empty; name the folder of the recordings")
        root = user_path(self.root, f"data.root {self.root}")
        if not root.exists():
            raise UserError(f"data.root {self.root}: no such file or directory; a relative path starts at {Path.cwd()}")
        if not root.is_dir():
            raise UserError(f"data.root {self.root}: is a file; name the folder that it is in")
        return root

    @cached_property
    def _recordings(self) -> dict[Split, Recordings]:
        """All splits, from the headers of all files; cached for the other splits."""
        by_split: dict[Split, Recordings] = {}
        wrong: dict[str, str] = {}
        files = self.split_files(self._root)
        for split, names in files.items():
            by_split[split], unusable = scan(
                self._root,
                names,
                size=self.frame_size,
                first=self._first,
                rate=self.sample_rate,
                channel=self.channel,
                has_levels=self._spec.levels is not None,
            )
            wrong |= unusable
        if not self.skip_unreadable:
            refuse(self._root, wrong, sum(map(len, files.values())))
        for split, recordings in by_split.items():
            if not recordings.names:
                name = files[split][0]
                raise UserError(
                    f"data.root {self._root}: of {len(files[split])} recordings none is left in the {split} split; "
                    f"correct them: {name} {wrong[name]}"
                )
        return by_split

    @cached_property
    def _rate(self) -> int:
        """Samples per second of what is read."""
        if self.sample_rate is not None:
            return self.sample_rate
        rates = self._joined("rates")
        other = rates != rates[0]
        if other.any():
            names = [name for recordings in self._recordings.values() for name in recordings.names]
            raise UserError(
                f"data.root {self._root}: recordings have different sample rates, {count_rates(rates.tolist())} "
                f"samples per second, such as {names[0]} and {names[int(np.argmax(other))]}; set data.sample_rate, as "
                f"to {rates.min()}, to resample all of them to one rate"
            )
        return int(rates[0])

    def _joined(self, name: Literal["rates", "channels"]) -> NDArray[np.int64]:
        """What the headers of all splits say."""
        parts: list[NDArray[np.int64]] = [getattr(one, name) for one in self._recordings.values()]
        return np.concatenate(parts)

    def origin(self, split: Split) -> str:
        """What a reader should know of where a split's recordings come from: a random split is always said."""
        return ""

    def _remark_on(self, split: Split) -> str:
        """Where a split comes from; with the training split also what isn't read, or not as it is, in all splits."""
        remarks = [self.origin(split)]
        if split == "train":
            rates = rates_remark(self._joined("rates"), self._rate)
            beyond = beyond_remark(list(self._recordings.values()), clips=self._spec.levels is not None)
            channels = channels_remark(self._joined("channels"), self.channel)
            remarks += [channels, rates, beyond, passed_over(self._root)]
        return "; ".join(filter(None, remarks))

    @abstractmethod
    def split_files(self, root: Path) -> SplitFiles:
        """Which files below the folder are in which split, relative to it, before any of them is opened.

        Raises UserError when a split would be empty.
        """

    def _fit(self, train: Recordings, rate: int) -> Normalization:
        """One mean and one standard deviation of all training samples, the same for each sample of a frame."""
        mean, std = mean_and_std(train.blocks(rate))
        if not std > 0:
            raise UserError(
                f"data.root {self._root}: every sample of the training split is {mean:g}: silence; correct the "
                f"recordings"
            )
        return Normalization((mean,) * self.frame_size, (std,) * self.frame_size)

    def _check_settings(self, description: DataDescription) -> None:
        """The settings must ask for what the model was trained on."""
        audio, spec = description.format, description.spec
        if not isinstance(audio, AudioFormat):
            raise UserError(
                f"data {self.name} holds audio, but the model was trained on data {description.name}: name its own data"
            )
        for field, value, trained in (
            ("channel", self.channel, audio.channel),
            ("encoding", self.encoding, audio.encoding),
            ("first_observation", self.first_observation, spec.first_observation),
            ("frame_size", self.frame_size, spec.size),
            ("sample_rate", self._rate, audio.sample_rate),
        ):
            if value != trained:
                raise UserError(
                    f"data.{field} is {value}, but the model was trained with {trained}: set data.{field} to {trained}"
                )
