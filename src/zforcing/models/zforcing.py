r"""Z-Forcing: an LSTM decoder whose latents are made to predict the future.

A. Goyal, A. Sordoni, M.-A. Cote, N. R. Ke, Y. Bengio, "Z-Forcing: Training Stochastic Recurrent Networks", NIPS 2017,
arXiv 1711.05411. The paper writes h_t for the state that has read x_t; here h_t emits x_t, so that its z_t, h_t, b_t
are our z_{t+1}, h_{t+1}, b_{t+1}.

    prior       p(z_t | .) = N(f_p(h_{t-1}))
    posterior   q(z_t | .) = N(f_q([h_{t-1}, b_t])),  b_t = LSTM(e(x_t), b_{t+1}) over the future, b_{T+1} = 0
    state       h_t = LSTM([g(z_t), e(x_{t-1})], h_{t-1})
    emission    p(x_t | .) = f_o(h_t, e(x_{t-1}))
    auxiliary   log p(b_t | z_t) = log N(stop(b_t); tanh(mean), var),  (mean, log var) = f_a(z_t)
    backward    log p(x_{t-1} | b_t), a linear read-out

              b_t <------ b_{t+1}          the gradient of the auxiliary term stops at b_t, its target;
             /   ^            ^            b_t learns through the posterior and through the backward term
            v   e(x_t)     e(x_{t+1})
    h_{t-1} -> z_t
        \       v
    e(x_{t-1}) -> h_t -> x_t

What differs, and why:
- The defaults are the sizes of the paper's TIMIT models with the emission's skip from e(x_{t-1}) (`output_skip`), which
  the authors' Theano code, the best evidence of what the paper ran, has and their PyTorch release hasn't.
- The auxiliary net reads z_t alone, as in the paper's equation 8; the release also reads h_{t-1} unless told otherwise
  (`auxiliary_reads_state`).
- The backward network never reads padding. The release reads the zeros behind a short sequence first.
- Weights of the auxiliary and the backward term belong to the bound, each its own: the release drops the backward term
  silently when the auxiliary weight is 0.
- One bias per LSTM gate in the forward cell instead of the release's two, which only add up.
- Dropout acts on e(x), as released, and on the emission's features, which is ours; 0 by default, as published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution

from ..distributions import at_least_float32, diagonal_gaussian, log_prob_of_observed
from ..emissions import make_emission
from ..nn import (
    MLP,
    BackwardLSTM,
    Embedder,
    GaussianHead,
    LatentLSTMCell,
    LayerNormLatentLSTMCell,
    Readout,
    bound,
)
from ..sequences import ObservationSpec, SequenceBatch, is_missing
from .base import SequenceModel, Unroll
from .settings import check_settings


@dataclass(frozen=True)
class ZForcingConfig:
    """Settings of Z-Forcing."""

    hidden_size: int = 1024
    """units of the forward and of the backward LSTM"""
    latent_size: int = 256
    """size of z_t"""
    embedding_size: int = 512
    """size of e(x), which both LSTMs read"""
    mlp_size: int = 512
    """hidden units of the prior, posterior and auxiliary nets; size of g(z)"""
    dropout: float = 0.0
    """probability of dropping an entry of e(x) and of the emission's features, in training"""
    auxiliary: Literal["gaussian", "squared_error"] = "gaussian"
    """log p(b_t | z_t): a Gaussian log-density, or minus the squared distance to tanh(mean)"""
    auxiliary_reads_state: bool = False
    """predict b_t from [h_{t-1}, z_t] instead of z_t"""
    latents_see_input: bool = False
    """prior and posterior also read e(x_{t-1})"""
    output_skip: bool = True
    """the emission reads e(x_{t-1}) too (the authors' Theano code), not h_t alone (their PyTorch release)"""
    cell: Literal["lstm", "layer_norm"] = "lstm"
    """the forward cell: an LSTM that reads g(z_t), or one whose layer norm has its gain and bias from z_t"""
    forget_bias: float = 0.0
    """the forget gates' first bias (the authors use 1 on text)"""
    latent_clamp: float | None = 8.0
    """means and log-variances of prior and posterior are clamped to plus or minus this; null: not"""
    auxiliary_clamp: float | None = 8.0
    """the auxiliary net's outputs, before the tanh of the mean, are clamped to plus or minus this; null: not"""
    activation_clamp: float | None = 3.0
    """the leaky ReLUs are clamped to plus or minus this; null: not"""
    norm_clamp: float | None = 3.0
    """cell layer_norm: (gain - 1) and bias are clamped to plus or minus this; null: not"""
    logit_clamp: float | None = None
    """binary data: the logits are clamped to plus or minus this (8 in the authors' MNIST code); null: not"""
    min_std: float = 0.0
    """real data: the least standard deviation of an emission, in units of the normalized data"""

    def __post_init__(self) -> None:
        check_settings(self)


class ZForcingState(NamedTuple):
    """h, c, previous_h: [n, H]; z: the last latent, [n, Z]; x: the last observation, [n, D] or [n]."""

    h: Tensor
    c: Tensor
    previous_h: Tensor
    z: Tensor
    x: Tensor


class ZForcing(SequenceModel):
    """Z-Forcing with a learned prior, a backward LSTM in the posterior, and the auxiliary cost. See the module."""

    name = "zforcing"
    Config = ZForcingConfig

    def __init__(self, spec: ObservationSpec, config: ZForcingConfig = ZForcingConfig()):
        super().__init__(spec, config)
        hidden, latent, embedding, mlp = (
            config.hidden_size,
            config.latent_size,
            config.embedding_size,
            config.mlp_size,
        )
        limit = config.activation_clamp
        seen = embedding if config.latents_see_input else 0

        self.embed = Embedder(spec, embedding, dropout=config.dropout)
        self.backward_lstm = BackwardLSTM(embedding, hidden, forget_bias=config.forget_bias)
        self.prior_net = GaussianHead(hidden + seen, mlp, latent, limit=config.latent_clamp, activation_limit=limit)
        self.posterior_net = GaussianHead(  # reads [h_{t-1}, b_t, e(x_{t-1}) if seen]
            2 * hidden + seen, mlp, latent, limit=config.latent_clamp, activation_limit=limit
        )
        self.cell: LatentLSTMCell | LayerNormLatentLSTMCell
        if config.cell == "lstm":
            self.cell = LatentLSTMCell(embedding, latent, mlp, hidden, forget_bias=config.forget_bias)
        else:
            self.cell = LayerNormLatentLSTMCell(
                embedding,
                latent,
                mlp,
                hidden,
                forget_bias=config.forget_bias,
                activation_limit=limit,
                limit=config.norm_clamp,
            )
        self.readout = Readout(
            hidden, embedding, skip=config.output_skip, dropout=config.dropout, activation_limit=limit
        )
        self.emission_net = make_emission(spec, hidden, min_std=config.min_std, logit_clamp=config.logit_clamp)
        self.auxiliary_net = MLP(
            latent + (hidden if config.auxiliary_reads_state else 0),
            mlp,
            2 * hidden if config.auxiliary == "gaussian" else hidden,
            activation_limit=limit,
        )
        self.backward_emission_net = make_emission(spec, hidden, min_std=config.min_std, logit_clamp=config.logit_clamp)

    @classmethod
    def from_released_weights(cls, arrays: Mapping[str, Any], **settings: Any) -> ZForcing:
        """The authors' PyTorch model from its parameters, NAME -> array (a Gaussian model, any of their options).

        settings: ZForcingConfig fields that the arrays don't tell: `auxiliary_reads_state`, `auxiliary`.
        Raises UserError for a missing, unknown or misshapen array, named. See `zforcing.models.released`.
        """
        from .released import load_released  # the other way round it reads this module

        return load_released(arrays, settings)

    @property
    def latent_size(self) -> int:
        """Z."""
        size: int = self.config.latent_size
        return size

    # The contract, step by step.

    def initial_state(self, n: int, *, start: Tensor | None = None) -> ZForcingState:
        """h_0 = c_0 = 0."""
        weight = self.cell.from_hidden.weight
        zeros = weight.new_zeros(n, self.config.hidden_size)
        x = self.spec.blank(n, device=weight.device, dtype=weight.dtype) if start is None else start
        return ZForcingState(zeros, zeros, zeros, weight.new_zeros(n, self.latent_size), x)

    def encode(self, batch: SequenceBatch) -> Tensor:
        """b_1..b_T, [B, T, H]."""
        states: Tensor = self.backward_lstm(self.embed(batch.read), batch.lengths)
        return states

    def prior(self, state: ZForcingState) -> Distribution:
        """p(z_t | .) = N(f_p(h_{t-1}))."""
        return self._prior(state.h, self.embed(state.x))

    def posterior(self, state: ZForcingState, context: Tensor) -> Distribution:
        """q(z_t | .) = N(f_q([h_{t-1}, b_t]))."""
        out: Distribution = self.posterior_net(torch.cat([state.h, context, *self._seen(self.embed(state.x))], dim=-1))
        return out

    def after_latent(self, state: ZForcingState, z: Tensor) -> ZForcingState:
        """h_t = LSTM([g(z_t), e(x_{t-1})], h_{t-1})."""
        h, c = self.cell(self.cell.inputs(self.embed(state.x)), z, state.h, state.c)
        return ZForcingState(h, c, state.h, z, state.x)

    def emission(self, state: ZForcingState) -> Distribution:
        """p(x_t | .) = f_o(h_t, e(x_{t-1}))."""
        out: Distribution = self.emission_net(self.readout(state.h, self.embed(state.x)))
        return out

    def auxiliary(self, state: ZForcingState, context: Tensor) -> Tensor:
        """log p(b_t | z_t), [n]."""
        return self._auxiliary(state.previous_h, state.z, context)

    def after_observation(self, state: ZForcingState, x: Tensor) -> ZForcingState:
        """Keeps x_t for the next step."""
        return state._replace(x=x)

    # All steps at once: only what the sampled z_t enters is left in the loop.

    def unroll(
        self,
        batch: SequenceBatch,
        *,
        noise: Tensor | None = None,
        latents: Tensor | None = None,
        state: ZForcingState | None = None,
    ) -> Unroll:
        """The contract's loop with everything that doesn't depend on h or z moved out of it."""
        self.check_batch(batch, noise=noise, latents=latents)
        if latents is not None:  # densities of given latents: no sampling in the way, but rare; the plain loop will do
            return super().unroll(batch, latents=latents, state=state)
        noise = self.draw_noise(batch) if noise is None else noise
        state = self.initial_state(len(batch), start=batch.start) if state is None else state
        b = self.encode(batch)
        embedded = self.embed(torch.cat([state.x[:, None], batch.read[:, :-1]], dim=1))  # e(x_{t-1}), [B, T, E]

        hs, cs, zs, means, log_variances = self._loop(b, embedded, noise, state)
        before = torch.cat([state.h[:, None], hs[:, :-1]], dim=1)  # h_{t-1}, [B, T, H]
        rows, last = torch.arange(len(batch), device=b.device), batch.lengths - 1
        return Unroll.assemble(
            batch,
            prior=self._prior(before, embedded),
            posterior=diagonal_gaussian(means, log_variances),
            latents=zs,
            emission=self.emission_net(self.readout(hs, embedded)),
            auxiliary=self._auxiliary(before, zs, b),
            backward=self.backward_log_prob(batch, b),
            state=ZForcingState(
                hs[rows, last], cs[rows, last], before[rows, last], zs[rows, last], batch.read[rows, last]
            ),
        )

    def _loop(
        self, b: Tensor, embedded: Tensor, noise: Tensor, state: ZForcingState
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """h, c, z and the posterior's mean and log-variance of every step, each [B, T, .]."""
        hidden, first = self.config.hidden_size, self.posterior_net.mlp.first
        # one product with h a step: W_h for the gates and the posterior's columns of h, side by side
        from_h = torch.cat([self.cell.from_hidden.weight, first.weight[:, :hidden]]).t()  # [H, 4H + M]
        from_z = self.cell.latent_map()
        seen = torch.cat([b, *self._seen(embedded)], dim=-1)
        views = F.linear(seen, first.weight[:, hidden:], first.bias)  # the posterior's view of the future, [B, T, M]
        inputs = self.cell.inputs(embedded)  # [B, T, 4H]
        h, c = state.h, state.c
        steps = []
        # unbind: the backward pass of inputs[:, t] would write a full-size zero tensor at every step
        for x, view, e in zip(inputs.unbind(1), views.unbind(1), noise.unbind(1), strict=True):
            gates, query = (h @ from_h).split([4 * hidden, self.config.mlp_size], dim=-1)
            mean, log_variance = map(at_least_float32, self.posterior_net.parameters_after_first(view + query))
            z = mean + torch.exp(log_variance / 2) * e
            h, c = self.cell.combine(x, gates, from_z(z), c)
            steps.append((h, c, z, mean, log_variance))
        hs, cs, zs, means, log_variances = (torch.stack(values, dim=1) for values in zip(*steps, strict=True))
        return hs, cs, zs, means, log_variances

    # The densities, for one step [n, .] or all [B, T, .].

    def _seen(self, embedded: Tensor) -> list[Tensor]:
        """What prior and posterior read of e(x_{t-1}): it, or nothing."""
        return [embedded] if self.config.latents_see_input else []

    def _prior(self, h: Tensor, embedded: Tensor) -> Distribution:
        out: Distribution = self.prior_net(torch.cat([h, *self._seen(embedded)], dim=-1))
        return out

    def _auxiliary(self, previous_h: Tensor, z: Tensor, b: Tensor) -> Tensor:
        read = torch.cat([previous_h, z], dim=-1) if self.config.auxiliary_reads_state else z
        out = bound(self.auxiliary_net(read), self.config.auxiliary_clamp)
        target = at_least_float32(b).detach()  # here and nowhere else
        if self.config.auxiliary == "squared_error":
            return -(target - torch.tanh(at_least_float32(out))).square().sum(-1)
        mean, log_variance = out.chunk(2, dim=-1)
        return diagonal_gaussian(torch.tanh(mean), log_variance).log_prob(target)

    def backward_log_prob(self, batch: SequenceBatch, context: Tensor) -> Tensor:
        """log p(x_{t-1} | b_t), [B, T], for the x_{t-1} that exist: x_0 counts where it is an observation.

        What is missing of x_{t-1} is left out.
        """
        first = 0 if self.spec.conditions_on_first else 1
        if batch.x.shape[1] == first:  # one step: x_0 alone comes before it
            return context.new_zeros(context.shape[:2])
        emission, targets = self.backward_emission_net(context[:, first:]), batch.previous[:, first:]
        missing = is_missing(targets)
        log_px = log_prob_of_observed(emission, torch.where(missing, torch.zeros_like(targets), targets), ~missing)
        out: Tensor = F.pad(log_px, (first, 0))
        return out
