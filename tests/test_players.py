"""Players beside the bound: whose parameters move, when, by which gradient; and runs that go on with them."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import zforcing as zf
from conftest import SPECS, Case, metrics_of, random_batch
from zforcing import ELBO, ObservationSpec, UserError
from zforcing.bounds import Weights
from zforcing.models import DensityModel, SequenceModel
from zforcing.observations import SequenceBatch
from zforcing.registry import register
from zforcing.saving.digests import SUMS
from zforcing.training.callbacks import Callback
from zforcing.training.parallel import SingleProcess
from zforcing.training.players import PLAYERS, Player, Professor
from zforcing.training.players import professor as professor_file
from zforcing.training.players.discriminator import Discriminator, accuracy
from zforcing.training.players.player import Gate, Play
from zforcing.training.players.professor import free_running, trajectory
from zforcing.training.players.turn import PlayerUpdate, evaluating
from zforcing.training.reporter import Reporter
from zforcing.training.runs.config import RunConfig, parse_config
from zforcing.training.runs.run import train
from zforcing.training.settings import TrainingConfig
from zforcing.training.update import BoundModule, EagerUpdate, Part, make_optimizer

RNN = Case("rnn", {"hidden_size": 3, "embedding_size": 2})
MODELS = {
    "rnn": RNN,
    "vrnn": Case("vrnn", {"hidden_size": 3, "latent_size": 2, "feature_size": 2, "mlp_size": 3}),
    "srnn": Case("srnn", {"hidden_size": 3, "latent_size": 2, "embedding_size": 2, "mlp_size": 3}),
}


def small(case: Case = RNN, kind: str = "binary") -> Any:
    """A model that walks, as tracing is of no interest here."""
    model = case.build(SPECS[kind])
    model.backend = "reference"
    return model


# ---- any player


@dataclass(frozen=True)
class Tug(Player):
    """Its loss is (w - 1)^2 and the model's term is w times the sum of the model's parameters."""

    name: ClassVar[str] = "tug"
    begin_at: ClassVar[float] = 0.8
    measured: float = 0.5
    up_to: float = 1.0
    scale: float = 1.0

    @property
    def moves(self) -> Gate:
        return Gate(at_most=self.up_to)

    @property
    def counts(self) -> Gate:
        return Gate(above=0.6)

    def network(self, model: DensityModel) -> nn.Module:
        return nn.Linear(1, 1, bias=False)

    def play(self, network: nn.Module, model: DensityModel, batch: SequenceBatch, *, counts: bool) -> Play:
        (w,) = network.parameters()
        everything = torch.cat([p.flatten() for p in model.parameters()]).sum()
        return Play(self.scale * (w - 1).square().sum(), w.sum() * everything, torch.tensor(self.measured))


def update_with(player: Player | None, *, here: SingleProcess | None = None, rate: float = 0.1) -> Any:
    """An update of the same small model, with a player or without."""
    torch.manual_seed(0)
    model = small()
    module = BoundModule(model, ELBO()).train()
    optimizer = make_optimizer(module, TrainingConfig(learning_rate=rate))
    here = here or SingleProcess()
    opponent = None if player is None else PlayerUpdate(player, model, here=here)
    return EagerUpdate(module, optimizer, max_grad_norm=None, here=here, player=opponent)


def step(update: EagerUpdate, *parts: Part) -> Any:
    return update.over(parts or (Part(batch()),), Weights(), learning_rate=0.1)


def batch(seed: int = 0) -> SequenceBatch:
    return random_batch(SPECS["binary"], (4, 3, 4, 2), seed=seed)


def weight_of(update: EagerUpdate) -> float:
    assert update.player is not None
    (w,) = update.player.network.parameters()
    return float(w.detach())


def parameters_of(update: EagerUpdate) -> Tensor:
    return torch.cat([p.detach().flatten() for p in update.module.parameters()])


def gradient_of(update: EagerUpdate) -> Tensor:
    """That of the last step, 0 where there was none."""
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in update.module.parameters()]
    return torch.cat([g.flatten() for g in found])


def test_both_gradients_are_taken_before_either_moves() -> None:
    player = Tug(weight=0.5, learning_rate=0.1, max_grad_norm=None)
    update, alone = update_with(player), update_with(None)
    w = weight_of(update)
    for one in (update, alone):
        step(one)
    added = gradient_of(update) - gradient_of(alone)
    torch.testing.assert_close(added, torch.full_like(added, 0.5 * w))  # of its weight as it was
    assert weight_of(update) == pytest.approx(w + 0.1)  # Adam's first step is the sign of its own loss's gradient


def test_what_is_reported_of_the_model_is_the_bounds_and_the_loss_has_the_term() -> None:
    update, alone = update_with(Tug(weight=0.5)), update_with(None)
    term = 0.5 * weight_of(update) * float(parameters_of(update).sum())
    played, unplayed = step(update), step(alone)
    assert played.sums["value"] == unplayed.sums["value"]
    assert played.loss - unplayed.loss == pytest.approx(4 * term)  # sums over four sequences
    assert {name for name in played.sums if not name.startswith("player.")} == set(unplayed.sums)


def test_a_shut_gate_moves_nothing_and_the_average_still_does() -> None:
    update = update_with(Tug(up_to=0.7, measured=0.3, average=0.5))
    w = weight_of(update)
    assert step(update).sums["player.moved"] == 0
    assert weight_of(update) == w
    assert not update.player.optimizer.state
    assert update.player.average == pytest.approx(0.55)  # of 0.8 and 0.3
    assert step(update).sums["player.moved"] == 1


def test_a_term_that_doesnt_count_leaves_the_model_as_without_a_player() -> None:
    update, alone = update_with(Tug(measured=-9.0)), update_with(None)
    for _ in range(3):  # counted at the first update alone
        counted = step(update).sums["player.counted"]
    assert counted == 0
    first = parameters_of(alone)
    other = update_with(Tug(weight=0.0))
    for one in (alone, other):
        step(one)
    assert torch.equal(parameters_of(alone), parameters_of(other))
    assert not torch.equal(parameters_of(alone), first)


def test_a_player_whose_loss_isnt_finite_stays_and_the_model_moves() -> None:
    update = update_with(Tug(scale=1e308))
    nn.init.constant_(update.player.network.weight, -9.0)
    w, before = weight_of(update), parameters_of(update)
    done = step(update)
    assert done.applied
    assert not torch.equal(parameters_of(update), before)
    assert (weight_of(update), done.sums["player.moved"]) == (w, 0)


def test_a_player_stays_where_the_model_cant_move() -> None:
    update = update_with(Tug())
    w = weight_of(update)
    next(update.module.parameters()).data.fill_(math.nan)
    done = step(update)
    assert not done.applied
    assert (weight_of(update), update.player.average, update.player.updates) == (w, 0.8, 1)


def test_parts_add_up_to_the_whole() -> None:
    whole, halves = update_with(Tug()), update_with(Tug())
    first = batch()
    rows = [replace(first, **{k: v[at] for k, v in first.tensors.items()}) for at in (slice(0, 1), slice(1, 4))]
    sums = [step(whole, Part(first)).sums, step(halves, Part(rows[0], 0.25), Part(rows[1], 0.75)).sums]
    assert sums[0] == pytest.approx(sums[1])
    torch.testing.assert_close(parameters_of(whole), parameters_of(halves))


class Twins(SingleProcess):
    """Two processes that do the same: every sum is twice this one's."""

    def total(self, own: Tensor) -> Tensor:
        return 2 * own

    def add_gradients(self, module: nn.Module) -> None:
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad *= 2


def test_several_processes_add_up_the_players_gradients_too() -> None:
    one, several = update_with(Tug()), update_with(Tug(), here=Twins())
    sums = [step(one, Part(batch())).sums, step(several, Part(batch(), 0.5)).sums]
    assert {k: v for k, v in sums[0].items() if "player" in k} == pytest.approx(
        {k: v for k, v in sums[1].items() if "player" in k}
    )
    torch.testing.assert_close(parameters_of(one), parameters_of(several))
    assert weight_of(one) == weight_of(several)


def test_a_player_joins_after_some_updates_and_plays_at_each_of_several() -> None:
    assert [Tug(after=3, every=2).plays_at(n) for n in range(8)] == [False] * 3 + [True, False, True, False, True]
    update = update_with(Tug(after=1))
    assert [step(update).sums["player.plays"] for _ in range(2)] == [0, 1]


def test_the_terms_gradient_is_clipped_by_itself() -> None:
    update, alone = update_with(Tug(max_grad_norm=1e-3)), update_with(None)
    assert step(update).sums["player.term_gradient_norm"] > 1e-3
    step(alone)
    assert float((gradient_of(update) - gradient_of(alone)).norm()) == pytest.approx(1e-3)


def test_a_player_comes_back_from_its_tensors() -> None:
    update, other = update_with(Tug()), update_with(Tug())
    step(update)
    tensors = update.player.tensors()
    other.player.restore(tensors)
    found = other.player.tensors()
    assert tensors.keys() == found.keys()
    assert all(torch.equal(tensors[name], found[name]) for name in tensors)
    for damage in ({"player.network.weight": torch.zeros(2)}, {"player.moments.0.exp_avg": torch.tensor([[math.nan]])}):
        with pytest.raises(ValueError, match=r"player\.(network\.)?(weight|moments).* finite"):
            other.player.restore(tensors | damage)
    with pytest.raises(KeyError):
        other.player.restore({})


# ---- Professor Forcing


@pytest.mark.parametrize(
    ("average", "who"), [(0.5, {"D"}), (0.75, {"D"}), (0.8, {"D", "G"}), (0.99, {"D", "G"}), (0.995, {"G"})]
)
def test_the_papers_gates(average: float, who: set[str]) -> None:
    update = PlayerUpdate(Professor(), small(), here=SingleProcess())
    assert (update.average, update.begin().moves, update.begin().counts) == (0.5, True, False)
    update.average = average
    turn = update.begin()
    assert {name for name, open_ in (("D", turn.moves), ("G", turn.counts)) if open_} == who


@pytest.mark.parametrize("width", [None, 4])
def test_the_discriminator_tells_an_obvious_difference(width: int | None) -> None:
    torch.manual_seed(1)
    net = Discriminator(2, channels=4, layers=2, dropout=0.2, width=width)
    adam, mask = torch.optim.Adam(net.parameters(), lr=0.02), torch.ones(16, 12, dtype=torch.bool)

    def draw() -> tuple[Tensor, Tensor]:
        """Noise that changes slowly, or from step to step: they differ in no step alone."""
        noise = torch.randn(16, 13, 2)
        return noise[:, :1].expand(16, 12, 2), noise[:, 1:]

    for _ in range(40):
        slow, fast = draw()
        (nn.functional.softplus(-net(slow, mask)).mean() + nn.functional.softplus(net(fast, mask)).mean()).backward()
        adam.step()
        adam.zero_grad()
    slow, fast = (torch.cat(parts) for parts in zip(*(draw() for _ in range(8)), strict=True))
    assert accuracy(net.eval()(slow, mask.repeat(8, 1)), net(fast, mask.repeat(8, 1))) > 0.9


@pytest.mark.parametrize("width", [None, 3])
def test_padding_doesnt_reach_the_discriminator(width: int | None) -> None:
    net = Discriminator(2, channels=3, layers=2, dropout=0.0, width=width)
    x, lengths = torch.randn(3, 9, 2), torch.tensor([9, 5, 2])
    mask = torch.arange(9) < lengths[:, None]
    logits = net(x, mask)
    assert torch.equal(logits, net(torch.where(mask[:, :, None], x, math.nan).nan_to_num(7.0), mask))
    torch.testing.assert_close(net(x[2:, :6], mask[2:, :6]), logits[2:])


def test_accuracy_is_that_of_both_together() -> None:
    assert accuracy(torch.tensor([1.0, 2.0]), torch.tensor([-1.0, 3.0])) == 0.75


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The trajectories of a play, in order: teacher-forced, free-running."""
    found: list[Tensor] = []

    def recording(model: SequenceModel, run: Any) -> Tensor:
        found.append(trajectory(model, run))
        return found[-1]

    monkeypatch.setattr(professor_file, "trajectory", recording)
    return found


def test_the_model_hears_the_discriminator_through_the_free_running_states_alone(recorded: list[Tensor]) -> None:
    model = small().eval()
    net = Professor(dropout=0.0).network(model)
    play = Professor().play(net, model, batch(), counts=True)
    forced, free = recorded
    assert not forced.requires_grad
    parameters = list(model.parameters())
    heard = torch.autograd.grad(play.models, free, retain_graph=True)[0]
    through_free = torch.autograd.grad(free, parameters, heard, retain_graph=True, allow_unused=True)
    found = torch.autograd.grad(play.models, parameters, retain_graph=True, allow_unused=True)
    assert sum(float(g.abs().sum()) for g in found if g is not None) > 0
    for one, other in zip(found, through_free, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)
    own = torch.autograd.grad(play.own, [*parameters, *net.parameters()], allow_unused=True)
    assert all(g is None for g in own[: len(parameters)])
    assert all(g is not None for g in own[len(parameters) :])


def test_the_discriminator_calls_data_real_and_the_model_wants_its_own_called_so(recorded: list[Tensor]) -> None:
    model, data = small().eval(), batch()
    net = Professor(dropout=0.0).network(model)
    play = Professor().play(net, model, data, counts=True)
    forced, free = recorded
    assert torch.equal(forced, trajectory(model, model.walk(data)))
    real, made = (net(part, data.mask).sigmoid() for part in (forced, free))
    torch.testing.assert_close(play.own, -(real.log().mean() + (1 - made).log().mean()))
    torch.testing.assert_close(play.models, -made.log().mean())
    torch.testing.assert_close(play.measure, torch.cat([real > 0.5, made < 0.5]).double().mean())


def test_a_term_that_doesnt_count_has_no_gradient() -> None:
    model = small().eval()
    play = Professor().play(Professor().network(model), model, batch(), counts=False)
    assert not play.models.requires_grad


def test_a_state_without_a_hidden_field_is_named() -> None:
    model = zf.LinearGaussian(ObservationSpec("real", 1), latent_size=2).double()
    assert Professor(channels=2).network(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zf.LinearGaussian, "hidden", "h")
        with pytest.raises(UserError, match=r"linear_gaussian has no hidden trajectory: its state has z, u, and no h"):
            Professor().network(model)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["binary", "real", "categorical", "mixed"])
def test_a_free_running_trajectory_is_that_of_its_draws_fed_as_data(name: str, kind: str) -> None:
    model, data = small(MODELS[name], kind).eval(), random_batch(SPECS[kind], (4, 3, 4, 2))
    run = free_running(model, data)
    assert torch.equal(run.batch.lengths, data.lengths)
    assert not torch.equal(run.batch.x, data.x)
    again = trajectory(model, model.walk(run.batch, latents=run.latents))
    assert torch.equal(trajectory(model, run), again)
    net = Professor(channels=2).network(model)
    assert isinstance(net, Discriminator)
    assert net(again, data.mask).shape == (4,)


@pytest.mark.parametrize("name", MODELS)
def test_the_states_of_a_derived_run_are_those_of_the_walk(name: str) -> None:
    model, data = MODELS[name].build(SPECS["real"]), random_batch(SPECS["real"])
    noise = model.draw_noise(data)
    derived, walked = model.unroll(data, noise=noise), model.walk(data, noise=noise)
    keep = data.mask[:, :, None]
    ours, theirs = (trajectory(model, run) * keep for run in (derived, walked))
    torch.testing.assert_close(ours, theirs)
    parameters = list(model.parameters())
    for one, other in zip(
        *(torch.autograd.grad(t.square().sum(), parameters, allow_unused=True) for t in (ours, theirs)), strict=True
    ):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one, other)


def test_the_professor_looks_at_so_many_rows(recorded: list[Tensor]) -> None:
    model = small().eval()
    Professor(rows=3).play(Professor().network(model), model, batch(), counts=False)
    assert [len(part) for part in recorded] == [3, 3]


def test_a_play_is_without_dropout_and_leaves_the_model_in_training_mode() -> None:
    model = small(Case("rnn", {"hidden_size": 3, "embedding_size": 2, "dropout": 0.5})).train()
    with evaluating(model):
        data = batch()
        runs = [trajectory(model, model.unroll(data)) for _ in range(2)]
    assert torch.equal(*runs)
    assert model.training


# ---- runs


@pytest.fixture(scope="module")
def configure(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunConfig]:
    """Of a run on 12 ragged sequences, 3 batches of 3."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(path, x=rng.normal(size=(12, 4, 1)).cumsum(1), lengths=rng.integers(2, 5, size=12))

    def make(player: dict[str, Any] | None = None, **training: Any) -> RunConfig:
        settings = {"batch_size": 3, "epochs": 2, "log_every": 2, "checkpoint_every": 2, "backend": "reference"}
        model = {"name": "rnn", "hidden_size": 3, "embedding_size": 2, "dropout": 0.2}
        values: dict[str, Any] = {"data": {"name": "arrays", "path": str(path)}, "model": model}
        return parse_config(values | {"training": settings | training} | ({"player": player} if player else {}))

    return make


PROFESSOR: dict[str, Any] = {"name": "professor", "channels": 2, "layers": 1, "model_above": 0.1, "learning_rate": 0.05}


@pytest.fixture(scope="module")
def played(configure: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run with a player."""
    return run(configure(PROFESSOR), tmp_path_factory.mktemp("played") / "run")


def run(config: RunConfig, folder: Path, **options: Any) -> Path:
    torch.set_default_dtype(torch.float32)
    train(config, folder, device="cpu", reporter=Reporter(quiet=True), **options)
    return folder


class DieIn(Callback):
    def __init__(self, update: int):
        self.update = update

    def on_update(self, at: Any, updated: Any, model: DensityModel) -> None:
        if at.step == self.update:
            raise RuntimeError("power failure")


def test_a_killed_run_with_a_player_goes_on_bit_for_bit(
    configure: Callable[..., RunConfig], played: Path, tmp_path: Path
) -> None:
    config = configure(PROFESSOR)
    with pytest.raises(RuntimeError, match="power failure"):
        run(config, tmp_path / "killed", callbacks=[DieIn(5)])
    torch.manual_seed(99)
    killed = run(config, tmp_path / "killed", resume=True)
    for file in ("last/model", "last/training", "best/model"):
        one, other = (load_file(folder / "checkpoints" / f"{file}.safetensors") for folder in (played, killed))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert metrics_of(played) == metrics_of(killed)
    rows = [row for row in metrics_of(played) if row["event"] == "training"]
    assert all(row["player_counted"] == row["player_moved"] == row["player_plays"] == 1 for row in rows)
    assert {row["kind"] for row in metrics_of(played) if row["event"] == "validation"} == {"exact"}


def test_a_saved_model_and_the_first_weights_are_those_of_a_run_without_a_player(
    configure: Callable[..., RunConfig], played: Path, tmp_path: Path
) -> None:
    """And a run without has nothing of a player in any file."""
    alone = run(configure(max_steps=1), tmp_path / "alone")
    one, other = (load_file(folder / "checkpoints/best/model.safetensors") for folder in (alone, played))
    assert {k: v.shape for k, v in one.items()} == {k: v.shape for k, v in other.items()}
    files = {path.relative_to(alone): path.read_bytes() for path in alone.rglob("*") if path.is_file()}
    assert set(files) == {path.relative_to(played) for path in played.rglob("*") if path.is_file()}
    del files[Path("environment.json")]  # has the command, with the name of these tests
    assert not [path for path, content in files.items() if b"player" in content]
    assert metrics_of(alone)[0] == metrics_of(played)[0]


def test_a_damaged_player_in_a_checkpoint_is_named(
    configure: Callable[..., RunConfig], played: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    last = shutil.copytree(played, folder) / "checkpoints" / "last"
    tensors = load_file(last / "training.safetensors")
    tensors["player.network.readout.weight"] = torch.zeros(1, 9)
    save_file(tensors, last / "training.safetensors")
    (last / SUMS).unlink()
    with pytest.raises(UserError, match=r"training\.safetensors holds no state.*readout.weight is \[1, 9\]"):
        run(configure(PROFESSOR), folder, resume=True)
    with pytest.raises(UserError, match=r"started with other settings: player\.name was professor, is none$"):
        run(configure(), folder, resume=True)


def test_fit_takes_a_player() -> None:
    data = zf.Sequences([np.random.default_rng(n).normal(size=(5, 1)) for n in range(8)])
    model = zf.RNN.for_data(data, hidden_size=3, embedding_size=2)
    player = zf.Professor(channels=2, layers=1)
    history = zf.fit(model, data, player=player, epochs=2, batch_size=4, backend="reference", progress=False)
    assert history.training[-1].player["plays"] == 1
    with pytest.raises(UserError, match=r"player is a str; it must be a player, such as Professor\(\)"):
        zf.fit(model, data, player="professor", progress=False)  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"player": {"name": "profesor"}}, r"unknown player.name 'profesor' \(did you mean professor\?\)"),
        ({"player": {"nam": "professor"}}, r"unknown setting player.nam \(did you mean player.name"),
        ({"player": "professor"}, "player is 'professor'; it must be a mapping with a name"),
        ({"player": {"name": "professor", "every": 0}}, "player.every is 0; it must be 1 or more"),
        (
            {"player": {"name": "professor", "model_above": 1.5}},
            "player.model_above is 1.5; it must be between 0 and 1",
        ),
        ({"player": {"name": "teacher"}}, "unknown player.name 'teacher'; it is one of none, professor"),
        (
            {"player": {"name": "professor", "model_above": 0.9, "discriminator_at_most": 0.8}},
            "player.model_above is 0.9, above player.discriminator_at_most, which is 0.8: at an accuracy between",
        ),
        ({"player": {"name": "none", "weight": 2.0}}, "unknown setting player.weight"),
        ({"model": {"name": "made"}}, "player professor needs a model of sequences; made has no time steps"),
        ({"training": {"truncated_bptt_steps": 3}}, "player professor plays on whole sequences"),
        ({"training": {"backend": "graph"}}, "player professor can't be captured in a CUDA graph"),
    ],
)
def test_mistakes_are_one_line(values: dict[str, Any], said: str) -> None:
    recipe = {"data": {"name": "lgssm"}, "model": {"name": "rnn"}, "player": {"name": "professor"}}
    with pytest.raises(UserError, match=said) as caught:
        parse_config(recipe | values)
    assert "\n" not in str(caught.value)


def test_a_player_of_ones_own_is_registered_and_trains(
    configure: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PLAYERS, "_classes", dict(PLAYERS._classes))
    register(Tug)
    config = configure({"name": "tug", "measured": 0.9}, max_steps=2, epochs=1)
    assert parse_config(config.to_dict()) == config
    folder = run(config, tmp_path / "run")
    assert metrics_of(folder)[1]["player_measure"] == pytest.approx(0.9)
