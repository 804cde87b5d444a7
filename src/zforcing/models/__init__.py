"""Stochastic recurrent networks and their baselines.

`MODELS` holds them by the name that recipes and the command line use. `DensityModel` is the base class of them all,
`SequenceModel` that of those with time steps.
"""

from __future__ import annotations

from ..registry import Family
from .contract import Resample
from .density import DensityModel, Draws, Generated
from .images import (
    DARN,
    DBN,
    DLGM,
    DRAW,
    MADE,
    NADE,
    DARNConfig,
    DBNConfig,
    DLGMConfig,
    DRAWConfig,
    EoNADE,
    EoNADEConfig,
    MADEConfig,
    MatNet,
    MatNetConfig,
    NADEConfig,
    PixelCNN,
    PixelCNNConfig,
    PixelRNN,
    PixelRNNConfig,
    PixelVAE,
    PixelVAEConfig,
)
from .linear_gaussian import LinearGaussian, LinearGaussianConfig
from .rnn import RNN, RNNConfig
from .sequence import SequenceModel, of_sequences
from .srnn import SRNN, SRNNConfig
from .state import State, map_state, where_rows
from .unroll import Unroll
from .vrnn import VRNN, VRNNConfig
from .zforcing import ZForcing, ZForcingConfig

MODELS: Family[DensityModel] = Family(
    "model",
    DensityModel,
    classes=(
        RNN,
        ZForcing,
        VRNN,
        SRNN,
        LinearGaussian,
        MADE,
        NADE,
        DARN,
        DBN,
        DLGM,
        DRAW,
        EoNADE,
        MatNet,
        PixelCNN,
        PixelRNN,
        PixelVAE,
    ),
    settings="Config",
)
__all__ = [
    "DARN",
    "DBN",
    "DLGM",
    "DRAW",
    "MADE",
    "MODELS",
    "NADE",
    "RNN",
    "SRNN",
    "VRNN",
    "DARNConfig",
    "DBNConfig",
    "DLGMConfig",
    "DRAWConfig",
    "DensityModel",
    "Draws",
    "EoNADE",
    "EoNADEConfig",
    "Generated",
    "LinearGaussian",
    "LinearGaussianConfig",
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
    "RNNConfig",
    "Resample",
    "SRNNConfig",
    "SequenceModel",
    "State",
    "Unroll",
    "VRNNConfig",
    "ZForcing",
    "ZForcingConfig",
    "map_state",
    "of_sequences",
    "where_rows",
]
