r"""VRNN: an LSTM that reads each observation together with the latent that generated it.

J. Chung, K. Kastner, L. Dinh, K. Goel, A. Courville, Y. Bengio, "A recurrent latent variable model for sequential
data", NIPS 2015, arXiv 1506.02216, equations 5 to 11.

    prior       p(z_t | .) = N(f_p(h_{t-1})), or N(0, I) (`prior: standard`, the paper's VRNN-I)
    posterior   q(z_t | .) = N(f_q([phi_x(x_t), h_{t-1}]))
    emission    p(x_t | .) = f_o([phi_z(z_t), h_{t-1}])
    state       h_t = LSTM([phi_x(x_t), phi_z(z_t)], h_{t-1})
    inputs      u_t, if the data has some, stands beside h_{t-1} in each of these: f_p([h_{t-1}, u_t]),
                f_q([phi_x(x_t), h_{t-1}, u_t]), f_o([phi_z(z_t), h_{t-1}, u_t]), LSTM([phi_x(x_t), phi_z(z_t), u_t], .)

         .------> z_t ------.
        /          |         v
    h_{t-1} -------|-------> h_t          the posterior of z_t reads x_t too
        \          v         ^
         `------> x_t ------'

phi_x, phi_z, f_p, f_q and f_o have `mlp_layers` hidden ReLU layers each; the outputs of phi_x and phi_z, and the
features that the emission reads, are the last hidden layer.

Differences from the paper:
- Standard deviations are exp(log_variance / 2), as in all models here; the paper has a softplus.
- h_0 = 0 if every observation is scored. If the first one is conditioned on, it is read and has no latent:
  h_0 = LSTM([phi_x(x_0), 0], 0), with u_0 = 0.
- The default sizes are those of the authors' code for speech (600 and 500 units in the MLPs); the paper chose sizes for
  each data set and model so that all have about as many parameters.
- phi_x begins with the embedding that all models here share, which handles categories and missing values.
- Weights begin as PyTorch's, unless `init_range` is given; the authors' begin uniform in [-0.08, 0.08]. Their code also
  keeps the norms of columns of weights below 1.9365.
- Dropout on phi_x(x) and on the emission's features is an addition; 0 by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import diagonal_gaussian
from ..emissions import EmissionSettings, make_emission
from ..nn import Embedder, FeatureNet, GaussianHead, HiddenLayers, initialize_lstm, initialize_uniform, join, lstm_step
from ..observations import ObservationSpec, SequenceBatch
from ..settings import Count, Positive, Probability, check
from .sequence import SequenceModel
from .state import State


@dataclass(frozen=True)
class VRNNConfig(EmissionSettings):
    """Settings of the VRNN."""

    hidden_size: Count = 2000
    """units of the LSTM"""
    latent_size: Count = 200
    """size of z_t"""
    feature_size: Count = 600
    """units of each layer of phi_x, the features of x, and of the emission's MLP"""
    mlp_size: Count = 500
    """units of each layer of phi_z, the features of z, and of the prior's and posterior's MLPs"""
    mlp_layers: Count = 4
    """hidden layers of each MLP"""
    prior: Literal["conditional", "standard"] = "conditional"
    """p(z_t | .): an MLP of h_{t-1}, or N(0, I) at every step (the paper's VRNN-I)"""
    forget_bias: float = 0.0
    """initial bias of the forget gate"""
    dropout: Probability = 0.0
    """probability of dropping an entry of phi_x(x) and of the emission's features, in training"""
    latent_clamp: Positive | None = None
    """means and log-variances of prior and posterior are clamped to plus or minus this; null: not clamped"""
    init_range: Positive | None = None
    """weights begin uniform within plus or minus this, biases at 0: the authors take 0.08, for layers of 500 and more;
    null: PyTorch's usual ones"""

    def __post_init__(self) -> None:
        check(self, "model")


class VRNNState(NamedTuple):
    """The state of `VRNN`."""

    h: Tensor  # [n, H], hidden state of the LSTM
    c: Tensor  # [n, H], its cell
    z_features: Tensor  # [n, M], phi_z(z_t), of the last latent
    u: Tensor  # [n, U], u_t once step t has begun


class VRNN(SequenceModel):
    """The variational recurrent neural network (Chung et al., 2015), with a learned or a standard normal prior.

    The module's docstring has its equations and the differences from the paper.

    Args:
        spec: What one observation is.
        config: The settings.
    """

    name = "vrnn"
    paper = (
        "J. Chung, K. Kastner, L. Dinh, K. Goel, A. Courville, Y. Bengio, "
        '"A Recurrent Latent Variable Model for Sequential Data", NIPS 2015, arXiv 1506.02216'
    )
    Config = VRNNConfig

    def __init__(self, spec: ObservationSpec, config: VRNNConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config)
        hidden, latent, features, mlp = config.hidden_size, config.latent_size, config.feature_size, config.mlp_size
        relus: dict[str, Any] = {"layers": config.mlp_layers, "slope": 0.0, "activation_limit": None}

        def gaussian(read: int) -> GaussianHead:
            return GaussianHead(read, mlp, latent, limit=config.latent_clamp, **relus)

        self.embed = Embedder(spec, features)  # phi_x is these two
        self.embed_layers = HiddenLayers(features, **relus)
        self.latent_net = FeatureNet(latent, mlp, **relus)  # phi_z
        self.lstm = nn.LSTM(features + mlp + spec.inputs, hidden)
        initialize_lstm(self.lstm, forget_bias=config.forget_bias)
        self.prior_net = gaussian(hidden + spec.inputs) if config.prior == "conditional" else None
        self.posterior_net = gaussian(hidden + features + spec.inputs)
        self.output_net = FeatureNet(mlp + hidden + spec.inputs, features, **relus)
        self.dropout = nn.Dropout(config.dropout)
        self.emission_net = make_emission(spec, features, config)
        if config.init_range is not None:
            initialize_uniform(self, config.init_range)

    @property
    def label(self) -> str:
        """The name, and the prior if it isn't the conditional one."""
        return self.name if self.config.prior == "conditional" else f"{self.name} ({self.config.prior} prior)"

    # The contract.

    def initial_state(self, n: int, *, start: Tensor | None = None) -> VRNNState:
        """h_0 = c_0 = 0, or LSTM([phi_x(x_0), 0], 0) if x_0 is an observation."""
        weight = self.posterior_net.mlp.first.weight
        zeros = weight.new_zeros(n, self.config.hidden_size)
        state = VRNNState(
            zeros, zeros, weight.new_zeros(n, self.config.mlp_size), weight.new_zeros(n, self.spec.inputs)
        )
        if not self.spec.conditions_on_first:
            return state
        x = self.spec.blank(n, device=weight.device, dtype=weight.dtype) if start is None else start
        return self.after_observation(state, x)

    def encode(self, batch: SequenceBatch, *, state: State | None = None) -> Tensor:
        """x_1..x_T: the posterior reads no future. 0 in the padding, of which ReLUs could make an infinity."""
        return torch.where(batch.exists, batch.read, torch.zeros_like(batch.x))

    def after_inputs(self, state: VRNNState, u: Tensor | None) -> VRNNState:
        """The state remembers u_t."""
        return state if u is None else state._replace(u=u)

    def prior(self, state: VRNNState) -> Distribution:
        """p(z_t | .) = N(f_p([h_{t-1}, u_t])), or N(0, I)."""
        if self.prior_net is None:
            zeros = state.h.new_zeros(state.h.shape[0], self.latent_size)  # `len` would fix it in an export
            return diagonal_gaussian(zeros, zeros)
        out: Distribution = self.prior_net(join(state.h, state.u))
        return out

    def posterior(self, state: VRNNState, context: Tensor) -> Distribution:
        """q(z_t | .) = N(f_q([phi_x(x_t), h_{t-1}, u_t]))."""
        out: Distribution = self.posterior_net(join(state.h, self._features(context), state.u))
        return out

    def after_latent(self, state: VRNNState, z: Tensor) -> VRNNState:
        """The state remembers phi_z(z_t)."""
        return state._replace(z_features=self.latent_net(z))

    def emission(self, state: VRNNState) -> Distribution:
        """p(x_t | .) = f_o([phi_z(z_t), h_{t-1}, u_t])."""
        features = self.output_net(join(state.z_features, state.h, state.u))
        out: Distribution = self.emission_net(self.dropout(features))
        return out

    def after_observation(self, state: VRNNState, x: Tensor) -> VRNNState:
        """h_t = LSTM([phi_x(x_t), phi_z(z_t), u_t], h_{t-1})."""
        h, c = lstm_step(self.lstm, join(self._features(x), state.z_features, state.u), state.h, state.c)
        return state._replace(h=h, c=c)

    def _features(self, x: Tensor) -> Tensor:
        """phi_x(x), [..., F]."""
        out: Tensor = self.dropout(self.embed_layers(self.embed(x)))
        return out
