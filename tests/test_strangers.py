"""Models of somebody who knows torch.nn and the contract run fast, with no code for it; or walk, and say why."""

from __future__ import annotations

import logging

import pytest
import torch
from torch.distributions import Distribution

from situations import Situation, assert_backends_agree, assert_equal, dropout_of_values, results
from strangers import LooksAtAll, WaveModel, WordModel
from zforcing import FIVO, SequenceModel
from zforcing.testing import SPECS

SITUATIONS = {
    "ragged": Situation(),
    "particles, carried": Situation(particles=3, carried=True),
    "ancestors": Situation(particles=3, ancestors=True),
    "ancestors of given latents": Situation(particles=3, ancestors=True, latents=True),
    "training": Situation(train=True),
    "float32": Situation(particles=3, ancestors=True, carried=True, dtype=torch.float32),
}
MODELS: dict[str, tuple[type[SequenceModel], str]] = {"words": (WordModel, "categorical"), "waves": (WaveModel, "real")}


def build(cls: type[SequenceModel], spec: str, situation: Situation) -> SequenceModel:
    torch.manual_seed(0)
    return cls(SPECS[spec], cls.Config()).to(situation.dtype).train(situation.train)


@pytest.mark.usefixtures("never_walks")
@pytest.mark.parametrize("name", SITUATIONS)
@pytest.mark.parametrize("model", MODELS)
def test_a_model_of_plain_torch_is_derived(model: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cls, spec = MODELS[model]
    monkeypatch.setattr(torch.nn.functional, "dropout", dropout_of_values)
    asked = SITUATIONS[name]
    assert Distribution._validate_args
    batch = Situation(spec, particles=asked.particles, dtype=asked.dtype).batch()
    assert_backends_agree(build(cls, spec, asked), batch, asked)
    assert Distribution._validate_args


@pytest.mark.parametrize("name", ["ragged", "ancestors"])
def test_a_model_that_is_no_program_of_rows_walks_and_says_which_line(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    situation = SITUATIONS[name]
    model = build(LooksAtAll, "real", situation)
    with caplog.at_level(logging.WARNING):
        found = results(model, situation.batch(), situation)
        model.backend = "reference"
        assert_equal(found, results(model, situation.batch(), situation), 0.0)
    (said,) = caplog.messages
    assert said.startswith("looks_at_all runs step by step, which is slow: line ")
    assert "of strangers.py, `if z.sum() > 0:`: aten._local_scalar_dense.default depends on the values" in said


@pytest.mark.usefixtures("never_walks")
def test_a_filter_of_a_strangers_model_gives_the_bound_of_the_reference() -> None:
    model, batch = build(WaveModel, "real", Situation()), Situation().batch()
    values = []
    for backend in ("fast", "reference"):
        model.backend = backend  # type: ignore[assignment]
        torch.manual_seed(1)
        values.append(FIVO(particles=4, threshold=1.1)(model, batch).value)
    torch.testing.assert_close(values[0], values[1], rtol=1e-12, atol=0)
