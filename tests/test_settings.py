"""Settings of a wrong type or value are refused when they are made, by name, all in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from zforcing import MODELS, RNNConfig, UserError, ZForcingConfig
from zforcing.models import LinearGaussianConfig
from zforcing.settings import check_settings, check_types

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("cell", "gru", "model.cell is 'gru'; it must be lstm or layer_norm"),
        ("auxiliary", "l2", "model.auxiliary is 'l2'; it must be gaussian or squared_error"),
        ("cell", None, "model.cell is None"),
        ("hidden_size", 6.0, "model.hidden_size is 6.0; it must be a whole number"),
        ("hidden_size", True, "model.hidden_size is True; it must be a whole number"),
        ("hidden_size", "6", "model.hidden_size is '6'"),
        ("hidden_size", None, "model.hidden_size is None"),
        ("hidden_size", 0, "model.hidden_size is 0; it must be 1 or more"),
        ("forget_bias", NAN, "model.forget_bias is nan; it must be a finite number"),
        ("forget_bias", 10**400, "model.forget_bias is 10"),
        ("dropout", INFINITY, "model.dropout is inf; it must be a finite number"),
        ("dropout", False, "model.dropout is False"),
        ("dropout", 1, "model.dropout is 1; it must be 0 or more and less than 1"),
        ("latent_clamp", INFINITY, "model.latent_clamp is inf; it must be a finite number or null"),
        ("latent_clamp", -1, "model.latent_clamp is -1; it must be positive"),
        ("min_std", None, "model.min_std is None"),
        ("min_std", -0.5, "model.min_std is -0.5"),
        ("output_skip", 1, "model.output_skip is 1; it must be true or false"),
        ("output_skip", None, "model.output_skip is None"),
    ],
)
def test_a_setting_of_a_wrong_type_or_value_is_named(setting: str, value: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        ZForcingConfig(**{setting: value})
    assert str(caught.value).startswith(said)
    assert "; model." not in str(caught.value)  # once


def test_all_that_is_wrong_is_said_in_one_line() -> None:
    with pytest.raises(UserError) as caught:
        RNNConfig(hidden_size=2.5, dropout=2.0, min_std=NAN)  # type: ignore[arg-type]
    for name in ("hidden_size is 2.5", "dropout is 2.0", "min_std is nan"):
        assert f"model.{name}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_fits_is_taken() -> None:
    for model in MODELS.values():
        model.Config()
    ZForcingConfig(dropout=0, latent_clamp=None, forget_bias=-1, logit_clamp=8, cell="layer_norm")
    LinearGaussianConfig(system_seed=None)
    LinearGaussianConfig(system_seed=0)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.system_seed is -1"):
        LinearGaussianConfig(system_seed=-1)


@dataclass(frozen=True)
class Other:
    numbers: tuple[int, ...] = (1,)
    text: str = "a"
    choice: Literal[1, 2] | None = None
    hidden_size: int = 1


def test_other_settings_are_checked_under_their_own_section() -> None:
    assert check_types(Other(), "data") == []
    wrong = Other(text=3, choice=True)  # type: ignore[arg-type]
    assert check_types(wrong, "data") == [
        "data.text is 3; it must be text",
        "data.choice is True; it must be 1 or 2 or null",
    ]
    with pytest.raises(UserError, match=r"data\.hidden_size is 0"):
        check_settings(Other(hidden_size=0), section="data")
