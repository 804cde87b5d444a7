"""The importance-weighted bound, K particles, with plain and doubly-reparameterized gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..errors import UserError
from ..models.base import SequenceModel
from ..observations import SequenceBatch, masked_sum
from .base import Bound, BoundResult, Weights, check_bound
from .particles import extra_terms, log_mean, log_weights

T = TypeVar("T")


@dataclass(frozen=True)
class IWAE(Bound):
    """log p(x) >= E[ log (1/K) sum_k w_k ], w_k = prod_t p(x_t | .) p(z_t | .) / q(z_t | .), z^k drawn from q.

    Y. Burda, R. Grosse, R. Salakhutdinov, "Importance weighted autoencoders", ICLR 2016, arXiv 1509.00519. It rises
    with K; K = 1 is the ELBO with the KL by sample.

    gradient="doubly_reparameterized": G. Tucker et al., ICLR 2019, arXiv 1810.04152, equation 8. With v = w / sum w,
    the parameters get sum_k v_k d log p(x, z^k) at fixed z^k, and sum_k v_k^2 (d log w_k / d z^k) through the sample:
    the same mean, less variance, at the cost of two more passes.

    In training, weights.kl scales log p(z) - log q(z) in the weights, and alpha log p(b|z) and beta log p(x|b) are
    averaged over the particles. More than `max_rows` rows are taken a part at a time; their forward pass is done again
    in the backward pass, so that memory stays bounded there too.
    """

    name: ClassVar[str] = "iwae"

    particles: int = 8
    """K, how many latents are drawn for a sequence"""
    gradient: Literal["plain", "doubly_reparameterized"] = "plain"
    """estimator of the gradient; both have the same mean"""
    max_rows: int = 8192
    """particles times sequences that are in memory at once"""

    def __post_init__(self) -> None:
        check_bound(self)
        if self.max_rows < 1:
            raise UserError(f"bound.max_rows is {self.max_rows}; it must be 1 or more")

    @property
    def capturable(self) -> bool:  # type: ignore[override]  # here it depends on the settings
        """The doubly-reparameterized gradient runs a backward pass within the forward one."""
        return self.gradient == "plain"

    @property
    def requires_kl_weight_1(self) -> bool:  # type: ignore[override]  # as above
        """The doubly-reparameterized gradient is derived for the weights w_k themselves."""
        return self.gradient == "doubly_reparameterized"

    def __call__(
        self,
        model: SequenceModel,
        batch: SequenceBatch,
        *,
        weights: Weights = Weights(),
        noise: Tensor | None = None,
    ) -> BoundResult:
        """noise: [K, B, T, Z], standard normal; None draws it. Raises UserError for a gradient that isn't defined."""
        if self.gradient == "doubly_reparameterized" and weights.kl != 1:
            raise UserError(f"bound.gradient doubly_reparameterized needs weights.kl 1; it is {weights.kl}")
        if self.gradient == "doubly_reparameterized" and _drops(model):
            raise UserError(
                "bound.gradient doubly_reparameterized needs model.dropout 0: it runs the same network twice"
            )
        parts = self._parts(model, batch, noise)
        # checkpointing asks for the generator's state, which a CUDA graph under capture can't tell
        capturing = torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
        keep = len(parts) == 1 or not torch.is_grad_enabled() or capturing
        drawn = [_call(_draw, model, batch, weights, part, keep=keep) for part in parts]
        log_w = torch.cat([d.log_w for d in drawn])  # [K, B]
        value = log_mean(log_w)
        objective = log_mean(torch.cat([d.weighed for d in drawn]))
        if self.gradient == "doubly_reparameterized" and torch.is_grad_enabled() and model.latent_size:
            v = log_w.detach().softmax(0).split([len(d.log_w) for d in drawn])
            pieces = [_call(_surrogate, model, batch, d.z, v_k, keep=keep) for d, v_k in zip(drawn, v, strict=True)]
            surrogate = torch.stack(pieces).sum(0)
            objective = value.detach() + surrogate - surrogate.detach()  # the bound's value, the surrogate's gradient
        kl, log_px, extra = (torch.cat([d[i] for d in drawn]).mean(0) for i in (2, 3, 4))
        return BoundResult(
            value=value.detach(),
            loss=-objective - extra,
            terms={"log_px": log_px.detach(), "kl": kl.detach()},
            kind="lower bound" if model.latent_size else "exact",
        )

    def _parts(self, model: SequenceModel, batch: SequenceBatch, noise: Tensor | None) -> list[Tensor]:
        """Noise for all K particles in parts of [k, B, T, Z] that fit the memory."""
        if noise is None:
            noise = torch.stack([model.draw_noise(batch) for _ in range(self.particles)])
        return list(noise.split(max(1, self.max_rows // len(batch))))


def _drops(model: SequenceModel) -> bool:
    """Whether dropout is at work, so that two passes are of two networks."""
    kinds = (nn.Dropout, nn.LSTM, nn.GRU)
    rates = [m.p if isinstance(m, nn.Dropout) else m.dropout for m in model.modules() if isinstance(m, kinds)]
    return model.training and any(rates)


class _Drawn(NamedTuple):
    """Of k particles: log w, it with weights.kl, KL, log p(x | z), auxiliary terms, each [k, B]; z [k B, T, Z]."""

    log_w: Tensor
    weighed: Tensor
    kl: Tensor
    log_px: Tensor
    extra: Tensor
    z: Tensor


def _call(f: Callable[..., T], *arguments: Any, keep: bool) -> T:
    """f(*arguments); unless `keep`, its graph is dropped now and made again in the backward pass."""
    if keep:
        return f(*arguments)
    result: T = checkpoint(f, *arguments, use_reentrant=False)
    return result


def _draw(model: SequenceModel, batch: SequenceBatch, weights: Weights, noise: Tensor) -> _Drawn:
    k, B = noise.shape[:2]
    run = model.unroll(batch, noise=noise.flatten(0, 1), particles=k)
    log_w, weighed = log_weights(run), log_weights(run, kl=weights.kl)
    kl, log_px = (masked_sum(term, run.batch.mask) for term in (run.kl, run.log_px))
    extra = extra_terms(run, weights)
    log_w, weighed, kl, log_px, extra = (t.reshape(k, B) for t in (log_w, weighed, kl, log_px, extra))
    return _Drawn(log_w, weighed, kl, log_px, extra, run.latents)


def _surrogate(model: SequenceModel, batch: SequenceBatch, z: Tensor, v: Tensor) -> Tensor:
    """Per sequence, what has the doubly-reparameterized gradient: v [k, B] constant, z [k B, T, Z] with its graph."""
    fixed = z.detach().requires_grad_()
    run = model.unroll(batch, latents=fixed, particles=len(v))
    log_w = log_weights(run)
    (path,) = torch.autograd.grad(log_w.sum(), fixed)  # d log w / dz, at fixed parameters
    run = model.unroll(batch, latents=z.detach(), particles=len(v))
    log_joint = masked_sum(run.log_px + run.prior.log_prob(run.latents), run.batch.mask).reshape(v.shape)
    through_sample = masked_sum((path * z).sum(-1), run.batch.mask).reshape(v.shape)
    return (v * log_joint + v.square() * through_sample).sum(0)
