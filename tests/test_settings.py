"""Settings of a wrong type or value are refused when they are made, by name, all in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from zforcing import MODELS, RNNConfig, UserError, ZForcingConfig
from zforcing.models import LinearGaussianConfig
from zforcing.settings import Count, Range, check, problems_of, read

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
    hidden_size: int = 0
    size: Count = 1
    names: list[str] | None = None


def test_other_settings_are_checked_under_their_own_section() -> None:
    assert problems_of(Other(), "data") == []  # a field's name says nothing of its range
    wrong = Other(text=3, choice=True, names=["a", True])  # type: ignore[arg-type,list-item]
    assert problems_of(wrong, "data") == [
        "data.text is 3; it must be text",
        "data.choice is True; it must be 1 or 2 or null",
        "data.names is ['a', True]; it must be a list of texts such as [a, b] or null",
    ]
    with pytest.raises(UserError, match=r"data\.size is 0; it must be 1 or more"):
        check(Other(size=0), "data")


RANGES = {
    "1 or more": (Range(at_least=1), [1, 2.5], [0, 0.999]),
    "positive": (Range(above=0), [1e-9], [0, -1]),
    "0 or more and less than 1": (Range(at_least=0, below=1), [0, 0.99], [1, -0.01]),
    "more than 0 and 1 or less": (Range(above=0, at_most=1), [0.1, 1], [0, 1.1]),
    "between 1 and 16": (Range(at_least=1, at_most=16), [1, 16], [0, 17]),
    "more than 0 and less than 1": (Range(above=0, below=1), [0.5], [0, 1]),
}


@pytest.mark.parametrize("words", RANGES)
def test_a_range_holds_what_its_words_say(words: str) -> None:
    limits, inside, outside = RANGES[words]
    assert str(limits) == words
    assert all(value in limits for value in inside)
    assert not any(value in limits for value in outside)


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("3", int, 3),
        ("-3", int, -3),
        ("3", float, 3.0),
        ("-1e-3", float, -0.001),
        (".5", float, 0.5),
        ("true", bool, True),
        ("False", bool, False),
        ("null", int | None, None),
        ("7", Count | None, 7),
        ("on", str, "on"),
        ("null", str | None, None),
        ("null", str, "null"),
        ("010", str, "010"),
        ("", str, ""),
        ("b", Literal["a", "b"], "b"),
        ("2", Literal[1, 2], 2),
        ("[on, 'no way']", list[str] | None, ["on", "no way"]),
        ("[]", list[str], []),
    ],
)
def test_a_word_is_read_as_the_setting_is(text: str, hint: Any, value: Any) -> None:
    found = read(text, hint)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "hint", "said"),
    [
        ("x", int, "is x; it must be a whole number"),
        ("010", int, "is 010; it must be a whole number"),
        ("1:30", int, "is 1:30; it must be a whole number"),
        ("1e3", int, "is 1e3; it must be a whole number"),
        ("1_000", int, "is 1_000; it must be a whole number"),
        ("", int | None, "is empty; it must be a whole number or null"),
        ("nan", float, "is nan; it must be a finite number"),
        ("-inf", float, "is -inf; it must be a finite number"),
        ("1e999", float, "is 1e999; it must be a finite number"),
        ("on", bool, "is on; it must be true or false"),
        ("1", bool, "is 1; it must be true or false"),
        ("0", Count | None, "is 0; it must be 1 or more, or null"),
        ("c", Literal["a", "b"], "is c; it must be a or b"),
        ("a", list[str], r"is a; it must be a list of texts such as \[a, b\]"),
    ],
)
def test_a_word_that_does_not_fit_is_refused(text: str, hint: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}$"):
        read(text, hint)
