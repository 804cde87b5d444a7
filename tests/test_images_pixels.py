"""The gated PixelCNN, and PixelVAE that decodes by it: oracles at tiny sizes, and faults that the checks must find."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

import zforcing as zf
from zforcing import ELBO, IWAE, Importance, ObservationSpec, PixelCNN, PixelVAE, UserError
from zforcing.models import Draws
from zforcing.models.images import AutoregressiveModel
from zforcing.models.images.gated import GatedLayer, GatedPixels
from zforcing.testing import all_images, check_image_model, dependencies, images_of
from zforcing.testing.listing import listed_log_likelihood as log_p

SPEC = ObservationSpec("binary", 6)  # 2 rows of 3
SMALL: dict[str, Any] = {"channels": 4, "num_layers": 2, "first_kernel": 3, "kernel": 3, "width": 3}
LATENT = {**SMALL, "latent_size": 1, "encoder_channels": 3}


def pixelcnn(size: int = 6, **changed: Any) -> PixelCNN:
    torch.manual_seed(1)
    model = PixelCNN(ObservationSpec("binary", size), **{**SMALL, **changed}).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_()
    return model


def gates_of(net: GatedPixels) -> list[Any]:
    return [*net.gates, *net.head_gates, *(layer.gate for layer in net.layers)]


def pixelvae(**changed: Any) -> PixelVAE:
    """One whose latent matters, and whose posterior is off."""
    torch.manual_seed(1)
    model = PixelVAE(SPEC, **{**LATENT, **changed}).double().eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.add_(torch.randn_like(p), alpha=0.05 if name.startswith("encoder") else 0.5)
        for gate in gates_of(model.pixels):
            gate.U.weight.mul_(2)
    return model


@pytest.mark.slow
def test_the_pixelcnn_keeps_the_contract() -> None:
    check_image_model(lambda spec: PixelCNN(spec, **SMALL))


@pytest.mark.slow
def test_pixelvae_keeps_the_contract() -> None:
    check_image_model(lambda spec: PixelVAE(spec, **LATENT))


@pytest.mark.slow
def test_pixelvae_keeps_the_contract_with_two_latents() -> None:
    check_image_model(lambda spec: PixelVAE(spec, **{**LATENT, "latent_size": 2}))


# ---- faults that the checks find


class ReadsItself(PixelCNN):
    """The first horizontal kernel has its own column too."""

    def __init__(self, spec: ObservationSpec, **settings: Any):
        super().__init__(spec, **settings)
        self.pixels.layers[0] = GatedLayer(1, 4, 3, reads_own=True, latent_size=0)


class ReadsItsRow(PixelCNN):
    """The vertical stack isn't moved down."""

    def logits(self, x: Tensor, *, member: int = 0) -> Tensor:
        image, net = x.view(-1, 1, 2, 3), self.pixels
        return net.across(image, net.downwards(image, None), None).flatten(1) + self.b


class ForgetsItsRow(PixelCNN):
    """The sampler's horizontal stack reads zeros."""

    def fill(self, x: Tensor, known: Tensor, *, member: int = 0) -> Tensor:
        across = self.pixels.across
        self.pixels.across = lambda x, above, z: across(torch.zeros_like(x), above, z)
        filled = super().fill(x, known)
        self.pixels.across = across
        return filled


class SamplesByAnotherLatent(PixelVAE):
    """The pixels are drawn with another z than the one that is returned."""

    def fill(self, x: Tensor, known: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return super().fill(x, known, z - 6)


class TakesTheVarianceForTheDeviation(PixelVAE):
    """Latents are drawn with another scale than log q says."""

    def draw(self, batch: Any, *, particles: int = 1, noise: Any = None, latents: Any = None) -> Draws:
        noise = self.draw_noise(batch, particles=particles) if noise is None else noise
        return super().draw(batch, particles=particles, noise=2 * noise, latents=latents)


class HalfTheKL(PixelVAE):
    """The KL in closed form lacks its 1/2."""

    def draw(self, batch: Any, **given: Any) -> Draws:
        draws = super().draw(batch, **given)
        draws.kl_parts = draws.kl_parts * 2
        return draws


class IdleEncoder(PixelVAE):
    """The latents' gradient ends before the encoder, and the KL's is missing."""

    def draw(self, batch: Any, **given: Any) -> Draws:
        draws = super().draw(batch, **given)
        latents = draws.latents.detach()
        again = super().draw(batch, latents=latents, particles=given.get("particles", 1))
        again.kl_parts = draws.kl_parts.detach()
        return again


CHI_SQUARE = "check_draws: samples aren't from the density that is scored: chi-square"


@pytest.mark.parametrize(
    ("faulty", "said"),
    [
        (ReadsItself, "check_order: conditionals read .*: 0 in 0, 1 in 1"),
        (ReadsItsRow, "check_order: conditionals read .*: 0 in 0, 1 in 0"),
        pytest.param(ForgetsItsRow, CHI_SQUARE, marks=pytest.mark.slow),
        pytest.param(SamplesByAnotherLatent, CHI_SQUARE, marks=pytest.mark.slow),
        pytest.param(TakesTheVarianceForTheDeviation, "check_weights: weights have the mean", marks=pytest.mark.slow),
        pytest.param(HalfTheKL, "check_weights: the KL isn't the mean of log q - log p", marks=pytest.mark.slow),
        pytest.param(IdleEncoder, "check_every_gradient: no gradient reaches encoder", marks=pytest.mark.slow),
    ],
    ids=lambda v: v.__name__ if isinstance(v, type) else "",
)
def test_a_planted_fault_is_found(faulty: Any, said: str) -> None:
    settings = SMALL if issubclass(faulty, PixelCNN) else LATENT
    with pytest.raises(AssertionError, match=said):
        check_image_model(lambda spec: faulty(spec, **settings))


# ---- the network against its equations


def masked(weight: Tensor, size: int, rows: int, columns: int) -> Tensor:
    """A cut kernel as a k x k one, with zeros where it may not read."""
    whole = weight.new_zeros(*weight.shape[:2], size, size)
    whole[:, :, rows : rows + weight.shape[2], columns : columns + weight.shape[3]] = weight
    return whole


def by_masks(net: GatedPixels, x: Tensor, z: Tensor) -> Tensor:
    """Both stacks with k x k kernels around each pixel, of which all after it, in the mask's order, is zero."""

    def gate(a: Tensor, U: Tensor) -> Tensor:
        left, right = (a + (z @ U.T)[:, :, None, None]).chunk(2, 1)
        return left.tanh() * right.sigmoid()

    v, h = x, x
    for i, layer in enumerate(net.layers):
        k = 2 * layer.reach + 1
        a = F.conv2d(v, masked(layer.V.weight, k, 0, 0), layer.V.bias, padding=k // 2)
        row = F.conv2d(h, masked(layer.S.weight, k, k // 2, 0), padding=k // 2)
        above = torch.cat([torch.zeros_like(a[:, :, :1]), a[:, :, :-1]], dim=2)
        read = layer.O(gate(row + layer.W(above), layer.gate.U.weight))
        h = read if i == 0 else h + read
        if i < len(net.gates):
            v = gate(a, net.gates[i].U.weight)
    for widen, last in zip(net.head, net.head_gates, strict=True):
        h = gate(widen(h), last.U.weight)
    return net.output(h)[:, 0]


@torch.no_grad()
def test_cut_kernels_are_masked_ones() -> None:
    torch.manual_seed(0)
    net = GatedPixels(channels=3, num_layers=3, first_kernel=5, kernel=3, latent_size=2).double()
    x, z = torch.randn(4, 1, 5, 6).double(), torch.randn(4, 2).double()
    torch.testing.assert_close(net(x, z), by_masks(net, x, z))


def test_each_conditional_reads_all_pixels_before_it() -> None:
    """There is no blind spot: on 2 x 4 pixels, the second row's first reads the last of the first row too."""
    model = pixelcnn(8, width=4, num_layers=4)
    assert torch.equal(dependencies(model), torch.ones(8, 8).tril(-1).bool())


def test_a_pixel_reads_no_further_than_its_kernels() -> None:
    """7 columns in one row: the first layer reads 1 to the left, each of the others 1 more."""
    reads = dependencies(pixelcnn(7, width=7, num_layers=3))
    assert [sorted(row.nonzero()[:, 0].tolist()) for row in reads][-1] == [3, 4, 5]
    wider = dependencies(pixelcnn(7, width=7, num_layers=3, first_kernel=5))
    assert wider[-1].nonzero()[:, 0].tolist() == [2, 3, 4, 5]


@torch.no_grad()
def test_pixels_drawn_row_by_row_are_those_drawn_by_whole_passes() -> None:
    model = pixelcnn(12, width=4)
    x = (torch.rand(50, 12) < 0.5).double()
    for known in (torch.zeros(50, 12, dtype=torch.bool), torch.arange(12).expand(50, 12) < 5):
        torch.manual_seed(0)
        fast = model.fill(x, known)
        torch.manual_seed(0)
        assert torch.equal(fast, AutoregressiveModel.fill(model, x, known))
        assert torch.equal(fast[known], x[known])


# ---- the latent


def test_bounds_of_pixelvae_rise_to_the_integral() -> None:
    model, batch = pixelvae(), images_of(all_images(6)[::9])
    torch.manual_seed(0)
    with torch.no_grad():
        exact = log_p(model, batch)
        elbo, iwae = (bound(model, batch.repeat(100)).value.mean() for bound in (ELBO(), IWAE(10)))
        estimate = Importance(5000)(model, batch)
    assert elbo + 0.05 < iwae < exact.mean()
    assert (estimate.kind, ELBO()(model, batch).kind) == ("estimate", "lower bound")
    assert (estimate.value - exact).abs().max() < 0.05


@pytest.mark.slow
def test_pixels_at_the_end_may_be_missing_and_are_drawn_nearly_from_their_probabilities() -> None:
    model, x = pixelvae(), all_images(6)
    known = (torch.arange(6) < 3).expand(64, 6)
    joint = log_p(model, images_of(x)).exp().view(8, 8)
    torch.testing.assert_close(log_p(model, images_of(x, known)).exp().view(8, 8)[:, 0], joint.sum(1))
    drawn = model.complete(images_of(x[40:41].repeat(1000, 1), known[:1].repeat(1000, 1))).x[:, 0]
    assert torch.equal(drawn[:, :3], x[40:41, :3].expand(1000, 3))
    rest = (drawn[:, 3:].long() @ torch.tensor([4, 2, 1])).bincount(minlength=8) / 1000
    torch.testing.assert_close(rest.double(), joint[5] / joint[5].sum(), atol=0.06, rtol=0)


@torch.no_grad()
def test_the_encoder_is_its_convolutions_with_relus() -> None:
    model, x = pixelvae(), all_images(6)
    h = x.view(-1, 1, 2, 3)
    for layer, stride in zip(model.encoder.convolutions, (1, 2, 1, 2, 1, 2, 1, 1), strict=True):
        h = F.conv2d(h, layer.weight, layer.bias, stride=stride, padding=1).clamp(min=0)
    mean, log_variance = model.encoder.output(h.flatten(1)).chunk(2, dim=1)
    torch.testing.assert_close(model.encoder(x.view(-1, 1, 2, 3)), (mean, log_variance))


@torch.no_grad()
def test_the_terms_of_pixelvae_are_those_of_torch() -> None:
    model, batch = pixelvae(), images_of(all_images(6)[::9])
    draws, x = model.draw(batch), batch.x[:, 0]
    z, (mean, log_variance) = draws.latents[:, 0], model.encoder(x.view(-1, 1, 2, 3))
    q = Normal(mean, (log_variance / 2).exp())
    logits = by_masks(model.pixels, x.view(-1, 1, 2, 3), z).flatten(1) + model.b
    torch.testing.assert_close(draws.log_px, Bernoulli(logits=logits).log_prob(x).sum(1))
    torch.testing.assert_close(draws.kl, kl_divergence(q, Normal(0.0, 1.0)).sum(1))
    torch.testing.assert_close(draws.log_pz - draws.log_ratio, q.log_prob(z).sum(1))


def test_the_decoder_hears_the_latent_in_every_gate() -> None:
    net = pixelvae(num_layers=3).pixels
    assert len(gates_of(net)) == 2 + 2 + 3
    assert all(gate.U.weight.shape == (8, 1) for gate in gates_of(net))


# ---- what a user meets


def test_pixelvae_is_fitted_evaluated_and_saved(tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float32)
    x = (np.random.default_rng(0).random((40, 1, 6)) < 0.3).astype(np.float32)
    data = zf.Sequences(list(x), kind="binary")
    torch.manual_seed(0)
    model = PixelVAE.for_data(data, **LATENT)
    assert model.b.detach().numpy() == pytest.approx(np.log((x.sum((0, 1)) + 0.5) / (40.5 - x.sum((0, 1)))))
    warmup = zf.WeightSchedules(kl=zf.Schedule(0.0, end=1.0, per_step=0.5))
    zf.fit(model, data, data, epochs=2, batch_size=20, learning_rate=0.01, weights=warmup, progress=False)
    found = zf.evaluate(model, data, bound=zf.Importance(5), repeats=2)
    assert found.kind == "estimate"
    zf.save(tmp_path / "m", model)
    loaded = zf.load(tmp_path / "m")
    assert zf.evaluate(loaded, data, bound=zf.Importance(5), repeats=2).nats_per_sequence == found.nats_per_sequence
    assert torch.equal(zf.sample(model, 5, seed=1).x, zf.sample(loaded, 5, seed=1).x)


@pytest.mark.parametrize("cls", [PixelCNN, PixelVAE])
@pytest.mark.parametrize(
    ("size", "settings", "said"),
    [
        (8, {}, "an image of 8 pixels isn't square: set model.width"),
        (8, {"width": 3}, "an image of 8 pixels isn't 3 columns wide: set model.width"),
        (9, {"kernel": 4}, "a kernel of the model is 4 wide; it must be an odd number of 3 or more"),
        (9, {"first_kernel": 1}, "a kernel of the model is 1 wide"),
    ],
)
def test_what_is_no_image_is_refused(cls: Any, size: int, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        cls(ObservationSpec("binary", size), **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("build", [pixelcnn, pixelvae])
def test_a_gap_before_what_is_known_is_refused(build: Any) -> None:
    known = torch.tensor([[True, False, True, True, True, True]])
    with pytest.raises(UserError, match=r"draws pixels in its own order.*row 0 of the batch has a gap before that"):
        build()(images_of(torch.zeros(1, 6).double(), known))


@pytest.mark.parametrize("size", [{}, {"num_layers": 13, "channels": 16}], ids=["small", "published"])
def test_pixelvae_begins_with_other_posteriors_for_other_images(size: dict[str, int]) -> None:
    """By PyTorch's usual weights the means of 28 by 28 images differ by 1e-4 at first, and the KL collapses."""
    torch.manual_seed(0)
    model = PixelVAE(ObservationSpec("binary", 784), **size).double()
    images = (torch.rand(32, 1, 28, 28) < torch.linspace(0.05, 0.3, 32)[:, None, None, None]).double()
    with torch.no_grad():
        means, _ = model.encoder(images)
    assert means.std(0).mean() > 0.01


def test_convolutions_begin_as_the_authors_do() -> None:
    """Uniform, with the standard deviation sqrt(4 / (fan in + fan out))."""
    torch.manual_seed(0)
    layer = PixelVAE(ObservationSpec("binary", 784), encoder_channels=64).encoder.convolutions[5]
    assert isinstance(layer, torch.nn.Conv2d)
    assert float(layer.weight.detach().std()) == pytest.approx(math.sqrt(4 / (2 * 128 * 9)), rel=0.01)
    assert float(layer.weight.detach().abs().max()) == pytest.approx(math.sqrt(3 * 4 / (2 * 128 * 9)), rel=0.01)
    assert layer.bias is not None
    assert not layer.bias.any()
