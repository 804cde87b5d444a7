"""Emissions: output heads that map features of the state to p(x_t | .), a torch distribution of one observation."""

from __future__ import annotations

from collections.abc import Sequence

from ..distributions import DiscretizedLogisticMixture, LogisticScalar
from ..errors import UserError
from ..observations import Column, ObservationSpec
from .autoregressive import Autoregressive, AutoregressiveEmission
from .heads import BernoulliEmission, CategoricalEmission, Emission, GaussianEmission, GaussianMixtureEmission
from .mixed import MixedEmission, factors_of
from .quantized import LogisticMixtureEmission
from .scalar import scalar_density
from .settings import EmissionSettings


def make_emission(spec: ObservationSpec, features: int, settings: EmissionSettings = EmissionSettings()) -> Emission:
    """Make the output head for a kind of observation.

    - real: a diagonal Gaussian, or a mixture of `components` of them over the whole vector
    - binary: independent Bernoulli variables
    - quantized: for each number a discretized mixture of `components` logistics
    - categorical: a softmax
    - mixed: the product of each column's own density (`zforcing.observations.columns`)

    With `autoregressive`, each number of a vector also depends on the numbers before it.

    Args:
        spec: What one observation is.
        features: F, the number of features that the head reads.
        settings: Which distribution it is.

    Returns:
        A module from features [..., F] to a distribution with batch [...] and event [D] ([] for categories).

    Raises:
        UserError: The settings don't apply to this kind of observation.

    Example:
        >>> import torch
        >>> head = make_emission(ObservationSpec("real", 3), 16, EmissionSettings(components=2))
        >>> head(torch.zeros(4, 16)).log_prob(torch.zeros(4, 3)).shape
        torch.Size([4])
    """
    if settings.components > 1 and spec.kind in ("binary", "categorical"):
        raise UserError(
            f"model.components is {settings.components}; {spec.kind} observations have no mixture: set it to 1"
        )
    if spec.columns is not None:
        return _mixed(spec.columns, features, settings)
    if settings.autoregressive:
        return _autoregressive(spec, features, settings)
    if spec.kind == "categorical":
        return CategoricalEmission(features, spec.size)
    if spec.kind == "binary":
        return BernoulliEmission(features, spec.size, logit_clamp=settings.logit_clamp)
    if spec.kind == "real" and settings.components > 1:
        return GaussianMixtureEmission(features, spec.size, components=settings.components, min_std=settings.min_std)
    scalar = scalar_density(spec, settings)
    if isinstance(scalar, LogisticScalar):
        return LogisticMixtureEmission(features, spec.size, scalar=scalar)
    return GaussianEmission(features, spec.size, min_std=settings.min_std)


def _mixed(columns: Sequence[Column], features: int, settings: EmissionSettings) -> Emission:
    if settings.autoregressive:
        raise UserError(
            "model.autoregressive orders numbers of one kind, and mixed observations have several: set it to false"
        )
    if settings.components > 1 and not any(column.mixes for column in columns):
        raise UserError(
            f"model.components is {settings.components}, but no column is real or positive and could have a mixture: "
            "set it to 1"
        )
    return MixedEmission(features, columns, settings)


def _autoregressive(spec: ObservationSpec, features: int, settings: EmissionSettings) -> Emission:
    if spec.kind == "categorical":
        raise UserError(
            "model.autoregressive orders the numbers of a vector, and a category is one number: set it to false"
        )
    if spec.missing:
        raise UserError(
            "model.autoregressive can't integrate missing values out: set it to false, or data.missing to refuse"
        )
    scalar = scalar_density(spec, settings)
    return AutoregressiveEmission(features, spec.size, hidden=settings.autoregressive_size, scalar=scalar)


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
    "MixedEmission",
    "factors_of",
    "make_emission",
]
