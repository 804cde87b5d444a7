"""Moves of latents and momenta, by which a posterior is refined: each can be undone, and keeps volumes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..models.density import DensityModel
from ..models.images import DLGM
from .comparison import assert_same, require
from .image_check import all_images, image_check

Move = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def assert_reversible(move: Move, z: Tensor, v: Tensor) -> None:
    """Require that a move from (z, v), [n, Z] float64 each, followed by one with the momentum turned leads back, and
    that its Jacobian at the first row has the determinant 1 or -1: log q of what was moved has no other term.
    """
    with torch.no_grad():
        moved, momentum = move(z, v)
        back_z, back_v = move(moved, -momentum)
    assert_same(back_z, z, "with the momentum turned, z isn't led back")
    assert_same(-back_v, v, "with the momentum turned, v isn't led back")
    size = z.shape[1]
    jacobian = torch.autograd.functional.jacobian(
        lambda s: torch.cat(move(s[None, :size], s[None, size:]), dim=1)[0], torch.cat([z[0], v[0]])
    )
    volume = abs(float(torch.linalg.det(jacobian)))
    require(abs(volume - 1) < 1e-10, f"a move changes volumes by a factor of {volume:.6g}")


@image_check
def check_moves(model: DensityModel) -> None:
    """Check that leapfrog steps can be undone, and keep volumes; other models pass."""
    if not isinstance(model, DLGM) or not model.steps:
        return
    x = all_images(model.spec.size)[[11 % 2**model.spec.size]]
    z, v = torch.randn(2, 5, model.size_of_z, dtype=x.dtype)

    def move(z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        images = x.expand(len(z), -1)
        return model.move(images, torch.ones_like(images, dtype=torch.bool), z, v)

    assert_reversible(move, z, v)
