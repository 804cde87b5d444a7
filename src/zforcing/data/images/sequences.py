"""Images of 28x28 binary pixels as sequences: pixel by pixel, or row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from ...errors import UserError
from ...files.amat import read_lines
from ...files.archives import open_npz
from ...files.reading import Array, listed, user_path
from ...files.rows import Layout
from ...files.sequences import read
from ...observations import DataDescription, Example, ObservationSpec
from ..dataset import SequenceDataset
from ..splits import Split

Order = Literal["pixels", "rows"]
SIDE = 28
PIXELS = SIDE * SIDE
STEP: dict[Order, int] = {"pixels": 1, "rows": SIDE}  # pixels in a step
PREFIXES = ".amat, .npy or .npz"


def describe_images(name: str, order: Order) -> DataDescription:
    """784 steps of a pixel, or 28 steps of a row; x_0 = 0, all of them scored."""
    size = STEP[order]
    return DataDescription(name, ObservationSpec("binary", size), longest=PIXELS // size, image_shape=(SIDE, SIDE))


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
        return RedrawnImages(self.grey, self.size, seed=self.seed, epoch=epoch)


def binarize(grey: Array, split: Split, index: int, *, seed: int, epoch: int = 0) -> Array:
    """Pixels [784] that are 1 with probability grey / 255; a pure function of split, epoch, image and seed."""
    rng = np.random.default_rng([int.from_bytes(split.encode(), "big"), epoch, index, seed])
    drawn: Array = rng.random(grey.shape) < grey / 255  # random() is below 1: 255 is always 1, and 0 never
    return drawn.astype(np.uint8)


def in_steps(pixels: Array, size: int) -> Array:
    """[k] -> [k / size, size] float32."""
    steps: Array = pixels.reshape(-1, size).astype(np.float32)
    return steps


def check_binary(images: Array, source: str, *, first: int = 0) -> Array:
    """[N, k] of 0 and 1 as uint8. Raises UserError about another number; `first` is the first image's number in it."""
    wrong = (images != 0) & (images != 1)
    if wrong.any():
        image, pixel = divmod(int(np.argmax(wrong)), images.shape[1])
        said = f"pixel {pixel} of image {first + image} (counted from 0) is {images[image, pixel]}"
        raise UserError(f"{source}: {said}; a pixel is 0 or 1")
    return images.astype(np.uint8, copy=False)


def read_prefix(path: str, description: DataDescription) -> list[Example]:
    """The beginnings of images, in reading order, up to 784 pixels each.

    .amat: a line of each. .npy, .npz (array x): [n, k] pixels, or [n, rows, 28]; what `zforcing sample` writes, too.
    Raises UserError for a pixel that isn't 0 or 1, too many pixels, or where rows are read, a part of one.
    """
    size, source = description.spec.size, f"PREFIX {path}"
    examples = []
    for name, pixels in _beginnings(path, source):
        if len(pixels) > PIXELS:
            raise UserError(f"{source}: {name} has {len(pixels)} pixels; a whole image has {PIXELS}")
        if len(pixels) % size:
            raise UserError(
                f"{source}: {name} has {len(pixels)} pixels; the model reads rows of {size}: give it whole rows"
            )
        examples.append(Example(in_steps(pixels, size)))
    if not examples:
        raise UserError(f"{source}: is empty; it must hold the beginning of an image, or of more")
    return examples


def _beginnings(path: str, source: str) -> list[tuple[str, Array]]:
    """What a message calls each image, and its pixels [k]."""
    file = user_path(path, source)
    if file.suffix.lower() not in (".amat", ".npy", ".npz"):
        raise UserError(f"{source}: its suffix is {file.suffix!r}; beginnings of images are read from {PREFIXES}")
    if file.suffix.lower() == ".amat":
        if not file.is_file():
            raise UserError(f"{source}: no such file; a relative path starts at {Path.cwd()}")
        return [(f"line {number}", pixels) for number, pixels in read_lines(file, source)]
    if file.suffix.lower() == ".npz" and file.is_file():
        with open_npz(file, source) as archive:
            if "x" not in archive.files:
                raise UserError(f"{source}: has no array 'x', it has {listed(archive.files)}; save the images as x")
    rows = read(path, Layout(), setting="PREFIX")
    pieces = np.split(rows.values, np.cumsum(rows.lengths)[:-1])  # [T, D] each
    pixels = [piece.reshape(1, -1) for piece in pieces]
    return [(f"image {i}", check_binary(image, source, first=i)[0]) for i, image in enumerate(pixels)]
