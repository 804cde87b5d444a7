"""The SRNN authors' own version of the four sets of polyphonic music, and their protocol.

M. Fraccaro, S. K. Sønderby, U. Paquet, O. Winther, "Sequential neural models with stochastic layers", NeurIPS 2016
(https://arxiv.org/abs/1605.07571). A file holds windows of 100 steps: the inputs u, and x, which is u one step later.
The music of the training split is one long piece in S streams, S being the batch size: window i + S goes on where
window i ends, and training carries the state over. Their code validates on windows, each from a state of zeros, and
tests on whole sequences, from zeros too. A first step is read and not scored.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ...errors import UserError
from ...files.archives import open_npz
from ...files.reading import Array, listed, readable
from ...files.rolls import PITCHES, Roll, from_matrix
from .rolls import Splits

STREAMS = 16  # the batch size of the SRNN authors
NAMES = ("u_train", "x_train", "u_valid", "x_valid", "u_test", "x_test", "mask_test")


def read_srnn_music(file: Path, source: str, *, streams: int | None, joined: bool) -> Splits:
    """Sequences that begin with the step that is not scored.

    streams: how many windows stand side by side; None is what the file's name says (batchsize16), or 16
    joined:  whether the windows of a training stream are one sequence, or each is its own; validation windows are

    Raises UserError when the arrays don't fit each other, or a window doesn't go on where the one before ends.
    """
    arrays = _load(file, source)
    train, valid = (
        _windows(arrays[f"u_{split}"], arrays[f"x_{split}"], f"{source}: u_{split}") for split in ("train", "valid")
    )
    return {
        "train": _join(train, streams or _streams(file), f"{source}: the train split") if joined else list(train),
        "valid": list(valid),
        "test": _whole(arrays["u_test"], arrays["x_test"], arrays["mask_test"], source),
    }


def _streams(file: Path) -> int:
    named = re.search(r"batchsize0*([1-9]\d{0,5})", file.name)
    return STREAMS if named is None else int(named.group(1))


def _load(file: Path, source: str) -> dict[str, Array]:
    with open_npz(file, source) as archive:
        missing = [name for name in NAMES if name not in archive.files]
        if missing:
            raise UserError(
                f"{source}: has no array {listed(missing)}, it has {listed(archive.files)}; data.name srnn-music "
                f"reads the SRNN authors' files (for your own arrays there is data.name arrays)"
            )
        with readable(source):
            return {name: archive[name] for name in NAMES}


def _windows(u: Array, x: Array, what: str) -> Roll:
    """[N, W, 88] inputs and [N, W, 88] targets -> [N, W + 1, 88]."""
    if u.shape != x.shape or u.ndim != 3 or 0 in u.shape or u.shape[2] != PITCHES:
        raise UserError(f"{what} and x are {list(u.shape)} and {list(x.shape)}; both must be [N, steps, {PITCHES}]")
    N = len(u)
    each = [what] if N == 1 else [f"{what}, window {n} (counted from 0)," for n in range(N)]
    inputs = np.stack([from_matrix(window, name) for window, name in zip(u, each, strict=True)])
    targets = np.stack([from_matrix(window, f"{name} its x") for window, name in zip(x, each, strict=True)])
    if not np.array_equal(inputs[:, 1:], targets[:, :-1]):
        raise UserError(f"{what} is not x one step earlier; write the file again")
    return np.concatenate([inputs[:, :1], targets], axis=1)


def _join(windows: Roll, streams: int, what: str) -> list[Roll]:
    """[S W, steps + 1, 88] -> S rolls of W steps + 1 steps, each from every S-th window."""
    hint = "set data.streams to the batch size that the file is made for, or data.continue_streams false"
    if len(windows) % streams:
        raise UserError(f"{what} has {len(windows)} windows, no multiple of {streams} streams; {hint}")
    ends, begins = windows[:-streams, -1], windows[streams:, 0]
    broken = (ends != begins).any(axis=1)
    if broken.any():
        window = int(np.argmax(broken))
        raise UserError(
            f"{what}: window {window + streams} (counted from 0) doesn't go on where window {window} ends, so they are "
            f"no {streams} streams; {hint}"
        )
    return [np.concatenate([windows[s, :1], *windows[s::streams, 1:]]) for s in range(streams)]


def _whole(u: Array, x: Array, mask: Array, source: str) -> list[Roll]:
    """Test sequences, padded on the right: u is NaN there, and mask [N, T] 0."""
    if u.shape != x.shape or u.ndim != 3 or mask.shape != u.shape[:2]:
        raise UserError(
            f"{source}: u_test, x_test and mask_test are {list(u.shape)}, {list(x.shape)} and {list(mask.shape)}; they "
            f"must be [N, T, {PITCHES}] twice and [N, T]"
        )
    lengths = (mask != 0).sum(axis=1)
    if not np.array_equal(mask, np.arange(mask.shape[1]) < lengths[:, None]) or (lengths < 1).any():
        raise UserError(f"{source}: mask_test must be 1 in the steps of a sequence, one or more, and 0 behind them")
    rolls = []
    for number, length in enumerate(lengths):
        what = f"{source}: u_test of sequence {number} (counted from 0)"
        rolls += list(_windows(u[number : number + 1, :length], x[number : number + 1, :length], what))
    return rolls
