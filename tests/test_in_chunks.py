"""Long sequences in chunks of steps: the numbers of the whole."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

import zforcing as zf
from zforcing.bounds import FIVO, IWAE, Bound, BoundResult
from zforcing.models import SequenceModel, in_chunks
from zforcing.nn import recurrent
from zforcing.tasks.past import state_after
from zforcing.tasks.posterior import infer_latents
from zforcing.tasks.score import smoothed

SPEC = zf.ObservationSpec("real", 2)
MODELS = ("rnn", "vrnn", "srnn", "zforcing")
SMALL = {"hidden_size": 5, "latent_size": 2, "mlp_size": 4}


def model_named(name: str) -> SequenceModel:
    torch.manual_seed(0)
    models = {
        "rnn": lambda: zf.RNN(SPEC, zf.RNNConfig(hidden_size=5)),
        "vrnn": lambda: zf.VRNN(SPEC, zf.VRNNConfig(**SMALL)),
        "srnn": lambda: zf.SRNN(SPEC, zf.SRNNConfig(**SMALL)),
        "zforcing": lambda: zf.ZForcing(SPEC, zf.ZForcingConfig(**SMALL)),
    }
    model: SequenceModel = models[name]().double().eval()
    model.backend = "reference"
    return model


def ragged() -> zf.SequenceBatch:
    torch.manual_seed(1)
    x = torch.randn(3, 5, 2, dtype=torch.float64)
    observed = torch.rand(3, 5, 2) > 0.1
    return zf.SequenceBatch(x, torch.tensor([5, 4, 1]), torch.zeros(3, 2, dtype=torch.float64), observed)


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Within `long.context()` nothing is short: chunks of two steps."""
    return monkeypatch


def both(long: pytest.MonkeyPatch, measure: object) -> tuple[object, object]:
    """What a function without arguments gives, of the whole and in chunks of two steps."""
    assert callable(measure)
    whole = measure()
    with long.context() as patched:
        for name in ("LONG", "LEAST", "ROWS_AT_ONCE"):
            patched.setattr(in_chunks, name, 2)
        for name in ("LONG", "PIECE"):
            patched.setattr(recurrent, name, 2)
        return whole, measure()


def close(found: object, expected: object) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


SOME = [("zforcing", zf.ELBO()), ("srnn", zf.ELBO(free_nats=0.5)), ("zforcing", IWAE(3)), ("vrnn", FIVO(3))]
OTHERS = [pair for pair in product(MODELS, (zf.ELBO(), IWAE(3), FIVO(3))) if pair not in SOME]


@pytest.mark.parametrize(("name", "bound"), SOME + [pytest.param(*pair, marks=pytest.mark.slow) for pair in OTHERS])
def test_a_bound_of_long_sequences_is_that_of_the_whole(long: pytest.MonkeyPatch, name: str, bound: Bound) -> None:
    model, batch = model_named(name), ragged()
    noise = torch.randn(bound.particles * 3, 5, model.latent_size, dtype=torch.float64)
    weights = zf.Weights(costs=dict.fromkeys(model.cost_names, 0.5))

    def measured() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            torch.manual_seed(2)
            result: BoundResult = bound(model, batch, weights=weights, noise=noise)
            torch.manual_seed(2)  # FIVO draws ancestors too
            plain = bound(model, batch, noise=noise)
        close(plain.value, result.value)
        return result.value, result.loss, result.terms

    close(*both(long, measured))


def test_a_bound_with_a_gradient_is_of_the_whole(long: pytest.MonkeyPatch) -> None:
    model, batch, noise = model_named("vrnn"), ragged(), torch.randn(3, 5, 2, dtype=torch.float64)

    def slope() -> Tensor:
        (gradient,) = torch.autograd.grad(zf.ELBO()(model, batch, noise=noise).loss.sum(), [next(model.parameters())])
        return gradient

    close(*both(long, slope))


@pytest.mark.parametrize("name", ["vrnn", "zforcing"])
def test_latents_scores_and_states_of_long_sequences_are_those_of_the_whole(
    long: pytest.MonkeyPatch, name: str
) -> None:
    model, batch = model_named(name), ragged()

    def found() -> list[Tensor]:
        torch.manual_seed(3)
        latents = [v[batch.mask] for v in infer_latents(model, batch)]
        nats = smoothed(model, batch, particles=2, seed=0)
        assert nats.each is not None
        scores = [torch.from_numpy(v)[batch.mask] for v in (nats.total, nats.each)]
        return [*latents, *scores, *state_after(model, batch, num_samples=2, past="posterior", particles=1, seed=0)]

    close(*both(long, found))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_fast_chunks_are_within_1e_6_of_the_whole(long: pytest.MonkeyPatch, name: str) -> None:
    model, batch = model_named(name).float(), ragged().to("cpu", torch.float32)
    model.backend = "fast"
    noise = torch.randn(3 * 3, 5, model.latent_size, dtype=torch.float32)

    def measured(bound: Bound) -> Tensor:
        torch.manual_seed(2)  # FIVO draws ancestors too
        with torch.no_grad():
            return bound(model, batch, noise=noise[: bound.particles * 3]).value

    for bound in (zf.ELBO(), IWAE(3), FIVO(3)):
        torch.testing.assert_close(*both(long, partial(measured, bound)), rtol=1e-6, atol=1e-6)


def test_long_sequences_are_run_in_chunks(long: pytest.MonkeyPatch) -> None:
    model, batch, steps = model_named("vrnn"), ragged(), []
    run = model.unroll

    def noted(batch: zf.SequenceBatch, **given: object) -> object:
        steps.append(batch.x.shape[1])
        return run(batch, **given)  # type: ignore[arg-type]  # of all kinds

    long.setattr(model, "unroll", noted)
    with torch.no_grad():
        both(long, lambda: zf.ELBO()(model, batch))
    assert steps == [5, 2, 2, 1]


def test_shapes_of_long_sequences_are_checked_too(long: pytest.MonkeyPatch) -> None:
    model, batch = model_named("vrnn"), ragged()
    noise = torch.randn(3, 6, 2, dtype=torch.float64)

    def said() -> str:
        with torch.no_grad(), pytest.raises(ValueError, match="noise is") as caught:
            model.draw(batch, noise=noise)
        return str(caught.value)

    whole, in_parts = both(long, said)
    assert whole == in_parts


def test_costs_of_long_sequences_are_of_the_context_after_the_state_that_is_given(long: pytest.MonkeyPatch) -> None:
    class ReadsThePast(zf.ZForcing):
        def encode(self, batch: zf.SequenceBatch, *, state: Any = None) -> Tensor:
            context = super().encode(batch, state=state)
            return context if state is None else context + state.h[:, None]

    torch.manual_seed(0)
    model, batch = ReadsThePast(SPEC, zf.ZForcingConfig(**SMALL)).double().eval(), ragged()
    model.backend = "reference"
    noise = torch.randn(3, 5, 2, dtype=torch.float64)
    state = model.initial_state(3, start=batch.start)._replace(h=torch.randn(3, 5, dtype=torch.float64))

    def costs() -> list[Tensor]:
        with torch.no_grad():
            draws = model.draw(batch, noise=noise, state=state)
            return [draws.cost(name) for name in ("backward", "auxiliary")]

    close(*both(long, costs))


def test_chunks_are_short_where_rows_are_many() -> None:
    model = model_named("vrnn")
    with torch.no_grad():
        steps = [in_chunks.steps_at_once(model, 100_000, rows=rows) for rows in (1, 8, 10_000)]
    assert steps == [in_chunks.LONG, in_chunks.ROWS_AT_ONCE // 8, in_chunks.LEAST]
    assert in_chunks.steps_at_once(model, 100_000, rows=8) == 100_000  # with gradients


def test_known_inputs_are_read_in_chunks(long: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = zf.VRNN(replace(SPEC, inputs=1), zf.VRNNConfig(**SMALL)).double().eval()
    model.backend = "reference"
    batch = replace(ragged(), inputs=torch.randn(3, 5, 1, dtype=torch.float64))
    noise = torch.randn(3, 5, 2, dtype=torch.float64)
    with torch.no_grad():
        close(*both(long, lambda: zf.ELBO()(model, batch, noise=noise).value))
