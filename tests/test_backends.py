"""The fast backend is the reference: the same values and gradients, whatever is asked of a run, or an error."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from conftest import CASES, RNN_SIZE, SPECS, SRNN_SIZE, VRNN_SIZE, ZF_SIZE, Case, rows_of
from pairs import pairwise
from situations import (
    LENGTHS,
    Backend,
    Situation,
    assert_backends_agree,
    assert_equal,
    by,
    dropout_of_values,
    results,
    single,
)
from zforcing import ELBO, MODELS, SequenceBatch, SequenceModel, Weights
from zforcing.benchmark.memory import peak_bytes
from zforcing.bounds import FIVO, IWAE, Bound
from zforcing.models import Unroll
from zforcing.recurrence import blocks
from zforcing.testing import random_batch
from zforcing.testing.comparison import gradients, noise_for, run_results, terms
from zforcing.testing.particles import Ancestors

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


# ---- float64 and float32


def runs() -> list[Any]:
    """Runs in which each two things meet that can be asked, on each model; each option with ancestors and without.

    Those that no two things but an option and ancestors need are slow: `check_unroll` and `check_particles` of
    tests/test_contract.py have each option too.
    """
    factors = {
        "case": ALL,
        "spec": list(SPECS),
        "dtype": [torch.float64, torch.float32],
        "particles": [1, 3],
        **{name: [False, True] for name in ("ancestors", "carried", "latents", "fed", "train")},
    }
    rows = [row for row in rows_of(factors) if is_possible(row)]
    few = random.Random(0).sample(rows, 2000)  # enough for all pairs
    apart = {pair for name in factors if name != "ancestors" for pair in (("case", name), (name, "case"))}
    chosen = pairwise(few, apart=apart | {("case", "model")})
    first = pairwise(chosen, apart=apart | {("case", "model"), ("case", "ancestors"), ("ancestors", "case")})
    return [
        pytest.param(
            row["case"],
            Situation(**{n: v for n, v in row.items() if n not in ("case", "model")}),
            marks=[] if row in first else [pytest.mark.slow],
        )
        for row in chosen
    ]


def is_possible(row: Mapping[str, Any]) -> bool:
    if row["ancestors"] and row["particles"] == 1:
        return False
    has_dropout = hasattr(MODELS[row["model"]].Config, "dropout")
    return not row["train"] or (has_dropout and row["dtype"] == torch.float64)  # rounding turns some masks


@pytest.mark.usefixtures("never_walks")
@pytest.mark.parametrize(("case", "situation"), runs(), ids=str)
def test_values_and_gradients(case: Case, situation: Situation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.functional, "dropout", dropout_of_values)
    assert_backends_agree(situation.build(case), situation.batch(), situation)


@pytest.mark.parametrize("case", LOOPS, ids=str)
def test_values_and_gradients_of_one_step(case: Case) -> None:
    situation = Situation(lengths=(1, 1))
    assert_backends_agree(situation.build(case), situation.batch(), situation)


@pytest.mark.parametrize("case", [Case("rnn", RNN_SIZE), *LOOPS], ids=str)
def test_values_and_gradients_of_blocks_of_steps(case: Case) -> None:
    situation = Situation(particles=3, ancestors=case.model != "rnn", carried=True)
    with blocks.of_rows(2 * len(situation.lengths) * situation.particles):
        assert_backends_agree(situation.build(case), situation.batch(), situation)


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


LINEAR = Case("linear_gaussian", {"latent_size": 2, "mlp_size": 4, "proposal": "learned"})


@pytest.mark.usefixtures("never_walks")
@pytest.mark.parametrize("case", [Case("rnn", RNN_SIZE), LINEAR, *LOOPS], ids=str)
def test_an_update_of_twice_the_steps_costs_twice_as_much_at_most(case: Case) -> None:
    """In nodes of autograd, in bytes that are kept for gradients, and in memory at the peak."""
    model = by("fast", case.build(SPECS["real"]))
    (nodes, size), (nodes_of_twice, size_of_twice) = (cost_of_an_update(model, steps) for steps in (40, 80))
    assert nodes_of_twice <= 2 * nodes
    assert size < size_of_twice <= 2 * size
    peak, peak_of_twice = (peak_bytes(partial(update, model, steps), torch.device("cpu")) for steps in (40, 80))
    assert peak < peak_of_twice <= 2 * peak


def update(model: SequenceModel, steps: int) -> None:
    ELBO()(model, random_batch(SPECS["real"], (steps, steps // 2))).loss.sum().backward()


@pytest.mark.parametrize("steps", [3, 4])  # each the first run of its model
def test_a_model_that_first_runs_under_a_checkpoint_is_derived(steps: int) -> None:
    model = Case("srnn", SRNN_SIZE | {"mlp_size": steps}).build(SPECS["real"])
    IWAE(particles=4, max_rows=4)(model, random_batch(SPECS["real"], (steps, 2))).loss.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


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
    expected = results(by("fast", model), batch, Situation(particles=3, ancestors=True))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    found = results(model, batch, Situation(particles=3, ancestors=True))
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


WITH_LAYERS = Case("rnn", RNN_SIZE | {"num_layers": 2})


@pytest.mark.parametrize(
    ("case", "ancestors"),
    [*((case, False) for case in [*LOOPS, WITH_LAYERS]), *((case, True) for case in (LOOPS[0], LOOPS[3], WITH_LAYERS))],
    ids=str,
)
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
