"""Density models of binary images without a loop over time: an image is one observation of D pixels."""

from .autoregressive import AutoregressiveModel
from .made import MADE, MADEConfig
from .marginals import marginal_logits
from .nade import NADE, NADEConfig

__all__ = ["MADE", "NADE", "AutoregressiveModel", "MADEConfig", "NADEConfig", "marginal_logits"]
