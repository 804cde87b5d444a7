"""Who may see what: the paper's graph, checked by gradients on the contract's own steps.

For each model, which x_s, z_s and known inputs u_s reach the prior and the posterior of z_t and the emission of x_t.
The latents are leaves, so that "z_<t" means through the state and not through what their posterior has seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution

from conftest import CASES, Case
from zforcing import ObservationSpec, SequenceBatch

T = 6
Rule = Callable[[int, int], bool]  # (s, t) -> whether step s reaches step t's density, steps counted from 1


@dataclass(frozen=True)
class Graph:
    """Rules for the x, the z and the u that each density reads."""

    prior: tuple[Rule, Rule, Rule]
    posterior: tuple[Rule, Rule, Rule]
    emission: tuple[Rule, Rule, Rule]


def never(s: int, t: int) -> bool:
    return False


def always(s: int, t: int) -> bool:
    return True


def until_now(s: int, t: int) -> bool:
    return s <= t


def now(s: int, t: int) -> bool:
    return s == t


GRAPHS = {
    "rnn": Graph(
        prior=(never, never, never),
        posterior=(never, never, never),
        emission=(lambda s, t: s < t, never, until_now),
    ),
    "zforcing": Graph(
        prior=(lambda s, t: s <= t - 2, lambda s, t: s < t, until_now),
        posterior=(lambda s, t: s <= t - 2 or s >= t, lambda s, t: s < t, always),
        emission=(lambda s, t: s < t, lambda s, t: s <= t, until_now),
    ),
    "zforcing, latents see input": Graph(
        prior=(lambda s, t: s < t, lambda s, t: s < t, until_now),
        posterior=(lambda s, t: True, lambda s, t: s < t, always),
        emission=(lambda s, t: s < t, lambda s, t: s <= t, until_now),
    ),
    # q(z_t | .) reads a_t, which has read x_<t, and b_t, which has read x_>=t: all x, and no z
    "zforcing, parallel": Graph(
        prior=(lambda s, t: s <= t - 2, lambda s, t: s < t, until_now),
        posterior=(lambda s, t: True, never, always),
        emission=(lambda s, t: s < t, lambda s, t: s <= t, until_now),
    ),
    "zforcing, parallel, latents see input": Graph(
        prior=(lambda s, t: s < t, lambda s, t: s < t, until_now),
        posterior=(lambda s, t: True, never, always),
        emission=(lambda s, t: s < t, lambda s, t: s <= t, until_now),
    ),
}
GRAPHS |= {
    "vrnn": Graph(
        prior=(lambda s, t: s < t, lambda s, t: s < t, until_now),
        posterior=(lambda s, t: s <= t, lambda s, t: s < t, until_now),
        emission=(lambda s, t: s < t, lambda s, t: s <= t, until_now),
    ),
    "vrnn, standard": Graph(
        prior=(never, never, never),
        posterior=(lambda s, t: s <= t, lambda s, t: s < t, until_now),
        emission=(lambda s, t: s < t, lambda s, t: s <= t, until_now),
    ),
    # a chain of latents: z_{t-1} alone, and z_t alone
    "srnn, smoothing": Graph(
        prior=(lambda s, t: s < t, lambda s, t: s == t - 1, until_now),
        posterior=(lambda s, t: True, lambda s, t: s == t - 1, always),
        emission=(lambda s, t: s < t, lambda s, t: s == t, until_now),
    ),
    "srnn, filtering": Graph(
        prior=(lambda s, t: s < t, lambda s, t: s == t - 1, until_now),
        posterior=(lambda s, t: s <= t, lambda s, t: s == t - 1, until_now),
        emission=(lambda s, t: s < t, lambda s, t: s == t, until_now),
    ),
}

# a state-space model: z_{t-1} -> z_t -> x_t, the posterior with the evidence that its proposal looks at
EVIDENCE: dict[str, Rule] = {
    "smoothing": lambda s, t: s >= t,
    "filtering": lambda s, t: s == t,
    "learned": lambda s, t: s == t,
    "prior": never,
}
GRAPHS |= {
    f"linear_gaussian, {proposal}": Graph(
        prior=(never, lambda s, t: s == t - 1, now),
        # the evidence in x_{t+1}.. on z_t depends on the inputs between
        posterior=(evidence, lambda s, t: s == t - 1, evidence if proposal == "smoothing" else now),
        emission=(never, now, never),
    )
    for proposal, evidence in EVIDENCE.items()
}


def graph_of(case: Case) -> Graph:
    if "proposal" in case.settings:
        return GRAPHS[f"{case.model}, {case.settings['proposal']}"]
    if case.model == "srnn":
        return GRAPHS[f"srnn, {case.settings.get('posterior', 'smoothing')}"]
    names = [case.model]
    if case.settings.get("prior") == "standard":
        names.append("standard")
    if case.settings.get("posterior") == "parallel":
        names.append("parallel")
    if case.settings.get("latents_see_input"):
        names.append("latents see input")
    return GRAPHS[", ".join(names)]


def parameters_of(distribution: Distribution) -> Tensor:
    """All the numbers of the distribution of one sequence, summed with weights that can't cancel."""
    values = [distribution.mean, distribution.stddev] if distribution.mean.numel() else [distribution.mean]
    flat = torch.cat([v.reshape(-1) for v in values])
    return (flat * torch.linspace(1, 2, len(flat))).sum()


def reach(case: Case, density: str) -> tuple[list[list[bool]], ...]:
    """[t][s]: whether x_s (or z_s, or u_s) has a gradient to the density of step t."""
    model = case.build(ObservationSpec("real", 2, inputs=2), seed=1)
    torch.manual_seed(5)
    xs = [torch.randn(1, 2, requires_grad=True) for _ in range(T)]
    zs = [torch.randn(1, model.latent_size, requires_grad=True) for _ in range(T)]
    us = [torch.randn(1, 2, requires_grad=True) for _ in range(T)]
    lengths = torch.tensor([T])
    batch = SequenceBatch(torch.stack(xs, dim=1), lengths, torch.zeros(1, 2), inputs=torch.stack(us, dim=1))
    context, state = model.encode(batch), model.initial_state(1)
    seen = []
    for t in range(T):
        state = model.after_inputs(state, us[t])
        at: dict[str, Distribution] = {"prior": model.prior(state), "posterior": model.posterior(state, context[:, t])}
        state = model.after_latent(state, zs[t])
        at["emission"] = model.emission(state)
        state = model.after_observation(state, xs[t])
        value = parameters_of(at[density])
        gradients: tuple[Tensor | None, ...] = (None,) * (3 * T)
        if value.requires_grad:
            gradients = torch.autograd.grad(value, [*xs, *zs, *us], retain_graph=True, allow_unused=True)
        assert all(g is None or bool(g.isfinite().all()) for g in gradients)
        seen.append([g is not None and bool((g != 0).any()) for g in gradients])
    return tuple([row[i * T : (i + 1) * T] for row in seen] for i in range(3))


@pytest.mark.parametrize("density", ["prior", "posterior", "emission"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_density_sees_exactly_what_the_graph_says(case: Case, density: str) -> None:
    rules = getattr(graph_of(case), density)
    for found, rule, name in zip(reach(case, density), rules, ("x", "z", "u"), strict=True):
        steps = range(1, T + 1)
        expected = [[rule(s, t) for s in steps] for t in steps]
        assert found == expected, f"{density} of step t and {name}_s"


@pytest.mark.parametrize("case", [c for c in CASES if c.model == "zforcing"], ids=str)
def test_the_auxiliary_terms_gradient_stops_at_its_target_and_nowhere_else(case: Case) -> None:
    """It reaches z_t, the cell and the posterior; the backward network only through the posterior's sample of z."""
    model = case.build(ObservationSpec("real", 2))
    torch.manual_seed(6)
    batch = SequenceBatch(torch.randn(2, T, 2), torch.tensor([T, T]), torch.zeros(2, 2))
    run = model.unroll(batch, noise=torch.randn(2, T, model.latent_size))
    backward_weight = model.get_parameter("backward_lstm.lstm.weight_ih_l0")
    (through_posterior,) = torch.autograd.grad(run.cost("auxiliary").sum(), [backward_weight], retain_graph=True)
    assert through_posterior.abs().sum() > 0

    # with the latents given, the backward network has no way left into the auxiliary term
    context, state = model.encode(batch), model.initial_state(2)
    total = torch.zeros(())
    for t in range(T):
        state = model.after_latent(model.after_inputs(state, None), run.latents[:, t].detach())
        total = total + model.auxiliary(state, context[:, t]).sum()
        state = model.after_observation(state, batch.x[:, t])
    into_backward, into_net = torch.autograd.grad(
        total, [backward_weight, model.get_parameter("auxiliary_net.first.weight")], allow_unused=True
    )
    assert into_backward is None
    assert into_net is not None
    assert into_net.abs().sum() > 0


@pytest.mark.parametrize("case", [c for c in CASES if c.model == "zforcing"], ids=str)
def test_the_backward_term_trains_the_backward_network(case: Case) -> None:
    model = case.build(ObservationSpec("real", 2))
    batch = SequenceBatch(torch.randn(2, T, 2), torch.tensor([T, T]), torch.zeros(2, 2))
    run = model.unroll(batch)
    (gradient,) = torch.autograd.grad(
        run.cost("backward").sum(), [model.get_parameter("backward_lstm.lstm.weight_hh_l0")]
    )
    assert gradient.abs().sum() > 0
