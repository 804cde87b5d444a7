"""The family of distributions of one number of an observation, by its kind and the settings."""

from __future__ import annotations

from ..distributions import BernoulliScalar, GaussianScalar, LogisticScalar
from ..observations import ObservationSpec
from .settings import EmissionSettings

ScalarDensity = GaussianScalar | LogisticScalar | BernoulliScalar


def scalar_density(spec: ObservationSpec, settings: EmissionSettings) -> ScalarDensity:
    """Choose the family for one number of a real, quantized or binary observation."""
    if spec.kind == "real":
        return GaussianScalar(settings.components, settings.min_std)
    if spec.levels is not None:
        return LogisticScalar(spec.levels, settings.components, settings.min_scale)
    return BernoulliScalar(settings.logit_clamp)
