"""The deep belief network: sums over all bits by NumPy, its training and its estimate, faults that the checks find."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import zforcing as zf
from conftest import Command
from zforcing import AIS, DBN, ELBO, IWAE, NADE, ObservationSpec, SequenceBatch, UserError
from zforcing.bounds import Chib
from zforcing.models.images.annealing import LogPartition, annealed_log_partition, inverse_temperatures
from zforcing.models.images.posterior_chain import ByChain, Posterior, log_by_chain
from zforcing.models.images.rbm import RBM, drawn_bits
from zforcing.models.images.unnormalized import Learned, Unnormalized
from zforcing.testing import all_images, check_image_model, images_of
from zforcing.testing.images import assert_drawn_from, check_draws, check_known_part
from zforcing.testing.listing import all_bits, listed_log_likelihood, listed_terms
from zforcing.testing.partition import check_estimate, check_learning, check_partition

SPEC = ObservationSpec("binary", 6)
SIZES: dict[str, Any] = {
    "hidden_size": 4,
    "top_size": 7,
    "chains": 50,
    "gibbs_steps": 5,
    "top_gibbs_steps": 5,
    "weight_decay": 0.0,
    "sample_steps": 20,
    "completion_steps": 10,
}
LAYERS = {"one": 10**6, "two": 0}


def network(layers: str, cls: type[DBN] = DBN, **changed: Any) -> Callable[[ObservationSpec], DBN]:
    def build(spec: ObservationSpec) -> DBN:
        model = cls(spec, **SIZES | {"first_layer_batches": LAYERS[layers]} | changed)
        model.batches += 1
        torch.nn.init.normal_(model.pixel_logits)
        return model

    return build


def random_network(layers: str, cls: type[DBN] = DBN, *, scale: float = 0.7, **changed: Any) -> DBN:
    torch.manual_seed(1)
    model = network(layers, cls, **changed)(SPEC).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_().mul_(scale)
    return model


# ---- the checks, and what they find


@pytest.mark.parametrize("layers", [pytest.param("one", marks=pytest.mark.slow), "two"])
def test_it_keeps_the_contract(layers: str) -> None:
    check_image_model(network(layers))


class ForgetsABias(DBN):
    """The machine that the chains begin with has another Z."""

    def log_partition(self, **given: Any) -> LogPartition:
        found = super().log_partition(**given)
        return found._replace(value=found.value - float(self.top.c.detach().sum()) / 2)


class SaysLess(DBN):
    """The variance of the weights for their standard error."""

    def log_partition(self, **given: Any) -> LogPartition:
        found = super().log_partition(**given)
        return found._replace(error=found.error**2)


class WithoutChains(DBN):
    """The chains count for nothing."""

    def learn(self, batch: SequenceBatch, **given: Any) -> Learned:
        learned = super().learn(batch, **given)
        h = learned.terms.latents[:, 0]
        machine, data = (self.first, batch.x[:, 0]) if self.depth == 1 else (self.top, h)
        return learned._replace(loss=machine.free_energy(data))


class OneStep(DBN):
    """Contrastive divergence by one step from the data."""

    def move_chains(self, h: Tensor) -> Tensor:
        if self.depth == 2:
            return self.top.gibbs(h, steps=1)
        return self.first.gibbs(torch.bernoulli(torch.sigmoid(self.first.visible_logits(h))), steps=1)


class ReadsTheMean(DBN):
    """q(h | x) is left out of the weights."""

    def unnormalized(self, batch: SequenceBatch, **given: Any) -> Unnormalized:
        found = super().unnormalized(batch, **given)
        return found._replace(log_q=torch.zeros_like(found.log_q))


class DrawsTheFirst(DBN):
    """Samples are the first machine's, and scored with the top."""

    def sample(self, num_samples: int) -> zf.Generated:
        before = self.batches.clone()
        self.batches.zero_()
        self.config = zf.DBNConfig(**SIZES)
        drawn = super().sample(num_samples)
        self.batches.copy_(before)
        self.config = zf.DBNConfig(**SIZES | {"first_layer_batches": 0})
        return drawn


class ForgetsThePixels(DBN):
    """Completions draw h by u alone."""

    def _swept(self, x: Tensor, known: Tensor, h: Tensor) -> Tensor:
        return super()._swept(x, torch.zeros_like(known), h)


class OnlyForwards(DBN):
    """The chain in p(h | x) goes on in one direction from the bits that it is to pass."""

    def log_by_chain(self, batch: SequenceBatch, *, states: int) -> ByChain:
        sweep = Posterior.sweep
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Posterior, "sweep", lambda self, h, **given: sweep(self, h, **given | {"backwards": None}))
            return super().log_by_chain(batch, states=states)


@pytest.mark.parametrize(
    ("faulty", "check", "layers", "said"),
    [
        (ForgetsABias, check_partition, "two", "exp.log Z estimated - log Z. is"),
        (SaysLess, check_partition, "one", "errors of log Z are"),
        pytest.param(WithoutChains, check_learning, "one", "the gradient of W_1 is off by", marks=pytest.mark.slow),
        (WithoutChains, check_learning, "two", "the gradient of W_2 is off by"),
        (OneStep, check_learning, "two", "the gradient of W_2 is off by"),
        (ReadsTheMean, check_estimate, "two", "weights have the mean"),
        (OnlyForwards, check_estimate, "two", "by chains, the mean is"),
        (DrawsTheFirst, check_draws, "two", "samples aren't from the density that is scored"),
        (ForgetsThePixels, check_known_part, "two", "completions aren't from p"),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_a_planted_fault_is_found(faulty: type[DBN], check: Callable[[Any], None], layers: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check(random_network(layers, faulty, scale=1.5 if faulty in (OneStep, OnlyForwards) else 0.7))


# ---- one machine


def machine(visible: int = 4, hidden: int = 3, scale: float = 1.0) -> RBM:
    generator = torch.Generator().manual_seed(3)
    shapes = ((visible, hidden), (visible,), (hidden,))
    return RBM(*(scale * torch.randn(s, generator=generator).double() for s in shapes))


def joint(rbm: RBM) -> np.ndarray[Any, np.dtype[np.float64]]:
    """exp of the energy of all bits v and u, [2^V, 2^U], by NumPy."""
    W, b, c = (p.numpy() for p in rbm)
    v, u = all_bits(len(b)).numpy(), all_bits(len(c)).numpy()
    found: np.ndarray[Any, np.dtype[np.float64]] = np.exp((v @ b)[:, None] + u @ c + v @ W @ u.T)
    return found


def test_the_free_energy_is_the_sum_over_hidden_bits() -> None:
    rbm = machine()
    for one, bits, axis in ((rbm, all_bits(4), 1), (rbm.turned, all_bits(3), 0)):
        np.testing.assert_allclose(-one.free_energy(bits).numpy(), np.log(joint(rbm).sum(axis)), rtol=1e-12)


def test_a_gibbs_step_leaves_the_density_as_it_is() -> None:
    rbm = machine()
    p = torch.tensor(joint(rbm).sum(1) / joint(rbm).sum())
    torch.manual_seed(0)
    start = all_bits(4)[torch.multinomial(p, 20_000, replacement=True)]
    assert_drawn_from(rbm.gibbs(start, steps=1), p, "after one step")
    assert_drawn_from(rbm.gibbs(torch.ones_like(start), steps=30), p, "from anywhere")


@torch.no_grad()
def test_a_sweep_leaves_the_bits_given_what_is_known_as_they_are() -> None:
    model, known = random_network("two", scale=1.5), torch.tensor([[True, False, True, True, False, True]])
    x = all_images(6)[[37]] * known
    p = listed_terms(model, images_of(x, known)).log_joint[:, 0].softmax(0)
    h = all_bits(4)[torch.multinomial(p, 20_000, replacement=True)]
    assert_drawn_from(model._swept(x.expand(20_000, 6), known.expand(20_000, 6), h), p, "after a sweep")


def test_chains_lead_to_log_z_from_any_beginning() -> None:
    rbm = machine(scale=1.5)
    log_z = float(np.log(joint(rbm).sum()))
    for base in (torch.zeros(4).double(), 2 * torch.ones(4).double(), rbm.b):
        found = annealed_log_partition(rbm, base, chains=500, temperatures=100, seed=0)
        assert abs(found.value - log_z) < 4.5 * found.error
        again = annealed_log_partition(rbm, base, chains=500, temperatures=100, seed=0)
        assert found == again
    coarse = annealed_log_partition(rbm, base, chains=500, temperatures=2, seed=0)
    assert found.error < coarse.error / 2


def test_temperatures_rise_to_1_and_grow_denser() -> None:
    beta = inverse_temperatures(100)
    steps = [b - a for a, b in pairwise(beta)]
    assert (beta[0], beta[-1], len(beta)) == (0, 1, 101)
    assert all(later < before for before, later in pairwise(steps))
    assert inverse_temperatures(1) == [0, 1]


# ---- training


@torch.no_grad()
def listed(model: DBN) -> Tensor:
    found = listed_log_likelihood(model, images_of(all_images(6)))
    return found


def test_the_top_begins_as_the_model_that_the_first_layer_was() -> None:
    model = random_network("one", top_size=9)
    before = listed(model)
    model.W_2.data.zero_()
    model.d.data.zero_()
    model.begin_top()
    model.config = zf.DBNConfig(**SIZES | {"top_size": 9, "first_layer_batches": 0})
    assert model.label == "dbn (two hidden layers)"
    torch.testing.assert_close(listed(model), before)


def test_a_top_with_fewer_units_than_pixels_begins_with_the_bits_of_the_mean_image() -> None:
    model = random_network("one", top_size=3)
    before = model.W_2.clone()
    model.begin_top()
    torch.testing.assert_close(model.c, model.a + torch.sigmoid(model.pixel_logits) @ model.W_1)
    assert torch.equal(model.W_2, before)


@pytest.mark.parametrize("layers", LAYERS)
def test_the_loss_has_half_of_the_decay_times_the_squared_weights(layers: str) -> None:
    batch = images_of(all_images(6)[5::7])
    model, without = (random_network(layers, weight_decay=decay) for decay in (0.5, 0.0))
    with_decay, plain = (one.learn(batch, noise=model.draw_noise(batch) * 0).loss for one in (model, without))
    W = model.W_1 if layers == "one" else model.W_2
    torch.testing.assert_close(with_decay - plain, (0.25 * (W**2).sum()).expand(len(batch)))


def test_chains_take_the_steps_that_the_settings_say() -> None:
    """Two each, of chains that begin at h = 0: their probabilities by NumPy."""
    for layers in LAYERS:
        model = random_network(layers, chains=0, gibbs_steps=2, top_gibbs_steps=2, scale=1.5)
        moves = joint(RBM(*(p.detach() for p in (model.first if layers == "one" else model.top))))
        to_hidden, to_visible = moves / moves.sum(1, keepdims=True), (moves / moves.sum(0)).T
        step = to_hidden @ to_visible
        p = to_visible[0] @ step if layers == "one" else (step @ step)[0]
        assert_drawn_from(model.move_chains(torch.zeros(20_000, 4)), torch.tensor(p), layers)


def test_chains_go_on_where_they_ended_with_other_noise_at_each_batch() -> None:
    model, h = random_network("two"), torch.zeros(50, 4)
    ends = []
    for _ in range(2):
        model.negative.zero_()
        ends.append(model.move_chains(h))
        assert torch.equal(model.negative, ends[-1])
        model.batches += 1
    assert not torch.equal(*ends)
    first = random_network("one")
    first.move_chains(h)
    assert bool(first.negative.any())


@pytest.mark.parametrize("layers", LAYERS)
def test_a_batch_of_training_is_valued_by_the_log_z_that_the_model_last_estimated(layers: str) -> None:
    model, batch = random_network(layers).train(), images_of(all_images(6)[5::7])
    model.log_z.fill_(2.5)
    found = AIS()(model, batch, noise=(noise := model.draw_noise(batch)))
    terms = model.unnormalized(batch, noise=noise)
    torch.testing.assert_close(found.value, terms.log_px + terms.log_prior - terms.log_q - 2.5)


def bits(n: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    x = (np.random.default_rng(seed).random((n, 6)) < 0.3).astype(np.float32)
    x[:, 3:] = x[:, :3]
    return x


def data(n: int, seed: int = 0) -> zf.Sequences:
    return zf.Sequences(list(bits(n, seed)[:, None]), kind="binary")


@pytest.fixture
def floats() -> None:
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("floats")
def test_layers_are_trained_one_after_the_other() -> None:
    torch.manual_seed(0)
    model = DBN.for_data(data(60), **SIZES | {"first_layer_batches": 6})
    weights = [{k: v.clone() for k, v in model.named_parameters()}]
    for _ in range(2):  # of 6 batches
        zf.fit(model, data(60), epochs=2, batch_size=20, bound=AIS(), progress=False)
        weights.append({k: v.clone() for k, v in model.named_parameters()})
    changed = [{k for k in a if not torch.equal(a[k], b[k])} for a, b in pairwise(weights)]
    assert changed == [{"W_1", "b", "a"}, {"W_2", "c", "d"}]
    assert int(model.batches) == 12


@pytest.mark.usefixtures("floats")
def test_rows_are_measured_more_seldom_once_a_layer_is_trained_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = DBN(SPEC, **SIZES | {"first_layer_batches": 3200}), images_of(torch.zeros(2, 6))
    measured = []
    monkeypatch.setattr(
        DBN, "log_partition", lambda self, **_: measured.append(int(self.batches)) or LogPartition(0, 0)
    )
    for before in (99, 100, 1900, 2100, 2500, 3100, 3200, 3300, 5200, 5300, 5700):
        model.batches.fill_(before)
        model.learn(batch)
    assert measured == [101, 1901, 2501, 3201, 3301, 5201, 5701]


@pytest.mark.usefixtures("floats")
def test_training_goes_on_from_what_is_saved_whatever_torch_drew(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = DBN.for_data(data(60), **SIZES | {"first_layer_batches": 3})
    batch = images_of((torch.rand(5, 6) < 0.5).float()).seeded(torch.arange(5))
    for _ in range(2):
        model.learn(batch)
    zf.save(tmp_path / "m", model)
    again = zf.load(tmp_path / "m")
    for _ in range(3):
        losses = []
        for one in (model, again):
            torch.manual_seed(len(losses))
            losses.append(one.learn(batch).loss)
        assert torch.equal(*losses)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


@pytest.mark.slow
@pytest.mark.usefixtures("floats")
@pytest.mark.parametrize("chains", [0, 50])
def test_training_reaches_what_pixels_share(chains: int) -> None:
    """The entropy of three bits of probability 0.3 is 1.83 nats; pixels by themselves have 3.67."""
    torch.manual_seed(0)
    settings = SIZES | {"chains": chains, "first_layer_batches": 300, "hidden_size": 6}
    model = DBN.for_data(data(200), **settings)
    history = zf.fit(
        model,
        data(200),
        data(100, 1),
        epochs=60,
        batch_size=20,
        bound=AIS(validation_temperatures=100),
        learning_rate=0.05,
        learning_rate_factor=1.0,
        patience=None,
        progress=False,
    )
    assert history.best is not None
    assert history.best.kind == "estimate"
    assert history.best.nats > -2.6
    exact = listed_log_likelihood(model.double(), images_of(torch.tensor(bits(100, 1)).double()))
    assert history.best.nats == pytest.approx(float(exact.mean()), abs=0.2)


# ---- the estimate


def test_more_draws_come_closer_to_the_log_likelihood() -> None:
    model, batch = random_network("two"), images_of(all_images(6)[:16])
    torch.manual_seed(0)
    gaps = []
    for particles, repeats in ((1, 200), (10, 50), (1000, 2)):
        bound = AIS(particles, chains=400, temperatures=300).prepared(model)
        value = bound(model, batch.repeat(repeats)).value.view(repeats, -1).mean(0)
        gaps.append(float((listed(model)[:16] - value).mean()))
    assert gaps[0] > gaps[1] > gaps[2]
    assert abs(gaps[2]) < 0.05


def test_a_sweep_in_the_posterior_keeps_it_and_is_reversed_by_one_backwards() -> None:
    model, bits = random_network("two", scale=1.2), all_bits(4)
    x = all_images(6)[37].repeat(16, 1)
    posterior = Posterior(model.first, model.top, x, torch.ones_like(x, dtype=torch.bool))
    none = torch.zeros(16, dtype=torch.bool)
    with torch.no_grad():
        log_joint = zf.models.images.reading.log_bernoulli(model.first.visible_logits(bits), x)
        p = (log_joint - model.top.free_energy(bits)).softmax(0).numpy()
        ahead, back = (
            np.stack([posterior.sweep(bits, to=h.repeat(16, 1), backwards=way)[1].exp().numpy() for h in bits], axis=1)
            for way in (None, ~none)
        )
        assert np.array_equal(ahead[:, 3], posterior.sweep(bits, to=bits[3].repeat(16, 1), backwards=none)[1].exp())
    assert np.allclose(ahead.sum(1), 1)
    assert np.allclose(p @ ahead, p)
    assert np.allclose(p[:, None] * ahead, (p[:, None] * back).T)
    assert not np.allclose(ahead, back)


def test_a_chain_is_on_the_device_of_its_images() -> None:
    first, top = (RBM(*(p.to("meta") for p in machine(*sizes))) for sizes in ((6, 4), (4, 5)))
    x, known, h, noise = torch.zeros(3, 6), torch.ones(3, 6, dtype=torch.bool), torch.zeros(3, 4), torch.zeros(3, 7, 4)
    posterior = Posterior(first, top, x.double().to("meta"), known.to("meta"))
    found = log_by_chain(posterior, h.double().to("meta"), noise.double().to("meta"))
    assert (found.estimate.shape, found.estimate.device.type) == ((3,), "meta")


def test_a_sweep_draws_by_the_probability_that_it_says() -> None:
    model, n = random_network("two", scale=1.2), 40_000
    x, h = all_images(6)[37].repeat(n, 1), torch.tensor([1.0, 0, 1, 1]).double().repeat(n, 1)
    posterior = Posterior(model.first, model.top, x, torch.ones_like(x, dtype=torch.bool))
    torch.manual_seed(0)
    with torch.no_grad():
        drawn, said = posterior.sweep(h, noise=torch.rand(n, 4).double(), backwards=torch.arange(n) % 2 == 1)
        few = posterior._replace(x=x[:16], known=posterior.known[:16])
        for way in (0, 1):
            _, log_t = few.sweep(h[:16], to=all_bits(4), backwards=torch.full((16,), bool(way)))
            assert_drawn_from(drawn[way::2], log_t.exp(), "sweeps")
    assert torch.equal(said, posterior.sweep(h, to=drawn, backwards=torch.arange(n) % 2 == 1)[1])


def test_a_chain_of_more_states_comes_closer_and_is_that_of_the_image_alone() -> None:
    model, batch = random_network("two"), images_of(all_images(6)[:16])
    torch.manual_seed(0)
    gaps = []
    for states, repeats in ((1, 200), (4, 100), (60, 4)):
        bound = Chib(states, chains=400, temperatures=300).prepared(model)
        result = bound(model, batch.repeat(repeats))
        gaps.append(float((listed(model)[:16] - result.value.view(repeats, -1).mean(0)).mean()))
    assert gaps[0] > gaps[1] > gaps[2]
    assert abs(gaps[2]) < 0.05
    torch.set_default_dtype(torch.float32)
    model.float()
    found = [
        zf.evaluate(model, data(30), bound=Chib(3, chains=20, temperatures=30), max_rows=rows) for rows in (12, 300)
    ]
    assert found[0].nats_per_sequence == pytest.approx(found[1].nats_per_sequence, abs=1e-5)
    assert (found[0].kind, found[0].bound, found[0].particles) == ("estimate", "chib", 3)


def test_a_prepared_bound_has_the_log_z_of_its_settings_and_the_error_that_is_said() -> None:
    model, bound = random_network("two"), AIS(3, chains=20, temperatures=9, validation_temperatures=4, seed=5)
    found, expected = bound.prepared(model), model.log_partition(chains=20, temperatures=9, seed=5)
    assert (found.partition, found.shared_error) == (expected, expected.error)
    assert bound.validating() == AIS(3, chains=20, temperatures=4, validation_temperatures=4, seed=5)
    assert AIS(100).validating().particles == 10


def test_log_z_is_estimated_once_for_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_default_dtype(torch.float32)
    calls = []
    whole = DBN.log_partition
    monkeypatch.setattr(DBN, "log_partition", lambda self, **given: calls.append(given) or whole(self, **given))
    model = DBN.for_data(data(40), **SIZES)
    found = zf.evaluate(model, data(30), bound=AIS(3, chains=20, temperatures=30), max_rows=12, repeats=2)
    assert calls == [{"chains": 20, "temperatures": 30, "seed": 0}]
    assert (found.kind, found.bound, found.model) == ("estimate", "ais", "dbn (one hidden layer)")
    assert found.shared_error is not None
    assert 0 < found.shared_error < 0.1
    told = {"particles": 3, "chains": 20, "temperatures": 30, "validation_temperatures": 1000, "seed": 0}
    assert zf.Evaluation.from_json(found.to_json()).bound_settings == told
    zf.fit(model, data(40), data(20), epochs=1, bound=AIS(temperatures=50, validation_temperatures=7), progress=False)
    assert [c["temperatures"] for c in calls[1:]] == [7, 200, 7]  # of the validations, and of the first batch


# ---- the house around it


@pytest.mark.usefixtures("floats")
def test_it_is_saved_drawn_from_and_fills_gaps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = DBN.for_data(data(60), **SIZES | {"first_layer_batches": 3})
    zf.fit(model, data(60), data(30, 1), epochs=2, batch_size=20, bound=AIS(temperatures=20), progress=False)
    zf.save(tmp_path / "m", model)
    loaded = zf.load(tmp_path / "m")
    one, other = (zf.sample(m, 9, seed=2) for m in (model, loaded))
    assert torch.equal(one.x, other.x)
    gap = zf.Sequences([np.array([[1, np.nan, 1, np.nan, np.nan, 0]], np.float32)], kind="binary")
    filled = zf.impute(loaded, gap, particles=20)
    assert filled.mean[0][0, [0, 2, 5]].tolist() == [1, 1, 0]


@pytest.mark.slow
@pytest.mark.usefixtures("floats")
def test_a_run_resumes_bit_for_bit_and_is_measured_by_its_bound(tmp_path: Path, zf: Command) -> None:
    x = (np.random.default_rng(0).random((80, 784)) < 0.1).astype(np.uint8)
    np.savez(tmp_path / "bits.npz", train=x[:60], valid=x[60:70], test=x[70:])
    words = ["--data.root", tmp_path / "bits.npz", "--data.check_known", "false", "--training.batch_size", 20]
    words += ["--model.hidden_size", 4, "--model.top_size", 5, "--model.first_layer_batches", 3]
    words += ["--bound.validation_temperatures", 5, "--bound.temperatures", 30]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    zf("train", "mnist-small-dbn", *words, "--training.max_steps", 7, "--run-dir", whole)
    zf("train", "mnist-small-dbn", *words, "--training.max_steps", 2, "--run-dir", parts)
    zf("train", "mnist-small-dbn", *words, "--training.max_steps", 7, "--run-dir", parts, "--resume")
    one, other = (load_file(run / "checkpoints" / "last" / "model.safetensors") for run in (whole, parts))
    assert one["batches"] == 7
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    found = zf("evaluate", whole, "--json").json
    assert (found["bound"], found["particles"], found["kind"]) == ("ais", 100, "estimate")
    said = zf("evaluate", whole, "--chains", 5, "--temperatures", 9, "--particles", 2).out
    assert "(estimate, ais 2, log Z ± " in said
    assert len(list(whole.glob("evaluation-test-ais2-5-chains-9-temperatures.json"))) == 1
    assert zf("table", whole, "--json").json["rows"][0]["bound"] == "ais"
    assert zf("table", whole, "--bound", "ais", "--json").json["rows"][0]["particles"] == 100
    said = zf("evaluate", whole, "--bound", "chib", "--particles", 2, "--temperatures", 9).out
    assert "(estimate, chib 2, log Z ± " in said
    assert zf("evaluate", whole, "--bound", "chib").code == 0
    assert zf("table", whole, "--bound", "chib", "--json").json["rows"][0]["particles"] == 20
    refused = zf("evaluate", whole, "--bound", "elbo")
    assert (refused.code, "take bound ais, which estimates it" in refused.err) == (2, True)
    refused = zf("evaluate", whole, "--bound", "elbo", "--chains", 5)
    assert (refused.code, "--chains: bound elbo has none to choose; ais and chib have" in refused.err) == (2, True)
    assert zf("report", whole, "--out", tmp_path / "page.html").code == 0
    done = zf("continue", whole, "test:0,4", "--given", 0.5, "--num", 2, "--json").json
    assert done["prefix_steps"] == [392, 392]


def test_bits_of_halves_are_as_rare_as_their_logits_say() -> None:
    """A uniform number in bfloat16 is 0 in one draw of 256."""
    logits = torch.full((100_000,), -9.0, dtype=torch.bfloat16)
    drawn = drawn_bits(logits, torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.bfloat16
    assert 2 <= int(drawn.float().sum()) <= 30  # 12.3 on average


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: DBN(ObservationSpec("real", 3)), "model dbn is of binary images without inputs"),
        (lambda: DBN(SPEC, chains=-1), "model.chains is -1; it must be 0 or more"),
        (lambda: AIS(chains=1), "bound.chains is 1; it must be 2 or more"),
        (lambda: AIS(temperatures=0), "bound.temperatures is 0; it must be 1 or more"),
        (lambda: ELBO()(DBN(SPEC), images_of(torch.zeros(1, 6))), "take bound ais, which estimates it"),
        (lambda: IWAE(2)(DBN(SPEC), images_of(torch.zeros(1, 6))), "take bound ais, which estimates it"),
        (lambda: AIS()(DBN(SPEC), images_of(torch.zeros(1, 6)), weights=zf.Weights(0.5)), "leave out weights"),
        (lambda: AIS()(DBN(SPEC), images_of(torch.zeros(1, 6)), weights=zf.Weights(extra=0.1)), "leave out weights"),
        (lambda: zf.evaluate_forecast(DBN(SPEC), data(5), steps=1), "a forecast needs a model of sequences"),
        (lambda: DBN(SPEC).log_likelihood(images_of(torch.zeros(1, 6))), "no exact likelihood"),
        (lambda: AIS()(NADE(SPEC), images_of(torch.zeros(1, 6))), "of models that know p.x. up to a constant"),
        (
            lambda: DBN(SPEC).learn(images_of(torch.zeros(1, 6), torch.tensor([[True, False] * 3]))),
            "trained on whole images",
        ),
        (lambda: zf.fit(DBN(SPEC), data(5), epochs=1, progress=False), "take bound ais, which estimates it"),
        (
            lambda: zf.fit(
                DBN(SPEC), data(5), bound=AIS(), weights=zf.WeightSchedules(kl=zf.Schedule(0.5)), progress=False
            ),
            "bound ais with these settings needs weights.kl 1",
        ),
    ],
)
@pytest.mark.usefixtures("floats")
def test_what_cannot_be_is_refused_in_one_line(ask: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        ask()
    assert "\n" not in str(caught.value)
