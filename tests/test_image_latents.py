"""Models of images with latents, and in all orders: oracles at tiny sizes, faults that the checks must find."""

from __future__ import annotations

import re
from contextlib import nullcontext
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Independent, Normal

import zforcing as zf
from vae import BinaryVAE, BinaryVAEConfig, vae
from zforcing import DARN, DLGM, ELBO, IWAE, NADE, EoNADE, Importance, ObservationSpec, Orders, SequenceBatch, UserError
from zforcing.bounds import Bound
from zforcing.models.density import DensityModel, Draws, Generated
from zforcing.models.images.darn import SampledBits, entropy
from zforcing.models.images.dlgm import leapfrog
from zforcing.models.images.normal import log_density, standard
from zforcing.testing import all_images, check_image_model, images_of
from zforcing.testing.listing import all_bits, listed_log_likelihood
from zforcing.testing.moves import assert_reversible, check_moves
from zforcing.training.runs.config import parse_config

SPEC = ObservationSpec("binary", 6)
FEW = ObservationSpec("binary", 4)
MODELS: dict[str, tuple[type[DensityModel], dict[str, Any]]] = {
    "vae": (DLGM, {"latent_size": 2, "hidden_size": 4, "leapfrog_steps": 0}),
    "dlgm": (DLGM, {"latent_size": 1, "hidden_size": 4, "leapfrog_steps": 2}),
    "darn": (DARN, {"latent_size": 4}),
    "eonade": (EoNADE, {"hidden_size": 5, "mean_field_steps": 2}),
}


def random_model(name: str, spec: ObservationSpec = SPEC, **changed: Any) -> Any:
    cls, settings = MODELS[name]
    torch.manual_seed(1)
    model = cls(spec, **settings | changed).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_().mul_(0.5)
    return model


# ---- the checks, and what they find


@pytest.mark.parametrize("name", MODELS)
def test_every_model_keeps_the_contract(name: str) -> None:
    cls, settings = MODELS[name]
    check_image_model(lambda spec: cls(spec, **settings), FEW if name == "eonade" else SPEC)


class HalfAStep(DLGM):
    """What follows from latents that were drawn is asked of others: 1 is added to the momentum."""

    def draw(self, batch: SequenceBatch, **given: Any) -> Draws:
        draws = super().draw(batch, **given)
        z, v = draws.latents[:, 0].chunk(2, dim=1)
        return super().draw(batch, particles=len(z) // len(batch), latents=torch.cat([z, v + 1], dim=1)[:, None])


class NoReverse(DLGM):
    """The momentum's reverse model is left out: it isn't a density of v any more."""

    def _log_reverse(self, x: Tensor, z: Tensor, v: Tensor) -> Tensor:
        return super()._log_reverse(x, z, v) * 0


class ForgetsTheGap(DLGM):
    """Missing pixels are scored as zeros."""

    def log_given(self, logits: Tensor, x: Tensor, known: Tensor) -> Tensor:
        return super().log_given(logits, x, torch.ones_like(known))


class SlopeOfAnother(DLGM):
    """The step sizes get no gradient."""

    def move(self, x: Tensor, known: Tensor, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        sizes = 0.5 * torch.sigmoid(self.step_logit.detach())
        return leapfrog(z, v, gradient=lambda z: self.gradient(x, known, z), sizes=sizes, steps=self.steps)


class ReadsItself(DARN):
    """The triangle of the bits has its diagonal."""

    def log_prior(self, z: Tensor) -> Tensor:
        logits = F.linear(z, self.W.tril(), self.b)
        return torch.distributions.Bernoulli(logits=logits).log_prob(z).sum(1)


class ReadsBackwards(DARN):
    """Scored with the triangle of the other side: two densities, each of them whole."""

    def log_pixels(self, x: Tensor, known: Tensor, z: Tensor) -> Tensor:
        logits = F.linear(x, self.R.triu(1), self.c).repeat(len(z) // len(x), 1) + self.U(z)
        return torch.distributions.Bernoulli(logits=logits).log_prob(x.repeat(len(z) // len(x), 1)).sum(1)


class PriorForPosterior(DARN):
    """The entropy has the wrong sign."""

    def draw(self, batch: SequenceBatch, **given: Any) -> Draws:
        found = super().draw(batch, **given)
        return Draws(
            found.latents,
            log_px=lambda: found.log_px,
            log_pz=lambda: found.log_pz,
            log_qz=lambda: found.log_pz - found.log_ratio,
            kl_parts=lambda: (found.kl - 2 * (found.kl + found.log_pz))[:, None],
        )


class SeesAll(EoNADE):
    """Inference begins with the pixels that it is to predict."""

    def logits(self, x: Tensor, seen: Tensor) -> list[Tensor]:
        return super().logits(x, torch.ones_like(seen))


class OtherStep(EoNADE):
    """Samples are drawn from the first step, and scored by the last."""

    def _filled(self, x: Tensor, known: Tensor) -> zf.Generated:
        whole = self.logits
        self.logits = lambda *given: whole(*given)[:1]  # type: ignore[method-assign]  # that is the fault
        found = super()._filled(x, known)
        del self.logits
        return found


@pytest.mark.parametrize(
    ("faulty", "of", "said"),
    [
        (HalfAStep, "dlgm", "check_weights: weights have the mean"),
        (NoReverse, "dlgm", "check_weights: weights have the mean"),
        (ForgetsTheGap, "dlgm", "check_known_part: log p of a part of an image isn't"),
        (SlopeOfAnother, "dlgm", "check_every_gradient: no gradient reaches step_logit"),
        (ReadsItself, "darn", "check_total: the probabilities of all images sum to"),
        (ReadsBackwards, "darn", "check_draws: samples aren't from the density that is scored"),
        (PriorForPosterior, "darn", "check_weights: the KL isn't the mean of log q - log p"),
        (SeesAll, "eonade", "check_total: the probabilities of all images sum to"),
        (OtherStep, "eonade", "check_draws: samples aren't from the density that is scored"),
    ],
    ids=lambda v: v.__name__ if isinstance(v, type) else "",
)
def test_a_planted_fault_is_found(faulty: type[DensityModel], of: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_image_model(lambda spec: faulty(spec, **MODELS[of][1]), FEW if of == "eonade" else SPEC)


class HalfTheWeights(BinaryVAE):
    def draw(self, batch: SequenceBatch, **given: Any) -> Draws:
        return altered(super().draw(batch, **given), log_px=0.5)


class NegativeKL(BinaryVAE):
    def draw(self, batch: SequenceBatch, **given: Any) -> Draws:
        return altered(super().draw(batch, **given), kl=-1.0)


class OtherPosterior(BinaryVAE):
    def draw(self, batch: SequenceBatch, **given: Any) -> Draws:
        return altered(super().draw(batch, **given), log_qz=1.1)


class NarrowPrior(BinaryVAE):
    """No fault, but beyond what is listed."""

    def prior(self) -> Independent:
        return Independent(Normal(self.encoder[0].weight.new_full((1,), 3.0), 0.05), 1)


class AllOnes(BinaryVAE):
    def sample(self, num_samples: int) -> Generated:
        drawn = super().sample(num_samples)
        return Generated(torch.ones_like(drawn.x), drawn.latents, drawn.emission)


def altered(draws: Draws, *, log_px: float = 1.0, log_qz: float = 1.0, kl: float = 1.0) -> Draws:
    """With terms times something."""
    return Draws(
        draws.latents,
        log_px=lambda: log_px * draws.log_px,
        log_pz=lambda: draws.log_pz,
        log_qz=lambda: log_qz * (draws.log_pz - draws.log_ratio),
        kl_parts=lambda: kl * draws.kl_parts,
    )


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (BinaryVAE, ""),
        (HalfTheWeights, "check_total: the probabilities of all images sum to"),
        (NegativeKL, "check_weights: the KL isn't the mean of log q - log p"),
        (OtherPosterior, "check_weights: weights have the mean"),
        (AllOnes, "check_draws: samples aren't from the density that is scored"),
        (NarrowPrior, "p.z. isn't one that N.0, I. integrates"),
    ],
)
def test_a_model_of_somebody_else_is_listed_by_its_own_draws(model: type[BinaryVAE], said: str) -> None:
    with pytest.raises(AssertionError, match=said) if said else nullcontext():
        check_image_model(lambda spec: model(spec, BinaryVAEConfig()))


# ---- bounds


@pytest.mark.parametrize(
    ("model", "bound", "said"),
    [
        ("vae", "ais", "bound ais is of models that know p(x) up to a constant"),
        ("vae", "orders", "bound orders is of models that have a density in any order"),
        ("eonade", "iwae", "model eonade draws one place of an order"),
        ("eonade", "exact", "model eonade has no exact likelihood"),
        ("darn", "exact", "model darn has no exact likelihood"),
        ("dlgm", "fivo", "bound fivo needs a model of sequences; dlgm has no time steps"),
        ("dlgm", "chib", "bound chib measures models that were trained by another"),
    ],
)
def test_a_bound_that_a_model_cannot_have_is_refused_before_a_run_begins(model: str, bound: str, said: str) -> None:
    given = {"data": {"name": "mnist", "order": "image"}, "model": {"name": MODELS[model][0].name}}
    with pytest.raises(UserError, match=re.escape(said)):
        parse_config(given | {"bound": {"name": bound}})


def test_bits_have_no_doubly_reparameterized_gradient() -> None:
    model, batch, bound = random_model("darn"), images_of(all_images(6)), IWAE(2, gradient="doubly_reparameterized")
    with pytest.raises(UserError, match="needs latents that have a gradient; those of darn are bits: take plain"):
        bound(model, batch)
    with torch.no_grad():
        bound(model, batch)  # what is measured is right
    IWAE(2)(model, batch)


class Wrapped(torch.nn.Module):
    """As torch.compile wraps a model: another class, which has what the model has."""

    def __init__(self, model: DensityModel):
        super().__init__()
        self.model = model

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(name) if name == "model" else getattr(self.model, name)


@pytest.mark.parametrize("bound", [IWAE(2), Importance(2), Orders(2), ELBO()])
def test_bounds_take_models_that_are_wrapped(bound: Bound) -> None:
    model, batch = random_model("eonade" if isinstance(bound, Orders) else "vae"), images_of(all_images(6)[:4])
    values = []
    for one in (model, Wrapped(model)):
        torch.manual_seed(0)
        values.append(bound(one, batch).value)
    torch.testing.assert_close(*values)


@pytest.mark.parametrize("name", ["vae", "dlgm", "darn"])
def test_bounds_rise_from_the_elbo_to_the_log_likelihood(name: str) -> None:
    model, batch = random_model(name), images_of(all_images(6)[:8])
    log_p = listed_log_likelihood(model, batch)
    torch.manual_seed(0)
    with torch.no_grad():
        ladder = [bound(model, batch.repeat(n)).value.view(n, -1).mean(0) for bound, n in LADDER]
    gaps = torch.stack([(log_p - found).mean() for found in ladder])
    assert bool((gaps[:-1] > gaps[1:]).all()), gaps
    assert abs(float(gaps[-1])) < 0.05  # of 4 draws
    assert Importance(5)(model, batch).kind == "estimate"
    assert ELBO()(model, batch).kind == "lower bound"


LADDER = [(ELBO(), 500), (IWAE(4), 200), (IWAE(1000), 4)]


# ---- the leapfrog


class EulerSteps(DLGM):
    """The momentum moves by a whole step before z does, and not after."""

    def move(self, x: Tensor, known: Tensor, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        for _ in range(self.steps):
            v = v + 0.1 * self.gradient(x, known, z)
            z = z + 0.1 * v
        return z, v


class Friction(DLGM):
    """The momentum loses a tenth at each step."""

    def move(self, x: Tensor, known: Tensor, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        z, v = super().move(x, known, z, v)
        return z, 0.9**self.steps * v


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (DLGM, ""),
        (EulerSteps, "check_moves: with the momentum turned, z isn't led back"),
        (Friction, "check_moves: with the momentum turned, z isn't led back"),
    ],
)
def test_the_leapfrog_is_undone_with_the_momentum_turned_and_keeps_volumes(model: type[DLGM], said: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match=said) if said else nullcontext():
        check_moves(model(SPEC, latent_size=3, leapfrog_steps=8, hidden_size=4).double())


def test_a_move_that_is_undone_and_changes_volumes_is_found() -> None:
    z, v = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(0)).double()
    with pytest.raises(AssertionError, match=f"a move changes volumes by a factor of {float(v[0].sum().exp()):.6g}"):
        assert_reversible(lambda z, v: (z * v.exp(), v), z, v)
    assert_reversible(lambda z, v: (z + v, v), z, v)
    assert_reversible(lambda z, v: (z, -v), z[:, :1], v[:, :1])


def test_the_leapfrog_keeps_the_energy_to_second_order() -> None:
    z, v = torch.tensor([[1.0]]), torch.tensor([[0.5]])

    def error(size: float) -> float:
        steps = round(1 / size)
        z_T, v_T = leapfrog(z, v, gradient=lambda z: -(z**3), sizes=torch.tensor([size]), steps=steps)
        return abs(float((z_T**4 / 4 + v_T**2 / 2) - (z**4 / 4 + v**2 / 2)))

    assert error(0.02) == pytest.approx(error(0.04) / 4, rel=0.05)


def test_the_gradient_by_hand_is_that_of_the_log_joint() -> None:
    model = random_model("dlgm", latent_size=3, num_layers=3)
    x = all_images(6)[[3, 38]]
    known = torch.tensor([[True] * 6, [True, False] * 3])
    z = torch.randn(2, 3).double().requires_grad_()
    (by_torch,) = torch.autograd.grad((model.log_pixels(x, known, z) + model.log_prior(z)).sum(), z)
    torch.testing.assert_close(model.gradient(x, known, z), by_torch)


def test_before_it_has_learned_steps_are_of_a_twentieth_and_momenta_normal() -> None:
    torch.manual_seed(0)
    model, batch = DLGM(SPEC, latent_size=3, hidden_size=4, leapfrog_steps=1), images_of(all_images(6)[[11] * 5])
    (z, v), x, known = torch.randn(2, 5, 3), batch.x[:, 0], torch.ones(5, 6, dtype=torch.bool)
    moved = z + 0.05 * (v + 0.025 * model.gradient(x, known, z))
    torch.testing.assert_close(model.move(x, known, z, v)[0], moved)
    draws = model.draw(batch, latents=torch.cat([z, v], dim=1)[:, None])
    torch.testing.assert_close(draws.log_pz, Normal(0.0, 1.0).log_prob(torch.cat([z, v], dim=1)).sum(1))


def test_latents_that_are_given_are_those_that_were_drawn() -> None:
    model, batch = random_model("dlgm"), images_of(all_images(6)[20:24])
    drawn = model.draw(batch, particles=3)
    again = model.draw(batch, particles=3, latents=drawn.latents)
    for name in ("latents", "log_px", "log_pz", "log_ratio", "kl"):
        torch.testing.assert_close(getattr(drawn, name), getattr(again, name), msg=name)


def test_without_steps_it_is_a_plain_vae() -> None:
    model, batch = random_model("vae"), images_of(all_images(6)[:5])
    assert (model.label, model.latent_size, random_model("dlgm").label) == (
        "dlgm (plain VAE)",
        2,
        "dlgm (2 leapfrog steps)",
    )
    assert not any(name.startswith(("reverse", "step")) for name, _ in model.named_parameters())
    draws = model.draw(batch, particles=20_000)
    torch.testing.assert_close(-draws.log_ratio.view(-1, 5).mean(0), draws.kl[:5], rtol=0.02, atol=0.02)


# ---- the bits


@pytest.mark.parametrize("logit", [-2.0, 0.3, 1.5])
@pytest.mark.parametrize("f", [lambda h: 2 * h - h**2, lambda h: 3 * h + 1], ids=["quadratic", "linear"])
def test_the_gradient_of_bits_is_exact_for_quadratic_functions(logit: float, f: Any) -> None:
    a = torch.tensor([logit], dtype=torch.float64, requires_grad=True)
    q = float(torch.sigmoid(a.detach()))
    expected = q * (1 - q) * float(f(torch.tensor(1.0)) - f(torch.tensor(0.0)))
    found = 0.0
    for u, probability in ((0.0, q), (1.0, 1 - q)):  # of the bit 1, and of 0
        (slope,) = torch.autograd.grad(f(SampledBits.apply(a, torch.tensor([u]).double())).sum(), a)
        found += probability * float(slope)
    assert found == pytest.approx(expected, abs=1e-12)


def test_the_entropy_of_bits() -> None:
    a = torch.tensor([[-3.0, 0.0, 1.0]], dtype=torch.float64)
    expected = torch.distributions.Bernoulli(logits=a).entropy().sum(1)
    torch.testing.assert_close(entropy(a), expected)


def test_the_posterior_of_bits_is_drawn_by_its_probabilities() -> None:
    model, batch = random_model("darn"), images_of(all_images(6)[[37]])
    draws = model.draw(batch, particles=20_000)
    q = torch.distributions.Bernoulli(logits=model.encoder(batch.x[:, 0])).log_prob(all_bits(4)).sum(1).exp()
    counted = torch.bincount((draws.latents[:, 0].long() @ torch.tensor([8, 4, 2, 1])), minlength=16) / 20_000
    assert float((counted - q.detach()).abs().max()) < 4.5 * 0.5 / 20_000**0.5


# ---- all orders


def every_order(size: int) -> list[Tensor]:
    return [torch.tensor(order) for order in permutations(range(size))]


def test_each_order_is_a_density_and_none_reads_ahead() -> None:
    model, x = random_model("eonade", FEW), all_images(4)
    for order in every_order(4)[::5]:
        assert float(model.log_likelihood_in(images_of(x), order).detach().exp().sum()) == pytest.approx(1, abs=1e-12)
    seen = torch.tensor([True, False, True, False]).expand(16, -1)
    flipped = torch.where(seen, x, 1 - x)
    for one, other in zip(model.logits(x, seen), model.logits(flipped, seen), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_one_place_of_an_order_estimates_the_mean_over_orders() -> None:
    model, batch = random_model("eonade", FEW), images_of(all_images(4)[[6, 13]])
    with torch.no_grad():
        mean = torch.stack([model.log_likelihood_in(batch, order) for order in every_order(4)]).mean(0)
        found = ELBO()(model, batch.repeat(20_000)).value.view(-1, 2)
    assert bool(((found.mean(0) - mean).abs() < 4.5 * found.std(0) / 20_000**0.5).all())


@pytest.mark.parametrize("missing", [0, 1])
def test_all_places_of_all_orders_have_exactly_the_mean_over_orders(missing: int) -> None:
    """Noise ranks the pixels, and its last number is the middle of each place's stretch; what is missing comes last."""
    model, places = random_model("eonade", FEW), torch.arange(4.0 - missing)
    known = torch.arange(4) >= missing
    batch = images_of(all_images(4)[[6]], known[None])
    ends = torch.special.ndtri((places + 0.5) / len(places))
    noise = torch.stack([torch.cat([order.double(), end[None]]) for order in every_order(4) for end in ends])
    found = model.draw(batch, particles=len(noise), noise=noise[:, None]).log_px.mean()
    orders = [torch.cat([order[known[order]], order[~known[order]]]) for order in every_order(4)]
    expected = torch.stack([model.log_likelihood_in(batch, order) for order in orders]).mean()
    torch.testing.assert_close(found, expected)


def test_bound_orders_is_the_mixture_of_the_orders_that_it_says() -> None:
    model, batch, bound = random_model("eonade"), images_of(all_images(6)[10:15]), Orders(3, seed=4)
    with torch.no_grad():
        each = torch.stack([model.log_likelihood_in(batch, order) for order in bound.drawn(6)])
        found = bound(model, batch)
    torch.testing.assert_close(found.value.exp(), each.exp().mean(0))
    torch.testing.assert_close(found.terms["one_order"], each.mean(0))
    assert found.kind == "exact"
    assert bool((found.value > found.terms["one_order"]).all())


def test_orders_differ_and_are_a_function_of_the_seed() -> None:
    one, again, other = (Orders(5, seed=seed).drawn(30) for seed in (4, 4, 5))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert len({tuple(order.tolist()) for order in one + other}) == 10
    assert all(sorted(order.tolist()) == list(range(30)) for order in one)


def test_one_step_is_the_orderless_nade() -> None:
    model, x = random_model("eonade", FEW, mean_field_steps=1, num_layers=1), all_images(4)
    seen = torch.tensor([False, True, True, False])
    h = torch.tanh(model.hidden[0](torch.where(seen, x, 0.5 * torch.ones_like(x))))
    torch.testing.assert_close(model.logits(x, seen)[-1], model.output(h))


def test_the_steps_are_trained_alike_or_the_last_one_alone() -> None:
    model, batch = random_model("eonade"), images_of(all_images(6)[:9])
    noise = model.draw_noise(batch)
    last, alike = (ELBO()(model, batch, weights=zf.Weights(steps=w), noise=noise) for w in (0.0, 1.0))
    torch.testing.assert_close(last.loss, -last.value)
    torch.testing.assert_close(alike.loss, -alike.value - alike.terms["steps"])
    torch.testing.assert_close(alike.value, last.value)


def test_steps_trained_alike_are_the_mean_of_the_models_that_end_with_each() -> None:
    whole, batch = random_model("eonade", mean_field_steps=3), images_of(all_images(6)[:9])
    noise = whole.draw_noise(batch)
    alike = ELBO()(whole, batch, weights=zf.Weights(steps=1.0), noise=noise)
    each = [ELBO()(random_model("eonade", mean_field_steps=k), batch, noise=noise).value for k in (1, 2, 3)]
    torch.testing.assert_close(alike.loss, -torch.stack(each).mean(0))


def test_unseen_pixels_are_read_as_their_means_in_training() -> None:
    torch.set_default_dtype(torch.float32)
    x = np.array([[[1, 0]], [[1, 0]], [[0, 0]], [[1, 0]]], np.float32)
    model = EoNADE.for_data(zf.Sequences(list(x), kind="binary"), hidden_size=2)
    torch.testing.assert_close(model.mean, torch.tensor([3.5 / 5, 0.5 / 5]))


def test_completions_of_any_gap_are_from_orders_that_begin_with_what_is_known() -> None:
    model, x = random_model("eonade", FEW), all_images(4)
    known = torch.tensor([False, True, False, True])
    drawn = model.complete(images_of(x[[5] * 8000], known.expand(8000, -1))).x[:, 0].detach()
    assert bool((drawn[:, known] == x[5, known]).all())
    orders = [torch.tensor([*first, *then]) for first in ((1, 3), (3, 1)) for then in ((0, 2), (2, 0))]
    with torch.no_grad():
        p = torch.stack([model.log_likelihood_in(images_of(x), order).exp() for order in orders]).mean(0)
    p = p * (x[:, known] == x[5, known]).all(1)
    expected = (p[:, None] * x).sum(0) / p.sum()
    assert float((drawn.mean(0) - expected).abs().max()) < 4.5 * 0.5 / 8000**0.5


def test_the_emission_of_a_completion_has_the_logits_that_were_drawn_by_and_no_others() -> None:
    model, x = random_model("eonade", FEW), all_images(4)
    known = torch.tensor([[True, True, False, False], [False, False, True, False]]).repeat(8, 1)
    torch.manual_seed(0)
    emission = model.complete(images_of(x, known)).emission
    assert bool(((emission.base_dist.logits[:, 0] == 0) == known).all())


def test_the_weight_of_a_place_in_an_order_is_in_the_models_precision() -> None:
    model, x = random_model("eonade", ObservationSpec("binary", 7)), images_of(all_images(7))
    torch.manual_seed(0)
    noise = model.draw_noise(x)
    exact, previous = model.draw(x, noise=noise).log_px, torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        assert torch.equal(model.draw(x, noise=noise).log_px, exact)
    finally:
        torch.set_default_dtype(previous)


def test_densities_of_many_latents_are_summed_in_float64() -> None:
    z = torch.full((1, 20_000), 100.0, dtype=torch.float32)
    each = Normal(0.0, 1.0).log_prob(z[0]).double()
    torch.testing.assert_close(log_density(standard(z), z)[0], each.sum(), rtol=1e-12, atol=0)


# ---- the house around them


def bits(n: int, seed: int = 0) -> zf.Sequences:
    x = (np.random.default_rng(seed).random((n, 1, 6)) < 0.3).astype(np.float32)
    return zf.Sequences(list(x), kind="binary")


@pytest.mark.parametrize("name", ["dlgm", "darn", "eonade"])
def test_it_is_fitted_evaluated_saved_and_drawn_from(name: str, tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float32)
    cls, settings = MODELS[name]
    train, valid = bits(60), bits(30, seed=1)
    torch.manual_seed(0)
    model = cls.for_data(train, **settings)
    zf.fit(model, train, valid, epochs=2, batch_size=20, learning_rate=0.01, progress=False)
    bound = Orders(4) if name == "eonade" else Importance(20)
    found = zf.evaluate(model, valid, bound=bound)
    assert found.kind == ("exact" if name == "eonade" else "estimate")
    zf.save(tmp_path / "m", model)
    loaded = zf.load(tmp_path / "m")
    assert zf.evaluate(loaded, valid, bound=bound).nats_per_sequence == found.nats_per_sequence
    one, other = (zf.sample(m, 9, seed=2) for m in (model, loaded))
    assert torch.equal(one.x, other.x)
    gap = zf.Sequences([np.array([[1, 0, 1, np.nan, np.nan, np.nan]], np.float32)], kind="binary")
    filled = zf.impute(loaded, gap, particles=20)
    assert filled.mean[0][0, :3].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: DLGM(ObservationSpec("real", 3)), "model dlgm is of binary images without inputs"),
        (lambda: DLGM(SPEC, leapfrog_steps=-1), "model.leapfrog_steps is -1; it must be 0 or more"),
        (lambda: DARN(SPEC, hidden_size=3), "model darn has no setting hidden_size; it has latent_size"),
        (
            lambda: DARN(SPEC, latent_size=2)(images_of(torch.zeros(1, 6), torch.tensor([[True, False] * 3]))),
            "darn draws pixels in its own order.*row 0 of the batch has a gap before that",
        ),
        (lambda: IWAE(2)(EoNADE(SPEC, hidden_size=2), images_of(torch.zeros(1, 6))), "take bound elbo, or orders for"),
        (lambda: Orders(2)(NADE(SPEC, hidden_size=2), images_of(torch.zeros(1, 6))), "bound orders is of models that"),
        (
            lambda: Orders(2)(EoNADE(SPEC, hidden_size=2), images_of(torch.zeros(1, 6)), weights=zf.Weights(calm=1.0)),
            "bound orders draws nothing, and so has no calm to weight",
        ),
        (lambda: Orders(2)(vae(), images_of(torch.zeros(1, 3))), "such as eonade; not binary_vae"),
        (
            lambda: Orders(1)(
                EoNADE(SPEC, hidden_size=2), images_of(torch.zeros(1, 6), torch.tensor([[False] * 5 + [True]]))
            ),
            "in orders that begin with it",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(ask: Any, said: str) -> None:
    torch.set_default_dtype(torch.float32)
    with pytest.raises(UserError, match=said) as caught:
        ask()
    assert "\n" not in str(caught.value)
