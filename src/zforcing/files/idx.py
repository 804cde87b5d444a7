"""Read the idx files in which MNIST is distributed (Y. LeCun, C. Cortes, C. Burges, "The MNIST database").

bytes 0-3    00 00 08 03: unsigned bytes, three dimensions
bytes 4-15   N, height and width, big-endian
then         the gray levels, image by image, row by row
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from ..errors import UserError
from .reading import Array, opened, readable

IMAGES = b"\x00\x00\x08\x03"
LABELS = b"\x00\x00\x08\x01"
HEADER = 16


def read_idx(file: Path, source: str) -> Array:
    """Read gray images.

    Args:
        file: The file, possibly compressed by gzip.
        source: The file's name in messages.

    Returns:
        Array [N, height, width], uint8.

    Raises:
        UserError: It isn't an idx file of images, or is longer or shorter than its header says.
    """
    with readable(source), opened(file) as stream:
        content = stream.read()
    magic = content[:4]
    if magic == LABELS:
        raise UserError(f"{source}: is an idx file of labels (its magic number is 00000801); images have 00000803")
    if magic != IMAGES:
        raise UserError(f"{source}: its magic number is {magic.hex() or 'missing'}; an idx file of images has 00000803")
    if len(content) < HEADER:
        raise UserError(f"{source}: is truncated, it ends after {len(content)} bytes, in its header; download it again")
    shape = struct.unpack(">III", content[4:HEADER])
    size = HEADER + math.prod(shape)
    if len(content) != size:
        what = "is truncated" if len(content) < size else "is too long"
        raise UserError(
            f"{source}: {what}, {len(content)} bytes where {shape[0]} images of {shape[1]}x{shape[2]} take {size}; "
            f"download it again"
        )
    if 0 in shape:
        raise UserError(f"{source}: holds {shape[0]} images of {shape[1]}x{shape[2]}: no data; download it again")
    images: Array = np.frombuffer(content, dtype=np.uint8, offset=HEADER).reshape(shape)
    return images
