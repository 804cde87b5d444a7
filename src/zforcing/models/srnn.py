r"""SRNN: a chain of latents on top of a deterministic recurrent network that doesn't read the latents.

M. Fraccaro, S. K. Sønderby, U. Paquet, O. Winther, "Sequential neural models with stochastic layers", NIPS 2016, arXiv
1605.07571. Its input is here [e(x_{t-1}), u_t]: the previous observation, and known inputs u_t if the data has some.

    network     d_t = GRU([e(x_{t-1}), u_t], d_{t-1}), d_0 = 0
    prior       p(z_t | .) = N(f_p([z_{t-1}, d_t])), z_0 = 0
    emission    p(x_t | .) = f_o([z_t, d_t])
    context     a_t = GRU([d_t, e(x_t)], a_{t+1}) over the future, a_{T+1} = 0
                `posterior: filtering`: a_t = f_a([d_t, e(x_t)])
    posterior   q(z_t | .) = N(f_q([z_{t-1}, a_t])); with `residual_posterior` (the paper's Res_q) its mean is
                prior mean + f_q's, the prior's from the same z_{t-1} and d_t

    a_t <--- a_{t+1}         a_t has read d_t, x_t and a_{t+1}; the posterior of z_t reads it
     |         |
     v         v
    z_t ---> z_{t+1}         z_t and d_t emit x_t
     ^         ^
     |         |
    d_t ---> d_{t+1}         the prior of z_t reads d_t; d_{t+1} has read x_t

Differences from the paper:
- The paper's GRU reads x itself, and its code for speech through two hidden layers. Here both networks read the shared
  embedding e(x), linear as in the other models or with `embedding_layers`, which handles categories and missing values.
- In prior and posterior, mean and log-variance are two halves of one network's output; the authors' code has two
  networks with one hidden layer each.
- a_t of the filtering posterior is the last hidden layer of its network, as in their code, but with `mlp_size` units.
- The GRU is torch's: it resets W_h h with its bias, and its update gate is one minus the paper's.
- The backward network never reads padding.
- Dropout acts on e(x) and on the emission's features; 0 by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import diagonal_gaussian
from ..emissions import EmissionSettings, make_emission
from ..nn import Embedder, FeatureNet, GaussianHead, gru_step, initialize_gru, join, run_backward
from ..observations import ObservationSpec, SequenceBatch
from ..settings import Count, Positive, Probability, check
from .sequence import SequenceModel
from .state import State


@dataclass(frozen=True)
class SRNNConfig(EmissionSettings):
    """Settings of the SRNN."""

    hidden_size: Count = 1024
    """units of the forward and of the backward GRU"""
    latent_size: Count = 256
    """size of z_t"""
    embedding_size: Count = 200
    """size of e(x), which both GRUs read"""
    embedding_layers: Count | None = None
    """hidden layers of e(x); null: it is linear. The authors' code has 2 on music"""
    mlp_size: Count = 512
    """units of each layer of the MLPs"""
    mlp_layers: Count = 2
    """hidden layers of each MLP"""
    posterior: Literal["smoothing", "filtering"] = "smoothing"
    """what q(z_t | .) reads besides z_{t-1}: a GRU over the future, or an MLP of d_t and x_t"""
    residual_posterior: bool = True
    """the posterior's mean is the prior's plus the output of the posterior's MLP (the paper's Res_q)"""
    dropout: Probability = 0.0
    """probability of dropping an entry of e(x) and of the emission's features, in training"""
    latent_clamp: Positive | None = None
    """what the networks of prior and posterior say, means and log-variances, is clamped to plus or minus this (with
    residual_posterior, before the prior's mean is added); null: not clamped"""
    activation_clamp: Positive | None = 3.0
    """the leaky ReLUs are clamped to plus or minus this; null: not clamped"""

    def __post_init__(self) -> None:
        check(self, "model")


class SRNNState(NamedTuple):
    """The state of `SRNN`."""

    d: Tensor  # [n, H], of the deterministic network: d_t, which has read e, once step t has begun
    z: Tensor  # [n, Z], the last latent
    e: Tensor  # [n, E], e(x_{t-1}), the last observation embedded


class SRNN(SequenceModel):
    """The stochastic recurrent neural network (Fraccaro et al., 2016), smoothing or filtering.

    The module's docstring has its equations and the differences from the paper.

    Args:
        spec: What one observation is.
        config: The settings.
    """

    name = "srnn"
    paper = (
        "M. Fraccaro, S. K. Sønderby, U. Paquet, O. Winther, "
        '"Sequential Neural Models with Stochastic Layers", NIPS 2016, arXiv 1605.07571'
    )
    Config = SRNNConfig
    deterministic = ("d",)
    hidden = "d"

    def __init__(self, spec: ObservationSpec, config: SRNNConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config)
        hidden, latent, embedding, mlp = config.hidden_size, config.latent_size, config.embedding_size, config.mlp_size
        layers: dict[str, Any] = {"layers": config.mlp_layers, "activation_limit": config.activation_clamp}

        def gaussian(read: int) -> GaussianHead:
            return GaussianHead(read, mlp, latent, limit=config.latent_clamp, **layers)

        self.embed = Embedder(
            spec,
            embedding,
            dropout=config.dropout,
            layers=config.embedding_layers or 0,
            activation_limit=config.activation_clamp,
        )
        self.forward_gru = nn.GRU(embedding + spec.inputs, hidden)
        initialize_gru(self.forward_gru)
        self.context_net: nn.GRU | FeatureNet
        if config.posterior == "smoothing":
            self.context_net = nn.GRU(hidden + embedding, hidden)
            initialize_gru(self.context_net)
        else:
            self.context_net = FeatureNet(hidden + embedding, mlp, **layers)
        self.prior_net = gaussian(latent + hidden)
        self.posterior_net = gaussian(latent + (hidden if config.posterior == "smoothing" else mlp))
        self.output_net = FeatureNet(latent + hidden, mlp, **layers)
        self.dropout = nn.Dropout(config.dropout)
        self.emission_net = make_emission(spec, mlp, config)

    @property
    def label(self) -> str:
        """The name, and what differs from the paper's best model (smoothing, residual posterior)."""
        config: SRNNConfig = self.config
        other = ["filtering"] * (config.posterior == "filtering") + ["no residual"] * (not config.residual_posterior)
        return f"{self.name} ({', '.join(other)})" if other else self.name

    # The contract.

    def initial_state(self, n: int, *, start: Tensor | None = None) -> SRNNState:
        """d_0 = 0, z_0 = 0."""
        weight = self.prior_net.mlp.first.weight
        x = self.spec.blank(n, device=weight.device, dtype=weight.dtype) if start is None else start
        d, z = weight.new_zeros(n, self.config.hidden_size), weight.new_zeros(n, self.latent_size)
        return SRNNState(d, z, self.embed(x))

    def encode(
        self, batch: SequenceBatch, *, state: State | None = None, begun: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """a_1..a_T, [B, T, H], or [B, T, M] of the filtering posterior."""
        d = (self.deterministic_states(batch, state=state) if begun is None else begun)["d"]
        read = join(d, self.embed(batch.read))
        if isinstance(self.context_net, nn.GRU):
            return run_backward(self.context_net, read, batch.lengths)
        out: Tensor = self.context_net(read)
        return out

    def after_inputs(self, state: SRNNState, u: Tensor | None) -> SRNNState:
        """d_t = GRU([e(x_{t-1}), u_t], d_{t-1})."""
        return state._replace(d=gru_step(self.forward_gru, join(state.e, u), state.d))

    def prior(self, state: SRNNState) -> Distribution:
        """p(z_t | .) = N(f_p([z_{t-1}, d_t]))."""
        out: Distribution = self.prior_net(join(state.z, state.d))
        return out

    def posterior(self, state: SRNNState, context: Tensor) -> Distribution:
        """q(z_t | .) = N(f_q([z_{t-1}, a_t])), with the prior's mean added if it is residual."""
        mean, log_variance = self.posterior_net.parameters_of(join(state.z, context)).chunk(2, dim=-1)
        if self.config.residual_posterior:
            mean = mean + self.prior(state).mean
        return diagonal_gaussian(mean, log_variance)

    def after_latent(self, state: SRNNState, z: Tensor) -> SRNNState:
        """The state remembers z_t."""
        return state._replace(z=z)

    def emission(self, state: SRNNState) -> Distribution:
        """p(x_t | .) = f_o([z_t, d_t])."""
        out: Distribution = self.emission_net(self.dropout(self.output_net(join(state.z, state.d))))
        return out

    def after_observation(self, state: SRNNState, x: Tensor) -> SRNNState:
        """The state remembers e(x_t) for the next step."""
        return state._replace(e=self.embed(x))
