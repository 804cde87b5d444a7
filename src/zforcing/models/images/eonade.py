"""EoNADE-k: one network fills in any missing pixels by k steps of mean-field inference, and so serves all orders.

v^0 = x where it is seen, the pixel's mean elsewhere;   v^t = x where it is seen, p^t elsewhere
h_1 = tanh(W_1 v^{t-1} + b_1);   h_l = tanh(W_l h_{l-1} + b_l);   p^t = sigmoid(V h_L + c)        t = 1..k

p(x | o) = prod_i p^k(x_{o_i} | x_{o_1}, ..., x_{o_{i-1}}) for an order o; the model is the mean over orders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent

from ...errors import UserError
from ...observations import ObservationSpec, SequenceBatch
from ...settings import Count, check
from ..density import DensityModel, Draws, Examples, Generated, refuse_exact
from .marginals import set_to_marginals
from .reading import check_pixels, log_bernoulli, pixels_of

ROWS = 20_000
"""the most vectors that the exact likelihood passes through the network at a time"""


@dataclass(frozen=True)
class EoNADEConfig:
    """Settings of EoNADE."""

    hidden_size: Count = 500
    """units of each hidden layer"""
    num_layers: Count = 2
    """hidden layers, L"""
    mean_field_steps: Count = 5
    """k"""

    def __post_init__(self) -> None:
        check(self, "model")


class EoNADE(DensityModel):
    """The ensemble of orderless NADEs with k steps of inference.

    T. Raiko, L. Yao, K. Cho, Y. Bengio, "Iterative neural autoregressive distribution estimator (NADE-k)", NIPS 2014,
    arXiv 1406.1485; with k = 1 B. Uria, I. Murray, H. Larochelle, "A deep and tractable density estimator", ICML 2014,
    arXiv 1310.1757.

    The order is the latent, uniform in prior and posterior. A draw estimates log p(x | o) without bias from one place
    in an order: D / (D - d) times log p of all D - d pixels behind the first d. So the ELBO is that of one order on
    average, a bound on the mixture's. Bound `orders` computes the mixture of some orders exactly, in D passes each.
    The extra term `steps` is the mean of the k steps' estimates less that of the last: with weight 1 all steps are
    trained alike, with 0 the last one alone.

    Args:
        spec: Binary vectors.
        config: The settings.
    """

    name = "eonade"
    paper = (
        "T. Raiko, L. Yao, K. Cho, Y. Bengio, "
        '"Iterative Neural Autoregressive Distribution Estimator (NADE-k)", NIPS 2014, arXiv 1406.1485; '
        'B. Uria, I. Murray, H. Larochelle, "A Deep and Tractable Density Estimator", ICML 2014, arXiv 1310.1757'
    )
    Config = EoNADEConfig
    cost_names = ("steps",)
    mean: Tensor
    """[D], what stands for a pixel that isn't seen"""

    def __init__(self, spec: ObservationSpec, config: EoNADEConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config)
        check_pixels(self.name, spec)
        D, H = spec.size, config.hidden_size
        layers = [nn.Linear(D if layer == 0 else H, H) for layer in range(config.num_layers)]
        self.hidden = nn.Sequential(*(part for layer in layers for part in (layer, nn.Tanh())))
        self.output = nn.Linear(H, D)
        self.register_buffer("mean", torch.full((D,), 0.5))

    @classmethod
    def check_bound(cls, name: str) -> None:
        """None that weighs draws, or needs an order."""
        if name == "exact":
            refuse_exact(cls.name)
        if name in ("iwae", "importance"):
            refuse_weights()

    @property
    def label(self) -> str:
        """With k, as the paper has it."""
        return f"{self.name}-{self.config.mean_field_steps}"

    @property
    def latent_size(self) -> int:
        """D + 1 numbers: the order is their ranks, and the last one says how much of it is seen."""
        return self.spec.size + 1

    @property
    def infers_latents(self) -> bool:
        """No: an order and a place in it are drawn by chance, whatever the image."""
        return False

    def begin_with(self, data: Examples) -> None:
        """Set the output biases to the pixels' marginal logits, and what stands for unseen pixels to their means."""
        set_to_marginals(self.output.bias, data)
        with torch.no_grad():
            self.mean.copy_(torch.sigmoid(self.output.bias))

    def logits(self, x: Tensor, seen: Tensor) -> list[Tensor]:
        """The logits [n, D] of each of the k steps, of vectors x [n, D] of which some numbers are seen."""
        v, found = torch.where(seen, x, self.mean), []
        for _ in range(self.config.mean_field_steps):
            found.append(self.output(self.hidden(v)))
            v = torch.where(seen, x, torch.sigmoid(found[-1]))
        return found

    # ---- log p(x)

    def draw(
        self, batch: SequenceBatch, *, particles: int = 1, noise: Tensor | None = None, latents: Tensor | None = None
    ) -> Draws:
        """Draw an order and a place in it, for each row. Missing pixels come last, and count for nothing."""
        x, known = (v.repeat(particles, 1) for v in pixels_of(self, batch))
        if latents is None:
            latents = self.draw_noise(batch, particles=particles) if noise is None else noise
        count = known.sum(1, keepdim=True)
        first = (torch.special.ndtr(latents[:, 0, -1:]) * count).long().minimum(count - 1)  # d, 0..D - 1
        seen = places(latents[:, 0, :-1], known) < first
        scale = (count.to(x.dtype) / (count - first).clamp(min=1))[:, 0]
        each = torch.stack([log_bernoulli(v, x, known & ~seen) for v in self.logits(x, seen)]) * scale
        nothing = torch.zeros_like(each[-1])
        return Draws(
            latents,
            log_px=lambda: each[-1],
            log_pz=refuse_weights,
            log_qz=refuse_weights,
            kl_parts=lambda: nothing[:, None],
            costs={"steps": lambda: each.mean(0) - each[-1]},
        )

    def log_likelihood_in(self, batch: SequenceBatch, order: Tensor) -> Tensor:
        """The exact log p(x | o) [B] float64 of an order o, [D] int64: D passes for each row.

        Of a part of an image, where o has what is known first; raises UserError else.
        """
        x, known = pixels_of(self, batch)
        place, found = order.argsort(), torch.zeros(len(x), dtype=torch.float64, device=x.device)
        if bool((known[:, order].int().diff(dim=1) > 0).any()):
            raise UserError(f"model {self.name} gives log p of a part of an image in orders that begin with it; not so")
        for pixels in order.split(max(1, ROWS // len(x))):
            seen = place < place[pixels][:, None]  # [d, D]
            rows, masks = x.repeat_interleave(len(pixels), 0), seen.repeat(len(x), 1)
            logits = self.logits(rows, masks)[-1].view(len(x), len(pixels), -1)
            own = logits.gather(2, pixels.expand(len(x), -1)[..., None])[..., 0]
            found = found + log_bernoulli(own, x[:, pixels], known[:, pixels])
        return found

    # ---- samples

    @torch.no_grad()
    def sample(self, num_samples: int) -> Generated:
        """Draw n vectors, each in an order of its own."""
        x = self.mean.new_zeros(num_samples, self.spec.size)
        return self._filled(x, torch.zeros_like(x, dtype=torch.bool))

    @torch.no_grad()
    def complete(self, batch: SequenceBatch) -> Generated:
        """Draw what is missing, exactly by p(. | o) of a random order o that has what is known first.

        In the emission, a pixel that is known has a logit of 0.
        """
        return self._filled(*pixels_of(self, batch))

    def _filled(self, x: Tensor, known: Tensor) -> Generated:
        x, all_logits = x.clone(), torch.zeros_like(x)
        place = places(torch.rand_like(x), known)
        rows = torch.arange(len(x), device=x.device)
        for t, pixel in enumerate(place.argsort(1).unbind(1)):
            if not bool((drawn := ~known[rows, pixel]).any()):
                continue
            logits = self.logits(x, place < t)[-1][rows, pixel]
            x[rows, pixel] = torch.where(drawn, torch.bernoulli(torch.sigmoid(logits)), x[rows, pixel])
            all_logits[rows, pixel] = torch.where(drawn, logits, all_logits[rows, pixel])
        emission = Independent(Bernoulli(logits=all_logits[:, None]), 1)
        return Generated(x[:, None], x.new_zeros(len(x), 1, 0), emission)


def places(numbers: Tensor, known: Tensor) -> Tensor:
    """The place 0..D-1 of each pixel [n, D] in the order of its number, what is known first."""
    by_number = numbers.argsort(1)
    order = by_number.gather(1, (~known).gather(1, by_number).int().argsort(stable=True, dim=1))
    return order.argsort(1)


def refuse_weights() -> NoReturn:
    """Raise UserError: draws of places in an order are to be weighed."""
    raise UserError(
        "model eonade draws one place of an order, whose estimate of log p(x) has no use as a weight: take bound elbo, "
        "or orders for the exact mixture"
    )
