"""What the checks of models of binary images share: how one runs, and batches of images."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor

from ..models.density import DensityModel
from ..observations import SequenceBatch
from .comparison import checking
from .listing import all_bits

ImageCheck = Callable[[DensityModel], None]


def image_check(check: ImageCheck) -> ImageCheck:
    """Decorate a check of a model: it runs within `checking`, under its own name."""

    @wraps(check)
    def run(model: DensityModel) -> None:
        with checking(check.__name__, model):
            check(model)

    return run


def images_of(pixels: Tensor, known: Tensor | None = None) -> SequenceBatch:
    """Images [n, D], of which some pixels may be known only, as a batch of observations of one step."""
    n = len(pixels)
    observed = None if known is None else known[:, None]
    return SequenceBatch(pixels[:, None], torch.ones(n, dtype=torch.int64), torch.zeros_like(pixels), observed)


def all_images(size: int) -> Tensor:
    """Every binary vector of D pixels, [2^D, D] float64, in the order of the binary numbers."""
    return all_bits(size)
