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
from ...files.refill import Fillings, can_refill, refill, write_array
from ...files.rows import Layout
from ...files.sequences import read
from ...files.writing import whole_file
from ..checks import is_size
from ..example import Example
from ..spec import ObservationSpec
from .base import Described, Format
from .drawn import Drawn, Written

SUFFIXES = (".amat", ".npy", ".npz")
NO_GAPS = "the model was trained on whole images: `zforcing impute` fills it, `zforcing continue` completes beginnings"


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

        .amat: a line of each. .npy, .npz (array x): [n, k] pixels, or [n, rows, width]; what `write` writes, too. NaN,
        or False in an .npz's bool array `observed`, is missing where `spec.missing`. Where an image is one step, what
        lies behind its beginning is missing. Raises UserError for a pixel that isn't 0 or 1, a gap that can't be, too
        many pixels, rows of another width, or where rows are read, a part of one.
        """
        size, source = description.spec.size, f"file {path}"
        examples = []
        for name, pixels in self._beginnings(path, source, size):
            if len(pixels) > self.pixels:
                raise UserError(f"{source}: {name} has {len(pixels)} pixels; a whole image has {self.pixels}")
            if np.isnan(pixels).any() and not description.spec.missing:
                raise UserError(f"{source}: pixel {np.argmax(np.isnan(pixels))} of {name} is missing; {NO_GAPS}")
            if len(pixels) % size and size != self.pixels:
                raise UserError(
                    f"{source}: {name} has {len(pixels)} pixels; the model reads rows of {size}: give it whole rows"
                )
            examples.append(with_missing(pixels, size))
        if not examples:
            raise UserError(f"{source}: is empty; it must hold the beginning of an image, or of more")
        return examples

    def _beginnings(self, path: str, source: str, size: int) -> list[tuple[str, Array]]:
        """What a message calls each image, and its pixels [k], NaN where missing; also from steps of `size`."""
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
        if rows.values.shape[1] not in (1, self.width, self.pixels, size):
            raise UserError(
                f"{source}: its images are {rows.values.shape[1]} pixels wide; the model's are {self.width}: give it "
                f"[n, rows, {self.width}], or all pixels of each in one row, [n, {self.pixels}]"
            )
        values = rows.values if rows.observed is None else np.where(rows.observed, rows.values, np.nan)
        pieces = np.split(values, np.cumsum(rows.lengths)[:-1])  # [T, D] each
        for i, piece in enumerate(pieces):
            check_binary(np.where(np.isnan(piece), 0, piece).reshape(1, -1), source, first=i)
        return [(f"image {i}", piece.reshape(-1)) for i, piece in enumerate(pieces)]

    def refill(
        self, path: str, out: Path, filled: Sequence[Array], drawn: Sequence[Array], description: Described
    ) -> bool:
        """See `Format.refill`: arrays of images; of beginnings, which are whole now, [n, pixels]."""
        file = user_path(path, f"file {path}")
        if not can_refill(file, out):
            return False
        rows, values = read(path, Layout(), setting="file"), np.concatenate([x.reshape(-1) for x in filled])
        if values.size != rows.values.size:  # beginnings, which are whole now
            with whole_file(out) as part:
                write_array(part, values.reshape(len(filled), -1))
            return True
        assert rows.at is not None, "arrays have rows"
        row, pixel = np.nonzero(np.concatenate([x.reshape(-1) for x in drawn]).reshape(rows.values.shape))
        width = rows.values.shape[1]
        new = values.reshape(rows.values.shape)[row, pixel]
        no_cells: list[str] = []  # an array has none
        refill(file, out, Fillings(rows.at[row], pixel, ("",) * width, new, no_cells, [False] * width), Layout())
        return True

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


def with_missing(pixels: Array, size: int) -> Example:
    """[k], NaN where one is missing, in steps of `size`; of the last step what lies behind k is missing too."""
    x = in_steps(np.concatenate([pixels, np.full(-len(pixels) % size, np.nan)]), size)
    return Example(np.nan_to_num(x), None if np.isfinite(x).all() else np.isfinite(x))


def check_binary(images: Array, source: str, *, first: int = 0) -> Array:
    """[N, k] of 0 and 1 as uint8. Raises UserError about another number; `first` is the first image's number in it."""
    wrong = (images != 0) & (images != 1)
    if wrong.any():
        image, pixel = divmod(int(np.argmax(wrong)), images.shape[1])
        value = images[image, pixel]
        message = f"pixel {pixel} of image {first + image} (counted from 0) is {value}; a pixel is 0 or 1"
        raise UserError(f"{source}: {message}")
    return images.astype(np.uint8, copy=False)
