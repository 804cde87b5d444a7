"""Named sizes of data and model for benchmarks; the data is random."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ..data import InMemory
from ..observations import Example, ObservationSpec, SequenceBatch, collate


@dataclass(frozen=True)
class Size:
    """The size of a batch and of a model."""

    name: str
    about: str
    steps: int  # T
    sequences: int  # B
    spec: ObservationSpec  # real or binary observations, all of them scored
    settings: dict[str, int] = field(default_factory=dict)  # of the model; those that it doesn't have are ignored
    grows_from: int | None = None  # fewer steps, from which the growth of time and memory is measured

    def known_settings(self, config: type[Any]) -> dict[str, int]:
        """Select the settings that a model's `Config` has."""
        names = {f.name for f in fields(config)}
        return {name: value for name, value in self.settings.items() if name in names}

    def data(self, num: int, *, seed: int, steps: int | None = None) -> InMemory:
        """Draw random sequences [T, D] float32: fair bits, or standard normal numbers."""
        rng = np.random.default_rng([seed, num])
        shape = (self.steps if steps is None else steps, self.spec.size)
        draw = (lambda: rng.random(shape) < 0.5) if self.spec.kind == "binary" else (lambda: rng.standard_normal(shape))
        return InMemory([Example(draw().astype(np.float32)) for _ in range(num)])

    def batch(self, *, seed: int, steps: int | None = None) -> SequenceBatch:
        """Draw one batch of random sequences."""
        data = self.data(self.sequences, seed=seed, steps=steps)
        return collate(data.examples, self.spec)


def sizes(*, hidden: int, latent: int, read: int, mlp: int) -> dict[str, int]:
    """Make settings with which all models have about the same size: MLPs with one hidden layer, as in Z-Forcing.

    Args:
        hidden: Units of recurrent networks.
        latent: Size of z_t.
        read: Size of the embedding or the features of x, which models name differently.
        mlp: Hidden units of the MLPs.
    """
    return {
        "hidden_size": hidden,
        "latent_size": latent,
        "embedding_size": read,
        "feature_size": read,
        "mlp_size": mlp,
        "mlp_layers": 1,
    }


SIZES = {
    size.name: size
    for size in (
        Size(
            "pixels",
            "28x28 binary images, pixel by pixel",
            steps=784,
            sequences=32,
            spec=ObservationSpec("binary", 1),
            settings=sizes(hidden=128, latent=32, read=64, mlp=64),
            grows_from=196,
        ),
        Size(
            "keys",
            "piano rolls of 88 keys",
            steps=100,
            sequences=16,
            spec=ObservationSpec("binary", 88),
            settings=sizes(hidden=256, latent=64, read=128, mlp=128),
        ),
        Size(
            "frames",
            "speech in frames of 200 samples, the first one scored",
            steps=40,
            sequences=32,
            spec=ObservationSpec("real", 200),
            settings=sizes(hidden=1024, latent=256, read=512, mlp=512),
        ),
    )
}
