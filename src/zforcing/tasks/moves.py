"""Moves of whole draws, where a smoother's particles come from few: Markov chains that keep p(missing, z | observed).

Each of K draws of a sequence, z_1..z_T and the complete x_1..x_T, is a chain. A move takes a block of steps with gaps
and changes their noise a little: with z_t = mu + sigma e, and the same of a missing Gaussian number,

    e'  =  sqrt(1 - s^2) e + s xi,    xi ~ N(0, I)

(preconditioned Crank-Nicolson: S. Cotter, G. Roberts, A. Stuart, D. White, "MCMC methods for functions", 2013). Other
missing numbers of a step are drawn anew with probability s. What comes after the block keeps its values. The move is
accepted with probability min(1, ratio), where the ratio is that of the densities of all that keeps its value, observed
or not, in the block and `lag` steps after it. A sequence's s is adapted so that a quarter is accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from ..distributions import reparameterize
from ..files.reading import Array
from ..models import SequenceModel
from ..models.state import State, copies, where_rows
from ..observations import SequenceBatch
from .completing import draw_missing, log_weight_of

AROUND = 2  # steps before and after a block whose latents move with it
ACCEPTED = 0.25
PART = 2**18  # numbers that are looked at together
EARLY = 0.1  # of the moves, after which draws are looked at first


class Block(NamedTuple):
    """Steps first..last of a sequence."""

    first: int
    last: int


@dataclass(eq=False)
class Paths:
    """K complete draws of each of B sequences; row i + j B is copy j of sequence i."""

    z: Tensor
    """[T, K B, Z]"""
    x: Tensor
    """[T, K B, D], or [T, K B] of categories"""


class _Window(NamedTuple):
    """W steps of each of N rows, from a block's first to the last that it matters for."""

    t: Tensor  # [W, N], the step
    seen: Tensor  # [W, N, D] or [W, N], what is observed
    inputs: Tensor | None  # [W, N, U]
    moves: Tensor  # [W, N] bool, where latents and missing numbers move
    counts: Tensor  # [W, N] bool, where densities count


class _Values(NamedTuple):
    """What rows have at the steps of a window."""

    z: Tensor  # [W, N, Z]
    x: Tensor  # [W, N, D] or [W, N]
    z_noise: Tensor  # like z
    x_noise: Tensor  # like x; of Gaussians, else 0
    log_z: Tensor  # [W, N], log p(z_t | .)
    kept: Tensor  # [W, N], log p(x_t | .)
    fresh: Tensor  # [W, N], the log-weight of x_t where its missing numbers are drawn anew


class Spread:
    """The variance of each column of numbers [M, D], kept while some are replaced."""

    def __init__(self, x: Tensor):
        self.count, self.origin = len(x), x[:PART].double().mean(0)  # near to which squares keep their digits
        self.sums = torch.zeros(2, *self.origin.shape, dtype=torch.float64, device=x.device)
        for part in x.split(PART):
            self.sums += self._powers(part)

    def replace(self, old: Tensor, new: Tensor) -> None:
        """Some of the numbers, [m, D] or [m], are others now."""
        self.sums += self._powers(new) - self._powers(old)

    @property
    def variance(self) -> Tensor:
        """[D], without bias."""
        total, squares = self.sums
        variance: Tensor = (squares - total.square() / self.count).clamp(min=0) / (self.count - 1)
        return variance

    def _powers(self, x: Tensor) -> Tensor:
        """The sums of (x - origin) and of its square, [2, D]."""
        from_origin = x.reshape(-1, len(self.origin)).double() - self.origin
        return torch.stack([from_origin.sum(0), from_origin.square().sum(0)])


class Mover:
    """Moves draws.

    Args:
        model: In eval mode.
        batch: B sequences, on the model's device.
        paths: K draws of each, which move in place.
        lag: Steps after a block that say something about it; None: all.
    """

    def __init__(self, model: SequenceModel, batch: SequenceBatch, paths: Paths, *, lag: int | None):
        self.model, self.batch, self.paths = model, batch, paths
        self.T, self.B, self.N = batch.x.shape[1], len(batch), paths.z.shape[1]
        self.K, self.lag = self.N // self.B, batch.x.shape[1] if lag is None else lag
        self.every = torch.arange(self.N, device=paths.z.device)
        self.seen = copies(batch.scored | ~batch.exists, self.K).transpose(0, 1)  # [T, N, D]
        self.inputs = None if batch.inputs is None else copies(batch.inputs, self.K).transpose(0, 1)
        self.size = torch.full((self.B,), 0.3, dtype=torch.float64)
        self.reached = torch.zeros_like(self.every)  # [N], the step before which each row's state is known
        self.state = self._initial()
        self.spread = Spread(paths.x.reshape(self.T * self.N, -1))

    @torch.no_grad()
    def move(self, blocks: Sequence[Block | None], *, times: int) -> Tensor:
        """Move one block of each sequence.

        Args:
            blocks: [B]; None leaves a sequence as it is.
            times: How often.

        Returns:
            [B]: the correlation that two draws of one ancestor still have, see `_alike`.
        """
        first, window = self._window(blocks)
        start, moving = self._state_at(first), torch.tensor([block is not None for block in blocks])
        nowhere = torch.zeros_like(window.moves)
        values, by_noise = self._walk(window, start, self._values_of(window), nowhere, nowhere)
        early, stayed = values.x, window.moves
        begin = min(max(1, int(EARLY * times)), times - 1)
        for number in range(times):
            early = values.x if number == begin else early
            values, share, renewed = self._moved(window, start, values, by_noise=by_noise)
            stayed = stayed & ~renewed
            self.size = torch.where(moving, self.size * torch.exp(0.5 * (share - ACCEPTED)), self.size).clamp(0.01, 1.0)
        for t, changes, z, x in zip(window.t, window.moves, values.z, values.x, strict=True):
            rows = self.every[changes]
            self.spread.replace(self.paths.x[t[rows], rows], x[rows])
            self.paths.z[t[rows], rows], self.paths.x[t[rows], rows] = z[rows], x[rows]
        return self._alike(window, early, values.x, stayed, lag=(times - begin) / times)

    def _window(self, blocks: Sequence[Block | None]) -> tuple[Tensor, _Window]:
        """The first step of each row, and the window; of sequences without a block it has no step that counts."""
        lengths = self.batch.lengths.cpu()
        first = torch.tensor([0 if b is None else max(0, b.first - AROUND) for b in blocks])
        last = torch.minimum(torch.tensor([-1 if b is None else b.last + AROUND for b in blocks]), lengths - 1)
        end = torch.where(last >= 0, torch.minimum(last + 1 + self.lag, lengths), 0)
        steps = first + torch.arange(int((end - first).max()))[:, None]  # [W, B]
        t, moves, counts = (
            v.to(self.every.device).repeat(1, self.K) for v in (steps.clamp(max=self.T - 1), steps <= last, steps < end)
        )
        inputs = None if self.inputs is None else self.inputs[t, self.every]
        return first.to(self.every.device).repeat(self.K), _Window(t, self.seen[t, self.every], inputs, moves, counts)

    def _initial(self) -> State:
        return self.model.initial_state(self.N, start=copies(self.batch.start, self.K))

    def _state_at(self, first: Tensor) -> State:
        """The state before step `first` of each row, [N]; going on from the last block's, where that is before it."""
        known = self.reached <= first  # a later block leaves what is before an earlier one as it was
        state = self.state if bool(known.all()) else where_rows(known, self.state, self._initial())
        reached = torch.where(known, self.reached, 0)
        behind = reached[reached < first]
        for t in range(int(behind.min()) if len(behind) else 0, int(first.max()) if len(behind) else 0):
            begun = self.model.after_inputs(state, None if self.inputs is None else self.inputs[t])
            after = self.model.after_observation(self.model.after_latent(begun, self.paths.z[t]), self.paths.x[t])
            state = where_rows((reached <= t) & (t < first), after, state)
        self.state, self.reached = state, first
        return state

    def _values_of(self, window: _Window) -> _Values:
        """The draws as they are; without what `_walk` finds out."""
        z, x = (v[window.t, self.every] for v in (self.paths.z, self.paths.x))
        nothing = torch.zeros(window.t.shape, dtype=torch.float64, device=z.device)
        return _Values(z, x, torch.zeros_like(z), torch.zeros_like(x), nothing, nothing, nothing)

    def _moved(self, window: _Window, start: State, old: _Values, *, by_noise: bool) -> tuple[_Values, Tensor, Tensor]:
        """Propose a move of each row and take it or leave it; the share that is taken, [B], and what is new, [W, N]."""
        size = self.size.to(self.every.device).repeat(self.K)  # [N]
        s = size[:, None].to(old.z.dtype)
        z_noise = (1 - s.square()).sqrt() * old.z_noise + s * torch.randn_like(old.z_noise)
        x_noise = old.x_noise
        if x_noise.is_floating_point():
            x_noise = (1 - s.square()).sqrt() * x_noise + s * torch.randn_like(x_noise)
        redrawn = window.moves & (torch.rand_like(old.kept) < size)
        new, _ = self._walk(window, start, old._replace(z_noise=z_noise, x_noise=x_noise), window.moves, redrawn)
        anew = window.moves if by_noise else redrawn
        ratio = torch.where(window.moves, 0.0, new.log_z - old.log_z)
        ratio = ratio + torch.where(anew, new.fresh - old.fresh, new.kept - old.kept)
        taken = torch.rand_like(ratio[0]).log() < torch.where(window.counts, ratio, 0.0).sum(0)
        values = _Values(*(torch.where(_wide(taken, a.dim() - 2), a, b) for a, b in zip(new, old, strict=True)))
        return values, taken.reshape(self.K, self.B).double().mean(0).cpu(), anew & taken

    def _walk(
        self, window: _Window, state: State, given: _Values, moves: Tensor, redrawn: Tensor
    ) -> tuple[_Values, bool]:
        """Values by the noise that is given where rows move, and the given ones elsewhere, with their densities.

        Missing numbers that aren't Gaussian are drawn anew where `redrawn` says so. Returns also whether they are.
        """
        found: list[_Values] = []
        by_noise = False
        for w, seen in enumerate(window.seen):
            begun = self.model.after_inputs(state, None if window.inputs is None else window.inputs[w])
            prior = self.model.prior(begun)
            z = torch.where(moves[w][:, None], reparameterize(prior, given.z_noise[w]), given.z[w])
            emitting = self.model.after_latent(begun, z)
            p = self.model.emission(emitting)
            x, x_noise = given.x[w], given.x_noise[w]
            if isinstance(p, Independent) and isinstance(p.base_dist, Normal):
                by_noise = True
                mean, std = p.base_dist.loc, p.base_dist.scale
                x = torch.where(~seen & moves[w][:, None], mean + std * x_noise, x)
                x_noise = (x - mean) / std
            elif bool(redrawn[w].any()):
                x = torch.where(_wide(redrawn[w], x.dim() - 1), draw_missing(p, x, seen), x)
            log_z, kept, fresh = (v.double() for v in (prior.log_prob(z), p.log_prob(x), log_weight_of(p, x, seen)))
            found.append(_Values(z, x, _noise_of(prior, z), x_noise, log_z, kept, fresh))
            state = self.model.after_observation(emitting, x)
        return _Values(*(torch.stack(v) for v in zip(*found, strict=True))), by_noise

    def _alike(self, window: _Window, early: Tensor, late: Tensor, stayed: Tensor, *, lag: float) -> Tensor:
        """The correlation that two draws of one ancestor still have, [B], by what is missing and the K draws of it.

        Draws that were never renewed are as alike as they were; c is at least the square of their share. Of the others,
        rho(lag) is the slope of the late values on the early ones, which needs no draws that are independent already,
        and c = rho(2) = rho(lag)^(2 / lag), as of an AR(1); 1 where draws differ only since then. Numbers count by how
        uncertain they are, relative to their column's variance: else those that hardly vary, and change back at once,
        would hide those that matter.

        Args:
            window: Of W steps.
            early: [W, N, D] or [W, N], values after some of the moves.
            late: Those after all moves.
            stayed: [W, N] bool, which steps no move has renewed.
            lag: Between both, as a share of all moves.
        """
        a, b = (v.reshape(len(v), self.K, self.B, -1).double() for v in (early, late))
        missing = (~window.seen & _wide(window.moves, window.seen.dim() - 2)).reshape(b.shape)[:, 0]  # [W, B, D]
        weight = missing / self.spread.variance.clamp(min=1e-12)
        a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
        both, own, new = ((v.sum(1) * weight).sum((0, 2)) for v in (a * b, a.square(), b.square()))
        rho = torch.where(own > 0, both / own.clamp(min=1e-12), (new > 0).double()).clamp(0, 1)
        gaps = missing.any(-1)  # [W, B]
        share = stayed.reshape(len(a), self.K, self.B).double().mean(1)
        unmoved = (share * gaps).sum(0) / gaps.sum(0).clamp(min=1)
        return torch.maximum(rho ** (2 / lag), unmoved.square()).cpu()


def _wide(mask: Tensor, more: int) -> Tensor:
    """The mask with so many more dimensions of size 1."""
    return mask.reshape(*mask.shape, *[1] * more)


def _noise_of(prior: Distribution, z: Tensor) -> Tensor:
    """The inverse of `reparameterize`."""
    if isinstance(prior, MultivariateNormal):
        solved: Tensor = torch.linalg.solve_triangular(prior.scale_tril, (z - prior.loc)[..., None], upper=False)
        return solved[..., 0]
    noise: Tensor = (z - prior.mean) / prior.stddev
    return noise


def blocks_of(steps: Sequence[int], *, longest: int) -> list[Block]:
    """Blocks of at most `longest` steps that cover these steps, in order."""
    blocks: list[Block] = []
    for step in steps:
        if blocks and step - blocks[-1].first < longest:
            blocks[-1] = Block(blocks[-1].first, step)
        else:
            blocks.append(Block(step, step))
    return blocks


def worth(draws: int, effective: Array, alike: float) -> Array:
    """How many independent draws K moved ones are worth, which were worth `effective` before.

    Where two draws of one ancestor still have the correlation c: K / (1 + (K / effective - 1) c).
    """
    found: Array = draws / (1 + (draws / effective - 1) * alike)
    return found
