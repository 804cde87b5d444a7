"""What `zforcing` gives, each name once. The package asks for it when a name is used, not when it is imported."""

from __future__ import annotations

from importlib.metadata import version

from .bounds import AIS, ELBO, FIVO, IWAE, BoundResult, Chib, Exact, Importance, Orders, Weights
from .data import Sequences
from .errors import UserError
from .evaluation.compared import Comparison, compare
from .evaluation.detection import detection
from .evaluation.evaluation import Evaluation
from .evaluation.forecasts import ForecastTable, evaluate_forecast
from .evaluation.latents import latents_report
from .evaluation.latents_report import LatentsReport
from .evaluation.likelihood import evaluate
from .exporting.export import Exported, export
from .models import (
    DARN,
    DBN,
    DLGM,
    DRAW,
    MADE,
    MODELS,
    NADE,
    RNN,
    SRNN,
    VRNN,
    DARNConfig,
    DBNConfig,
    DensityModel,
    DLGMConfig,
    DRAWConfig,
    Draws,
    EoNADE,
    EoNADEConfig,
    Generated,
    LinearGaussian,
    LinearGaussianConfig,
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
    RNNConfig,
    SequenceModel,
    SRNNConfig,
    VRNNConfig,
    ZForcing,
    ZForcingConfig,
)
from .observations import DataDescription, ObservationSpec, SequenceBatch
from .registry import register
from .saving.model import load, save
from .sharing.folder import Shared, share
from .sharing.hub import from_pretrained, push_to_hub
from .tasks.continuation import continue_from
from .tasks.encode import encode
from .tasks.encoded import Encoded
from .tasks.forecast import forecast
from .tasks.forecasts import Forecast
from .tasks.imputation import Imputation
from .tasks.impute import impute
from .tasks.interpolate import Interpolation, interpolate
from .tasks.reconstruct import reconstruct
from .tasks.reconstruction import Reconstruction
from .tasks.sample import sample
from .tasks.score import score
from .tasks.scores import Scores, Threshold
from .tasks.stream import Stream, stream
from .training.callbacks import Callback
from .training.fit import fit
from .training.history import History
from .training.loop import Diverged
from .training.players import Player, Professor
from .training.players.player import Play
from .training.schedules import Schedule, WeightSchedules
from .training.trackers import Tracker

__version__ = version("zforcing")
__all__ = [
    "AIS",
    "DARN",
    "DBN",
    "DLGM",
    "DRAW",
    "ELBO",
    "FIVO",
    "IWAE",
    "MADE",
    "MODELS",
    "NADE",
    "RNN",
    "SRNN",
    "VRNN",
    "BoundResult",
    "Callback",
    "Chib",
    "Comparison",
    "DARNConfig",
    "DBNConfig",
    "DLGMConfig",
    "DRAWConfig",
    "DataDescription",
    "DensityModel",
    "Diverged",
    "Draws",
    "Encoded",
    "EoNADE",
    "EoNADEConfig",
    "Evaluation",
    "Exact",
    "Exported",
    "Forecast",
    "ForecastTable",
    "Generated",
    "History",
    "Importance",
    "Imputation",
    "Interpolation",
    "LatentsReport",
    "LinearGaussian",
    "LinearGaussianConfig",
    "MADEConfig",
    "MatNet",
    "MatNetConfig",
    "NADEConfig",
    "ObservationSpec",
    "Orders",
    "PixelCNN",
    "PixelCNNConfig",
    "PixelRNN",
    "PixelRNNConfig",
    "PixelVAE",
    "PixelVAEConfig",
    "Play",
    "Player",
    "Professor",
    "RNNConfig",
    "Reconstruction",
    "SRNNConfig",
    "Schedule",
    "Scores",
    "SequenceBatch",
    "SequenceModel",
    "Sequences",
    "Shared",
    "Stream",
    "Threshold",
    "Tracker",
    "UserError",
    "VRNNConfig",
    "WeightSchedules",
    "Weights",
    "ZForcing",
    "ZForcingConfig",
    "__version__",
    "compare",
    "continue_from",
    "detection",
    "encode",
    "evaluate",
    "evaluate_forecast",
    "export",
    "fit",
    "forecast",
    "from_pretrained",
    "impute",
    "interpolate",
    "latents_report",
    "load",
    "push_to_hub",
    "reconstruct",
    "register",
    "sample",
    "save",
    "score",
    "share",
    "stream",
]
