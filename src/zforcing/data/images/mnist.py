"""MNIST's handwritten digits, 28x28 binary pixels: the fixed binarization of published tables, and one drawn anew.

Static: R. Salakhutdinov, I. Murray, "On the quantitative analysis of deep belief networks", ICML 2008, each pixel drawn
once with its grey level as the probability; the files are H. Larochelle's. Dynamic: the training images are drawn anew
each epoch, as in Y. Burda, R. Grosse, R. Salakhutdinov, "Importance Weighted Autoencoders", ICLR 2016. The same model
gets half a nat to a nat more there, so the two never stand under one name.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from ...errors import UserError
from ...files.amat import read_amat
from ...files.archives import read_npz
from ...files.idx import read_idx
from ...files.paths import user_path
from ...files.reading import Array, listed, readable
from ...files.rows import Layout
from ...observations import DataDescription, check_binary
from ...settings import Count, Seed
from ..module import DataModule
from ..splits import Split
from . import sequences as images
from .sequences import PIXELS, SIDE, STEP, BinaryImages, PixelOrder, RedrawnImages


@dataclass(frozen=True)
class PixelSums:
    """Checksums of a file of images: N, the sum of all pixels, and the sum of p times pixel p, p being 0 to 783.

    The last one depends on the order of the pixels (images may be transposed), none on the order of the images.
    """

    count: int
    total: int
    moment: int

    @classmethod
    def of(cls, pixels: Array) -> PixelSums:
        """Of images [N, 784]."""
        per_pixel = pixels.sum(axis=0, dtype=np.int64)
        return cls(len(pixels), int(per_pixel.sum()), int(per_pixel @ np.arange(PIXELS)))

    @property
    def mean(self) -> float:
        """Of all pixels."""
        return self.total / (self.count * PIXELS)


LAROCHELLE: dict[Split, PixelSums] = {
    "train": PixelSums(50000, 5118041, 2077723342),
    "valid": PixelSums(10000, 1028036, 417215100),
    "test": PixelSums(10000, 1038896, 421682408),
}
GREY: dict[Split, PixelSums] = {
    "train": PixelSums(60000, 1567298545, 636217355848),
    "test": PixelSums(10000, 264923200, 107525244191),
}


@dataclass(frozen=True)
class Mnist(DataModule):
    """Statically binarized MNIST, H. Larochelle's files: 50000 images to train on, 10000 to validate, 10000 to test."""

    name: ClassVar[str] = "mnist"
    paper: ClassVar[str] = (
        'R. Salakhutdinov, I. Murray, "On the Quantitative Analysis of Deep Belief Networks", ICML 2008'
    )

    root: str = ""
    """folder of binarized_mnist_train.amat, binarized_mnist_valid.amat and binarized_mnist_test.amat (.gz and .npz are
    read too), or one .npz with arrays train, valid and test, [N, 784] or [N, 28, 28]"""

    order: PixelOrder = "pixels"
    """what a step is: pixels (784 steps of one pixel), rows (28 steps of 28 pixels) or image (one step of all 784, for
    models without time)"""

    check_known: bool = True
    """whether to refuse other images than Larochelle's; if not, the data's name is mnist-unchecked"""

    def describe(self) -> DataDescription:
        """784 binary pixels, 28 rows of 28 or one image, x_0 = 0, all of them scored."""
        return images.describe_images(_named("mnist", checked=self.check_known), self.order)

    def load(self, split: Split, description: DataDescription) -> BinaryImages:
        """One split. With the training images those of the test are read, so that a wrong test set fails early."""
        images.check_trained_on(self.describe(), description)
        pixels = self._pixels(split)
        if split == "train":
            self._pixels("test")
        return BinaryImages(pixels, STEP[self.order]).described_as(description)

    def _pixels(self, split: Split) -> Array:
        """[N, 784] of 0 and 1."""
        file = self._file(split)
        source = f"data.root {file}"
        if file.suffix.lower() == ".npz":
            whole = file == user_path(self.root, source)
            own = () if whole else ("x", "arr_0")  # names that no other split has
            pixels = check_binary(_read_npz(file, (split, *own), source), source)
        else:
            pixels = read_amat(file, PIXELS, source)
        if self.check_known:
            _check_known(pixels, split, LAROCHELLE, source, of="Larochelle's binarized MNIST")
        return pixels

    def _file(self, split: Split) -> Path:
        stem = f"binarized_mnist_{split}"
        names = [f"{folder}{stem}{end}" for folder in ("", "binarized_mnist/") for end in (".amat", ".amat.gz", ".npz")]
        return _find(self.root, names, f"{split} split of binarized MNIST")


@dataclass(frozen=True)
class DynamicMnist(DataModule):
    """Grey MNIST, each pixel 1 with probability grey / 255: the training images are drawn anew each epoch.

    Validation and test images are drawn once. Draws are a pure function of `binarization_seed`, split, epoch and image.
    """

    name: ClassVar[str] = "mnist-dynamic"
    paper: ClassVar[str] = (
        'Y. Burda, R. Grosse, R. Salakhutdinov, "Importance Weighted Autoencoders", ICLR 2016, arXiv 1509.00519'
    )

    root: str = ""
    """folder of train-images-idx3-ubyte and t10k-images-idx3-ubyte (.gz and .idx3-ubyte are read too, also in
    MNIST/raw), or one .npz with arrays x_train and x_test, or train and test"""

    order: PixelOrder = "pixels"
    """what a step is: pixels (784 steps of one pixel), rows (28 steps of 28 pixels) or image (one step of all 784, for
    models without time)"""

    valid_images: Count = 10000
    """how many of the training images, the last ones, validate"""

    binarization_seed: Seed = 0
    """seed of the pixels' draws"""

    check_known: bool = True
    """whether to refuse other images than MNIST's 60000 and 10000; if not, the name is mnist-dynamic-unchecked"""

    def describe(self) -> DataDescription:
        """784 binary pixels, 28 rows of 28 or one image, x_0 = 0, all of them scored."""
        return images.describe_images(_named("mnist-dynamic", checked=self.check_known), self.order)

    def load(self, split: Split, description: DataDescription) -> BinaryImages | RedrawnImages:
        """One split; the training images as in epoch 0. With them the test's are read, so that a wrong test set fails
        early.
        """
        images.check_trained_on(self.describe(), description)
        size, seed = STEP[self.order], self.binarization_seed
        if split == "train":
            self._grey("test")
            grey = self._grey_train[: -self.valid_images]
            return RedrawnImages(grey, size, seed=seed).described_as(description)
        grey = self._grey_train[-self.valid_images :] if split == "valid" else self._grey("test")
        drawn = [images.binarize(image, split, index, seed=seed) for index, image in enumerate(grey)]
        return BinaryImages(np.stack(drawn), size).described_as(description)

    @cached_property
    def _grey_train(self) -> Array:
        """The training file, cached: it holds two splits."""
        grey = self._grey("train")
        if self.valid_images >= len(grey):
            raise UserError(
                f"data.valid_images is {self.valid_images} of {len(grey)} training images and leaves none to train on; "
                f"lower it"
            )
        return grey

    def _grey(self, part: Split) -> Array:
        """[N, 784] uint8 of one of the two files."""
        file = self._file(part)
        source = f"data.root {file}"
        if file.suffix.lower() == ".npz":
            grey = _read_npz(file, (f"x_{part}", part, f"{part}_images"), source)
        else:
            grey = _flat(read_idx(file, source), source)
        if grey.dtype != np.uint8:
            raise UserError(f"{source}: its {part} images are {grey.dtype}; grey levels are uint8, 0 to 255")
        if self.check_known:
            _check_known(grey, part, GREY, source, of="MNIST's grey images")
        return grey

    def _file(self, part: Split) -> Path:
        stem = {"train": "train-images", "test": "t10k-images"}[part]
        ends = [f"{dot}idx3-ubyte{gz}" for dot in "-." for gz in ("", ".gz")]
        names = [f"{folder}{stem}{end}" for folder in ("", "MNIST/raw/") for end in ends]
        return _find(self.root, [*names, "mnist.npz"], f"{part} images of MNIST")


def _named(name: str, *, checked: bool) -> str:
    return name if checked else f"{name}-unchecked"


def _find(root: str, names: Sequence[str], what: str) -> Path:
    """The first of the files that is there, or the root itself if it is an .npz."""
    if not root:
        raise UserError(f"data.root is empty; name the folder of {names[0]}, or an .npz")
    place = user_path(root, f"data.root {root}")
    if not place.exists():
        raise UserError(f"data.root {root}: no such file or directory; a relative path starts at {Path.cwd()}")
    if place.is_file():
        if place.suffix.lower() != ".npz":
            raise UserError(f"data.root {root}: is a file, but not an .npz; name the folder that it is in")
        return place
    for name in names:
        if (place / name).is_file():
            return place / name
    raise UserError(f"data.root {root}: has no {what}; looked for {', '.join(names)}")


def _read_npz(file: Path, names: Sequence[str], source: str) -> Array:
    """Images [N, 784] from the first of the arrays that is there."""
    with readable(source), zipfile.ZipFile(file) as archive:
        there = [member.removesuffix(".npy") for member in archive.namelist()]
    array = next((name for name in names if name in there), None)
    if array is None:
        raise UserError(
            f"{source}: has no array {' or '.join(names)}, it has {listed(there)}; save the images under "
            f"one of these names"
        )
    rows = read_npz(file, Layout(array=array), source)
    count, steps = len(rows.lengths), int(rows.lengths.max())
    if count * steps != len(rows.values):
        raise UserError(f"{source}: the images of array {array!r} have several sizes; they must be {SIDE}x{SIDE}")
    return _flat(rows.values.reshape(count, steps, -1), f"{source}: array {array!r}")


def _flat(pixels: Array, source: str) -> Array:
    """[N, 28, 28] or [N, 784, 1] -> [N, 784]."""
    if pixels.shape[1:] not in ((SIDE, SIDE), (PIXELS, 1)):
        raise UserError(f"{source}: its images are {'x'.join(map(str, pixels.shape[1:]))}; they must be {SIDE}x{SIDE}")
    return pixels.reshape(-1, PIXELS)


def _check_known(pixels: Array, split: Split, known: Mapping[Split, PixelSums], source: str, *, of: str) -> None:
    """Raise UserError unless these are the published images."""
    sums, expected = PixelSums.of(pixels), known[split]
    if sums == expected:
        return
    for other, its in known.items():
        if sums == its:
            raise UserError(
                f"{source}: this looks like the {other} split of {of}, not the {split} split; correct the files' names"
            )
        if (sums.count, sums.total) == (its.count, its.total):
            raise UserError(
                f"{source}: this looks like the {other} split of {of} with the pixels in another order; save them row "
                f"by row from the top left (transpose the images)"
            )
    raise UserError(
        f"{source}: is not a split of {of}: {sums.count} images of mean {sums.mean:.6f}, where the {split} split has "
        f"{expected.count} of {expected.mean:.6f}; get the original, or set data.check_known false to use other images"
    )
