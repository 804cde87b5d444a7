"""Two models beside each other on the same sequences: differences whose size and error are known."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import zforcing as zf
from zforcing.cli import main
from zforcing.evaluation.compared import Measured, difference


@pytest.fixture(scope="module")
def evaluation() -> zf.Evaluation:
    data = zf.Sequences(np.random.default_rng(0).normal(size=(6, 4, 2)))
    return zf.evaluate(zf.RNN.for_data(data, hidden_size=4), data)


def test_the_error_is_that_of_the_differences(evaluation: zf.Evaluation) -> None:
    """Hard sequences are hard for both: by themselves the means have an error of 100 nats, their difference of 0.5."""
    rng = np.random.default_rng(1)
    hard, gain = rng.normal(0, 1000, 100), rng.normal(3, 5, 100)
    result = difference(Measured((evaluation,), (hard + gain)[None]), Measured((evaluation,), hard[None]))
    assert result.difference == pytest.approx(gain.mean())
    assert result.standard_error == pytest.approx(gain.std(ddof=1) / 10)
    assert result.better == (gain > 0).mean()
    assert result.seeds_error is None
    assert result.relation == "exact"


def test_the_error_over_seeds_is_that_of_two_means(evaluation: zf.Evaluation) -> None:
    """Seeds of -1, 0 and 1 beside seeds of 0 and 4: sqrt(1 / 3 + 8 / 2)."""
    first, second = np.array([[-1.0], [0.0], [1.0]]), np.array([[0.0], [4.0]])
    sides = [Measured((evaluation,) * len(means), np.tile(means, (1, 50))) for means in (first, second)]
    result = difference(*sides)
    assert (result.difference, result.standard_error) == (-2, 0)
    assert result.seeds_error == pytest.approx(math.sqrt(1 / 3 + 4))
    assert result.runs == (3, 2)


def test_an_error_that_all_sequences_share_is_told_and_counted(evaluation: zf.Evaluation) -> None:
    """log Z is wrong by the same number for all: of two seeds hypot(0.3, 0.4) / 2, beside 0.6 of the other side."""
    seeds = tuple(replace(evaluation, kind="estimate", bound="ais", shared_error=error) for error in (0.3, 0.4))
    other = Measured((replace(seeds[0], shared_error=0.6),), np.zeros((1, 50)))
    result = difference(Measured(seeds, np.ones((2, 50))), other)
    assert result.shared_error == pytest.approx(math.hypot(0.25, 0.6))
    assert (result.standard_error, result.is_clear) == (0, False)
    assert "± 0.65 (of log Z, on all alike)" in str(result)
    exact = Measured((evaluation,), np.zeros((1, 50)))
    assert difference(Measured(seeds[:1], np.ones((1, 50))), exact).shared_error == pytest.approx(0.3)
    assert difference(exact, exact).shared_error is None


@pytest.mark.parametrize(
    ("first", "second", "relation"),
    [
        ("lower bound", "exact", "at least"),
        ("exact", "lower bound", "at most"),
        ("lower bound", "lower bound", "of bounds"),
        ("estimate", "exact", "of bounds"),
    ],
)
def test_what_a_difference_is_of_the_true_one(
    evaluation: zf.Evaluation, first: str, second: str, relation: str
) -> None:
    sides = [Measured((replace(evaluation, kind=kind),), np.zeros((1, 6))) for kind in (first, second)]
    assert difference(*sides).relation == relation


def test_other_numbers_and_other_bounds_are_refused(evaluation: zf.Evaluation) -> None:
    bound = replace(evaluation, kind="lower bound")
    one = Measured((bound,), np.zeros((1, 6)))
    with pytest.raises(zf.UserError, match="same numbers"):
        difference(one, Measured((replace(bound, data_fingerprint="0"),), np.zeros((1, 6))))
    with pytest.raises(zf.UserError, match="different bounds: elbo 1 and iwae 16"):
        difference(one, Measured((replace(bound, bound="iwae", particles=16),), np.zeros((1, 6))))
    often, seldom = (
        Measured((replace(bound, bound="fivo", particles=8, bound_settings={"threshold": share}),), np.zeros((1, 6)))
        for share in (0.5, 0.1)
    )
    with pytest.raises(zf.UserError, match=r"different bounds: fivo 8, 0.1 threshold and fivo 8, 0.5 threshold"):
        difference(often, seldom)
    few, many = (
        Measured((replace(evaluation, bound="orders", particles=orders),), np.zeros((1, 6))) for orders in (8, 32)
    )
    with pytest.raises(zf.UserError, match="different bounds: orders 32 and orders 8"):
        difference(few, many)
    assert difference(few, one).relation == "at most"  # an exact number can be beside any


def test_models_are_compared_by_their_own_numbers() -> None:
    data = zf.Sequences(np.random.default_rng(0).normal(size=(6, 4, 2)))
    one, other = (zf.RNN.for_data(data, hidden_size=size) for size in (3, 4))
    result = zf.compare(one, one, data)
    assert (result.difference, result.standard_error, result.better, result.equal) == (0, 0, 0, 1)
    assert not result.is_clear
    swapped = [zf.compare(*pair, data) for pair in ((one, other), (other, one))]
    assert swapped[0].difference == -swapped[1].difference
    assert swapped[0].first == zf.evaluate(one, data).nats_per_sequence
    for wrong, message in (([], "a model on each side"), ([one, other], "seeds of one model"), ([one, one], "twice")):
        with pytest.raises(zf.UserError, match=message):
            zf.compare(wrong, one, data)


def test_runs_and_their_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("d.npz", x=np.random.default_rng(0).normal(size=(30, 4, 2)))
    small = "--data.path d.npz --model.hidden_size 4 --training.epochs 1 --training.threads 1"
    assert main(["train", "arrays-rnn", *small.split(), "--seeds", "0,1", "--run-dir", "rnn"]) == 0
    latent = "--model.latent_size 2 --model.embedding_size 2 --model.mlp_size 2"
    assert main(["train", "arrays-zforcing-aux", *small.split(), *latent.split(), "--run-dir", "zforcing"]) == 0
    capsys.readouterr()
    assert main(["compare", "zforcing", "rnn-seed0,rnn-seed1", "--bound", "iwae", "--particles", "2"]) == 0
    said = capsys.readouterr().out
    assert "at least this" in said
    assert "≥ iwae 2" in said
    assert main(["compare", "rnn-seed0", "rnn-seed1", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["compared"] == ["rnn-seed0", "rnn-seed1"]
    each = [values["evaluations"][side][0]["nats_per_sequence"] for side in (0, 1)]
    assert values["difference"] == pytest.approx(each[0] - each[1])
    zf.save("saved", zf.load("zforcing"))
    for wrong in ("no-run", "rnn-seed0,rnn-seed0", "rnn-seed1,", "saved"):
        assert main(["compare", "rnn-seed0", wrong]) == 2
    said = capsys.readouterr().err
    assert [part in said for part in ("no-run", "given twice", "is empty", "is a saved model")] == 4 * [True]
