"""Images of 28x28 binary pixels as sequences: pixel by pixel, row by row, or whole, in one step."""

from __future__ import annotations

import copy
from typing import Literal

import numpy as np

from ...errors import UserError
from ...files.reading import Array
from ...observations import DataDescription, Example, ImageFormat, ObservationSpec, in_steps
from ..dataset import SequenceDataset
from ..splits import Split

PixelOrder = Literal["pixels", "rows", "image"]
SIDE = 28
PIXELS = SIDE * SIDE
STEP: dict[PixelOrder, int] = {"pixels": 1, "rows": SIDE, "image": PIXELS}  # pixels in a step


def describe_images(name: str, order: PixelOrder) -> DataDescription:
    """784 steps of a pixel, 28 steps of a row, or one of the image; x_0 = 0, all of them scored."""
    size = STEP[order]
    spec = ObservationSpec("binary", size)
    return DataDescription(name, spec, longest=PIXELS // size, format=ImageFormat(SIDE, SIDE))


def check_trained_on(own: DataDescription, description: DataDescription) -> None:
    """The model must have been trained on images of this name, in this order."""
    if (description.name, description.spec) != (own.name, own.spec):
        raise UserError(
            f"data {own.name} holds {own.spec}, but the model was trained on data {description.name}, "
            f"{description.spec}: name its own data, with its own data.order and data.check_known"
        )


class BinaryImages(SequenceDataset):
    """Images [N, 784] of uint8 0 and 1, in steps of `size` pixels."""

    def __init__(self, pixels: Array, size: int):
        self.pixels, self.size = pixels, size
        self.lengths = np.full(len(pixels), PIXELS // size, dtype=np.int64)

    def __getitem__(self, index: int) -> Example:
        return Example(in_steps(self.pixels[index], self.size))


class RedrawnImages(SequenceDataset):
    """Grey images [N, 784] of uint8, in steps of `size` pixels, binarized anew each epoch."""

    def __init__(self, grey: Array, size: int, *, seed: int, epoch: int = 0):
        self.grey, self.size, self.seed, self.epoch = grey, size, seed, epoch
        self.lengths = np.full(len(grey), PIXELS // size, dtype=np.int64)

    def __getitem__(self, index: int) -> Example:
        drawn = binarize(self.grey[index], "train", index, seed=self.seed, epoch=self.epoch)
        return Example(in_steps(drawn, self.size))

    def at_epoch(self, epoch: int) -> RedrawnImages:
        """The same images with that epoch's pixels."""
        other = copy.copy(self)
        other.epoch = epoch
        return other


def binarize(grey: Array, split: Split, index: int, *, seed: int, epoch: int = 0) -> Array:
    """Pixels [784] that are 1 with probability grey / 255; a pure function of split, epoch, image and seed."""
    rng = np.random.default_rng([int.from_bytes(split.encode(), "big"), epoch, index, seed])
    drawn: Array = rng.random(grey.shape) < grey / 255  # random() is below 1: 255 is always 1, and 0 never
    return drawn.astype(np.uint8)
