"""The step of a model's contract, traced into a recurrence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.func import functional_call

from ..distributions import combine, reparameterize
from .plan import Plan, Recurrence, make_plan
from .program import Value
from .trace import trace


class Given(NamedTuple):
    """What a step is given beside its state: tensors for tracing, or the inputs that stand for them."""

    context: Any  # [n, C]
    draw: Any  # [n, Z], the noise of the latent or the latent itself
    x: Any  # [n, D] or [n]
    inputs: Any = None  # [n, U]


@dataclass(frozen=True)
class Densities:
    """A distribution as the tensors of its parameters, and what makes it of such tensors."""

    example: Distribution

    def rebuild(self, parameters: Sequence[Tensor]) -> Distribution:
        """The distribution with these parameters."""
        left = iter(parameters)
        return combine(lambda _: next(left), self.example)


def parameters_of(distribution: Distribution) -> list[Tensor]:
    """The parameters of a distribution, in the order in which `combine` sees them."""
    found: list[Tensor] = []

    def keep(parameter: Tensor) -> Tensor:
        found.append(parameter)
        return parameter

    combine(keep, distribution)
    return found


class _Step(nn.Module):
    """One step of the contract, with the first state, as a function of tensors."""

    def __init__(self, model: Any, *, given_latents: bool):
        super().__init__()
        self.model, self.given_latents = model, given_latents
        self.examples: dict[str, Distribution] = {}

    def forward(self, state: Any, given: Given, start: Tensor) -> dict[str, Any]:
        model = self.model
        first = model.initial_state(len(given.x), start=start)
        state = model.after_inputs(state, given.inputs)
        prior, posterior = model.prior(state), model.posterior(state, given.context)
        z = given.draw if self.given_latents else reparameterize(posterior, given.draw)
        middle = model.after_latent(state, z)
        emission = model.emission(middle)
        after = model.after_observation(middle, given.x)
        densities = {"prior": prior, "posterior": posterior, "emission": emission}
        self.examples = densities
        return {
            "first": first._asdict(),
            "after": after._asdict(),
            "middle": middle._asdict(),
            "z": z,
            **{name: parameters_of(d) for name, d in densities.items()},
        }
