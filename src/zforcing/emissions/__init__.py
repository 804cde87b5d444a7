"""Heads: from features of the state to p(x_t | .), a torch distribution over one observation."""

from __future__ import annotations

from ..distributions import DiscretizedLogisticMixture
from ..errors import UserError
from ..observations import ObservationSpec
from .autoregressive import Autoregressive, AutoregressiveEmission
from .heads import BernoulliEmission, CategoricalEmission, Emission, GaussianEmission, GaussianMixtureEmission
from .numbers import LogisticNumber, number_of
from .quantized import LogisticMixtureEmission
from .settings import EmissionSettings


def make_emission(spec: ObservationSpec, features: int, settings: EmissionSettings = EmissionSettings()) -> Emission:
    """The head for a kind of observation.

    real: a Gaussian, or a mixture of `components` of them over the whole vector; binary: Bernoulli variables;
    quantized: for each number a discretized mixture of `components` logistics; categorical: a softmax. With
    `autoregressive`, each number of a vector also depends on those before it.

    Raises UserError for settings that this kind has no use for.
    """
    if settings.components > 1 and spec.kind in ("binary", "categorical"):
        raise UserError(
            f"model.components is {settings.components}; {spec.kind} observations have no mixture: set it 1"
        )
    if settings.autoregressive:
        return _autoregressive(spec, features, settings)
    if spec.kind == "categorical":
        return CategoricalEmission(features, spec.size)
    if spec.kind == "binary":
        return BernoulliEmission(features, spec.size, logit_clamp=settings.logit_clamp)
    if spec.kind == "real" and settings.components > 1:
        return GaussianMixtureEmission(features, spec.size, components=settings.components, min_std=settings.min_std)
    number = number_of(spec, settings)
    if isinstance(number, LogisticNumber):
        return LogisticMixtureEmission(features, spec.size, number=number)
    return GaussianEmission(features, spec.size, min_std=settings.min_std)


def _autoregressive(spec: ObservationSpec, features: int, settings: EmissionSettings) -> Emission:
    if spec.kind == "categorical":
        raise UserError("model.autoregressive orders the numbers of an observation; a category is one: set it false")
    if spec.missing:
        raise UserError("model.autoregressive can't integrate missing values out: set it false, or data.missing refuse")
    number = number_of(spec, settings)
    return AutoregressiveEmission(features, spec.size, hidden=settings.autoregressive_size, number=number)


__all__ = [
    "Autoregressive",
    "AutoregressiveEmission",
    "BernoulliEmission",
    "CategoricalEmission",
    "DiscretizedLogisticMixture",
    "Emission",
    "EmissionSettings",
    "GaussianEmission",
    "GaussianMixtureEmission",
    "LogisticMixtureEmission",
    "make_emission",
]
