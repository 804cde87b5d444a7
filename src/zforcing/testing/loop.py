"""Checks of the contract's parts and of its loop: what the densities and the state are, and that `unroll` is the loop.

Each takes a model in float64 and a batch, and raises an AssertionError that begins with the check's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from ..distributions import reparameterize
from ..models.base import SequenceModel, State, map_state
from ..observations import SequenceBatch
from .batches import halves
from .comparison import (
    TERMS,
    assert_same,
    assert_same_numbers,
    gradients,
    loop_of,
    model_check,
    noise_for,
    require,
    results,
    run_gradients,
    seed,
)


@model_check
@torch.no_grad()
def check_densities(model: SequenceModel, batch: SequenceBatch) -> None:
    """Everything has the contract's shape; prior and posterior are Gaussian, as z = mean + std * noise assumes.

    Catches a squeezed or broadcast dimension, which adds up to a wrong number of nats and to no error; and latents
    that are not Gaussian, whose samples would not be theirs.
    """
    n, steps, Z = len(batch), batch.x.shape[1], model.latent_size
    context = model.encode(batch)
    require(
        context.dim() == 3 and context.shape[:2] == (n, steps),
        f"encode gives {list(context.shape)}; it must be [B, T, C] = [{n}, {steps}, C]",
    )
    state = model.initial_state(n, start=batch.start)
    for name, density in (("prior", model.prior(state)), ("posterior", model.posterior(state, context[:, 0]))):
        _require_shape(name, density, (n,), (Z,))
        base = density.base_dist if isinstance(density, Independent) else density
        require(
            isinstance(base, Normal | MultivariateNormal),
            f"the {name} is a {type(base).__name__}; latents are drawn as mean + std * noise, so it must be Gaussian",
        )
    state = model.after_latent(state, model.prior(state).mean)
    _require_shape("emission", model.emission(state), (n,), batch.x.shape[2:])
    auxiliary, backward = model.auxiliary(state, context[:, 0]), model.backward_log_prob(batch, context)
    for name, term, shape in (("auxiliary", auxiliary, [n]), ("backward_log_prob", backward, [n, steps])):
        require(list(term.shape) == shape, f"{name} gives {list(term.shape)}; it must be {shape}")


def _require_shape(name: str, density: Any, batch_shape: tuple[int, ...], event_shape: tuple[int, ...]) -> None:
    require(isinstance(density, Distribution), f"{name} gives a {type(density).__name__}; it must be a Distribution")
    found, expected = (tuple(density.batch_shape), tuple(density.event_shape)), (batch_shape, tuple(event_shape))
    require(
        found == expected,
        f"the {name}'s batch and event shapes are {found}; they must be {expected}: wrap it in Independent(..., 1)?",
    )


@model_check
@torch.no_grad()
def check_state(model: SequenceModel, batch: SequenceBatch) -> None:
    """A state is a NamedTuple of tensors [n, ...] that holds all there is: it can be indexed, repeated and carried.

    A second state, with the first one's rows in another order and one of them twice, goes through every method right
    after the first. Catches a step that leaves something on `self` or writes into the state it was given, and a state
    whose tensors are not rows of sequences (an LSTM's [layers, n, H]): particles, resampling and streaming would mix
    sequences up.
    """
    n = len(batch)
    index = torch.tensor([*reversed(range(n)), 0])
    rows = (batch.x, batch.read, model.encode(batch), noise_for(model, batch))
    state = model.initial_state(n, start=batch.start)
    _require_record(state, n)
    alone = list(_walk(model, state, *rows))
    again = _walk(model, state, *rows)
    second = _walk(model, map_state(lambda v: v[index], state), *(r[index] for r in rows))
    for (name, value), (_, interrupted), (_, reordered) in zip(alone, again, second, strict=True):
        what = f"the {name} changes when the model is used for another state in between: is something left on self?"
        assert_same(interrupted, value, what)
        what = f"the {name} of rows in another order is another: does it depend on something that is not in the state?"
        assert_same(reordered, value[index], what)


def _walk(
    model: SequenceModel, state: State, x: Tensor, read: Tensor, context: Tensor, noise: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """The contract's loop from a state on, method by method: who says it, and what it says of each row, [n]."""
    for x_t, read_t, c, e in zip(x.unbind(1), read.unbind(1), context.unbind(1), noise.unbind(1), strict=True):
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
        yield "auxiliary", model.auxiliary(state, c)
        before, state = state, model.after_observation(state, read_t)
        _require_untouched(before, writes, "emission, auxiliary or after_observation")
        _require_record(state, len(z))
        yield "latent", z.sum(-1)


def _writes(state: State) -> list[int]:
    """How often each tensor was written in place."""
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
    """The noise is all the randomness of an unroll in eval mode, and comes from torch's global generator.

    Catches `rsample()` inside of a model, dropout that never ends, an unroll that ignores its noise, and latents that
    are the same at every call.
    """
    noise = noise_for(model, batch)
    one, other = (results(model.unroll(batch, noise=noise), batch) for _ in range(2))
    assert_same_numbers(one, other, "differs between two unrolls with the same noise: what else is random?")
    drawn = []
    for number in (1, 1, 2):
        seed(number)
        drawn.append(model.unroll(batch).latents[batch.mask])
    assert_same(drawn[0], drawn[1], "the latents of an unroll don't follow the seed of torch's global generator")
    if model.latent_size:
        require(not torch.equal(drawn[0], drawn[2]), "an unroll draws the same latents whatever the seed")


@model_check
@torch.no_grad()
def check_unroll(model: SequenceModel, batch: SequenceBatch) -> None:
    """`model.unroll` says what the contract's loop says, number by number.

    Catches a fast path that is off by one step, masks a term wrongly or leaves a wrong last state.
    """
    noise = noise_for(model, batch)
    fast, loop = (unroll(batch, noise=noise) for unroll in (model.unroll, loop_of(model)))
    assert_same_numbers(results(fast, batch), results(loop, batch), "of unroll is not that of the contract's loop")


@model_check
def check_unroll_gradient(model: SequenceModel, batch: SequenceBatch) -> None:
    """`model.unroll` has the gradients of the contract's loop, parameter by parameter.

    Catches a fast path that detaches what the model doesn't, or the other way round.
    """
    noise = noise_for(model, batch)
    fast, loop = (run_gradients(model, unroll(batch, noise=noise)) for unroll in (model.unroll, loop_of(model)))
    assert_same_numbers(fast, loop, "has another gradient by unroll than by the contract's loop", tolerance=1e-9)


@model_check
@torch.no_grad()
def check_carried_state(model: SequenceModel, batch: SequenceBatch) -> None:
    """`model.unroll` goes on from a state as the contract's loop does.

    Catches a fast path that starts anew, or reads x_0 from the batch instead of the state: a state that is reset or
    one step stale between chunks.
    """
    first, second, rows = halves(batch)
    cut, noise = first.x.shape[1], noise_for(model, batch)[rows]
    state = loop_of(model)(first, noise=noise[:, :cut]).state
    fast, loop = (unroll(second, noise=noise[:, cut:], state=state) for unroll in (model.unroll, loop_of(model)))
    what = "of unroll is not that of the contract's loop when both go on from a state"
    assert_same_numbers(results(fast, second), results(loop, second), what)


@model_check
@torch.no_grad()
def check_chunks(model: SequenceModel, batch: SequenceBatch) -> None:
    """A sequence in two runs, the first with the whole one's context and the second from its state, is the whole.

    Catches a state that doesn't hold all of the past, an unroll that ignores the context it is given, and a context
    that begins its own past anew. (`backward_log_prob` is left out: the first step of a chunk has no x_{t-1} to score.)
    """
    first, second, rows = halves(batch)
    cut, noise = first.x.shape[1], noise_for(model, batch)
    whole, context = model.unroll(batch, noise=noise), model.encode(batch)
    one = model.unroll(first, noise=noise[rows, :cut], context=context[rows, :cut])
    two = model.unroll(second, noise=noise[rows, cut:], state=one.state)
    for name in ("log_px", "kl", "auxiliary", "latents"):
        of_whole, steps = getattr(whole, name)[rows], second.mask
        what = f"{name} of a sequence run in two chunks is not that of the whole, in the"
        assert_same(getattr(one, name), of_whole[:, :cut], f"{what} first one: is the context it is given used?")
        assert_same(
            getattr(two, name)[steps], of_whole[:, cut:][steps], f"{what} second one: does the state hold all the past?"
        )
    for name, value in two.state._asdict().items():
        assert_same(value, getattr(whole.state, name)[rows], f"state.{name} after two chunks is not that of the whole")


@model_check
def check_latents(model: SequenceModel, batch: SequenceBatch) -> None:
    """Given latents are taken as they are: the ones it has drawn give the same run, others what the loop says of them.

    Catches an unroll that ignores `latents` or cuts their gradient: doubly-reparameterized gradients would be wrong.
    """
    drawn = model.unroll(batch, noise=noise_for(model, batch))
    given = model.unroll(batch, latents=drawn.latents)
    assert_same_numbers(
        results(given, batch), results(drawn, batch), "changes when the latents that were drawn are given"
    )
    numbers: list[dict[str, Tensor]] = []
    slopes: list[dict[str, Tensor]] = []
    for unroll in (model.unroll, loop_of(model)):
        z = (drawn.latents.detach() + 1).requires_grad_()
        run = unroll(batch, latents=z)
        numbers.append(results(run, batch))
        if model.latent_size:
            (by_z,) = torch.autograd.grad((run.log_px - run.kl).sum(), z)
            slopes.append({"the gradient by latents": by_z})
    what = "of given latents is not what the contract's loop says of them"
    assert_same_numbers(numbers[0], numbers[1], what)
    if model.latent_size:
        assert_same_numbers(slopes[0], slopes[1], what, tolerance=1e-9)


@model_check
def check_gradients(model: SequenceModel, batch: SequenceBatch) -> None:
    """Every parameter gets a finite gradient that isn't zero from the terms: log_px, KL, auxiliary and backward.

    Not zero when all parameters are moved a little, that is, since layers that begin at zero stop gradients. Catches a
    parameter that nothing uses, a term that was detached by mistake, and the NaN gradients of roots and norms at 0.
    """
    moved = deepcopy(model)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    for name, gradient in _of_terms(model, batch).items():
        require(bool(gradient.isfinite().all()), f"the gradient of {name} is not finite")
    for name, gradient in _of_terms(moved, batch).items():
        require(bool(gradient.any()), f"{name} gets no gradient: is it used, and is the term that learns it detached?")


def _of_terms(model: SequenceModel, batch: SequenceBatch) -> dict[str, Tensor]:
    run = model.unroll(batch, noise=noise_for(model, batch))
    return gradients(model, [getattr(run, term) for term in TERMS])


@model_check
@torch.no_grad()
def check_dtype(model: SequenceModel, batch: SequenceBatch) -> None:
    """The model computes in the dtype of its parameters, whatever torch's default dtype, which is restored.

    Catches `torch.zeros(n, size)` without a dtype: a run that fails, or is quietly slower, elsewhere.
    """
    default = torch.get_default_dtype()
    try:
        for dtype, other in ((torch.float64, torch.float32), (torch.float32, torch.float64)):
            torch.set_default_dtype(other)
            cast = _cast(batch, dtype)
            run = deepcopy(model).to(dtype).unroll(cast, noise=noise_for(model, batch).to(dtype))
            dtypes = {name: v.dtype for name, v in results(run, cast).items() if v.is_floating_point()}
            wrong = {name: found for name, found in dtypes.items() if found != dtype}
            require(not wrong, f"the parameters are {dtype}, torch's default is {other}, these don't fit: {wrong}")
    finally:
        torch.set_default_dtype(default)


def _cast(batch: SequenceBatch, dtype: torch.dtype) -> SequenceBatch:
    if not batch.x.is_floating_point():
        return batch
    return replace(batch, x=batch.x.to(dtype), start=batch.start.to(dtype))


@model_check
@torch.no_grad()
def check_saved(model: SequenceModel, batch: SequenceBatch) -> None:
    """`(spec, config)` and the state dict are the whole model: a new one with them says the same.

    Catches a tensor that is neither a parameter nor a buffer, and arguments that the config doesn't hold: a model that
    comes back from its checkpoint as another.
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
    found, expected = (results(m.unroll(batch, noise=noise), batch) for m in (new, model))
    assert_same_numbers(found, expected, "of a new model with the same config and state dict is not the same")
