"""Models with latents at a size for tests, and sequences that they read."""

from __future__ import annotations

import torch

from conftest import CASES, ZF_SIZE, Case, observations
from zforcing import ObservationSpec, SequenceModel
from zforcing.data import InMemory
from zforcing.observations import Example
from zforcing.testing import SPECS

LATENT = [case for case in CASES if case.model != "rnn"]


def data_of(spec: ObservationSpec, lengths: tuple[int, ...] = (5, 3, 4), seed: int = 0) -> InMemory:
    """Sequences of a specification, as models read them."""
    torch.manual_seed(seed)
    inputs = (torch.randn(n, spec.inputs).numpy() if spec.inputs else None for n in lengths)
    return InMemory([Example(observations(spec, n).numpy(), inputs=u) for n, u in zip(lengths, inputs, strict=True)])


def small(spec: ObservationSpec = SPECS["real"]) -> SequenceModel:
    """A Z-Forcing that walks: tracing takes longer."""
    model = Case("zforcing", ZF_SIZE).build(spec)
    model.backend = "reference"
    return model
