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
    parallel    `posterior: parallel`, not in the paper: q(z_t|x) = N(f_q([a_t, b_t])), a_t = LSTM(e(x_{t-1}), a_{t-1})
                doesn't read h_{t-1}, so that all z are drawn at once, and the recurrence is one call of torch.nn.LSTM.
                It is another posterior for the same prior and emission, and so also gives a valid bound

              b_t <------ b_{t+1}          the gradient of the auxiliary term stops at b_t, its target;
             /   ^            ^            b_t learns through the posterior and through the backward term
            v   e(x_t)     e(x_{t+1})
    h_{t-1} -> z_t
        \       v
    e(x_{t-1}) -> h_t -> x_t

Differences from the authors' PyTorch release:
- The defaults are the sizes of the paper's TIMIT models, with a skip from e(x_{t-1}) to the emission (`output_skip`).
  The authors' Theano code has it, which is the best evidence of what the paper ran; the PyTorch release doesn't.
- The auxiliary network reads z_t only, as in the paper's equation 8; the release also reads h_{t-1} by default
  (`auxiliary_reads_state`).
- The backward network never reads padding. The release first reads the zeros after a short sequence.
- The auxiliary and the backward term have independent weights, set in the bound; the release drops the backward term
  silently when the auxiliary weight is 0.
- The forward cell has one bias per LSTM gate, the release two, which are added.
- Dropout acts on e(x), as in the release, and on the emission's features; 0 by default, as published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import (
    at_least_float32,
    batch_first,
    combine,
    gaussian_log_prob,
    log_prob_of_observed,
    reparameterize,
)
from ..emissions import EmissionSettings, make_emission
from ..nn import (
    MLP,
    Affine,
    BackwardLSTM,
    Embedder,
    GaussianHead,
    LastState,
    LatentLSTMCell,
    LayerNormLatentLSTMCell,
    Readout,
    clamp,
    initialize_lstm,
    last_step,
    last_steps,
    repeat_particles,
    run_lstm,
)
from ..observations import ObservationSpec, SequenceBatch, is_missing
from ..recurrence import Loop, equations
from ..runtime.chunks import in_chunks
from ..settings import Count, Positive, Probability, check
from .base import Resample, SequenceModel, State, Step, Unroll, map_state


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


class ZForcingState(NamedTuple):
    """The state of `ZForcing`."""

    h: Tensor  # [n, H], hidden state of the forward LSTM
    c: Tensor  # [n, H], its cell
    previous_h: Tensor  # [n, H], h_{t-1} after the latent of step t
    z: Tensor  # [n, Z], the last latent
    x: Tensor  # [n, D] or [n], the last observation
    a: Tensor  # [n, H], the parallel posterior's LSTM over the past; [n, 0] for the paper's posterior
    a_c: Tensor  # its cell, like a


class ZForcing(SequenceModel):
    """Z-Forcing (Goyal et al., 2017): a learned prior, a backward LSTM in the posterior, and the auxiliary cost.

    The module's docstring has its equations and the differences from the authors' code. The auxiliary costs are in the
    loss when `Weights(auxiliary=..., backward=...)` of the bound aren't 0.

    Args:
        spec: What one observation is.
        config: The settings.
    """

    name = "zforcing"
    Config = ZForcingConfig

    def __init__(self, spec: ObservationSpec, config: ZForcingConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config)
        hidden, latent, embedding, mlp = (
            config.hidden_size,
            config.latent_size,
            config.embedding_size,
            config.mlp_size,
        )
        limit = config.activation_clamp
        input_size = embedding if config.latents_see_input else 0

        self.embed = Embedder(
            spec,
            embedding,
            dropout=config.dropout,
            layers=config.embedding_layers or 0,
            activation_limit=config.activation_clamp,
        )
        self.backward_lstm = BackwardLSTM(embedding, hidden, forget_bias=config.forget_bias)
        self.prior_net = GaussianHead(
            hidden + input_size, mlp, latent, limit=config.latent_clamp, activation_limit=limit
        )
        self.forward_lstm: nn.LSTM | None = None
        if config.posterior == "parallel":
            self.forward_lstm = nn.LSTM(embedding, hidden)
            initialize_lstm(self.forward_lstm, forget_bias=config.forget_bias)
        self.posterior_net = GaussianHead(  # reads [h_{t-1} or a_t, b_t, and e(x_{t-1}) if latents_see_input]
            2 * hidden + input_size, mlp, latent, limit=config.latent_clamp, activation_limit=limit
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
        self.emission_net = make_emission(spec, hidden, config)
        self.auxiliary_net = MLP(
            latent + (hidden if config.auxiliary_reads_state else 0),
            mlp,
            2 * hidden if config.auxiliary == "gaussian" else hidden,
            activation_limit=limit,
        )
        self.backward_emission_net = make_emission(spec, hidden, replace(config, autoregressive=False))

    @property
    def label(self) -> str:
        """The name, and the posterior if it isn't the paper's."""
        return self.name if self.config.posterior == "recurrent" else f"{self.name} ({self.config.posterior} posterior)"

    @property
    def latent_size(self) -> int:
        """Z, the size of z_t."""
        size: int = self.config.latent_size
        return size

    # The methods of SequenceModel, for one step.

    def initial_state(self, n: int, *, start: Tensor | None = None) -> ZForcingState:
        """h_0 = c_0 = 0."""
        weight = self.cell.from_hidden.weight
        zeros = weight.new_zeros(n, self.config.hidden_size)
        x = self.spec.blank(n, device=weight.device, dtype=weight.dtype) if start is None else start
        a = zeros if self.forward_lstm is not None else zeros[:, :0]
        return ZForcingState(zeros, zeros, zeros, weight.new_zeros(n, self.latent_size), x, a, a)

    def encode(self, batch: SequenceBatch, *, state: State | None = None) -> Tensor:
        """b_1..b_T, [B, T, H]."""
        states: Tensor = self.backward_lstm(self.embed(batch.read), batch.lengths)
        return states

    def prior(self, state: ZForcingState) -> Distribution:
        """p(z_t | .) = N(f_p(h_{t-1}))."""
        return self._prior(state.h, *self._inputs(Affine(self.embed(state.x))))

    def posterior(self, state: ZForcingState, context: Tensor) -> Distribution:
        """q(z_t | .) = N(f_q([h_{t-1}, b_t])); the parallel one reads a_t for h_{t-1}."""
        embedded = self.embed(state.x)
        read = state.h if self.forward_lstm is None else self._next_a(state, embedded)[0]
        return self._posterior(read, context, *self._inputs(Affine(embedded)))

    def after_latent(self, state: ZForcingState, z: Tensor) -> ZForcingState:
        """h_t = LSTM([g(z_t), e(x_{t-1})], h_{t-1})."""
        embedded = self.embed(state.x)
        h, c = self.cell(embedded, z, state.h, state.c)
        return ZForcingState(h, c, state.h, z, state.x, *self._next_a(state, embedded))

    def emission(self, state: ZForcingState) -> Distribution:
        """p(x_t | .) = f_o(h_t, e(x_{t-1}))."""
        out: Distribution = self.emission_net(self.readout(state.h, self.embed(state.x)))
        return out

    def auxiliary(self, state: ZForcingState, context: Tensor) -> Tensor:
        """log p(b_t | z_t), [n]."""
        return self._auxiliary(state.previous_h, state.z, context)

    def after_observation(self, state: ZForcingState, x: Tensor) -> ZForcingState:
        """The state remembers x_t for the next step."""
        return state._replace(x=x)

    # All steps at once, time first: only what depends on the sampled z_t needs a loop.

    def fast_unroll(
        self,
        batch: SequenceBatch,
        *,
        noise: Tensor | None,
        latents: Tensor | None,
        state: ZForcingState | None,
        context: Tensor | None,
        particles: int,
        resample: Resample | None,
    ) -> Unroll:
        """Run all steps, computing everything that doesn't depend on h or z outside of the loop."""
        rows = batch.repeat(particles)
        first = self.initial_state(len(rows), start=rows.start) if state is None else state
        one = map_state(lambda v: v[: len(batch)], first)  # of one particle: x_0 and a_0 are the same for all
        embedded = self.embed.to_affine(torch.cat([one.x[None], batch.past.transpose(0, 1)]))  # e(x_0..x_T)
        inputs = embedded.at(slice(-1))  # e(x_{t-1})
        if context is not None:
            b = context.transpose(0, 1)
        elif batch.fed is None:
            b = self.backward_lstm.time_first(embedded.at(slice(1, None)), batch.lengths)
        else:  # the backward network reads x, not what was fed in its place
            b = self.encode(batch).transpose(0, 1)

        repeat = partial(repeat_particles, particles=particles)  # [T, B, .] -> [T, n, .]
        z = None if latents is None else latents.transpose(0, 1)
        e = None if noise is None else noise.transpose(0, 1)
        posterior: Distribution | None = None
        last_a: LastState | None = None
        if self.forward_lstm is not None:
            a, last_a = run_lstm(self.forward_lstm, inputs, one.a, one.a_c, batch.lengths)
            posterior = combine(repeat, self._posterior(a, b, *self._inputs(inputs)))
            z = z if e is None else reparameterize(posterior, e)

        projected_input = self.readout.project_input(inputs)
        if projected_input is not None:
            projected_input = repeat(projected_input)
        all_inputs = [repeat(e) for e in self._inputs(inputs)]
        if z is not None and resample is None and isinstance(self.cell, LatentLSTMCell):
            hs, last = self.cell.run(inputs._replace(u=repeat(inputs.u)), z, first.h, first.c, rows.lengths)
            before = torch.cat([first.h[None], hs[:-1]])
        else:
            before, hs, cs, z, posterior = self._loop(
                first, b, inputs, e, z, posterior, resample, all_inputs, projected_input
            )
            last = partial(last_steps, hs, cs, rows.lengths)
        if posterior is None:  # the latents are given
            posterior = self._posterior(before, repeat(b), *all_inputs)

        def last_state() -> ZForcingState:
            last_values = (last_step(v, rows.lengths) for v in (before, z, rows.past.transpose(0, 1)))
            a_and_cell = (one.a, one.a_c) if last_a is None else last_a()
            return ZForcingState(*last(), *last_values, *(v.repeat(particles, 1) for v in a_and_cell))

        return Unroll(
            rows,
            prior=batch_first(self._prior(before, *all_inputs)),
            posterior=batch_first(posterior),
            latents=z.transpose(0, 1),
            emission=batch_first(self.emission_net(self.readout.merge(hs, projected_input))),
            auxiliary=lambda: self._auxiliary(before, z, repeat(b)).transpose(0, 1),
            backward=lambda: self.backward_log_prob(batch, b.transpose(0, 1)).repeat(particles, 1),
            state=last_state,
        )

    def _loop(
        self,
        first: ZForcingState,
        b: Tensor,
        inputs: Affine,
        noise: Tensor | None,
        z: Tensor | None,
        posterior: Distribution | None,
        resample: Resample | None,
        all_inputs: list[Tensor],
        projected_input: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Distribution | None]:
        """h_{t-1}, h_t, c_t, z_t, [T, n, .] each, and the posterior; z is drawn here unless it is given."""
        loop = Loop(steps=len(b), rows=len(first.h))
        h, c = loop.carried(first.h), loop.carried(first.c)
        parameters = []
        if z is None:
            if noise is None:
                raise ValueError("the loop needs noise or latents")
            net, weight = self.posterior_net, self.posterior_net.mlp.first.weight  # it reads [h_{t-1}, b_t, ...]
            query = equations.linear(
                loop,
                h,
                weight[:, : h.size],
                bias=net.mlp.first.bias,
                given=join(b, *self._inputs(inputs)),
                given_weight=weight[:, h.size :],
            )
            parameters = [net.record(loop, query)]
            latent = equations.sample(loop, parameters[0], noise)
        else:
            latent = equations.given(loop, z)
        h_t, c_t = self.cell.record(loop, inputs, latent, h, c)
        loop.carry(h, h_t)
        loop.carry(c, c_t)

        if resample is not None:

            def choose(t: int, values: Sequence[Tensor]) -> Tensor | None:
                before_t, h_of_t, z_t, *query = values
                if posterior is not None:
                    q = combine(lambda v: v[t], posterior)
                elif query:
                    q = GaussianHead.of(query[0])
                else:  # the latents are given
                    num_copies = len(before_t) // b.shape[1]
                    q = self._posterior(before_t, b[t].repeat(num_copies, 1), *(e[t] for e in all_inputs))
                part = None if projected_input is None else projected_input[t]
                emission = self.emission_net(self.readout.merge(h_of_t, part))
                return resample(t, Step(self._prior(before_t, *(e[t] for e in all_inputs)), q, z_t, emission))

            loop.select(choose, [h, h_t, latent, *parameters])
        before, hs, cs, *drawn = loop.run(h, h_t, c_t, *([latent, *parameters] if parameters else []))
        if z is not None:
            return before, hs, cs, z, posterior
        return before, hs, cs, drawn[0], GaussianHead.of(drawn[1])

    # The densities, for one step [n, .] or all [T, n, .].

    def _next_a(self, state: ZForcingState, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """a_t = LSTM(e(x_{t-1}), a_{t-1}) and its cell, [n, H] each; unchanged for the paper's posterior."""
        if self.forward_lstm is None:
            return state.a, state.a_c
        _, (a, c) = self.forward_lstm(embedded[None], (state.a[None], state.a_c[None]))
        return a[0], c[0]

    def _inputs(self, embedded: Affine) -> list[Tensor]:
        """What prior and posterior read of the input: [e(x_{t-1})] if `latents_see_input`, else []."""
        return [embedded.value] if self.config.latents_see_input else []

    def _posterior(self, read: Tensor, context: Tensor, *inputs: Tensor) -> Distribution:
        """The posterior from h_{t-1}, or from a_t if it is parallel."""
        out: Distribution = self.posterior_net(join(read, context, *inputs))
        return out

    def _prior(self, h: Tensor, *inputs: Tensor) -> Distribution:
        out: Distribution = self.prior_net(join(h, *inputs))
        return out

    def _auxiliary(self, previous_h: Tensor, z: Tensor, b: Tensor) -> Tensor:
        read = join(previous_h, z) if self.config.auxiliary_reads_state else z
        target = at_least_float32(b).detach()  # the only place where the gradient stops
        out: Tensor = self.auxiliary_net(read)
        return in_chunks(self._auxiliary_density, out, target)

    def _auxiliary_density(self, out: Tensor, target: Tensor) -> Tensor:
        """log N(b_t; tanh(mean), var), or minus the squared distance; `out` is the auxiliary network's output."""
        out = clamp(out, self.config.auxiliary_clamp)
        if self.config.auxiliary == "squared_error":
            return -(target - torch.tanh(at_least_float32(out))).square().sum(-1)
        mean, log_variance = out.chunk(2, dim=-1)
        return gaussian_log_prob(target, torch.tanh(mean), log_variance)

    def backward_log_prob(self, batch: SequenceBatch, context: Tensor) -> Tensor:
        """log p(x_{t-1} | b_t), [B, T], of the observed values of x_{t-1}; 0 for an x_0 that isn't an observation."""
        first = 1 - self.spec.unscored_steps
        if batch.x.shape[1] == first:  # one step: only x_0 comes before it
            return context.new_zeros(context.shape[:2])
        emission, targets = self.backward_emission_net(context[:, first:]), batch.previous[:, first:]
        missing = is_missing(targets)
        log_px = log_prob_of_observed(emission, torch.where(missing, torch.zeros_like(targets), targets), ~missing)
        out: Tensor = F.pad(log_px, (first, 0))
        return out


def join(*parts: Tensor) -> Tensor:
    """Concatenate the last dimension; a single tensor is returned as it is."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
