"""RNN: the deterministic baseline, an autoregressive LSTM. Its likelihood is exact.

h_t = LSTM([e(x_{t-1}), u_t], h_{t-1});   p(x_t | x_<t) = emission(h_t);   u_t: known inputs, if the data has some

    e(x_{t-1}) -> h_t -> x_t         with `output_skip` the emission reads e(x_{t-1}) too
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import no_latent
from ..emissions import EmissionSettings, make_emission
from ..nn import Embedder, FeatureNet, HiddenLayers, Readout, initialize_lstm, initialize_uniform, join, lstm_step
from ..observations import ObservationSpec, SequenceBatch
from ..settings import Count, Positive, Probability, check
from .sequence import SequenceModel
from .state import State


@dataclass(frozen=True)
class RNNConfig(EmissionSettings):
    """Settings of the RNN."""

    hidden_size: Count = 256
    """units of the LSTM, in each layer"""
    embedding_size: Count = 128
    """size of e(x)"""
    num_layers: Count = 1
    """layers of the LSTM"""
    feature_layers: Count | None = None
    """ReLU layers of `embedding_size` units between x and the LSTM, and as many before the emission (4 in the VRNN
    paper's RNN-Gauss); null: e(x) is linear, and the emission reads the state"""
    dropout: Probability = 0.0
    """probability of dropping an entry of e(x), of h_t between layers and of the emission's features, in training"""
    output_skip: bool = True
    """whether the emission reads e(x_{t-1}) too, as Z-Forcing's does"""
    forget_bias: float = 0.0
    """initial bias of the forget gate"""
    activation_clamp: Positive | None = 3.0
    """the leaky ReLU is clamped to plus or minus this; null: not clamped"""
    init_range: Positive | None = None
    """weights begin uniform within plus or minus this, biases at 0: the authors of RNN-Gauss take 0.08, for layers of
    600 and more; null: PyTorch's usual ones"""

    def __post_init__(self) -> None:
        check(self, "model")


class RNNState(NamedTuple):
    """The state of `RNN`."""

    h: Tensor  # [n, L, H], hidden state of each layer
    c: Tensor  # [n, L, H], cell of each layer
    e: Tensor  # [n, E], e(x_{t-1}), the last observation embedded


class RNN(SequenceModel):
    """An autoregressive LSTM: h_t = LSTM(e(x_{t-1}), h_{t-1}), p(x_t | x_<t) = emission(h_t).

    S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997. With a Gaussian emission and `feature_layers` it is
    RNN-Gauss of J. Chung et al., "A recurrent latent variable model for sequential data", NIPS 2015, arXiv 1506.02216;
    with a mixture, RNN-GMM.

    Args:
        spec: What one observation is.
        config: The settings.
    """

    name = "rnn"
    paper = 'S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997'
    Config = RNNConfig

    def __init__(self, spec: ObservationSpec, config: RNNConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config)
        layers = config.feature_layers
        self.embed = Embedder(spec, config.embedding_size, dropout=0.0 if layers else config.dropout)
        self.embed_layers: nn.Module = nn.Identity()
        self.output_layers: nn.Module = nn.Identity()
        features = config.hidden_size
        if layers:
            relus: dict[str, Any] = {"layers": layers, "slope": 0.0, "activation_limit": None}
            features = config.embedding_size
            self.embed_layers = nn.Sequential(HiddenLayers(features, **relus), nn.Dropout(config.dropout))
            self.output_layers = FeatureNet(config.hidden_size, features, **relus)
        between = config.dropout if config.num_layers > 1 else 0.0
        self.lstm = nn.LSTM(
            config.embedding_size + spec.inputs,
            config.hidden_size,
            config.num_layers,
            batch_first=True,
            dropout=between,
        )
        initialize_lstm(self.lstm, forget_bias=config.forget_bias)
        self.readout = Readout(
            config.hidden_size,
            config.embedding_size,
            skip=config.output_skip,
            dropout=config.dropout,
            activation_limit=config.activation_clamp,
        )
        self.emission_net = make_emission(spec, features, config)
        if config.init_range is not None:
            initialize_uniform(self, config.init_range)

    @property
    def latent_size(self) -> int:
        """0: there is no latent."""
        return 0

    def initial_state(self, n: int, *, start: Tensor | None = None) -> RNNState:
        """h_0 = c_0 = 0."""
        weight = self.lstm.all_weights[0][1]
        zeros = weight.new_zeros(n, self.config.num_layers, self.config.hidden_size)
        x = self.spec.blank(n, device=weight.device, dtype=weight.dtype) if start is None else start
        return RNNState(zeros, zeros, self._embed(x))

    def encode(self, batch: SequenceBatch, *, state: State | None = None) -> Tensor:
        """An empty context, [B, T, 0]."""
        return self.lstm.all_weights[0][1].new_zeros(*batch.x.shape[:2], 0)

    def after_inputs(self, state: RNNState, u: Tensor | None) -> RNNState:
        """h_t = LSTM([e(x_{t-1}), u_t], h_{t-1}), layer by layer."""
        h, c = state.h.unbind(1), state.c.unbind(1)
        hs, cs, read = [], [], join(state.e, u)
        for layer in range(self.config.num_layers):  # cuDNN's dropout between layers ignores the seed in a CUDA graph
            below = F.dropout(read, self.lstm.dropout, self.training) if layer else read
            read, cell = lstm_step(self.lstm, below, h[layer], c[layer], layer=layer)
            hs.append(read)
            cs.append(cell)
        return state._replace(h=torch.stack(hs, dim=1), c=torch.stack(cs, dim=1))

    def prior(self, state: RNNState) -> Distribution:
        """The distribution of a latent of size 0."""
        return no_latent(state.h[:, -1])

    def posterior(self, state: RNNState, context: Tensor) -> Distribution:
        """The distribution of a latent of size 0."""
        return no_latent(state.h[:, -1])

    def after_latent(self, state: RNNState, z: Tensor) -> RNNState:
        """The same state: z_t is empty."""
        return state

    def emission(self, state: RNNState) -> Distribution:
        """p(x_t | x_<t)."""
        out: Distribution = self.emission_net(self.output_layers(self.readout(state.h[:, -1], state.e)))
        return out

    def after_observation(self, state: RNNState, x: Tensor) -> RNNState:
        """The state remembers e(x_t) for the next step."""
        return state._replace(e=self._embed(x))

    def _embed(self, x: Tensor) -> Tensor:
        """e(x), [n, E]."""
        embedded: Tensor = self.embed_layers(self.embed(x))
        return embedded
