"""RNN: the deterministic baseline, an LSTM language model of observations. Its likelihood is exact.

h_t = LSTM(e(x_{t-1}), h_{t-1});   p(x_t | x_<t) = emission(h_t)

    e(x_{t-1}) -> h_t -> x_t         with `output_skip` the emission reads e(x_{t-1}) too
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ..distributions import no_latent
from ..emissions import make_emission
from ..nn import Embedder, Readout, initialize_lstm
from ..sequences import ObservationSpec, SequenceBatch
from .base import SequenceModel, Unroll
from .settings import check_settings


@dataclass(frozen=True)
class RNNConfig:
    """Settings of the RNN."""

    hidden_size: int = 256
    """units of the LSTM, in each layer"""
    embedding_size: int = 128
    """size of e(x)"""
    num_layers: int = 1
    """layers of the LSTM"""
    dropout: float = 0.0
    """probability of dropping an entry of e(x), of h_t between layers and of the emission's features, in training"""
    output_skip: bool = True
    """whether the emission reads e(x_{t-1}) too, as Z-Forcing's does"""
    forget_bias: float = 0.0
    """the forget gate's first bias"""
    activation_clamp: float | None = 3.0
    """the leaky ReLU is clamped to plus or minus this; null: not"""
    logit_clamp: float | None = None
    """binary data: the logits are clamped to plus or minus this; null: not"""
    min_std: float = 0.0
    """real data: the least standard deviation of an emission, in units of the normalized data"""

    def __post_init__(self) -> None:
        check_settings(self)


class RNNState(NamedTuple):
    """h, c: [n, L, H]; x: the last observation, [n, D] or [n]."""

    h: Tensor
    c: Tensor
    x: Tensor


class RNN(SequenceModel):
    """An LSTM with a linear embedding and an emission. S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997.

    With a Gaussian emission this is RNN-Gauss of J. Chung et al., "A recurrent latent variable model for sequential
    data", NIPS 2015 (arXiv 1506.02216), without their feature networks.
    """

    name = "rnn"
    Config = RNNConfig

    def __init__(self, spec: ObservationSpec, config: RNNConfig = RNNConfig()):
        super().__init__(spec, config)
        self.embed = Embedder(spec, config.embedding_size, dropout=config.dropout)
        between = config.dropout if config.num_layers > 1 else 0.0
        self.lstm = nn.LSTM(
            config.embedding_size, config.hidden_size, config.num_layers, batch_first=True, dropout=between
        )
        initialize_lstm(self.lstm, forget_bias=config.forget_bias)
        self.readout = Readout(
            config.hidden_size,
            config.embedding_size,
            skip=config.output_skip,
            dropout=config.dropout,
            activation_limit=config.activation_clamp,
        )
        self.emission_net = make_emission(
            spec, config.hidden_size, min_std=config.min_std, logit_clamp=config.logit_clamp
        )

    @property
    def latent_size(self) -> int:
        """0: there is none."""
        return 0

    def initial_state(self, n: int, *, start: Tensor | None = None) -> RNNState:
        """h_0 = c_0 = 0."""
        weight = self.lstm.get_parameter("weight_hh_l0")
        zeros = weight.new_zeros(n, self.config.num_layers, self.config.hidden_size)
        x = self.spec.blank(n, device=weight.device, dtype=weight.dtype) if start is None else start
        return RNNState(zeros, zeros, x)

    def encode(self, batch: SequenceBatch) -> Tensor:
        """Nothing: [B, T, 0]."""
        return self.lstm.get_parameter("weight_hh_l0").new_zeros(*batch.x.shape[:2], 0)

    def prior(self, state: RNNState) -> Distribution:
        """Of a latent of size 0."""
        return no_latent(state.h[:, -1])

    def posterior(self, state: RNNState, context: Tensor) -> Distribution:
        """Of a latent of size 0."""
        return no_latent(state.h[:, -1])

    def after_latent(self, state: RNNState, z: Tensor) -> RNNState:
        """h_t = LSTM(e(x_{t-1}), h_{t-1})."""
        h, c = state.h.transpose(0, 1).contiguous(), state.c.transpose(0, 1).contiguous()  # [L, n, H]
        _, (h, c) = self.lstm(self.embed(state.x)[:, None], (h, c))
        return state._replace(h=h.transpose(0, 1), c=c.transpose(0, 1))

    def emission(self, state: RNNState) -> Distribution:
        """p(x_t | x_<t)."""
        out: Distribution = self.emission_net(self.readout(state.h[:, -1], self.embed(state.x)))
        return out

    def after_observation(self, state: RNNState, x: Tensor) -> RNNState:
        """Keeps x_t for the next step."""
        return state._replace(x=x)

    def unroll(
        self,
        batch: SequenceBatch,
        *,
        noise: Tensor | None = None,
        latents: Tensor | None = None,
        state: RNNState | None = None,
    ) -> Unroll:
        """One call of torch.nn.LSTM over all steps. Noise and latents [B, T, 0] are empty."""
        self.check_batch(batch, noise=noise, latents=latents)
        state = self.initial_state(len(batch), start=batch.start) if state is None else state
        read = batch.read
        before = torch.cat([state.x[:, None], read[:, :-1]], dim=1)
        embedded = self.embed(before)
        hidden, h, c = self._run(embedded, batch.lengths, state)
        none = no_latent(hidden)
        last = read[torch.arange(len(batch), device=batch.x.device), batch.lengths - 1]
        return Unroll.assemble(
            batch,
            prior=none,
            posterior=none,
            latents=none.mean,
            emission=self.emission_net(self.readout(hidden, embedded)),
            auxiliary=hidden.new_zeros(hidden.shape[:2]),
            backward=hidden.new_zeros(hidden.shape[:2]),
            state=RNNState(h, c, last),
        )

    def _run(self, embedded: Tensor, lengths: Tensor, state: RNNState) -> tuple[Tensor, Tensor, Tensor]:
        """h_1..h_T of the last layer [B, T, H], and h, c [B, L, H] at each row's own last step."""
        first = (state.h.transpose(0, 1).contiguous(), state.c.transpose(0, 1).contiguous())
        steps = embedded.shape[1]
        if bool((lengths == steps).all()):
            hidden, (h, c) = self.lstm(embedded, first)
        else:  # packed, or the last state of a shorter row would have read its padding
            rows = pack_padded_sequence(embedded, lengths.cpu(), batch_first=True, enforce_sorted=False)
            out, (h, c) = self.lstm(rows, first)
            hidden, _ = pad_packed_sequence(out, batch_first=True, total_length=steps)
        return hidden, h.transpose(0, 1), c.transpose(0, 1)
