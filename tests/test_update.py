"""One update: Adam's first step by hand, what is skipped, and an update captured once and replayed.

There is no GPU here, so two stand-ins capture: `Again` runs the work once more, `Recording` runs the tensor operations
that the work did when it was captured, on the same memory, and none of its Python: what a CUDA graph does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from conftest import CASES, RNN_SIZE, SPECS, SRNN_SIZE, VRNN_SIZE, ZF_SIZE, Case, random_batch
from zforcing import ELBO, DensityModel, ObservationSpec, SequenceBatch, SequenceModel, UserError, Weights
from zforcing.bounds import BOUNDS, IWAE, Bound, BoundResult
from zforcing.data.batches import bucket, pad_steps
from zforcing.models import trace_cache
from zforcing.training.graph import Capture, GraphUpdate, check_capturable
from zforcing.training.settings import TrainingConfig
from zforcing.training.update import BoundModule, EagerUpdate, Part, Updated, make_optimizer

RNN = Case("rnn", RNN_SIZE)
ZFORCING = Case("zforcing", ZF_SIZE | {"dropout": 0.2})
CAPTURED = [
    RNN,
    Case("rnn", RNN_SIZE | {"num_layers": 2, "dropout": 0.2}),
    ZFORCING,
    Case("vrnn", VRNN_SIZE | {"dropout": 0.2}),
    Case("srnn", SRNN_SIZE | {"dropout": 0.2}),
]
PLAIN = Weights(kl=0.5)
LENGTHS = [
    (7, 4, 1, 6),
    (11, 7, 3, 9),
    (6, 2, 5, 3),
    (5, 2),
    (10, 9, 15, 1),
    (7, 7, 7, 7),
    (3, 6),
]  # none as long as its graph


class Scaled(Bound):
    """The ELBO, its loss times a number that can be changed."""

    particles = 1

    def __init__(self) -> None:
        self.factor = torch.ones(())

    def __call__(self, model: SequenceModel, batch: SequenceBatch, *, weights: Weights = PLAIN) -> BoundResult:
        result = ELBO()(model, batch, weights=weights)
        return replace(result, loss=result.loss * self.factor)


class Again:
    """What was captured is done again, Python and all."""

    def __init__(self, warm_ups: int = 2):
        self.warm_ups, self.captures = warm_ups, 0

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        self.captures += 1
        for _ in range(self.warm_ups):
            work()
        return work


class Recording(Again):
    """What was captured are operations on memory: a replay does them again and nothing else."""

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        super().__call__(work)
        with Operations() as done:
            work()
        return done.again


class Operations(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, Any, Any, Any, bool]] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = operation(*args, **(kwargs or {}))
        self.done.append((operation, args, kwargs or {}, out, torch.is_grad_enabled()))
        return out

    def again(self) -> None:
        with torch._C._AutoDispatchBelowAutograd():  # where the operations were seen
            for operation, args, kwargs, out, differentiable in self.done:
                with torch.set_grad_enabled(differentiable):
                    values = operation(*args, **kwargs)
                for memory, value in zip(tree_leaves(out), tree_leaves(values), strict=True):
                    if (
                        isinstance(memory, Tensor) and memory.data_ptr() != value.data_ptr()
                    ):  # not in place, and no view
                        memory.copy_(value)


CAPTURES = [Again, Recording]


def parts(case: Case = RNN, bound: Bound | None = None, spec: ObservationSpec = SPECS["real"], **settings: Any) -> Any:
    """A module in training, always with the same weights, and its optimizer."""
    module = BoundModule(case.build(spec), ELBO() if bound is None else bound).train()
    return module, make_optimizer(module, TrainingConfig(**settings))


def eager(case: Case = RNN, bound: Bound | None = None, *, max_grad_norm: float | None = 2.0) -> EagerUpdate:
    return EagerUpdate(*parts(case, bound), max_grad_norm=max_grad_norm)


def graph(
    case: Case = RNN, bound: Bound | None = None, *, capture: Capture | None = None, max_grad_norm: float | None = 2.0
) -> GraphUpdate:
    return GraphUpdate(*parts(case, bound), max_grad_norm=max_grad_norm, capture=capture or Again())


def batches(spec: ObservationSpec = SPECS["real"]) -> list[SequenceBatch]:
    return [random_batch(spec, lengths, seed=i) for i, lengths in enumerate(LENGTHS)]


def weights_of(model: DensityModel, *, kl: float = 0.5, costs: float = 0.2) -> Weights:
    """Weights of all that the model has."""
    return Weights(kl, costs=dict.fromkeys(model.cost_names, costs))


def run(update: EagerUpdate | GraphUpdate, given: Sequence[SequenceBatch]) -> list[Updated]:
    """Updates with other noise, weights and learning rates at each step; the rates are exact in float32."""
    out = []
    for step, batch in enumerate(given):
        torch.manual_seed(step)
        weights = weights_of(module_of(update).model, kl=0.2 + 0.1 * step, costs=0.3 / (1 + step))
        out.append(update(batch, weights, learning_rate=2.0 ** -(6 + step % 3), share=1 - step / 10))
    return out


def module_of(update: EagerUpdate | GraphUpdate) -> torch.nn.Module:
    return update.eager.module if isinstance(update, GraphUpdate) else update.module


def memory(update: EagerUpdate | GraphUpdate) -> list[Tensor]:
    """Copies of weights and of Adam's moments and counts, the latter zeros where there are none yet."""
    state = update.optimizer.state
    values = []
    for p in module_of(update).parameters():
        values += [
            p,
            *(state[p][name] if p in state else torch.zeros(()) for name in ("step", "exp_avg", "exp_avg_sq")),
        ]
    return [v.detach().clone() for v in values]


def same(one: list[Tensor], other: list[Tensor], tolerance: float = 0.0) -> bool:
    return all(
        torch.allclose(a, b.expand_as(a) if b.dim() == 0 else b, rtol=tolerance, atol=tolerance)
        for a, b in zip(one, other, strict=True)
    )


def assert_same_updates(one: list[Updated], other: list[Updated]) -> None:
    for a, b in zip(one, other, strict=True):
        ((one_result,), (other_result,)) = a.results, b.results
        assert (a.applied, one_result.kind) == (b.applied, other_result.kind)
        assert math.isclose(a.gradient_norm, b.gradient_norm, rel_tol=1e-12)
        assert a.sums == pytest.approx(b.sums, rel=1e-12)
        assert one_result.terms.keys() == other_result.terms.keys()
        torch.testing.assert_close(one_result.value, other_result.value, rtol=1e-12, atol=1e-12)


# An update against formulas.


def gradient_by_hand(module: BoundModule, batch: SequenceBatch, *, share: float = 1.0) -> list[Tensor]:
    loss = module(batch, PLAIN).loss.mean() * share
    return list(torch.autograd.grad(loss, list(module.parameters())))


@pytest.mark.parametrize("max_grad_norm", [None, 0.5])
@pytest.mark.parametrize("share", [1.0, 0.25])
@pytest.mark.parametrize("make", [EagerUpdate, lambda *a, **k: GraphUpdate(*a, capture=Again(), **k)])
def test_adams_first_step_is_minus_the_rate_times_g_over_g_plus_eps(
    make: Callable[..., EagerUpdate | GraphUpdate], share: float, max_grad_norm: float | None
) -> None:
    """Its bias-corrected moments are then g and g^2. eps 1 lets the size of the gradient show."""
    module, optimizer = parts(eps=1.0)
    batch = batches()[0]
    before = [p.detach().clone() for p in module.parameters()]
    gradient = gradient_by_hand(module, batch, share=share)
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradient))
    assert norm > 0.5
    scale = 1.0 if max_grad_norm is None else max_grad_norm / (norm + 1e-6)
    updated = make(module, optimizer, max_grad_norm=max_grad_norm)(batch, PLAIN, learning_rate=0.125, share=share)
    assert updated.applied
    assert math.isclose(updated.gradient_norm, norm, rel_tol=1e-12)
    for p, old, g in zip(module.parameters(), before, gradient, strict=True):
        expected = old - 0.125 * scale * g / ((scale * g).abs() + 1.0)
        torch.testing.assert_close(p.detach(), expected, rtol=1e-10, atol=1e-12)


def test_the_sums_are_over_the_batchs_sequences() -> None:
    update, batch = eager(ZFORCING), batches()[0]
    weights = weights_of(module_of(update).model)
    torch.manual_seed(0)
    expected = module_of(update)(batch, weights)
    torch.manual_seed(0)
    updated = update(batch, weights, learning_rate=0.1)
    terms = {name: float(term.detach().sum()) for name, term in expected.terms.items()}
    sums = {"value": float(expected.value.sum()), "loss": float(expected.loss.detach().sum()), "sequences": 4.0}
    assert updated.sums == pytest.approx(sums | terms)
    assert set(terms) == {"log_px", "kl", "auxiliary", "backward"}
    assert updated.loss == updated.sums["loss"]
    assert not updated.results[0].loss.requires_grad


def test_adam_is_fused_where_torch_can() -> None:
    model = RNN.build(SPECS["real"])
    assert make_optimizer(model, TrainingConfig()).param_groups[0]["fused"]
    assert not make_optimizer(model.to("meta"), TrainingConfig()).param_groups[0]["fused"]


# What is not finite.


@pytest.mark.parametrize("make", [eager, graph])
@pytest.mark.parametrize("factor", [math.nan, 1e300])  # 1e300: the loss is finite, its gradient's norm isn't
def test_a_loss_or_gradient_that_is_not_finite_changes_nothing(
    make: Callable[..., EagerUpdate | GraphUpdate], factor: float
) -> None:
    bound = Scaled()
    update, batch = make(bound=bound), batches()[0]
    update(batch, PLAIN, learning_rate=0.1)
    before = memory(update)
    bound.factor.fill_(factor)
    updated = update(batch, PLAIN, learning_rate=0.1)
    assert not updated.applied
    assert math.isfinite(updated.loss) == (factor == 1e300)
    assert not math.isfinite(updated.gradient_norm)
    assert same(memory(update), before)
    bound.factor.fill_(1.0)
    assert update(batch, PLAIN, learning_rate=0.1).applied
    other = make(bound=Scaled())  # as if the update in between had never been
    for _ in range(2):
        other(batch, PLAIN, learning_rate=0.1)
    assert same(memory(update), memory(other))


# Several batches, one after the other.


class Drawn(Bound):
    """A bound of sequences whose noise is known, [K, N, T, Z]: of those in `order`, as they come."""

    def __init__(self, bound: Bound, noise: Tensor):
        self.bound, self.noise, self.order = bound, noise, list[int]()

    @property
    def particles(self) -> int:
        return self.bound.particles

    def __call__(self, model: SequenceModel, batch: SequenceBatch, *, weights: Weights = PLAIN) -> BoundResult:
        rows, self.order = self.order[: len(batch)], self.order[len(batch) :]
        noise = self.noise[:, rows, : batch.x.shape[1]]
        given = noise[0] if isinstance(self.bound, ELBO) else noise.flatten(0, 1)
        return self.bound(model, batch, weights=weights, noise=given)


def rows_of(batch: SequenceBatch, rows: Sequence[int]) -> SequenceBatch:
    """Some sequences of a batch, padded to the longest of them."""
    steps = int(batch.lengths[list(rows)].max())
    return SequenceBatch(batch.x[list(rows), :steps], batch.lengths[list(rows)], batch.start[list(rows)])


@pytest.mark.parametrize("bound", [ELBO(), IWAE(3)], ids=lambda bound: type(bound).__name__)
@pytest.mark.parametrize("cut", [[[0, 1, 2, 3, 4, 5]], [[0, 1], [2, 3], [4, 5]], [[5], [0, 3, 2, 4], [1]]])
def test_accumulated_batches_are_the_large_batch(bound: Bound, cut: list[list[int]]) -> None:
    """Ragged, of unequal sizes: the mean is over all sequences, not over the batches' means."""
    whole = random_batch(SPECS["real"], (9, 2, 7, 1, 5, 3))
    torch.manual_seed(0)
    drawn = Drawn(bound, torch.randn(3, 6, 9, 3))
    updates = []
    for batches in ([[0, 1, 2, 3, 4, 5]], cut):
        drawn.order = [row for batch in batches for row in batch]
        module, optimizer = parts(Case("zforcing", ZF_SIZE), drawn)
        given = [Part(rows_of(whole, rows), len(rows) / 6) for rows in batches]
        update = EagerUpdate(module, optimizer, max_grad_norm=2.0)
        updates.append((update.over(given, weights_of(module.model), learning_rate=0.1), memory(update)))
    (one, weights), (other, other_weights) = updates
    assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-10)
    assert one.sums == pytest.approx(other.sums, rel=1e-10)
    assert {"log_px", "kl", "auxiliary", "backward"} <= set(one.sums)
    assert same(weights, other_weights, 1e-10)


# Captured and replayed.


@pytest.mark.parametrize("capture", CAPTURES)
def test_replayed_updates_are_those_of_eager_torch(capture: Callable[[], Capture]) -> None:
    """Of batches of any length, though a graph's are longer: padding is nothing to a model without noise."""
    one, other = eager(), graph(capture=capture())
    assert_same_updates(run(one, batches()), run(other, batches()))
    assert same(memory(one), memory(other), 1e-12)


@pytest.mark.parametrize("capture", CAPTURES)
@pytest.mark.parametrize("kind", ["real", "categorical", "conditioned", "with gaps"])
def test_replayed_noise_is_that_of_the_seed(capture: Callable[[], Capture], kind: str) -> None:
    """Latents and dropout, drawn anew at each replay; eager torch gets the padded batches, whose noise it is."""
    spec = SPECS[kind]
    given = [random_batch(spec, lengths, missing=spec.missing, seed=i) for i, lengths in enumerate(LENGTHS)]
    one = EagerUpdate(*parts(ZFORCING, spec=spec), max_grad_norm=2.0)
    other = GraphUpdate(*parts(ZFORCING, spec=spec), max_grad_norm=2.0, capture=capture())
    padded = [pad_steps(batch, bucket(batch.x.shape[1])) for batch in given]
    assert_same_updates(run(one, padded), run(other, given))
    assert same(memory(one), memory(other), 1e-12)


def test_bfloat16_reads_the_weights_anew_at_each_replay() -> None:
    """Autocast keeps the weights it has cast: what a capture finds there would never change again."""
    updates: list[EagerUpdate | GraphUpdate] = []
    for make in (EagerUpdate, partial(GraphUpdate, capture=Recording())):
        module, _ = parts(ZFORCING)
        optimizer = make_optimizer(module.float(), TrainingConfig())
        updates.append(make(module, optimizer, max_grad_norm=2.0, precision="bfloat16"))
    given = [replace(pad_steps(b, 16), x=pad_steps(b, 16).x.float(), start=b.start.float()) for b in batches()]
    one, other = (run(update, given) for update in updates)
    assert [a.sums["value"] for a in one] == pytest.approx([b.sums["value"] for b in other], rel=1e-6)
    assert same(memory(updates[0]), memory(updates[1]), 1e-6)


def test_the_update_that_traces_a_step_rounds_as_the_others_do() -> None:
    """Else training that goes on from a checkpoint under autocast would not be that which wasn't interrupted."""
    given = [replace(pad_steps(b, 16), x=pad_steps(b, 16).x.float(), start=b.start.float()) for b in batches()]
    updates = []
    for _ in range(2):
        module, _ = parts(ZFORCING)
        updates.append(
            EagerUpdate(
                module.float(),
                make_optimizer(module, TrainingConfig()),
                max_grad_norm=2.0,
                precision="bfloat16",
            )
        )
    trace_cache._SHARED.clear()
    for update in updates:
        run(update, given)
    assert same(memory(updates[0]), memory(updates[1]), 0)


def test_there_is_a_graph_for_each_length_number_of_sequences_and_kind_of_batch() -> None:
    capture, said = Again(), list[str]()
    update = GraphUpdate(*parts(spec=SPECS["with gaps"]), max_grad_norm=None, capture=capture, say=said.append)
    lengths = [(7, 4), (6, 1), (8, 2), (9, 2), (16, 1), (4, 4, 4)]  # 2 of up to 8, 2 of up to 16, 3 of up to 8
    for given, expected in zip(lengths, (1, 1, 1, 2, 2, 3), strict=True):
        update(random_batch(SPECS["with gaps"], given), PLAIN, learning_rate=0.1)
        assert (capture.captures, len(said)) == (expected, expected)
    update(random_batch(SPECS["with gaps"], (7, 4), missing=True), PLAIN, learning_rate=0.1)
    assert capture.captures == 4
    assert "2 sequences of up to 16 steps" in said[1]


def test_a_batch_is_padded_no_further_than_the_longest_sequence() -> None:
    update = GraphUpdate(*parts(), max_grad_norm=None, capture=Again(), longest=11)
    for lengths in ((9, 1), (11, 2)):
        updated = update(random_batch(SPECS["real"], lengths), PLAIN, learning_rate=0.1)
        assert updated.applied
    assert [graph.batch.x.shape[1] for graph in update.graphs.values()] == [11]


@pytest.mark.parametrize("capture", CAPTURES)
def test_a_capture_changes_neither_weights_nor_moments_nor_the_generator(capture: Callable[[], Capture]) -> None:
    update, (first, second) = graph(ZFORCING, capture=capture()), batches()[:2]
    run(update, [first])  # moments and counts that aren't zero
    before, generator = memory(update), torch.get_rng_state()
    update._captured(second, weights_of(module_of(update).model))
    assert same(memory(update), before)
    assert torch.equal(torch.get_rng_state(), generator)


def test_what_an_update_returned_stays_when_the_next_one_runs() -> None:
    update = graph(capture=Recording())
    first = run(update, batches()[:1])[0]
    (result,) = first.results
    before = {name: term.clone() for name, term in result.terms.items()} | {"value": result.value.clone()}
    run(update, batches()[2:3])
    after = result.terms | {"value": result.value}
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_adam_without_a_fused_kernel_is_refused() -> None:
    module = BoundModule(RNN.build(SPECS["real"]), ELBO())
    with pytest.raises(AssertionError, match="fused"):
        GraphUpdate(module, torch.optim.Adam(module.parameters()), max_grad_norm=None, capture=Again())


def test_dropout_between_an_rnns_layers_heeds_the_seed() -> None:
    """Each time it is set, as a replay needs it: cuDNN's own sets its state up once."""
    model = Case("rnn", RNN_SIZE | {"num_layers": 2, "dropout": 0.5}).build(SPECS["real"]).train()
    model.embed.dropout.p = model.readout.dropout.p = 0.0
    batch = random_batch(SPECS["real"])

    def value(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return ELBO()(model, batch).value

    assert torch.equal(value(1), value(1))
    assert not torch.equal(value(1), value(2))
    model.eval()
    assert torch.equal(value(1), value(2))


class Refused(TorchDispatchMode):
    """On the meta device there are no values to read; what reads them only to raise an error is refused by name."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(operation)
        assert not any(word in name for word in ("_local_scalar_dense", "check_errors", "nonzero")), name
        return operation(*args, **(kwargs or {}))


OF_DEVICES = [case for case in CASES if case.model != "linear_gaussian"]
OTHER_OPERATIONS = ("layer_norm", "squared_error", "filtering", "standard")  # options that bring them
ONE_EACH = list({case.model: case for case in reversed(OF_DEVICES)}.values())
WITH_OTHERS = [case for case in OF_DEVICES if any(word in str(case) for word in OTHER_OPERATIONS)]
OTHER_BOUNDS = {"free bits": ELBO(free_nats=0.1), "iwae": BOUNDS["iwae"](particles=2)}


@pytest.mark.parametrize(
    ("case", "bound"),
    [pytest.param(case, ELBO(), id=f"{case}-elbo") for case in [*ONE_EACH, *WITH_OTHERS]]
    + [pytest.param(case, bound, id=f"{case}-{name}") for case in ONE_EACH for name, bound in OTHER_BOUNDS.items()],
)
def test_nothing_in_an_update_waits_for_a_value(monkeypatch: pytest.MonkeyPatch, case: Case, bound: Bound) -> None:
    """Or it couldn't be captured: bounds, models and gradients of a batch without values."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)  # autocast knows no meta device
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    model = case.build(SPECS["with gaps"], dropout=0.1).train().to("meta")
    batch = random_batch(SPECS["with gaps"], missing=True).to("meta")
    bound(model, batch, weights=weights_of(model)).loss.mean().backward()  # derives the steps, as a warm-up does
    with Refused():
        bound(model, batch, weights=weights_of(model)).loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    assert any(p.grad is not None for p in model.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA graph needs a GPU")
@pytest.mark.parametrize("case", CAPTURED, ids=str)
def test_a_cuda_graph_does_the_updates_of_eager_torch(case: Case) -> None:
    modules = [BoundModule(case.build(SPECS["real"]).cuda(), ELBO()).train() for _ in range(2)]
    optimizers = [make_optimizer(module, TrainingConfig()) for module in modules]
    one = EagerUpdate(modules[0], optimizers[0], max_grad_norm=2.0)
    other = GraphUpdate(modules[1], optimizers[1], max_grad_norm=2.0)
    given = [batch.to("cuda") for batch in batches()]
    padded = [pad_steps(batch, bucket(batch.x.shape[1])) for batch in given]
    for a, b in zip(run(one, padded), run(other, given), strict=True):
        assert a.applied
        assert b.applied
        assert a.sums == pytest.approx(b.sums, rel=1e-5)
        assert math.isclose(a.gradient_norm, b.gradient_norm, rel_tol=1e-5)
    assert same(memory(one), memory(other), 1e-5)


# Lengths.


def test_a_bucket_is_the_least_length_of_a_short_list() -> None:
    known = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512]
    for steps in range(1, 513):
        assert bucket(steps) == min(length for length in known if length >= steps)
    assert max(bucket(steps) / steps for steps in range(33, 5000)) < 1.25
    assert (bucket(9, most=11), bucket(12, most=11), bucket(5, most=11)) == (11, 12, 8)


@pytest.mark.parametrize("kind", ["real", "categorical", "with gaps"])
def test_padding_adds_steps_that_do_not_exist(kind: str) -> None:
    batch = random_batch(SPECS[kind], (5, 3), missing=SPECS[kind].missing)
    padded = pad_steps(batch, 8)
    assert padded.x.shape[:2] == (2, 8)
    assert torch.equal(padded.x[:, :5], batch.x)
    assert padded.mask.sum(1).tolist() == [5, 3]
    assert not padded.scored[:, 5:].any()
    assert not padded.x[:, 5:].any()
    assert torch.equal(padded.start, batch.start)
    assert pad_steps(batch, 5) is batch


# What can be captured.


class Capturable(ELBO):
    capturable = True


@pytest.mark.parametrize(
    ("bound", "device", "processes", "said"),
    [
        (Capturable(), "cpu", 1, "needs a CUDA device; this run is on cpu"),
        (Capturable(), "cuda", 2, "trains in one process; there are 2"),
        (Scaled(), "cuda", 1, "can't capture bound Scaled"),
    ],
)
def test_what_cannot_be_captured_is_refused(bound: Bound, device: str, processes: int, said: str) -> None:
    model = RNN.build(SPECS["real"])
    with pytest.raises(UserError, match=f"^training.backend graph {said}.*: use training.backend fast$"):
        check_capturable(model, bound, device=torch.device(device), processes=processes)


def test_a_model_can_say_that_it_cannot_be_captured() -> None:
    model = RNN.build(SPECS["real"])
    check_capturable(model, Capturable(), device=torch.device("cuda"), processes=1)
    model.capturable = False
    with pytest.raises(UserError, match="can't capture model rnn"):
        check_capturable(model, Capturable(), device=torch.device("cuda"), processes=1)
