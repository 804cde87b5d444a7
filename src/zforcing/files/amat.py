"""Text files of binary images: one image a line, its pixels 0 or 1 with a blank between, as in binarized_mnist's .amat.

Digits with one blank between them stand at the same places of every line, and numpy reads many lines at once. Anything
else (tabs, 0.0 and 1.0, a mistake) is read word by word, which finds out where the mistake is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..errors import UserError
from .reading import Array, opened, readable

BLOCK = 1 << 20  # bytes of text in memory at a time


def read_amat(file: Path, pixels: int, source: str) -> Array:
    """Images [N, pixels], uint8. `source` begins a message.

    Raises UserError for a line with more or fewer pixels, or one that isn't 0 or 1, by its number.
    """
    bits = bytearray()  # it grows in place: no second copy of a large file
    for first, lines in _blocks(file, source):
        block = _digits(lines, pixels)
        bits += (_words(lines, first, pixels, source) if block is None else block).tobytes()
    if not bits:
        raise UserError(f"{source}: is empty; it must hold an image a line, {pixels} numbers 0 or 1")
    return np.frombuffer(bits, dtype=np.uint8).reshape(-1, pixels)


def read_lines(file: Path, source: str) -> Iterator[tuple[int, Array]]:
    """Each line's number, from 1, and its pixels [k], uint8; empty lines are passed over."""
    for first, lines in _blocks(file, source):
        for number, line in enumerate(lines, start=first):
            if words := line.split():
                yield number, _bits(words, number, source)


def _blocks(file: Path, source: str) -> Iterator[tuple[int, list[bytes]]]:
    """Whole lines, and the number of the first of them."""
    number = 1
    with readable(source), opened(file) as stream:
        while lines := stream.readlines(BLOCK):
            yield number, lines
            number += len(lines)


def _digits(lines: Sequence[bytes], pixels: int) -> Array | None:
    """[n, pixels] of lines that are digits with one blank between them; None when there is anything else."""
    stripped = [line.rstrip() for line in lines]
    if {len(line) for line in stripped} != {2 * pixels - 1}:
        return None
    text = np.frombuffer(b" ".join(stripped) + b" ", dtype=np.uint8).reshape(-1, pixels, 2)
    bits: Array = text[:, :, 0] - np.uint8(ord("0"))  # what is below "0" wraps to more than 1
    return bits if bits.max() <= 1 and (text[:, :, 1] == ord(" ")).all() else None


def _words(lines: Sequence[bytes], first: int, pixels: int, source: str) -> Array:
    """[n, pixels] of lines of words, empty ones passed over."""
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
            said = word[:20].decode(errors="replace")
            raise UserError(f"{source}: line {number}, column {column} is {said!r}; a pixel is 0 or 1")
    return np.array(values, dtype=np.uint8)


def _value(word: bytes) -> float:
    try:
        return float(word)
    except ValueError:
        return float("nan")
