"""What `encode` returns: the latents of sequences, as arrays and as a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files.reading import Array
from ..files.rows import TimeColumn
from .columns import by_step, table_file, to_frame, write_csv, write_npz
from .posterior import COLLAPSED, IN_WORDS, Reads


@dataclass(frozen=True, repr=False, eq=False)
class Encoded:
    """The latents of N sequences by the model's approximate posterior q; T_i is the number of steps with a latent.

    Attributes:
        model: name of the model.
        reads: what q reads of a sequence: "future" (all of it), "present" (x_1..x_t) or "past" (x_1..x_{t-1}).
        seed: of the samples.
        ids: [N] of the sequences.
        first_step: the step of the data that the first row is of: 1 where the first observation is only read, else 0.
        means: [T_i, Z] for each sequence: the mean of q(z_t | z_<t, .) given the means of the steps before.
        stds: [T_i, Z], its standard deviations: given z_<t, so that they don't hold what is uncertain about z_<t (the
            standard deviation over `samples` does).
        kl: [T_i], KL(q(z_t | .) || p(z_t | .)) given the means of the steps before, in nats: what is known of z_t
            beyond the model's past.
        samples: [S, T_i, Z], whole paths drawn from q; S may be 0.
        time_column: the column that the data was ordered by, or None; also of a first observation that is only read.
    """

    model: str
    reads: Reads
    seed: int
    ids: tuple[Any, ...]
    first_step: int
    means: tuple[Array, ...]
    stds: tuple[Array, ...]
    kl: tuple[Array, ...]
    samples: tuple[Array, ...]
    time_column: TimeColumn | None = None

    def __len__(self) -> int:
        return len(self.means)

    def __repr__(self) -> str:
        drawn = f", {self.num_samples} samples each" if self.num_samples else ""
        return (
            f"<Encoded: {len(self)} sequences, {len(np.concatenate(self.means))} steps, Z={self.latent_size}{drawn}; "
            f"{self.model}, {self.kind}; KL {self.nats_per_step:.3g} nats per step{self._nothing}>"
        )

    @property
    def kind(self) -> str:
        """What the latents are drawn from, in words."""
        return IN_WORDS[self.reads]

    @property
    def latent_size(self) -> int:
        """Z."""
        size: int = self.means[0].shape[1]
        return size

    @property
    def num_samples(self) -> int:
        """S."""
        return len(self.samples[0])

    @property
    def nats_per_step(self) -> float:
        """The KL, mean over all steps."""
        return float(np.concatenate(self.kl).mean())

    @property
    def collapsed(self) -> bool:
        """Whether the latents carry nothing: less than 0.01 nats per step."""
        return self.nats_per_step < COLLAPSED

    # ---- as a table

    def columns(self) -> dict[str, Array]:
        """Columns of a table with a row for each step: sequence (its id), step (as in the data, from 0), the column
        that the data was ordered by, if it was (order_NAME where the table has another NAME), kl, mean_z0 and so on,
        std_z0 and so on, sample0_z0 and so on.

        `polars.DataFrame(encoded.columns())` and the like take it.
        """
        arrays = self.arrays()
        columns = {name: array for name, array in arrays.items() if name not in ("mean", "std", "samples")}
        blocks = {"mean": arrays["mean"], "std": arrays["std"]}
        blocks |= {f"sample{s}": sample for s, sample in enumerate(arrays["samples"])}
        return columns | {f"{name}_z{d}": block[:, d] for name, block in blocks.items() for d in range(block.shape[1])}

    def arrays(self) -> dict[str, Array]:
        """The same as arrays with R rows: sequence, step, time and kl [R], mean and std [R, Z], samples [S, R, Z]."""
        own = {
            "kl": np.concatenate(self.kl),
            "mean": np.concatenate(self.means),
            "std": np.concatenate(self.stds),
            "samples": np.concatenate(self.samples, axis=1),
        }
        steps = [np.arange(len(mean)) + self.first_step for mean in self.means]
        return by_step(self.ids, steps, own, times=self.time_column)

    def to_frame(self) -> Any:
        """The columns as a pandas data frame. Raises UserError where pandas isn't installed."""
        return to_frame(self.columns())

    def save(self, path: str | Path) -> Path:
        """Write `columns` to a .csv, or `arrays` to an .npz file.

        Raises:
            UserError: another suffix, or no such folder.
        """
        file = table_file(path, "latents")
        if file.suffix.lower() == ".npz":
            write_npz(file, self.arrays())
        else:
            write_csv(file, self.columns())
        return file

    @property
    def _nothing(self) -> str:
        return ": the latents carry nothing" if self.collapsed else ""
