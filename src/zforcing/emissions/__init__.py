"""Heads: from features of the state to p(x_t | .), a torch distribution over one observation."""

from __future__ import annotations

from ..sequences import ObservationSpec
from .heads import BernoulliEmission, CategoricalEmission, Emission, GaussianEmission
from .settings import EmissionSettings


def make_emission(spec: ObservationSpec, features: int, settings: EmissionSettings = EmissionSettings()) -> Emission:
    """The head for a kind of observation: Gaussian for real, Bernoulli for binary, softmax for categorical ones."""
    if spec.kind == "real":
        return GaussianEmission(features, spec.size, min_std=settings.min_std)
    if spec.kind == "binary":
        return BernoulliEmission(features, spec.size, logit_clamp=settings.logit_clamp)
    return CategoricalEmission(features, spec.size)


__all__ = [
    "BernoulliEmission",
    "CategoricalEmission",
    "Emission",
    "EmissionSettings",
    "GaussianEmission",
    "make_emission",
]
