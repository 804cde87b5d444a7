"""Between two sequences: paths through latents, greedy decoding, and what both do together."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Independent, MixtureSameFamily, Normal

from conftest import SPECS, ZF_SIZE, Case, random_batch
from zforcing import ObservationSpec, SequenceBatch, UserError
from zforcing.distributions import DiscretizedLogisticMixture, diagonal_gaussian, most_likely
from zforcing.observations import slice_steps
from zforcing.tasks.encode import infer_latents
from zforcing.tasks.interpolate import interpolate, linear, spherical

WITH_LATENTS = ("zforcing", "vrnn", "srnn")
KINDS = ("real", "binary", "categorical")


def one(spec: ObservationSpec, steps: int, seed: int) -> SequenceBatch:
    """One sequence of so many steps."""
    torch.manual_seed(seed)
    batch = random_batch(spec)
    row = int((batch.lengths >= steps).nonzero()[0, 0])
    rows = slice(row, row + 1)
    observed = None if batch.observed is None else batch.observed[rows]
    return slice_steps(SequenceBatch(batch.x[rows], batch.lengths[rows], batch.start[rows], observed), 0, steps)[0]


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
    drawn = interpolate(model, a, b, num_samples=3, choose=most_likely)
    ends = [infer_latents(model, x)[0] for x in (a, b)]
    for row, z in zip(drawn.latents, (ends[0], (ends[0] + ends[1]) / 2, ends[1]), strict=True):
        assert torch.allclose(row, z)


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_decoding_takes_the_likeliest_of_the_teacher_forced_conditionals(kind: str) -> None:
    """What is decoded, read back with the same latents, is at each step the likeliest x_t."""
    spec = SPECS[kind]
    model = Case("zforcing", ZF_SIZE).build(spec)
    drawn = interpolate(model, one(spec, 4, 0), one(spec, 3, 1), num_samples=4, choose=most_likely)
    start = spec.blank(4, device=drawn.x.device, dtype=drawn.x.dtype)
    batch = SequenceBatch(drawn.x, torch.full((4,), 4), start)
    with torch.no_grad():
        read_back = model.unroll(batch, latents=drawn.latents)
    assert torch.allclose(most_likely(read_back.emission), drawn.x)


def test_beyond_the_end_of_the_shorter_one_the_priors_mean_stands_for_it() -> None:
    spec = SPECS["real"]
    model = Case("zforcing", ZF_SIZE).build(spec)
    a, b = one(spec, 4, 0), one(spec, 2, 1)
    drawn = interpolate(model, a, b, num_samples=2, choose=most_likely)
    batch = SequenceBatch(drawn.x, torch.tensor([4, 4]), torch.zeros(2, spec.size))
    with torch.no_grad():
        prior = model.unroll(batch, latents=drawn.latents).prior
    assert torch.allclose(drawn.latents[1, 2:], prior.mean[1, 2:])
    assert not torch.allclose(drawn.latents[1, :2], prior.mean[1, :2])
    assert torch.allclose(drawn.latents[0], infer_latents(model, a)[0])


def test_real_first_observations_are_mixed_and_others_are_the_nearer_ones() -> None:
    for kind, middle in (("conditioned", 0.5), ("conditioned binary", 1.0)):
        spec = ObservationSpec("binary" if "binary" in kind else "real", 2, "conditioned")
        model = Case("zforcing", ZF_SIZE).build(spec)
        seen: list[Tensor] = []
        original = model.initial_state

        def spy(
            n: int, *, start: Tensor | None = None, original: object = original, seen: list[Tensor] = seen
        ) -> object:
            seen.append(start)
            return original(n, start=start)

        model.initial_state = spy
        x = torch.zeros(1, 3, 2)
        a, b = (SequenceBatch(x, torch.tensor([3]), torch.full((1, 2), v)) for v in (0.0, 1.0))
        interpolate(model, a, b, num_samples=3)
        assert seen[-1].tolist() == [[0, 0], [middle, middle], [1, 1]]


def test_draws_follow_the_seed_and_leave_the_callers_generator_alone() -> None:
    spec = SPECS["real"]
    model = Case("zforcing", ZF_SIZE).build(spec)
    a, b = one(spec, 4, 0), one(spec, 4, 1)
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    first, same, other = (interpolate(model, a, b, num_samples=2, infer="draw", seed=seed).x for seed in (0, 0, 1))
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_model_without_latents_and_a_single_sequence_are_refused() -> None:
    spec = SPECS["binary"]
    batch = one(spec, 3, 0)
    with pytest.raises(UserError, match="has no latents"):
        interpolate(Case("rnn").build(spec), batch, batch, num_samples=3)
    with pytest.raises(UserError, match="2 or more"):
        interpolate(Case("zforcing", ZF_SIZE).build(spec), batch, batch, num_samples=1)
