"""The fast backend is the reference: the same values and gradients, whatever is asked of a run, or an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from conftest import CASES, RNN_SIZE, SPECS, SRNN_SIZE, VRNN_SIZE, ZF_SIZE, Case
from zforcing import ELBO, SequenceBatch, SequenceModel, Weights
from zforcing.bounds import FIVO, IWAE, Bound
from zforcing.models import Unroll, map_state
from zforcing.testing import random_batch
from zforcing.testing.comparison import gradients, noise_for, run_results, terms
from zforcing.testing.particles import Ancestors

Backend = Literal["reference", "fast"]
LENGTHS = (7, 4, 1, 6)
# as far as clamps, nets and cells may go: where numbers are at their limits, no gradient passes
TIGHT = {
    "latent_clamp": 0.2,
    "auxiliary_clamp": 0.2,
    "activation_clamp": 0.2,
    "norm_clamp": 0.1,
    "min_std": 0.1,
    "forget_bias": 1.0,
}
MORE = [Case("zforcing", ZF_SIZE | TIGHT | {"cell": cell}) for cell in ("lstm", "layer_norm")]
MORE += [
    Case("vrnn", VRNN_SIZE | {"latent_clamp": 0.2, "forget_bias": 1.0}),
    Case("srnn", SRNN_SIZE | {"latent_clamp": 0.2, "activation_clamp": 0.2, "mlp_layers": 3}),
]
# one proposal is enough
ALL = [*(case for case in CASES if case.settings.get("proposal", "learned") == "learned"), *MORE]
LOOPS = [
    Case("zforcing", ZF_SIZE),
    Case("zforcing", ZF_SIZE | {"cell": "layer_norm"}),
    Case("zforcing", ZF_SIZE | {"posterior": "parallel", "cell": "layer_norm"}),
    Case("vrnn", VRNN_SIZE),
    Case("srnn", SRNN_SIZE | {"mlp_layers": 2}),
]


# ---- what is asked of a run


@dataclass(frozen=True)
class Situation:
    """What `unroll` is given beside the batch."""

    spec: str = "real"
    lengths: tuple[int, ...] = LENGTHS
    particles: int = 1
    carried: bool = False
    latents: bool = False
    ancestors: bool = False

    def batch(self) -> SequenceBatch:
        return random_batch(SPECS[self.spec], self.lengths, missing=SPECS[self.spec].missing)


SITUATIONS = {
    "ragged": Situation(),
    "one step": Situation(lengths=(1, 1)),
    "particles": Situation(particles=3),
    "given latents, particles, carried": Situation(latents=True, particles=3, carried=True),
    "ancestors": Situation(particles=3, ancestors=True),
    "ancestors, carried": Situation(particles=3, ancestors=True, carried=True),
    "ancestors of given latents": Situation(particles=3, ancestors=True, latents=True),
    "missing values": Situation("with gaps", carried=True, particles=2),
    "missing values, ancestors": Situation("with gaps", particles=3, ancestors=True),
}
CATEGORIES = {
    "categories": Situation("categorical with gaps", carried=True),
    "categories, ancestors": Situation("categorical with gaps", particles=3, ancestors=True),
    "conditioned": Situation("conditioned with gaps", particles=3),
    "binary": Situation("binary", particles=3, ancestors=True),
}


def fits(case: Case, situation: Situation) -> bool:
    return SPECS[situation.spec].kind in case.kinds


def results(model: SequenceModel, batch: SequenceBatch, situation: Situation) -> dict[str, Tensor]:
    """All that a run says, all that `resample` is shown, and the gradients of a random combination of what is said: by
    each parameter, by each number of the state that the run started from, by the given latents.
    """
    K, dtype = situation.particles, next(model.parameters()).dtype
    given: dict[str, Any] = {"particles": K}
    leaves: dict[str, Tensor] = {}
    if situation.carried:
        leaves |= {f"state.{name}": v for name, v in carried(model, batch).items() if v.is_floating_point()}
        given["state"] = copies_of(model, batch, leaves, K)
    noise = noise_for(model, batch, particles=K).to(dtype)
    if situation.latents:
        leaves["latents"] = noise.requires_grad_()
    given["latents" if situation.latents else "noise"] = noise
    choose = Ancestors(batch, K)
    if situation.ancestors:
        given["resample"] = choose
    run = model.unroll(batch, **given)
    numbers = run_results(run, batch.repeat(K))
    outputs = [*numbers.values(), run.state.h if hasattr(run.state, "h") else run.state.z]
    slopes = gradients(model, outputs, others={name: v for name, v in leaves.items() if v.numel()})
    if situation.ancestors:
        choose.require_asked()
        numbers |= choose.shown
    return {name: v.detach() for name, v in numbers.items()} | {f"gradient by {n}": v for n, v in slopes.items()}


def carried(model: SequenceModel, batch: SequenceBatch) -> dict[str, Tensor]:
    """The state after a batch that came before, [B, ...], as leaves: of its own data, and nowhere zero."""
    past = replace(batch, x=batch.x.flip(0), lengths=torch.full_like(batch.lengths, batch.x.shape[1]), observed=None)
    noise = noise_for(model, past).flip(0).to(next(model.parameters()).dtype)
    with torch.no_grad():
        state = model.walk(past, noise=noise).state
    return {n: v.requires_grad_() if v.is_floating_point() else v for n, v in state._asdict().items()}


def copies_of(model: SequenceModel, batch: SequenceBatch, leaves: Mapping[str, Tensor], k: int) -> Any:
    """The state of k particles. What latents enter differs between them; what was observed doesn't."""
    state = map_state(lambda v: v.repeat(k, *[1] * (v.dim() - 1)), model.initial_state(len(batch), start=batch.start))
    torch.manual_seed(3)
    for name, leaf in leaves.items():
        name = name.removeprefix("state.")
        value = leaf.repeat(k, *[1] * (leaf.dim() - 1))
        if name in ("h", "c", "z", "z_features", "previous_h"):
            value = value + 0.1 * torch.randn(value.shape, dtype=torch.float64).to(value.dtype)
        state = state._replace(**{name: value})
    return state


def by(backend: Backend, model: SequenceModel) -> SequenceModel:
    model.backend = backend
    return model


def assert_equal(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float) -> None:
    """Each tensor to `tolerance` times its own scale: the largest of its expected numbers, or 1 if they are smaller."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert (found[name].shape, found[name].dtype) == (value.shape, value.dtype), name
        finite = value[value.isfinite()]
        scale = max(1.0, finite.abs().max().item()) if finite.numel() else 1.0
        torch.testing.assert_close(
            found[name], value, rtol=0, atol=tolerance * scale, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
        )


def assert_backends_agree(model: SequenceModel, batch: SequenceBatch, situation: Situation) -> None:
    fast, reference = (results(by(backend, model), batch, situation) for backend in ("fast", "reference"))
    assert_equal(fast, reference, 1e-10)


def assert_backends_agree_in_float32(
    model: SequenceModel, batch: SequenceBatch, situation: Situation, tolerance: float = 1e-6
) -> None:
    """Each value to 1e-6 of its tensor's scale; all gradients, as one vector, to `tolerance` of its length: sums that
    cancel leave single ones with fewer digits, by either backend.
    """
    fast, reference = (
        results(by(backend, model.float()), single(batch), situation) for backend in ("fast", "reference")
    )
    slopes = [{n: v for n, v in found.items() if n.startswith("gradient by")} for found in (fast, reference)]
    assert_equal(
        {n: v for n, v in fast.items() if n not in slopes[0]},
        {n: v for n, v in reference.items() if n not in slopes[1]},
        1e-6,
    )
    found, expected = (torch.cat([v.flatten().double() for v in of.values()]) for of in slopes)
    assert (found - expected).norm() < tolerance * expected.norm()


def single(batch: SequenceBatch) -> SequenceBatch:
    return batch if batch.x.dim() == 2 else replace(batch, x=batch.x.float(), start=batch.start.float())


# ---- float64 and float32


@pytest.mark.parametrize("name", SITUATIONS)
@pytest.mark.parametrize("case", ALL, ids=str)
def test_values_and_gradients_in_float64(case: Case, name: str) -> None:
    situation = SITUATIONS[name]
    assert_backends_agree(case.build(SPECS[situation.spec]), situation.batch(), situation)


@pytest.mark.parametrize("name", CATEGORIES)
@pytest.mark.parametrize("case", ALL, ids=str)
def test_values_and_gradients_of_other_observations(case: Case, name: str) -> None:
    situation = CATEGORIES[name]
    if fits(case, situation):
        assert_backends_agree(case.build(SPECS[situation.spec]), situation.batch(), situation)


@pytest.mark.parametrize("name", ["given latents, particles, carried", "ancestors, carried"])
@pytest.mark.parametrize("case", ALL, ids=str)
def test_values_and_gradients_in_float32(case: Case, name: str) -> None:
    """Layer norm divides by the spread of W_h h_0 = 0, so by sqrt(1e-5), and makes 300 times as much of each rounding:
    the reference's own gradient in float32 is up to 2e-6 of its length from that in float64.
    """
    situation = SITUATIONS[name]
    tolerance = 1e-5 if case.settings.get("cell") == "layer_norm" else 1e-6
    assert_backends_agree_in_float32(case.build(SPECS["real"]), situation.batch(), situation, tolerance)


# ---- long sequences


def cost_of_an_update(model: SequenceModel, steps: int) -> tuple[int, int]:
    """How many nodes autograd has for the loss of two sequences, and the bytes that it keeps for their gradients."""
    kept: dict[int, int] = {}

    def remember(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    batch = random_batch(SPECS["real"], (steps, steps // 2))
    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        loss = ELBO()(model, batch, weights=Weights(1.0, costs=dict.fromkeys(model.cost_names, 0.1))).loss.sum()
    found, ahead = set(), [loss.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is not None and node not in found:
            found.add(node)
            ahead += [following for following, _ in node.next_functions]
    return len(found), sum(kept.values())


@pytest.mark.parametrize("case", [Case("rnn", RNN_SIZE), *LOOPS], ids=str)
def test_an_update_of_twice_the_steps_costs_twice_as_much_at_most(case: Case) -> None:
    model = by("fast", case.build(SPECS["real"]))
    (nodes, size), (nodes_of_twice, size_of_twice) = (cost_of_an_update(model, steps) for steps in (40, 80))
    assert nodes_of_twice <= 2 * nodes
    assert size < size_of_twice <= 2 * size


@pytest.mark.slow
@pytest.mark.parametrize("case", [Case("rnn", RNN_SIZE), *LOOPS], ids=str)
def test_float32_does_not_drift_over_10000_steps(case: Case) -> None:
    """The errors of the last 1000 steps are as small as those of the first on average (the largest one is chance), and
    no larger than the reference's. An untrained layer norm can magnify what float32 weights round off to half a nat for
    some steps, in both alike.
    """
    model, batch = case.build(SPECS["real"]), random_batch(SPECS["real"], (10_000, 9_000))
    noise = noise_for(model, batch)
    with torch.no_grad():
        exact = by("fast", model).unroll(batch, noise=noise)
        right = torch.stack([exact.log_px, exact.kl])
        model.float()
        runs = [by(backend, model).unroll(single(batch), noise=noise.float()) for backend in ("fast", "reference")]
    fast, reference = ((torch.stack([run.log_px, run.kl]).double() - right).abs() for run in runs)
    assert fast[..., :1000].max() < 1e-3
    assert fast.max() < max(1e-3, 2 * reference.max())
    assert fast[:, 0, -1000:].mean() < 2 * fast[..., :1000].mean()
    assert fast.sum() < 1.5 * reference.sum()


# ---- the pass itself


def fast_run(model: SequenceModel, batch: SequenceBatch, *, ancestors: bool) -> Unroll:
    resample = Ancestors(batch, 3) if ancestors else None
    noise = noise_for(model, batch, particles=3).to(next(model.parameters()).dtype)
    return by("fast", model).unroll(batch, noise=noise, particles=3, resample=resample)


@pytest.mark.parametrize("ancestors", [False, True])
@pytest.mark.parametrize("case", [*LOOPS, Case("rnn", RNN_SIZE)], ids=str)
def test_values_without_gradients_are_those_with(case: Case, ancestors: bool) -> None:
    model, batch = case.build(SPECS["real"]), random_batch(SPECS["real"], LENGTHS)
    expected = run_results(fast_run(model, batch, ancestors=ancestors), batch.repeat(3))
    with torch.no_grad():
        found = run_results(fast_run(model, batch, ancestors=ancestors), batch.repeat(3))
    assert_equal(found, {name: v.detach() for name, v in expected.items()}, 1e-12)


@pytest.mark.parametrize("case", LOOPS, ids=str)
def test_a_second_backward_pass_gives_the_same_or_torchs_own_error(case: Case) -> None:
    model, batch = case.build(SPECS["real"]), random_batch(SPECS["real"], LENGTHS)
    run = fast_run(model, batch, ancestors=True)
    loss = sum((term.sum() for term in terms(run).values()), torch.zeros(()))
    first = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    second = torch.autograd.grad(loss, list(model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(loss, list(model.parameters()))


@pytest.mark.parametrize("frozen", ["cell.", "posterior_net.", "backward_lstm.", "embed."])
def test_parameters_that_are_frozen_change_no_other_gradient(frozen: str) -> None:
    model, batch = LOOPS[0].build(SPECS["real"]), random_batch(SPECS["real"], LENGTHS)
    expected = results(by("fast", model), batch, SITUATIONS["ancestors"])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    found = results(model, batch, SITUATIONS["ancestors"])
    assert_equal(found, {name: expected[name] for name in found}, 1e-12)
    assert not any(name.startswith(f"gradient by {frozen}") for name in found)


# ---- half precision and dropout


@pytest.mark.parametrize("ancestors", [False, True])
@pytest.mark.parametrize("case", [*LOOPS, Case("zforcing", ZF_SIZE | {"posterior": "parallel"})], ids=str)
def test_bfloat16_costs_the_fast_backend_no_more_than_the_reference(case: Case, ancestors: bool) -> None:
    """Terms and gradients are float32, finite, and as near to those of a float32 run as the reference's are, up to a
    factor of 2 and bfloat16's 2^-8 of their length. Of weights by which rounding takes no unit to the other side of its
    ReLU in the one backend alone: such a unit's gradient is another one.
    """
    model, batch = case.build(SPECS["real"], seed=1).float(), single(random_batch(SPECS["real"], LENGTHS))
    noise = noise_for(model, batch, particles=3).float()

    names: list[str] = []

    def found(backend: Backend, *, lower: bool) -> list[Tensor]:
        resample = Ancestors(batch, 3) if ancestors else None
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=lower):
            run = by(backend, model).unroll(batch, noise=noise, particles=3, resample=resample)
            values = terms(run)
        names[:] = values
        slopes = gradients(model, values.values()).values()
        return [*(v.detach() for v in values.values()), torch.cat([v.flatten() for v in slopes])]

    pairs = zip(found("fast", lower=True), found("reference", lower=True), found("reference", lower=False), strict=True)
    for name, (fast, reference, full) in zip([*names, "gradient"], pairs, strict=True):
        assert fast.dtype == torch.float32, name
        assert fast.isfinite().all(), name
        assert not torch.equal(fast, full), name
        assert (fast - full).norm() < 2 * (reference - full).norm() + 2**-8 * full.norm(), name


@pytest.mark.parametrize("ancestors", [False, True])
@pytest.mark.parametrize("case", [*LOOPS, Case("rnn", RNN_SIZE | {"num_layers": 2})], ids=str)
def test_dropout_follows_the_seed_and_leaves_gradients_finite(case: Case, ancestors: bool) -> None:
    batch = random_batch(SPECS["real"], LENGTHS)
    model = case.build(SPECS["real"], dropout=0.4).train()
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        run = fast_run(model, batch, ancestors=ancestors)
        found.append([run.log_px, *gradients(model, terms(run).values()).values()])
    assert all(v.isfinite().all() for v in found[0])
    assert all(torch.equal(a, b) for a, b in zip(found[0], found[1], strict=True))
    assert not torch.equal(found[0][0], found[2][0])


def test_models_of_one_structure_keep_their_own_weights() -> None:
    """What is derived is shared between them; but an autoregressive emission holds its network."""
    batch = random_batch(SPECS["real"], LENGTHS)
    for seed in range(2):
        model = Case("zforcing", ZF_SIZE).build(SPECS["real"], seed, autoregressive=True)
        noise = noise_for(model, batch)
        fast, reference = (run(batch, noise=noise).log_px for run in (model.unroll, model.walk))
        torch.testing.assert_close(fast, reference, rtol=1e-10, atol=1e-10)


# ---- the bounds of particles

BOUNDS: dict[str, Bound] = {
    "iwae": IWAE(particles=4),
    "iwae, in parts": IWAE(particles=4, max_rows=5),
    "iwae, doubly reparameterized": IWAE(particles=4, gradient="doubly_reparameterized"),
    "fivo, systematic": FIVO(particles=4, threshold=1.1),
    "fivo, multinomial": FIVO(particles=4, resampling="multinomial", threshold=1.1),
    "fivo, resampling gradient": FIVO(particles=4, resampling="multinomial", threshold=1.1, resampling_gradient=True),
}


def bound_of(bound: Bound, model: SequenceModel, batch: SequenceBatch) -> dict[str, Tensor]:
    kl = 1.0 if "doubly" in str(bound) else 0.7
    torch.manual_seed(4)
    result = bound(model, batch, weights=Weights(kl=kl, costs=dict.fromkeys(model.cost_names, 0.3)))
    slopes = gradients(model, [result.loss])
    return {"value": result.value, "loss": result.loss.detach()} | {f"gradient by {n}": v for n, v in slopes.items()}


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("case", LOOPS, ids=str)
def test_a_bound_and_its_gradient_with_one_seed(case: Case, name: str) -> None:
    model, batch = case.build(SPECS["with gaps"]), random_batch(SPECS["with gaps"], LENGTHS, missing=True)
    fast, reference = (bound_of(BOUNDS[name], by(backend, model), batch) for backend in ("fast", "reference"))
    assert_equal(fast, reference, 1e-10)


@pytest.mark.parametrize("name", [name for name in BOUNDS if name.startswith("fivo")])
def test_the_filters_that_are_compared_do_resample(name: str) -> None:
    model, batch = LOOPS[0].build(SPECS["real"]), random_batch(SPECS["real"], LENGTHS)
    never = replace(BOUNDS[name], threshold=0.0)  # type: ignore[call-arg]
    with torch.no_grad():
        torch.manual_seed(4)
        resampled = BOUNDS[name](model, batch).value
        torch.manual_seed(4)
        weighed = never(model, batch).value
    changed = (resampled - weighed).abs() > 1e-3
    assert changed.tolist() == [length > 1 for length in LENGTHS]


@pytest.mark.parametrize("backend", ["reference", "fast"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"noise": (3, 7, 3), "particles": 2}, r"noise is \[3, 7, 3\]; with 2 particles it must be \[6, 7, 3\]"),
        ({"noise": (3, 8, 3)}, r"noise is \[3, 8, 3\]; with 1 particles it must be \[3, 7, 3\]"),
        ({"latents": (3, 7, 1)}, "latents is"),
        ({"particles": 0}, "particles is 0"),
    ],
    ids=str,
)
def test_numbers_of_another_shape_are_refused(backend: Any, given: dict[str, Any], said: str) -> None:
    """Not broadcast, not cut off."""
    model = Case("zforcing", ZF_SIZE).build(SPECS["real"])
    model.backend = backend
    batch = random_batch(SPECS["real"], (7, 7, 3))
    tensors = {name: torch.zeros(value) if isinstance(value, tuple) else value for name, value in given.items()}
    with pytest.raises(ValueError, match=said):
        model.unroll(batch, **tensors)
    with pytest.raises(ValueError, match="the state has 3 rows; with 2 particles there are 6"):
        model.unroll(batch, particles=2, state=model.initial_state(3))


@pytest.mark.parametrize("backend", ["reference", "fast"])
def test_a_filter_under_autocast_chooses_by_the_weights_that_the_bound_adds_up(backend: Any) -> None:
    torch.set_default_dtype(torch.float32)
    model = Case("zforcing", ZF_SIZE).build(SPECS["real"]).float()
    model.backend = backend
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    batch = random_batch(SPECS["real"], (9, 9))
    batch = replace(batch, x=batch.x.float(), start=batch.start.float())
    seen = []

    def look(t: int, log_w: Tensor) -> None:
        seen.append(log_w)

    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        run = model.unroll(batch, resample=look)
        added = run.log_px + run.prior.log_prob(run.latents) - run.posterior.log_prob(run.latents)
    torch.testing.assert_close(torch.stack(seen, dim=1), added[:, :-1].double(), rtol=1e-3, atol=1e-3)
