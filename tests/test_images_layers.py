"""DRAW and MatNet, latents in many parts: oracles at tiny sizes, and faults that the checks must find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

import zforcing as zf
from zforcing import DRAW, ELBO, IWAE, Importance, MatNet, ObservationSpec, UserError
from zforcing.models import Draws
from zforcing.models.images.attention import Window, WindowReader, WindowWriter, placing, window
from zforcing.models.images.draw import Painting
from zforcing.models.images.matnet import Residual
from zforcing.testing import all_images, check_image_model, images_of
from zforcing.testing.listing import listed_log_likelihood as log_p

SIX, FOUR = ObservationSpec("binary", 6), ObservationSpec("binary", 4)  # 2 rows of 3, 2 of 2
WINDOWS: dict[str, Any] = {"glimpses": 2, "latent_size": 1, "hidden_size": 3, "width": 3, "write_size": 2}
WHOLE = WINDOWS | {"read_size": None, "write_size": None}
MATNET: dict[str, Any] = {
    "top_size": 1,
    "latent_channels": 1,
    "coarse_modules": 1,
    "fine_modules": 1,
    "channels": 2,
    "hidden_size": 3,
}
MODELS: dict[str, tuple[Any, ObservationSpec, dict[str, Any]]] = {
    "draw": (DRAW, SIX, WINDOWS),
    "draw without attention": (DRAW, SIX, WHOLE),
    "matnet": (MatNet, FOUR, MATNET),
}


def random_model(name: str, **changed: Any) -> Any:
    cls, spec, settings = MODELS[name]
    torch.manual_seed(1)
    model = cls(spec, **{**settings, **changed}).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_().mul_(0.5)
    return model


@pytest.mark.parametrize(
    "name", ["draw without attention", *(pytest.param(n, marks=pytest.mark.slow) for n in ("draw", "matnet"))]
)
def test_every_model_keeps_the_contract(name: str) -> None:
    cls, spec, settings = MODELS[name]
    check_image_model(lambda spec: cls(spec, **settings), spec)


# ---- faults that the checks find


class ScoresTheCanvasBefore(DRAW):
    """The last glimpse isn't written in training."""

    def _glimpses(self, *given: Any, **more: Any) -> Any:
        *found, canvas, before = (*super()._glimpses(*given, **more), self.canvas)
        return (*found, before.expand_as(canvas))


class DrawsTwiceAsFar(DRAW):
    """Noise has a deviation of 2, and log q of 1."""

    def draw_noise(self, batch: Any, *, particles: int = 1) -> Tensor:
        return 2 * super().draw_noise(batch, particles=particles)


class ConstantOfOneGlimpse(DRAW):
    """The KL lacks its -1/2 of a latent."""

    def draw(self, batch: Any, **given: Any) -> Draws:
        draws = super().draw(batch, **given)
        draws.kl_parts = draws.kl_parts + 0.5
        return draws


class SteeperCanvas(DRAW):
    """The canvas has a slope that isn't its own."""

    def paint(self, painting: Painting, z: Tensor) -> Painting:
        found = super().paint(painting, z)
        return found._replace(canvas=found.canvas + 0.1 * (found.canvas - found.canvas.detach()))


class PeeksAtTheImage(DRAW):
    """What is missing is read all the same by the score."""

    def log_given(self, logits: Tensor, x: Tensor, known: Tensor) -> Tensor:
        return super().log_given(logits, x, torch.ones_like(known))


class SkipsAPart(MatNet):
    """The posterior of the last module isn't in log q."""

    def draw(self, batch: Any, **given: Any) -> Draws:
        draws = super().draw(batch, **given)
        last = Normal(0.0, 1.0).log_prob(draws.latents[:, 0, -1:]).sum(1).detach()
        draws.log_ratio = draws.log_ratio - last
        return draws


class LatentsWithoutAGradient(MatNet):
    """What is drawn is a constant to the modules below."""

    def _part(self, parameters: Tensor, e: Tensor, *, given: bool) -> Any:
        found = super()._part(parameters, e, given=given)
        return found._replace(z=found.z.detach())


class ForgetsBiases(MatNet):
    """Samples are drawn without the pixels' biases."""

    def fill(self, x: Tensor, known: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.logits(z) - self.b
        return torch.where(known, x, torch.bernoulli(torch.sigmoid(logits))), logits


@pytest.mark.parametrize(
    ("faulty", "of", "said"),
    [
        pytest.param(ScoresTheCanvasBefore, "draw", "check_weights: weights have the mean", marks=pytest.mark.slow),
        pytest.param(DrawsTwiceAsFar, "draw", "check_weights: weights have the mean", marks=pytest.mark.slow),
        pytest.param(
            ConstantOfOneGlimpse,
            "draw without attention",
            "check_weights: the KL isn't the mean of log q - log p",
            marks=pytest.mark.slow,
        ),
        pytest.param(SteeperCanvas, "draw", "check_every_gradient: the gradient of log p says", marks=pytest.mark.slow),
        pytest.param(
            PeeksAtTheImage,
            "draw without attention",
            "check_known_part: log p of a part of an image isn't",
            marks=pytest.mark.slow,
        ),
        pytest.param(SkipsAPart, "matnet", "check_weights: weights have the mean", marks=pytest.mark.slow),
        pytest.param(
            LatentsWithoutAGradient,
            "matnet",
            "check_every_gradient: the gradient of log p says",
            marks=pytest.mark.slow,
        ),
        (ForgetsBiases, "matnet", "check_draws: samples aren't from the density that is scored"),
    ],
    ids=lambda v: v.__name__ if isinstance(v, type) else "",
)
def test_a_planted_fault_is_found(faulty: Any, of: str, said: str) -> None:
    _, spec, settings = MODELS[of]
    with pytest.raises(AssertionError, match=said):
        check_image_model(lambda spec: faulty(spec, **settings), spec)


# ---- bounds


@pytest.mark.parametrize("name", MODELS)
def test_bounds_rise_to_the_integral(name: str) -> None:
    model = random_model(name)
    batch = images_of(all_images(model.spec.size)[::5])
    torch.manual_seed(0)
    with torch.no_grad():
        exact = log_p(model, batch)
        elbo, iwae = (bound(model, batch.repeat(200)).value.mean() for bound in (ELBO(), IWAE(5)))
        estimate = Importance(2000)(model, batch)
    assert elbo + 0.01 < iwae < exact.mean() + 0.01
    assert (estimate.kind, ELBO()(model, batch).kind) == ("estimate", "lower bound")
    assert (estimate.value - exact).abs().max() < 0.05


@pytest.mark.parametrize("name", MODELS)
def test_latents_that_are_given_are_those_that_were_drawn(name: str) -> None:
    model, batch = random_model(name), images_of(all_images(random_model(name).spec.size)[3:7])
    drawn = model.draw(batch, particles=3)
    again = model.draw(batch, particles=3, latents=drawn.latents)
    for term in ("latents", "log_px", "log_pz", "log_ratio", "kl_parts"):
        torch.testing.assert_close(getattr(drawn, term), getattr(again, term), msg=term)
    torch.testing.assert_close(drawn.log_px, model.log_given(model.logits(drawn.latents[:, 0]), *observed(batch, 3)))


def test_log_q_of_a_matnet_is_summed_in_float64() -> None:
    model = random_model("matnet", latent_channels=500).float()
    draws = model.draw(images_of(all_images(4)).to("cpu", torch.float32))
    kl, log_q = draws.kl, draws.log_pz - draws.log_ratio
    assert kl.dtype == log_q.dtype == torch.float64
    assert not torch.equal(log_q, log_q.float().double())


@pytest.mark.parametrize("name", MODELS)
def test_log_q_is_that_of_the_noise_less_the_volume_that_it_is_stretched_to(name: str) -> None:
    model = random_model(name)
    batch, e = images_of(all_images(model.spec.size)[[9]]), torch.randn(model.latent_size).double()
    jacobian = torch.autograd.functional.jacobian(lambda e: model.draw(batch, noise=e[None, None]).latents[0, 0], e)
    draws = model.draw(batch, noise=e[None, None])
    expected = Normal(0.0, 1.0).log_prob(e).sum() - torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close((draws.log_pz - draws.log_ratio)[0], expected)


def observed(batch: zf.SequenceBatch, copies: int) -> tuple[Tensor, Tensor]:
    x = batch.x[:, 0].repeat(copies, 1)
    return x, torch.ones_like(x, dtype=torch.bool)


@pytest.mark.parametrize(("name", "parts"), [("draw", 2), ("matnet", 3)])
def test_the_kl_of_each_part_is_that_of_torch(name: str, parts: int) -> None:
    model, batch = random_model(name), images_of(all_images(random_model(name).spec.size)[3:7])
    seen = []
    part = "posterior" if name == "draw" else "top"
    getattr(model, part).register_forward_hook(lambda _, __, out: seen.append(out))
    draws = model.draw(batch)
    assert draws.kl_parts.shape == (4, parts)
    scale = model.scale if name == "matnet" else 1
    mean, log_variance = (scale * seen[0]).chunk(2, 1)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(draws.kl_parts[:, 0], expected)


# ---- the window


def by_the_paper(place: list[float], N: int, H: int, W: int) -> tuple[np.ndarray, np.ndarray, float]:
    """F_Y, F_X and the intensity by equations 19 to 26 of the paper, number by number."""
    g_x, g_y, log_variance, log_stride, log_intensity = place
    g_x, g_y = (W + 1) / 2 * (g_x + 1), (H + 1) / 2 * (g_y + 1)
    stride = (max(W, H) - 1) / (N - 1) * np.exp(log_stride)
    F_x, F_y = np.zeros((N, W)), np.zeros((N, H))
    for i in range(1, N + 1):
        for g, F, length in ((g_x, F_x, W), (g_y, F_y, H)):
            mean = g + (i - N / 2 - 0.5) * stride
            row = [np.exp(-((a - mean) ** 2) / (2 * np.exp(log_variance))) for a in range(1, length + 1)]
            F[i - 1] = np.array(row) / sum(row)
    return F_y, F_x, float(np.exp(log_intensity))


def test_filters_are_those_of_the_paper() -> None:
    places = [[0.1, -0.3, 0.5, -0.7, 0.2], [-0.6, 0.4, 1.5, 0.1, -1.0]]
    x, patch = torch.rand(2, 2, 5, 7).double(), torch.rand(2, 3, 3).double()
    found = window(torch.tensor(places).double(), size=3, shape=(5, 7))
    for n, place in enumerate(places):
        F_y, F_x, intensity = by_the_paper(place, 3, 5, 7)
        for image, seen in zip(x[n].numpy(), found.read(x)[n].numpy(), strict=True):
            np.testing.assert_allclose(seen, intensity * F_y @ image @ F_x.T, rtol=1e-10)
        written = F_y.T @ patch[n].numpy() @ F_x / intensity
        np.testing.assert_allclose(found.write(patch)[n].numpy(), written, rtol=1e-10)


def test_rows_of_filters_sum_to_1_however_far_off_they_stand() -> None:
    far = torch.tensor([[30.0, -30.0, -50.0, 3.0, 0.0]]).double()
    for filters in window(far, size=4, shape=(6, 5))[:2]:
        torch.testing.assert_close(filters.sum(2), torch.ones(1, 4).double())


def test_a_window_on_every_pixel_reads_and_writes_the_image_itself() -> None:
    x = torch.rand(1, 1, 6, 6).double()
    found = window(torch.tensor([[0.0, 0.0, -9.0, 0.0, 0.7]]).double(), size=6, shape=(6, 6))
    torch.testing.assert_close(found.read(x)[0, 0], x[0, 0] * torch.tensor(0.7).exp())
    torch.testing.assert_close(found.write(found.read(x)[:, 0]), x[:, 0])


def test_gradients_of_a_window_are_those_of_differences() -> None:
    place = torch.randn(2, 5, generator=torch.Generator().manual_seed(0)).double().mul_(0.5).requires_grad_()
    x = torch.rand(2, 1, 4, 3).double().requires_grad_()

    def looked(place: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        found: Window = window(place, size=2, shape=(4, 3))
        return (seen := found.read(x)), found.write(seen[:, 0])

    assert torch.autograd.gradcheck(looked, (place, x))


@torch.no_grad()
def test_before_it_has_learned_a_patch_of_ones_adds_one_to_a_pixel_on_average() -> None:
    writer = WindowWriter((28, 28), size=5, hidden=3)
    nn.init.ones_(writer.patch.bias)
    assert float(writer(torch.zeros(1, 3)).mean()) == pytest.approx(1)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_before_it_has_learned_a_window_tiles_the_image(size: int) -> None:
    place = placing(3, size=size, shape=(28, 28))(torch.zeros(1, 3))
    tops = window(place, size=size, shape=(28, 28)).columns[0].argmax(1)
    tiles = 13.5 + (torch.arange(size) - (size - 1) / 2) * 28 / size  # columns from 0
    assert bool(((tops - tiles).abs() <= 0.5).all())


# ---- the networks against their equations


@torch.no_grad()
def test_a_glimpse_is_that_of_torchs_cells() -> None:
    """Two glimpses of a whole image by LSTMCells, whose gates have the same order."""
    model, x = random_model("draw without attention"), all_images(6)[[11, 44]]
    e = torch.randn(2, 2, generator=torch.Generator().manual_seed(0)).double()
    encoder, decoder = nn.LSTMCell(12 + 3, 3).double(), nn.LSTMCell(1, 3).double()
    load(encoder, torch.cat([model.read.image.weight, model.read.error.weight, model.encoder.weight[:, 3:]], 1))
    encoder.bias_ih.copy_(model.read.image.bias)
    encoder.weight_hh.copy_(model.encoder.weight[:, :3])
    load(decoder, model.decoder.weight[:, :1])
    decoder.bias_ih.copy_(model.decoder.bias)
    decoder.weight_hh.copy_(model.decoder.weight[:, 1:])
    canvas = model.canvas.expand(2, -1)
    h_e, c_e, h_d, c_d = (v.expand(2, -1) for v in (*model.encoder_start, *model.decoder_start))
    for t in range(2):
        h_e, c_e = encoder(torch.cat([x, x - canvas.sigmoid(), h_d], 1), (h_e, c_e))
        mean, log_variance = model.posterior(h_e).chunk(2, 1)
        h_d, c_d = decoder(mean + (log_variance / 2).exp() * e[:, t : t + 1], (h_d, c_d))
        canvas = canvas + model.write(h_d)
    expected = torch.distributions.Bernoulli(logits=canvas).log_prob(x).sum(1)
    torch.testing.assert_close(model.draw(images_of(x), noise=e[:, None]).log_px, expected)


def load(cell: nn.LSTMCell, weight: Tensor) -> None:
    cell.weight_ih.copy_(weight)
    cell.bias_hh.zero_()


def test_the_decoder_places_the_windows_that_are_read_as_those_that_are_written() -> None:
    model, placed = random_model("draw"), {"read": [], "write": []}
    for name, found in placed.items():
        getattr(model, name).place.register_forward_pre_hook(lambda _, given, found=found: found.append(given[0]))
    model.draw(images_of(all_images(6)[[11, 44]]))
    torch.testing.assert_close(placed["read"][0], model.decoder_start[0].expand(2, 3))
    assert torch.equal(placed["read"][1], placed["write"][0])


@pytest.mark.parametrize("name", ["draw", "draw without attention"])
def test_a_missing_pixel_is_read_without_an_error_of_the_canvas(name: str) -> None:
    model, known = random_model(name), torch.tensor([[True, True, True, False, True, True]])
    batch = images_of(all_images(6)[[11]], known)
    noise, kl = model.draw_noise(batch), []
    for logit in (0.0, 5.0):
        model.canvas.data[3] = logit
        kl.append(model.draw(batch, noise=noise).kl_parts)
    assert torch.equal(*kl)


def test_windows_and_whole_images_are_chosen_for_each_alone() -> None:
    model = random_model("draw", read_size=None)
    assert isinstance(model.write, WindowWriter)
    assert not isinstance(model.read, WindowReader)
    assert (model.label, random_model("draw without attention").label) == ("draw", "draw (no attention)")


def lrelu(a: Tensor) -> Tensor:
    return torch.where(a > 0, a, 0.2 * a)


def conv(layer: nn.Conv2d, *parts: Tensor, stride: int = 1) -> Tensor:
    return nn.functional.conv2d(torch.cat(parts, 1), layer.weight, layer.bias, stride=stride, padding=1)


def residual(block: Any, *parts: Tensor) -> Tensor:
    return parts[0] + conv(block.second, lrelu(conv(block.first, *parts)))


def enlarged(block: Any, t: Tensor, rows: int, columns: int) -> Tensor:
    W, b = block.convolution.parameters()
    return lrelu(nn.functional.conv_transpose2d(t, W, b, stride=2, padding=1)[:, :, :rows, :columns])


@torch.no_grad()
def test_a_matnet_is_its_equations() -> None:
    """Two modules at each resolution, 1 x 2 and 2 x 3 of 3 x 5 pixels."""
    torch.manual_seed(0)
    model = MatNet(ObservationSpec("binary", 15), **MATNET | {"coarse_modules": 2, "fine_modules": 2}, width=5)
    for p in model.double().eval().parameters():
        p.normal_().mul_(0.3)
    x, e = (torch.rand(3, 15) < 0.5).double(), torch.randn(3, 17)
    left, kl = list(e.split([1, 2, 2, 6, 6], dim=1)), []

    def draw(parameters: Tensor) -> Tensor:
        mean, log_variance = (model.scale * parameters).chunk(2, 1)
        q = Normal(mean, (log_variance / 2).exp())
        kl.append(kl_divergence(q, Normal(0.0, 1.0)).flatten(1).sum(1))
        return q.mean + q.stddev * left.pop(0).view_as(mean)

    u, beside = lrelu(conv(model.input[0], x.view(3, 1, 3, 5), stride=2)), {}
    for level in (model.fine, model.coarse):
        for m in (1, 0):
            u = beside[level, m] = residual(level.beside[m], u)
        u = lrelu(conv(model.down[0], lrelu(u), stride=2)) if level is model.fine else lrelu(u)
    hidden = lrelu(model.to_top[1](u.flatten(1)))
    t = lrelu(model.from_top[2](lrelu(model.from_top[0](draw(model.top(hidden)))))).view(3, 2, 1, 2)
    s = lrelu(model.gather[0](hidden)).view(3, 2, 1, 2)
    for level, rows, columns in ((model.coarse, 2, 3), (model.fine, 3, 5)):
        for m in (0, 1):
            s = lrelu(residual(level.merges[m], s, t, beside[level, m]))
            t = residual(level.blocks[m], t, draw(conv(level.posteriors[m], s)))
        t = enlarged(level.enlarge, lrelu(t), rows, columns)
        s = enlarged(model.finer, s, 2, 3)
    logits = conv(model.output, t).flatten(1) + model.b
    draws = model.draw(images_of(x), noise=e[:, None])
    torch.testing.assert_close(draws.kl_parts, torch.stack(kl, 1))
    torch.testing.assert_close(draws.log_px, torch.distributions.Bernoulli(logits=logits).log_prob(x).sum(1))


@torch.no_grad()
def test_a_posterior_without_weights_is_the_prior_in_every_module() -> None:
    model = random_model("matnet")
    model.scale.zero_()
    draws = model.draw(images_of(all_images(4)))
    assert float(draws.kl_parts.abs().max()) == 0


@torch.no_grad()
def test_every_part_of_z_reaches_the_pixels_and_those_above_reach_the_posterior_below() -> None:
    model = random_model("matnet", coarse_modules=2, fine_modules=2, latent_channels=2)
    assert model.sizes == [1, 2, 2, 2, 2]
    z = torch.zeros(10, 9).double()
    z[1:] = torch.eye(9)
    logits = model.logits(z)
    assert bool(((logits[1:] - logits[0]).abs() > 1e-9).any(1).all())
    batch = images_of(all_images(4)[[5] * 10])
    kl = model.draw(batch, latents=z[:, None]).kl_parts
    changed = (kl - kl[0]).abs() > 1e-12
    assert changed[1].tolist() == [False, True, True, True, True]  # of z_0
    assert changed[-1].tolist() == [False] * 5  # of the last module


def test_images_of_any_height_and_width_are_halved_and_doubled() -> None:
    model = MatNet(ObservationSpec("binary", 35), **MATNET, width=7)  # 5 x 7, 3 x 4, 2 x 2
    assert model.sizes == [1, 4, 12]
    x = model.sample(2).x
    assert x.shape == (2, 1, 35)
    assert model.draw(images_of(x[:, 0])).kl_parts.shape == (2, 3)


def test_a_residual_block_of_zeros_passes_on_what_it_has() -> None:
    block = Residual(3, 2)
    nn.init.zeros_(block.second.weight)
    nn.init.zeros_(block.second.bias)
    t, z = torch.randn(2, 3, 4, 4), torch.randn(2, 2, 4, 4)
    assert torch.equal(block(t, z), t)


# ---- what a user meets


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_latents_come_to_be_used(name: str) -> None:
    """Rows of 4 equal pixels, on or off: 4 log 2 nats, and by pixels' marginals alone, as without latents, 16 log 2."""
    torch.set_default_dtype(torch.float32)
    cls, _, settings = MODELS[name]
    wider = {"channels": 8, "top_size": 4} if cls is MatNet else {"latent_size": 4, "width": 4}
    x = np.random.default_rng(0).integers(0, 2, (400, 4, 1)).repeat(4, 2).reshape(-1, 1, 16).astype(np.float32)
    data = zf.Sequences(list(x), kind="binary")
    torch.manual_seed(0)
    model = cls.for_data(data, **{**settings, **wider, "hidden_size": 16})
    warmup = zf.WeightSchedules(kl=zf.Schedule(0.0, end=1.0, per_step=0.01))
    zf.fit(model, data, epochs=16, batch_size=20, learning_rate=0.01, weights=warmup, progress=False)
    found = zf.evaluate(model, data)
    assert found.kl_per_sequence is not None
    assert found.kl_per_sequence > 2 * np.log(2)
    assert found.nats_per_sequence > -12 * np.log(2)


@pytest.mark.parametrize("name", [pytest.param("draw", marks=pytest.mark.slow), "matnet"])
def test_it_is_fitted_evaluated_saved_and_drawn_from(name: str, tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float32)
    cls, spec, settings = MODELS[name]
    x = (np.random.default_rng(0).random((40, 1, spec.size)) < 0.3).astype(np.float32)
    data = zf.Sequences(list(x), kind="binary")
    torch.manual_seed(0)
    model = cls.for_data(data, **settings)
    begin = model.canvas if name == "draw" else model.b
    assert begin.detach().numpy() == pytest.approx(np.log((x.sum((0, 1)) + 0.5) / (40.5 - x.sum((0, 1)))))
    warmup = zf.WeightSchedules(kl=zf.Schedule(0.0, end=1.0, per_step=0.5))
    zf.fit(model, data, data, epochs=2, batch_size=20, learning_rate=0.01, weights=warmup, progress=False)
    found = zf.evaluate(model, data, bound=Importance(5), repeats=2)
    assert found.kind == "estimate"
    zf.save(tmp_path / "m", model)
    loaded = zf.load(tmp_path / "m")
    assert zf.evaluate(loaded, data, bound=Importance(5), repeats=2).nats_per_sequence == found.nats_per_sequence
    assert torch.equal(zf.sample(model, 5, seed=1).x, zf.sample(loaded, 5, seed=1).x)
    image = np.full((1, spec.size), np.nan, np.float32)
    image[0, 1::2] = 1
    filled = zf.impute(loaded, zf.Sequences([image], kind="binary"), particles=20)
    assert filled.mean[0][0, 1::2].tolist() == [1] * (spec.size // 2)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: DRAW(ObservationSpec("real", 4)), "model draw is of binary images without inputs"),
        (lambda: DRAW(ObservationSpec("binary", 8)), "an image of 8 pixels isn't square: set model.width"),
        (lambda: MatNet(ObservationSpec("binary", 8), width=3), "isn't 3 columns wide: set model.width"),
        (lambda: DRAW(FOUR, glimpses=0), "model.glimpses is 0; it must be 1 or more"),
        (lambda: DRAW(FOUR, read_size=0), "model.read_size is 0; it must be 1 or more"),
        (lambda: MatNet(FOUR, fine_modules=0), "model.fine_modules is 0; it must be 1 or more"),
        (lambda: MatNet(FOUR, latent_size=3), "model matnet has no setting latent_size; it has channels"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(ask: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        ask()
    assert "\n" not in str(caught.value)
