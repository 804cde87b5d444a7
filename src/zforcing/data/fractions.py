"""The settings of a split at random: which shares of the data are held out, and the seed."""

from __future__ import annotations

import math

from ..errors import UserError


def check_random_split(*, valid_fraction: float, test_fraction: float, split_seed: int) -> None:
    """Raises UserError, by the names that the settings have, for shares or a seed that split nothing."""
    if split_seed < 0:
        raise UserError(f"data.split_seed is {split_seed}; it must be 0 or more")
    for name, share in (("valid_fraction", valid_fraction), ("test_fraction", test_fraction)):
        if not (math.isfinite(share) and 0 < share < 1):
            raise UserError(f"data.{name} is {share}; it must be a number between 0 and 1")
    if valid_fraction + test_fraction >= 1:
        raise UserError(
            f"data.valid_fraction {valid_fraction} and data.test_fraction {test_fraction} leave nothing to train on; "
            f"their sum must be below 1"
        )
