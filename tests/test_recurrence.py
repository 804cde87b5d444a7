"""The fast loop: every equation against autograd's own record of the same step, and what the loop does around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zforcing.distributions import diagonal_gaussian, gaussian_log_prob
from zforcing.nn import GaussianHead, lstm_update, standardize
from zforcing.recurrence import Loop, equations, loop, products
from zforcing.runtime import chunks

T, B, H, Z = 6, 3, 4, 2
Steps = Callable[..., Sequence[Tensor]]


def numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 1000 * len(shape) + sum(shape))
    return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).requires_grad_()


def gradients(outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> list[Tensor]:
    weights = [torch.randn(o.shape, generator=torch.Generator().manual_seed(i)) for i, o in enumerate(outputs)]
    total = sum((w * o).sum() for w, o in zip(weights, outputs, strict=True))
    found = torch.autograd.grad(total, leaves, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(v) if g is None else g for g, v in zip(found, leaves, strict=True)]


def assert_equal(fast: Steps, slow: Steps, leaves: list[Tensor]) -> None:
    """Values and the gradient of every leaf."""
    found, expected = fast(*leaves), slow(*leaves)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    for one, other in zip(gradients(found, leaves), gradients(expected, leaves), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)
        assert other.any(), "a leaf without a gradient tests nothing"


@pytest.fixture(params=[1000, 2], ids=["one block", "blocks of two steps"], autouse=True)
def rows_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's blocks: all steps, or some, so that the last block is shorter or not."""
    monkeypatch.setattr(loop, "ROWS_AT_ONCE", request.param * B if request.param == 2 else request.param)


# ---- each equation, in a recurrence h_t = f(h_{t-1}) around it


@pytest.mark.parametrize("steps", [1, 5, 6])
def test_linear_of_a_carried_value(steps: int) -> None:
    leaves = [numbers(B, H), numbers(H, H, scale=0.5), numbers(H, seed=1)]

    def fast(h0: Tensor, W: Tensor, b: Tensor) -> Sequence[Tensor]:
        run = Loop(steps=steps, rows=B)
        h = run.carried(h0)
        h_t = equations.linear(run, h, W, bias=b)
        run.carry(h, h_t)
        return run.run(h, h_t)

    def slow(h: Tensor, W: Tensor, b: Tensor) -> Sequence[Tensor]:
        hs = [h]
        for _ in range(steps):
            hs.append(F.linear(hs[-1], W, b))
        return torch.stack(hs[:-1]), torch.stack(hs[1:])

    assert_equal(fast, slow, leaves)


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("biased", [True, False])
def test_linear_with_what_is_given_at_every_step(copies: int, biased: bool) -> None:
    """y = W h + V u_t + b; u has fewer rows than the loop when each has copies."""
    n = copies * B
    leaves = [numbers(n, H), numbers(H, H, scale=0.5), numbers(T, B, 2), numbers(H, 2), numbers(H)][: 4 + biased]

    def fast(h0: Tensor, W: Tensor, u: Tensor, V: Tensor, b: Tensor | None = None) -> Sequence[Tensor]:
        run = Loop(steps=T, rows=n)
        h = run.carried(h0)
        h_t = equations.linear(run, h, W, bias=b, given=u, given_weight=V)
        run.carry(h, h_t)
        return run.run(h_t)

    def slow(h: Tensor, W: Tensor, u: Tensor, V: Tensor, b: Tensor | None = None) -> Sequence[Tensor]:
        hs = []
        for u_t in u.repeat(1, copies, 1).unbind(0):
            h = F.linear(h, W, b) + F.linear(u_t, V)
            hs.append(h)
        return (torch.stack(hs),)

    assert_equal(fast, slow, leaves)


@pytest.mark.parametrize("is_output", [True, False])
@pytest.mark.parametrize("size", [Z, 2 * Z])
def test_the_first_columns_of_one_value_added_to_another(size: int, *, is_output: bool) -> None:
    """z_t += x[:, :Z], of which x may be an output too."""
    noise = numbers(T, B, Z).detach()
    leaves = [numbers(B, Z), numbers(2 * Z, Z, scale=0.5), numbers(size, Z, scale=0.5)]

    def fast(z0: Tensor, W: Tensor, V: Tensor) -> Sequence[Tensor]:
        run = Loop(steps=T, rows=B)
        z = run.carried(z0)
        parameters, x = equations.linear(run, z, W), equations.linear(run, z, V)
        equations.clamp(run, x, 0.5)
        z_t = equations.sample(run, parameters, noise)
        equations.add_first(run, z_t, x)
        run.carry(z, z_t)
        return run.run(z_t, parameters, *[x] * is_output)

    def slow(z: Tensor, W: Tensor, V: Tensor) -> Sequence[Tensor]:
        zs, all_parameters, xs = [], [], []
        for e in noise:
            parameters, x = F.linear(z, W), F.linear(z, V).clamp(-0.5, 0.5)
            mean, log_variance = parameters.chunk(2, dim=-1)
            z = mean + x[:, :Z] + torch.exp(log_variance / 2) * e
            zs.append(z)
            all_parameters.append(parameters)
            xs.append(x)
        return [torch.stack(v) for v in (zs, all_parameters, *[xs] * is_output)]

    assert_equal(fast, slow, leaves)


@pytest.mark.parametrize(("slope", "limit"), [(1 / 3, 0.7), (0.0, None)])
@pytest.mark.parametrize("layers", [1, 3])
def test_a_net_of_several_layers(layers: int, slope: float, limit: float | None) -> None:
    """h_t = MLP([h_{t-1}, u_t]) with leaky ReLUs or ReLUs, as its module computes it."""
    torch.manual_seed(0)
    net = GaussianHead(H + 2, 5, H // 2, limit=None, layers=layers, slope=slope, activation_limit=limit)
    leaves = [numbers(B, H), numbers(T, B, 2), *net.parameters()]

    def fast(h0: Tensor, u: Tensor, *_: Tensor) -> Sequence[Tensor]:
        run = Loop(steps=T, rows=B)
        h = run.carried(h0)
        h_t = net.record_joint(run, h, u)
        run.carry(h, h_t)
        return run.run(h_t)

    def slow(h: Tensor, u: Tensor, *_: Tensor) -> Sequence[Tensor]:
        hs = []
        for u_t in u:
            h = net.parameters_of(torch.cat([h, u_t], dim=-1))
            hs.append(h)
        return (torch.stack(hs),)

    assert_equal(fast, slow, leaves)


@pytest.mark.parametrize("limit", [None, 0.7])
def test_activation_clamp_and_sample(limit: float | None) -> None:
    """z_t from a net of z_{t-1}; its parameters are an output too, and get a gradient from outside."""
    noise = numbers(T, B, Z).detach()
    leaves = [numbers(B, Z), numbers(H, Z), numbers(2 * Z, H, scale=0.5), numbers(2 * Z)]

    def fast(z0: Tensor, W: Tensor, V: Tensor, b: Tensor) -> Sequence[Tensor]:
        run = Loop(steps=T, rows=B)
        z = run.carried(z0)
        hidden = equations.linear(run, z, W)
        equations.leaky_relu(run, hidden, 1 / 3)
        equations.clamp(run, hidden, limit)
        parameters = equations.linear(run, hidden, V, bias=b)
        equations.clamp(run, parameters, limit)
        z_t = equations.sample(run, parameters, noise)
        run.carry(z, z_t)
        return run.run(z_t, parameters)

    def slow(z: Tensor, W: Tensor, V: Tensor, b: Tensor) -> Sequence[Tensor]:
        zs, all_parameters = [], []
        bound = (lambda v: v) if limit is None else (lambda v: v.clamp(-limit, limit))
        for e in noise:
            parameters = bound(F.linear(bound(F.leaky_relu(F.linear(z, W), 1 / 3)), V, b))
            mean, log_variance = parameters.chunk(2, dim=-1)
            z = mean + torch.exp(log_variance / 2) * e
            zs.append(z)
            all_parameters.append(parameters)
        return torch.stack(zs), torch.stack(all_parameters)

    assert_equal(fast, slow, leaves)


def lstm_of_given(run: Loop, h: loop.Value, c: loop.Value, leaves: Sequence[Tensor]) -> Sequence[loop.Value]:
    W, u, V, z, Wz = leaves
    gates = equations.linear(run, h, W, given=u, given_weight=V)
    equations.add_linear(run, gates, equations.given(run, z), Wz)
    return equations.lstm(run, gates, c)


LSTM_LEAVES = [numbers(4 * H, H), numbers(T, B, 3), numbers(4 * H, 3), numbers(T, B, Z), numbers(4 * H, Z)]


def test_lstm_with_two_carried_values_and_a_given_one() -> None:
    leaves = [numbers(B, H), numbers(B, H, seed=1), *LSTM_LEAVES]

    def fast(h0: Tensor, c0: Tensor, *rest: Tensor) -> Sequence[Tensor]:
        run = Loop(steps=T, rows=B)
        h, c = run.carried(h0), run.carried(c0)
        h_t, c_t = lstm_of_given(run, h, c, rest)
        run.carry(h, h_t)
        run.carry(c, c_t)
        return run.run(h, h_t, c_t)

    def slow(h: Tensor, c: Tensor, W: Tensor, u: Tensor, V: Tensor, z: Tensor, Wz: Tensor) -> Sequence[Tensor]:
        before, hs, cs = [], [], []
        for u_t, z_t in zip(u, z, strict=True):
            before.append(h)
            h, c = lstm_update(F.linear(h, W) + F.linear(u_t, V) + F.linear(z_t, Wz), c)
            hs.append(h)
            cs.append(c)
        return torch.stack(before), torch.stack(hs), torch.stack(cs)

    assert_equal(fast, slow, leaves)
    assert_equal(
        lambda *v: fast_with_c_before(*v),
        lambda *v: [torch.cat([v[1][None], slow(*v)[2][:-1]])],
        leaves,
    )


def fast_with_c_before(h0: Tensor, c0: Tensor, *rest: Tensor) -> Sequence[Tensor]:
    """c_{t-1} of every step, whose gradient comes from outside alone."""
    run = Loop(steps=T, rows=B)
    h, c = run.carried(h0), run.carried(c0)
    h_t, c_t = lstm_of_given(run, h, c, rest)
    run.carry(h, h_t)
    run.carry(c, c_t)
    return run.run(c)


def test_a_cell_state_that_another_equation_reads_is_refused() -> None:
    leaves = [numbers(B, H), numbers(B, H, seed=1), *LSTM_LEAVES]
    run = Loop(steps=T, rows=B)
    h, c = run.carried(leaves[0]), run.carried(leaves[1])
    h_t, c_t = lstm_of_given(run, h, c, leaves[2:])
    later = equations.linear(run, c, numbers(H, H))
    run.carry(h, h_t)
    run.carry(c, c_t)
    assert later.size == H
    with pytest.raises(ValueError, match="only one equation can read"):
        run.run(h_t)[0].sum().backward()


@pytest.mark.parametrize("copies", [1, 2])
def test_standardize_and_modulate(copies: int) -> None:
    n = copies * B
    leaves = [numbers(n, H), numbers(H, H), numbers(2 * H, H), numbers(T, B, H)]

    def fast(h0: Tensor, W: Tensor, V: Tensor, u: Tensor) -> Sequence[Tensor]:
        run = Loop(steps=T, rows=n)
        h = run.carried(h0)
        hidden = equations.linear(run, h, W)
        equations.standardize(run, hidden)
        h_t = equations.modulate(run, hidden, equations.linear(run, h, V), u)
        equations.clamp(run, h_t, 2.0)
        run.carry(h, h_t)
        return run.run(h_t)

    def slow(h: Tensor, W: Tensor, V: Tensor, u: Tensor) -> Sequence[Tensor]:
        hs = []
        for u_t in u.repeat(1, copies, 1):
            gain, bias = F.linear(h, V).chunk(2, dim=-1)
            h = (u_t + (1 + gain) * standardize(F.linear(h, W)) + bias).clamp(-2, 2)
            hs.append(h)
        return (torch.stack(hs),)

    assert_equal(fast, slow, leaves)


# ---- what the loop does around them


@pytest.mark.parametrize("sees", [True, False])
def test_rows_that_are_selected_carry_their_gradient_back(sees: bool) -> None:
    """After some steps rows go on from others: a row that two go on from gets both their gradients, a lost one none."""
    chosen = {0: torch.tensor([2, 2, 0]), 3: torch.tensor([1, 1, 1])}
    leaves = [numbers(B, H), numbers(B, H, seed=1), *LSTM_LEAVES]
    asked: list[int] = []

    def fast(h0: Tensor, c0: Tensor, *rest: Tensor) -> Sequence[Tensor]:
        run = Loop(steps=T, rows=B)
        h, c = run.carried(h0), run.carried(c0)
        h_t, c_t = lstm_of_given(run, h, c, rest)
        run.carry(h, h_t)
        run.carry(c, c_t)

        def choose(t: int, values: Sequence[Tensor]) -> Tensor | None:
            asked.append(t)
            assert not sees or [v.shape for v in values] == [(B, H), (B, H)]
            return chosen.get(t)

        run.select(choose, [h, h_t] if sees else [])
        return run.run(h, h_t, c_t)

    def slow(h: Tensor, c: Tensor, W: Tensor, u: Tensor, V: Tensor, z: Tensor, Wz: Tensor) -> Sequence[Tensor]:
        before, hs, cs = [], [], []
        for t, (u_t, z_t) in enumerate(zip(u, z, strict=True)):
            before.append(h)
            h, c = lstm_update(F.linear(h, W) + F.linear(u_t, V) + F.linear(z_t, Wz), c)
            hs.append(h)
            cs.append(c)
            if t in chosen:
                h, c = h[chosen[t]], c[chosen[t]]
        return torch.stack(before), torch.stack(hs), torch.stack(cs)

    assert_equal(fast, slow, leaves)
    assert asked == list(range(T - 1)), "not after the last step"


def plain_lstm(leaves: Sequence[Tensor]) -> Sequence[Tensor]:
    run = Loop(steps=T, rows=B)
    h, c = run.carried(leaves[0]), run.carried(leaves[1])
    h_t, c_t = lstm_of_given(run, h, c, leaves[2:])
    run.carry(h, h_t)
    run.carry(c, c_t)
    return run.run(h_t)


def test_without_gradients_the_values_are_the_same_and_less_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    leaves, taken = [numbers(B, H), numbers(B, H, seed=1), *LSTM_LEAVES], []
    allocate = loop.Execution.allocate
    monkeypatch.setattr(
        loop.Execution,
        "allocate",
        lambda run: (allocate(run), taken.append(sum({m.data_ptr(): m.numel() for m in run.memory}.values()))),
    )
    (with_gradients,) = plain_lstm(leaves)
    with torch.no_grad():
        (without,) = plain_lstm(leaves)
    assert torch.equal(with_gradients, without)
    assert not without.requires_grad
    assert taken[1] < taken[0]


def test_a_graph_that_is_retained_can_be_gone_through_twice_and_no_other_can() -> None:
    leaves = [numbers(B, H), numbers(B, H, seed=1), *LSTM_LEAVES]
    (hs,) = plain_lstm(leaves)
    first = torch.autograd.grad(hs.sum(), leaves, retain_graph=True)
    second = torch.autograd.grad(hs.sum(), leaves)
    assert all(map(torch.equal, first, second))
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(hs.sum(), leaves)


def test_a_tensor_that_needs_no_gradient_gets_none() -> None:
    leaves = [numbers(B, H), numbers(B, H, seed=1), *(v.detach() for v in LSTM_LEAVES)]
    (hs,) = plain_lstm(leaves)
    hs.sum().backward()
    assert leaves[0].grad is not None
    assert all(v.grad is None for v in leaves[2:])


def test_an_output_that_nothing_in_the_loop_reads_is_refused_in_the_backward_pass() -> None:
    run = Loop(steps=T, rows=B)
    h = run.carried(numbers(B, H))
    h_t = equations.linear(run, h, numbers(H, H))
    run.carry(h, h_t)
    idle = equations.linear(run, h, numbers(2, H))
    (values,) = run.run(idle)
    with pytest.raises(ValueError, match="belongs after the loop"):
        values.sum().backward()


def test_noise_that_wants_a_gradient_is_refused() -> None:
    run = Loop(steps=T, rows=B)
    parameters = equations.linear(run, run.carried(numbers(B, H)), numbers(2 * Z, H))
    with pytest.raises(ValueError, match="noise gets no gradient"):
        equations.sample(run, parameters, numbers(T, B, Z))


def test_no_gradient_of_a_gradient_is_claimed() -> None:
    leaves = [numbers(B, H), numbers(B, H, seed=1), *LSTM_LEAVES]
    (hs,) = plain_lstm(leaves)
    (first,) = torch.autograd.grad(hs.square().sum(), leaves[:1], create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable|differentiated twice"):
        first.sum().backward()


# ---- products


@pytest.mark.parametrize("add", ["nothing", "a bias", "itself", "another"])
def test_a_prepared_product_is_the_product(add: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed by oneDNN where this machine can, as plain BLAS, and in bfloat16."""
    weight, x = numbers(8, 5).detach().float(), numbers(3, 5).detach().float()
    torch.set_default_dtype(torch.float32)
    given = {"nothing": None, "a bias": torch.ones(8), "itself": torch.ones(3, 8), "another": torch.ones(3, 8)}[add]
    expected = x @ weight.t() + (0 if given is None else 1)
    for packed_from, lower, tolerance in ((10**9, None, 1e-6), (1, None, 1e-6), (1, torch.bfloat16, 0.1)):
        monkeypatch.setattr(products, "PACKED_FROM", packed_from)
        out = given.clone() if add == "itself" and given is not None else torch.empty(3, 8)
        products.prepare(weight, lower=lower)(x, out, out if add == "itself" else given)
        torch.testing.assert_close(out, expected, rtol=0, atol=tolerance)
        assert lower is None or not torch.equal(out, expected)


def test_a_build_of_torch_without_packed_products_uses_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "PACKED_FROM", 1)
    monkeypatch.setattr(products, "_packed", lambda weight: (_ for _ in ()).throw(AttributeError("no such operator")))
    products._can_pack.cache_clear()
    try:
        assert not products._can_pack()
        torch.set_default_dtype(torch.float32)
        out = torch.empty(2, 4)
        products.prepare(torch.ones(4, 3))(torch.ones(2, 3), out, None)
        assert (out == 3).all()
    finally:
        products._can_pack.cache_clear()


# ---- densities in chunks


def test_what_is_taken_in_chunks_is_what_is_taken_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    leaves = [numbers(T, B, H), numbers(T, B, H, seed=1)]

    def f(a: Tensor, b: Tensor) -> Tensor:
        return (a * b.exp()).sum(-1)

    for at_once in (1, 2 * B * H, 10**9):
        monkeypatch.setattr(chunks, "AT_ONCE", at_once)
        assert_equal(lambda a, b: (chunks.in_chunks(f, a, b),), lambda a, b: (f(a, b),), leaves)
    monkeypatch.setattr(chunks, "AT_ONCE", 1)
    fixed = leaves[1].detach()
    (gradient,) = torch.autograd.grad(chunks.in_chunks(f, leaves[0], fixed).sum(), leaves[0])
    torch.testing.assert_close(gradient, fixed.exp())


def test_the_gaussian_log_density_from_a_log_variance_is_torchs() -> None:
    leaves = [numbers(T, B, H), numbers(T, B, H, seed=1), numbers(T, B, H, seed=2)]
    assert_equal(
        lambda x, m, v: (gaussian_log_prob(x, m, v),), lambda x, m, v: (diagonal_gaussian(m, v).log_prob(x),), leaves
    )
