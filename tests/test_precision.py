"""Training in bfloat16: how near it comes to float32, and what stays in float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zforcing import RNN, ObservationSpec, RNNConfig, Sequences, UserError, fit
from zforcing.training.update import BoundModule


def bits() -> Sequences:
    return Sequences(list(np.random.default_rng(0).integers(0, 2, (6, 3, 2))), kind="binary")


def rnn() -> RNN:
    torch.manual_seed(0)
    model = RNN(ObservationSpec("binary", 2), RNNConfig(hidden_size=4, embedding_size=2)).float()
    model.backend = "reference"
    return model


def test_validation_is_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    lower = []
    forward = BoundModule.forward

    def seen(self: BoundModule, *given: object) -> object:
        lower.append((self.training, torch.is_autocast_enabled("cpu")))
        return forward(self, *given)  # type: ignore[arg-type]  # whatever it is given is passed on

    monkeypatch.setattr(BoundModule, "forward", seen)
    fit(rnn(), bits(), bits(), epochs=1, precision="bfloat16", threads=1)
    assert set(lower) == {(True, True), (False, False)}


def test_float64_has_no_bfloat16() -> None:
    with pytest.raises(UserError, match=r"training\.precision bfloat16 does nothing to a model in float64"):
        fit(rnn().double(), bits(), epochs=1, precision="bfloat16")
