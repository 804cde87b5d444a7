"""Combine distributions of several steps or particles into one with a larger batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from inspect import signature
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

D = TypeVar("D", bound=Distribution)
SAME_AS = {"probs": "logits", "covariance_matrix": "scale_tril", "precision_matrix": "scale_tril"}
"""parameters of torch's distributions that another one says too, which is then the one to pass"""


class Combinable(Distribution):
    """Base class of distributions that define how `combine` works on them. A new distribution should be one."""

    def combined(self, f: Callable[..., Tensor], *others: Any) -> Distribution:
        """Return the distribution whose parameters are f(parameter of self, *parameters of others)."""
        raise NotImplementedError


class Softmax(Categorical, Combinable):
    """A categorical distribution, p(x) = softmax(logits)_x, that normalizes only once.

    torch's `Categorical` normalizes by a logsumexp and a difference, and does so again whenever it is transposed or
    stacked, which is most of the work of an update with the vocabulary of a language. Here it is one log-softmax.

    Args:
        logits: [..., V]; the batch is [...], the event [].
        normalized: Whether the logits are log-probabilities already.
    """

    def __init__(self, logits: Tensor, *, normalized: bool = False):
        self.logits = self._param = logits if normalized else torch.log_softmax(logits, dim=-1)
        self._num_events = logits.shape[-1]
        Distribution.__init__(self, logits.shape[:-1], validate_args=False)

    def combined(self, f: Callable[..., Tensor], *others: Distribution) -> Softmax:
        """See `combine`."""
        logits = [self.logits, *(other.logits for other in others if isinstance(other, Softmax))]
        return Softmax(f(*logits), normalized=True)

    def expand(self, batch_shape: Sequence[int], _instance: Distribution | None = None) -> Softmax:
        """Return the distribution with batch `batch_shape`, as torch's distributions do."""
        return Softmax(self.logits.expand(*batch_shape, self._num_events), normalized=True)


def combine(f: Callable[..., Tensor], *distributions: Distribution) -> Distribution:
    """Return the distribution whose parameters are f(*parameters of these), which are of one type.

    Args:
        f: A function of as many tensors as there are distributions.
        *distributions: Of the same type, such as `Independent(Normal)`: of torch's, a `Combinable`, or one whose
            constructor takes nothing but the parameters in `arg_constraints`, and `validate_args`.

    Raises:
        TypeError: The distribution is another one, which this can't make anew without losing something.

    Example:
        >>> coins = torch.distributions.Bernoulli(logits=torch.zeros(3))
        >>> combine(lambda a, b: torch.stack([a, b]), coins, coins).batch_shape
        torch.Size([2, 3])
    """
    first = distributions[0]
    if isinstance(first, Combinable):
        return first.combined(f, *distributions[1:])
    if type(first) is MixtureSameFamily:
        mixtures = [d for d in distributions if isinstance(d, MixtureSameFamily)]
        weights = Categorical(logits=f(*(d.mixture_distribution.logits for d in mixtures)), validate_args=False)
        each = combine(f, *(d.component_distribution for d in mixtures))
        return MixtureSameFamily(weights, each, validate_args=False)
    if type(first) is Independent:
        base = combine(f, *(d.base_dist for d in distributions if isinstance(d, Independent)))
        return Independent(base, first.reinterpreted_batch_ndims, validate_args=False)
    names, fixed = _parameters(first), _fixed(first)
    if any(_fixed(d) != fixed for d in distributions):
        raise TypeError(f"{type(first).__name__}s with other {', '.join(fixed)} can't be combined: use one of them")
    parameters: dict[str, Any] = {n: f(*(getattr(d, n) for d in distributions)) for n in names}
    return type(first)(**parameters, **fixed, validate_args=False)


def _parameters(distribution: Distribution) -> list[str]:
    """The names of the tensors that a distribution is made of, each said once."""
    names = _declared(distribution)
    return [name for name in names if SAME_AS.get(name) not in names]


def _fixed(distribution: Distribution) -> dict[str, Any]:
    """What else the constructor of one of torch's own distributions takes, such as a number of trials."""
    kind: Any = type(distribution)
    asked = _asked_for(kind)
    fixed = dict.fromkeys(name for name in asked if name not in {"validate_args", *_declared(distribution)})
    if kind.__module__.startswith("torch.distributions."):
        fixed = {name: getattr(distribution, name, getattr(distribution, f"_{name}", None)) for name in fixed}
    if "validate_args" not in asked or not all(map(_is_plain, fixed.values())):
        raise TypeError(
            f"distributions of type {kind.__name__} can't be combined: their constructor must take the parameters in "
            f"arg_constraints and validate_args, and no more; or derive the class from "
            f"zforcing.distributions.Combinable, and define `combined`"
        )
    return fixed


def _declared(distribution: Distribution) -> Sequence[str]:
    """The parameters in `arg_constraints`; none where a class has no such."""
    try:
        return tuple(distribution.arg_constraints)
    except NotImplementedError:  # the base class's, where none are declared
        return ()


@cache
def _asked_for(kind: type[Distribution]) -> tuple[str, ...]:
    """The names of the constructor's arguments."""
    return tuple(signature(kind).parameters)


def _is_plain(value: Any) -> bool:
    """Whether a value is a number, or some: no tensor, which may be another one at each step."""
    return isinstance(value, int | float | tuple)


def stack(distributions: Sequence[Distribution], *, dim: int) -> Distribution:
    """Stack T distributions of one type with batch [n] into one with batch [n, T] (dim=1) or [T, n] (dim=0)."""
    return combine(lambda *tensors: torch.stack(tensors, dim=dim), *distributions)


def batch_first(distribution: Distribution) -> Distribution:
    """Transpose the batch [T, n] into [n, T], without copying."""
    return combine(lambda tensor: tensor.transpose(0, 1), distribution)


def parameters_of(distribution: Distribution) -> list[Tensor]:
    """The parameters of a distribution, in the order in which `combine` meets them."""
    found: list[Tensor] = []

    def keep(parameter: Tensor) -> Tensor:
        found.append(parameter)
        return parameter

    combine(keep, distribution)
    return found


def with_parameters(like: Distribution, parameters: Sequence[Tensor]) -> Distribution:
    """The distribution of the kind of `like` with these parameters."""
    if type(like) is Independent and type(like.base_dist) is Normal and parameters[0].shape == like.base_dist.loc.shape:
        base = _replaced(like.base_dist, loc=parameters[0], scale=parameters[1])  # torch would broadcast them again,
        return _replaced(like, base_dist=base)  # which takes longer than a step's arithmetic
    left = iter(parameters)
    return combine(lambda _: next(left), like)


def _replaced(distribution: D, **changed: Any) -> D:
    """A copy of a distribution with other values of some attributes, of the same shapes."""
    other = object.__new__(type(distribution))
    vars(other).update(vars(distribution), **changed)
    return other
