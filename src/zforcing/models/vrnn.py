r"""VRNN: an LSTM that reads each observation together with the latent that generated it.

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

phi_x, phi_z, f_p, f_q and f_o have `mlp_layers` hidden ReLU layers each; the outputs of phi_x and phi_z, and the
features that the emission reads, are the last hidden layer.

Differences from the paper:
- Standard deviations are exp(log_variance / 2), as in all models here; the paper has a softplus.
- h_0 = 0 if every observation is scored. If the first one is conditioned on, it is read and has no latent:
  h_0 = LSTM([phi_x(x_0), 0], 0).
- The default sizes are those of the authors' code for speech (600 and 500 units in the MLPs); the paper chose sizes for
  each data set and model so that all have about as many parameters.
- phi_x begins with the embedding that all models here share, which handles categories and missing values.
- Dropout on phi_x(x) and on the emission's features is an addition; 0 by default.
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
from ..settings import Count, Positive, Probability, check
from .base import Resample, SequenceModel, State, Step, Unroll


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

    def __post_init__(self) -> None:
        check(self, "model")


class VRNNState(NamedTuple):
    """The state of `VRNN`."""

    h: Tensor  # [n, H], hidden state of the LSTM
    c: Tensor  # [n, H], its cell
    z: Tensor  # [n, Z], the last latent


class VRNN(SequenceModel):
    """The variational recurrent neural network (Chung et al., 2015), with a learned or a standard normal prior.

    The module's docstring has its equations and the differences from the paper.

    Args:
        spec: What one observation is.
        config: The settings.
    """

    name = "vrnn"
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
        self.lstm = nn.LSTM(features + mlp, hidden)
        initialize_lstm(self.lstm, forget_bias=config.forget_bias)
        self.prior_net = gaussian(hidden) if config.prior == "conditional" else None
        self.posterior_net = gaussian(hidden + features)
        self.output_net = FeatureNet(mlp + hidden, features, **relus)
        self.dropout = nn.Dropout(config.dropout)
        self.emission_net = make_emission(spec, features, config)

    @property
    def label(self) -> str:
        """The name, and the prior if it isn't the conditional one."""
        return self.name if self.config.prior == "conditional" else f"{self.name} ({self.config.prior} prior)"

    @property
    def latent_size(self) -> int:
        """Z, the size of z_t."""
        size: int = self.config.latent_size
        return size

    # The methods of SequenceModel, for one step.

    def initial_state(self, n: int, *, start: Tensor | None = None) -> VRNNState:
        """h_0 = c_0 = 0, or LSTM([phi_x(x_0), 0], 0) if x_0 is an observation."""
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
        """The state remembers z_t."""
        return state._replace(z=z)

    def emission(self, state: VRNNState) -> Distribution:
        """p(x_t | .) = f_o([phi_z(z_t), h_{t-1}])."""
        return self._emission(state.h, self.latent_net(state.z))

    def after_observation(self, state: VRNNState, x: Tensor) -> VRNNState:
        """h_t = LSTM([phi_x(x_t), phi_z(z_t)], h_{t-1})."""
        return VRNNState(*self._next(self._features(x), self.latent_net(state.z), state.h, state.c), state.z)

    # All steps at once, time first: only what depends on the sampled z_t needs a loop.

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
        """Run LSTM and posterior in a loop, or torch's LSTM in one call if the latents are given."""
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
            inputs = torch.cat([repeat_particles(features, particles), z_features], dim=-1)
            hs, last = run_lstm(self.lstm, inputs, first.h, first.c, rows.lengths)
            before = torch.cat([first.h[None], hs[:-1]])
            posterior = self._posterior(before, repeat_particles(contexts, particles))
        else:
            assert noise is not None, "a run needs noise or latents"
            before, hs, cs, z, z_features, parameters = self._loop(
                first, contexts, features, noise.transpose(0, 1), resample
            )
            last, posterior = partial(last_steps, hs, cs, rows.lengths), GaussianHead.of(parameters)

        def zeros() -> Tensor:
            return before.new_zeros(rows.x.shape[:2])

        return Unroll(
            rows,
            prior=batch_first(self._prior(before)),
            posterior=batch_first(posterior),
            latents=z.transpose(0, 1),
            emission=batch_first(self._emission(before, z_features)),
            auxiliary=zeros,
            backward=zeros,
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
        input_weight, h_weight, bias, other_bias = weights_of(self.lstm)
        x_weight, z_weight = input_weight.split([features.shape[-1], z_features.size], dim=1)
        gates = equations.linear(loop, h, h_weight, bias=bias + other_bias, given=features, given_weight=x_weight)
        equations.add_linear(loop, gates, z_features, z_weight)
        h_t, c_t = equations.lstm(loop, gates, c)
        loop.carry(h, h_t)
        loop.carry(c, c_t)
        if resample is not None:

            def choose(t: int, values: Sequence[Tensor]) -> Tensor | None:
                before, z_t, z_features_t, query = values
                step = Step(self._prior(before), GaussianHead.of(query), z_t, self._emission(before, z_features_t))
                return resample(t, step)

            loop.select(choose, [h, z, z_features, parameters])
        return loop.run(h, h_t, c_t, z, z_features, parameters)

    # The densities and the LSTM, for one step [n, .] or all [T, n, .].

    def _features(self, x: Tensor) -> Tensor:
        """phi_x(x), [..., F]."""
        out: Tensor = self.dropout(self.embed_layers(self.embed(x)))
        return out

    def _all_features(self, x: Tensor, mask: Tensor) -> Tensor:
        """phi_x(x_1..x_T), [T, B, F]; of 0 in the padding, where the unbounded ReLUs could make a variance infinite."""
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
