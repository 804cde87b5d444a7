"""The equations of a step, each with its gradient, for buffers that are reused.

In formulas x, y, z are values at step t, [n, F], and d(.) is the gradient of the loss. In-place equations overwrite
their argument by the result, and the result's gradient by the argument's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .loop import Block, Equation, Execution, Loop, Step, Value
from .products import add_matmul, matmul, prepare

sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
tanh_backward = torch.ops.aten.tanh_backward.grad_input
leaky_relu_backward = torch.ops.aten.leaky_relu_backward.grad_input
hardtanh_backward = torch.ops.aten.hardtanh_backward.grad_input


def linear(
    loop: Loop,
    x: Value,
    weight: Tensor,
    *,
    bias: Tensor | None = None,
    given: Tensor | None = None,
    given_weight: Tensor | None = None,
) -> Value:
    """W x + b, or W x + V u_t + b: weight W [G, F], bias b [G]; given u [T, m, E], m rows with K copies each, and V."""
    y = loop.value(weight.shape[0])
    y.buffer.begins_ahead = given is not None
    b, u, V = (None if tensor is None else loop.tensor(tensor) for tensor in (bias, given, given_weight))
    loop.add(AffineMap(x, loop.tensor(weight), y, bias=b, given=u, given_weight=V))
    y.buffer.gradient_is_read_back = True
    return y


def add_linear(loop: Loop, y: Value, x: Value, weight: Tensor) -> None:
    """y += W x, in place; y is a result of `linear`."""
    loop.add(AffineMap(x, loop.tensor(weight), y, into=True))


def add_first(loop: Loop, y: Value, x: Value) -> None:
    """y += x[:, :F], in place; y [n, F], x [n, F or more]."""
    loop.add(AddFirst(x, y))


def leaky_relu(loop: Loop, x: Value, slope: float) -> None:
    """x = max(x, slope x), in place."""
    loop.add(LeakyReLU(x, slope))


def clamp(loop: Loop, x: Value, limit: float | None) -> None:
    """x clamped to [-limit, limit], in place; None does nothing."""
    if limit is not None:
        loop.add(Clamp(x, limit))


def given(loop: Loop, values: Tensor) -> Value:
    """values_t, of values [T, n, F] that are known before the loop."""
    y = loop.value(values.shape[-1])
    y.buffer.gradient_is_read_back = True
    loop.add(Given(loop.tensor(values), y))
    return y


def sample(loop: Loop, parameters: Value, noise: Tensor) -> Value:
    """z = mean + exp(log_variance / 2) noise_t; parameters [n, 2 Z] are mean and log-variance.

    Raises ValueError for noise that requires a gradient: it gets none here.
    """
    if noise.requires_grad and torch.is_grad_enabled():
        raise ValueError("noise gets no gradient in the fast loop: detach it, or take model.backend = 'reference'")
    z = loop.value(parameters.size // 2)
    loop.add(Sample(parameters, loop.tensor(noise), z))
    return z


def lstm(loop: Loop, gates: Value, c: Value) -> tuple[Value, Value]:
    """h_t, c_t from c_{t-1} and the gates [n, 4H] before activation: input, forget, cell, output."""
    h_t, c_t = loop.value(c.size), loop.value(c.size)
    loop.add(LSTM(gates, c, h_t, c_t))
    return h_t, c_t


def standardize(loop: Loop, x: Value) -> None:
    """(x - mean) / sqrt(unbiased variance + 1e-5) over the features, in place."""
    loop.add(Standardize(x))


def modulate(loop: Loop, x: Value, gain_and_bias: Value, given: Tensor) -> Value:
    """given_t + (1 + gain) x + bias; gain_and_bias [n, 2 F]."""
    y = loop.value(x.size)
    y.buffer.gradient_is_read_back = True
    gain, bias = gain_and_bias.split(x.size, x.size)
    loop.add(Modulate(x, gain, bias, loop.tensor(given), y))
    return y


def over_copies(gradient: Tensor, rows: int) -> Tensor:
    """Sum over the K copies of each row, [T, K m, F] -> [T, m, F]."""
    return gradient if gradient.shape[1] == rows else gradient.unflatten(1, (-1, rows)).sum(1)


@dataclass
class AffineMap(Equation):
    """y = W x + b, y = W x + V u_t + b, or y += W x.

    dx = W^T dy at every step; dW = sum_t dy x^T, dV = sum_t dy u_t^T, db = sum_t dy and du_t = V^T dy by blocks.
    """

    x: Value
    weight: int
    y: Value
    bias: int | None = None
    given: int | None = None
    given_weight: int | None = None
    into: bool = False

    def forward(self, run: Execution) -> Step:
        x, y = run.each(self.x), run.each(self.y)
        product = prepare(run.tensors[self.weight], lower=run.lower)
        if self.into or self.given is not None:
            return lambda t: product(x[t], y[t], y[t])
        bias = None if self.bias is None else run.tensors[self.bias]
        return lambda t: product(x[t], y[t], bias)

    def ahead(self, run: Execution) -> Block | None:
        """V u_t + b, the same for all copies of a row."""
        if self.given is None or self.given_weight is None:
            return None
        u, V, y = run.tensors[self.given], run.tensors[self.given_weight].t(), run.values(self.y)
        bias = None if self.bias is None else run.tensors[self.bias]

        def block(start: int, stop: int) -> None:
            at = start if len(y) == run.loop.steps else 0
            into, rows = y[at : at + stop - start], u[start:stop].flatten(0, 1)
            if run.lower is None and u.shape[1] == run.loop.rows and bias is not None:
                torch.addmm(bias, rows, V, out=into.flatten(0, 1))
                return
            product = matmul(rows, V, run.lower).unflatten(0, (stop - start, -1))
            if bias is not None:
                product += bias
            into.unflatten(1, (-1, u.shape[1])).copy_(product[:, None])

        return block

    def backward(self, run: Execution) -> Step:
        dx, dy = run.each_gradient(self.x), run.each_gradient(self.y)
        product = prepare(run.tensors[self.weight].t(), lower=run.lower)
        is_first, incoming = run.first(self.x)
        if not is_first:
            return lambda t: product(dy[t], dx[t], dx[t])
        if incoming is None:
            return lambda t: product(dy[t], dx[t], None)
        return lambda t: product(dy[t], dx[t], incoming[t])

    def behind(self, run: Execution) -> Block:
        x, dys = run.values(self.x), run.gradients(self.y)
        dW, db = run.gradient_for(self.weight), run.gradient_for(self.bias)
        du, dV = run.gradient_for(self.given), run.gradient_for(self.given_weight)

        def block(start: int, stop: int) -> None:
            dy = dys[: stop - start]
            add_matmul(dW, dy.flatten(0, 1).t(), x[start:stop].flatten(0, 1), run.lower)
            if self.given is not None:
                dy = over_copies(dy, run.tensors[self.given].shape[1])
                u = run.tensors[self.given][start:stop].flatten(0, 1)
                add_matmul(dV, dy.flatten(0, 1).t(), u, run.lower)
                if du is not None and self.given_weight is not None:
                    V = run.tensors[self.given_weight]
                    du[start:stop] = matmul(dy.flatten(0, 1), V, run.lower).unflatten(0, (stop - start, -1))
            if db is not None:
                db.add_(dy.sum((0, 1)))

        return block


@dataclass
class AddFirst(Equation):
    """y += x[:, :F]: dx[:, :F] = dy, and 0 for the rest of x."""

    x: Value
    y: Value

    def _parts(self) -> list[Value]:
        """The columns of x that are added, and the rest."""
        return self.x.split(self.y.size, self.x.size - self.y.size)

    def forward(self, run: Execution) -> Step:
        x, y = run.each(self._parts()[0]), run.each(self.y)
        return lambda t: y[t].add_(x[t])

    def backward(self, run: Execution) -> Step:
        dx, dy = run.each_gradient(self.x), run.each_gradient(self.y)
        added, rest = (run.each_gradient(part) for part in self._parts())
        is_first, incoming = run.first(self.x)

        def step(t: int) -> None:
            if incoming is not None:
                dx[t].copy_(incoming[t])
            if is_first and incoming is None:
                added[t].copy_(dy[t])
                rest[t].zero_()
            else:
                added[t].add_(dy[t])

        return step


@dataclass
class LeakyReLU(Equation):
    """max(x, slope x): the result has the sign of x, so it tells the slope."""

    x: Value
    slope: float

    def forward(self, run: Execution) -> Step:
        x, slope = run.each(self.x), self.slope
        return lambda t: F.leaky_relu_(x[t], slope)

    def backward(self, run: Execution) -> Step:
        y, d, slope = run.each(self.x), run.each_gradient(self.x), self.slope
        return lambda t: leaky_relu_backward(d[t], y[t], slope, True, grad_input=d[t])


@dataclass
class Clamp(Equation):
    """No gradient where the result is at a limit."""

    x: Value
    limit: float

    def forward(self, run: Execution) -> Step:
        x, limit = run.each(self.x), self.limit
        return lambda t: x[t].clamp_(-limit, limit)

    def backward(self, run: Execution) -> Step:
        y, d, limit = run.each(self.x), run.each_gradient(self.x), self.limit
        return lambda t: hardtanh_backward(d[t], y[t], -limit, limit, grad_input=d[t])


@dataclass
class Given(Equation):
    """y = values_t."""

    values: int
    y: Value

    def forward(self, run: Execution) -> Step:
        values, y = run.tensors[self.values].unbind(0), run.each(self.y)
        return lambda t: y[t].copy_(values[t])

    def backward(self, run: Execution) -> Step:
        return lambda t: None

    def behind(self, run: Execution) -> Block | None:
        gradient, dy = run.gradient_for(self.values), run.gradients(self.y)
        if gradient is None:
            return None
        return lambda start, stop: gradient[start:stop].copy_(dy[: stop - start])


@dataclass
class Sample(Equation):
    """z = m + s e, s = exp(v / 2): dm = dz, dv = dz s e / 2."""

    parameters: Value
    noise: int
    z: Value

    def forward(self, run: Execution) -> Step:
        mean, log_variance = (run.each(v) for v in self.parameters.split(self.z.size, self.z.size))
        std, z, noise = (
            run.each_of(run.kept(id(self), self.z.size)),
            run.each(self.z),
            run.tensors[self.noise].unbind(0),
        )

        def step(t: int) -> None:
            torch.mul(log_variance[t], 0.5, out=std[t]).exp_()
            torch.addcmul(mean[t], std[t], noise[t], out=z[t])

        return step

    def backward(self, run: Execution) -> Step:
        dm, dv = (run.each_gradient(v) for v in self.parameters.split(self.z.size, self.z.size))
        std, dz, noise = (
            run.each_of(run.kept(id(self), self.z.size)),
            run.each_gradient(self.z),
            run.tensors[self.noise].unbind(0),
        )
        half = torch.empty_like(std[0])
        is_first, incoming = run.first(self.parameters)
        whole = run.each_gradient(self.parameters)

        def step(t: int) -> None:
            torch.mul(std[t], noise[t], out=half)
            if incoming is not None:
                whole[t].copy_(incoming[t])
            if is_first and incoming is None:
                dm[t].copy_(dz[t])
                torch.mul(dz[t], half, out=dv[t]).mul_(0.5)
            else:
                dm[t].add_(dz[t])
                dv[t].addcmul_(dz[t], half, value=0.5)

        return step


@dataclass
class LSTM(Equation):
    """i, f, o = sigmoid, g = tanh of the gates;  c = f c_{t-1} + i g;  h = o tanh(c).

    do = dh tanh(c);  dc += dh o (1 - tanh(c)^2);  di = dc g;  df = dc c_{t-1};  dg = dc i;  dc_{t-1} = dc f.
    """

    gates: Value
    before: Value
    h: Value
    c: Value

    def _each(self, of: Callable[[Value], list[Tensor]]) -> list[list[Tensor]]:
        """Of i and f together, then of each gate."""
        H = self.c.size
        both, g, o = self.gates.split(2 * H, H, H)
        return [of(value) for value in (both, *both.split(H, H), g, o)]

    def forward(self, run: Execution) -> Step:
        both, i, f, g, o = self._each(run.each)
        before, c, h = run.each(self.before), run.each(self.c), run.each(self.h)
        tanh_c = run.each_of(run.kept(id(self), self.c.size))

        def step(t: int) -> None:
            both[t].sigmoid_()
            g[t].tanh_()
            o[t].sigmoid_()
            torch.mul(f[t], before[t], out=c[t]).addcmul_(i[t], g[t])
            torch.mul(o[t], torch.tanh(c[t], out=tanh_c[t]), out=h[t])

        return step

    def backward(self, run: Execution) -> Step:
        both, i, f, g, o = self._each(run.each)
        dboth, di, df, dg, do = self._each(run.each_gradient)
        before, tanh_c = run.each(self.before), run.each_of(run.kept(id(self), self.c.size))
        dh, dc = run.each_gradient(self.h), run.gradients(self.c)[0]
        incoming = run.only(self.before)
        through_h = torch.empty_like(dc)

        def step(t: int) -> None:
            torch.mul(dh[t], o[t], out=through_h)
            dc.add_(tanh_backward(through_h, tanh_c[t], grad_input=through_h))
            torch.mul(dh[t], tanh_c[t], out=do[t])
            torch.mul(dc, g[t], out=di[t])
            torch.mul(dc, before[t], out=df[t])
            torch.mul(dc, i[t], out=dg[t])
            sigmoid_backward(dboth[t], both[t], grad_input=dboth[t])
            tanh_backward(dg[t], g[t], grad_input=dg[t])
            sigmoid_backward(do[t], o[t], grad_input=do[t])
            dc.mul_(f[t])
            if incoming is not None:
                dc.add_(incoming[t])

        return step


@dataclass
class Standardize(Equation):
    """y = (x - m) r, r = 1 / sqrt(var + 1e-5): dx = r (dy - mean(dy) - y sum(dy y) / (F - 1))."""

    x: Value

    def forward(self, run: Execution) -> Step:
        x, scale = run.each(self.x), run.each_of(run.kept(id(self), 1))

        def step(t: int) -> None:
            variance, mean = torch.var_mean(x[t], dim=-1, keepdim=True)
            torch.rsqrt(variance + 1e-5, out=scale[t])
            x[t].sub_(mean).mul_(scale[t])

        return step

    def backward(self, run: Execution) -> Step:
        y, d, scale = run.each(self.x), run.each_gradient(self.x), run.each_of(run.kept(id(self), 1))
        freedom = self.x.size - 1

        def step(t: int) -> None:
            along = (d[t] * y[t]).sum(-1, keepdim=True).div_(freedom)
            d[t].sub_(d[t].mean(-1, keepdim=True)).addcmul_(y[t], along, value=-1).mul_(scale[t])

        return step


@dataclass
class Modulate(Equation):
    """y = given_t + (1 + a) x + b: dx = (1 + a) dy, da = x dy, db = dy, dgiven_t = dy."""

    x: Value
    gain: Value
    bias: Value
    given: int
    y: Value

    def forward(self, run: Execution) -> Step:
        x, a, b = (run.each(v) for v in (self.x, self.gain, self.bias))
        given = run.tensors[self.given]
        y, each = run.values(self.y), given.unbind(0)
        rows, ys = run.each_of(y.unflatten(1, (-1, given.shape[1]))), run.each_of(y)

        def step(t: int) -> None:
            torch.addcmul(x[t], x[t], a[t], out=ys[t]).add_(b[t])
            rows[t].add_(each[t])

        return step

    def backward(self, run: Execution) -> Step:
        x, a = run.each(self.x), run.each(self.gain)
        dx, da, db, dy = (run.each_gradient(v) for v in (self.x, self.gain, self.bias, self.y))
        incoming = [(run.only(v), run.each_gradient(v)) for v in (self.x, self.gain, self.bias)]
        outside = [(of_steps, gradient) for of_steps, gradient in incoming if of_steps is not None]

        def step(t: int) -> None:
            db[t].copy_(dy[t])
            torch.mul(dy[t], x[t], out=da[t])
            torch.addcmul(dy[t], dy[t], a[t], out=dx[t])
            for of_steps, gradient in outside:
                gradient[t].add_(of_steps[t])

        return step

    def behind(self, run: Execution) -> Block | None:
        gradient, dy = run.gradient_for(self.given), run.gradients(self.y)
        if gradient is None:
            return None
        return lambda start, stop: gradient[start:stop].copy_(over_copies(dy[: stop - start], gradient.shape[1]))
