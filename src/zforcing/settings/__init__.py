"""Settings are frozen dataclasses: what they hold is checked, read from text and described by their fields."""

from .check import as_typed, check, in_words, must_be, must_fit, plain, problems_of, takes_mapping, takes_null, unfit
from .fields import Setting, made, settings_in
from .ranges import Count, Factor, NotNegative, Positive, Probability, Range, Seed, Share
from .text import read

__all__ = [
    "Count",
    "Factor",
    "NotNegative",
    "Positive",
    "Probability",
    "Range",
    "Seed",
    "Setting",
    "Share",
    "as_typed",
    "check",
    "in_words",
    "made",
    "must_be",
    "must_fit",
    "plain",
    "problems_of",
    "read",
    "settings_in",
    "takes_mapping",
    "takes_null",
    "unfit",
]
