"""Word dropout: a decoder that can't rely on the words before it must ask its latents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor, nn

from ..distributions import row_noise
from ..errors import UserError
from ..observations import ObservationSpec, SequenceBatch, is_missing


@dataclass(frozen=True)
class FedBatch(SequenceBatch):
    """A batch whose x_1..x_T are scored, while the model's state reads something else in their place.

    Raises:
        ValueError: As `SequenceBatch`, or `fed` isn't like x.
    """

    fed: Tensor = field(kw_only=True)
    """like x: what the state reads, NaN or -1 where it is missing, 0 in the padding; the posterior reads x"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fed.shape != self.x.shape or self.fed.dtype != self.x.dtype:
            raise ValueError(f"fed is {self.fed.dtype} {list(self.fed.shape)}; it must be {self.x.dtype}, shaped as x")
        object.__setattr__(self, "fed", torch.where(self.exists, self.fed, torch.zeros_like(self.fed)))

    @classmethod
    def of(cls, batch: SequenceBatch, fed: Tensor) -> Self:
        """The same batch, of which the state reads `fed`."""
        return cls(**batch.tensors | {"fed": fed})

    @property
    def past(self) -> Tensor:
        """What `after_observation` reads of x_1..x_T: what is fed."""
        return self.fed


class WordDropout(nn.Module):
    """In training, each x_t enters the model's state as the unknown word with probability p, independently; what is
    scored, and what the posterior looks at, remains x_t (`FedBatch`). In eval mode nothing happens.

    S. Bowman, L. Vilnis, O. Vinyals, A. Dai, R. Jozefowicz, S. Bengio, "Generating sentences from a continuous space",
    CoNLL 2016, arXiv 1511.06349, section 3.1. Their keep rate k is 1 - p. The start symbol is always read, and what is
    missing stays missing. Particles of a sequence share its draws, which come from its seed or torch's generator.
    """

    def __init__(self, p: float, spec: ObservationSpec):
        """Raises UserError for observations without an unknown word, unless p is 0."""
        super().__init__()
        if p and spec.unknown is None:
            what = "categories without one" if spec.kind == "categorical" else f"{spec.kind} observations"
            raise UserError(
                f"training.word_dropout is {p}: it replaces words by the unknown word, and this data has {what}; set "
                "training.word_dropout to 0, or take text whose data.tokens are words or characters"
            )
        self.p, self.unknown = p, spec.unknown

    def forward(self, batch: SequenceBatch) -> SequenceBatch:
        """The same batch, with drawn words fed; the batch itself where nothing is dropped."""
        if not (self.training and self.p):
            return batch
        assert self.unknown is not None, "the constructor refuses a p without an unknown word"
        words = batch.read
        dropped = _uniform(batch, words) < self.p
        return FedBatch.of(batch, torch.where(dropped & ~is_missing(words), self.unknown, words))


def _uniform(batch: SequenceBatch, words: Tensor) -> Tensor:
    """Numbers in [0, 1), shaped like words: by the sequences' seeds, where they have some."""
    if batch.seeds is None:
        return torch.rand(words.shape, dtype=torch.float32, device=words.device)
    return row_noise.uniform(row_noise.derived(batch.seeds, row_noise.WORDS), words.shape[1:])
