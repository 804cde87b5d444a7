"""The check of a bound: what it reports, what is differentiated, and against an exact likelihood where there is one."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from ..bounds.base import Bound, BoundKind, BoundResult, Weights
from ..errors import UserError
from ..models.base import SequenceModel
from ..observations import SequenceBatch
from .batches import garbage_in_padding
from .comparison import assert_same, checking, require, seed

KINDS = get_args(BoundKind)
REPEATS = 40  # for the mean of a lower bound


def check_bound(
    bound: Bound,
    model: SequenceModel,
    batch: SequenceBatch,
    *,
    weights: Weights = Weights(kl=0.7, auxiliary=0.3, backward=0.2),
    surrogate: bool = False,
) -> None:
    """A bound's record is what `BoundResult` says, and its value and its loss are not mistaken for each other.

    weights: of the loss, some that the bound accepts; what is reported must not depend on them.
    surrogate: the loss is made for its gradient: without weights, it isn't minus the value.

    Where the model knows its likelihood (`log_likelihood`; take `LinearGaussian` from `zforcing.models`), an exact
    value must be it and the mean of a lower bound must not be above it by 5 standard errors. Catches the surrogate
    reported as the bound, a log-likelihood of the wrong sign, sums in float32, a mask that the bound forgets, and a
    `kind` that promises too much. Raises AssertionError; ValueError for a model that isn't in float64.
    """
    with checking("check_bound", model):
        plain = _at(bound, model, batch, Weights())
        _check_record(plain, model, batch)
        assert_same(_at(bound, model, batch, Weights()).value, plain.value, "the value doesn't follow torch's seed")
        _check_weights(plain, _at(bound, model, batch, weights), weights, model, batch)
        if not surrogate:
            assert_same(plain.loss.detach(), -plain.value, "without weights the loss is not minus the value")
        _check_loss(plain, model)
        if not batch.mask.all():
            wild = _at(bound, model, garbage_in_padding(batch, model.spec), Weights())
            for name in ("value", "loss"):
                assert_same(getattr(wild, name), getattr(plain, name), f"the {name} changes with the padding")
        _check_likelihood(bound, plain, model, batch)


def _at(bound: Bound, model: SequenceModel, batch: SequenceBatch, weights: Weights, number: int = 0) -> BoundResult:
    seed(number)
    return bound(model, batch, weights=weights)


def _check_record(result: BoundResult, model: SequenceModel, batch: SequenceBatch) -> None:
    require(isinstance(result, BoundResult), f"a bound gives a BoundResult, not a {type(result).__name__}")
    numbers: dict[str, Tensor] = {"value": result.value, "loss": result.loss}
    for name, number in (numbers | {f"terms[{k!r}]": v for k, v in result.terms.items()}).items():
        require(number.shape == (len(batch),), f"{name} is {list(number.shape)}; it must be [B] = [{len(batch)}]")
        require(number.dtype == torch.float64, f"{name} is {number.dtype}; sums of nats are float64")
        require(bool(number.isfinite().all()), f"{name} is not finite: {number.tolist()}")
    require(not result.value.requires_grad, "value has a gradient: it is what is reported, detach it")
    require(result.loss.requires_grad, "loss has no gradient: it is what is differentiated")
    require(result.kind in KINDS, f"kind is {result.kind!r}; it must be one of {KINDS}")
    says_so = bool(model.latent_size) or result.kind == "exact"
    require(says_so, f"kind is {result.kind!r}; without latents a bound is exact")


def _check_weights(
    plain: BoundResult, weighted: BoundResult, weights: Weights, model: SequenceModel, batch: SequenceBatch
) -> None:
    assert_same(weighted.value, plain.value, f"the value changes with {weights}: what is reported has no weights")
    if plain.kind != "exact" and weights.kl != 1 and model.unroll(batch).kl.any():
        require(not torch.equal(weighted.loss, plain.loss), f"the loss is the same with {weights}: are they used?")


def _check_loss(plain: BoundResult, model: SequenceModel) -> None:
    learned = [p for p in model.parameters() if p.requires_grad]
    found: tuple[Tensor | None, ...] = torch.autograd.grad(plain.loss.sum(), learned, allow_unused=True)
    slopes = [g for g in found if g is not None]
    require(all(bool(g.isfinite().all()) for g in slopes), "the gradient of the loss is not finite")
    require(any(bool(g.any()) for g in slopes), "the gradient of the loss is zero everywhere")


@torch.no_grad()
def _check_likelihood(bound: Bound, plain: BoundResult, model: SequenceModel, batch: SequenceBatch) -> None:
    try:
        exact = model.log_likelihood(batch).double()
    except UserError:  # it has bounds only
        require(plain.kind != "exact", "kind is 'exact', and the model doesn't know its likelihood")
        return
    if plain.kind == "exact":
        assert_same(plain.value, exact, "kind is 'exact', and the value is not the model's log_likelihood")
    if plain.kind == "lower bound":
        values = torch.stack([_at(bound, model, batch, Weights(), s).value for s in range(REPEATS)])
        mean, error = values.mean(0), values.std(0) / REPEATS**0.5
        above = mean > exact + 5 * error + 1e-8
        require(
            not above.any(),
            f"the mean of {REPEATS} values is {mean[above].tolist()} nats, above the log-likelihood "
            f"{exact[above].tolist()}: that is no lower bound",
        )
