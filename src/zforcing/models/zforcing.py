r"""Z-Forcing: an LSTM decoder whose latents are trained to predict the future.

A. Goyal, A. Sordoni, M.-A. Cote, N. R. Ke, Y. Bengio, "Z-Forcing: Training Stochastic Recurrent Networks", NIPS 2017,
arXiv 1711.05411. The paper writes h_t for the state that has read x_t; here h_t emits x_t, so that the paper's z_t,
h_t, b_t are z_{t+1}, h_{t+1}, b_{t+1} here.

    prior       p(z_t | .) = N(f_p(h_{t-1}))
    posterior   q(z_t | .) = N(f_q([h_{t-1}, b_t])),  b_t = LSTM(e(x_t), b_{t+1}) over the future, b_{T+1} = 0
    state       h_t = LSTM([g(z_t), e(x_{t-1})], h_{t-1})
    emission    p(x_t | .) = f_o(h_t, e(x_{t-1}))
    auxiliary   log p(b_t | z_t) = log N(stop(b_t); tanh(mean), var),  (mean, log var) = f_a(z_t)
    backward    log p(x_{t-1} | b_t), a linear readout
    output      `output_latent`, not in the paper: p(x_t | .) = f_o(h_t, e(x_{t-1}), z_t), as in VRNN and SRNN
    parallel    `posterior: parallel`, not in the paper: q(z_t|x) = N(f_q([a_t, b_t])), a_t = LSTM(e(x_{t-1}), a_{t-1})
                doesn't read h_{t-1}, so that all z are drawn at once: another posterior, also with a valid bound
    inputs      u_t, if the data has some, stands beside what each of these reads at step t: f_p([h_{t-1}, u_t]),
                f_q([h_{t-1}, b_t, u_t]), b_t = LSTM([e(x_t), u_t], b_{t+1}), h_t = LSTM([g(z_t), e(x_{t-1}), u_t], .),
                a_t = LSTM([e(x_{t-1}), u_t], a_{t-1}); the emission and the auxiliary network read it through h_t

              b_t <------ b_{t+1}          the gradient of the auxiliary term stops at b_t, its target;
             /   ^            ^            b_t learns through the posterior and through the backward term
            v   e(x_t)     e(x_{t+1})
    h_{t-1} -> z_t
        \       v
    e(x_{t-1}) -> h_t -> x_t

Differences from the authors' PyTorch release:
- The defaults are the sizes of the paper's TIMIT models, with a skip from e(x_{t-1}) to the emission (`output_skip`).
  The authors' Theano code has it, which is the best evidence of what the paper ran; the PyTorch release doesn't.
- The auxiliary network reads z_t only, as in equation 8; the release h_{t-1} too by default (`auxiliary_reads_state`).
- The backward network never reads padding. The release first reads the zeros after a short sequence.
- The auxiliary and the backward term have independent weights; the release drops both where the auxiliary's is 0.
- The forward cell has one bias per LSTM gate, the release two, which are added.
- Dropout acts on e(x), as in the release, and on the emission's features; 0 by default, as published.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import at_least_float32, gaussian_log_prob, log_prob_of_observed
from ..emissions import EmissionSettings, make_emission
from ..errors import UserError
from ..nn import (
    MLP,
    BackwardLSTM,
    Embedder,
    GaussianHead,
    LatentLSTMCell,
    LayerNormLatentLSTMCell,
    Readout,
    clamp,
    initialize_lstm,
    join,
    lstm_step,
)
from ..observations import ObservationSpec, SequenceBatch, is_missing
from ..runtime.chunks import in_chunks
from ..settings import Count, Positive, Probability, check
from .sequence import SequenceModel
from .state import State


@dataclass(frozen=True)
class ZForcingConfig(EmissionSettings):
    """Settings of Z-Forcing."""

    hidden_size: Count = 1024
    """units of the forward and of the backward LSTM"""
    latent_size: Count = 256
    """size of z_t"""
    embedding_size: Count = 512
    """size of e(x), which both LSTMs read"""
    embedding_layers: Count | None = None
    """hidden layers of e(x); null: it is linear, as in the authors' PyTorch release"""
    mlp_size: Count = 512
    """hidden units of the prior, posterior and auxiliary networks; size of g(z)"""
    dropout: Probability = 0.0
    """probability of dropping an entry of e(x) and of the emission's features, in training"""
    auxiliary: Literal["gaussian", "squared_error"] = "gaussian"
    """log p(b_t | z_t): a Gaussian log-density, or minus the squared distance to tanh(mean)"""
    auxiliary_reads_state: bool = False
    """predict b_t from [h_{t-1}, z_t] instead of z_t"""
    posterior: Literal["recurrent", "parallel"] = "recurrent"
    """what q(z_t | .) reads besides b_t: h_{t-1}, as in the paper, or (parallel, not in the paper) an LSTM over x_<t"""
    latents_see_input: bool = False
    """prior and posterior also read e(x_{t-1})"""
    output_skip: bool = True
    """the emission also reads e(x_{t-1}) (the authors' Theano code), not only h_t (their PyTorch release)"""
    output_latent: bool = False
    """the emission also reads z_t, as SRNN's and VRNN's do (not in the paper), not only through h_t"""
    output_layers: Count = 1
    """hidden layers of what the emission reads, with output_skip or output_latent"""
    cell: Literal["lstm", "layer_norm"] = "lstm"
    """the forward cell: an LSTM that reads g(z_t), or one whose layer norm has its gain and bias from z_t"""
    forget_bias: float = 0.0
    """initial bias of the forget gates (the authors use 1 on text)"""
    latent_clamp: Positive | None = 8.0
    """means and log-variances of prior and posterior are clamped to plus or minus this; null: not clamped"""
    auxiliary_clamp: Positive | None = 8.0
    """the auxiliary network's outputs, before the tanh of the mean, are clamped to this range; null: not clamped"""
    activation_clamp: Positive | None = 3.0
    """the leaky ReLUs are clamped to plus or minus this; null: not clamped"""
    norm_clamp: Positive | None = 3.0
    """cell layer_norm: (gain - 1) and bias are clamped to plus or minus this; null: not clamped"""

    def __post_init__(self) -> None:
        check(self, "model")
        if self.output_layers > 1 and not (self.output_skip or self.output_latent):
            raise UserError(
                f"model.output_layers {self.output_layers} needs model.output_skip or model.output_latent: without "
                "them the emission reads h_t itself"
            )


class ZForcingState(NamedTuple):
    """The state of `ZForcing`."""

    h: Tensor  # [n, H], hidden state of the forward LSTM
    c: Tensor  # [n, H], its cell
    previous_h: Tensor  # [n, H], h_{t-1} after the latent of step t
    z: Tensor  # [n, Z], the last latent
    e: Tensor  # [n, E], e(x_{t-1}), the last observation embedded
    a: Tensor  # [n, H], the parallel posterior's LSTM over the past, which has read e; [n, 0] for the paper's posterior
    a_c: Tensor  # its cell, like a
    u: Tensor  # [n, U], u_t once step t has begun


class ZForcing(SequenceModel):
    """Z-Forcing (Goyal et al., 2017): a learned prior, a backward LSTM in the posterior, and the auxiliary cost.

    The auxiliary costs are in the loss when `Weights(auxiliary=..., backward=...)` of the bound aren't 0.

    Args:
        spec: What one observation is.
        config: The settings.
    """

    name = "zforcing"
    paper = (
        "A. Goyal, A. Sordoni, M.-A. Côté, N. R. Ke, Y. Bengio, "
        '"Z-Forcing: Training Stochastic Recurrent Networks", NIPS 2017, arXiv 1711.05411'
    )
    Config = ZForcingConfig
    step_costs = ("auxiliary",)
    context_costs = ("backward",)

    def __init__(self, spec: ObservationSpec, config: ZForcingConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config)
        hidden, latent, embedding, mlp = config.hidden_size, config.latent_size, config.embedding_size, config.mlp_size
        limit, known = config.activation_clamp, spec.inputs
        seen = known + (embedding if config.latents_see_input else 0)  # by prior and posterior, beside h_{t-1}
        gaussian: dict[str, Any] = {"limit": config.latent_clamp, "activation_limit": limit}
        regular: dict[str, Any] = {"dropout": config.dropout, "activation_limit": limit}
        self.embed = Embedder(spec, embedding, layers=config.embedding_layers or 0, **regular)
        self.backward_lstm = BackwardLSTM(embedding + known, hidden, forget_bias=config.forget_bias)
        self.prior_net = GaussianHead(hidden + seen, mlp, latent, **gaussian)
        self.forward_lstm = nn.LSTM(embedding + known, hidden) if config.posterior == "parallel" else None
        if self.forward_lstm is not None:
            initialize_lstm(self.forward_lstm, forget_bias=config.forget_bias)
        self.posterior_net = GaussianHead(2 * hidden + seen, mlp, latent, **gaussian)
        sizes, start = (embedding + known, latent, mlp, hidden), config.forget_bias
        self.cell: LatentLSTMCell | LayerNormLatentLSTMCell
        if config.cell == "lstm":
            self.cell = LatentLSTMCell(*sizes, forget_bias=start)
        else:
            clamps: dict[str, Any] = {"activation_limit": limit, "limit": config.norm_clamp}
            self.cell = LayerNormLatentLSTMCell(*sizes, forget_bias=start, **clamps)
        reads: dict[str, Any] = {"skip": config.output_skip, "latent": latent if config.output_latent else 0}
        self.readout = Readout(hidden, embedding, layers=config.output_layers, **reads, **regular)
        self.emission_net = make_emission(spec, hidden, config)
        predicted = 2 * hidden if config.auxiliary == "gaussian" else hidden
        self.auxiliary_net = MLP(latent + hidden * config.auxiliary_reads_state, mlp, predicted, activation_limit=limit)
        self.backward_emission_net = make_emission(spec, hidden, replace(config, autoregressive=False))

    @property
    def label(self) -> str:
        """The name, and the posterior if it isn't the paper's."""
        return self.name if self.config.posterior == "recurrent" else f"{self.name} ({self.config.posterior} posterior)"

    # The contract.

    def initial_state(self, n: int, *, start: Tensor | None = None) -> ZForcingState:
        """h_0 = c_0 = 0."""
        weight = self.cell.from_hidden.weight
        zeros = weight.new_zeros(n, self.config.hidden_size)
        x = self.spec.blank(n, device=weight.device, dtype=weight.dtype) if start is None else start
        a = zeros if self.forward_lstm is not None else zeros[:, :0]
        z, u = weight.new_zeros(n, self.latent_size), weight.new_zeros(n, self.spec.inputs)
        return ZForcingState(zeros, zeros, zeros, z, self.embed(x), a, a, u)

    def encode(self, batch: SequenceBatch, *, state: State | None = None) -> Tensor:
        """b_1..b_T, [B, T, H]."""
        return self.backward_lstm.of_embedded(self.embed, batch.read, batch.lengths, inputs=batch.inputs)

    def after_inputs(self, state: ZForcingState, u: Tensor | None) -> ZForcingState:
        """The state remembers u_t; a_t = LSTM([e(x_{t-1}), u_t], a_{t-1}), which the parallel posterior reads."""
        state = state if u is None else state._replace(u=u)
        if self.forward_lstm is None:
            return state
        a, a_c = lstm_step(self.forward_lstm, join(state.e, u), state.a, state.a_c)
        return state._replace(a=a, a_c=a_c)

    def prior(self, state: ZForcingState) -> Distribution:
        """p(z_t | .) = N(f_p([h_{t-1}, u_t]))."""
        out: Distribution = self.prior_net(join(state.h, *self._seen(state)))
        return out

    def posterior(self, state: ZForcingState, context: Tensor) -> Distribution:
        """q(z_t | .) = N(f_q([h_{t-1}, b_t, u_t])); the parallel one reads a_t for h_{t-1}."""
        read = state.h if self.forward_lstm is None else state.a
        out: Distribution = self.posterior_net(join(read, context, *self._seen(state)))
        return out

    def after_latent(self, state: ZForcingState, z: Tensor) -> ZForcingState:
        """h_t = LSTM([g(z_t), e(x_{t-1}), u_t], h_{t-1})."""
        h, c = self.cell(join(state.e, state.u), z, state.h, state.c)
        return state._replace(h=h, c=c, previous_h=state.h, z=z)

    def emission(self, state: ZForcingState) -> Distribution:
        """p(x_t | .) = f_o(h_t, e(x_{t-1})); with `output_latent` f_o reads z_t too."""
        out: Distribution = self.emission_net(self.readout(state.h, state.e, state.z))
        return out

    def after_observation(self, state: ZForcingState, x: Tensor) -> ZForcingState:
        """The state remembers e(x_t) for the next step."""
        return state._replace(e=self.embed(x))

    def auxiliary(self, state: ZForcingState, context: Tensor) -> Tensor:
        """log p(b_t | z_t) = log N(b_t; tanh(mean), var), or minus the squared distance from tanh(mean), [n]."""
        read = join(state.previous_h, state.z) if self.config.auxiliary_reads_state else state.z
        target = at_least_float32(context).detach()  # the only place where the gradient stops
        return in_chunks(self._auxiliary_density, self.auxiliary_net(read), target)

    def _auxiliary_density(self, out: Tensor, target: Tensor) -> Tensor:
        clamped = clamp(out, self.config.auxiliary_clamp)
        if self.config.auxiliary == "squared_error":
            return -(target - torch.tanh(at_least_float32(clamped))).square().sum(-1)
        mean, log_variance = clamped.chunk(2, dim=-1)
        return gaussian_log_prob(target, torch.tanh(mean), log_variance)

    def backward(self, batch: SequenceBatch, context: Tensor) -> Tensor:
        """log p(x_{t-1} | b_t), [B, T], of the observed values of x_{t-1}; 0 for an x_0 that isn't an observation."""
        first = 1 - self.spec.unscored_steps
        if batch.x.shape[1] == first:  # one step: only x_0 comes before it
            return context.new_zeros(context.shape[:2])
        emission, targets = self.backward_emission_net(context[:, first:]), batch.previous[:, first:]
        missing = is_missing(targets)
        log_px = log_prob_of_observed(emission, torch.where(missing, torch.zeros_like(targets), targets), ~missing)
        return nn.functional.pad(log_px, (first, 0))

    def _seen(self, state: ZForcingState) -> list[Tensor]:
        """What prior and posterior read beside h_{t-1} and b_t: u_t, and e(x_{t-1}) if `latents_see_input`."""
        return [state.e, state.u] if self.config.latents_see_input else [state.u]
