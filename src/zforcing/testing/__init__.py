"""Checks that every model and every bound must pass, to run on your own models and bounds.

They need no test runner, and work in any:

    from zforcing.testing import SPECS, check_model

    @pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
    def test_my_model(spec):
        check_model(lambda spec: MyModel(spec, MyConfig(latent_size=3)), spec)

A failure is an AssertionError that names the check and says what is wrong. Checks compare in float64, with fixed seeds
and in eval mode, and restore torch's generator, default dtype and threads, and the model. Use small models: each check
runs the model several times. docs/extending.md shows a complete model.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..models.sequence import SequenceModel
from ..observations import ObservationSpec
from .batches import SPECS, random_batch
from .bounds import check_bound
from .comparison import Check, seed
from .densities import check_causality, check_inputs, check_kl, check_sampling
from .image_check import all_images, images_of
from .images import IMAGE_CHECKS, check_image_model, dependencies
from .invariances import check_fed, check_missing, check_padding, check_rows
from .loop import (
    check_carried_state,
    check_chunks,
    check_dtype,
    check_gradients,
    check_latents,
    check_noise,
    check_saved,
    check_unroll,
    check_unroll_gradient,
)
from .methods import check_densities, check_state
from .moves import assert_reversible
from .particles import check_particles

MODEL_CHECKS: tuple[Check, ...] = (
    check_densities,
    check_state,
    check_noise,
    check_unroll,
    check_unroll_gradient,
    check_carried_state,
    check_latents,
    check_particles,
    check_causality,
    check_inputs,
    check_padding,
    check_rows,
    check_chunks,
    check_missing,
    check_fed,
    check_sampling,
    check_kl,
    check_gradients,
    check_saved,
    check_dtype,
)
"""The checks of a model, ordered so that an early failure explains later ones."""


def check_model(build: Callable[[ObservationSpec], SequenceModel], spec: ObservationSpec) -> None:
    """Run all checks of a model on random sequences, with missing values if `spec.missing` and inputs if it has some.

    Args:
        build: Makes a small model from a specification.
        spec: What one observation is; `SPECS` has one of each kind.

    Raises:
        AssertionError: A check failed; the message names the check and what is wrong.

    Example:
        >>> from zforcing import VRNN, VRNNConfig
        >>> config = VRNNConfig(hidden_size=3, latent_size=2, feature_size=4, mlp_size=4, mlp_layers=1)
        >>> check_model(lambda spec: VRNN(spec, config), SPECS["real"])
    """
    with torch.random.fork_rng(devices=[]):
        seed(0)
        model = build(spec).double()
    batch = random_batch(spec, (3, 5, 1), missing=spec.missing)  # data sorts nothing: the first isn't the longest
    for check in MODEL_CHECKS:
        if spec.missing or check is not check_missing:
            check(model, batch)


__all__ = [
    "IMAGE_CHECKS",
    "MODEL_CHECKS",
    "SPECS",
    "Check",
    "all_images",
    "assert_reversible",
    "check_bound",
    "check_carried_state",
    "check_causality",
    "check_chunks",
    "check_densities",
    "check_dtype",
    "check_fed",
    "check_gradients",
    "check_image_model",
    "check_inputs",
    "check_kl",
    "check_latents",
    "check_missing",
    "check_model",
    "check_noise",
    "check_padding",
    "check_particles",
    "check_rows",
    "check_sampling",
    "check_saved",
    "check_state",
    "check_unroll",
    "check_unroll_gradient",
    "dependencies",
    "images_of",
    "random_batch",
]
