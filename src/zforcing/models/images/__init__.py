"""Density models of binary images without a loop over time: an image is one observation of D pixels."""

from .autoregressive import AutoregressiveModel
from .darn import DARN, DARNConfig
from .dbn import DBN, DBNConfig
from .dlgm import DLGM, DLGMConfig
from .draw import DRAW, DRAWConfig
from .eonade import EoNADE, EoNADEConfig
from .independent import IndependentPixels
from .latent import LatentImageModel
from .made import MADE, MADEConfig
from .marginals import marginal_logits
from .matnet import MatNet, MatNetConfig
from .nade import NADE, NADEConfig
from .pixelcnn import PixelCNN, PixelCNNConfig
from .pixelrnn import PixelRNN, PixelRNNConfig
from .pixelvae import PixelVAE, PixelVAEConfig

__all__ = [
    "DARN",
    "DBN",
    "DLGM",
    "DRAW",
    "MADE",
    "NADE",
    "AutoregressiveModel",
    "DARNConfig",
    "DBNConfig",
    "DLGMConfig",
    "DRAWConfig",
    "EoNADE",
    "EoNADEConfig",
    "IndependentPixels",
    "LatentImageModel",
    "MADEConfig",
    "MatNet",
    "MatNetConfig",
    "NADEConfig",
    "PixelCNN",
    "PixelCNNConfig",
    "PixelRNN",
    "PixelRNNConfig",
    "PixelVAE",
    "PixelVAEConfig",
    "marginal_logits",
]
