"""Images of binary pixels as sequences: pixel by pixel, row by row, or whole, in one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import UserError
from ...files.amat import read_lines
from ...files.archives import open_npz
from ...files.paths import user_path
from ...files.pictures import write_image_grid
from ...files.reading import Array, listed
from ...files.rows import Layout
from ...files.sequences import read
from ..checks import is_size
from ..example import Example
from ..spec import ObservationSpec
from .base import Described, Format
from .drawn import Drawn, Written

SUFFIXES = (".amat", ".npy", ".npz")
NO_GAPS = (
    "; files of images have no gaps: `zforcing continue` completes images, zforcing.impute fills gaps of Sequences"
)


@dataclass(frozen=True)
class ImageFormat(Format):
    """A sequence is an image of one channel, read from the top left, row after row; a step is one pixel or more."""

    name = "image"
    number = "pixel"
    endings = ("png",)
    hub_task = "unconditional-image-generation"
    reads = SUFFIXES

    height: int
    width: int

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            if not is_size(getattr(self, name)):
                raise UserError(f"data.format.{name} is {getattr(self, name)!r}; it must be a whole number, 1 or more")

    @property
    def pixels(self) -> int:
        """Of an image."""
        return self.height * self.width

    def problems(self, spec: ObservationSpec) -> list[str]:
        """Steps must be as large as each other."""
        if spec.kind == "categorical" or self.pixels % spec.size == 0:
            return []
        return [f"data.format is images of {self.height}x{self.width} pixels, which steps of {spec.size} don't make up"]

    def read(self, path: str, description: Described) -> list[Example]:
        """Images, or beginnings of images, in reading order.

        .amat: a line of each. .npy, .npz (array x): [n, k] pixels, or [n, rows, width]; what `write` writes, too.
        Where an image is one step, what lies behind its beginning is missing. Raises UserError for a pixel that isn't
        0 or 1, too many pixels, or where rows are read, a part of one.
        """
        size, source = description.spec.size, f"file {path}"
        examples = []
        for name, pixels in self._beginnings(path, source):
            if len(pixels) > self.pixels:
                raise UserError(f"{source}: {name} has {len(pixels)} pixels; a whole image has {self.pixels}")
            if size == self.pixels:
                examples.append(in_one_step(pixels, size))
                continue
            if len(pixels) % size:
                raise UserError(
                    f"{source}: {name} has {len(pixels)} pixels; the model reads rows of {size}: give it whole rows"
                )
            examples.append(Example(in_steps(pixels, size)))
        if not examples:
            raise UserError(f"{source}: is empty; it must hold the beginning of an image, or of more")
        return examples

    def _beginnings(self, path: str, source: str) -> list[tuple[str, Array]]:
        """What a message calls each image, and its pixels [k]."""
        file = user_path(path, source)
        if file.suffix.lower() not in SUFFIXES:
            raise UserError(f"{source}: its suffix is {file.suffix!r}; images are read from {', '.join(SUFFIXES)}")
        if file.suffix.lower() == ".amat":
            if not file.is_file():
                raise UserError(f"{source}: no such file or directory; a relative path starts at {Path.cwd()}")
            return [(f"line {number}", pixels) for number, pixels in read_lines(file, source)]
        if file.suffix.lower() == ".npz" and file.is_file():
            with open_npz(file, source) as archive:
                if "x" not in archive.files:
                    raise UserError(f"{source}: has no array 'x', it has {listed(archive.files)}; save the images as x")
        rows = read(path, Layout(), setting="file")
        pieces = np.split(rows.values, np.cumsum(rows.lengths)[:-1])  # [T, D] each
        pixels = [piece.reshape(1, -1) for piece in pieces]
        return [(f"image {i}", check_binary(image, source, first=i)[0]) for i, image in enumerate(pixels)]

    def show(self, path: Path, drawn: Drawn, description: Described) -> Written:
        """STEM.png, a grid of the images that are whole; below each source, if it is whole, its beginning (the
        rest is grey) and its continuations, or what was made of it.
        """
        images, columns = drawn.whole, None
        if any(image.size != self.pixels for image in images):
            return Written(lacking=f"no picture was drawn: an image has {self.pixels} pixels, and these are not whole")
        if drawn.sources is not None:
            columns, sources = len(drawn.sources), [source.x for source in drawn.sources]
            beginnings = [] if drawn.before is None else [example.x for example in drawn.before[:columns]]
            grey = [np.concatenate([b.reshape(-1), np.full(self.pixels - b.size, 0.5)]) for b in beginnings]
            images = [*(sources if all(x.size == self.pixels for x in sources) else []), *grey, *images]
        shaped = np.stack([image.reshape(self.height, self.width) for image in images])
        write_image_grid(Path(f"{path}.png"), shaped, columns=columns)
        return Written((f"{path}.png",))

    def steps_after(self, prefixes: Sequence[Example], description: Described) -> int:
        """What is missing of the images. Raises UserError where nothing is."""
        known = min(len(example.x) for example in prefixes) - description.spec.unscored_steps
        if known >= description.longest:
            raise UserError(f"the images are whole already, {known} steps: keep less of them by --given 0.5")
        return description.longest - known


def in_steps(pixels: Array, size: int) -> Array:
    """[k] -> [k / size, size] float32."""
    steps: Array = pixels.reshape(-1, size).astype(np.float32)
    return steps


def in_one_step(pixels: Array, size: int) -> Example:
    """[k] -> [1, size] float32, of which the first k are observed."""
    whole = np.zeros((1, size), dtype=np.float32)
    whole[0, : len(pixels)] = pixels
    return Example(whole, None if len(pixels) == size else np.arange(size)[None] < len(pixels))


def check_binary(images: Array, source: str, *, first: int = 0) -> Array:
    """[N, k] of 0 and 1 as uint8. Raises UserError about another number; `first` is the first image's number in it."""
    wrong = (images != 0) & (images != 1)
    if wrong.any():
        image, pixel = divmod(int(np.argmax(wrong)), images.shape[1])
        value = images[image, pixel]
        message = f"pixel {pixel} of image {first + image} (counted from 0) is {value}; a pixel is 0 or 1"
        raise UserError(f"{source}: {message}{'' if value == value else NO_GAPS}")
    return images.astype(np.uint8, copy=False)
