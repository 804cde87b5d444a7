"""A linear-Gaussian state-space model, whose exact likelihood checks bounds and estimates.

    z_t = A z_{t-1} + B u_t + N(0, diag(q^2)), z_0 = 0;   x_t = C z_t + N(0, diag(r^2));   u_t: known inputs, if any

          z_{t-1} -> z_t
                      v
                     x_t          the emission only reads z_t

R. E. Kalman, "A new approach to linear filtering and prediction problems", 1960; backward information messages as in
the two-filter smoother, D. Fraser and J. Potter, 1969. Proposals (setting
`proposal`), the model's `posterior`:

    smoothing   p(z_t | z_{t-1}, x_t..x_T): the exact posterior, with which every importance weight is p(x)
    filtering   p(z_t | z_{t-1}, x_t): the locally optimal proposal
    learned     N(f([z_{t-1}, x_t, u_t])), f an MLP
    prior       p(z_t | z_{t-1}): as in the bootstrap filter
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from ..distributions import gaussian
from ..errors import UserError
from ..nn import MLP, join
from ..observations import ObservationSpec, SequenceBatch
from ..processes import LinearGaussianSystem
from ..settings import Count, Seed, check
from .sequence import SequenceModel
from .state import State


@dataclass(frozen=True)
class LinearGaussianConfig:
    """Settings of the linear-Gaussian model."""

    latent_size: Count = 2
    """size of z_t"""
    proposal: Literal["smoothing", "filtering", "learned", "prior"] = "filtering"
    """what z_t is drawn from: the exact posterior, the locally optimal one, a learned one, or the prior"""
    mlp_size: Count = 32
    """hidden units of the learned proposal"""
    system_seed: Seed | None = None
    """start from the random system with this seed (data `lgssm` is drawn from one); null: A = 0.5 I, C random"""

    def __post_init__(self) -> None:
        check(self, "model")


class LinearGaussianState(NamedTuple):
    """The state of `LinearGaussian`."""

    z: Tensor  # [n, Z], the last latent
    u: Tensor  # [n, U], u_t once step t has begun


class System(NamedTuple):
    """The parameters in float64, in which inference is exact: P - K C P cancels where r is small."""

    A: Tensor
    B: Tensor | None
    C: Tensor
    log_q: Tensor
    log_r: Tensor

    def driven(self, z: Tensor, u: Tensor | None) -> Tensor:
        """z + B u, [..., Z]."""
        return z if self.B is None or u is None else z + u.double() @ self.B.t()


class LinearGaussian(SequenceModel):
    """A linear-Gaussian state-space model with learnable A, B, C, q and r, and an exact log-likelihood.

    The module's docstring has its equations.

    Args:
        spec: What one observation is; real ones only.
        config: The settings.

    Raises:
        UserError: The observations aren't real.
    """

    name = "linear_gaussian"
    hidden = "z"
    paper = (
        'R. E. Kalman, "A New Approach to Linear Filtering and Prediction Problems", '
        "Journal of Basic Engineering 82(1), 1960"
    )
    Config = LinearGaussianConfig
    is_exact = True
    capturable = False  # torch.linalg checks its factorizations on the CPU

    def __init__(self, spec: ObservationSpec, config: LinearGaussianConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config)
        if spec.kind != "real":
            raise UserError(f"model linear_gaussian emits real observations; the data's are {spec.kind}")
        Z, D, U = config.latent_size, spec.size, spec.inputs
        self.B: nn.Parameter | None = None
        if config.system_seed is None:
            self.A = nn.Parameter(0.5 * torch.eye(Z))
            self.C = nn.Parameter(torch.randn(D, Z) / math.sqrt(Z))
            self.log_q, self.log_r = nn.Parameter(torch.zeros(Z)), nn.Parameter(torch.zeros(D))
            if U:
                self.B = nn.Parameter(torch.randn(Z, U) / math.sqrt(U))
        else:
            system = LinearGaussianSystem.random(Z, D, seed=config.system_seed, inputs=U)
            like = torch.get_default_dtype()
            self.A, self.C = (nn.Parameter(torch.tensor(v, dtype=like)) for v in (system.A, system.C))
            self.log_q, self.log_r = (nn.Parameter(torch.tensor(v, dtype=like).log()) for v in (system.q, system.r))
            if system.B is not None:
                self.B = nn.Parameter(torch.tensor(system.B, dtype=like))
        if config.proposal == "learned":
            self.proposal_net = MLP(Z + 2 * D + U, config.mlp_size, 2 * Z)

    # The contract.

    def initial_state(self, n: int, *, start: Tensor | None = None) -> LinearGaussianState:
        """z_0 = 0, whatever x_0 is."""
        return LinearGaussianState(self.A.new_zeros(n, self.latent_size), self.A.new_zeros(n, self.spec.inputs))

    def encode(self, batch: SequenceBatch, *, state: State | None = None) -> Tensor:
        """[J_t, eta_t] flattened, [B, T, Z Z + Z]: the evidence on z_t in x_t (or x_t..x_T), in information form; for
        the learned proposal [x_t, observed_t], [B, T, 2 D].
        """
        if self.config.proposal == "learned":
            scored = batch.scored
            return torch.cat([torch.where(scored, batch.x, torch.zeros_like(batch.x)), scored.to(batch.x)], dim=-1)
        if self.config.proposal == "smoothing":
            J, eta = (v.to(self.A.dtype) for v in self._messages(batch))
        else:
            J, eta = evidence(batch, self.C, self.log_r)
        if self.config.proposal == "prior":
            J, eta = torch.zeros_like(J), torch.zeros_like(eta)
        return torch.cat([J.flatten(2), eta], dim=-1)

    def after_inputs(self, state: LinearGaussianState, u: Tensor | None) -> LinearGaussianState:
        """The state remembers u_t."""
        return state if u is None else state._replace(u=u)

    def prior(self, state: LinearGaussianState) -> Distribution:
        """N(A z_{t-1} + B u_t, diag(q^2))."""
        mean = self._driven(state.z @ self.A.t(), state.u)
        return gaussian(mean, torch.diag(self.log_q.exp()).expand(*mean.shape, -1))

    def posterior(self, state: LinearGaussianState, context: Tensor) -> Distribution:
        """Prior times evidence: N(V ((A z_{t-1} + B u_t) / q^2 + eta_t), V), V = (diag(1 / q^2) + J_t)^-1."""
        Z = self.latent_size
        if self.config.proposal == "learned":
            mean, log_variance = self.proposal_net(join(state.z, context, state.u)).chunk(2, dim=-1)
            return gaussian(mean, torch.diag_embed(torch.exp(log_variance / 2)))
        J, eta = context[:, : Z * Z].reshape(-1, Z, Z), context[:, Z * Z :]
        information = torch.exp(-2 * self.log_q)
        V = torch.linalg.inv(torch.diag(information) + J)
        predicted = self._driven(state.z @ self.A.t(), state.u)
        mean = (V @ (predicted * information + eta)[..., None])[..., 0]
        return gaussian(mean, torch.linalg.cholesky((V + V.mT) / 2))

    def after_latent(self, state: LinearGaussianState, z: Tensor) -> LinearGaussianState:
        """The state remembers z_t."""
        return state._replace(z=z)

    def emission(self, state: LinearGaussianState) -> Distribution:
        """N(C z_t, diag(r^2))."""
        mean = state.z @ self.C.t()
        return Independent(Normal(mean, self.log_r.exp().expand_as(mean), validate_args=False), 1, validate_args=False)

    def after_observation(self, state: LinearGaussianState, x: Tensor) -> LinearGaussianState:
        """The state doesn't depend on x_t."""
        return state

    def _driven(self, z: Tensor, u: Tensor | None) -> Tensor:
        """z + B u, [..., Z]."""
        return z if self.B is None or u is None else z + u @ self.B.t()

    # Exact inference, in float64.

    def log_likelihood(self, batch: SequenceBatch) -> Tensor:
        """log p(x_1..x_T) of each sequence, [B] in nats, float64, by the Kalman filter; missing values are integrated
        out.
        """
        return self._filter(batch)[0]

    def smooth(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Mean [B, T, Z] and covariance [B, T, Z, Z] of p(z_t | x_1..x_T), from prediction and backward message."""
        _, m, P = self._filter(batch)
        J, eta = self._messages(batch)
        eye = torch.eye(self.latent_size).to(P)
        V = torch.linalg.solve(eye + P @ J, P)  # (P^-1 + J)^-1 without inverting P
        mean = torch.linalg.solve(eye + P @ J, m[..., None] + P @ eta[..., None])[..., 0]
        return mean.to(self.A.dtype), V.to(self.A.dtype)

    def _system(self) -> System:
        B = None if self.B is None else self.B.double()
        return System(self.A.double(), B, self.C.double(), self.log_q.double(), self.log_r.double())

    def _filter(self, batch: SequenceBatch) -> tuple[Tensor, Tensor, Tensor]:
        """log p(x) [B]; mean [B, T, Z] and covariance [B, T, Z, Z] of p(z_t | x_<t)."""
        self.check_batch(batch)
        system = self._system()
        Q, R = torch.diag(torch.exp(2 * system.log_q)), torch.exp(2 * system.log_r)
        m = Q.new_zeros(len(batch), self.latent_size)
        P = Q.new_zeros(len(batch), self.latent_size, self.latent_size)
        total, means, covariances = Q.new_zeros(len(batch)), [], []
        inputs = [None] * batch.x.shape[1] if batch.inputs is None else batch.inputs.unbind(1)
        for x, u, scored in zip(batch.x.double().unbind(1), inputs, batch.scored.unbind(1), strict=True):
            m, P = system.driven(m @ system.A.t(), u), system.A @ P @ system.A.t() + Q
            means.append(m)
            covariances.append(P)
            # a missing value gets a zero row in C, no error and unit noise, and so adds nothing to the determinant
            C = system.C * scored[..., None]  # [B, D, Z]
            S = C @ P @ C.mT + torch.diag_embed(torch.where(scored, R, torch.ones_like(R)))
            error = torch.where(scored, x, torch.zeros_like(x)) - (C @ m[..., None])[..., 0]
            L = torch.linalg.cholesky(S)
            whitened = torch.linalg.solve_triangular(L, error[..., None], upper=False)[..., 0]
            log_det = 2 * L.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            constant = scored.sum(-1).double() * math.log(2 * math.pi)
            total = total - 0.5 * (whitened.square().sum(-1) + log_det + constant)
            gain = torch.cholesky_solve(C @ P, L).mT
            m, P = m + (gain @ error[..., None])[..., 0], P - gain @ C @ P
        return total, torch.stack(means, dim=1), torch.stack(covariances, dim=1)

    def _messages(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """J and eta of p(x_t..x_T | z_t), backward in time. They are 0 in the padding, which so has no effect."""
        system = self._system()
        J, eta = evidence(batch, system.C, system.log_r)
        eye = torch.diag(torch.exp(-2 * system.log_q))
        Js, etas = [J[:, -1]], [eta[:, -1]]
        inputs = batch.inputs
        following = [None] * (J.shape[1] - 1) if inputs is None else inputs[:, 1:].flip(1).unbind(1)
        for J_t, eta_t, u in zip(J[:, :-1].flip(1).unbind(1), eta[:, :-1].flip(1).unbind(1), following, strict=True):
            J_next, eta_next = Js[-1], etas[-1]
            JS = J_next @ torch.linalg.inv(eye + J_next)  # integrates z_{t+1} out
            J_mean = J_next - JS @ J_next  # of its mean, A z_t + B u_{t+1}
            eta_mean = eta_next - (JS @ eta_next[..., None])[..., 0]
            if system.B is not None and u is not None:
                eta_mean = eta_mean - (J_mean @ (u.double() @ system.B.t())[..., None])[..., 0]
            Js.append(J_t + system.A.t() @ J_mean @ system.A)
            etas.append(eta_t + eta_mean @ system.A)
        return torch.stack(Js[::-1], dim=1), torch.stack(etas[::-1], dim=1)


def evidence(batch: SequenceBatch, C: Tensor, log_r: Tensor) -> tuple[Tensor, Tensor]:
    """J [B, T, Z, Z] and eta [B, T, Z] of p(x_t | z_t) = exp(-z'Jz / 2 + z'eta + ...); 0 if nothing is observed."""
    precision = batch.scored * torch.exp(-2 * log_r)  # [B, T, D]
    J = torch.einsum("di,btd,dj->btij", C, precision, C)
    x = torch.where(batch.scored, batch.x, torch.zeros_like(batch.x))
    return J, torch.einsum("di,btd->bti", C, precision * x)
