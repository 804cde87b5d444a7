"""Files of generated sequences: arrays in the data's own units, and pictures where they are images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from .data import DataDescription, SequenceDataset, collate
from .data.base import Array
from .generation import Generated
from .pictures import write_image_grid


def write_samples(
    folder: Path, stem: str, drawn: Generated, description: DataDescription, *, start: Tensor | None = None
) -> list[str]:
    """STEM.npz with `x` [n, T, D] (or [n, T] for categories, in the data's units) and `latents` [n, T, Z]; for images
    that are complete, STEM.png too. Returns the paths written.

    start: the first observations [n, D] or [n] that x goes on from, as the model read them; written as `start` in the
    data's units (NaN, or -1 for categories, where one is missing).
    """
    folder.mkdir(parents=True, exist_ok=True)

    def in_units(values: Tensor) -> Array:
        scaling, array = description.normalization, values.cpu().numpy()
        return array if scaling is None else scaling.invert(array)

    x = in_units(drawn.x)
    beside = {} if start is None else {"start": in_units(start)}
    arrays = folder / f"{stem}.npz"
    np.savez_compressed(arrays, x=x, latents=drawn.latents.cpu().numpy(), **beside)  # type: ignore[arg-type]  # its stub takes `beside` for allow_pickle
    files = [str(arrays)]
    shape = description.image_shape
    if shape is not None and x[0].size == shape[0] * shape[1]:
        picture = folder / f"{stem}.png"
        write_image_grid(picture, x.reshape(len(x), *shape))
        files.append(str(picture))
    return files


def random_first_observations(data: SequenceDataset, description: DataDescription, n: int, *, seed: int) -> Tensor:
    """x_0 of n sequences drawn from `data`, for models that condition on the first observation. [n, D] or [n]."""
    rows = np.random.default_rng(seed).integers(len(data), size=n)
    return collate([data[int(i)] for i in rows], description.spec).start
