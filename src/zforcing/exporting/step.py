"""The causal step of a model: what it expects of x_t, log p(x_t | x_<t), and the state after x_t, as one module.

It is the bootstrap filter of `tasks.filtering`, which draws latents from the prior, without a branch on a value and
without random numbers of its own, in the user's units: what `torch.export` and ONNX can hold. B sequences run side by
side, with K particles each.

    given                                              found
    x          [B, D]      x_t, NaN where missing      nats       [B]     log p(x_t | x_<t) of what was observed
    inputs     [B, U]      u_t, if there are some      features   [B, D]  the same of each number, if in closed form
    normal     [B, K, Z]   standard normal numbers     effective  [B]     particles that explain x_t, 1..K
    uniform    [B]         in [0, 1), of resampling    mean, std  [B, D]  of p(x_t | x_<t), before x_t was read, or
                                                       probabilities [B, V], of each category
    state.NAME             after x_{t-1}               next.NAME          after x_t

A state of zeros is that before the first observation. `mean`, `std` and `probabilities` don't depend on x_t: of a step
whose x_t isn't there yet they are the forecast, whatever x is.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution

from ..distributions import log_probs_of_observed, reparameterize
from ..models import SequenceModel
from ..models.state import State, map_state
from ..observations import DataDescription
from ..tasks.filtering import RESAMPLED_BELOW, marked, particles_of
from ..tasks.score import log_std_of
from .units import Read, Units

LEAST = -1e38  # nats: finite, where a particle's are not
STEPS, WEIGHTS = "state.steps", "state.log_weights"
Tensors = dict[str, Tensor]


class FilterStep(nn.Module):
    """The step of the module's docstring.

    Args:
        model: In eval mode, on the CPU.
        particles: K; 1 without latents.
    """

    log_std: Tensor

    def __init__(self, model: SequenceModel, *, particles: int):
        super().__init__()
        self.model, self.K = model, particles_of(model, particles)
        description = model.description or DataDescription("data", model.spec, longest=1)
        like = next(model.parameters())
        self.units = Units(description, like.dtype)
        log_std = log_std_of(description) if self.units.of == "user" else 0.0
        self.register_buffer("log_std", torch.as_tensor(log_std).double().expand(self.units.size).clone())
        with torch.no_grad():
            first = model.initial_state(1)
        self._type: Any = type(first)
        for name, value in first._asdict().items():
            self.register_buffer(f"first_{name}", value.clone())

    def blank(self, B: int) -> Tensors:
        """What is given before the first observation, and zeros for what comes from outside."""
        U, Z, like = self.model.spec.inputs, self.model.latent_size, next(self.model.parameters())
        given = {"x": torch.zeros(B, self.units.size, dtype=torch.float64)}
        given |= {"inputs": torch.zeros(B, U, dtype=torch.float64)} if U else {}
        given |= {"normal": like.new_zeros(B, self.K, Z)} if Z else {}
        given |= {"uniform": torch.zeros(B, dtype=torch.float64)} if self.K > 1 else {}
        given[STEPS] = torch.zeros(B, dtype=torch.int64)
        given |= {WEIGHTS: torch.zeros(B, self.K, dtype=torch.float64)} if self.K > 1 else {}
        shapes = {name: self.first(name).shape[1:] for name in self.fields}
        return given | {f"state.{name}": like.new_zeros(B, self.K, *shape) for name, shape in shapes.items()}

    @property
    def fields(self) -> list[str]:
        """Those of the model's state that hold something."""
        return [name for name in self._type._fields if self.first(name).numel()]

    def first(self, name: str) -> Tensor:
        """A field of the state before the first step, one row."""
        value: Tensor = getattr(self, f"first_{name}")
        return value

    def forward(self, given: Tensors) -> Tensors:
        """Take a step; see the module's docstring."""
        begins = given[STEPS] == 0
        read = self.units.read(given["x"])
        before, log_weights = self._before(given, begins)
        emitting, emission = self._expect(before, given)
        found, weights = self._weigh(emission, read, log_weights)
        after = self.model.after_observation(emitting, self._rows(self._marked(read)))
        found |= self._moments(emission, log_weights.exp())
        if self.K > 1:
            after, found["next.log_weights"] = self._resample(after, weights, given["uniform"])
        if self.model.spec.conditions_on_first:
            found, after = self._only_read(found, after, read, begins)
        found["next.steps"] = given[STEPS] + 1
        return found | {f"next.{name}": self._by_sequence(getattr(after, name)) for name in self.fields}

    # ---- the state

    def _before(self, given: Tensors, begins: Tensor) -> tuple[State, Tensor]:
        """The state after x_{t-1}, [B K, ...], and log w [B, K]; the first ones where a sequence begins."""
        B = begins.shape[0]  # `len` would fix it
        fields = []
        for name in self._type._fields:
            value, first = given.get(f"state.{name}"), self.first(name)
            if value is None:
                fields.append(first.expand(B * self.K, *first.shape[1:]))
            else:
                fields.append(self._by_row(torch.where(_like(begins, value), first, value)))
        if self.K == 1:
            return self._type(*fields), torch.zeros(B, 1, dtype=torch.float64)
        return self._type(*fields), torch.where(begins[:, None], -math.log(self.K), given[WEIGHTS])

    def _only_read(self, found: Tensors, after: State, read: Read, begins: Tensor) -> tuple[Tensors, State]:
        """Where a sequence begins, x_t is its first observation, which the model only reads."""
        begun = self.model.initial_state(begins.shape[0] * self.K, start=self._rows(self._marked(read)))
        rows = begins.repeat_interleave(self.K)
        after = map_state(lambda new, old: torch.where(_like(rows, new), new, old), begun, after)
        even = -math.log(self.K)
        nothing = {name: even if name == "next.log_weights" else torch.nan for name in found}
        return {name: torch.where(_like(begins, v), nothing[name], v) for name, v in found.items()}, after

    def _by_row(self, value: Tensor) -> Tensor:
        """[B, K, ...] -> [B K, ...]."""
        return value.flatten(0, 1)

    def _by_sequence(self, value: Tensor) -> Tensor:
        """[B K, ...] -> [B, K, ...]."""
        parted: Tensor = value.unflatten(0, (-1, self.K))
        return parted

    def _rows(self, value: Tensor) -> Tensor:
        """[B, ...] -> [B K, ...]."""
        repeated: Tensor = value[:, None].expand(-1, self.K, *value.shape[1:])
        return repeated.flatten(0, 1)

    # ---- the filter

    def _expect(self, before: State, given: Tensors) -> tuple[State, Distribution]:
        """The state that emits x_t, and p(x_t | z_<=t, x_<t) of each particle."""
        u = given.get("inputs")
        begun = self.model.after_inputs(before, None if u is None else self._rows(self.units.read_inputs(u)))
        normal = given.get("normal")
        noise = begun[0].new_zeros(begun[0].shape[0], 0) if normal is None else self._by_row(normal)
        emitting = self.model.after_latent(begun, reparameterize(self.model.prior(begun), noise))
        return emitting, self.model.emission(emitting)

    def _weigh(self, emission: Distribution, read: Read, log_weights: Tensor) -> tuple[Tensors, Tensor]:
        """What x_t is worth, and the particles' weights after it, [B, K]: NaN where none of them explains it."""
        parts = self._log_probs(emission, read) + log_weights[..., None]  # [B, K, 1 or 1 + D]
        largest = parts.amax(1).clamp(min=LEAST)
        weights = torch.exp(parts - largest[:, None])
        sums = weights.sum(1)
        nats, shares = torch.log(sums) + largest, weights[..., 0] / sums[:, :1]
        seen, log_std = read.observed, torch.where(read.observed, self.log_std, 0.0)
        complete = seen.any(-1) if self.model.spec.missing else seen.all(-1)
        found = {"nats": torch.where(complete & ~read.wrong, nats[:, 0] - log_std.sum(-1), torch.nan)}
        if nats.shape[1] > 1:
            shown = seen if self.model.spec.missing else seen & complete[:, None]
            found["features"] = torch.where(shown, nats[:, 1:] - self.log_std, torch.nan)
        effective = torch.where(sums[:, 0] > 0, 1 / shares.square().sum(1), 0.0)
        return found | {"effective": effective}, shares

    def _log_probs(self, emission: Distribution, read: Read) -> Tensor:
        """log p of all that was observed, and of each number if it has one, [B, K, 1 or 1 + D] float64."""
        missing, x = self.model.spec.missing, self._rows(read.x)
        seen = self._rows(self._shaped(read.observed, read.x))
        found = log_probs_of_observed(emission, x, seen if missing else None)
        total = found.total[:, None]
        parts = (total if found.each is None else torch.cat([total, found.each], dim=1)).double()
        if not missing:  # the model can't integrate out: an incomplete step counts nothing
            parts = torch.where(self._rows(read.observed.all(-1))[:, None], parts, 0.0)
        return self._by_sequence(parts)

    def _resample(self, after: State, weights: Tensor, uniform: Tensor) -> tuple[State, Tensor]:
        """Heavy particles take the place of light ones where too few are heavy; and log w [B, K]."""
        B, K = weights.shape
        enough = (weights.square().sum(1, keepdim=True) * (RESAMPLED_BELOW * K) <= 1).expand(B, K)
        each = torch.arange(K, dtype=torch.float64)
        known = torch.where(torch.isfinite(weights), weights, 1 / K)
        cumulative = known.cumsum(1)
        points = (uniform[:, None] + each) / K
        passed = (cumulative / cumulative[:, -1:])[:, None] <= points[..., None]  # [B, K points, K]
        chosen = passed.sum(-1).clamp(max=K - 1)
        ancestors = torch.where(enough, torch.arange(K), chosen)
        index = (ancestors + torch.arange(B)[:, None] * K).flatten()
        return map_state(lambda v: v[index], after), torch.log(torch.where(enough, weights, 1 / K))

    def _moments(self, emission: Distribution, weights: Tensor) -> Tensors:
        """What is expected of x_t, a mixture by the weights [B, K]; nothing where that has no closed form."""
        if self.model.spec.kind == "categorical":
            logits = cast(Categorical, emission).logits
            each = self._by_sequence(torch.softmax(logits.double(), dim=-1))
            return {"probabilities": (weights[..., None] * each).sum(1)}
        if not self.units.is_affine:
            return {}
        try:
            mean, variance = (self._by_sequence(v.double()) for v in (emission.mean, emission.variance))
        except NotImplementedError:  # of a density without moments, such as an autoregressive one
            return {}
        w = weights[..., None]
        center = (w * mean).sum(1)
        std = (w * (variance + (mean - center[:, None]).square())).sum(1).sqrt()
        return dict(zip(("mean", "std"), self.units.moments(center, std), strict=True))

    # ---- x_t

    def _shaped(self, observed: Tensor, x: Tensor) -> Tensor:
        """[B, D] -> like x."""
        return observed[:, 0] if x.dim() == 1 else observed

    def _marked(self, read: Read) -> Tensor:
        """x_t as models read it."""
        return marked(read.x, self._shaped(read.observed, read.x))


def _like(rows: Tensor, value: Tensor) -> Tensor:
    """[n] -> [n, 1, ...], of as many dimensions as the value."""
    return rows.reshape(-1, *[1] * (value.dim() - 1))
