"""A folder of recordings: folders train, valid and test, or all that is below it, split at random."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ...errors import UserError
from ...settings import Seed, Share
from ..folders import NAMES, cut_remark, split_folders
from ..splits import Split, SplitFiles, check_random_split, split_off_speakers
from .dataset import AudioDataModule
from .layouts import find_audio, folders, is_timit, name_speakers, refuse_empty, split_recordings


@dataclass(frozen=True)
class AudioFolder(AudioDataModule):
    """Recordings below a folder. Folders train, valid (or validation, val, dev) and test are the splits, where there
    are such; a split without a folder is split off the training recordings at random, by file or by speaker.
    """

    name: ClassVar[str] = "audio-folder"

    random_split: bool = False
    """whether all recordings are split at random, even where there are folders that are called train, valid or test"""

    valid_fraction: Share = 0.05
    """share of the recordings to validate on, where they have no folder of their own; one at least"""

    test_fraction: Share = 0.05
    """share of the recordings to test on, where they have no folder of their own; one at least"""

    split_seed: Seed = 1234
    """which recordings are validated and tested on, where they have no folder of their own"""

    speaker: str | None = None
    """regular expression whose group 1 (or group `speaker`), found in a file's path relative to data.root, is its
    speaker: each speaker is then in one of the splits that are made at random"""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_random_split(valid_fraction=self.valid_fraction, test_fraction=self.test_fraction)
        self._speaker_pattern()

    def split_files(self, root: Path) -> SplitFiles:
        files = refuse_empty(self._listed(root), root)
        shares: dict[Split, float] = {"test": self.test_fraction, "valid": self.valid_fraction}
        missing: dict[Split, float] = {split: share for split, share in shares.items() if split not in files}
        pattern = self._speaker_pattern()
        if not missing:
            if pattern is not None:
                raise UserError(
                    f"data.speaker is {self.speaker!r}, but data.root {root} has a folder for each split; leave "
                    f"data.speaker out, or set data.random_split true"
                )
            return files
        whole = files["train"]
        if pattern is None:
            return files | split_recordings(whole, missing, seed=self.split_seed, root=root)
        speakers = name_speakers(whole, pattern, root)
        return files | split_off_speakers(whole, missing, speakers, seed=self.split_seed, root=root)

    def origin(self, split: Split) -> str:
        """Which folders hold a split, where they are not just called by its name; or that it was cut at random."""
        by_split = {} if self.random_split else split_folders(self._root)
        if split in by_split:
            names = [folder.name for folder in by_split[split]]
            return "" if names[0].lower() in NAMES[split] else f"its recordings are those in {' and '.join(names)}"
        if split != "train":
            return cut_remark(split, "the training recordings" if by_split else "all recordings")
        return ""

    def _listed(self, root: Path) -> SplitFiles:
        if self.random_split:
            return {"train": find_audio(root, root)}
        by_split = split_folders(root)
        if is_timit(by_split):
            raise UserError(
                f"data.root {root}: TRAIN and TEST with DR1 to DR8 are TIMIT's; set data.name timit (a recipe that "
                f"begins with timit- does), or data.random_split true to split all of it at random"
            )
        return folders(root) if by_split else {"train": find_audio(root, root)}

    def _speaker_pattern(self) -> re.Pattern[str] | None:
        if self.speaker is None:
            return None
        try:
            pattern = re.compile(self.speaker)
        except re.error as error:
            raise UserError(f"data.speaker is {self.speaker!r}; it is not a regular expression: {error}") from error
        if pattern.groups == 0:
            raise UserError(f"data.speaker is {self.speaker!r}; it must have a group (in parentheses) that is the name")
        return pattern
