"""Text files of binary images: one image per line, pixels 0 or 1 separated by blanks, as in binarized_mnist's .amat.

Lines with single digits and single blanks are parsed together by NumPy. Anything else (tabs, 0.0 and 1.0, a mistake) is
parsed word by word, which also locates mistakes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..errors import UserError
from .reading import Array, opened, readable

BLOCK = 1 << 20  # bytes of text in memory at a time


def read_amat(file: Path, pixels: int, source: str) -> Array:
    """Read all images.

    Args:
        file: The file, possibly compressed by gzip.
        pixels: Pixels of an image.
        source: The file's name in messages.

    Returns:
        Array [N, pixels], uint8.

    Raises:
        UserError: The file is empty, or a line has another number of pixels or one that isn't 0 or 1.
    """
    bits = bytearray()  # it grows in place: no second copy of a large file
    for first, lines in _blocks(file, source):
        block = _digits(lines, pixels)
        bits += (_words(lines, first, pixels, source) if block is None else block).tobytes()
    if not bits:
        raise UserError(f"{source}: is empty; it must hold an image a line, {pixels} numbers 0 or 1")
    return np.frombuffer(bits, dtype=np.uint8).reshape(-1, pixels)


def read_lines(file: Path, source: str) -> Iterator[tuple[int, Array]]:
    """Yield each line's number, from 1, and its pixels [k], uint8. Empty lines are skipped."""
    for first, lines in _blocks(file, source):
        for number, line in enumerate(lines, start=first):
            if words := line.split():
                yield number, _bits(words, number, source)


def _blocks(file: Path, source: str) -> Iterator[tuple[int, list[bytes]]]:
    """Yield lists of whole lines, each with the number of its first line."""
    number = 1
    with readable(source), opened(file) as stream:
        while lines := stream.readlines(BLOCK):
            yield number, lines
            number += len(lines)


def _digits(lines: Sequence[bytes], pixels: int) -> Array | None:
    """Pixels [n, pixels] of lines of single digits and single blanks; None if a line has anything else."""
    stripped = [line.rstrip() for line in lines]
    if {len(line) for line in stripped} != {2 * pixels - 1}:
        return None
    text = np.frombuffer(b" ".join(stripped) + b" ", dtype=np.uint8).reshape(-1, pixels, 2)
    bits: Array = text[:, :, 0] - np.uint8(ord("0"))  # what is below "0" wraps to more than 1
    return bits if bits.max() <= 1 and (text[:, :, 1] == ord(" ")).all() else None


def _words(lines: Sequence[bytes], first: int, pixels: int, source: str) -> Array:
    """Pixels [n, pixels] of lines of words; empty lines are skipped."""
    images = []
    for number, line in enumerate(lines, start=first):
        words = line.split()
        if len(words) not in (0, pixels):
            raise UserError(f"{source}: line {number} has {len(words)} numbers; an image has {pixels}, each 0 or 1")
        if words:
            images.append(_bits(words, number, source))
    return np.array(images, dtype=np.uint8)


def _bits(words: Sequence[bytes], number: int, source: str) -> Array:
    values = [_value(word) for word in words]
    for column, (word, value) in enumerate(zip(words, values, strict=True), start=1):
        if value not in (0, 1):
            text = word[:20].decode(errors="replace")
            raise UserError(f"{source}: line {number}, column {column} is {text!r}; a pixel is 0 or 1")
    return np.array(values, dtype=np.uint8)


def _value(word: bytes) -> float:
    try:
        return float(word)
    except ValueError:
        return float("nan")
