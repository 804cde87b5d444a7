"""Between two sequences: paths through latents, greedy decoding, and what both do together."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Independent, MixtureSameFamily, Normal

from conftest import SPECS, ZF_SIZE, Case, observations
from vae import vae
from zforcing import LinearGaussian, ObservationSpec, SequenceBatch, SequenceModel, Sequences, UserError
from zforcing.distributions import DiscretizedLogisticMixture, diagonal_gaussian, most_likely
from zforcing.observations import Example, collate
from zforcing.tasks.interpolate import first_observations, interpolate, linear, spherical
from zforcing.tasks.posterior import infer_latents

WITH_LATENTS = ("zforcing", "vrnn", "srnn")
KINDS = ("real", "binary", "categorical")


def one(spec: ObservationSpec, steps: int, seed: int) -> Example:
    """One sequence of so many steps."""
    torch.manual_seed(seed)
    x = observations(spec, steps)
    return Example(x.numpy())


def inferred(model: SequenceModel, example: Example) -> Tensor:
    """The posterior's means, [T, Z]."""
    return infer_latents(model, collate([example], model.spec)).z[0]


def test_the_middle_of_orthogonal_vectors_of_one_length_has_that_length() -> None:
    a, b = torch.tensor([3.0, 0, 0]), torch.tensor([0, 3.0, 0])
    assert torch.allclose(spherical(a, b, 0.5), (a + b) / math.sqrt(2))
    third = 3 * torch.tensor([math.cos(math.pi / 6), math.sin(math.pi / 6), 0])
    assert torch.allclose(spherical(a, b, 1 / 3), third)
    assert torch.allclose(linear(a, b, 1 / 3), torch.tensor([2.0, 1, 0]))


@pytest.mark.parametrize("b", [[2.0, 4.0], [-1.0, -2.0], [0.0, 0.0]], ids=["parallel", "opposite", "zero"])
def test_where_no_angle_says_the_way_it_is_straight(b: list[float]) -> None:
    a, end = torch.tensor([1.0, 2.0]), torch.tensor(b)
    if any(b):
        assert torch.allclose(spherical(a, end, 0.25), linear(a, end, 0.25))
    assert bool(spherical(a, end, 0.25).isfinite().all())


def test_the_likeliest_of_each_distribution() -> None:
    mean = torch.tensor([[0.5, -2.0]])
    assert torch.equal(most_likely(diagonal_gaussian(mean, 0 * mean)), mean)
    assert most_likely(Categorical(logits=torch.tensor([[0.0, 3, 1], [2, 0, 1]]))).tolist() == [1, 0]
    assert most_likely(Independent(Bernoulli(logits=torch.tensor([[-1.0, 2, 0]])), 1)).tolist() == [[0, 1, 1]]
    means = torch.tensor([[[1.0, 2], [3, 4], [5, 6]]])
    mixture = MixtureSameFamily(Categorical(logits=torch.tensor([[0.0, 2, 1]])), Independent(Normal(means, 1.0), 1))
    assert most_likely(mixture).tolist() == [[3, 4]]


def test_the_likeliest_level_is_the_one_nearest_to_the_heaviest_logistic() -> None:
    grid = torch.linspace(-1, 1, 11)
    d = DiscretizedLogisticMixture(
        torch.tensor([[0.0, 5.0]]), torch.tensor([[0.9, 0.27]]), torch.full((1, 2), -3.0), levels=11
    )
    assert torch.allclose(most_likely(d), torch.tensor([0.2]))
    assert torch.allclose(grid[d.log_prob(grid[:, None]).argmax()], most_likely(d)[0])


SMALL = {
    "zforcing": ZF_SIZE,
    "vrnn": {"hidden_size": 6, "latent_size": 3, "feature_size": 4, "mlp_size": 5},
    "srnn": {"hidden_size": 6, "latent_size": 3, "embedding_size": 4, "mlp_size": 5},
}


@pytest.mark.parametrize(("name", "kind"), [*product(WITH_LATENTS, KINDS), ("linear_gaussian", "real")])
def test_the_ends_have_their_own_latents_and_the_middle_their_mean(name: str, kind: str) -> None:
    spec = SPECS[kind]
    model = Case(name, SMALL.get(name, {})).build(spec)
    a, b = one(spec, 4, 0), one(spec, 4, 1)
    drawn = interpolate(model, a, b, num=3)
    ends = [inferred(model, x) for x in (a, b)]
    for row, z in zip(torch.from_numpy(drawn.latents), (ends[0], (ends[0] + ends[1]) / 2, ends[1]), strict=True):
        assert torch.allclose(row, z)


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_decoding_takes_the_likeliest_of_the_teacher_forced_conditionals(kind: str) -> None:
    """What is decoded, read back with the same latents, is at each step the likeliest x_t."""
    spec = SPECS[kind]
    model = Case("zforcing", ZF_SIZE).build(spec)
    drawn = interpolate(model, one(spec, 4, 0), one(spec, 3, 1), num=4)
    x = torch.from_numpy(drawn.x)
    batch = SequenceBatch(x, torch.full((4,), 4), spec.blank(4, device=x.device, dtype=x.dtype))
    with torch.no_grad():
        read_back = model.unroll(batch, latents=torch.from_numpy(drawn.latents))
    assert torch.allclose(most_likely(read_back.emission), x)


def test_beyond_the_end_of_the_shorter_one_the_priors_mean_stands_for_it() -> None:
    spec = SPECS["real"]
    model = Case("zforcing", ZF_SIZE).build(spec)
    a, b = one(spec, 4, 0), one(spec, 2, 1)
    drawn = interpolate(model, a, b, num=2)
    latents = torch.from_numpy(drawn.latents)
    batch = SequenceBatch(torch.from_numpy(drawn.x), torch.tensor([4, 4]), torch.zeros(2, spec.size))
    with torch.no_grad():
        prior = model.unroll(batch, latents=latents).prior
    assert torch.allclose(latents[1, 2:], prior.mean[1, 2:])
    assert not torch.allclose(latents[1, :2], prior.mean[1, :2])
    assert torch.allclose(latents[0], inferred(model, a))


def test_real_first_observations_are_mixed_and_others_are_the_nearer_ones() -> None:
    for kind, middle in (("conditioned", 0.5), ("conditioned binary", 1.0)):
        spec = ObservationSpec("binary" if "binary" in kind else "real", 2, "conditioned")
        model = Case("zforcing", ZF_SIZE).build(spec)
        a, b = (Example(np.vstack([np.full((1, 2), v), np.zeros((3, 2))])) for v in (0.0, 1.0))
        drawn = interpolate(model, a, b, num=3)
        assert drawn.start.tolist() == [[0, 0], [middle, middle], [1, 1]]
        assert drawn.x.shape == (3, 4, 2)


def test_a_first_observation_that_lacks_a_number_leaves_the_other_whole() -> None:
    model = Case("zforcing", ZF_SIZE).build(ObservationSpec("real", 2, "conditioned", missing=True))
    a, b = (torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[1.0, math.nan]]]))
    batches = [SequenceBatch(start.new_zeros(1, 1, 2), torch.tensor([1]), start[0]) for start in (a, b)]
    start = first_observations(model, *batches, num=5)
    assert start[:, 0].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert start[:2, 1].tolist() == [0, 0]
    assert start[2:, 1].isnan().all()


def test_draws_follow_the_seed_and_leave_the_callers_generator_alone() -> None:
    spec = SPECS["real"]
    model = Case("zforcing", ZF_SIZE).build(spec)
    a, b = one(spec, 4, 0), one(spec, 4, 1)
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    first, same, other = (
        torch.from_numpy(interpolate(model, a, b, num=2, infer="draw", seed=seed).x) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_latents_that_carry_nothing_are_said_so_and_others_not() -> None:
    data = Sequences([[[0.0], [1.0], [2.0]], [[3.0], [2.0], [1.0]]], normalize=False)
    for proposal, said in (("prior", True), ("filtering", False)):
        model = LinearGaussian.for_data(data, latent_size=1, proposal=proposal)
        way = interpolate(model, data[0:1], data[1:2], num=2)
        assert way.collapsed is said
        assert ("carry nothing" in repr(way)) is said
        assert ("posterior collapse" in (way.warning or "")) is said


def test_rows_are_in_the_datas_units() -> None:
    raw = 1000 + 50 * np.random.default_rng(0).standard_normal((6, 5, 2))
    data = Sequences(raw)
    model = Case("zforcing", ZF_SIZE).build(data.description.spec)
    model.description = data.description
    way = interpolate(model, data[0:1], Sequences(raw[1:2]), num=2)  # of any normalization
    assert way.x.shape == (2, 5, 2)
    assert 800 < way.x.mean() < 1200
    assert np.allclose(way.latents[1], interpolate(model, data[1], data[1], num=2).latents[0], rtol=1e-5)


def test_what_cant_be_is_one_line() -> None:
    spec = SPECS["binary"]
    example, model = one(spec, 3, 0), Case("zforcing", ZF_SIZE).build(spec)
    data = Sequences([[[1, 0]], [[0, 1]]], kind="binary")
    for call, said in (
        (lambda: interpolate(Case("rnn").build(spec), example, example), "has no latents"),
        (lambda: interpolate(vae(), example, example), "needs a model of sequences"),
        (lambda: interpolate(model, example, example, num=1), "2 or more"),
        (lambda: interpolate(model, example, example, num=2.5), "num is 2.5; it must be a whole number"),  # type: ignore[arg-type]
        (lambda: interpolate(model, example, example, steps=0), "steps is 0; it must be 1 or more"),
        (lambda: interpolate(model, example, example, path="foo"), "path is 'foo'; it must be linear or spherical"),  # type: ignore[arg-type]
        (lambda: interpolate(model, example, example, decode="argmax"), "it must be greedy or sample"),  # type: ignore[arg-type]
        (lambda: interpolate(model, example, example, infer="foo"), "it must be mean or draw"),  # type: ignore[arg-type]
        (lambda: interpolate(model, data, data), "a holds 2 sequences; it must be one, such as data"),
        (lambda: interpolate(model, example, np.zeros((3, 2))), "b is a ndarray; it must be Sequences"),
    ):
        with pytest.raises(UserError, match=said) as error:
            call()
        assert "\n" not in str(error.value)
    with pytest.raises(RuntimeError, match="alloc"):
        interpolate(model, example, example, num=10**13)
