"""scikit-learn's 8x8 handwritten digits, binarized, read pixel by pixel. They ship inside a dependency: no download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ...errors import UserError
from ...observations import DataDescription, Example, ImageFormat, ObservationSpec
from ...settings import Range
from ..dataset import InMemory
from ..module import DataModule
from ..splits import Split

SPLITS: dict[Split, slice] = {"train": slice(0, 1297), "valid": slice(1297, 1497), "test": slice(1497, 1797)}


@dataclass(frozen=True)
class Digits(DataModule):
    """1797 images, 64 binary steps each: a pixel is 1 when its grey level (0 to 16) is `threshold` or more.

    Split 1297/200/300 after one fixed permutation, numpy's `default_rng(0)`: in the file's own order a few writers
    follow each other, and the test set would hold other writers than the training set.
    Source: E. Alpaydin, C. Kaynak, "Optical recognition of handwritten digits", UCI repository, 1998 (the test part).
    """

    name: ClassVar[str] = "digits"
    paper: ClassVar[str] = 'E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998'

    threshold: Annotated[int, Range(at_least=1, at_most=16)] = 8
    """grey level, 1 to 16, from which a pixel counts as 1"""

    def describe(self) -> DataDescription:
        """64 binary pixels, x_0 = 0, all of them scored."""
        return DataDescription("digits", ObservationSpec("binary", 1), longest=64, format=ImageFormat(8, 8))

    def load(self, split: Split, description: DataDescription) -> InMemory:
        """The images of one split, [64, 1] each."""
        own = self.describe()
        if description.spec != own.spec:
            raise UserError(
                f"data digits holds {own.spec}, but the model was trained on {description.spec}: name its own data"
            )
        from sklearn.datasets import load_digits  # 1 s to import, and only this data set needs it

        grey = load_digits().data[np.random.default_rng(0).permutation(1797)][SPLITS[split]]
        pixels = (grey >= self.threshold).astype(np.float32)[:, :, None]
        return InMemory([Example(image) for image in pixels]).described_as(description)
