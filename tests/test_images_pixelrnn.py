"""PixelRNN: the diagonal scan against a recursion pixel by pixel, all images of a few pixels, and planted faults."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from zforcing import ObservationSpec, PixelRNN, UserError
from zforcing.models.images import AutoregressiveModel
from zforcing.models.images.diagonal import DiagonalBiLSTM, RowByRow, along_diagonals, sizes
from zforcing.testing import all_images, check_image_model, dependencies, images_of

SMALL: dict[str, Any] = {"hidden_size": 2, "num_layers": 2, "head_size": 3, "width": 3}


def pixelrnn(size: int, **changed: Any) -> PixelRNN:
    torch.manual_seed(1)
    model = PixelRNN(ObservationSpec("binary", size), **{**SMALL, **changed}).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_()
    return model


@pytest.mark.slow
def test_pixelrnn_keeps_the_contract() -> None:
    check_image_model(lambda spec: PixelRNN(spec, **SMALL))


@torch.no_grad()
def test_the_probabilities_of_all_images_sum_to_1() -> None:
    model = pixelrnn(9)
    assert float(model.log_likelihood(images_of(all_images(9))).exp().sum()) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("width", [4, 2])
def test_each_conditional_reads_all_pixels_before_it_and_no_other(width: int) -> None:
    model = pixelrnn(8, width=width, num_layers=1, hidden_size=4, head_size=8)
    assert torch.equal(dependencies(model), torch.ones(8, 8).tril(-1).bool())


def pixel_by_pixel(layer: DiagonalBiLSTM, a: Tensor) -> Tensor:
    """Both directions [2, R, W, h] of one image's features [R, W, 2 h], by the equations."""
    rows, columns, size = a.shape[0], a.shape[1], layer.h0.shape[-1]
    found = a.new_zeros(2, rows, columns, size)
    for k, towards in enumerate((range(columns), range(columns - 1, -1, -1))):
        V, W = layer.VW[k].chunk(2)
        h0, c0, inputs = layer.h0[k, 0, 0], layer.c0[k, 0, 0], layer.U(a).chunk(2, -1)[k]
        for r in range(rows):
            h, c = h0, c0
            for s in towards:
                above = h0 if r == 0 else found[k, r - 1, s]
                i, f, o, g = (inputs[r, s] + h @ V + above @ W).chunk(4)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = found[k, r, s] = o.sigmoid() * c.tanh()
    return found


@torch.no_grad()
@pytest.mark.parametrize(("rows", "columns"), [(4, 3), (2, 5), (1, 3), (3, 1)])
def test_the_diagonal_scan_is_the_recursion_pixel_by_pixel(rows: int, columns: int) -> None:
    torch.manual_seed(0)
    layer = DiagonalBiLSTM(2).double()
    for p in layer.parameters():
        p.normal_()
    a = torch.randn(rows, columns, 3, 4).double()
    expected = []
    for image in a.unbind(2):
        left, right = pixel_by_pixel(layer, image)
        right = torch.cat([torch.zeros_like(right[:1]), right[:-1]])
        expected.append(layer.up(left + right))
    torch.testing.assert_close(layer(a), torch.stack(expected, dim=2))


def test_pixels_along_diagonals_are_in_their_order() -> None:
    assert along_diagonals(2, 3).tolist() == [0, 1, 3, 2, 4, 5]
    assert (sizes(2, 3), sizes(3, 2)) == ([1, 2, 2, 1], [1, 2, 2, 1])


@torch.no_grad()
@pytest.mark.parametrize(("size", "width"), [(12, 4), (12, 2)])  # and more rows than the first convolution reads
def test_pixels_drawn_step_by_step_are_those_drawn_by_whole_passes(size: int, width: int) -> None:
    model = pixelrnn(size, width=width)
    x = (torch.rand(20, size) < 0.5).double()
    for first in (0, 5):
        known = torch.arange(size).expand(20, size) < first
        torch.manual_seed(0)
        fast = model.fill(x, known)
        torch.manual_seed(0)
        assert torch.equal(fast, AutoregressiveModel.fill(model, x, known))
        assert torch.equal(fast[known], x[known])


# ---- faults that the checks find


class ReadsToTheRight(PixelRNN):
    """The states from the right aren't moved down."""

    def logits(self, x: Tensor, *, member: int = 0) -> Tensor:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("zforcing.models.images.diagonal.down", lambda h: h)
            return super().logits(x)


class ReadsItself(PixelRNN):
    """Mask A is a mask B: the pixel's own column is read."""

    def before(self, x: Tensor) -> Tensor:
        return super().before(x) + x


class ForgetsTheRowsAbove(PixelRNN):
    """The sampler's layers begin each row as if it were the first."""

    def fill(self, x: Tensor, known: Tensor, *, member: int = 0) -> Tensor:
        def forget(of: RowByRow) -> None:
            of.__init__(of.layer, of.columns, of.above.shape[2])  # type: ignore[misc]  # that is the fault

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RowByRow, "end_row", forget)
            return super().fill(x, known)


@pytest.mark.parametrize(
    ("faulty", "said"),
    [
        (ReadsToTheRight, "check_order: conditionals read .*: 0 in 0, 1 in 0"),
        (ReadsItself, "check_order: conditionals read .*: 0 in 0, 1 in 1"),
        pytest.param(
            ForgetsTheRowsAbove,
            "check_draws: samples aren't from the density that is scored",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_planted_fault_is_found(faulty: Any, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_image_model(lambda spec: faulty(spec, **SMALL))


# ---- what a user meets


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(UserError, match="an image of 8 pixels isn't 3 columns wide"):
        PixelRNN(ObservationSpec("binary", 8), width=3)


def test_a_gap_before_what_is_known_is_refused() -> None:
    known = torch.tensor([[True, False, True, True, True, True]])
    with pytest.raises(UserError, match="row 0 of the batch has a gap before that"):
        pixelrnn(6)(images_of(torch.zeros(1, 6).double(), known))
