"""How a model runs is shown as a person would write it; a model that can't be planned says why."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from conftest import CASES, SPECS, VRNN_SIZE, Case, random_batch
from zforcing import VRNN, ObservationSpec, SequenceBatch, SequenceModel
from zforcing.models.explain import derived_in, explain, why_it_walks
from zforcing.models.planned_step import watched
from zforcing.recurrence.describe import multiply_adds


class TinyState(NamedTuple):
    h: Tensor
    e: Tensor


class Tiny(SequenceModel):
    """h_t = tanh(W [h_{t-1}, z_t, e(x_{t-1})])."""

    name = "tiny"
    Config = dict

    def __init__(self) -> None:
        super().__init__(ObservationSpec("real", 2), {})
        self.embed, self.cell = nn.Linear(2, 3), nn.Linear(4 + 1 + 3, 4)
        self.prior_net, self.posterior_net, self.emission_net = nn.Linear(4, 1), nn.Linear(4 + 2, 1), nn.Linear(4, 2)

    @property
    def latent_size(self) -> int:
        return 1

    def initial_state(self, n: int, *, start: Tensor | None = None) -> TinyState:
        x = self.cell.weight.new_zeros(n, 2) if start is None else start
        return TinyState(x.new_zeros(n, 4), self.embed(x))

    def encode(self, batch: SequenceBatch, *, state: Any = None) -> Tensor:
        return batch.x

    def prior(self, state: TinyState) -> Distribution:
        return gaussian(self.prior_net(state.h))

    def posterior(self, state: TinyState, context: Tensor) -> Distribution:
        return gaussian(self.posterior_net(torch.cat([state.h, context], dim=-1)))

    def after_latent(self, state: TinyState, z: Tensor) -> TinyState:
        return state._replace(h=torch.tanh(self.cell(torch.cat([state.h, z, state.e], dim=-1))))

    def emission(self, state: TinyState) -> Distribution:
        return gaussian(self.emission_net(state.h))

    def after_observation(self, state: TinyState, x: Tensor) -> TinyState:
        return state._replace(e=self.embed(x))


def gaussian(mean: Tensor) -> Distribution:
    return Independent(Normal(mean, torch.ones_like(mean)), 1)


class Impatient(Tiny):
    """Looks at numbers, which no plan can know."""

    def after_latent(self, state: TinyState, z: Tensor) -> TinyState:
        return state if bool((z > 100).all()) else super().after_latent(state, z)


class Social(Tiny):
    """Reads the states of the other rows, which no model may; all steps at once it would read other steps' too."""

    def prior(self, state: TinyState) -> Distribution:
        return gaussian(self.prior_net(state.h - state.h.mean(0)))


EXPECTED = """\
n rows, T steps, in blocks of m; h' is h after a step
once, of the weights:
  a = cell.bias + mv(cell.weight.t()[5:8].t(), embed.bias)  # [4]
  b = embed.weight.t() @ cell.weight.t()[5:8]  # [2, 4]
before the loop over h, for all steps at once:
  prior_scale = ones([n, 1])  # [T n, 1]
  c = prior_scale * draw  # [T n, 1]
loop over h; a step is 5 operations, 24 multiply-adds a row:
  ahead, for a block of steps at once:
    d = a + previous @ b  # [m n, 4]
    f = posterior_net.bias + x @ posterior_net.weight.reshape(6, 1)[4:6]  # [m n, 1]
  each step:
    g = d + h @ cell.weight.t()[0:4]  # [n, 4]
    posterior_loc = f + h @ posterior_net.weight.reshape(6, 1)[0:4]  # [n, 1]
    z = c + posterior_loc  # [n, 1]
    i = g + z @ cell.weight.t()[4:5]  # [n, 4]
    h' = tanh(i)  # [n, 4]
after the loops, for all steps at once:
  e_after_z = embed.bias + previous @ embed.weight.t()  # [T n, 3]
  prior_loc = prior_net.bias + h @ prior_net.weight.reshape(4, 1)  # [T n, 1]
  emission_loc = emission_net.bias + h' @ emission_net.weight.t()  # [T n, 2]
  emission_scale = ones([n, 2])  # [T n, 2]
gradients of the loop over h:
  a step back: 5 operations, 24 multiply-adds a row
  after a block of steps: 3 operations, 24 multiply-adds a row
  kept of each step: 9 numbers a row: h [4], add [1], tanh [4]
  after that, of what was computed ahead: 4 operations, 10 multiply-adds a row"""


def test_the_plan_of_a_small_model_reads_as_one_would_write_it() -> None:
    assert explain(Tiny()) == EXPECTED


def test_a_loop_can_be_shown_alone() -> None:
    (derived,) = derived_in(Tiny())
    assert not isinstance(derived, str)
    lines = repr(derived.plan.loops[0]).splitlines()
    assert lines[1] == "loop over h; a step is 5 operations, 24 multiply-adds a row:"
    assert lines[-1].startswith("    h' = tanh(")


def test_work_is_that_of_the_matrix_products() -> None:
    (derived,) = derived_in(Tiny())
    assert not isinstance(derived, str)
    (loop,) = derived.plan.loops
    assert multiply_adds(loop.body) == 4 * 4 + 4 * 1 + 1 * 4  # h to h, h to q(z), z to h


@pytest.mark.parametrize("case", {case.model: case for case in CASES}.values(), ids=str)
def test_every_model_is_shown_the_same_each_time(case: Case) -> None:
    one, two = (explain(case.build(SPECS["real"])) for _ in range(2))
    assert one == two
    assert "loop over" in one


def test_a_particle_filter_needs_a_weight_after_each_step() -> None:
    assert "    log_weight = " in explain(Tiny(), filtered=True)


def test_a_model_that_walks_says_why(caplog: pytest.LogCaptureFixture) -> None:
    reason = why_it_walks(Impatient())
    assert reason is not None
    assert explain(Impatient()) == f"tiny runs step by step, which is slow: {reason}"
    assert "return state if bool((z > 100).all())" in reason
    assert "depends on the values of a tensor" in reason
    assert why_it_walks(Tiny()) is None


def test_a_model_that_mixes_rows_walks() -> None:
    assert "aten.mean.dim mixes the rows of a batch" in explain(Social())


@pytest.mark.parametrize("lengths", [(5, 5), (5, 3)], ids=str)
def test_what_state_and_posterior_read_of_x_is_computed_once(lengths: tuple[int, ...]) -> None:
    model = VRNN(SPECS["real"], **VRNN_SIZE)
    with watched() as found:
        model.unroll(random_batch(SPECS["real"], lengths))
    (derived,) = found
    assert not isinstance(derived, str)
    assert derived.given.context is None  # it is x, whose features are then those that the state reads
