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
    parallel    ours (`posterior: parallel`): q(z_t | x) = N(f_q([a_t, b_t])), a_t = LSTM(e(x_{t-1}), a_{t-1}). Without
                h_{t-1} in it all z are drawn at once, and the recurrence is one call of torch.nn.LSTM. Another
                posterior of the same prior and emission: still a valid bound

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

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

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
    run_lstm,
)
from ..observations import ObservationSpec, SequenceBatch, is_missing
from ..recurrence import Loop, equations
from ..runtime.chunks import in_chunks
from ..settings import check_settings
from .base import Resample, SequenceModel, State, Step, Unroll, map_state


@dataclass(frozen=True)
class ZForcingConfig(EmissionSettings):
    """Settings of Z-Forcing."""

    hidden_size: int = 1024
    """units of the forward and of the backward LSTM"""
    latent_size: int = 256
    """size of z_t"""
    embedding_size: int = 512
    """size of e(x), which both LSTMs read"""
    embedding_layers: int | None = None
    """hidden layers of e(x); null: it is linear, as in the authors' PyTorch release"""
    mlp_size: int = 512
    """hidden units of the prior, posterior and auxiliary nets; size of g(z)"""
    dropout: float = 0.0
    """probability of dropping an entry of e(x) and of the emission's features, in training"""
    auxiliary: Literal["gaussian", "squared_error"] = "gaussian"
    """log p(b_t | z_t): a Gaussian log-density, or minus the squared distance to tanh(mean)"""
    auxiliary_reads_state: bool = False
    """predict b_t from [h_{t-1}, z_t] instead of z_t"""
    posterior: Literal["recurrent", "parallel"] = "recurrent"
    """what q(z_t | .) reads beside b_t: h_{t-1}, as in the paper, or (parallel, ours) an LSTM over x_<t"""
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

    def __post_init__(self) -> None:
        check_settings(self)


class ZForcingState(NamedTuple):
    """h, c, previous_h: [n, H]; z: the last latent, [n, Z]; x: the last observation, [n, D] or [n]; a, a_c: the
    parallel posterior's network over the past and its cell, [n, H] ([n, 0] for the paper's posterior).
    """

    h: Tensor
    c: Tensor
    previous_h: Tensor
    z: Tensor
    x: Tensor
    a: Tensor
    a_c: Tensor


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

        self.embed = Embedder(
            spec,
            embedding,
            dropout=config.dropout,
            layers=config.embedding_layers or 0,
            activation_limit=config.activation_clamp,
        )
        self.backward_lstm = BackwardLSTM(embedding, hidden, forget_bias=config.forget_bias)
        self.prior_net = GaussianHead(hidden + seen, mlp, latent, limit=config.latent_clamp, activation_limit=limit)
        self.forward_lstm: nn.LSTM | None = None
        if config.posterior == "parallel":
            self.forward_lstm = nn.LSTM(embedding, hidden)
            initialize_lstm(self.forward_lstm, forget_bias=config.forget_bias)
        self.posterior_net = GaussianHead(  # reads [h_{t-1} or a_t, b_t, e(x_{t-1}) if seen]
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
        """With the posterior, if it isn't the paper's."""
        return self.name if self.config.posterior == "recurrent" else f"{self.name} ({self.config.posterior} posterior)"

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
        a = zeros if self.forward_lstm is not None else zeros[:, :0]
        return ZForcingState(zeros, zeros, zeros, weight.new_zeros(n, self.latent_size), x, a, a)

    def encode(self, batch: SequenceBatch, *, state: State | None = None) -> Tensor:
        """b_1..b_T, [B, T, H]."""
        states: Tensor = self.backward_lstm(self.embed(batch.read), batch.lengths)
        return states

    def prior(self, state: ZForcingState) -> Distribution:
        """p(z_t | .) = N(f_p(h_{t-1}))."""
        return self._prior(state.h, *self._seen(Affine(self.embed(state.x))))

    def posterior(self, state: ZForcingState, context: Tensor) -> Distribution:
        """q(z_t | .) = N(f_q([h_{t-1}, b_t])); the parallel one reads a_t for h_{t-1}."""
        embedded = self.embed(state.x)
        read = state.h if self.forward_lstm is None else self._next_a(state, embedded)[0]
        return self._posterior(read, context, *self._seen(Affine(embedded)))

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
        """Keeps x_t for the next step."""
        return state._replace(x=x)

    # All steps at once, time first: only what the sampled z_t enters is left in a loop.

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
        """The contract's loop with everything that doesn't depend on h or z moved out of it, for all steps at once."""
        rows = batch.repeat(particles)
        first = self.initial_state(len(rows), start=rows.start) if state is None else state
        own = map_state(lambda v: v[: len(batch)], first)  # x_0 and a_0 don't differ between particles
        embedded = self.embed.to_affine(torch.cat([own.x[None], batch.past.transpose(0, 1)]))  # e(x_0..x_T)
        seen = embedded.at(slice(-1))
        if context is not None:
            b = context.transpose(0, 1)
        elif batch.fed is None:
            b = self.backward_lstm.time_first(embedded.at(slice(1, None)), batch.lengths)
        else:  # the backward network reads what was observed
            b = self.encode(batch).transpose(0, 1)

        def every(tensor: Tensor) -> Tensor:
            """[T, B, .] -> [T, n, .], copy after copy."""
            return tensor if particles == 1 else tensor.repeat(1, particles, 1)

        z = None if latents is None else latents.transpose(0, 1)
        e = None if noise is None else noise.transpose(0, 1)
        posterior: Distribution | None = None
        last_a: LastState | None = None
        if self.forward_lstm is not None:
            a, last_a = run_lstm(self.forward_lstm, seen, own.a, own.a_c, batch.lengths)
            posterior = combine(every, self._posterior(a, b, *self._seen(seen)))
            z = z if e is None else reparameterize(posterior, e)

        projected_input = self.readout.project_input(seen)
        if projected_input is not None:
            projected_input = every(projected_input)
        by_all = [every(e) for e in self._seen(seen)]
        if z is not None and resample is None and isinstance(self.cell, LatentLSTMCell):
            hs, last = self.cell.run(seen._replace(u=every(seen.u)), z, first.h, first.c, rows.lengths)
            before = torch.cat([first.h[None], hs[:-1]])
        else:
            before, hs, cs, z, posterior = self._loop(
                first, b, seen, e, z, posterior, resample, by_all, projected_input
            )
            last = partial(last_steps, hs, cs, rows.lengths)
        if posterior is None:  # of given latents
            posterior = self._posterior(before, every(b), *by_all)

        def last_state() -> ZForcingState:
            of_rows = (last_step(v, rows.lengths) for v in (before, z, rows.past.transpose(0, 1)))
            of_a = (own.a, own.a_c) if last_a is None else last_a()
            return ZForcingState(*last(), *of_rows, *(v.repeat(particles, 1) for v in of_a))

        return Unroll(
            rows,
            prior=batch_first(self._prior(before, *by_all)),
            posterior=batch_first(posterior),
            latents=z.transpose(0, 1),
            emission=batch_first(self.emission_net(self.readout.merge(hs, projected_input))),
            auxiliary=lambda: self._auxiliary(before, z, every(b)).transpose(0, 1),
            backward=lambda: self.backward_log_prob(batch, b.transpose(0, 1)).repeat(particles, 1),
            state=last_state,
        )

    def _loop(
        self,
        first: ZForcingState,
        b: Tensor,
        seen: Affine,
        noise: Tensor | None,
        z: Tensor | None,
        posterior: Distribution | None,
        resample: Resample | None,
        by_all: list[Tensor],
        projected_input: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Distribution | None]:
        """h_{t-1}, h_t, c_t, z_t, [T, n, .] each, and the posterior: drawn in here if z isn't there already."""
        loop = Loop(steps=len(b), rows=len(first.h))
        h, c = loop.carried(first.h), loop.carried(first.c)
        parameters = []
        if z is None:
            if noise is None:
                raise ValueError("latents are drawn in the loop from noise, or given")
            net, weight = self.posterior_net, self.posterior_net.mlp.first.weight  # it reads [h_{t-1}, b_t, ...]
            query = equations.linear(
                loop,
                h,
                weight[:, : h.size],
                bias=net.mlp.first.bias,
                given=join(b, *self._seen(seen)),
                given_weight=weight[:, h.size :],
            )
            parameters = [net.record(loop, query)]
            latent = equations.sample(loop, parameters[0], noise)
        else:
            latent = equations.given(loop, z)
        h_t, c_t = self.cell.record(loop, seen, latent, h, c)
        loop.carry(h, h_t)
        loop.carry(c, c_t)

        if resample is not None:

            def choose(t: int, values: Sequence[Tensor]) -> Tensor | None:
                before_t, h_of_t, z_t, *numbers = values
                if posterior is not None:
                    q = combine(lambda v: v[t], posterior)
                elif numbers:
                    q = GaussianHead.of(numbers[0])
                else:  # of given latents
                    copies = len(before_t) // b.shape[1]
                    q = self._posterior(before_t, b[t].repeat(copies, 1), *(e[t] for e in by_all))
                part = None if projected_input is None else projected_input[t]
                emission = self.emission_net(self.readout.merge(h_of_t, part))
                return resample(t, Step(self._prior(before_t, *(e[t] for e in by_all)), q, z_t, emission))

            loop.select(choose, [h, h_t, latent, *parameters])
        before, hs, cs, *drawn = loop.run(h, h_t, c_t, *([latent, *parameters] if parameters else []))
        if z is not None:
            return before, hs, cs, z, posterior
        return before, hs, cs, drawn[0], GaussianHead.of(drawn[1])

    # The densities, for one step [n, .] or all [T, n, .].

    def _next_a(self, state: ZForcingState, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """a_t = LSTM(e(x_{t-1}), a_{t-1}) and its cell, [n, H]; nothing for the paper's posterior."""
        if self.forward_lstm is None:
            return state.a, state.a_c
        _, (a, c) = self.forward_lstm(embedded[None], (state.a[None], state.a_c[None]))
        return a[0], c[0]

    def _seen(self, embedded: Affine) -> list[Tensor]:
        """What prior and posterior read of e(x_{t-1}): it, or nothing."""
        return [embedded.value] if self.config.latents_see_input else []

    def _posterior(self, read: Tensor, context: Tensor, *seen: Tensor) -> Distribution:
        """read: h_{t-1}, or a_t of the parallel posterior."""
        out: Distribution = self.posterior_net(join(read, context, *seen))
        return out

    def _prior(self, h: Tensor, *seen: Tensor) -> Distribution:
        out: Distribution = self.prior_net(join(h, *seen))
        return out

    def _auxiliary(self, previous_h: Tensor, z: Tensor, b: Tensor) -> Tensor:
        read = join(previous_h, z) if self.config.auxiliary_reads_state else z
        target = at_least_float32(b).detach()  # here and nowhere else
        out: Tensor = self.auxiliary_net(read)
        return in_chunks(self._auxiliary_density, out, target)

    def _auxiliary_density(self, out: Tensor, target: Tensor) -> Tensor:
        """log N(b_t; tanh(mean), var), or minus the squared distance; out is the auxiliary net's."""
        out = clamp(out, self.config.auxiliary_clamp)
        if self.config.auxiliary == "squared_error":
            return -(target - torch.tanh(at_least_float32(out))).square().sum(-1)
        mean, log_variance = out.chunk(2, dim=-1)
        return gaussian_log_prob(target, torch.tanh(mean), log_variance)

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


def join(*parts: Tensor) -> Tensor:
    """Side by side, [..., sum of their features]; one alone isn't copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
