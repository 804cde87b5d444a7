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

from ...errors import UserError
from ...files.reading import user_path
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


@dataclass(frozen=True)
class AudioDataModule(DataModule):
    """Audio files of one channel, read as frames of raw samples; a step is a frame. A subclass says which files.

    SplitFiles are read when they are needed, so that a data set may be larger than the memory.
    """

    root: str = ""
    """folder of the recordings"""

    frame_size: Count = 200
    """samples in a frame; what is left at a recording's end is not read"""

    sample_rate: Count | None = None
    """samples per second (Hz) to resample to; without it, the rate of the recordings, which must all have the same"""

    encoding: Literal["float", "pcm", "mulaw"] = "float"
    """what a sample is: float (a real number, normalized), pcm (65536 levels) or mulaw (256 levels, mu = 255)"""

    first_observation: Literal["scored", "conditioned"] = "scored"
    """whether a sequence's first frame counts in the likelihood, or is only conditioned on"""

    chunk_frames: Count | None = None
    """scored frames of the pieces that training recordings are cut into, the last one shorter; without it, none are"""

    evaluation_chunk_frames: Count | None = None
    """the same for the validation and test recordings, each piece of which is then a sequence of its own"""

    skip_unreadable: bool = False
    """whether to leave out files that can't be used (damaged, stereo, shorter than a frame), or refuse them"""

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
            format=AudioFormat(rate, self.encoding),
        )

    def load(self, split: Split, description: DataDescription) -> FramedRecordings:
        """One split. All recordings of all splits are looked at, so that a bad test set fails early."""
        self._check_settings(description)
        recordings = self._recordings[split]
        chunk = self.chunk_frames if split == "train" else self.evaluation_chunk_frames
        frames = recordings.frames(self.frame_size, self._rate)
        return FramedRecordings(recordings, Pieces.cut(frames, first=self._first, chunk=chunk), description)

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
                self._root, names, size=self.frame_size, first=self._first, rate=self.sample_rate
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
        train = self._recordings["train"]
        first = int(train.rates[0])
        for recordings in self._recordings.values():
            others = recordings.rates != first
            if others.any():
                other = int(np.argmax(others))
                raise UserError(
                    f"data.root {self._root}: {train.names[0]} has {first} samples per second, "
                    f"{recordings.names[other]} {recordings.rates[other]}; set data.sample_rate to resample all of "
                    f"them to one rate"
                )
        return first

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
            ("encoding", self.encoding, audio.encoding),
            ("first_observation", self.first_observation, spec.first_observation),
            ("frame_size", self.frame_size, spec.size),
            ("sample_rate", self._rate, audio.sample_rate),
        ):
            if value != trained:
                raise UserError(
                    f"data.{field} is {value}, but the model was trained with {trained}: set data.{field} to {trained}"
                )
