"""The importance-weighted bound with K particles, with plain or doubly reparameterized gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..errors import UserError
from ..models.sequence import SequenceModel
from ..observations import SequenceBatch, masked_sum
from ..settings import Count
from .base import Bound, BoundResult, Weights
from .particles import auxiliary_costs, log_mean, log_weights, weighted_sum

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

    In the loss, `weights.kl` scales log p(z) - log q(z) within w_k, and alpha log p(b|z) and beta log p(x|b) are
    averaged over the particles. More than `max_rows` rows are processed in parts, and recomputed in the backward pass
    (activation checkpointing), so that memory stays bounded.

    Raises:
        UserError: `max_rows` is below 1; at a call, `weights.kl` isn't 1 or the model has dropout, for a doubly
            reparameterized gradient.
    """

    name: ClassVar[str] = "iwae"

    particles: Count = 8
    """K, the number of latent samples per sequence"""
    gradient: Literal["plain", "doubly_reparameterized"] = "plain"
    """estimator of the gradient; both have the same mean"""
    max_rows: Count = 8192
    """the most rows (particles times sequences) in memory at a time"""

    @property
    def capturable(self) -> bool:  # type: ignore[override]  # here it depends on the settings
        """Only with the plain gradient: the other one runs a backward pass within the forward pass."""
        return self.gradient == "plain"

    @property
    def requires_kl_weight_1(self) -> bool:  # type: ignore[override]  # as above
        """With the doubly reparameterized gradient, which is derived for the unscaled weights w_k."""
        return self.gradient == "doubly_reparameterized"

    def __call__(
        self,
        model: SequenceModel,
        batch: SequenceBatch,
        *,
        weights: Weights = Weights(),
        noise: Tensor | None = None,
    ) -> BoundResult:
        """Compute the bound of each sequence.

        Args:
            model: Any model.
            batch: B sequences.
            weights: Weights of the terms of the loss.
            noise: [K, B, T, Z] standard normal; None draws it from torch's global generator.

        Returns:
            The bound of each sequence, in nats.

        Raises:
            UserError: The doubly reparameterized gradient isn't defined for these weights or this model.
        """
        if self.gradient == "doubly_reparameterized" and weights.kl != 1:
            raise UserError(f"bound.gradient doubly_reparameterized needs weights.kl 1; it is {weights.kl}")
        if self.gradient == "doubly_reparameterized" and _drops(model):
            raise UserError(
                "bound.gradient doubly_reparameterized needs model.dropout 0: it runs the same network twice"
            )
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
        kl, log_px, extra = (torch.cat([getattr(d, of) for d in drawn]).mean(0) for of in ("kl", "log_px", "extra"))
        costs = {name: torch.cat([d.costs[name] for d in drawn]).mean(0).detach() for name in drawn[0].costs}
        return BoundResult(
            value=value.detach(),
            loss=-objective - extra,
            terms={"log_px": log_px.detach(), "kl": kl.detach()} | costs,
            kind="lower bound" if model.latent_size else "exact",
        )

    def _parts(self, model: SequenceModel, batch: SequenceBatch, noise: Tensor | None) -> list[Tensor]:
        """Noise for all K particles, in parts [k, B, T, Z] of at most `max_rows` rows."""
        if noise is None:
            noise = torch.stack([model.draw_noise(batch) for _ in range(self.particles)])
        return list(noise.split(max(1, self.max_rows // len(batch))))


def _drops(model: SequenceModel) -> bool:
    """Whether dropout is active, which makes two passes differ."""
    kinds = (nn.Dropout, nn.LSTM, nn.GRU)
    rates = [m.p if isinstance(m, nn.Dropout) else m.dropout for m in model.modules() if isinstance(m, kinds)]
    return model.training and any(rates)


class _Drawn(NamedTuple):
    """Results of k particles, [k, B] each; z is [k B, T, Z]."""

    log_w: Tensor
    scaled_log_w: Tensor  # with log p(z) - log q(z) scaled by weights.kl
    kl: Tensor
    log_px: Tensor
    extra: Tensor  # the weighted auxiliary terms
    z: Tensor
    costs: dict[str, Tensor]  # their parts by name, unweighted


def _call(f: Callable[..., T], *arguments: Any, keep: bool) -> T:
    """f(*arguments); unless `keep`, its activations are dropped, and recomputed in the backward pass."""
    if keep:
        return f(*arguments)
    result: T = checkpoint(f, *arguments, use_reentrant=False)
    return result


def _draw(model: SequenceModel, batch: SequenceBatch, weights: Weights, noise: Tensor) -> _Drawn:
    k, B = noise.shape[:2]
    run = model.unroll(batch, noise=noise.flatten(0, 1), particles=k)
    log_w, scaled = log_weights(run), log_weights(run, kl=weights.kl)
    kl, log_px = (masked_sum(term, run.batch.mask) for term in (run.kl, run.log_px))
    costs = auxiliary_costs(run, weights)
    extra = weighted_sum(costs, weights, like=kl)
    log_w, scaled, kl, log_px, extra = (t.reshape(k, B) for t in (log_w, scaled, kl, log_px, extra))
    costs = {name: cost.reshape(k, B) for name, cost in costs.items()}
    return _Drawn(log_w, scaled, kl, log_px, extra, run.latents, costs)


def _surrogate(model: SequenceModel, batch: SequenceBatch, z: Tensor, v: Tensor) -> Tensor:
    """A value [B] whose gradient is the doubly reparameterized one: v [k, B] constant, z [k B, T, Z] with its graph."""
    fixed = z.detach().requires_grad_()
    run = model.unroll(batch, latents=fixed, particles=len(v))
    log_w = log_weights(run)
    (path,) = torch.autograd.grad(log_w.sum(), fixed)  # d log w / dz, at fixed parameters
    run = model.unroll(batch, latents=z.detach(), particles=len(v))
    log_joint = masked_sum(run.log_px + run.prior.log_prob(run.latents), run.batch.mask).reshape(v.shape)
    through_sample = masked_sum((path * z).sum(-1), run.batch.mask).reshape(v.shape)
    return (v * log_joint + v.square() * through_sample).sum(0)
