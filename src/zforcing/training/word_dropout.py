"""Word dropout: a decoder that can't rely on the words before it must ask its latents."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from ..errors import UserError
from ..observations import ObservationSpec, SequenceBatch, is_missing


class WordDropout(nn.Module):
    """In training, each x_t enters the model's state as the unknown word with probability p, independently; what is
    scored, and what the posterior looks at, remains x_t (`SequenceBatch.fed`). In eval mode nothing happens.

    S. Bowman, L. Vilnis, O. Vinyals, A. Dai, R. Jozefowicz, S. Bengio, "Generating sentences from a continuous space",
    CoNLL 2016, arXiv 1511.06349, section 3.1. Their keep rate k is 1 - p. The start symbol is always read, and what is
    missing stays missing. Particles of a sequence share its draws, which come from torch's generator.
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
        """The same batch with `fed` drawn; the batch itself where nothing is dropped."""
        if not (self.training and self.p):
            return batch
        assert self.unknown is not None, "the constructor refuses a p without an unknown word"
        words = batch.read
        dropped = torch.rand(words.shape, dtype=torch.float32, device=words.device) < self.p
        return replace(batch, fed=torch.where(dropped & ~is_missing(words), self.unknown, words))
