"""The importance-weighted bound with K particles, with plain or doubly reparameterized gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd  # what all kinds of dropout are
from torch.utils.checkpoint import checkpoint

from ..errors import UserError
from ..models.density import DensityModel
from ..models.state import State
from ..observations import SequenceBatch
from ..settings import Count
from .base import Bound, BoundResult, Weights, costs_of, kind_of, refuse, weighted_sum
from .particles import log_mean

T = TypeVar("T")


@dataclass(frozen=True)
class IWAE(Bound):
    """The importance-weighted bound with K samples of z per sequence.

        log p(x) >= E[ log (1/K) sum_k w_k ],  w_k = prod_t p(x_t | .) p(z_t^k | .) / q(z_t^k | .),  z^k ~ q

    Y. Burda, R. Grosse, R. Salakhutdinov, "Importance weighted autoencoders", ICLR 2016, arXiv 1509.00519.
    It increases with K; K = 1 is the ELBO with a sampled KL.

    With `gradient="doubly_reparameterized"` (G. Tucker et al., ICLR 2019, arXiv 1810.04152, equation 8) and
    v = w / sum w, the gradient is sum_k v_k d log p(x, z^k) at fixed z^k, plus sum_k v_k^2 (d log w_k / d z^k) through
    the sample: the same mean with less variance, for two more passes.

    In the loss, `weights.kl` scales log p(z) - log q(z) within w_k, and extra terms of the model are averaged over the
    particles. More than `max_rows` rows are processed in parts, and recomputed in the backward pass
    (activation checkpointing), so that memory stays bounded.

    Raises:
        UserError: `max_rows` is below 1; at a call, for a doubly reparameterized gradient, `weights.kl` isn't 1, or the
            model has dropout, or latents that are bits.
    """

    name: ClassVar[str] = "iwae"
    paper: ClassVar[str] = (
        'Y. Burda, R. Grosse, R. Salakhutdinov, "Importance Weighted Autoencoders", ICLR 2016, arXiv 1509.00519'
    )

    particles: Count = 8
    """K, the number of latent samples per sequence"""
    gradient: Literal["plain", "doubly_reparameterized"] = "plain"
    """estimator of the gradient; both have the same mean"""
    max_rows: Count = 8192
    """the most rows (particles times sequences) in memory at a time"""

    @property
    def capturable(self) -> bool:
        """Only with the plain gradient: the other one runs a backward pass within the forward pass."""
        return self.gradient == "plain"

    @property
    def requires_kl_weight_1(self) -> bool:
        """With the doubly reparameterized gradient, which is derived for the unscaled weights w_k."""
        return self.gradient == "doubly_reparameterized"

    def __call__(
        self,
        model: DensityModel,
        batch: SequenceBatch,
        *,
        weights: Weights = Weights(),
        noise: Tensor | None = None,
        state: State | None = None,
        context: Tensor | None = None,
    ) -> BoundResult:
        """Compute the bound of each sequence. See `Bound`.

        Raises:
            UserError: `state` or `context` is given, or the doubly reparameterized gradient isn't defined for these
                weights or this model.
        """
        refuse(self, state=state, context=context)
        self._check_gradient(model, weights)
        parts = self._parts(model, batch, noise)
        # checkpointing reads the generator's state, which isn't possible while a CUDA graph is captured
        capturing = torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
        keep = len(parts) == 1 or not torch.is_grad_enabled() or capturing
        drawn = [_call(_draw, model, batch, weights, part, keep=keep) for part in parts]
        log_w = torch.cat([d.log_w for d in drawn])  # [K, B]
        value = log_mean(log_w)
        objective = log_mean(torch.cat([d.scaled_log_w for d in drawn]))
        if self.gradient == "doubly_reparameterized" and torch.is_grad_enabled() and model.latent_size:
            v = log_w.detach().softmax(0).split([len(d.log_w) for d in drawn])
            pieces = [_call(_surrogate, model, batch, d.z, v_k, keep=keep) for d, v_k in zip(drawn, v, strict=True)]
            surrogate = torch.stack(pieces).sum(0)
            objective = value.detach() + surrogate - surrogate.detach()  # the bound's value, the surrogate's gradient
        terms = {name: torch.cat([d.terms[name] for d in drawn]).mean(0) for name in drawn[0].terms}
        costs = {name: term for name, term in terms.items() if name in weights.costs}
        return BoundResult(
            value=value.detach(),
            loss=-objective - weighted_sum(costs, weights),
            terms={name: term.detach() for name, term in terms.items()},
            kind=kind_of(model),
        )

    def _check_gradient(self, model: DensityModel, weights: Weights) -> None:
        if self.gradient == "plain":
            return
        if weights.kl != 1:
            raise UserError(f"bound.gradient doubly_reparameterized needs weights.kl 1; it is {weights.kl}")
        if _drops(model):
            raise UserError(
                "bound.gradient doubly_reparameterized needs model.dropout 0: it runs the same network twice"
            )
        if getattr(model, "latent_kind", "") == "bits" and torch.is_grad_enabled():
            raise UserError(
                f"bound.gradient doubly_reparameterized needs latents that have a gradient; those of {model.name} are "
                "bits: take plain"
            )

    def _parts(self, model: DensityModel, batch: SequenceBatch, noise: Tensor | None) -> list[Tensor]:
        """Noise for all K particles, in parts of at most `max_rows` rows, each of whole copies of the batch."""
        if noise is None and batch.seeds is not None:
            noise = model.draw_noise(batch, particles=self.particles)
        if noise is None:  # particle by particle: a seed then gives the first ones the same noise, however many follow
            noise = torch.cat([model.draw_noise(batch) for _ in range(self.particles)])
        if len(noise) != self.particles * len(batch):
            raise UserError(
                f"noise has {len(noise)} rows; {self.particles} particles of {len(batch)} sequences need "
                f"{self.particles * len(batch)}"
            )
        return list(noise.split(len(batch) * max(1, self.max_rows // len(batch))))


def _drops(model: DensityModel) -> bool:
    """Whether dropout is active, which makes two passes differ."""
    dropped = [m.p for m in model.modules() if isinstance(m, _DropoutNd)]
    between_layers = [m.dropout for m in model.modules() if isinstance(m, nn.RNNBase)]
    return model.training and any(dropped + between_layers)


class _Drawn(NamedTuple):
    """Results of k particles, [k, B] each; z has k B rows."""

    log_w: Tensor
    scaled_log_w: Tensor  # with log p(z) - log q(z) scaled by weights.kl
    terms: dict[str, Tensor]  # log_px, kl and the extra terms that have weights
    z: Tensor


def _call(f: Callable[..., T], *arguments: Any, keep: bool) -> T:
    """f(*arguments); unless `keep`, its activations are dropped, and recomputed in the backward pass."""
    if keep:
        return f(*arguments)
    result: T = checkpoint(f, *arguments, use_reentrant=False)
    return result


def _draw(model: DensityModel, batch: SequenceBatch, weights: Weights, noise: Tensor) -> _Drawn:
    k = len(noise) // len(batch)
    draws = model.draw(batch, noise=noise, particles=k)
    with torch.no_grad():
        kl = draws.kl  # is reported only
    terms = {"log_px": draws.log_px, "kl": kl} | costs_of(draws, weights)
    log_w, scaled = draws.log_px + draws.log_ratio, draws.log_px + weights.kl * draws.log_ratio
    by_particle = {name: term.reshape(k, -1) for name, term in terms.items()}
    return _Drawn(log_w.reshape(k, -1), scaled.reshape(k, -1), by_particle, draws.latents)


def _surrogate(model: DensityModel, batch: SequenceBatch, z: Tensor, v: Tensor) -> Tensor:
    """A value [B] whose gradient is the doubly reparameterized one: v [k, B] constant, z [k B, ...] with its graph."""
    fixed = z.detach().requires_grad_()
    draws = model.draw(batch, latents=fixed, particles=len(v))
    (path,) = torch.autograd.grad((draws.log_px + draws.log_ratio).sum(), fixed)  # d log w / dz, at fixed parameters
    draws = model.draw(batch, latents=z.detach(), particles=len(v))
    log_joint = (draws.log_px + draws.log_pz).reshape(v.shape)
    through_sample = (path * z).flatten(1).sum(1, dtype=torch.float64).reshape(v.shape)
    return (v * log_joint + v.square() * through_sample).sum(0)
