"""Exact density models of images: oracles at tiny sizes, faults that the checks must find, and the way of a user."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import zforcing as zf
from vae import vae
from zforcing import DARN, DBN, DLGM, MADE, NADE, EoNADE, ObservationSpec, PixelCNN, PixelRNN, PixelVAE, UserError
from zforcing.models.images import AutoregressiveModel, marginal_logits
from zforcing.testing import all_images, check_image_model, dependencies, images_of

SPEC = ObservationSpec("binary", 6)
MODELS: dict[str, tuple[type[AutoregressiveModel], dict[str, Any]]] = {
    "made": (MADE, {"hidden_size": 12}),
    "made-deep-random": (MADE, {"hidden_size": 30, "num_layers": 2, "order": "random", "direct": False}),
    "made-masks": (MADE, {"hidden_size": 9, "masks": 3, "order": "random"}),
    "nade": (NADE, {"hidden_size": 5}),
    "nade-random": (NADE, {"hidden_size": 5, "order": "random"}),
}


def random_model(name: str, spec: ObservationSpec = SPEC) -> AutoregressiveModel:
    cls, settings = MODELS[name]
    torch.manual_seed(1)
    model = cls(spec, **settings).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_()
    return model


# ---- the checks, and what they find


@pytest.mark.parametrize("name", MODELS)
def test_every_model_keeps_the_contract(name: str) -> None:
    cls, settings = MODELS[name]
    check_image_model(lambda spec: cls(spec, **settings))


class ReadsItself(MADE):
    """The outputs' mask isn't strict."""

    def logits(self, x: Tensor, *, member: int = 0) -> Tensor:
        place = self.place[member]
        weights = self._masked(member)
        h = torch.relu(torch.nn.functional.linear(x, *weights.hidden[0]))
        return h @ (self.output.weight * (place[:, None] >= self.degrees[member, 0])).T + self.output.bias


class MeanOfLogits(MADE):
    """The mixture's logits are averaged, and not its probabilities."""

    def _log_px(self, x: Tensor, known: Tensor) -> Tensor:
        logits = torch.stack([self.logits(x, member=m) for m in range(len(self.place))]).mean(0)
        return torch.distributions.Bernoulli(logits=logits).log_prob(x).sum(1)


class ReadsBeforeItPredicts(NADE):
    """a_i has x_i in it already."""

    def logits(self, x: Tensor, *, member: int = 0) -> Tensor:
        return torch.sigmoid(self.c + (x[:, :, None] * self.W).cumsum(1)).mul(self.V).sum(-1) + self.b


class OneBehind(NADE):
    """The sampler adds a pixel's row one pixel late: both are densities, and not the same one."""

    def fill(self, x: Tensor, known: Tensor, *, member: int = 0) -> Tensor:
        x, a, late = x.clone(), self.c.repeat(len(x), 1), torch.zeros(())
        for i in self.order().tolist():
            drawn = torch.bernoulli(torch.sigmoid(self.b[i] + torch.sigmoid(a) @ self.V[i]))
            x[:, i] = torch.where(known[:, i], x[:, i], drawn)
            a, late = a + late, x[:, i, None] * self.W[i]
        return x


class Forgets(NADE):
    """Completions are plain samples, with what is known put over them."""

    def fill(self, x: Tensor, known: Tensor, *, member: int = 0) -> Tensor:
        return torch.where(known, x, super().fill(x, torch.zeros_like(known)))


class TakesTheBlockOnly(NADE):
    """The state at a block's first pixel has forgotten the blocks before."""

    def logits(self, x: Tensor, *, member: int = 0) -> Tensor:
        return super().logits(x * (torch.arange(6) % 3 < 2), member=member)


class NoBias(NADE):
    """c gets no gradient."""

    def logits(self, x: Tensor, *, member: int = 0) -> Tensor:
        c, self.c = self.c, torch.nn.Parameter(self.c.detach())
        found = super().logits(x, member=member)
        self.c = c
        return found


SMALL = {"hidden_size": 5}


@pytest.mark.parametrize(
    ("faulty", "settings", "said"),
    [
        (ReadsItself, {"hidden_size": 12}, "check_order: conditionals read pixels that don't come before theirs"),
        (MeanOfLogits, {"masks": 3, "order": "random"}, "check_total: the probabilities of all images sum to"),
        (ReadsBeforeItPredicts, SMALL, "check_order: conditionals read .*0 in 0, 1 in 1"),
        (OneBehind, SMALL, "check_draws: samples aren't from the density that is scored: chi-square"),
        (Forgets, SMALL, r"check_known_part: completions aren't from p\(missing | known\)"),
        (TakesTheBlockOnly, SMALL, "check_draws: samples aren't from the density"),
        (NoBias, SMALL, "check_every_gradient: no gradient reaches c"),
    ],
    ids=lambda v: v.__name__ if isinstance(v, type) else "",
)
def test_a_planted_fault_is_found(faulty: type[AutoregressiveModel], settings: dict[str, Any], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_image_model(lambda spec: faulty(spec, **settings))


# ---- against their equations


def nade_by_hand(model: NADE, x: Tensor) -> Tensor:
    """The recursion, image by image and pixel by pixel."""
    logits = torch.zeros_like(x)
    for image, row in zip(x, logits, strict=True):
        a = model.c
        for i in model.order().tolist():
            row[i] = model.b[i] + model.V[i] @ torch.sigmoid(a)
            a = a + model.W[i] * image[i]
    return logits


@pytest.mark.parametrize("name", ["nade", "nade-random"])
@pytest.mark.parametrize("size", [1, 2, 7, 30])
def test_nade_in_blocks_is_the_recursion(name: str, size: int) -> None:
    model = random_model(name, ObservationSpec("binary", size))
    assert isinstance(model, NADE)
    x = (torch.rand(9, size, generator=torch.Generator().manual_seed(0)) < 0.4).double()
    x[0], x[1] = 0, 1
    with torch.no_grad():
        torch.testing.assert_close(model.logits(x), nade_by_hand(model, x), rtol=1e-10, atol=1e-10)


def test_the_gradient_of_nade_is_that_of_differences() -> None:
    model = random_model("nade-random")
    x = all_images(6)[[3, 38, 63]]
    names, values = zip(*model.named_parameters(), strict=True)

    def logits(*given: Tensor) -> Tensor:
        return torch.func.functional_call(model, dict(zip(names, given, strict=True)), (images_of(x),))

    assert torch.autograd.gradcheck(logits, values)


@pytest.mark.parametrize("name", MODELS)
def test_each_conditional_reads_all_pixels_before_it(name: str) -> None:
    model = random_model(name)
    for member, place in enumerate(model.place):
        assert torch.equal(dependencies(model, member=member), place[:, None] > place)


def test_made_by_hand_with_masks_that_are_known() -> None:
    """D = 3, hidden degrees 1 and 2: the one reads x_1, the other x_1 and x_2."""
    model = MADE(ObservationSpec("binary", 3), hidden_size=2).double()
    with torch.no_grad():
        model.degrees.copy_(torch.tensor([[[1.0, 2.0]]]))
        for p in model.parameters():
            p.normal_()
    U, V, A = model.hidden[0].weight, model.output.weight, model.direct.weight  # type: ignore[union-attr]  # it has some
    c, b = model.hidden[0].bias, model.output.bias
    x = all_images(3)
    h = torch.relu(torch.stack([c[0] + U[0, 0] * x[:, 0], c[1] + x[:, :2] @ U[1, :2]], dim=1))
    by_hand = torch.stack(
        [b[0].expand(8), b[1] + V[1, 0] * h[:, 0] + A[1, 0] * x[:, 0], b[2] + h @ V[2] + x[:, :2] @ A[2, :2]], dim=1
    )
    torch.testing.assert_close(model.logits(x), by_hand)


def test_a_mixture_is_the_mean_of_its_members_and_trains_one_at_a_time() -> None:
    model, batch = random_model("made-masks"), images_of(all_images(6))
    members = [torch.distributions.Bernoulli(logits=model.logits(batch.x[:, 0], member=m)) for m in range(3)]
    each = torch.stack([member.log_prob(batch.x[:, 0]).sum(1) for member in members])
    torch.testing.assert_close(model.log_likelihood(batch).exp(), each.exp().mean(0))
    model.train()
    taken = {int((each - model.log_likelihood(batch)).abs().sum(1).argmin()) for _ in range(20)}
    assert taken == {0, 1, 2}


class OnOneDevice(TorchDispatchMode):
    """Refuses operations that give tensors on another device, within a `with` block."""

    def __init__(self, device: str):
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        assert all(v.device.type == self.device for v in tree_leaves(found) if isinstance(v, Tensor)), func
        return found


CAPTURABLE = [MADE, PixelCNN, PixelRNN, DARN, PixelVAE, partial(zf.DRAW, glimpses=2), zf.MatNet, DLGM, EoNADE]


@pytest.mark.parametrize("build", CAPTURABLE)
def test_what_a_cuda_graph_can_hold_never_waits_for_a_value(build: Any) -> None:
    """Tensors of device meta have no values."""
    model = build(ObservationSpec("binary", 16)).to("meta")
    assert model.capturable
    x = torch.zeros(3, 1, 16, device="meta")
    batch = zf.SequenceBatch(x, x.new_ones(3, dtype=torch.int64), x[:, 0])
    with OnOneDevice("meta"):
        draws = model.draw(batch)
        (draws.log_px - draws.kl).sum().backward()


@pytest.mark.parametrize("cls", [MADE, PixelCNN, PixelRNN, NADE, DARN, PixelVAE])
def test_a_cuda_graph_cannot_hold_what_asks_for_gaps(cls: Any) -> None:
    assert not cls(ObservationSpec("binary", 16, missing=True)).capturable


def test_a_cuda_graph_cannot_hold_a_mixture_whose_member_is_chosen_for_each_batch() -> None:
    assert not MADE(ObservationSpec("binary", 16), masks=2).capturable


@pytest.mark.parametrize("name", MODELS)
def test_what_is_drawn_has_no_gradient(name: str) -> None:
    model, x = random_model(name), all_images(6)[:2]
    known = torch.arange(6).expand(2, 6) < 0
    for drawn in (model.sample(2), model.complete(images_of(x, known))):
        assert not drawn.emission.log_prob(drawn.x).requires_grad


def test_a_mixture_completes_by_the_members_that_explain_what_is_known() -> None:
    """Of two members, x_2 is on with probability p by one and 1 - p by the other, and where it is on, so is x_3."""
    model = MADE(ObservationSpec("binary", 3), hidden_size=1, masks=2, direct=False)
    with torch.no_grad():
        model.degrees.copy_(torch.tensor([[[1.0]], [[2.0]]]))  # one is before x_2, the other reads it
        model.hidden[0].weight.copy_(torch.tensor([[0.0, -1.0, 0.0]]))
        model.hidden[0].bias.fill_(1.0)
        model.output.weight.copy_(torch.tensor([[0.0], [6.0], [6.0]]))
        model.output.bias.copy_(torch.tensor([0.0, -3.0, -3.0]))
    p, known = float(torch.sigmoid(torch.tensor(3.0))), torch.tensor([True, True, False]).expand(4000, 3)
    torch.manual_seed(0)
    drawn = model.complete(images_of(torch.tensor([[0.0, 1.0, 0.0]]).expand(4000, 3), known)).x[:, 0]
    assert float(drawn[:, 2].mean()) == pytest.approx(p**2 + (1 - p) ** 2, abs=4.5 * 0.5 / 4000**0.5)


def test_degrees_leave_no_hidden_unit_alone() -> None:
    torch.manual_seed(0)
    degrees = MADE(ObservationSpec("binary", 5), hidden_size=40, num_layers=2, masks=4).degrees
    assert degrees.unique().tolist() == [1, 2, 3, 4]
    assert bool((degrees[:, 1].amin(-1) >= degrees[:, 0].amin(-1)).all())


# ---- output biases


def bits(n: int, size: int = 6, seed: int = 0, **given: Any) -> zf.Sequences:
    x = (np.random.default_rng(seed).random((n, 1, size)) < 0.3).astype(np.float32)
    x[:, :, 0] = 0  # never on
    return zf.Sequences(list(x), kind="binary", **given)


def test_output_biases_are_the_marginals_with_half_a_count() -> None:
    data = bits(50)
    ones = np.stack([data[i].x[0] for i in range(50)]).sum(0)
    expected = torch.tensor(np.log((ones + 0.5) / (50 - ones + 0.5)), dtype=torch.float64)
    torch.testing.assert_close(marginal_logits(data), expected)
    torch.testing.assert_close(NADE.for_data(data, hidden_size=3).b.detach(), expected)
    torch.testing.assert_close(MADE.for_data(data, hidden_size=3).output.bias.detach(), expected)
    assert expected[0] == pytest.approx(np.log(0.5 / 50.5))


@pytest.mark.parametrize(
    ("cls", "settings", "biases"),
    [
        (DARN, {"latent_size": 2}, ["c"]),
        (DBN, {"hidden_size": 2, "top_size": 2}, ["b", "pixel_logits"]),
        (DLGM, {"latent_size": 2, "hidden_size": 2}, ["output.bias"]),
        (EoNADE, {"hidden_size": 2}, ["output.bias"]),
        (PixelCNN, {"channels": 2, "width": 3}, ["b"]),
        (PixelRNN, {"hidden_size": 2, "width": 3}, ["b"]),
    ],
)
def test_every_model_begins_at_the_marginals(cls: Any, settings: dict[str, Any], biases: list[str]) -> None:
    data = bits(50)
    found = cls.for_data(data, **settings).state_dict()
    for name in biases:
        torch.testing.assert_close(found[name], marginal_logits(data), msg=name)


def test_what_draw_writes_at_first_leaves_the_canvas_near_the_marginals() -> None:
    data = bits(50)
    torch.manual_seed(0)
    model = zf.DRAW.for_data(data, latent_size=4, hidden_size=64, read_size=3, write_size=3, width=3)
    canvas = model.logits(torch.randn(200, model.latent_size)).mean(0)
    torch.testing.assert_close(canvas, marginal_logits(data).to(canvas.dtype), atol=0.3, rtol=0)


def test_missing_pixels_count_neither_way() -> None:
    x = np.array([[[1.0]], [[np.nan]], [[0.0]], [[1.0]]], dtype=np.float32)
    data = zf.Sequences(list(x), kind="binary", missing=True)
    torch.testing.assert_close(marginal_logits(data), torch.tensor([np.log(2.5 / 1.5)]))


# ---- the house around them


@pytest.mark.parametrize("name", ["made-masks", "nade"])
def test_it_is_fitted_evaluated_saved_and_drawn_from(name: str, tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float32)
    cls, settings = MODELS[name]
    train, valid = bits(60), bits(30, seed=1)
    torch.manual_seed(0)
    model = cls.for_data(train, **settings)
    history = zf.fit(model, train, valid, epochs=2, batch_size=20, learning_rate=0.01, progress=False)
    assert history.best is not None
    found = zf.evaluate(model, valid, bound=zf.Exact(), baselines=train)
    assert found.kind == "exact"
    assert found.nats_per_sequence == pytest.approx(zf.evaluate(model, valid, bound=zf.IWAE(3)).nats_per_sequence)
    assert [score.name for score in found.baselines] == ["independent Bernoulli"]
    zf.save(tmp_path / "m", model)
    loaded = zf.load(tmp_path / "m")
    assert zf.evaluate(loaded, valid).nats_per_sequence == found.nats_per_sequence
    one, other = (zf.sample(m, 9, seed=2) for m in (model, loaded))
    assert torch.equal(one.x, other.x)
    assert one.x.shape == (9, 1, 6)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: NADE(ObservationSpec("real", 3)), "model nade is of binary images without inputs"),
        (lambda: NADE(ObservationSpec("binary", 3), hidden_sizes=3), "model nade has no setting hidden_sizes"),
        (lambda: MADE(ObservationSpec("binary", 3), order="spiral"), "model.order is 'spiral'; it must be raster or"),
        (
            lambda: zf.evaluate(NADE(ObservationSpec("binary", 1)), zf.Sequences([[[0.0], [1.0]]], kind="binary")),
            "nade reads an image as one observation; these are sequences of 2 steps",
        ),
        (
            lambda: NADE(SPEC)(images_of(torch.zeros(2, 6), torch.tensor([[True] * 6, [True, False, True] * 2]))),
            "nade draws pixels in its own order.*row 1 of the batch has a gap before that",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(ask: Any, said: str) -> None:
    torch.set_default_dtype(torch.float32)
    with pytest.raises(UserError, match=said) as caught:
        ask()
    assert "\n" not in str(caught.value)


def test_gaps_behind_what_is_known_are_drawn_from_their_probabilities() -> None:
    torch.set_default_dtype(torch.float32)
    model = random_model("nade").float()
    x = np.array([[[1, 0, 1, np.nan, np.nan, np.nan]], [[1.0] * 6]], dtype=np.float32)
    found = zf.impute(model, zf.Sequences(list(x), kind="binary"), particles=4000)
    assert (found.kind, found.num_missing, found.effective_draws) == ("4000 independent draws", 3, 4000)
    images = all_images(6)
    fits = (images[:, :3] == torch.tensor([1, 0, 1])).all(1)
    p = model.double().log_likelihood(images_of(images)).exp() * fits
    expected = (p[:, None] * images).sum(0) / p.sum()
    assert np.abs(found.mean[0][0] - expected.detach().numpy()).max() < 4 * 0.5 / 4000**0.5
    assert found.mean[1].tolist() == [[1.0] * 6]


def test_gaps_that_a_model_cannot_fill_are_refused() -> None:
    torch.set_default_dtype(torch.float32)
    gap = zf.Sequences([np.array([[np.nan, 0, 1, 0, 0, 0]], np.float32)], kind="binary")
    with pytest.raises(UserError, match="made draws pixels in its own order"):
        zf.impute(random_model("made").float(), gap)
    with pytest.raises(UserError, match="binary_vae has no time steps, and doesn't say how to draw a part"):
        zf.impute(vae(), zf.Sequences([np.array([[np.nan, 0, 1]], np.float32)], kind="binary"))
    with pytest.raises(UserError, match="nade has no time steps; these are sequences of up to 2"):
        zf.impute(random_model("nade").float(), zf.Sequences([np.ones((2, 6), np.float32)], kind="binary"))
