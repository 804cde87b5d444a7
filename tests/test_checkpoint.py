"""Saved models: the same numbers back, and one clear line about what is wrong with a file."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import SPECS, Case, draw_noise, random_batch
from zforcing import ELBO, ObservationSpec, UserError, load
from zforcing.observations import DataDescription, ImageFormat, Normalization
from zforcing.saving.atomic import Writing, current, read_current, read_json, remove_leftovers
from zforcing.saving.digests import SUMS
from zforcing.saving.model import save as save_model
from zforcing.training.progress import Progress
from zforcing.training.runs.checkpoint import check_same_data, load_training, read_progress, save_training


def save(folder: Path, case: Case, spec: ObservationSpec) -> Any:
    model = case.build(spec)
    scaling = (
        Normalization((0.1, -2.0, 1e-3)[: spec.size], (1.0, 3.0, 0.3)[: spec.size]) if spec.kind == "real" else None
    )
    model.description = DataDescription("arrays", spec, longest=7, normalization=scaling, format=ImageFormat(1, 6))
    save_model(folder, model)
    (folder / SUMS).unlink()  # as of version 0.1: what is wrong with a file is found by reading it
    return model


def test_a_loaded_model_gives_the_same_numbers(case: Case, spec: ObservationSpec, tmp_path: Path) -> None:
    model = save(tmp_path, case, spec)
    loaded, batch = load(tmp_path), random_batch(spec)
    noise = draw_noise(model, batch)
    assert not loaded.training
    model.backend = loaded.backend = "reference"  # nothing to trace
    assert torch.equal(ELBO()(model, batch, noise=noise).value, ELBO()(loaded, batch, noise=noise).value)


def test_the_datas_description_comes_back(tmp_path: Path) -> None:
    save(tmp_path, Case("rnn"), SPECS["real"])
    description = load(tmp_path).description
    assert description is not None
    assert description.normalization == Normalization((0.1, -2.0, 1e-3), (1.0, 3.0, 0.3))
    assert (description.spec, description.longest, description.format) == (SPECS["real"], 7, ImageFormat(1, 6))


def test_no_file_of_a_checkpoint_is_a_pickle(tmp_path: Path) -> None:
    save(tmp_path, Case("rnn"), SPECS["real"])
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".safetensors"]
    json.loads((tmp_path / "config.json").read_text())


def edit_config(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        values = json.loads((folder / "config.json").read_text())
        change(values)
        (folder / "config.json").write_text(json.dumps(values))

    return damage


def edit_weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors")

    return damage


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (edit_config(lambda v: v.update(format_version=3)), r"format version 3.*reads 1 and 2.*zforcing 0\."),
        (edit_config(lambda v: v.pop("format_version")), "of another library: it has no format_version"),
        (edit_config(lambda v: v.pop("data")), "config.json is damaged.*data"),
        (edit_config(lambda v: v["model"].update(name="gone")), "names model .gone., which isn.t registered"),
        (edit_config(lambda v: v["model"]["settings"].update(hiden=1)), "config.json is damaged.*hiden"),
        (edit_weights(lambda w: w.pop("lstm.weight_hh_l0")), "lstm.weight_hh_l0 is missing"),
        (edit_weights(lambda w: w.update(more=torch.zeros(1))), "more is unknown"),
        (
            edit_weights(lambda w: w.update({"lstm.weight_hh_l0": torch.zeros(2, 3)})),
            r"lstm.weight_hh_l0 is \(2, 3\) and should be \(1024, 256\)",
        ),
        (
            edit_config(lambda v: v["model"]["settings"].update(output_skip="no")),
            "config.json.*model.output_skip is 'no'",
        ),
        (
            edit_config(lambda v: v["model"]["settings"].update(hidden_size=2.5)),
            "config.json.*model.hidden_size is 2.5",
        ),
        (edit_config(lambda v: v["model"]["settings"].update(hidden_size=0)), "config.json.*model.hidden_size is 0"),
        (edit_config(lambda v: v["model"]["settings"].update(hidden_size=10**12)), "config.json asks for a model that"),
        (
            edit_config(lambda v: v["model"]["settings"].update(hidden_size=10**400)),
            "config.json.*model.hidden_size is 10+(\\.\\.\\.)?; it must be a whole number, and of 64",
        ),
        (edit_config(lambda v: v["model"]["settings"].update(hidden_size=10**6)), r"should be \(4000000, 1000000\)"),
        (edit_config(lambda v: v["model"].update(settings=[1])), "config.json is damaged"),
        (edit_config(lambda v: v.update(model=[1])), "config.json is damaged"),
        (
            edit_config(lambda v: v["model"].update(name="linear_gaussian", settings={})),
            "config.json.*real observations",
        ),
        (edit_config(lambda v: v["data"].update(longest=2.5)), "config.json.*data.longest is 2.5"),
        (edit_config(lambda v: v["data"]["format"].update(height=0)), "config.json.*data.format.height"),
        (
            edit_config(lambda v: v["data"].update(normalization={"mean": [0.0], "std": [1.0]})),
            "config.json.*normalization",
        ),
        (edit_config(lambda v: v["data"]["spec"].update(size=2.5)), "config.json.*size 2.5"),
        (edit_config(lambda v: v["data"]["spec"].update(kind="text")), "config.json.*kind is 'text'"),
        (edit_config(lambda v: v["data"].update(longest=float("nan"))), "config.json can't be read: NaN is not JSON"),
        (
            edit_weights(lambda w: w.update({"embed.layer.bias": torch.zeros(128, dtype=torch.int64)})),
            "embed.layer.bias holds int64",
        ),
        (
            edit_weights(lambda w: w["embed.layer.bias"].fill_(torch.nan)),
            "model.safetensors.* not finite in embed.layer.bias.*diverged",
        ),
        (edit_weights(lambda w: w["embed.layer.bias"].fill_(torch.inf)), "not finite in embed.layer.bias"),
        (lambda f: (f / "config.json").write_text("{"), "config.json can't be read"),
        (lambda f: (f / "config.json").write_text("[]"), "holds no JSON object"),
        (lambda f: (f / "model.safetensors").write_bytes(b"nothing"), "model.safetensors can't be read"),
    ],
)
def test_a_damaged_checkpoint_is_one_line_that_names_the_file(
    damage: Callable[[Path], Any], said: str, tmp_path: Path
) -> None:
    save(tmp_path, Case("rnn"), SPECS["binary"])
    damage(tmp_path)
    with pytest.raises(UserError, match=said) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("stored", "loaded"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_weights_are_float32_unless_all_are_float64(stored: torch.dtype, loaded: torch.dtype, tmp_path: Path) -> None:
    save(tmp_path, Case("rnn"), SPECS["binary"])
    edit_weights(lambda w: w.update({name: tensor.to(stored) for name, tensor in w.items()}))(tmp_path)
    assert {p.dtype for p in load(tmp_path).parameters()} == {loaded}
    edit_weights(lambda w: w.update({"embed.layer.bias": torch.zeros(128, dtype=torch.float32)}))(tmp_path)
    assert {p.dtype for p in load(tmp_path).parameters()} == {torch.float32}


def test_loading_leaves_torchs_generator_alone(tmp_path: Path) -> None:
    save(tmp_path, Case("rnn"), SPECS["binary"])
    before = torch.get_rng_state()
    model = load(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.requires_grad for p in model.parameters())


# ---- going on with a run

PROGRESS: dict[str, Any] = {
    "epoch": 1,
    "batch": 0,
    "step": 3,
    "learning_rate": 0.1,
    "best": None,
    "best_epoch": -1,
    "previous": -2.5,
    "validations_without_best": 0,
    "nonfinite": 0,
    "nonfinite_in_a_row": 0,
    "rows": 1,
    "seconds": 0.5,
    "cpu_seconds": 0.75,
    "finished": "",
    "since_row": {"loss": 1.0},
}


def trained(folder: Path, *, updates: int = 1) -> tuple[Any, torch.optim.Adam]:
    """A small model and its optimizer, saved after some updates that leave the first parameter out."""
    model = save(folder, Case("rnn", {"hidden_size": 2, "embedding_size": 3}), SPECS["binary"])
    adam = torch.optim.Adam(model.parameters())
    for _ in range(updates):
        for parameter in list(model.parameters())[1:]:
            parameter.grad = torch.randn_like(parameter)
        adam.step()
    save_training(folder, adam, PROGRESS | {"step": updates})
    return model, adam


def edit_moments(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        moments = load_file(folder / "training.safetensors")
        change(moments)
        save_file(moments, folder / "training.safetensors")

    return damage


def edit_progress(**values: Any) -> Callable[[Path], None]:
    return lambda folder: (folder / "training.json").write_text(json.dumps(PROGRESS | values)) and None


def test_moments_and_progress_come_back(tmp_path: Path) -> None:
    model, adam = trained(tmp_path, updates=2)
    other = torch.optim.Adam(model.parameters())
    expected = Progress.from_json(PROGRESS | {"step": 2})
    assert load_training(tmp_path, model, other) == expected == read_progress(tmp_path)
    assert expected.to_json() == PROGRESS | {"step": 2}
    for parameter in list(model.parameters())[1:]:
        for name, value in adam.state[parameter].items():
            assert torch.equal(value, other.state[parameter][name])
    unused = other.state[next(model.parameters())]
    assert not any(bool(value.any()) for value in unused.values())


def test_a_run_without_updates_has_no_moments(tmp_path: Path) -> None:
    model, _ = trained(tmp_path, updates=0)
    adam = torch.optim.Adam(model.parameters())
    load_training(tmp_path, model, adam)
    assert not adam.state


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (edit_moments(lambda m: m.update(more=torch.zeros(1))), "training.safetensors.*more is unknown"),
        (edit_moments(lambda m: m.pop("1.exp_avg")), "training.safetensors.*1.exp_avg is missing"),
        (
            edit_moments(lambda m: [m.pop(f"1.{name}") for name in ("step", "exp_avg", "exp_avg_sq")]),
            "training.safetensors.*1.exp_avg is missing",
        ),
        (edit_moments(dict.clear), "training.safetensors holds no moments after 1 updates"),
        (edit_moments(lambda m: m.update({"1.exp_avg": torch.zeros(1, 2)})), r"1.exp_avg is \(1, 2\) and should be"),
        (edit_moments(lambda m: m.update({"1.step": torch.tensor(1)})), "1.step holds int64"),
        (edit_moments(lambda m: m["1.exp_avg"].fill_(torch.nan)), "1.exp_avg is not finite"),
        (lambda f: (f / "training.safetensors").unlink(), "training.safetensors is missing"),
        (edit_progress(step="3"), "training.json.*progress.step is '3'; it must be a whole number"),
        (edit_progress(best="high"), "training.json.*progress.best is 'high'"),
        (edit_progress(since_row=[1]), "training.json.*progress.since_row"),
        (edit_progress(since_row={"loss": "1"}), "training.json.*progress.since_row"),
        (edit_progress(seconds=float("inf")), "training.json can't be read: Infinity is not JSON"),
        (lambda f: (f / "training.json").write_text("{}"), "training.json.*progress.epoch is missing"),
        (edit_weights(lambda w: w["embed.layer.bias"].fill_(torch.nan)), "not finite in embed.layer.bias"),
    ],
)
def test_a_damaged_training_state_is_one_line_that_names_the_file(
    damage: Callable[[Path], Any], said: str, tmp_path: Path
) -> None:
    model, adam = trained(tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError, match=said) as caught:
        load_training(tmp_path, model, adam)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_what_is_written_is_json_without_nan(tmp_path: Path) -> None:
    model = save(tmp_path, Case("rnn"), SPECS["binary"])
    with pytest.raises(ValueError, match="JSON compliant"):
        save_training(tmp_path, torch.optim.Adam(model.parameters()), PROGRESS | {"best": float("nan")})


def test_data_that_has_changed_since_the_run_began_is_named(tmp_path: Path) -> None:
    save(tmp_path, Case("rnn"), SPECS["real"])
    same = load(tmp_path).description
    assert same is not None
    check_same_data(tmp_path, same)
    scaled = replace(same, normalization=Normalization((0.1, -2.0, 1e-3), (1.0, 3.5, 0.3)))
    with pytest.raises(UserError, match=r"data has changed.*normalization\.std\[1\] was 3\.0, is 3\.5\. .*data\.path"):
        check_same_data(tmp_path, scaled)
    with pytest.raises(UserError, match=r"normalization\.mean\[0\] was 0\.1, is None.*2 more"):
        check_same_data(tmp_path, replace(same, normalization=None))
    with pytest.raises(UserError, match=r"longest was 7, is 8"):
        check_same_data(tmp_path, replace(same, longest=8))


def test_read_json_takes_one_object(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}


# ---- folders


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a run folder.*config\.yaml"):
        load(tmp_path)
    with pytest.raises(UserError, match="no such run folder"):
        load(tmp_path / "nowhere")


def test_writing_replaces_a_folder_as_a_whole(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with Writing(tmp_path / "last") as folder:
            (folder / content).write_text(content)
    assert sorted(p.name for p in (tmp_path / "last").iterdir()) == [SUMS, "two"]
    assert [p.name for p in tmp_path.iterdir()] == ["last"]


def test_a_failure_while_writing_leaves_the_old_folder(tmp_path: Path) -> None:
    with Writing(tmp_path / "last") as folder:
        (folder / "good").write_text("good")

    def fail() -> None:
        with Writing(tmp_path / "last") as folder:
            (folder / "half").write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk"):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["last"]
    assert sorted(p.name for p in (tmp_path / "last").iterdir()) == [SUMS, "good"]


def test_a_crash_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    with Writing(tmp_path / "last") as folder:
        (folder / "good").write_text("good")
    (tmp_path / "last").rename(tmp_path / "last.old")  # where a crash can leave it
    assert (current(tmp_path / "last") / "good").read_text() == "good"
    with Writing(tmp_path / "last") as folder:
        (folder / "new").write_text("new")
    assert (current(tmp_path / "last") / "new").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["last"]


def test_what_killed_writes_have_left_goes_away(tmp_path: Path) -> None:
    for name in ("last", "last.old", "best.old", "best.partial"):
        (tmp_path / name).mkdir()
    (tmp_path / "config.yaml.partial").touch()
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.old", "last"]  # of best there is no other


def test_a_failure_while_a_model_is_saved_leaves_the_one_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    save(tmp_path, Case("rnn"), SPECS["real"])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("zforcing.saving.model.write_digests", fail)
    with pytest.raises(UserError, match=r"can't save the model in .*disk full"):
        save(tmp_path, Case("rnn"), SPECS["binary"])
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_model_without_first_observations_replaces_one_with_them(tmp_path: Path) -> None:
    for first in ("conditioned", "scored"):
        model = Case("rnn").build(ObservationSpec("real", 2, first_observation=first))  # type: ignore[arg-type]  # a word of the table
        model.description = DataDescription("arrays", model.spec, longest=7)
        model.starts = torch.randn(5, 2) if model.spec.conditions_on_first else None
        save_model(tmp_path, model)
    assert load(tmp_path).starts is None


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "starts.safetensors", SUMS])
def test_a_changed_byte_is_noticed(name: str, tmp_path: Path) -> None:
    model = Case("rnn", {"hidden_size": 2}).build(ObservationSpec("real", 2, first_observation="conditioned"))
    model.description, model.starts = DataDescription("arrays", model.spec, longest=7), torch.randn(5, 2)
    save_model(tmp_path, model)
    content, draw = (tmp_path / name).read_bytes(), random.Random(0)
    for at in draw.sample(range(len(content)), 25):
        flipped = content[at] ^ (1 << draw.randrange(8))
        (tmp_path / name).write_bytes(content[:at] + bytes([flipped]) + content[at + 1 :])
        with pytest.raises(
            UserError, match=r"isn't as it was written|SHA256SUMS (is damaged|can't be read)|is missing"
        ):
            load(tmp_path)
    (tmp_path / name).write_bytes(content)
    assert load(tmp_path).starts is not None


def test_the_digests_are_those_of_sha256sum(tmp_path: Path) -> None:
    save_model(tmp_path, save(tmp_path, Case("rnn"), SPECS["binary"]))
    names = ["config.json", "model.safetensors"]
    lines = [f"{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}  {name}" for name in names]
    assert (tmp_path / SUMS).read_text().splitlines() == lines


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_read_once_more(tmp_path: Path) -> None:
    def write(text: str) -> None:
        with Writing(tmp_path / "last") as made:
            (made / "a.json").write_text(text)

    def read(place: Path) -> object:
        if len(reads) < 2:
            write(f'{{"a": {len(reads)}}}')
            reads.append(place)
            raise UserError("a.json isn't as it was written")
        return read_json(place / "a.json")

    reads: list[Path] = []
    assert read_current(tmp_path / "last", read) is None
    write("{}")
    assert read_current(tmp_path / "last", read) == {"a": 1}
    (tmp_path / "last" / "a.json").write_text("{ }")
    with pytest.raises(UserError, match="isn't as it was written"):
        read_current(tmp_path / "last", read)
