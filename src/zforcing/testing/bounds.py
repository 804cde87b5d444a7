"""The check of a bound: its value, its loss, and their relation to an exact likelihood where the model has one."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from ..bounds.base import Bound, BoundKind, BoundResult, Weights, is_needed
from ..errors import UserError
from ..models.density import DensityModel
from ..observations import SequenceBatch
from .batches import garbage_in_padding
from .comparison import assert_same, checking, require, seed

KINDS = get_args(BoundKind)
REPEATS = 40  # for the mean of a lower bound


def check_bound(
    bound: Bound,
    model: DensityModel,
    batch: SequenceBatch,
    *,
    weights: Weights | None = None,
    surrogate: bool = False,
) -> None:
    """Check that a bound returns what `BoundResult` documents.

    Where the model has an exact likelihood (such as `LinearGaussian` from `zforcing.models`), an exact value must equal
    it, and the mean of a lower bound must not exceed it by 5 standard errors. The check finds a surrogate loss reported
    as the value, a log-likelihood of the wrong sign, sums in float32, a mask that is ignored, a wrong `kind`, and
    weights that are left out or used otherwise than `Weights` says.

    Args:
        bound: The bound.
        model: A model in float64.
        batch: B sequences for it.
        weights: Weights of the loss that the bound accepts; the reported value must not depend on them. None: 0.7 of
            the KL, and 0.3 of each extra term of the model.
        surrogate: Whether the loss only has the right gradient. Otherwise it must be minus the value without weights.

    Raises:
        AssertionError: The bound is wrong; the message says how.
        ValueError: The model isn't in float64.

    Example:
        >>> from zforcing import ELBO, VRNN, VRNNConfig
        >>> from zforcing.testing import SPECS, random_batch
        >>> config = VRNNConfig(hidden_size=3, latent_size=2, feature_size=4, mlp_size=4, mlp_layers=1)
        >>> check_bound(ELBO(), VRNN(SPECS["real"], config).double(), random_batch(SPECS["real"]))
    """
    if weights is None:
        weights = Weights(0.7, costs=dict.fromkeys(model.cost_names, 0.3))
    with checking("check_bound", model):
        plain = _at(bound, model, batch, Weights())
        _check_record(plain, model, batch)
        assert_same(_at(bound, model, batch, Weights()).value, plain.value, "the value doesn't follow torch's seed")
        _check_weights(plain, _at(bound, model, batch, weights), weights, model, batch)
        if not surrogate:
            assert_same(plain.loss.detach(), -plain.value, "without weights the loss is not minus the value")
        _check_loss(plain, model)
        if not batch.mask.all():
            with_garbage = _at(bound, model, garbage_in_padding(batch, model.spec), Weights())
            for name in ("value", "loss"):
                assert_same(getattr(with_garbage, name), getattr(plain, name), f"the {name} changes with the padding")
        _check_likelihood(bound, plain, model, batch)
        if not surrogate:
            _check_costs(bound, plain, model, batch, weights)
            _check_kl_weight(bound, plain, model, batch, weights)


def _at(bound: Bound, model: DensityModel, batch: SequenceBatch, weights: Weights, number: int = 0) -> BoundResult:
    seed(number)
    return bound(model, batch, weights=weights)


def _check_record(result: BoundResult, model: DensityModel, batch: SequenceBatch) -> None:
    require(isinstance(result, BoundResult), f"a bound must return a BoundResult, not a {type(result).__name__}")
    numbers: dict[str, Tensor] = {"value": result.value, "loss": result.loss}
    for name, number in (numbers | {f"terms[{k!r}]": v for k, v in result.terms.items()}).items():
        require(number.shape == (len(batch),), f"{name} is {list(number.shape)}; it must be [B] = [{len(batch)}]")
        require(number.dtype == torch.float64, f"{name} is {number.dtype}; sums of nats are float64")
        require(bool(number.isfinite().all()), f"{name} is not finite: {number.tolist()}")
    require(not result.value.requires_grad, "value has a gradient: it is reported, not differentiated; detach it")
    require(result.loss.requires_grad, "loss has no gradient: it is what training differentiates")
    require(result.kind in KINDS, f"kind is {result.kind!r}; it must be one of {KINDS}")
    _check_terms(result, Weights())
    kind_is_right = bool(model.latent_size) or result.kind == "exact"
    require(kind_is_right, f"kind is {result.kind!r}; without latents a bound is exact")


def _check_terms(result: BoundResult, weights: Weights) -> None:
    """The same names with the same meanings, whatever the bound: log_px, kl and each weighted extra term."""
    expected = {"log_px", "kl", *(name for name, weight in weights.costs.items() if is_needed(weight))}
    missing, present = (", ".join(sorted(names)) for names in (expected - set(result.terms), result.terms))
    require(not missing, f"terms has {present or 'nothing'}; with {weights} it needs {missing}")
    kl = result.terms["kl"]
    require(bool((kl >= -1e-9).all()), f"terms['kl'] is {kl.tolist()}; it is the KL in closed form, and never negative")


def _check_weights(
    plain: BoundResult, weighted: BoundResult, weights: Weights, model: DensityModel, batch: SequenceBatch
) -> None:
    _check_terms(weighted, weights)
    assert_same(weighted.value, plain.value, f"the value changes with {weights}: the reported value has no weights")
    if plain.kind != "exact" and weights.kl != 1 and model.draw(batch).kl.any():
        require(not torch.equal(weighted.loss, plain.loss), f"the loss is the same with {weights}: are they used?")


def _check_costs(bound: Bound, plain: BoundResult, model: DensityModel, batch: SequenceBatch, weights: Weights) -> None:
    """Each extra term alone: the loss has minus its weight times it."""
    for name, weight in weights.costs.items():
        if is_needed(weight):
            weighted = _at(bound, model, batch, Weights(costs={name: weight}))
            added, expected = weighted.loss - plain.loss, -weight * weighted.terms[name]
            what = f"a weight of {weight} adds other than minus {weight} times {name} to the loss"
            assert_same(added.detach(), expected.detach(), what, tolerance=1e-8)


def _check_kl_weight(
    bound: Bound, plain: BoundResult, model: DensityModel, batch: SequenceBatch, weights: Weights
) -> None:
    """Of one draw the loss is minus log p(x | z) without the KL, and goes straight from there to the bound."""
    if weights.kl == 1 or plain.kind == "exact" or bound.particles > 1:
        return
    without, weighted = (_at(bound, model, batch, Weights(kl)).loss.detach() for kl in (0.0, weights.kl))
    assert_same(without, -plain.terms["log_px"].detach(), "with a KL weight of 0 the loss is not minus log_px")
    between = weights.kl * plain.loss.detach() + (1 - weights.kl) * without
    assert_same(weighted, between, f"with a KL weight of {weights.kl} the loss doesn't have {weights.kl} of the KL")


def _check_loss(plain: BoundResult, model: DensityModel) -> None:
    learned = [p for p in model.parameters() if p.requires_grad]
    results: tuple[Tensor | None, ...] = torch.autograd.grad(plain.loss.sum(), learned, allow_unused=True)
    gradients = [g for g in results if g is not None]
    require(all(bool(g.isfinite().all()) for g in gradients), "the gradient of the loss is not finite")
    require(any(bool(g.any()) for g in gradients), "the gradient of the loss is zero everywhere")


@torch.no_grad()
def _check_likelihood(bound: Bound, plain: BoundResult, model: DensityModel, batch: SequenceBatch) -> None:
    try:
        exact = model.log_likelihood(batch).double()
    except UserError:  # the model has no exact likelihood
        require(plain.kind != "exact", "kind is 'exact', but the model has no exact likelihood")
        return
    if plain.kind == "exact":
        assert_same(plain.value, exact, "kind is 'exact', but the value is not the model's log_likelihood")
    if plain.kind == "lower bound":
        values = torch.stack([_at(bound, model, batch, Weights(), s).value for s in range(REPEATS)])
        mean, error = values.mean(0), values.std(0) / REPEATS**0.5
        above = mean > exact + 5 * error + 1e-8
        require(
            not above.any(),
            f"the mean of {REPEATS} values is {mean[above].tolist()} nats, above the log-likelihood "
            f"{exact[above].tolist()}: it is not a lower bound",
        )
