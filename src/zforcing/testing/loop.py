"""Checks of `unroll`: randomness, gradients, precision, and agreement with the loop.

The reference loop is `SequenceModel.walk`.

Each takes a model in float64 and a batch, and raises an AssertionError that begins with the check's name.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict

import torch
from torch import Tensor

from ..models.sequence import SequenceModel
from ..observations import SequenceBatch
from ..recurrence import blocks
from .batches import halves
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

    Also where the unroll is computed in blocks of a few steps, as long sequences and large batches are.

    The check finds an unroll that detaches what the loop doesn't, or the other way round.
    """
    noise = noise_for(model, batch)
    fast, loop = (run_gradients(model, unroll(batch, noise=noise)) for unroll in (model.unroll, loop_of(model)))
    assert_same_numbers(fast, loop, "has another gradient by unroll than by the reference loop", tolerance=1e-9)
    with blocks.of_rows(2 * len(batch)):
        fast = run_gradients(model, model.unroll(batch, noise=noise))
    assert_same_numbers(fast, loop, "has another gradient by unroll in several blocks of steps", tolerance=1e-9)


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
