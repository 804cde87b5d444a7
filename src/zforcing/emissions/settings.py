"""The settings of emissions, which all models share."""

from __future__ import annotations

from dataclasses import dataclass

from ..settings import Count, NotNegative, Positive


@dataclass(frozen=True)
class EmissionSettings:
    """Which distribution p(x_t | .) is. The `Config` of a model inherits these settings."""

    components: Count = 1
    """real data: Gaussians in the mixture, each over the whole of x_t; quantized data: logistics for each number;
    mixed data: Gaussians for each real or positive column"""
    autoregressive: bool = False
    """each number of x_t also depends on those before it in x_t (a masked network); `components` are for each number"""
    autoregressive_size: Count = 512
    """autoregressive: hidden units of the masked network"""
    logit_clamp: Positive | None = None
    """binary data and columns: the logits are clamped to plus or minus this (8 in the Z-Forcing authors' MNIST code);
    null: not"""
    min_std: NotNegative = 0.0
    """real data, real and positive columns: the smallest standard deviation of an emission, in units of the normalized
    data"""
    min_scale: Positive = 0.1
    """quantized data: the smallest scale of a logistic, in steps between levels"""
