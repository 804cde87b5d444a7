"""What every model must satisfy: the checks of zforcing.testing, each of them with all models, options and kinds of
observation once.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, NegativeBinomial
from torch.nn.utils.parametrizations import weight_norm

from conftest import CASES, SPECS, Case, walking
from oracle import shake
from zforcing import MODELS, RNN, ObservationSpec, RNNConfig, SequenceBatch, SequenceModel, UserError
from zforcing.testing import MODEL_CHECKS, Check, check_rows, check_unroll, check_unroll_gradient, random_batch
from zforcing.testing.comparison import noise_for

GAPS_OR_NOT = (check_unroll, check_unroll_gradient, check_rows)  # for a model that wasn't told which it will be


@pytest.mark.pairs(check=MODEL_CHECKS)
def test_a_model_passes_the_contracts_check_of(check: Check, case: Case, spec: ObservationSpec) -> None:
    check(built(case, spec), random_batch(spec, missing=spec.missing))


@pytest.mark.pairs(check=GAPS_OR_NOT)
def test_a_model_that_meets_gaps_unannounced_or_none_passes_the_check_of(
    check: Check, case: Case, spec: ObservationSpec
) -> None:
    check(built(case, spec), random_batch(spec, missing=not spec.missing))


def built(case: Case, spec: ObservationSpec) -> SequenceModel:
    """A model that runs by what is derived from its contract with some kinds of data, and by the contract with others.

    That both are equal is what tests/test_backends.py is about; to trace each model with each kind takes minutes.
    """
    model = case.build(spec)
    model.backend = "fast" if spec in DERIVED else "reference"
    return model


DERIVED = [SPECS["real"], SPECS["with inputs"]]
FIRST = {case.model: case for case in reversed(CASES)}


def backend_for(case: Case) -> Any:
    """What is derived for the first case of each model, the contract itself for its options."""
    return "fast" if FIRST[case.model] is case else "reference"


def test_what_is_not_observed_changes_no_likelihood_of_its_own(case: Case) -> None:
    """log p(x_t) of the observed numbers is the sum of their own log-densities, and of no others'."""
    spec = SPECS["real"]
    model, batch = walking(case.build(spec)), random_batch(spec, missing=True)
    run = model.unroll(batch, noise=noise_for(model, batch))
    by_hand = run.emission.base_dist.log_prob(batch.x)
    expected = torch.where(batch.scored, by_hand, torch.zeros(())).sum(-1)
    torch.testing.assert_close(run.log_px, expected, rtol=0, atol=1e-12)
    assert (run.log_px != run.emission.log_prob(batch.x))[batch.mask & ~batch.scored.all(-1)].all()


WITH_DROPOUT = [c for c in CASES if hasattr(MODELS[c.model].Config, "dropout")]


@pytest.mark.parametrize("case", WITH_DROPOUT, ids=str)
def test_dropout_acts_in_training_alone(case: Case) -> None:
    spec = SPECS["binary"]
    model, batch = case.build(spec, dropout=0.5), random_batch(spec)
    model.backend = backend_for(case)
    noise = noise_for(model, batch)
    values = [model.train(mode).unroll(batch, noise=noise).log_px for mode in (False, False, True, True)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[2], values[3])


@pytest.mark.parametrize("case", WITH_DROPOUT, ids=str)
def test_dropout_acts_on_what_is_read_of_x_and_on_what_the_emission_reads(case: Case) -> None:
    """With all of both dropped, no x reaches a state or a latent, and every step has the same emission."""
    spec = SPECS["binary"]
    model = walking(case.build(spec, dropout=1 - 1e-12))
    shake(model, seed=3)  # a state of biases that are 0 would be 0 at every step
    one, other = random_batch(spec, seed=1), random_batch(spec, seed=2)
    noise = noise_for(model, one)
    for mode in (True, False):
        runs = [model.train(mode).unroll(batch, noise=noise) for batch in (one, other)]
        states = [run.state._asdict() for run in runs]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0]) == mode
        density = runs[0].emission.log_prob(torch.zeros_like(one.x))
        assert torch.equal(density, density[:1, :1].expand_as(density)) == mode


# of the others, phi_x(x_t) enters VRNN's LSTM at once, and SRNN's e(x_t) enters d_{t+1} alone, of which there is one
EMBEDS_THE_PAST = [case for case in WITH_DROPOUT if case.model not in ("vrnn", "srnn")]


@pytest.mark.parametrize("case", EMBEDS_THE_PAST, ids=str)
def test_an_observation_is_embedded_once_for_all_that_reads_it(case: Case) -> None:
    """So that one mask of dropout is one mask: e(x_0) at the beginning, e(x_t) after step t."""
    spec = SPECS["real"]
    model, batch = case.build(spec), random_batch(spec, (4, 4))
    embedded: list[torch.Size] = []
    model.embed.register_forward_hook(lambda module, given, out: embedded.append(out.shape[:-1]))
    context = model.encode(batch, state=model.initial_state(2, start=batch.start))
    embedded.clear()
    model.walk(batch, context=context)
    assert embedded == [(2,)] * 5


@pytest.mark.parametrize("case", [case for case in WITH_DROPOUT if case.model == "srnn"], ids=str)
def test_srnns_context_and_steps_read_one_deterministic_network(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """In training, with its masks of dropout."""
    model, batch = case.build(SPECS["real"], dropout=0.5).train(), random_batch(SPECS["real"], (4, 4))
    of_context: list[torch.Tensor] = []
    of_steps: list[torch.Tensor] = []
    encode, posterior = model.encode, model.posterior

    def keeping(batch: Any, **given: Any) -> torch.Tensor:
        of_context.append(given["begun"]["d"])
        return encode(batch, **given)

    monkeypatch.setattr(model, "encode", keeping)
    monkeypatch.setattr(model, "posterior", lambda state, c: (of_steps.append(state.d), posterior(state, c))[1])
    model.walk(batch)
    assert torch.equal(of_context[0], torch.stack(of_steps, dim=1))


def test_resample_is_shown_the_log_weights_of_each_step(case: Case) -> None:
    spec = SPECS["with gaps"]
    model, batch = walking(case.build(spec)), random_batch(spec, (4, 2, 3), missing=True)
    shown: list[torch.Tensor] = []
    run = model.unroll(batch, particles=2, resample=lambda t, log_w: shown.append(log_w))
    ratio = run.prior.log_prob(run.latents) - run.posterior.log_prob(run.latents)
    expected = run.log_px + torch.where(run.batch.mask, ratio, torch.zeros(()))
    torch.testing.assert_close(torch.stack(shown, dim=1), expected.detach()[:, :-1], rtol=0, atol=1e-12)


def test_a_cost_that_a_model_does_not_have_is_refused(case: Case) -> None:
    run = walking(case.build(SPECS["real"])).unroll(random_batch(SPECS["real"]))
    having = ", ".join(MODELS[case.model].step_costs + MODELS[case.model].context_costs) or "none"
    with pytest.raises(UserError, match=f"^the model has no cost 'surprise'; it has {having}$"):
        run.cost("surprise")


class Counts(nn.Module):
    """An emission of somebody else: numbers that torch's negative binomial counts."""

    def __init__(self, features: int, size: int):
        super().__init__()
        self.layer = nn.Linear(features, 2 * size)

    def forward(self, features: Tensor) -> Independent[Any]:
        total, logits = self.layer(features).chunk(2, dim=-1)
        return Independent(NegativeBinomial(total.exp(), logits=logits), 1)


def test_an_emission_of_torchs_counts_is_run_fast_as_step_by_step() -> None:
    torch.manual_seed(0)
    model = RNN(ObservationSpec("real", 2), RNNConfig(hidden_size=4)).eval()
    model.emission_net = Counts(4, 2)
    x = torch.randint(0, 5, (3, 5, 2)).double()
    batch = SequenceBatch(x, torch.tensor([5, 4, 2]), x[:, 0])
    fast = model.double().unroll(batch).log_px
    model.backend = "reference"
    torch.testing.assert_close(fast, model.unroll(batch).log_px)


@pytest.mark.parametrize("backend", ["fast", "reference"])
def test_the_weights_of_an_lstm_may_be_normalized(backend: Any) -> None:
    torch.manual_seed(0)
    model, batch = RNN(SPECS["real"], RNNConfig(hidden_size=4)).double().eval(), random_batch(SPECS["real"])
    model.backend = backend
    before = model.unroll(batch).log_px
    weight_norm(model.lstm, "weight_hh_l0")
    torch.testing.assert_close(model.unroll(batch).log_px, before)
