"""How often each pixel is on in the training images: where output biases begin."""

from __future__ import annotations

import torch
from torch import Tensor

from ..density import Examples

PSEUDO_COUNT = 0.5


@torch.no_grad()
def set_to_marginals(biases: Tensor, data: Examples) -> None:
    """Set output biases [D] to `marginal_logits` of training sequences: where the models of images begin."""
    biases.copy_(marginal_logits(data))


def marginal_logits(data: Examples, *, pseudo_count: float = PSEUDO_COUNT) -> Tensor:
    """log((ones + c) / (zeros + c)) of each number of an observation over all training sequences and steps.

    The pseudo-count c keeps them finite: 97 pixels of binarized MNIST are on in no training image, and some of those
    in a test image, whose probability would be 0. Missing numbers don't count.

    Args:
        data: Training sequences of binary observations.
        pseudo_count: c.

    Returns:
        Tensor [D] in torch's default dtype.
    """
    size = data[0].x.shape[1]
    ones, seen = torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    for index in range(len(data)):
        example = data[index]
        x = torch.from_numpy(example.x)
        observed = torch.ones_like(x) if example.observed is None else torch.from_numpy(example.observed)
        ones += torch.where(observed > 0, x, 0.0).sum(0)
        seen += observed.sum(0)
    return ((ones + pseudo_count) / (seen - ones + pseudo_count)).log().to(torch.get_default_dtype())
