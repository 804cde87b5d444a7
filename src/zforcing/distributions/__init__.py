"""Distributions and functions of distributions that torch.distributions doesn't have."""

from .combine import Combinable, Softmax, batch_first, combine, parameters_of, stack, with_parameters
from .gaussian import (
    at_least_float32,
    diagonal_gaussian,
    gaussian,
    gaussian_log_prob,
    gaussian_log_ratio,
    no_latent,
    reparameterize,
)
from .logistic import DiscretizedLogisticMixture
from .missing import LogProbs, log_prob_of_observed, log_probs_of_observed
from .mode import most_likely
from .product import ColumnProduct, Factor
from .row_noise import row_seeds, seed_for
from .scalar import BernoulliScalar, GaussianScalar, LogisticScalar
from .tempered import draw_tempered, tempered_probabilities

__all__ = [
    "BernoulliScalar",
    "ColumnProduct",
    "Combinable",
    "DiscretizedLogisticMixture",
    "Factor",
    "GaussianScalar",
    "LogProbs",
    "LogisticScalar",
    "Softmax",
    "at_least_float32",
    "batch_first",
    "combine",
    "diagonal_gaussian",
    "draw_tempered",
    "gaussian",
    "gaussian_log_prob",
    "gaussian_log_ratio",
    "log_prob_of_observed",
    "log_probs_of_observed",
    "most_likely",
    "no_latent",
    "parameters_of",
    "reparameterize",
    "row_seeds",
    "seed_for",
    "stack",
    "tempered_probabilities",
    "with_parameters",
]
