"""The diagonal BiLSTM of PixelRNN: a pixel's state follows from those to its left and above it.

    i, f, o, g   = U a[r, s] + V h[r, s-1] + W h[r-1, s]       (r: row, s: column)
    c[r, s]      = sigmoid(f) c[r, s-1] + sigmoid(i) tanh(g),   h[r, s] = sigmoid(o) tanh(c[r, s])

All pixels of a diagonal are computed at once. The other direction is the same from right to left. Its states read their
own row to the right, and so are moved down by one row before both are added: a pixel then reads all that is above it,
and what is to its left.

A. van den Oord, N. Kalchbrenner, K. Kavukcuoglu, "Pixel recurrent neural networks", ICML 2016, arXiv 1601.06759.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DiagonalBiLSTM(nn.Module):
    """Both directions over features [R, W, n, 2 h], and their sum brought back to 2 h features.

    Args:
        hidden_size: h, the units of each direction.
    """

    def __init__(self, hidden_size: int):
        super().__init__()
        h, scale = hidden_size, hidden_size**-0.5
        self.U = nn.Linear(2 * h, 2 * 4 * h)
        self.VW = nn.Parameter(torch.empty(2, 2 * h, 4 * h).uniform_(-scale, scale))
        self.h0, self.c0 = (nn.Parameter(torch.zeros(2, 1, 1, h)) for _ in range(2))
        self.up = nn.Linear(h, 2 * h)

    def forward(self, a: Tensor) -> Tensor:
        """What the layer adds to its features."""
        rows, columns = a.shape[:2]
        from_left, from_right = self.U(a).chunk(2, dim=-1)
        gates = torch.stack([from_left, from_right.flip(1)]).flatten(1, 2)
        order = along_diagonals(rows, columns, device=a.device)
        states = self.scan(gates[:, order], rows, columns)[:, order.argsort()].unflatten(1, (rows, columns))
        found: Tensor = self.up(states[0] + down(states[1].flip(1)))
        return found

    def scan(self, gates: Tensor, rows: int, columns: int) -> Tensor:
        """h [2, R W, n, h] of both directions, diagonal after diagonal, from the gates' inputs [2, R W, n, 4 h].

        Diagonal t has the pixels of row r and column t - r. Between the states of the diagonal before stand the initial
        ones: above the first row, and left of the row that begins.
        """
        n = gates.shape[2]
        h0, c0 = (v.expand(2, 1, n, -1) for v in (self.h0, self.c0))
        h, c = h0[:, :0], c0[:, :0]
        found = []
        for t, inputs in enumerate(gates.split(sizes(rows, columns), dim=1)):
            h, c = (
                torch.cat([*([v0] if t < columns else []), v, *([v0] if t < rows else [])], dim=1)
                for v, v0 in ((h, h0), (c, c0))
            )
            h, c = cell(inputs, h[:, 1:], h[:, :-1], c[:, 1:], self.VW)
            found.append(h)
        return torch.cat(found, dim=1)


class RowByRow:
    """A layer's pass over images that are drawn meanwhile: pixel after pixel, and from right to left at a row's end.

    Args:
        layer: the layer.
        columns: W.
        n: how many images.
    """

    def __init__(self, layer: DiagonalBiLSTM, columns: int, n: int):
        self.layer, self.columns = layer, columns
        self.above = layer.h0.expand(2, columns, n, -1)
        self.moved_down = torch.zeros_like(self.above[1])
        self._begin_row()

    def _begin_row(self) -> None:
        n = self.above.shape[2]
        self.h, self.c = ([v[:1].expand(1, 1, n, -1)] for v in (self.layer.h0, self.layer.c0))
        self.from_right: list[Tensor] = []

    def step(self, a: Tensor) -> Tensor:
        """What the layer adds to the features [n, 2 h] of the row's next pixel."""
        s = len(self.from_right)
        from_left, from_right = self.layer.U(a).chunk(2, dim=-1)
        self.from_right.append(from_right)
        above = self.above[:1, s : s + 1]
        h, c = cell(from_left[None, None], self.h[-1], above, self.c[-1], self.layer.VW[:1])
        self.h.append(h)
        self.c.append(c)
        found: Tensor = self.layer.up(h[0, 0] + self.moved_down[s])
        return found

    def end_row(self) -> None:
        """After a row's last pixel: the states from the right, which the next row reads."""
        n = self.above.shape[2]
        h, c = (v[1:].expand(1, 1, n, -1) for v in (self.layer.h0, self.layer.c0))
        states = []
        for inputs, above in zip(reversed(self.from_right), self.above[1], strict=True):
            h, c = cell(inputs[None, None], h, above[None, None], c, self.layer.VW[1:])
            states.append(h)
        right = torch.cat(states, dim=1)
        self.above = torch.cat([torch.cat(self.h[1:], dim=1), right])
        self.moved_down = right[0].flip(0)
        self._begin_row()


def cell(inputs: Tensor, left: Tensor, above: Tensor, c: Tensor, VW: Tensor) -> tuple[Tensor, Tensor]:
    """(h, c) of m pixels, [k, m, n, h] each, by the module's equations.

    Args:
        inputs: U a [k, m, n, 4 h], in k directions.
        left: h of the pixels to the left, or to the right in the other direction, [k, m, n, h].
        above: h of those above.
        c: c of those to the left.
        VW: V above W, [k, 2 h, 4 h].
    """
    read = torch.cat([left, above], dim=-1).flatten(1, 2)
    i, f, o, g = torch.baddbmm(inputs.flatten(1, 2), read, VW).view_as(inputs).chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def sizes(rows: int, columns: int) -> list[int]:
    """How many pixels each diagonal has."""
    return [min(t + 1, rows) - max(0, t - columns + 1) for t in range(rows + columns - 1)]


def along_diagonals(rows: int, columns: int, *, device: torch.device | None = None) -> Tensor:
    """The pixels' numbers [R W] diagonal after diagonal, in each from the top down."""
    r, s = torch.arange(rows, device=device)[:, None], torch.arange(columns, device=device)
    return ((r + s) * rows + r).flatten().argsort()


def down(h: Tensor) -> Tensor:
    """Move rows [R, W, n, h] down by one: zeros on top, and the last row is gone."""
    return torch.cat([torch.zeros_like(h[:1]), h[:-1]])
