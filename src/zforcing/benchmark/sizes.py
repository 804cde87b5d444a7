"""The named sizes: what is trained at which size, with random numbers for data."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ..data import InMemory
from ..observations import Example, ObservationSpec, SequenceBatch, collate


@dataclass(frozen=True)
class Size:
    """A batch of `sequences` of `steps` and a model's sizes.

    spec:       real or binary observations, all of them scored
    settings:   the model's, by name; those that a model doesn't know are left out
    grows_from: a smaller number of steps, to say how time and memory grow from there; None: that isn't measured
    """

    name: str
    about: str
    steps: int
    sequences: int
    spec: ObservationSpec
    settings: dict[str, int] = field(default_factory=dict)
    grows_from: int | None = None

    def known_settings(self, config: type[Any]) -> dict[str, int]:
        """Those of the settings that this model's `Config` has."""
        names = {f.name for f in fields(config)}
        return {name: value for name, value in self.settings.items() if name in names}

    def data(self, num: int, *, seed: int, steps: int | None = None) -> InMemory:
        """Random sequences, [T, D] float32: a coin's bits, or standard normal numbers."""
        rng = np.random.default_rng([seed, num])
        shape = (self.steps if steps is None else steps, self.spec.size)
        draw = (lambda: rng.random(shape) < 0.5) if self.spec.kind == "binary" else (lambda: rng.standard_normal(shape))
        return InMemory([Example(draw().astype(np.float32)) for _ in range(num)])

    def batch(self, *, seed: int, steps: int | None = None) -> SequenceBatch:
        """One batch of them."""
        data = self.data(self.sequences, seed=seed, steps=steps)
        return collate(data.examples, self.spec)


def sizes(*, hidden: int, latent: int, read: int, mlp: int) -> dict[str, int]:
    """Settings by which models of all names are as large: nets of one hidden layer, as Z-Forcing's are. read: the size
    of what is read of x, by either name.
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
