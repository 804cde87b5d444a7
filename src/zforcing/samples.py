"""Files of generated sequences: arrays in the data's own units, pictures of images, recordings of audio."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from .data import DataDescription, SequenceDataset, collate
from .data.audio import decode, to_samples, write_wav
from .data.base import Array, AudioFormat
from .generation import Generated
from .pictures import write_image_grid


@dataclass(frozen=True)
class Written:
    """The paths written, and how many samples of audio were clipped to fit 16 bits."""

    files: list[str]
    clipped: int = 0


def write_samples(
    folder: Path,
    stem: str,
    drawn: Generated,
    description: DataDescription,
    *,
    start: Tensor | None = None,
    before: list[Array] | None = None,
) -> Written:
    """STEM.npz with `x` [n, T, D] (or [n, T] for categories, in the data's units) and `latents` [n, T, Z]; for images
    that are complete, STEM.png too, and for audio STEM-I.wav of each.

    start:  the first observations [n, D] or [n] that x goes on from, as the model read them; written as `start` in the
            data's units (NaN, or -1 for categories, where one is missing), and heard first
    before: what each of n sequences goes on from, [T_i, D], as the model read it: heard first
    """
    folder.mkdir(parents=True, exist_ok=True)

    def in_units(values: Tensor) -> Array:
        scaling, array = description.normalization, values.cpu().numpy()
        if description.audio is not None:
            return decode(array, description.audio, scaling)
        return array if scaling is None else scaling.invert(array)

    x = in_units(drawn.x)
    beside = {} if start is None else {"start": in_units(start)}
    arrays = folder / f"{stem}.npz"
    np.savez_compressed(arrays, x=x, latents=drawn.latents.cpu().numpy(), **beside)  # type: ignore[arg-type]  # its stub takes `beside` for allow_pickle
    files, clipped = [str(arrays)], 0
    shape = description.image_shape
    if shape is not None and x[0].size == shape[0] * shape[1]:
        picture = folder / f"{stem}.png"
        write_image_grid(picture, x.reshape(len(x), *shape))
        files.append(str(picture))
    if description.audio is not None:
        first = before if start is None else list(start.cpu().numpy()[:, None])
        sounds, clipped = _write_audio(folder, stem, drawn.x.cpu().numpy(), description, description.audio, first)
        files += sounds
    return Written(files, clipped)


def _write_audio(
    folder: Path, stem: str, x: Array, description: DataDescription, audio: AudioFormat, before: list[Array] | None
) -> tuple[list[str], int]:
    """The paths of n recordings, and how many samples were clipped."""
    files, clipped = [], 0
    for i, frames in enumerate(x):
        whole = frames if before is None else np.concatenate([before[i], frames])
        samples, _ = to_samples(whole, description)
        _, over = to_samples(frames, description)  # what was drawn; the beginning was there before
        path = folder / f"{stem}-{i:03d}.wav"
        write_wav(path, samples, audio.sample_rate)
        files.append(str(path))
        clipped += over
    return files, clipped


def random_first_observations(data: SequenceDataset, description: DataDescription, n: int, *, seed: int) -> Tensor:
    """x_0 of n sequences drawn from `data`, for models that condition on the first observation. [n, D] or [n]."""
    rows = np.random.default_rng(seed).integers(len(data), size=n).tolist()
    first = 1 if description.spec.conditions_on_first else 0
    return collate([data.piece(i, 0, 1 + first) for i in rows], description.spec).start
