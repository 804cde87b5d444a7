"""TIMIT as it comes from its disc (LDC93S1): TRAIN and TEST, with dialect regions DR1 to DR8 and a folder a speaker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from ...settings import Seed, Share
from ..folders import cut_remark, split_folders
from ..splits import Split, SplitFiles, check_random_split, split_off_speakers
from .dataset import AudioDataModule
from .layouts import refuse_empty, split_recordings, timit

VALID: Split = "valid"


@dataclass(frozen=True)
class Timit(AudioDataModule):
    """TRAIN|TEST/DR1..8/SPEAKER/UTTERANCE.WAV, in any case; VALID if it is there, else split off TRAIN at random."""

    name: ClassVar[str] = "timit"
    paper: ClassVar[str] = '"TIMIT", LDC93S1'

    include_sa: bool = True
    """whether the two sentences that all speakers read, SA1 and SA2, are in, as in published results"""

    valid_fraction: Share = 0.05
    """share of the training utterances to validate on, where there is no folder VALID; one at least"""

    split_seed: Seed = 1234
    """which utterances are validated on, where there is no folder VALID"""

    by_speaker: bool = False
    """whether those to validate on are of speakers who aren't trained on, where there is no folder VALID"""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_random_split(valid_fraction=self.valid_fraction)

    def split_files(self, root: Path) -> SplitFiles:
        files = refuse_empty(timit(root, include_sa=self.include_sa), root)
        if "valid" in files:
            return files
        whole, shares = files["train"], {VALID: self.valid_fraction}
        if not self.by_speaker:
            return files | split_recordings(whole, shares, seed=self.split_seed, root=root)
        speakers = {name: PurePosixPath(name).parent.name for name in whole}
        return files | split_off_speakers(
            whole, shares, speakers, seed=self.split_seed, root=root, setting="data.by_speaker"
        )

    def origin(self, split: Split) -> str:
        """Without a folder VALID, what is validated on is cut at random."""
        is_cut = split == "valid" and "valid" not in split_folders(self._root)
        return cut_remark(split, "the training utterances") if is_cut else ""
