"""A deep belief network: a restricted Boltzmann machine of bits h and u, under which pixels are independent given h.

p(h, u) = exp(c h + d u + h W_2 u) / Z;   p(x_i = 1 | h) = sigmoid(b + W_1 h)_i;   q(h_j = 1 | x) = sigmoid(a + x W_1)_j

Layer by layer: while the first is trained, the model is its machine alone, p(x) = exp(-F_1(x)) / Z_1, which is the same
network with the first layer turned over on top of itself. With no fewer units than pixels, the top begins there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NoReturn

import torch
from torch import Tensor, nn

from ...distributions import row_noise, seed_for
from ...errors import UserError
from ...observations import ObservationSpec, SequenceBatch
from ...settings import Count, NotNegative, Range, check
from ..density import DensityModel, Draws, Examples, Generated
from .annealing import LogPartition, annealed_log_partition
from .latent import generated
from .marginals import set_to_marginals
from .posterior_chain import ByChain, Posterior, log_by_chain, noise_steps
from .rbm import RBM, drawn_bits
from .reading import check_pixels, log_bernoulli, pixels_of
from .unnormalized import Learned, Unnormalized

EARLY, OFTEN, SELDOM = 2000, 100, 500  # log Z, for rows: in the first 2000 batches of a layer each 100, then each 500
MEASURED_BY = {"chains": 100, "temperatures": 200, "seed": 0}


@dataclass(frozen=True)
class DBNConfig:
    """Settings of the DBN."""

    hidden_size: Count = 500
    """bits in h, the first hidden layer"""
    top_size: Count = 2000
    """bits in u, the second hidden layer"""
    first_layer_batches: Annotated[int, Range(at_least=0)] = 25_000
    """batches that train the first layer; those after them train the top"""
    gibbs_steps: Count = 25
    """steps of the chains for each batch that trains the first layer, k"""
    top_gibbs_steps: Count = 5
    """the same for the top"""
    chains: Annotated[int, Range(at_least=0)] = 100
    """chains that go on from batch to batch (PCD); 0: each batch starts its own at the data (CD-k)"""
    weight_decay: NotNegative = 2e-4
    """the loss has half of this times the sum of the squared weights of the layer that is trained"""
    sample_steps: Count = 1000
    """steps of the chain in the top, before a sample is taken"""
    completion_steps: Count = 50
    """sweeps over h, before a completion is taken"""

    def __post_init__(self) -> None:
        check(self, "model")


class DBN(DensityModel):
    """The deep belief network with two hidden layers.

    G. Hinton, S. Osindero, Y. Teh, "A fast learning algorithm for deep belief nets", Neural Computation 2006;
    measured as R. Salakhutdinov, I. Murray, "On the quantitative analysis of deep belief networks", ICML 2008.
    Chains that go on: T. Tieleman, "Training restricted Boltzmann machines using approximations to the likelihood
    gradient", ICML 2008.

    log p(x) isn't known, for Z isn't: bound `ais` trains the model, and estimates it. No bound and no exact likelihood.
    What training keeps between batches is in saved buffers, and its noise is a function of them.

    Args:
        spec: Binary vectors.
        config: The settings.
    """

    name = "dbn"
    paper = 'G. Hinton, S. Osindero, Y. Teh, "A Fast Learning Algorithm for Deep Belief Nets", Neural Computation, 2006'
    Config = DBNConfig
    capturable = False
    batches: Tensor
    """[], how many it was trained on, a whole number as all below (files of models hold floats alone)"""
    chain_seed: Tensor
    """[], of the chains"""
    negative: Tensor
    """[P, H], h of the chains"""
    log_z: Tensor
    """[], log Z as training last estimated it"""
    pixel_logits: Tensor
    """[D], of the training images' means"""

    def __init__(self, spec: ObservationSpec, config: DBNConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config)
        check_pixels(self.name, spec)
        D, H, U = spec.size, config.hidden_size, config.top_size
        self.W_1, self.b, self.a = small(D, H), bias(D), bias(H)
        self.W_2, self.c, self.d = small(H, U), bias(H), bias(U)
        self.register_buffer("batches", torch.zeros(()))
        self.register_buffer("chain_seed", torch.randint(2**24, ()).to(torch.get_default_dtype()))
        self.register_buffer("negative", torch.zeros(config.chains, H))
        self.register_buffer("log_z", torch.zeros(()))
        self.register_buffer("pixel_logits", torch.zeros(D))

    @classmethod
    def check_bound(cls, name: str) -> None:
        """Only bounds that estimate the constant."""
        if name in NORMALIZED:
            refuse_normalization()

    @property
    def depth(self) -> int:
        """2; or 1 while the first layer is trained."""
        return 1 if int(self.batches) <= self.config.first_layer_batches else 2

    @property
    def label(self) -> str:
        """With the number of hidden layers."""
        return f"{self.name} ({'one hidden layer' if self.depth == 1 else 'two hidden layers'})"

    @property
    def latent_size(self) -> int:
        """H, the bits in h."""
        size: int = self.config.hidden_size
        return size

    @property
    def first(self) -> RBM:
        """The first layer's machine, of x and h."""
        return RBM(self.W_1, self.b, self.a)

    @property
    def top(self) -> RBM:
        """The machine on top, of h and u; with one layer, of h and a second x."""
        return self.first.turned if self.depth == 1 else RBM(self.W_2, self.c, self.d)

    def begin_with(self, data: Examples) -> None:
        """Set the pixels' biases to their marginal logits."""
        set_to_marginals(self.pixel_logits, data)
        with torch.no_grad():
            self.b.copy_(self.pixel_logits)

    # ---- p(x, h) Z

    def unnormalized(
        self,
        batch: SequenceBatch,
        *,
        particles: int = 1,
        noise: Tensor | None = None,
        latents: Tensor | None = None,
    ) -> Unnormalized:
        """Draw h ~ q(h | x), and give the terms of p(x, h) Z / q(h | x), whose mean is p(known x) Z.

        Of one hidden layer they are -F_1(x) whatever h is, where all of x is known.
        """
        x, known = pixels_of(self, batch)
        logits = self._inferred(x, known).repeat(particles, 1)
        if latents is None:
            e = self.draw_noise(batch, particles=particles) if noise is None else noise
            latents = (torch.special.ndtr(e) < torch.sigmoid(logits)[:, None]).to(logits.dtype)
        h = latents[:, 0]
        x, known = x.repeat(particles, 1), known.repeat(particles, 1)
        log_px = log_bernoulli(self.first.visible_logits(h), x, known)
        return Unnormalized(latents, log_px, -self.top.free_energy(h), log_bernoulli(logits, h))

    def log_by_chain(self, batch: SequenceBatch, *, states: int) -> ByChain:
        """Estimate log p(known x) + log Z by S states of a Markov chain in p(h | known x)."""
        x, known = pixels_of(self, batch)
        shape = (1 + noise_steps(states), self.latent_size)
        if batch.seeds is None:
            noise = torch.rand((len(x), *shape), dtype=x.dtype, device=x.device)
        else:
            noise = row_noise.uniform(batch.seeds, shape, dtype=x.dtype)
        h = (noise[:, 0] < torch.sigmoid(self._inferred(x, known))).to(x.dtype)
        return log_by_chain(Posterior(self.first, self.top, x, known), h, noise[:, 1:])

    def log_partition(self, *, chains: int, temperatures: int, seed: int) -> LogPartition:
        """Estimate log Z by chains in x (one hidden layer) or h, begun at the mean image or at h's means there."""
        of = {"chains": chains, "temperatures": temperatures, "seed": seed}
        if self.depth == 1:
            return annealed_log_partition(self.first, self.pixel_logits, **of)
        mean = torch.sigmoid(self.pixel_logits)[None]
        return annealed_log_partition(self.top, self.first.hidden_logits(mean)[0], **of)

    def draw(
        self, batch: SequenceBatch, *, particles: int = 1, noise: Tensor | None = None, latents: Tensor | None = None
    ) -> Draws:
        """Draw h ~ q(h | x). What needs p(h) is refused: Z isn't known."""
        found = self.unnormalized(batch, particles=particles, noise=noise, latents=latents)
        return Draws(
            found.latents,
            log_px=lambda: found.log_px,
            log_pz=refuse_normalization,
            log_qz=lambda: found.log_q,
            kl_parts=refuse_normalization,
        )

    def _inferred(self, x: Tensor, known: Tensor) -> Tensor:
        """The logits of q(h | x), where pixels that are missing have their means."""
        return self.first.hidden_logits(torch.where(known, x, torch.sigmoid(self.pixel_logits)))

    # ---- training

    def learn(self, batch: SequenceBatch, *, noise: Tensor | None = None) -> Learned:
        """The loss of a batch, F(data) - F(chains) of the layer that is trained; chains and the count of batches move.

        Raises:
            UserError: Some pixels are missing.
        """
        x, known = pixels_of(self, batch)
        if not bool(known.all()):
            raise UserError(f"model {self.name} is trained on whole images; some pixels of a batch are missing")
        self._count()
        with torch.no_grad():
            terms = self.unnormalized(batch, noise=noise)
        h = terms.latents[:, 0]
        machine, data = (self.first, x) if self.depth == 1 else (self.top, h)
        loss = machine.free_energy(data) - machine.free_energy(self.move_chains(h)).mean()
        loss = loss + self.config.weight_decay / 2 * machine.W.square().sum(dtype=torch.float64)
        return Learned(terms, loss, self.log_z.clone())

    def _count(self) -> None:
        """Another batch begins: perhaps the first of the top, or one by whose weights rows are to be measured."""
        before, of_first = int(self.batches), self.config.first_layer_batches
        self.batches += 1
        if before == of_first:
            self.begin_top()
        of_layer = before if before < of_first else before - of_first
        if of_layer % (OFTEN if of_layer < EARLY else SELDOM) == 0:
            self.log_z.fill_(self.log_partition(**MEASURED_BY).value)

    @torch.no_grad()
    def begin_top(self) -> None:
        """Begin the top where the first layer ended, if that has no more pixels than the top has units: with all others
        at nearly no weight, p(x) is the same. Else at h's mean of the mean image.
        """
        D, U = self.spec.size, self.config.top_size
        if D > U:
            self.c.copy_(self.first.hidden_logits(torch.sigmoid(self.pixel_logits)[None])[0])
            return
        self.W_2[:, :D], self.d[:D] = self.W_1.t(), self.b
        self.c.copy_(self.a)

    @torch.no_grad()
    def move_chains(self, h: Tensor) -> Tensor:
        """Bits of the layer that is trained after its k steps: of chains that go on, or from data h [B, H]."""
        generator = torch.Generator(h.device).manual_seed(seed_for(int(self.chain_seed), "chains", int(self.batches)))
        config, start = self.config, self.negative if len(self.negative) else h
        if self.depth == 2:
            self._keep(h := self.top.gibbs(start, steps=config.top_gibbs_steps, generator=generator))
            return h
        x = drawn_bits(self.first.visible_logits(start), generator)
        x = self.first.gibbs(x, steps=config.gibbs_steps - 1, generator=generator)
        self._keep(drawn_bits(self.first.hidden_logits(x), generator))
        return x

    def _keep(self, h: Tensor) -> None:
        if len(self.negative):
            self.negative.copy_(h)

    # ---- samples

    @torch.no_grad()
    def sample(self, num_samples: int) -> Generated:
        """Draw n vectors: a chain each in the top, from where one of training's ended, and x given its h.

        Nearly from p(x): how nearly depends on how well chains of `sample_steps` steps mix.
        """
        if len(self.negative):
            h = self.negative[torch.randint(len(self.negative), (num_samples,), device=self.negative.device)]
        else:
            h = drawn_bits(self.top.b.expand(num_samples, -1))
        h = self.top.gibbs(h, steps=self.config.sample_steps)
        x = h.new_zeros(num_samples, self.spec.size)
        return generated(*self.fill(x, torch.zeros_like(x, dtype=torch.bool), h), h)

    @torch.no_grad()
    def complete(self, batch: SequenceBatch) -> Generated:
        """Draw what is missing given what is known: a Gibbs chain of h and u from q(h | known), then pixels given h.

        Nearly from p(missing | known): its steps are those of that density, and there are `completion_steps` sweeps.
        """
        x, known = pixels_of(self, batch)
        h = drawn_bits(self._inferred(x, known))
        for _ in range(self.config.completion_steps):
            h = self._swept(x, known, h)
        return generated(*self.fill(x, known, h), h)

    def fill(self, x: Tensor, known: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x with what isn't known drawn from p(x | h), and the logits of all pixels, [n, D]."""
        logits = self.first.visible_logits(h)
        return torch.where(known, x, drawn_bits(logits)), logits

    def _swept(self, x: Tensor, known: Tensor, h: Tensor) -> Tensor:
        """h after u ~ p(u | h), and each h_j in turn by p(h_j | the others, u, known x), as pixels bind them."""
        h, logits = h.clone(), self.first.visible_logits(h)
        prior = self.top.visible_logits(drawn_bits(self.top.hidden_logits(h)))
        for j, w in enumerate(self.W_1.unbind(1)):
            off = logits - h[:, j, None] * w
            gain = log_bernoulli(off + w, x, known) - log_bernoulli(off, x, known)
            h[:, j] = drawn_bits(prior[:, j] + gain.to(prior.dtype))
            logits = off + h[:, j, None] * w
        return h


def small(*shape: int) -> nn.Parameter:
    """Weights of N(0, 0.01^2)."""
    return nn.Parameter(0.01 * torch.randn(shape))


def bias(size: int) -> nn.Parameter:
    """Zeros."""
    return nn.Parameter(torch.zeros(size))


NORMALIZED = ("elbo", "iwae", "importance", "exact")
"""bounds of a model that knows p(h)"""


def refuse_normalization() -> NoReturn:
    """Raise UserError: it is asked for p(h)."""
    raise UserError("model dbn knows p(x) up to a constant: take bound ais, which estimates it")
