"""Damage to bytes: what a disk, a network or a stranger may do to a file, and what is likely to be read wrongly."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Callable, Sequence

ODD = (0, 1, -1, 2, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, -(2**31), 2**32 - 1, 2**40, 2**63 - 1, -(2**63))
LONGEST = 1 << 20  # bytes of a mutant
WORDS = tuple(
    word.encode()
    for word in (
        *("nan", "inf", "-inf", "1e999", "-0", "1e308", "9" * 400, "0x10", "1_000", "١٢", "true", "None", "null", '""'),
        *(
            '"',
            "'",
            ",",
            ";",
            "\t",
            "\r",
            "\n",
            "\r\n",
            "\0",
            "\ufeff",
            "\u2028",
            "e\u0301",
            "\udcff".encode("utf-8", "surrogatepass").decode("latin-1"),
        ),
        *(
            "&a",
            "*a",
            "<<: ",
            "!!int ",
            "!!timestamp ",
            "!!python/name:os.system ",
            "? ",
            "- ",
            ": ",
            "[" * 200,
            "{" * 200,
        ),
        *("2024-02-30", "0001-01-01", "9999-12-31T23:59:59.999999+23:59", "-1", "0", "18446744073709551616", "1e-400"),
        *("..", "~", "/dev/zero", "%s", "{}", "[]", "[1, 2]", "{a: 1}", "NaN", "-Infinity", "\\u0000", "\\ud800"),
    )
)

Damage = Callable[[bytearray, random.Random, Sequence[bytes]], None]


def mutant(seed: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """A damaged copy of a file; of an archive (zip) often with a damaged member in a sound archive."""
    if seed[:4] == b"PK\3\4" and draw.random() < 0.7:
        return _with_damaged_member(seed, draw)
    return _damaged(seed, others, draw)


def _damaged(seed: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    content = bytearray(seed)
    for _ in range(draw.choice((1, 1, 1, 2, 2, 3, 5, 9))):
        draw.choice(DAMAGES)(content, draw, others)
        del content[LONGEST:]
    return bytes(content)


def _with_damaged_member(seed: bytes, draw: random.Random) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(seed)) as archive, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as out:
        members = {name: archive.read(name) for name in archive.namelist()}
        chosen = draw.choice([*members])
        for name, content in members.items():
            out.writestr(name, _damaged(content, [*members.values()], draw) if name == chosen else content)
    return made.getvalue()


def _place(content: bytearray, draw: random.Random) -> int:
    """Headers are at the beginning, and of some formats at the end."""
    size = len(content)
    if size > 64 and draw.random() < 0.5:
        return draw.randrange(64) if draw.random() < 0.7 else size - 1 - draw.randrange(64)
    return draw.randrange(size) if size else 0


def flip(content: bytearray, draw: random.Random, _: Sequence[bytes]) -> None:
    """One bit."""
    if content:
        content[_place(content, draw)] ^= 1 << draw.randrange(8)


def put_byte(content: bytearray, draw: random.Random, _: Sequence[bytes]) -> None:
    """One byte."""
    if content:
        content[_place(content, draw)] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))


def put_number(content: bytearray, draw: random.Random, _: Sequence[bytes]) -> None:
    """A number at the edge of what its type holds."""
    size, order = draw.choice((2, 4, 8)), draw.choice("<>")
    number = draw.choice(ODD) % 2 ** (8 * size)
    at = _place(content, draw)
    content[at : at + size] = struct.pack(f"{order}{ {2: 'H', 4: 'I', 8: 'Q'}[size] }", number)


def put_float(content: bytearray, draw: random.Random, _: Sequence[bytes]) -> None:
    """A float that sums and squares badly."""
    kind = draw.choice(("<d", "<f"))
    number = draw.choice(
        (float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e-40, *((1e308,) if kind == "<d" else ()))
    )
    at = _place(content, draw) // 8 * 8
    content[at : at + struct.calcsize(kind)] = struct.pack(kind, number)


def cut(content: bytearray, draw: random.Random, _: Sequence[bytes]) -> None:
    """The end."""
    del content[_place(content, draw) :]


def remove(content: bytearray, draw: random.Random, _: Sequence[bytes]) -> None:
    """A stretch."""
    at = _place(content, draw)
    del content[at : at + draw.choice((1, 2, 4, 8, 64, 512))]


def repeat(content: bytearray, draw: random.Random, _: Sequence[bytes]) -> None:
    """A stretch, some or many times."""
    at = _place(content, draw)
    content[at:at] = content[at : at + draw.choice((1, 4, 16, 100))] * draw.choice((1, 2, 50, 1000))


def insert(content: bytearray, draw: random.Random, _: Sequence[bytes]) -> None:
    """Random bytes."""
    at = _place(content, draw)
    content[at:at] = draw.randbytes(draw.choice((1, 2, 4, 16, 200)))


def zero(content: bytearray, draw: random.Random, _: Sequence[bytes]) -> None:
    """A block that a disk lost."""
    at, size = _place(content, draw), draw.choice((4, 16, 512))
    content[at : at + size] = bytes(len(content[at : at + size]))


def word(content: bytearray, draw: random.Random, _: Sequence[bytes]) -> None:
    """What texts stumble over, in place of some bytes or between them."""
    at = _place(content, draw)
    content[at : at + draw.choice((0, 0, 1, 3))] = draw.choice(WORDS)


def of_another(content: bytearray, draw: random.Random, others: Sequence[bytes]) -> None:
    """A stretch of another file."""
    other = draw.choice(others)
    start, at = draw.randrange(len(other)), _place(content, draw)
    part = other[start : start + draw.choice((8, 64, 512))]
    content[at : at + draw.choice((0, len(part)))] = part


DAMAGES: tuple[Damage, ...] = (
    *(flip, put_byte, put_number, put_number, put_float, cut, remove, repeat, insert, zero, word, of_another),
)
