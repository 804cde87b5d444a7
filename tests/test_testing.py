"""The checks that outsiders run: a tiny model of their own passes, one with a mistake fails the check made for it."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Laplace, kl_divergence

from conftest import walking
from zforcing import ELBO, RNN, ObservationSpec, RNNConfig, SequenceBatch, SequenceModel, Weights
from zforcing.bounds import FIVO, IWAE, Bound, BoundResult, Exact, Importance
from zforcing.emissions import make_emission
from zforcing.models import LinearGaussian, LinearGaussianConfig, Unroll
from zforcing.nn import BackwardLSTM, Embedder, GaussianHead
from zforcing.testing import (
    MODEL_CHECKS,
    SPECS,
    Check,
    check_bound,
    check_carried_state,
    check_causality,
    check_chunks,
    check_densities,
    check_dtype,
    check_fed,
    check_gradients,
    check_inputs,
    check_kl,
    check_latents,
    check_missing,
    check_model,
    check_noise,
    check_padding,
    check_particles,
    check_rows,
    check_sampling,
    check_saved,
    check_state,
    check_unroll,
    check_unroll_gradient,
    random_batch,
)


@dataclass(frozen=True)
class TinyConfig:
    hidden_size: int = 4
    latent_size: int = 2


class TinyState(NamedTuple):
    h: Tensor
    z: Tensor
    e: Tensor


class Tiny(SequenceModel):
    """A GRU that reads z_t and x_{t-1}; its posterior has seen the future. It has a cost of each kind."""

    name = "tiny"
    Config = TinyConfig
    step_costs = ("small",)
    context_costs = ("smooth",)

    def __init__(self, spec: ObservationSpec, config: TinyConfig = TinyConfig()):
        super().__init__(spec, config)
        H, Z = config.hidden_size, config.latent_size
        self.embed = Embedder(spec, H)
        self.future = BackwardLSTM(H, H)
        self.prior_net = GaussianHead(H, H, Z, limit=None)
        self.posterior_net = GaussianHead(2 * H, H, Z, limit=None)
        self.cell = nn.GRUCell(Z + H, H)
        self.read_inputs = nn.Linear(spec.inputs, H) if spec.inputs else None
        self.emission_net = make_emission(spec, H)

    def initial_state(self, n: int, *, start: Tensor | None = None) -> Any:
        h = self.cell.weight_hh.new_zeros(n, self.config.hidden_size)
        x = self.spec.blank(n, device=h.device, dtype=h.dtype) if start is None else start
        return TinyState(h, h.new_zeros(n, self.latent_size), self.embed(x))

    def encode(self, batch: SequenceBatch, *, state: Any = None) -> Tensor:
        return self.future(self.embed(batch.read), batch.lengths)

    def after_inputs(self, state: Any, u: Tensor | None) -> Any:
        return state if self.read_inputs is None else state._replace(e=state.e + self.read_inputs(u))

    def prior(self, state: Any) -> Distribution:
        return self.prior_net(state.h)

    def posterior(self, state: Any, context: Tensor) -> Distribution:
        return self.posterior_net(torch.cat([state.h, context], dim=-1))

    def after_latent(self, state: Any, z: Tensor) -> Any:
        return state._replace(h=self.cell(torch.cat([z, state.e], dim=-1), state.h), z=z)

    def emission(self, state: Any) -> Distribution:
        return self.emission_net(state.h)

    def after_observation(self, state: Any, x: Tensor) -> Any:
        return state._replace(e=self.embed(x))

    def small(self, state: Any, context: Tensor) -> Tensor:
        """-|z_t|^2 - |b_t|^2, [n]."""
        return -state.z.square().sum(-1) - context.square().sum(-1)

    def smooth(self, batch: SequenceBatch, context: Tensor) -> Tensor:
        """-|b_t - b_{t-1}|^2, [B, T], b_0 = 0."""
        return -torch.diff(context, dim=1, prepend=torch.zeros_like(context[:, :1])).square().sum(-1)


# ---- one mistake each


class LaplacePosterior(Tiny):
    def posterior(self, state: Any, context: Tensor) -> Distribution:
        q = super().posterior(state, context)
        return Independent(Laplace(q.mean, q.stddev), 1)


class CostOfTheWholeBatch(Tiny):
    def small(self, state: Any, context: Tensor) -> Tensor:
        return super().small(state, context).mean()


class CostOfOneStep(Tiny):
    def smooth(self, batch: SequenceBatch, context: Tensor) -> Tensor:
        return super().smooth(batch, context)[:, :1]


class PriorOfNumbers(Tiny):
    def prior(self, state: Any) -> Distribution:
        return super().prior(state).base_dist


class Disguised(Tiny):
    """The same model behind another kind of state."""

    def wrap(self, state: TinyState) -> Any:
        raise NotImplementedError

    def unwrap(self, state: Any) -> TinyState:
        raise NotImplementedError

    def initial_state(self, n: int, *, start: Tensor | None = None) -> Any:
        return self.wrap(super().initial_state(n, start=start))

    def after_inputs(self, state: Any, u: Tensor | None) -> Any:
        return self.wrap(super().after_inputs(self.unwrap(state), u))

    def prior(self, state: Any) -> Distribution:
        return super().prior(self.unwrap(state))

    def posterior(self, state: Any, context: Tensor) -> Distribution:
        return super().posterior(self.unwrap(state), context)

    def after_latent(self, state: Any, z: Tensor) -> Any:
        return self.wrap(super().after_latent(self.unwrap(state), z))

    def emission(self, state: Any) -> Distribution:
        return super().emission(self.unwrap(state))

    def after_observation(self, state: Any, x: Tensor) -> Any:
        return self.wrap(super().after_observation(self.unwrap(state), x))

    def small(self, state: Any, context: Tensor) -> Tensor:
        return super().small(self.unwrap(state), context)


class StateIsADict(Disguised):
    def wrap(self, state: TinyState) -> Any:
        return state._asdict()

    def unwrap(self, state: Any) -> TinyState:
        return TinyState(**state)


class StateHasLayersFirst(Disguised):
    def wrap(self, state: TinyState) -> Any:
        return state._replace(h=state.h[None])

    def unwrap(self, state: Any) -> TinyState:
        return state._replace(h=state.h[0])


class LeavesItsStateOnSelf(Tiny):
    def after_latent(self, state: Any, z: Tensor) -> Any:
        following = super().after_latent(state, z)
        self.mean_h = following.h.mean(0)
        return following

    def emission(self, state: Any) -> Distribution:
        return self.emission_net(state.h + self.mean_h)


class WritesIntoTheState(Tiny):
    def after_observation(self, state: Any, x: Tensor) -> Any:
        state.h.mul_(0.5)
        return super().after_observation(state, x)


class WritesIntoTheStateAtOnce(Tiny):
    def after_inputs(self, state: Any, u: Tensor | None) -> Any:
        state.h.mul_(0.5)
        return state


class DropoutForEver(Tiny):
    def emission(self, state: Any) -> Distribution:
        return self.emission_net(F.dropout(state.h, 0.5, training=True))


class AlwaysTheSameNoise(Tiny):
    def draw_noise(self, batch: SequenceBatch, *, particles: int = 1) -> Tensor:
        return torch.zeros(particles * len(batch), batch.x.shape[1], self.latent_size)


def changed(run: Unroll, **terms: Tensor) -> Unroll:
    """A run that says something else."""
    other = copy(run)
    vars(other).update(terms)
    return other


class UnrollOffByOne(Tiny):
    def unroll(self, batch: SequenceBatch, **given: Any) -> Unroll:
        run = super().unroll(batch, **given)
        return changed(run, log_px=run.log_px.roll(1, dims=1))


class UnrollDetachesTheKL(Tiny):
    def unroll(self, batch: SequenceBatch, **given: Any) -> Unroll:
        run = super().unroll(batch, **given)
        return changed(run, kl=run.kl.detach())


class UnrollStartsAnew(Tiny):
    def unroll(self, batch: SequenceBatch, *, state: Any = None, **given: Any) -> Unroll:
        return super().unroll(batch, state=None, **given)


class UnrollDrawsItsOwnLatents(Tiny):
    def unroll(self, batch: SequenceBatch, *, latents: Tensor | None = None, **given: Any) -> Unroll:
        return super().unroll(batch, latents=None, **given)


class UnrollInterleavesItsCopies(Tiny):
    """Copies of a sequence side by side: row i K + j is copy j of sequence i."""

    def unroll(self, batch: SequenceBatch, *, particles: int = 1, **given: Any) -> Unroll:
        x, lengths, start, observed = (
            v if v is None else v.repeat_interleave(particles, dim=0)
            for v in (batch.x, batch.lengths, batch.start, batch.observed)
        )
        copies = SequenceBatch(x, lengths, start, observed)
        return super().unroll(copies, particles=1, **given)


class UnrollIgnoresAncestors(Tiny):
    def unroll(self, batch: SequenceBatch, *, resample: Any = None, **given: Any) -> Unroll:
        return super().unroll(batch, resample=None, **given)


class UnrollIgnoresTheContext(Tiny):
    def unroll(self, batch: SequenceBatch, *, context: Any = None, **given: Any) -> Unroll:
        return super().unroll(batch, context=None, **given)


class UnrollShowsResampleOtherWeights(Tiny):
    def unroll(self, batch: SequenceBatch, *, resample: Any = None, **given: Any) -> Unroll:
        shown = None if resample is None else (lambda t, log_w: resample(t, 2 * log_w))
        return super().unroll(batch, resample=shown, **given)


class UnrollNegatesTheKL(Tiny):
    def unroll(self, batch: SequenceBatch, **given: Any) -> Unroll:
        run = super().unroll(batch, **given)
        return changed(run, kl=-run.kl)


class UnrollExchangesTheKL(Tiny):
    def unroll(self, batch: SequenceBatch, **given: Any) -> Unroll:
        run = super().unroll(batch, **given)
        return changed(run, kl=kl_divergence(run.prior, run.posterior) * batch.mask)


class UnrollScoresWhatIsMissing(Tiny):
    def unroll(self, batch: SequenceBatch, **given: Any) -> Unroll:
        run = super().unroll(batch, **given)
        return changed(run, log_px=run.emission.log_prob(batch.x) * batch.mask)


class UnrollFeedsWhatIsScored(Tiny):
    def unroll(self, batch: SequenceBatch, **given: Any) -> Unroll:
        scored = SequenceBatch(batch.x, batch.lengths, batch.start, batch.observed, batch.inputs)
        return super().unroll(scored, **given)


class ReadsInputsInThePosteriorAlone(Tiny):
    def after_inputs(self, state: Any, u: Tensor | None) -> Any:
        return state if self.read_inputs is None else state._replace(z=self.read_inputs(u)[:, : self.latent_size])

    def posterior(self, state: Any, context: Tensor) -> Distribution:
        return super().posterior(state, context + state.z.sum(-1, keepdim=True))


class TakesTheFirstForTheLongest(Tiny):
    def encode(self, batch: SequenceBatch, *, state: Any = None) -> Tensor:
        context = super().encode(batch, state=state)
        read = torch.arange(context.shape[1]) < batch.lengths[0]
        return torch.where(read[:, None], context, 0.0)


class IgnoresInputs(Tiny):
    def after_inputs(self, state: Any, u: Tensor | None) -> Any:
        return super().after_inputs(state, None if u is None else torch.zeros_like(u))


class EmissionSeesTheFuture(Tiny):
    """What `encode` has seen of the last step, left where the emission finds it."""

    def encode(self, batch: SequenceBatch, *, state: Any = None) -> Tensor:
        self.peek = self.embed(batch.read[0, -1])
        return super().encode(batch)

    def emission(self, state: Any) -> Distribution:
        return self.emission_net(state.h + self.peek if hasattr(self, "peek") else state.h)


class ReadsPaddingFirst(Tiny):
    def encode(self, batch: SequenceBatch, *, state: Any = None) -> Tensor:
        hidden, _ = self.future.lstm(self.embed(batch.read).transpose(0, 1).flip(0))
        return hidden.flip(0).transpose(0, 1)


class NormalizesOverTheBatch(Tiny):
    def encode(self, batch: SequenceBatch, *, state: Any = None) -> Tensor:
        context = super().encode(batch)
        return context - context[:, :1].mean(0)


class EncodesWhatIsMissing(Tiny):
    def encode(self, batch: SequenceBatch, *, state: Any = None) -> Tensor:
        return self.future(self.embed(batch.x), batch.lengths)


class MultipliesTheMark(Tiny):
    def after_observation(self, state: Any, x: Tensor) -> Any:
        return super().after_observation(state._replace(h=state.h + 0.1 * x.sum(-1, keepdim=True)), x)


class SamplesFromAnotherStart(Tiny):
    def initial_state(self, n: int, *, start: Tensor | None = None) -> Any:
        state = super().initial_state(n, start=start)
        return state if start is not None else state._replace(e=state.e + 1)


class HasAnUnusedParameter(Tiny):
    def __init__(self, spec: ObservationSpec, config: TinyConfig = TinyConfig()):
        super().__init__(spec, config)
        self.spare = nn.Parameter(torch.zeros(1))


class RootOfZero(HasAnUnusedParameter):
    def prior(self, state: Any) -> Distribution:
        return self.prior_net(state.h + self.spare.square().sqrt())


class KeepsATensorThatIsNoBuffer(Tiny):
    def __init__(self, spec: ObservationSpec, config: TinyConfig = TinyConfig()):
        super().__init__(spec, config)
        self.scale = torch.rand(config.hidden_size)

    def emission(self, state: Any) -> Distribution:
        return self.emission_net(state.h * self.scale)


class ZerosOfTheDefaultDtype(Tiny):
    def initial_state(self, n: int, *, start: Tensor | None = None) -> Any:
        state = super().initial_state(n, start=start)
        return state._replace(h=torch.zeros(n, self.config.hidden_size))


@dataclass(frozen=True)
class Mistake:
    """A model, the check that is made for its mistake, what that says, and the check of `check_model` that fails."""

    model: type[Tiny]
    check: Check
    says: str
    first: Check | None = None  # None: the same check
    spec: str = "with gaps"

    def __str__(self) -> str:
        return self.model.__name__


MISTAKES = [
    Mistake(LaplacePosterior, check_densities, "the posterior is a Laplace.*must be Gaussian"),
    Mistake(PriorOfNumbers, check_densities, r"the prior's batch and event shapes are \(\(3, 2\), \(\)\)"),
    Mistake(CostOfTheWholeBatch, check_densities, r"small gives \[\]; it must be \[3\]"),
    Mistake(CostOfOneStep, check_densities, r"smooth gives \[3, 1\]; it must be \[3, 5\]"),
    Mistake(StateIsADict, check_state, "the state is a dict; it must be a NamedTuple"),
    Mistake(StateHasLayersFirst, check_state, r"state.h is \[1, 3, 4\]; its first dimension must be n = 3"),
    Mistake(LeavesItsStateOnSelf, check_state, "the emission changes when.*in between: is something left on self"),
    Mistake(WritesIntoTheStateAtOnce, check_state, "state.h was changed in place by after_inputs"),
    Mistake(WritesIntoTheState, check_state, "state.h was changed in place by emission, after_observation or a step's"),
    Mistake(DropoutForEver, check_noise, "same noise: what else is random", first=check_state),
    Mistake(AlwaysTheSameNoise, check_noise, "the same latents whatever the seed"),
    Mistake(UnrollOffByOne, check_unroll, "log_px of unroll is not that of the reference loop"),
    Mistake(UnrollDetachesTheKL, check_unroll_gradient, "has another gradient by unroll"),
    Mistake(UnrollStartsAnew, check_carried_state, "when both continue from a state"),
    Mistake(UnrollDrawsItsOwnLatents, check_latents, "when the latents that were drawn are given"),
    Mistake(UnrollInterleavesItsCopies, check_particles, "of 3 particles is not that of 3 runs"),
    Mistake(UnrollIgnoresAncestors, check_particles, "is not that of the first copy"),
    Mistake(UnrollShowsResampleOtherWeights, check_particles, "log_w that resample is shown at step 0 is different"),
    Mistake(UnrollNegatesTheKL, check_kl, "the KL is -.* sign wrong", first=check_unroll),
    Mistake(UnrollExchangesTheKL, check_kl, "not the mean of log q.*exchanged", first=check_unroll),
    Mistake(UnrollScoresWhatIsMissing, check_missing, "log_px is not 0 at a step where", first=check_unroll),
    Mistake(UnrollFeedsWhatIsScored, check_fed, "reference loop when something else than x is fed"),
    Mistake(
        EmissionSeesTheFuture, check_causality, "the emission changes with the x that it predicts", first=check_padding
    ),
    Mistake(IgnoresInputs, check_inputs, "the inputs of step 0 don't reach", spec="with inputs"),
    Mistake(ReadsInputsInThePosteriorAlone, check_inputs, "the inputs of step 0 don't reach", spec="with inputs"),
    Mistake(ReadsPaddingFirst, check_padding, "changes with the contents of the padding"),
    Mistake(NormalizesOverTheBatch, check_rows, r"of sequence 0 \(5 steps\) in a batch differs"),
    Mistake(UnrollIgnoresTheContext, check_chunks, "the first one: is the given context used"),
    Mistake(EncodesWhatIsMissing, check_missing, "read `batch.read`"),
    Mistake(MultipliesTheMark, check_missing, "log_px is not finite when values are missing"),
    Mistake(SamplesFromAnotherStart, check_sampling, "the posterior doesn't give|the emission in training is not"),
    Mistake(HasAnUnusedParameter, check_gradients, "spare gets no gradient"),
    Mistake(RootOfZero, check_gradients, "the gradient of spare is not finite", first=check_missing),
    Mistake(KeepsATensorThatIsNoBuffer, check_saved, "with the same config and state dict is not the same"),
    Mistake(ZerosOfTheDefaultDtype, check_dtype, "dtype"),
]


def build(model: type[SequenceModel], spec: ObservationSpec) -> SequenceModel:
    torch.manual_seed(0)
    return model(spec, model.Config()).double()


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_model_of_somebody_else_passes(spec: ObservationSpec) -> None:
    is_derived = spec in (SPECS["real"], SPECS["with gaps"], SPECS["with inputs"])  # to trace all takes long
    check_model(Tiny if is_derived else lambda spec: walking(Tiny(spec)), spec)


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_mistake_fails_the_check_that_is_made_for_it(mistake: Mistake) -> None:
    spec = SPECS[mistake.spec]
    with pytest.raises(AssertionError, match=rf"(?s)^{mistake.check.__name__}: .*{mistake.says}"):
        mistake.check(build(mistake.model, spec), random_batch(spec, missing=spec.missing))


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_check_model_names_the_first_check_that_a_mistake_fails(mistake: Mistake) -> None:
    """Of what is derived only where checks compete: to trace them all, check by check, takes long."""
    first = mistake.first or mistake.check
    build = mistake.model if mistake.first else lambda spec: walking(mistake.model(spec))
    with pytest.raises(AssertionError, match=rf"^{first.__name__}: "):
        check_model(build, SPECS[mistake.spec])


def test_a_model_that_takes_the_first_sequence_for_the_longest_fails() -> None:
    with pytest.raises(AssertionError, match=r"^check_rows: .*of sequence 1 \(5 steps\) in a batch differs"):
        check_model(lambda spec: walking(TakesTheFirstForTheLongest(spec)), SPECS["real"])


def test_each_check_has_a_model_that_fails_it() -> None:
    assert {mistake.check for mistake in MISTAKES} == set(MODEL_CHECKS)


def test_an_error_inside_the_model_is_named_and_keeps_its_cause() -> None:
    model = build(Tiny, SPECS["real"])
    model.emission_net = nn.Linear(5, 5)  # of another size than the state
    with pytest.raises(AssertionError, match=r"^check_unroll: raised RuntimeError: ") as caught:
        check_unroll(model, random_batch(SPECS["real"]))
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_model_without_gaps_in_its_data_need_not_know_their_mark() -> None:
    check_model(MultipliesTheMark, SPECS["real"])


def test_models_are_checked_in_float64() -> None:
    with pytest.raises(ValueError, match=r"float32.*call model\.double\(\)"):
        check_unroll(Tiny(SPECS["real"]).float(), random_batch(SPECS["real"]))


def test_padding_is_checked_with_padding() -> None:
    with pytest.raises(AssertionError, match=r"check_padding: .*lengths are \[3, 3\]: nothing is padded"):
        check_padding(build(Tiny, SPECS["real"]), random_batch(SPECS["real"], (3, 3)))


def state_of_the_world() -> dict[str, Any]:
    generator = torch.get_rng_state().tolist()
    return {"dtype": torch.get_default_dtype(), "threads": torch.get_num_threads(), "generator": generator}


@pytest.mark.parametrize("model", [Tiny, EmissionSeesTheFuture])
def test_checks_leave_the_world_as_it_was(model: type[Tiny]) -> None:
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float32)
    before = state_of_the_world()
    try:
        check_model(model, SPECS["real"])
    except AssertionError:
        assert model is not Tiny
    assert state_of_the_world() == before


@pytest.mark.parametrize("check", MODEL_CHECKS, ids=lambda check: check.__name__)
def test_a_check_leaves_the_model_as_it_was(check: Check) -> None:
    model = build(Tiny, SPECS["real"]).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check(model, random_batch(SPECS["real"]))
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_random_batch_is_the_seeds_alone(spec: ObservationSpec) -> None:
    one = random_batch(spec, missing=spec.missing)
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(5)
    same, other = random_batch(spec, missing=spec.missing), random_batch(spec, missing=spec.missing, seed=2)
    assert torch.equal(one.x, same.x)
    assert not torch.equal(one.x, other.x)
    assert one.x.dtype == (torch.int64 if spec.kind == "categorical" else torch.float64)


# ---- bounds

BOUNDS: dict[str, Bound] = {
    "elbo": ELBO(),
    "iwae": IWAE(particles=3),
    "iwae, doubly reparameterized": IWAE(particles=3, gradient="doubly_reparameterized"),
    "importance": Importance(particles=3),
    "fivo": FIVO(particles=3, threshold=2.0),
}
PLAIN = Weights()


def weights_for(name: str, model: SequenceModel) -> Weights:
    return Weights(kl=0.7 if name == "elbo" else 1.0, costs=dict.fromkeys(model.cost_names, 0.3))


def linear_gaussian() -> tuple[SequenceModel, SequenceBatch]:
    """A model that knows its likelihood, and data."""
    torch.manual_seed(0)
    spec = ObservationSpec("real", 2)
    return LinearGaussian(spec, LinearGaussianConfig(2, "learned", mlp_size=3)).double(), random_batch(spec)


@pytest.mark.parametrize("name", BOUNDS)
def test_a_bound_passes_on_a_model_of_somebody_else(name: str) -> None:
    spec = SPECS["with gaps"]
    model = build(Tiny, spec)
    check_bound(BOUNDS[name], model, random_batch(spec, missing=True), weights=weights_for(name, model))


@pytest.mark.parametrize("name", BOUNDS)
def test_a_bound_passes_where_the_likelihood_is_known(name: str) -> None:
    model, batch = linear_gaussian()
    check_bound(BOUNDS[name], model, batch, weights=weights_for(name, model))


@pytest.mark.parametrize("name", BOUNDS)
def test_a_bound_passes_where_it_is_exact(name: str) -> None:
    model = RNN(SPECS["binary"], RNNConfig(hidden_size=4, embedding_size=3)).double()
    check_bound(BOUNDS[name], model, random_batch(SPECS["binary"]), weights=weights_for(name, model))


@pytest.mark.parametrize("name", ["iwae", "importance", "fivo"])
def test_what_a_bound_reports_has_no_kl_weight(name: str) -> None:
    check_bound(BOUNDS[name], *linear_gaussian(), weights=Weights(kl=0.7))


def test_the_exact_likelihood_passes() -> None:
    check_bound(Exact(), *linear_gaussian())


def test_a_surrogate_loss_passes_when_it_is_announced() -> None:
    model, batch = build(Tiny, SPECS["real"]), random_batch(SPECS["real"])
    with pytest.raises(AssertionError, match="check_bound: without weights the loss is not minus the value"):
        check_bound(ELBO(free_nats=1.0), model, batch)
    check_bound(ELBO(free_nats=1.0), model, batch, surrogate=True)


@dataclass(frozen=True)
class Altered(Bound):
    """The ELBO with a mistake."""

    change: Callable[[BoundResult], BoundResult]
    particles = 1

    def __call__(self, model: SequenceModel, batch: SequenceBatch, *, weights: Weights = PLAIN) -> BoundResult:
        return self.change(ELBO()(model, batch, weights=weights))


class IgnoresWeights(Bound):
    def __call__(self, model: SequenceModel, batch: SequenceBatch, *, weights: Weights = PLAIN) -> BoundResult:
        return ELBO()(model, batch)


@dataclass(frozen=True)
class Reweighted(Bound):
    """The ELBO of other weights."""

    change: Callable[[Weights], Weights]

    def __call__(self, model: SequenceModel, batch: SequenceBatch, *, weights: Weights = PLAIN) -> BoundResult:
        noise = model.draw_noise(batch)
        found = ELBO()(model, batch, weights=self.change(weights), noise=noise)
        return replace(found, terms=ELBO()(model, batch, weights=weights, noise=noise).terms)


class AddsCosts(Bound):
    def __call__(self, model: SequenceModel, batch: SequenceBatch, *, weights: Weights = PLAIN) -> BoundResult:
        found = ELBO()(model, batch, weights=weights)
        return replace(found, loss=found.loss + 2 * sum(w * found.terms[name] for name, w in weights.costs.items()))


class ForgetsTheMask(Bound):
    """The KL by sample, of all steps."""

    def __call__(self, model: SequenceModel, batch: SequenceBatch, *, weights: Weights = PLAIN) -> BoundResult:
        run = model.unroll(batch)
        ratio = run.posterior.log_prob(run.latents) - run.prior.log_prob(run.latents)
        value, kl = (run.log_px - ratio).sum(1), ratio.sum(1)
        terms = {"log_px": run.log_px.sum(1), "kl": run.kl.sum(1)} | {n: run.cost(n).sum(1) for n in run.cost_names}
        return BoundResult(value.detach(), -value + (1 - weights.kl) * kl, terms, "lower bound")


class DrawsElsewhere(Bound):
    """From a generator of its own, so that no seed repeats a run."""

    generator = torch.Generator().manual_seed(0)

    def __call__(self, model: SequenceModel, batch: SequenceBatch, *, weights: Weights = PLAIN) -> BoundResult:
        noise = torch.randn(*batch.x.shape[:2], model.latent_size, generator=self.generator)
        return ELBO()(model, batch, weights=weights, noise=noise)


def negated(r: BoundResult) -> BoundResult:
    return replace(r, value=-r.value, loss=-r.loss)


BAD_BOUNDS: dict[str, tuple[Bound, str]] = {
    "reports its loss": (Altered(lambda r: replace(r, value=-r.loss.detach())), "the value changes with Weights"),
    "wrong sign": (Altered(negated), "above the log-likelihood"),
    "float32": (Altered(lambda r: replace(r, value=r.value.float())), "value is torch.float32"),
    "value with a gradient": (Altered(lambda r: replace(r, value=-r.loss)), "value has a gradient"),
    "loss without": (Altered(lambda r: replace(r, loss=r.loss.detach())), "loss has no gradient"),
    "a mean": (Altered(lambda r: replace(r, value=r.value.mean())), r"value is \[\]; it must be \[B\] = \[3\]"),
    "not finite": (Altered(lambda r: replace(r, value=r.value / 0)), "value is not finite"),
    "a kind of its own": (Altered(lambda r: replace(r, kind="upper")), "kind is 'upper'"),  # type: ignore[arg-type]
    "promises too much": (Altered(lambda r: replace(r, kind="exact")), "kind is 'exact', but the value is not"),
    "no record": (Altered(lambda r: r.value), "must return a BoundResult, not a Tensor"),  # type: ignore[arg-type,return-value]
    "ignores weights": (IgnoresWeights(), "the loss is the same with Weights"),
    "forgets the mask": (ForgetsTheMask(), "changes with the padding"),
    "lacks a term": (Altered(lambda r: replace(r, terms={"kl": r.terms["kl"]})), "it needs log_px"),
    "a KL by sample": (Altered(lambda r: replace(r, terms=r.terms | {"kl": -r.terms["kl"]})), "never negative"),
    "draws elsewhere": (DrawsElsewhere(), "doesn't follow torch's seed"),
    "leaves costs out": (Reweighted(lambda w: Weights(w.kl)), "adds other than minus 0.3 times"),
    "adds costs": (AddsCosts(), "adds other than minus 0.3 times"),
    "another KL weight": (Reweighted(lambda w: Weights(2 - w.kl, costs=w.costs)), "with a KL weight of 0 the loss"),
    "the KL's square root": (Reweighted(lambda w: Weights(w.kl**0.5, costs=w.costs)), "doesn't have 0.7 of the KL"),
}


@pytest.mark.parametrize("name", BAD_BOUNDS)
def test_a_bound_with_a_mistake_fails(name: str) -> None:
    bound, says = BAD_BOUNDS[name]
    tiny = "mask" in name or "costs" in name
    model, batch = (build(Tiny, SPECS["real"]), random_batch(SPECS["real"])) if tiny else linear_gaussian()
    with pytest.raises(AssertionError, match=f"^check_bound: .*{says}"):
        check_bound(bound, model, batch)


def test_without_latents_a_bound_must_say_that_it_is_exact() -> None:
    model = RNN(SPECS["real"], RNNConfig(hidden_size=4, embedding_size=3)).double()
    with pytest.raises(AssertionError, match="check_bound: kind is 'estimate'; without latents a bound is exact"):
        check_bound(Altered(lambda r: replace(r, kind="estimate")), model, random_batch(SPECS["real"]))


def test_exact_is_refused_of_a_model_that_does_not_know_its_likelihood() -> None:
    model, batch = build(Tiny, SPECS["real"]), random_batch(SPECS["real"])
    with pytest.raises(AssertionError, match="kind is 'exact', but the model has no exact likelihood"):
        check_bound(Altered(lambda r: replace(r, kind="exact")), model, batch)
