"""A density model without time under everything that asks for no more, against its exact likelihood."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import zforcing as zf
from conftest import SPECS, ZF_SIZE, Case, random_batch
from test_registry import as_it_was
from vae import PIXELS, BinaryVAE, BinaryVAEConfig, all_vectors, exact, vae
from zforcing import (
    ELBO,
    FIVO,
    IWAE,
    Draws,
    Exact,
    Importance,
    LinearGaussian,
    ObservationSpec,
    Schedule,
    UserError,
    Weights,
    WeightSchedules,
)
from zforcing.bounds import BOUNDS, Bound, ChunkedELBO
from zforcing.testing import check_bound

RNN = Case("rnn", {"hidden_size": 4, "embedding_size": 3})
BOUNDS_OF_ANY: dict[str, Bound] = {
    "elbo": ELBO(),
    "iwae": IWAE(3),
    "iwae, in parts": IWAE(3, max_rows=8),
    "iwae, doubly reparameterized": IWAE(3, gradient="doubly_reparameterized"),
    "importance": Importance(3),
}


@torch.no_grad()
def repeated(bound: Bound, model: BinaryVAE, times: int) -> Tensor:
    """[times, 8], a value for each of the vectors."""
    torch.manual_seed(1)
    return bound(model, all_vectors().repeat(times)).value.reshape(times, 8)


def test_the_exact_probabilities_of_all_vectors_add_up_to_one() -> None:
    assert exact(vae(), all_vectors()).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_bounds_rise_from_the_elbo_to_the_exact_likelihood() -> None:
    model, ladder = vae(), [ELBO(), IWAE(4), IWAE(32), IWAE(512)]
    values = [repeated(bound, model, 400) for bound in ladder]
    means, errors = zip(*((v.mean(0), v.std(0) / 20) for v in values), strict=True)
    for i in range(3):
        gap, error = means[i + 1] - means[i], (errors[i] ** 2 + errors[i + 1] ** 2).sqrt()
        assert (gap > -3 * error).all()
    assert (means[1].mean() - means[0].mean()) > 5 * errors[0].norm() / 8  # the posterior is off, and plainly so
    log_p = exact(model, all_vectors())
    assert (means[-1] < log_p + 3 * errors[-1]).all()
    torch.testing.assert_close(means[-1], log_p, rtol=0, atol=0.02)


def test_importance_sampling_is_unbiased() -> None:
    model = vae()
    ratio = (repeated(Importance(50), model, 400) - exact(model, all_vectors())).exp()
    assert ((ratio.mean(0) - 1).abs() < 4 * ratio.std(0) / 20).all()


def test_importance_sampling_takes_so_many_rows_at_a_time_and_is_exact_without_latents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, rows, draw = vae(), [], BinaryVAE.draw
    monkeypatch.setattr(BinaryVAE, "draw", lambda *of, **given: rows.append(len(given["noise"])) or draw(*of, **given))
    assert Importance(5, max_rows=16)(model, all_vectors()).kind == "estimate"
    assert rows == [16, 16, 8]
    rnn = RNN.build(SPECS["real"])
    assert Importance(5)(rnn, random_batch(SPECS["real"])).kind == "exact"


@pytest.mark.parametrize("name", BOUNDS_OF_ANY)
def test_a_bound_passes_the_checks_on_a_model_without_time(name: str) -> None:
    weights = Weights(1.0 if "doubly" in name else 0.7, certain=0.3)
    check_bound(BOUNDS_OF_ANY[name], vae(), all_vectors(), weights=weights)


def test_the_elbo_is_the_analytic_one_and_weighs_its_parts() -> None:
    model, batch = vae(), all_vectors()
    noise = model.draw_noise(batch)
    result = ELBO(free_nats=0.5)(model, batch, weights=Weights(0.3, certain=2.0), noise=noise)
    q = model.posterior(batch.x[:, 0])
    mean, std = q.mean[:, 0], q.stddev[:, 0]
    kl = (mean**2 + std**2 - 1) / 2 - std.log()
    log_px = model.emission(q.mean + q.stddev * noise[:, 0]).log_prob(batch.x[:, 0])
    torch.testing.assert_close(result.terms, {"log_px": log_px, "kl": kl, "certain": -std}, rtol=0, atol=1e-12)
    torch.testing.assert_close(result.value, (log_px - kl).detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(result.loss, -log_px + 0.3 * kl.clamp(min=0.5) + 2 * std, rtol=0, atol=1e-12)


def test_doubly_reparameterized_gradients_have_the_mean_of_the_plain_ones() -> None:
    model, batch = vae(), all_vectors().repeat(200)
    found = []
    for gradient in ("plain", "doubly_reparameterized"):
        torch.manual_seed(3)
        losses = IWAE(4, gradient)(model, batch).loss.reshape(200, 8).mean(1)  # type: ignore[arg-type]
        rows = [torch.autograd.grad(loss, [model.encoder[2].bias], retain_graph=True)[0] for loss in losses]
        found.append(torch.stack(rows))
    (plain, double), error = (g.mean(0) for g in found), (sum(g.var(0) for g in found) / 200).sqrt()
    assert ((plain - double).abs() < 4 * error).all()
    assert (found[1].var(0) < found[0].var(0)).all()


def test_calling_a_model_gives_its_elbo_or_its_exact_likelihood_with_gradient() -> None:
    model, batch = vae(), all_vectors()
    torch.manual_seed(0)
    value = model(batch)
    torch.manual_seed(0)
    torch.testing.assert_close(value.detach(), ELBO()(model, batch).value, rtol=0, atol=0)
    value.sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters())
    rnn, sequences = (
        RNN.build(SPECS["real"]),
        random_batch(SPECS["real"]),
    )
    kalman = LinearGaussian(ObservationSpec("real", 2), latent_size=3)
    for exact_one, batch in ((rnn, sequences), (kalman, random_batch(kalman.spec))):
        torch.testing.assert_close(exact_one(batch).detach(), Exact()(exact_one, batch).value, rtol=0, atol=0)


# ---- what a bound pays for


@pytest.mark.parametrize(
    ("bound", "weights", "computed"),
    [
        (ELBO(), Weights(), {"log_px": 1, "kl_parts": 1}),
        (ELBO(free_nats=0.1), Weights(certain=0.1), {"log_px": 1, "kl_parts": 1, "certain": 1}),
        (ELBO(), Weights(certain=0.0), {"log_px": 1, "kl_parts": 1}),
        (IWAE(4), Weights(), {"log_px": 1, "log_pz": 1, "log_qz": 1, "kl_parts": 1}),
        (Importance(4), Weights(certain=1), {"log_px": 1, "log_pz": 1, "log_qz": 1, "kl_parts": 1, "certain": 1}),
    ],
)
def test_a_term_is_computed_once_where_it_counts_and_never_elsewhere(
    bound: Bound, weights: Weights, computed: dict[str, int]
) -> None:
    called: Counter[str] = Counter()

    class Counted(BinaryVAE):
        def draw(self, batch: Any, **given: Any) -> Draws:
            draws = super().draw(batch, **given)

            def counted(name: str, term: Callable[[], Tensor]) -> Callable[[], Tensor]:
                return lambda: (called.update([name]), term())[1]

            terms = {
                name: counted(name, getattr(draws, f"_{name}")) for name in ("log_px", "log_pz", "log_qz", "kl_parts")
            }
            return Draws(draws.latents, **terms, costs={"certain": counted("certain", draws._costs["certain"])})

    bound(Counted(PIXELS, BinaryVAEConfig()), all_vectors(), weights=weights)
    assert called == computed


# ---- everything else that takes a model


def drawn_data(n: int, seed: int = 0) -> zf.Sequences:
    rng = np.random.default_rng(seed)
    ones = rng.random(n) < 0.5  # three bits that agree, but for noise
    return zf.Sequences(
        [(rng.random((1, 3)) < (0.9 if one else 0.1)).astype(np.float32) for one in ones], kind="binary"
    )


@pytest.fixture
def float32() -> None:
    torch.set_default_dtype(torch.float32)


def test_evaluate_measures_it(float32: None) -> None:
    model, data = vae(), drawn_data(300)
    found = zf.evaluate(model, data, bound=IWAE(5000), max_rows=10**6)
    x = torch.stack([torch.as_tensor(data[i].x) for i in range(300)])
    batch = zf.SequenceBatch(x, torch.ones(300, dtype=torch.int64), torch.zeros(300, 3))
    assert found.nats_per_sequence == pytest.approx(exact(model, batch).mean().item(), abs=0.01)
    assert (found.model, found.kind, found.num_steps, found.num_dims) == ("binary_vae", "lower bound", 300, 900)


def test_fit_trains_it_with_a_schedule_of_its_own_cost(float32: None) -> None:
    model = vae()
    weights = WeightSchedules(certain=Schedule(0.0, end=0.5, per_step=0.125))
    history = zf.fit(
        model, drawn_data(200), drawn_data(50, 1), weights=weights, epochs=15, batch_size=20, learning_rate=0.02,
        log_every=2, progress=False,
    )  # fmt: skip
    before = history.validation[0]
    assert history.best is not None
    assert history.best.nats > before.nats + 0.05
    assert [row.weights.costs["certain"] for row in history.training[:4]] == [0.125, 0.375, 0.5, 0.5]
    rows = history.to_dict()["training"]
    assert {"certain_weight", "certain_per_sequence", "kl_per_sequence"} <= set(rows)


def test_a_saved_one_is_loaded_where_its_class_is_registered(float32: None, tmp_path: Path) -> None:
    with as_it_was():
        zf.register(BinaryVAE)
        data = drawn_data(20)
        torch.manual_seed(0)
        model = BinaryVAE.for_data(data, hidden_size=5)
        zf.save(tmp_path / "mine", model)
        loaded = zf.load(tmp_path / "mine")
        assert isinstance(loaded, BinaryVAE)
        assert loaded.config == model.config
        one, other = (zf.evaluate(m, data).nats_per_sequence for m in (model, loaded))
        assert one == other


def test_sample_frequencies_are_its_probabilities() -> None:
    model, n = vae(), 20000
    drawn = zf.sample(model, n, seed=0)
    assert (drawn.x.shape, drawn.latents.shape) == ((n, 1, 3), (n, 1, 1))
    codes = (drawn.x[:, 0] @ torch.tensor([4.0, 2.0, 1.0])).long().bincount(minlength=8) / n
    p = exact(model, all_vectors()).exp()
    assert ((codes - p).abs() < 4 * (p * (1 - p) / n).sqrt()).all()
    assert torch.equal(zf.sample(model, 5, seed=0).x, zf.sample(model, 5, seed=0).x)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda m, b: FIVO()(m, b), "bound fivo needs a model of sequences; binary_vae has no time steps"),
        (lambda m, b: ChunkedELBO(3)(m, b), "a bound in chunks needs a model of sequences; binary_vae"),
        (lambda m, b: ELBO()(m, b, context=b.x), "a state or a context needs a model of sequences; binary_vae"),
        (lambda m, b: Exact()(m, b), "model binary_vae has no exact likelihood"),
        (lambda m, b: zf.sample(m, 2, steps=3), "binary_vae has no time steps: leave out steps"),
        (lambda m, b: zf.continue_from(m, b, steps=3), "a continuation needs a model of sequences; binary_vae"),
        (lambda m, b: zf.encode(m, drawn_data(9)), "encode needs a model of sequences; binary_vae"),
        (lambda m, b: zf.reconstruct(m, drawn_data(9)), "reconstruct needs a model of sequences; binary_vae"),
        (lambda m, b: zf.latents_report(m, drawn_data(9)), "a latents report needs a model of sequences; binary_vae"),
        (
            lambda m, b: zf.fit(m, drawn_data(9), truncated_bptt_steps=2, progress=False),
            "truncated_bptt_steps needs a model of sequences; binary_vae",
        ),
    ],
)
def test_what_needs_time_is_refused_in_one_line(ask: Callable[[BinaryVAE, Any], Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        ask(vae(), all_vectors())
    assert "\n" not in str(caught.value)


# ---- one signature for all bounds


@pytest.mark.parametrize("cls", [*BOUNDS.values(), ChunkedELBO], ids=lambda cls: cls.__name__)
def test_all_bounds_are_called_alike(cls: type[Bound]) -> None:
    assert inspect.signature(cls.__call__) == inspect.signature(Bound.__call__)


@pytest.mark.parametrize("bound", [IWAE(2), Importance(2), FIVO(2), Exact(), ChunkedELBO(2)], ids=str)
def test_a_bound_that_cannot_start_from_a_state_says_so(bound: Bound) -> None:
    model, batch = Case("zforcing", ZF_SIZE).build(SPECS["real"]), random_batch(SPECS["real"])
    state, context = model.initial_state(len(batch), start=batch.start), model.encode(batch)
    for given, words in (({"state": state}, "state"), ({"state": state, "context": context}, "state and no context")):
        with pytest.raises(UserError, match=f"bound {bound.name} takes no {words}"):
            bound(model, batch, **given)


def test_the_exact_likelihood_draws_nothing_and_has_no_extra_terms() -> None:
    model, batch = (
        RNN.build(SPECS["real"]),
        random_batch(SPECS["real"]),
    )
    with pytest.raises(UserError, match="bound exact takes no noise"):
        Exact()(model, batch, noise=model.draw_noise(batch))
    with pytest.raises(UserError, match="has no calm to weight"):
        Exact()(model, batch, weights=Weights(calm=0.1))


def test_noise_of_another_number_of_particles_is_refused() -> None:
    model, batch = vae(), all_vectors()
    with pytest.raises(UserError, match="noise has 8 rows; 3 particles of 8 sequences need 24"):
        IWAE(3)(model, batch, noise=model.draw_noise(batch))


def test_every_bound_reports_the_same_kl_of_the_same_latents() -> None:
    """In closed form, given the sampled past; FIVO's own sample of it has either sign."""
    model, batch = Case("zforcing", ZF_SIZE).build(SPECS["real"]), random_batch(SPECS["real"])
    noise = model.draw_noise(batch)
    expected = ELBO()(model, batch, noise=noise).terms["kl"].detach()
    for bound in (IWAE(1), Importance(1), FIVO(1), ChunkedELBO(3)):
        torch.testing.assert_close(bound(model, batch, noise=noise).terms["kl"], expected, rtol=0, atol=1e-10)


def test_a_cost_that_the_model_does_not_have_is_named_with_those_that_it_has() -> None:
    model, batch = Case("zforcing", ZF_SIZE).build(SPECS["real"]), random_batch(SPECS["real"])
    for bound in (ELBO(), IWAE(2), FIVO(2), ChunkedELBO(2)):
        with pytest.raises(UserError, match=r"the model has no cost '?calm'?; it has auxiliary, backward"):
            bound(model, batch, weights=Weights(calm=0.1))
        bound(model, batch, weights=Weights(calm=0.0))  # a weight of 0 asks for nothing
