"""Settings are frozen dataclasses: what they hold is checked, read from text and described by their fields."""

from .as_json import setting_from_json, setting_to_json, type_from_json, type_to_json
from .check import (
    as_typed,
    brief,
    check,
    in_words,
    must_be,
    must_fit,
    plain,
    problems_of,
    takes_mapping,
    takes_null,
    unfit,
)
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
    "brief",
    "check",
    "in_words",
    "made",
    "must_be",
    "must_fit",
    "plain",
    "problems_of",
    "read",
    "setting_from_json",
    "setting_to_json",
    "settings_in",
    "takes_mapping",
    "takes_null",
    "type_from_json",
    "type_to_json",
    "unfit",
]
