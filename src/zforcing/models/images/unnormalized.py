"""What a model that knows p(x, h) up to a constant Z says of a batch."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Unnormalized(NamedTuple):
    """Latents [K B, 1, H] of K draws for each of B images, and terms [K B] float64, in nats."""

    latents: Tensor
    log_px: Tensor
    """log p(what is known of x | h)"""
    log_prior: Tensor
    """log p(h) + log Z"""
    log_q: Tensor
    """log q(h | x)"""


class Learned(NamedTuple):
    """What a batch of training gives."""

    terms: Unnormalized
    loss: Tensor
    """[B], whose gradient is that of (persistent) contrastive divergence"""
    log_z: Tensor
    """log Z as last estimated, []"""
