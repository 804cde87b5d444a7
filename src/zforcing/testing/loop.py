"""Checks of a model's methods and of `unroll`: shapes, state, randomness, gradients, and agreement with the loop.

The reference loop is `SequenceModel.walk`.

Each takes a model in float64 and a batch, and raises an AssertionError that begins with the check's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from ..distributions import reparameterize
from ..models.sequence import SequenceModel
from ..models.state import State, map_state
from ..observations import SequenceBatch
from .batches import halves, inputs_by_step
from .comparison import (
    assert_same,
    assert_same_numbers,
    gradients,
    loop_of,
    model_check,
    noise_for,
    require,
    run_gradients,
    run_results,
    seed,
    terms,
)


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
        context.dim() == 3 and context.shape[:2] == (n, steps),
        f"encode gives {list(context.shape)}; it must be [B, T, C] = [{n}, {steps}, C]",
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


@model_check
@torch.no_grad()
def check_noise(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that the noise is all the randomness of an unroll in eval mode, and comes from torch's global generator.

    The check finds `rsample()` inside of a model, dropout in eval mode, an unroll that ignores its noise, and latents
    that are the same at every call.
    """
    noise = noise_for(model, batch)
    one, other = (run_results(model.unroll(batch, noise=noise), batch) for _ in range(2))
    assert_same_numbers(one, other, "differs between two unrolls with the same noise: what else is random?")
    latents = []
    for number in (1, 1, 2):
        seed(number)
        latents.append(model.unroll(batch).latents[batch.mask])
    assert_same(latents[0], latents[1], "the latents of an unroll don't follow the seed of torch's global generator")
    if model.latent_size:
        require(not torch.equal(latents[0], latents[2]), "an unroll draws the same latents whatever the seed")


@model_check
@torch.no_grad()
def check_unroll(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that `model.unroll` gives the results of the reference loop.

    The check finds an unroll that is off by one step, masks a term wrongly or returns a wrong last state.
    """
    noise = noise_for(model, batch)
    fast, loop = (unroll(batch, noise=noise) for unroll in (model.unroll, loop_of(model)))
    assert_same_numbers(
        run_results(fast, batch), run_results(loop, batch), "of unroll is not that of the reference loop"
    )


@model_check
def check_unroll_gradient(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that `model.unroll` has the gradients of the reference loop, parameter by parameter.

    The check finds an unroll that detaches what the loop doesn't, or the other way round.
    """
    noise = noise_for(model, batch)
    fast, loop = (run_gradients(model, unroll(batch, noise=noise)) for unroll in (model.unroll, loop_of(model)))
    assert_same_numbers(fast, loop, "has another gradient by unroll than by the reference loop", tolerance=1e-9)


@model_check
@torch.no_grad()
def check_carried_state(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that `model.unroll` continues from a state as the reference loop does.

    The check finds an unroll that starts from the initial state, or reads x_0 from the batch instead of the state.
    """
    first, second, rows = halves(batch)
    cut, noise = first.x.shape[1], noise_for(model, batch)[rows]
    state = loop_of(model)(first, noise=noise[:, :cut]).state
    fast, loop = (unroll(second, noise=noise[:, cut:], state=state) for unroll in (model.unroll, loop_of(model)))
    what = "of unroll is not that of the reference loop when both continue from a state"
    assert_same_numbers(run_results(fast, second), run_results(loop, second), what)


@model_check
@torch.no_grad()
def check_chunks(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that a sequence run in two chunks gives the results of one run.

    The first chunk is given the context of the whole sequence, the second continues from the first one's state. The
    check finds a state that doesn't hold all of the past, an unroll that ignores its context, and a context that
    doesn't continue from the state. (Costs of the context aren't compared: a chunk begins without an x_{t-1}.)
    """
    first, second, rows = halves(batch)
    cut, noise = first.x.shape[1], noise_for(model, batch)
    whole, context = model.unroll(batch, noise=noise), model.encode(batch)
    one = model.unroll(first, noise=noise[rows, :cut], context=context[rows, :cut])
    two = model.unroll(second, noise=noise[rows, cut:], state=one.state)
    steps = second.mask
    of_whole, of_one, of_two = (terms(run) | {"latents": run.latents} for run in (whole, one, two))
    for name in [name for name in of_whole if name not in model.context_costs]:
        expected = of_whole[name][rows]
        what = f"{name} of a sequence run in two chunks is not that of the whole, in the"
        assert_same(of_one[name], expected[:, :cut], f"{what} first one: is the given context used?")
        what = f"{what} second one: does the state hold all the past?"
        assert_same(of_two[name][steps], expected[:, cut:][steps], what)
    for name, value in two.state._asdict().items():
        assert_same(value, getattr(whole.state, name)[rows], f"state.{name} after two chunks is not that of the whole")


@model_check
def check_latents(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that given latents are used unchanged, with the results and gradients of the reference loop.

    The check finds an unroll that ignores `latents` or cuts their gradient, with which doubly reparameterized gradients
    would be wrong.
    """
    drawn = model.unroll(batch, noise=noise_for(model, batch))
    given = model.unroll(batch, latents=drawn.latents)
    what = "changes when the latents that were drawn are given"
    assert_same_numbers(run_results(given, batch), run_results(drawn, batch), what)
    numbers: list[dict[str, Tensor]] = []
    gradients: list[dict[str, Tensor]] = []
    for unroll in (model.unroll, loop_of(model)):
        z = (drawn.latents.detach() + 1).requires_grad_()
        run = unroll(batch, latents=z)
        numbers.append(run_results(run, batch))
        if model.latent_size:
            (by_z,) = torch.autograd.grad((run.log_px - run.kl).sum(), z)
            gradients.append({"the gradient by latents": by_z})
    what = "of given latents is not that of the reference loop"
    assert_same_numbers(numbers[0], numbers[1], what)
    if model.latent_size:
        assert_same_numbers(gradients[0], gradients[1], what, tolerance=1e-9)


@model_check
def check_gradients(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that every parameter gets a finite and nonzero gradient from the terms: log_px, KL and the model's costs.

    Nonzero gradients are required after a small change of all parameters: layers that start at zero stop gradients. The
    check finds an unused parameter, a term detached by mistake, and the NaN gradients of roots and norms at 0.
    """
    moved = deepcopy(model)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    for name, gradient in _term_gradients(model, batch).items():
        require(bool(gradient.isfinite().all()), f"the gradient of {name} is not finite")
    for name, gradient in _term_gradients(moved, batch).items():
        require(bool(gradient.any()), f"{name} gets no gradient: is it used, and is the term that learns it detached?")


def _term_gradients(model: SequenceModel, batch: SequenceBatch) -> dict[str, Tensor]:
    run = model.unroll(batch, noise=noise_for(model, batch))
    return gradients(model, terms(run).values())


@model_check
@torch.no_grad()
def check_dtype(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that the model computes in the dtype of its parameters, whatever torch's default dtype.

    The check finds `torch.zeros(n, size)` without a dtype.
    """
    default = torch.get_default_dtype()
    try:
        for dtype, other in ((torch.float64, torch.float32), (torch.float32, torch.float64)):
            torch.set_default_dtype(other)
            cast = _cast(batch, dtype)
            run = deepcopy(model).to(dtype).unroll(cast, noise=noise_for(model, batch).to(dtype))
            dtypes = {name: v.dtype for name, v in run_results(run, cast).items() if v.is_floating_point()}
            wrong = {name: result for name, result in dtypes.items() if result != dtype}
            require(not wrong, f"the parameters are {dtype}, torch's default is {other}, these have another: {wrong}")
    finally:
        torch.set_default_dtype(default)


def _cast(batch: SequenceBatch, dtype: torch.dtype) -> SequenceBatch:
    if not batch.x.is_floating_point():
        return batch
    return batch.to("cpu", dtype)


@model_check
@torch.no_grad()
def check_saved(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that a new model with the same spec, config and state dict gives the same results.

    The check finds a tensor that is neither a parameter nor a buffer, and arguments that aren't in the config, which a
    saved file would lose.
    """
    cls = type(model)
    for attribute in ("name", "Config"):
        require(hasattr(cls, attribute), f"{cls.__name__} has no `{attribute}`")
    is_settings = isinstance(model.config, cls.Config)
    require(is_settings, f"model.config is a {type(model.config).__name__}; it must be a {cls.Config.__name__}")
    config = cls.Config(**asdict(model.config))
    require(config == model.config, f"Config(**asdict(config)) is {config}; it was {model.config}")
    seed(1)
    new = cls(model.spec, config).double().eval()
    new.load_state_dict(model.state_dict())
    noise = noise_for(model, batch)
    actual, expected = (run_results(m.unroll(batch, noise=noise), batch) for m in (new, model))
    assert_same_numbers(actual, expected, "of a new model with the same config and state dict is not the same")
