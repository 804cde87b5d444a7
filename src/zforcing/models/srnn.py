r"""SRNN: a chain of latents on top of a deterministic recurrent network that doesn't read the latents.

M. Fraccaro, S. K. Sønderby, U. Paquet, O. Winther, "Sequential neural models with stochastic layers", NIPS 2016, arXiv
1605.07571. Its input u_t is the previous observation, x_{t-1}.

    network     d_t = GRU(e(x_{t-1}), d_{t-1}), d_0 = 0
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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import batch_first, diagonal_gaussian
from ..emissions import EmissionSettings, make_emission
from ..nn import Affine, Embedder, FeatureNet, GaussianHead, initialize_gru, last_step, repeat_particles, run_gru
from ..observations import ObservationSpec, SequenceBatch, reverse_time_first
from ..recurrence import Loop, equations
from ..settings import Count, Positive, Probability, check
from .base import Resample, SequenceModel, State, Step, Unroll


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
    """means and log-variances of prior and posterior are clamped to plus or minus this; null: not clamped"""
    activation_clamp: Positive | None = 3.0
    """the leaky ReLUs are clamped to plus or minus this; null: not clamped"""

    def __post_init__(self) -> None:
        check(self, "model")


class SRNNState(NamedTuple):
    """The state of `SRNN`."""

    d: Tensor  # [n, H], of the deterministic network, which has read all x so far: d_{t+1} after x_t
    z: Tensor  # [n, Z], the last latent


class SRNN(SequenceModel):
    """The stochastic recurrent neural network (Fraccaro et al., 2016), smoothing or filtering.

    The module's docstring has its equations and the differences from the paper.

    Args:
        spec: What one observation is.
        config: The settings.
    """

    name = "srnn"
    Config = SRNNConfig

    def __init__(self, spec: ObservationSpec, config: SRNNConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config)
        hidden, latent, embedding, mlp = (
            config.hidden_size,
            config.latent_size,
            config.embedding_size,
            config.mlp_size,
        )
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
        self.forward_gru = nn.GRU(embedding, hidden)
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

    @property
    def latent_size(self) -> int:
        """Z, the size of z_t."""
        size: int = self.config.latent_size
        return size

    # The methods of SequenceModel, for one step.

    def initial_state(self, n: int, *, start: Tensor | None = None) -> SRNNState:
        """d_1 = GRU(e(x_0), 0), z_0 = 0."""
        weight = self.prior_net.mlp.first.weight
        x = self.spec.blank(n, device=weight.device, dtype=weight.dtype) if start is None else start
        d = weight.new_zeros(n, self.config.hidden_size)
        return SRNNState(self._next(d, x), weight.new_zeros(n, self.latent_size))

    def encode(self, batch: SequenceBatch, *, state: State | None = None) -> Tensor:
        """a_1..a_T, [B, T, H], or [B, T, M] of the filtering posterior."""
        first = self.initial_state(len(batch), start=batch.start) if state is None else state
        embedded = self.embed.to_affine(batch.past.transpose(0, 1))
        d = self._network(embedded, first.d)[:-1]
        return self._contexts(d, self._observed(batch, embedded), batch.lengths).transpose(0, 1)

    def prior(self, state: SRNNState) -> Distribution:
        """p(z_t | .) = N(f_p([z_{t-1}, d_t]))."""
        return self._prior(state.z, state.d)

    def posterior(self, state: SRNNState, context: Tensor) -> Distribution:
        """q(z_t | .) = N(f_q([z_{t-1}, a_t])), with the prior's mean added if it is residual."""
        return self._posterior(state.z, context, self.prior(state) if self.config.residual_posterior else None)

    def after_latent(self, state: SRNNState, z: Tensor) -> SRNNState:
        """The state remembers z_t."""
        return state._replace(z=z)

    def emission(self, state: SRNNState) -> Distribution:
        """p(x_t | .) = f_o([z_t, d_t])."""
        return self._emission(state.z, state.d)

    def after_observation(self, state: SRNNState, x: Tensor) -> SRNNState:
        """d_{t+1} = GRU(e(x_t), d_t)."""
        return state._replace(d=self._next(state.d, x))

    # All steps at once, time first: only the chain of latents needs a loop.

    def fast_unroll(
        self,
        batch: SequenceBatch,
        *,
        noise: Tensor | None,
        latents: Tensor | None,
        state: SRNNState | None,
        context: Tensor | None,
        particles: int,
        resample: Resample | None,
    ) -> Unroll:
        """Run both networks, then the loop over the latents (unless these are given), then the emission."""
        rows = batch.repeat(particles)
        first = self.initial_state(len(rows), start=rows.start) if state is None else state
        embedded = self.embed.to_affine(batch.past.transpose(0, 1))
        network = self._network(embedded, first.d[: len(batch)])  # d doesn't differ between particles
        batch_d, d = network[:-1], repeat_particles(network[:-1], particles)
        if context is None:
            a = self._contexts(batch_d, self._observed(batch, embedded), batch.lengths)
        else:
            a = context.transpose(0, 1)
        if latents is not None:
            z = latents.transpose(0, 1)
            before = torch.cat([first.z[None], z[:-1]])
            prior = self._prior(before, d)
            posterior = self._posterior(before, repeat_particles(a, particles), prior)
        else:
            assert noise is not None, "a run needs noise or latents"
            before, z, query, *parameters = self._loop(first, batch_d, a, noise.transpose(0, 1), resample)
            prior = GaussianHead.of(parameters[0]) if parameters else self._prior(before, d)
            posterior = self._add_prior_mean(query, prior)

        def zeros() -> Tensor:
            return z.new_zeros(rows.x.shape[:2])

        return Unroll(
            rows,
            prior=batch_first(prior),
            posterior=batch_first(posterior),
            latents=z.transpose(0, 1),
            emission=batch_first(self._emission(z, d)),
            auxiliary=zeros,
            backward=zeros,
            state=lambda: SRNNState(
                last_step(repeat_particles(network[1:], particles), rows.lengths), last_step(z, rows.lengths)
            ),
        )

    def _loop(
        self, first: SRNNState, d: Tensor, a: Tensor, noise: Tensor, resample: Resample | None
    ) -> tuple[Tensor, ...]:
        """z_{t-1}, z_t, the output of f_q and, for the residual posterior, of f_p, [T, n, .] each; d, a [T, B, .]."""
        loop = Loop(steps=len(d), rows=len(first.z))
        before = loop.carried(first.z)
        nets = [self.posterior_net.record_joint(loop, before, a)]
        if self.config.residual_posterior:
            nets.append(self.prior_net.record_joint(loop, before, d))
        z = equations.sample(loop, nets[0], noise)
        for prior in nets[1:]:
            equations.add_first(loop, z, prior)
        loop.carry(before, z)
        if resample is not None:
            num_copies = len(first.z) // d.shape[1]

            def choose(t: int, values: Sequence[Tensor]) -> Tensor | None:
                z_before, z_t, query, *parameters = values
                d_t = d[t].repeat(num_copies, 1)
                p = GaussianHead.of(parameters[0]) if parameters else self._prior(z_before, d_t)
                return resample(t, Step(p, self._add_prior_mean(query, p), z_t, self._emission(z_t, d_t)))

            loop.select(choose, [before, z, *nets])
        return loop.run(before, z, *nets)

    # The networks and the densities, for one step [n, .] or all [T, n, .].

    def _next(self, d: Tensor, x: Tensor) -> Tensor:
        """GRU(e(x), d), [n, H]."""
        out: Tensor = self.forward_gru(self.embed(x)[None], d[None])[1][0]
        return out

    def _network(self, embedded: Affine, first: Tensor) -> Tensor:
        """d_1..d_{T+1} [T + 1, B, H] from e(x_1)..e(x_T) and d_1 [B, H]; meaningless in the padding."""
        return torch.cat([first[None], run_gru(self.forward_gru, embedded, first)])

    def _observed(self, batch: SequenceBatch, embedded: Affine) -> Affine:
        """e(x_1)..e(x_T), which the posterior reads: `embedded`, unless the network was fed something else than x."""
        return embedded if batch.fed is None else self.embed.to_affine(batch.read.transpose(0, 1))

    def _contexts(self, d: Tensor, embedded: Affine, lengths: Tensor) -> Tensor:
        """a_1..a_T from d_1..d_T and e(x_1)..e(x_T), [T, B, .] each."""
        read = torch.cat([d, embedded.value], dim=-1)
        if not isinstance(self.context_net, nn.GRU):
            out: Tensor = self.context_net(read)
            return out
        last = d.new_zeros(d.shape[1:])
        return reverse_time_first(run_gru(self.context_net, reverse_time_first(read, lengths), last), lengths)

    def _prior(self, z: Tensor, d: Tensor) -> Distribution:
        out: Distribution = self.prior_net(torch.cat([z, d], dim=-1))
        return out

    def _posterior(self, z: Tensor, a: Tensor, prior: Distribution | None) -> Distribution:
        return self._add_prior_mean(self.posterior_net.parameters_of(torch.cat([z, a], dim=-1)), prior)

    def _add_prior_mean(self, query: Tensor, prior: Distribution | None) -> Distribution:
        """The posterior from the output of f_q [..., 2 Z], with the prior's mean added if it is residual."""
        mean, log_variance = query.chunk(2, dim=-1)
        if prior is not None and self.config.residual_posterior:
            mean = mean + prior.mean
        return diagonal_gaussian(mean, log_variance)

    def _emission(self, z: Tensor, d: Tensor) -> Distribution:
        out: Distribution = self.emission_net(self.dropout(self.output_net(torch.cat([z, d], dim=-1))))
        return out
