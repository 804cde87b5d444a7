"""Columns of several kinds: densities against SciPy, sums to 1, their product, what is read, and what is missing."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import integrate, stats
from scipy.special import log_softmax

from zforcing import ObservationSpec, SequenceBatch, UserError
from zforcing.distributions import batch_first, log_prob_of_observed, most_likely, stack
from zforcing.distributions.product import ColumnProduct
from zforcing.emissions import EmissionSettings, make_emission
from zforcing.nn import Embedder
from zforcing.observations import (
    COLUMNS,
    BinaryColumn,
    CategoryColumn,
    Column,
    CountColumn,
    DataDescription,
    Known,
    PositiveColumn,
    RealColumn,
)
from zforcing.testing.batches import MIXED

COLUMN = {
    "real": RealColumn(),
    "positive": PositiveColumn(0.3, 1.4),
    "count": CountColumn(3.5, 1.3, 0.8),
    "binary": BinaryColumn(),
    "category": CategoryColumn(4),
}
SPEC = ObservationSpec("mixed", 5, columns=tuple(COLUMN.values()), missing=True)


PLAIN = EmissionSettings()


def parameters(column: Column, settings: EmissionSettings = PLAIN) -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randn(column.num_parameters(settings))


def probability(column: Column, x: Any, settings: EmissionSettings = PLAIN) -> NDArray[Any]:
    """p(x), or P(x), of numbers x."""
    density = column.density(parameters(column, settings).expand(np.size(x), -1), settings)
    return density.log_prob(torch.as_tensor(x, dtype=torch.float64).reshape(-1)).exp().numpy()


# ---- each density


@pytest.mark.parametrize("settings", [EmissionSettings(), EmissionSettings(components=3, min_std=0.1)], ids=str)
@pytest.mark.parametrize(("name", "support"), [("real", (-60, 60)), ("positive", (0, np.inf))])
def test_a_density_integrates_to_one(name: str, support: tuple[float, float], settings: EmissionSettings) -> None:
    total = integrate.quad(lambda x: probability(COLUMN[name], x, settings)[0], *support, limit=300, points=None)[0]
    assert math.isclose(total, 1, abs_tol=1e-6)


@pytest.mark.parametrize(("name", "most"), [("count", 20_000), ("binary", 1), ("category", 3)])
def test_probabilities_sum_to_one(name: str, most: int) -> None:
    assert math.isclose(probability(COLUMN[name], np.arange(most + 1)).sum(), 1, abs_tol=1e-9)


def test_a_positive_column_is_log_normal() -> None:
    column = PositiveColumn(0.3, 1.4)
    a, b = parameters(column).tolist()
    x = np.array([1e-4, 0.3, 1.0, 70.0])
    expected = stats.lognorm.pdf(x, s=1.4 * math.exp(b / 2), scale=math.exp(0.3 + 1.4 * a))
    np.testing.assert_allclose(probability(column, x), expected, rtol=1e-10)


def test_a_count_column_is_a_negative_binomial_also_of_large_counts_in_float32() -> None:
    """In float32 the gamma functions of 100,000 differ by whole nats."""
    column, x = CountColumn(90_000.0, 11.0, 0.2), np.array([0, 1, 7, 90_000, 100_000])
    a, b = parameters(column).float().double().tolist()
    r, mean = math.exp(b), 90_000 * math.exp(a)
    expected = stats.nbinom.logpmf(x, r, r / (r + mean))
    found = column.density(parameters(column).float().expand(5, -1), PLAIN).log_prob(torch.tensor(x).float())
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_a_category_column_is_a_softmax() -> None:
    expected = np.exp(log_softmax(parameters(CategoryColumn(4)).numpy()))
    np.testing.assert_allclose(probability(CategoryColumn(4), np.arange(4)), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["count", "binary", "category"])
def test_the_most_likely_value_is_that_of_the_largest_probability(name: str) -> None:
    column = COLUMN[name]
    torch.manual_seed(5)
    values = torch.randn(20, column.num_parameters(PLAIN))
    density = column.density(values, PLAIN)
    grid = torch.arange(column.num_read if name == "category" else 2 if name == "binary" else 2000)
    best = density.log_prob(grid[:, None].double()).argmax(0)
    assert most_likely(density).long().tolist() == best.tolist()


def test_the_most_likely_positive_number_is_the_mode() -> None:
    density = COLUMN["positive"].density(parameters(COLUMN["positive"])[None], PLAIN)
    mode = most_likely(density)
    assert (density.log_prob(mode) > density.log_prob(mode * torch.tensor([0.99]))).all()
    assert (density.log_prob(mode) > density.log_prob(mode * torch.tensor([1.01]))).all()


@pytest.mark.parametrize("name", COLUMN)
def test_samples_have_the_mean_that_the_density_says(name: str) -> None:
    """20,000 draws, within 5 standard errors."""
    torch.manual_seed(1)
    density = COLUMN[name].density(0.3 * parameters(COLUMN[name]), PLAIN)
    drawn = density.sample(torch.Size([20_000])).double()
    numbers = torch.arange(4)
    expected = (density.log_prob(numbers).exp() * numbers).sum() if name == "category" else density.mean
    assert abs(drawn.mean() - expected) < 5 * drawn.std() / math.sqrt(len(drawn))
    assert not COLUMN[name].refused(drawn.numpy()).wrong.any()


@pytest.mark.parametrize("name", COLUMN)
def test_where_nothing_is_there_gradients_are_finite(name: str) -> None:
    """Padding and missing values are 0, which a positive column doesn't have."""
    values = parameters(COLUMN[name]).expand(3, -1).clone().requires_grad_()
    log_p = COLUMN[name].density(values, PLAIN).log_prob(torch.zeros(3))
    (gradient,) = torch.autograd.grad(torch.where(torch.tensor([False] * 3), log_p, 0.0).sum(), values)
    assert gradient.isfinite().all()


def test_no_positive_number_is_below_zero() -> None:
    assert probability(PositiveColumn(0.3, 1.4), [0.0, -1.0]).tolist() == [0, 0]


# ---- the product


def product(*batch: int, settings: EmissionSettings = PLAIN) -> ColumnProduct:
    torch.manual_seed(0)
    head = make_emission(SPEC, 6, settings)
    emission = head(torch.randn(*batch, 6))
    assert isinstance(emission, ColumnProduct)
    return emission


def test_the_log_density_is_the_sum_over_columns() -> None:
    emission, x = product(7), torch.tensor([0.5, 2.0, 3, 1, 2]).expand(7, -1)
    parts = emission.parameters.split([c.num_parameters(PLAIN) for c in COLUMN.values()], dim=-1)
    each = [
        column.density(part, PLAIN).log_prob(x[:, i])
        for i, (column, part) in enumerate(zip(COLUMN.values(), parts, strict=True))
    ]
    torch.testing.assert_close(emission.log_prob_of_each(x), torch.stack(each, dim=-1))
    torch.testing.assert_close(emission.log_prob(x), torch.stack(each).sum(0))


def test_missing_values_are_integrated_out() -> None:
    emission, x = product(3), torch.tensor([0.5, 0.0, 3, 1, 0]).expand(3, -1)
    observed = torch.tensor([[True] * 5, [True, False, True, True, False], [False] * 5])
    x = torch.where(observed, torch.tensor([0.5, 2.0, 3, 1, 2]), x)
    found, each = log_prob_of_observed(emission, x, observed), emission.log_prob_of_each(x)
    torch.testing.assert_close(found, torch.stack([each[0].sum(), each[1, [0, 2, 3]].sum(), torch.tensor(0.0)]))


def test_products_are_stacked_and_transposed() -> None:
    one, two = product(3), product(3)
    x = torch.tensor([0.5, 2.0, 3, 1, 2]).expand(2, 3, -1)
    both = stack([one, two], dim=0)
    assert (both.batch_shape, both.event_shape) == ((2, 3), (5,))
    torch.testing.assert_close(both.log_prob(x)[0], one.log_prob(x[0]))
    torch.testing.assert_close(batch_first(both).log_prob(x.transpose(0, 1)), both.log_prob(x).T)


def test_equal_neighbours_are_computed_together_and_say_the_same() -> None:
    columns = (RealColumn(), RealColumn(), BinaryColumn(), RealColumn())
    head = make_emission(ObservationSpec("mixed", 4, columns=columns), 3)
    emission, x = head(torch.randn(5, 3)), torch.tensor([0.3, -1.0, 1, 2]).expand(5, -1)
    assert [factor.columns for factor in emission.factors] == [2, 1, 1]
    values = emission.parameters
    mean, std = values[:, [0, 2, 5]], (values[:, [1, 3, 6]] / 2).exp()
    expected = torch.distributions.Normal(mean, std).log_prob(x[:, [0, 1, 3]]).sum(-1)
    expected = expected + values[:, 4].sigmoid().log()
    torch.testing.assert_close(emission.log_prob(x), expected)


def test_a_mixture_is_of_each_real_or_positive_column() -> None:
    emission = product(4, settings=EmissionSettings(components=3, min_std=0.1))
    assert emission.parameters.shape[-1] == 9 + 9 + 2 + 1 + 4
    assert emission.log_prob(emission.sample()).isfinite().all()
    assert most_likely(emission).shape == (4, 5)


@pytest.mark.parametrize(
    ("columns", "settings", "said"),
    [
        ((BinaryColumn(),), {"components": 2}, "no column is real or positive"),
        ((RealColumn(),), {"autoregressive": True}, "autoregressive"),
    ],
)
def test_settings_that_mixed_observations_dont_have(columns: Any, settings: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make_emission(ObservationSpec("mixed", 1, columns=columns), 3, EmissionSettings(**settings))


# ---- what is read


def test_what_a_model_reads_of_each_column() -> None:
    embedder = Embedder(SPEC, 3)
    assert embedder.reading is not None
    read = embedder.reading(torch.tensor([-0.5, math.e, 6, 1, 2.0]))
    expected = [-0.5, (1 - 0.3) / 1.4, (math.log(7) - 1.3) / 0.8, 1, 0, 0, 1, 0]
    torch.testing.assert_close(read, torch.tensor(expected))


def test_a_missing_value_is_read_as_the_learned_one_whatever_its_kind() -> None:
    embedder = Embedder(SPEC, 3)
    torch.nn.init.normal_(embedder.fill)
    nothing = embedder(torch.full((5,), math.nan))
    layer = embedder.layer
    assert isinstance(layer, torch.nn.Linear)
    torch.testing.assert_close(nothing, layer(embedder.fill))


def test_the_blank_first_observation_is_no_category() -> None:
    plain = ObservationSpec("mixed", 6, columns=MIXED)
    embedder, blank = Embedder(plain, 3), plain.blank(2, device=torch.device("cpu"), dtype=torch.float64)
    assert blank.isnan().all()
    torch.testing.assert_close(embedder(blank)[0], embedder.layer.bias)  # type: ignore[union-attr]  # a linear layer's
    batch = SequenceBatch(torch.ones(2, 3, 6), torch.tensor([3, 1]), blank)
    assert batch.previous[:, 0].isnan().all()


# ---- fitting, and saved files


def test_columns_are_fitted_to_the_training_split() -> None:
    x = np.array([1.0, 10.0, 100.0])
    positive = PositiveColumn.fit(Known(x))
    assert math.isclose(positive.center, math.log(10))
    assert math.isclose(positive.spread, np.log(x).std())
    count = CountColumn.fit(Known(np.array([0.0, 3.0])))
    assert (count.mean, count.center, count.spread) == (1.5, math.log(4) / 2, math.log(4) / 2)
    assert CountColumn.fit(Known(np.zeros(9))) == CountColumn(0.1, 0.0, 1.0)
    assert PositiveColumn.fit(Known(np.full(3, 5.0))).spread == 1
    assert CategoryColumn.fit(Known(np.array([0.0, 2.0]))) == CategoryColumn(3)
    assert CategoryColumn.fit(Known(np.array([0.0]), labels=("a", "b"))) == CategoryColumn(2, ("a", "b"))


def test_a_description_of_mixed_data_is_read_back() -> None:
    columns = (*COLUMN.values(), CategoryColumn(2, ("saw", "mill")))
    description = DataDescription("mine", ObservationSpec("mixed", 6, columns=columns), longest=3)
    assert DataDescription.from_json(json.loads(json.dumps(description.to_json()))) == description


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": "colour"}, "unknown data.spec.columns 'colour'"),
        ({"name": "category", "size": 0}, "columns.size is 0"),
        ({"name": "category", "size": 2, "labels": ["a", "a"]}, "2 different names"),
        ({"name": "positive", "center": 0.0, "spread": -1}, "columns.spread is -1"),
        ({"name": "count", "mean": "x", "center": 0, "spread": 1}, "columns.mean is 'x'"),
        ({"name": "real", "size": 3}, "doesn't fit"),
    ],
)
def test_damaged_columns_are_refused_in_one_line(values: dict[str, Any], said: str) -> None:
    known = DataDescription("mine", ObservationSpec("mixed", 1, columns=(RealColumn(),)), longest=3).to_json()
    with pytest.raises(UserError, match=said):
        DataDescription.from_json(known | {"spec": known["spec"] | {"columns": [values]}})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kind": "mixed"}, "columns is None for mixed"),
        ({"kind": "real", "columns": (RealColumn(),)}, "mixed ones have columns"),
        ({"kind": "mixed", "columns": (RealColumn(), RealColumn())}, "2 columns for observations of size 1"),
        ({"kind": "mixed", "columns": ("real",)}, "tuple of columns"),
    ],
)
def test_a_specification_that_doesnt_fit_its_columns(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        ObservationSpec(size=1, **values)


def test_every_registered_kind_is_tested_here() -> None:
    assert set(COLUMN) == set(COLUMNS)
