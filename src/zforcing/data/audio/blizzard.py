"""Blizzard 2013's recordings (S. King, V. Karaiskos, "The Blizzard Challenge 2013"), as they are distributed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ...settings import Seed, Share
from ..folders import cut_remark
from ..splits import Split, SplitFiles, check_random_split
from .dataset import AudioDataModule
from .layouts import blizzard, refuse_empty, split_recordings


@dataclass(frozen=True)
class Blizzard(AudioDataModule):
    """All .wav files below a folder, split at random by file. The segmented copy and the whole one are the same speech:
    a folder that holds both is refused.
    """

    name: ClassVar[str] = "blizzard"
    paper: ClassVar[str] = 'S. King, V. Karaiskos, "The Blizzard Challenge 2013"'

    valid_fraction: Share = 0.05
    """share of the recordings to validate on; one at least"""

    test_fraction: Share = 0.05
    """share of the recordings to test on; one at least"""

    split_seed: Seed = 1234
    """which recordings are validated and tested on"""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_random_split(valid_fraction=self.valid_fraction, test_fraction=self.test_fraction)

    def split_files(self, root: Path) -> SplitFiles:
        whole = refuse_empty(blizzard(root), root)["train"]
        return split_recordings(
            whole, {"test": self.test_fraction, "valid": self.valid_fraction}, seed=self.split_seed, root=root
        )

    def origin(self, split: Split) -> str:
        """All splits are cut at random."""
        return "" if split == "train" else cut_remark(split, "all recordings")
