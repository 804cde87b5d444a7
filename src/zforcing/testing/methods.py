"""Checks of a model's methods, called one by one: the shapes of what they return, and the state.

Each takes a model in float64 and a batch, and raises an AssertionError that begins with the check's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from ..distributions import reparameterize
from ..models.sequence import SequenceModel
from ..models.state import State, map_state
from ..observations import SequenceBatch
from .batches import inputs_by_step
from .comparison import assert_same, model_check, noise_for, require


@model_check
@torch.no_grad()
def check_densities(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check the shapes of all densities and terms, and that prior and posterior are Gaussian.

    The check finds a squeezed or broadcast dimension, which gives a wrong number of nats and no error, and latents that
    aren't Gaussian, for which z = mean + std * noise is no sample.
    """
    n, steps, Z = len(batch), batch.x.shape[1], model.latent_size
    context = model.encode(batch)
    require(
        (context.dim() == 3 and context.shape[:2] == (n, steps)) or context.shape == batch.x.shape,
        f"encode gives {list(context.shape)}; it must be [B, T, C] = [{n}, {steps}, C], or like x",
    )
    state = model.after_inputs(model.initial_state(n, start=batch.start), inputs_by_step(batch)[0])
    for name, density in (("prior", model.prior(state)), ("posterior", model.posterior(state, context[:, 0]))):
        _require_shape(name, density, (n,), (Z,))
        base = density.base_dist if isinstance(density, Independent) else density
        require(
            isinstance(base, Normal | MultivariateNormal),
            f"the {name} is a {type(base).__name__}; latents are drawn as mean + std * noise, so it must be Gaussian",
        )
    state = model.after_latent(state, model.prior(state).mean)
    _require_shape("emission", model.emission(state), (n,), batch.x.shape[2:])
    costs = {name: (getattr(model, name)(state, context[:, 0]), [n]) for name in model.step_costs}
    costs |= {name: (getattr(model, name)(batch, context), [n, steps]) for name in model.context_costs}
    for name, (term, shape) in costs.items():
        require(list(term.shape) == shape, f"{name} gives {list(term.shape)}; it must be {shape}")


def _require_shape(name: str, density: Any, batch_shape: tuple[int, ...], event_shape: tuple[int, ...]) -> None:
    require(isinstance(density, Distribution), f"{name} gives a {type(density).__name__}; it must be a Distribution")
    shapes, expected = (tuple(density.batch_shape), tuple(density.event_shape)), (batch_shape, tuple(event_shape))
    require(
        shapes == expected,
        f"the {name}'s batch and event shapes are {shapes}; they must be {expected}: wrap it in Independent(..., 1)?",
    )


@model_check
@torch.no_grad()
def check_state(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that the state is a NamedTuple of tensors [n, ...] that holds everything from one step to the next.

    A second state, with the rows of the first in another order and one of them twice, goes through every method right
    after the first. The check finds a step that stores something on `self` or writes into its argument, and a state
    whose first dimension isn't the sequences (an LSTM's [layers, n, H]), which particles and streaming would mix up.
    """
    n = len(batch)
    index = torch.tensor([*reversed(range(n)), 0])
    inputs = batch.x.new_empty(*batch.x.shape[:2], 0) if batch.inputs is None else batch.inputs
    rows = (batch.x, batch.read, model.encode(batch), noise_for(model, batch), inputs)
    state = model.initial_state(n, start=batch.start)
    _require_record(state, n)
    first = list(_walk(model, state, *rows))
    again = _walk(model, state, *rows)
    second = _walk(model, map_state(lambda v: v[index], state), *(r[index] for r in rows))
    for (name, value), (_, interrupted), (_, reordered) in zip(first, again, second, strict=True):
        what = f"the {name} changes when the model is used for another state in between: is something left on self?"
        assert_same(interrupted, value, what)
        what = f"the {name} of reordered rows is different: does it depend on something that is not in the state?"
        assert_same(reordered, value[index], what)


def _walk(model: SequenceModel, state: State, *columns: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Run the loop from a state, method by method; yields the name of a result and its value for each row, [n].

    columns: x, what is read of it, context, noise and inputs (of size 0: none), [n, T, ...] each.
    """
    for x_t, read_t, c, e, u in zip(*(values.unbind(1) for values in columns), strict=True):
        writes = _writes(state)
        before, state = state, model.after_inputs(state, u if model.spec.inputs else None)
        _require_untouched(before, writes, "after_inputs")
        _require_record(state, len(e))

        writes = _writes(state)
        posterior = model.posterior(state, c)
        z = reparameterize(posterior, e)
        yield "posterior", posterior.log_prob(z)
        yield "prior", model.prior(state).log_prob(z)
        before, state = state, model.after_latent(state, z)
        _require_untouched(before, writes, "prior, posterior or after_latent")
        _require_record(state, len(z))
        yield "latent", z.sum(-1)

        writes = _writes(state)
        yield "emission", model.emission(state).log_prob(x_t)
        yield from ((name, getattr(model, name)(state, c)) for name in model.step_costs)
        before, state = state, model.after_observation(state, read_t)
        _require_untouched(before, writes, "emission, after_observation or a step's cost")
        _require_record(state, len(z))
        yield "latent", z.sum(-1)


def _writes(state: State) -> list[int]:
    """How often each tensor of a state was written in place."""
    return [value._version for value in state]


def _require_untouched(state: State, writes: list[int], methods: str) -> None:
    for name, before, after in zip(state._fields, writes, _writes(state), strict=True):
        require(before == after, f"state.{name} was changed in place by {methods}: make a new state instead")


def _require_record(state: State, n: int) -> None:
    is_record = isinstance(state, tuple) and hasattr(state, "_asdict")
    require(is_record, f"the state is a {type(state).__name__}; it must be a NamedTuple of tensors [n, ...]")
    for name, value in state._asdict().items():
        require(isinstance(value, Tensor), f"state.{name} is a {type(value).__name__}; it must be a tensor [n, ...]")
        require(value.shape[:1] == (n,), f"state.{name} is {list(value.shape)}; its first dimension must be n = {n}")
