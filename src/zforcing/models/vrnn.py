r"""VRNN: an LSTM that reads what it has emitted and the latent that it was emitted from.

J. Chung, K. Kastner, L. Dinh, K. Goel, A. Courville, Y. Bengio, "A recurrent latent variable model for sequential
data", NIPS 2015, arXiv 1506.02216, equations 5 to 11.

    prior       p(z_t | .) = N(f_p(h_{t-1})), or N(0, I) (`prior: standard`, the paper's VRNN-I)
    posterior   q(z_t | .) = N(f_q([phi_x(x_t), h_{t-1}]))
    emission    p(x_t | .) = f_o([phi_z(z_t), h_{t-1}])
    state       h_t = LSTM([phi_x(x_t), phi_z(z_t)], h_{t-1})

         .------> z_t ------.
        /          |         v
    h_{t-1} -------|-------> h_t          the posterior of z_t reads x_t too
        \          v         ^
         `------> x_t ------'

All of phi_x, phi_z, f_p, f_q, f_o have `mlp_layers` hidden layers of ReLUs; phi_x and phi_z end there, and so does what
the emission reads.

What differs, and why:
- Standard deviations are exp(log_variance / 2), as in all of this package, where the paper has a softplus.
- h_0 = 0 where every observation is scored. Where the first one is conditioned on, h_0 = LSTM([phi_x(x_0), 0], 0): it
  is read, and has no latent.
- The defaults are the sizes of the authors' code for speech (600 and 500 units in the nets); the paper chose them anew
  for each data set and model, to have as many parameters in all of them.
- phi_x begins with the layer that every model here reads x by, so that categories and missing values can be read.
- Dropout acts on phi_x(x) and on the emission's features; it is ours, and 0 by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import batch_first, diagonal_gaussian
from ..emissions import EmissionSettings, make_emission
from ..nn import (
    Embedder,
    FeatureNet,
    GaussianHead,
    HiddenLayers,
    initialize_lstm,
    last_step,
    last_steps,
    repeat_particles,
    run_lstm,
    weights_of,
)
from ..observations import ObservationSpec, SequenceBatch
from ..recurrence import Loop, equations
from ..settings import check_settings
from .base import Resample, SequenceModel, State, Step, Unroll


@dataclass(frozen=True)
class VRNNConfig(EmissionSettings):
    """Settings of the VRNN."""

    hidden_size: int = 2000
    """units of the LSTM"""
    latent_size: int = 200
    """size of z_t"""
    feature_size: int = 600
    """units of each layer of phi_x, what is read of x, and of the emission's net"""
    mlp_size: int = 500
    """units of each layer of phi_z, what is read of z, and of the prior and posterior nets"""
    mlp_layers: int = 4
    """hidden layers of each net"""
    prior: Literal["conditional", "standard"] = "conditional"
    """p(z_t | .): a net of h_{t-1}, or N(0, I) at every step (the paper's VRNN-I)"""
    forget_bias: float = 0.0
    """the forget gate's first bias"""
    dropout: float = 0.0
    """probability of dropping an entry of phi_x(x) and of the emission's features, in training"""
    latent_clamp: float | None = None
    """means and log-variances of prior and posterior are clamped to plus or minus this; null: not"""

    def __post_init__(self) -> None:
        check_settings(self)


class VRNNState(NamedTuple):
    """h, c: of the LSTM, [n, H]; z: the last latent, [n, Z]."""

    h: Tensor
    c: Tensor
    z: Tensor


class VRNN(SequenceModel):
    """The variational recurrent neural network, with a learned prior or a standard normal one. See the module."""

    name = "vrnn"
    Config = VRNNConfig

    def __init__(self, spec: ObservationSpec, config: VRNNConfig = VRNNConfig()):
        super().__init__(spec, config)
        hidden, latent, features, mlp = config.hidden_size, config.latent_size, config.feature_size, config.mlp_size
        relus: dict[str, Any] = {"layers": config.mlp_layers, "slope": 0.0, "activation_limit": None}

        def gaussian(read: int) -> GaussianHead:
            return GaussianHead(read, mlp, latent, limit=config.latent_clamp, **relus)

        self.embed = Embedder(spec, features)  # phi_x is these two
        self.embed_layers = HiddenLayers(features, **relus)
        self.latent_net = FeatureNet(latent, mlp, **relus)  # phi_z
        self.lstm = nn.LSTM(features + mlp, hidden)
        initialize_lstm(self.lstm, forget_bias=config.forget_bias)
        self.prior_net = gaussian(hidden) if config.prior == "conditional" else None
        self.posterior_net = gaussian(hidden + features)
        self.output_net = FeatureNet(mlp + hidden, features, **relus)
        self.dropout = nn.Dropout(config.dropout)
        self.emission_net = make_emission(spec, features, config)

    @property
    def label(self) -> str:
        """With the prior, if it isn't the paper's."""
        return self.name if self.config.prior == "conditional" else f"{self.name} ({self.config.prior} prior)"

    @property
    def latent_size(self) -> int:
        """Z."""
        size: int = self.config.latent_size
        return size

    # The contract, step by step.

    def initial_state(self, n: int, *, start: Tensor | None = None) -> VRNNState:
        """h_0 = c_0 = 0, or LSTM([phi_x(x_0), 0], 0) where x_0 is an observation."""
        weight = self.posterior_net.mlp.first.weight
        zeros, z = weight.new_zeros(n, self.config.hidden_size), weight.new_zeros(n, self.latent_size)
        if not self.spec.conditions_on_first:
            return VRNNState(zeros, zeros, z)
        x = self.spec.blank(n, device=weight.device, dtype=weight.dtype) if start is None else start
        return VRNNState(*self._next(self._features(x), weight.new_zeros(n, self.config.mlp_size), zeros, zeros), z)

    def encode(self, batch: SequenceBatch, *, state: State | None = None) -> Tensor:
        """phi_x(x_1)..phi_x(x_T), [B, T, F]."""
        return self._all_features(batch.read, batch.mask).transpose(0, 1)

    def prior(self, state: VRNNState) -> Distribution:
        """p(z_t | .) = N(f_p(h_{t-1})), or N(0, I)."""
        return self._prior(state.h)

    def posterior(self, state: VRNNState, context: Tensor) -> Distribution:
        """q(z_t | .) = N(f_q([phi_x(x_t), h_{t-1}]))."""
        return self._posterior(state.h, context)

    def after_latent(self, state: VRNNState, z: Tensor) -> VRNNState:
        """Keeps z_t."""
        return state._replace(z=z)

    def emission(self, state: VRNNState) -> Distribution:
        """p(x_t | .) = f_o([phi_z(z_t), h_{t-1}])."""
        return self._emission(state.h, self.latent_net(state.z))

    def after_observation(self, state: VRNNState, x: Tensor) -> VRNNState:
        """h_t = LSTM([phi_x(x_t), phi_z(z_t)], h_{t-1})."""
        return VRNNState(*self._next(self._features(x), self.latent_net(state.z), state.h, state.c), state.z)

    # All steps at once, time first: only what the sampled z_t enters is left in a loop.

    def fast_unroll(
        self,
        batch: SequenceBatch,
        *,
        noise: Tensor | None,
        latents: Tensor | None,
        state: VRNNState | None,
        context: Tensor | None,
        particles: int,
        resample: Resample | None,
    ) -> Unroll:
        """The LSTM and the posterior in a loop, or one call of torch's LSTM where the latents are given."""
        rows = batch.repeat(particles)
        first = self.initial_state(len(rows), start=rows.start) if state is None else state
        features = self._all_features(batch.past, batch.mask)
        if context is None and batch.fed is None:
            contexts = features
        else:
            contexts = (self.encode(batch) if context is None else context).transpose(0, 1)
        if latents is not None:
            z = latents.transpose(0, 1)
            z_features = self.latent_net(z)
            read = torch.cat([repeat_particles(features, particles), z_features], dim=-1)
            hs, last = run_lstm(self.lstm, read, first.h, first.c, rows.lengths)
            before = torch.cat([first.h[None], hs[:-1]])
            posterior = self._posterior(before, repeat_particles(contexts, particles))
        else:
            assert noise is not None, "a run is given noise or latents"
            before, hs, cs, z, z_features, parameters = self._loop(
                first, contexts, features, noise.transpose(0, 1), resample
            )
            last, posterior = partial(last_steps, hs, cs, rows.lengths), GaussianHead.of(parameters)

        def nothing() -> Tensor:
            return before.new_zeros(rows.x.shape[:2])

        return Unroll(
            rows,
            prior=batch_first(self._prior(before)),
            posterior=batch_first(posterior),
            latents=z.transpose(0, 1),
            emission=batch_first(self._emission(before, z_features)),
            auxiliary=nothing,
            backward=nothing,
            state=lambda: VRNNState(*last(), last_step(z, rows.lengths)),
        )

    def _loop(
        self, first: VRNNState, contexts: Tensor, features: Tensor, noise: Tensor, resample: Resample | None
    ) -> tuple[Tensor, ...]:
        """h_{t-1}, h_t, c_t, z_t, phi_z(z_t) and the posterior's mean and log-variance, [T, n, .] each."""
        loop = Loop(steps=len(features), rows=len(first.h))
        h, c = loop.carried(first.h), loop.carried(first.c)
        parameters = self.posterior_net.record_joint(loop, h, contexts)
        z = equations.sample(loop, parameters, noise)
        layer = self.latent_net.first
        z_features = self.latent_net.record(loop, equations.linear(loop, z, layer.weight, bias=layer.bias))
        of_inputs, of_h, bias, other_bias = weights_of(self.lstm)
        of_x, of_z = of_inputs.split([features.shape[-1], z_features.size], dim=1)
        gates = equations.linear(loop, h, of_h, bias=bias + other_bias, given=features, given_weight=of_x)
        equations.add_linear(loop, gates, z_features, of_z)
        h_t, c_t = equations.lstm(loop, gates, c)
        loop.carry(h, h_t)
        loop.carry(c, c_t)
        if resample is not None:

            def choose(t: int, values: Sequence[Tensor]) -> Tensor | None:
                before, z_t, read, numbers = values
                step = Step(self._prior(before), GaussianHead.of(numbers), z_t, self._emission(before, read))
                return resample(t, step)

            loop.select(choose, [h, z, z_features, parameters])
        return loop.run(h, h_t, c_t, z, z_features, parameters)

    # The densities and the LSTM, for one step [n, .] or all [T, n, .].

    def _features(self, x: Tensor) -> Tensor:
        """phi_x(x)."""
        out: Tensor = self.dropout(self.embed_layers(self.embed(x)))
        return out

    def _all_features(self, x: Tensor, mask: Tensor) -> Tensor:
        """phi_x(x_1..x_T), [T, B, F]; of 0 in the padding: ReLUs have no limit, and so had a variance made of them."""
        exists = mask if x.dim() == 2 else mask[:, :, None]
        return self._features(torch.where(exists, x, torch.zeros_like(x)).transpose(0, 1))

    def _prior(self, h: Tensor) -> Distribution:
        if self.prior_net is None:
            zeros = h.new_zeros(*h.shape[:-1], self.latent_size)
            return diagonal_gaussian(zeros, zeros)
        out: Distribution = self.prior_net(h)
        return out

    def _posterior(self, h: Tensor, context: Tensor) -> Distribution:
        out: Distribution = self.posterior_net(torch.cat([h, context], dim=-1))
        return out

    def _emission(self, h: Tensor, z_features: Tensor) -> Distribution:
        out: Distribution = self.emission_net(self.dropout(self.output_net(torch.cat([z_features, h], dim=-1))))
        return out

    def _next(self, features: Tensor, z_features: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """h_t and c_t from phi_x(x_t), phi_z(z_t), h_{t-1} and c_{t-1}, [n, .] each."""
        _, (h, c) = self.lstm(torch.cat([features, z_features], dim=-1)[None], (h[None], c[None]))
        return h[0], c[0]
