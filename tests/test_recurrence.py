"""Programs and plans as values: what a step is found to be, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from conftest import SPECS, SRNN_SIZE, ZF_SIZE, Case
from strangers import Sizes, Stranger
from zforcing import ObservationSpec, SequenceBatch
from zforcing.models import planned_step, trace_cache
from zforcing.recurrence.loops import Recurrence, make_plan
from zforcing.recurrence.plan import Plan
from zforcing.recurrence.program import Rows, Value, aten, evaluate, in_order
from zforcing.recurrence.rows import require_independent_rows
from zforcing.recurrence.trace import Untraceable, trace
from zforcing.testing import random_batch

N, D = Rows(), 3
PRODUCTS = (aten.mm.default, aten.addmm.default)


def traced(f: Callable[..., Any], *sizes: int) -> tuple[list[Value], Any]:
    """f of arguments [n, size], as a program whose rows are independent."""
    inputs, results = trace(f, lambda rows: [torch.ones(rows, size) for size in sizes], [f"x{i}" for i in range(9)])
    leaves = list(results) if isinstance(results, list | tuple) else [results]
    require_independent_rows(leaves, {v: torch.ones(5, size) for v, size in zip(inputs, sizes, strict=True)})
    return inputs, results


def functions(*values: Value) -> list[Any]:
    return [v.function for v in in_order(values) if v.function is not None]


# ---- programs


def test_a_program_has_the_functions_values_for_any_number_of_rows() -> None:
    net = nn.Sequential(nn.Linear(D, 4), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 2)).requires_grad_(False)
    (x,), result = traced(lambda x: net(x).softmax(-1), D)
    for rows in (1, 2, 11):
        known: dict[Value, Any] = {x: torch.randn(rows, D)}
        evaluate([result], known, rows=rows)
        torch.testing.assert_close(known[result], net(known[x]).softmax(-1))


def test_sizes_in_proportion_to_the_rows_are_told_from_numbers() -> None:
    _, result = traced(lambda x: x.new_zeros(len(x), 5) + x.sum(-1, keepdim=True), D)
    assert result.shape == (N, 5)
    (_, blocks) = traced(lambda x: x.reshape(-1, 1).tanh(), D)
    assert blocks.shape == (Rows(3), 1)


def test_equal_operations_are_computed_once_and_random_ones_each_time() -> None:
    _, (a, b) = traced(lambda x: (x.tanh(), x.tanh()), D)
    assert a is b
    _, (a, b) = traced(lambda x: (torch.rand_like(x), torch.rand_like(x)), D)
    assert a is not b
    assert a.is_random
    _, (a, b) = traced(lambda x: (F.dropout(x).tanh(), F.dropout(x).tanh()), D)
    assert functions(a, b).count(aten.bernoulli.p) == 2


def test_views_that_change_nothing_are_left_out() -> None:
    (x,), result = traced(lambda x: x[:, None].expand(-1, 1, -1).squeeze(1).reshape(len(x), D)[:, 0:D], D)
    assert result is x
    (x, y), result = traced(lambda x, y: torch.cat([x, y], dim=-1)[:, D:], D, 2)
    assert result is y


GRU, WEIGHT = nn.GRU(D, 4, dtype=torch.float64).requires_grad_(False), torch.ones(D, D, dtype=torch.float64)


@pytest.mark.parametrize(
    ("f", "products"),
    [
        pytest.param(lambda x: GRU(x[None])[0][0], 2, id="a recurrent layer of one step"),
        pytest.param(lambda x: torch.einsum("ni,ij->nj", x, WEIGHT), 1, id="einsum"),
    ],
)
def test_a_layer_with_a_dimension_of_time_is_one_of_rows(f: Callable[..., Any], products: int) -> None:
    _, result = traced(f, D)
    assert all(
        isinstance(v.shape[0], Rows) or not any(isinstance(n, Rows) for n in v.shape) for v in in_order([result])
    )
    assert sum(f in PRODUCTS for f in functions(result)) == products


# ---- what can't be written as a program of rows


def _sets_a_column(x: Tensor) -> Tensor:
    y = x + 1
    y[:, 0] = 0
    return y


def _reads_later(x: Tensor) -> Tensor:
    y = x + 1
    view = y[:, 0]
    y.mul_(2)
    return view


def _branches(x: Tensor) -> Tensor:
    return x if x.sum() > 0 else -x


LEARNED = torch.ones(D, requires_grad=True)
REFUSED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "a mean over the batch": (lambda x: x - x.mean(0), r"aten\.mean\.dim mixes the rows"),
    "a cumulative sum": (lambda x: x.cumsum(0), r"aten\.cumsum\.default mixes the rows"),
    "one from the end": (lambda x: x.flip(0).cumsum(0).flip(0), r"aten\.flip\.default mixes the rows"),
    "a softmax over the batch": (lambda x: x.softmax(0), r"aten\._softmax\.default mixes the rows"),
    "batch normalization": (
        lambda x: F.batch_norm(x, None, None, training=True),
        r"aten\.native_batch_norm\.default mixes the rows",
    ),
    "the first row": (lambda x: x - x[:1], r"aten\.slice\.Tensor mixes the rows"),
    "the number of rows": (lambda x: x / len(x), r"aten\.div\.Tensor .* depends on how many there are"),
    "the number of a row": (lambda x: x + torch.arange(len(x))[:, None], r"aten\.arange.* depends on how many"),
    "rows as columns": (lambda x: (WEIGHT @ x.t()).t(), r"aten\.t\.default has the rows .* another dimension"),
    "noise that rows share": (lambda x: x + torch.randn(D), r"aten\.randn\.default draws numbers that all rows"),
    "a number of a tensor": (lambda x: x * x.max().item(), r"aten\._local_scalar_dense\.default depends on the values"),
    "a choice of rows": (lambda x: x[x[:, 0] > 0], r"aten\.index\.Tensor depends on the values"),
    "a branch": (_branches, r"line \d+ of test_recurrence\.py, `return x if x\.sum\(\) > 0 .* depends on the values"),
    "numpy": (lambda x: torch.from_numpy(x.numpy() + 1), r"test_recurrence\.py, .*numpy"),
    "an argument that is changed": (
        lambda x: x.add_(1),
        r"aten\.add_\.Tensor changes in place a tensor",
    ),
    "a column that is changed": (_sets_a_column, r"aten\.fill_\.Tensor changes in place what is read later"),
    "a view of what is changed": (_reads_later, r"aten\.mul_\.Tensor changes in place what is read later"),
    "a hidden parameter": (lambda x: x * LEARNED, r"a tensor with a gradient is read that is no argument"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_program_of_rows_is_refused_by_name(name: str) -> None:
    f, says = REFUSED[name]
    with pytest.raises(Untraceable, match=says):
        traced(f, D)


@pytest.mark.parametrize(
    "f", [lambda x: (x + 1).mul_(2), lambda x: torch.relu_(x + 1), lambda x: (x + 1).masked_fill_(x > 0, 0.0)]
)
def test_an_operation_in_place_on_what_the_step_made_is_one_that_returns_it(f: Callable[..., Any]) -> None:
    (x,), result = traced(f, D)
    known: dict[Value, Any] = {x: torch.randn(4, D)}
    evaluate([result], known, rows=4)
    torch.testing.assert_close(known[result], f(known[x]))


# ---- plans of steps that are written here


def plan(
    step: Callable[..., Any], state: dict[str, int], given: Sequence[int], weights: Sequence[Sequence[int]]
) -> Plan:
    """The plan of step(state by name, given, weights) -> (the new state in its order, what is wanted)."""

    def example(rows: int) -> list[Any]:
        tensors = [[torch.ones(rows, size) for size in sizes] for sizes in (state.values(), given)]
        return [*tensors, [torch.ones(*shape) for shape in weights]]

    def f(fields: list[Tensor], given: list[Tensor], weights: list[Tensor]) -> Any:
        return step(dict(zip(state, fields, strict=True)), *given, *weights)

    names = [*state, *(f"given{i}" for i in range(len(given))), *(f"weight{i}" for i in range(len(weights)))]
    inputs, (new, wanted) = trace(f, example, names)
    first = {name: Value(f"first {name}", shape=(N, size)) for name, size in state.items()}
    return make_plan(
        Recurrence(
            state=dict(zip(state, inputs, strict=False)),
            new=dict(zip(state, new, strict=True)),
            first=first,
            outputs=tuple(wanted),
        )
    )


def products_of(values: Sequence[Value]) -> list[tuple[Any, ...]]:
    """The sizes [in, out] of the matrices that rows are multiplied with."""
    return [v.args[-1].shape for v in values if v.function in PRODUCTS and v.has_rows]


def test_a_field_that_depends_on_no_state_is_seen_one_step_late() -> None:
    found = plan(lambda s, x, w: ([x.tanh(), torch.tanh(s["h"] * w + s["e"])], [s["h"]]), {"e": D, "h": D}, [D], [[D]])
    assert [loop.fields for loop in found.loops] == [("h",)]
    (late,) = found.loops[0].given
    assert late.name == "shift"
    assert functions(late)[0] is aten.tanh.default


def test_fields_that_need_each_other_are_one_loop_after_those_that_they_read() -> None:
    def step(s: dict[str, Tensor], x: Tensor) -> Any:
        return [s["b"] + s["c"], s["a"] * s["b"], s["c"].tanh() + x, s["a"]], [s["d"].exp()]

    found = plan(step, {"a": D, "b": D, "c": D, "d": D}, [D], [])
    assert [loop.fields for loop in found.loops] == [("c",), ("a", "b")]  # d holds an a: no loop
    assert found.loops[1].given[0] is found.loops[0].before[0]


def test_what_no_loop_needs_at_each_step_is_in_none() -> None:
    found = plan(lambda s, x, w: ([torch.tanh(s["h"] + x)], [(s["h"] @ w).exp()]), {"h": D}, [D], [[D, 9]])
    assert {v.function for v in found.loops[0].body} == {aten.add.Tensor, aten.tanh.default}
    assert aten.exp.default in functions(*found.outputs)


def test_a_linear_map_of_a_concatenation_is_split() -> None:
    """W [x, h] = U x + V h: of all steps at once, and in the loop."""
    found = plan(
        lambda s, x, w, b: ([torch.tanh(F.linear(torch.cat([x, s["h"]], -1), w, b))], []),
        {"h": 4},
        [D],
        [[4, D + 4], [4]],
    )
    (loop,) = found.loops
    assert products_of(loop.body) == [(4, 4)]
    assert [products_of(in_order([value])) for value in loop.ahead] == [[(D, 4)]]
    assert aten.cat.default not in functions(*loop.results)


@pytest.mark.parametrize(("middle", "inside"), [(20, [(4, 4)]), (1, [(4, 1), (1, 4)])])
def test_two_linear_maps_in_a_row_are_one_where_that_is_less_work(middle: int, inside: list[tuple[int, int]]) -> None:
    def step(s: dict[str, Tensor], v: Tensor, a: Tensor, w: Tensor) -> Any:
        return [torch.tanh(F.linear(F.linear(s["h"], v, a), w))], []

    (loop,) = plan(step, {"h": 4}, [], [[middle, 4], [middle], [4, middle]]).loops
    assert products_of(loop.body) == inside


def test_random_numbers_that_need_no_state_are_drawn_once_for_all_that_read_them() -> None:
    def step(s: dict[str, Tensor], x: Tensor) -> Any:
        dropped = F.dropout(x)
        return [torch.tanh(s["h"] + dropped)], [dropped]

    found = plan(step, {"h": D}, [D], [])
    (loop,) = found.loops
    assert not any(v.is_random for v in loop.body)
    assert loop.given == found.outputs


# ---- plans of models


def loops_of(case: Case, monkeypatch: pytest.MonkeyPatch, **given: Any) -> list[tuple[str, ...]]:
    """The fields of all loops that a run of a model has, in order."""
    plans: list[Plan] = []

    def keep(step: Recurrence) -> Plan:
        plans.append(make_plan(step))
        return plans[-1]

    monkeypatch.setattr(planned_step, "make_plan", keep)
    monkeypatch.setattr(trace_cache, "_SHARED", {})
    model, batch = case.build(SPECS["real"]), random_batch(SPECS["real"])
    model.unroll(batch, **{name: f(model, batch) for name, f in given.items()})
    return [loop.fields for one in plans for loop in one.loops]


def latents(model: Any, batch: SequenceBatch) -> Tensor:
    return torch.zeros(*batch.x.shape[:2], model.latent_size)


@pytest.mark.parametrize(
    ("case", "given", "fields"),
    [
        (Case("zforcing", ZF_SIZE), {}, [("h", "c")]),
        (Case("zforcing", ZF_SIZE | {"posterior": "parallel"}), {}, [("a", "a_c"), ("h", "c")]),
        (Case("srnn", SRNN_SIZE), {}, [("d",), ("z",)]),
        (Case("srnn", SRNN_SIZE), {"latents": latents}, [("d",)]),
        (Case("zforcing", ZF_SIZE), {"latents": latents}, [("h", "c")]),
        (Case("linear_gaussian", {"latent_size": 2, "mlp_size": 4, "proposal": "smoothing"}), {"latents": latents}, []),
    ],
    ids=lambda part: str(part) if isinstance(part, Case) else "-".join(map(str, part)),
)
def test_the_loops_of_a_model(
    case: Case, given: dict[str, Any], fields: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loops_of(case, monkeypatch, **given) == fields


# ---- dropout


SIZES = Sizes()


class TwoReaders(NamedTuple):
    """e: what was seen, dropped out. h: all that was seen, dropped out at each step."""

    e: Tensor
    h: Tensor


class Dropping(Stranger):
    """Prior and emission say what they read."""

    name = "dropping"

    def __init__(self, spec: ObservationSpec, config: Sizes = SIZES):
        super().__init__(spec, config)
        self.dropout, self.scale = nn.Dropout(0.5), nn.Parameter(torch.rand(spec.size) + 0.5)

    def initial_state(self, n: int, *, start: Tensor | None = None) -> TwoReaders:
        zeros = self.scale.new_zeros(n, self.spec.size)
        return TwoReaders(self.dropout(zeros + 1) * self.scale, zeros)

    def encode(self, batch: SequenceBatch, *, state: Any = None) -> Tensor:
        return batch.x

    def prior(self, state: TwoReaders) -> Distribution:
        return Independent(Normal(state.e, 1.0), 1)

    def posterior(self, state: TwoReaders, context: Tensor) -> Distribution:
        return Independent(Normal(state.h, 1.0), 1)

    def after_latent(self, state: TwoReaders, z: Tensor) -> TwoReaders:
        return state._replace(h=self.dropout(0.5 * state.h + state.e))

    def emission(self, state: TwoReaders) -> Distribution:
        return Independent(Normal(torch.cat([state.e, state.h], dim=-1)[:, :D], 1.0), 1)

    def after_observation(self, state: TwoReaders, x: Tensor) -> TwoReaders:
        return state._replace(e=self.dropout(self.scale * x))


def dropping() -> tuple[Dropping, SequenceBatch]:
    return Dropping(SPECS["real"]).double().train(), random_batch(SPECS["real"], (40, 40))


def test_all_that_reads_an_observation_sees_one_mask_of_dropout() -> None:
    model, batch = dropping()
    run = model.unroll(batch)
    assert torch.equal(run.prior.mean, run.emission.mean)
    assert 0.3 < (run.prior.mean == 0).double().mean() < 0.7
    assert not torch.equal(run.prior.mean[0, 1:] == 0, run.prior.mean[0, :-1] == 0)  # another mask at each step


def test_a_loop_is_differentiated_with_the_masks_of_its_values() -> None:
    """What is linear in the scale is its product with the gradient by it (Euler)."""
    model, batch = dropping()
    total = (model.unroll(batch).posterior.mean * torch.randn(2, 40, D)).sum()
    total.backward()
    assert model.scale.grad is not None
    torch.testing.assert_close((model.scale * model.scale.grad).sum(), total)
