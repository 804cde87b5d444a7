"""Saved models: the same numbers back, and one clear line about what is wrong with a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import SPECS, Case, draw_noise, random_batch
from zforcing import ELBO, ObservationSpec, UserError, load
from zforcing.data import DataDescription, Normalization
from zforcing.training.checkpoint import Writing, current, load_checkpoint, save_model


def save(folder: Path, case: Case, spec: ObservationSpec) -> Any:
    model = case.build(spec)
    scaling = (
        Normalization((0.1, -2.0, 1e-3)[: spec.size], (1.0, 3.0, 0.3)[: spec.size]) if spec.kind == "real" else None
    )
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder, model, DataDescription("arrays", spec, longest=7, normalization=scaling, image_shape=(1, 7)))
    return model


def test_a_loaded_model_gives_the_same_numbers(case: Case, spec: ObservationSpec, tmp_path: Path) -> None:
    model = save(tmp_path, case, spec)
    loaded, batch = load(tmp_path), random_batch(spec)
    noise = draw_noise(model, batch)
    assert not loaded.training
    assert torch.equal(ELBO()(model, batch, noise=noise).value, ELBO()(loaded, batch, noise=noise).value)


def test_the_datas_description_comes_back(tmp_path: Path) -> None:
    save(tmp_path, Case("rnn"), SPECS["real"])
    description = load_checkpoint(tmp_path).description
    assert description.normalization == Normalization((0.1, -2.0, 1e-3), (1.0, 3.0, 0.3))
    assert (description.spec, description.longest, description.image_shape) == (SPECS["real"], 7, (1, 7))


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
        (edit_config(lambda v: v.update(format_version=2)), r"format version 2.*reads 1.*zforcing 0\."),
        (edit_config(lambda v: v.pop("format_version")), "format version None"),
        (edit_config(lambda v: v.pop("data")), "config.json is damaged.*data"),
        (edit_config(lambda v: v["model"].update(name="gone")), "config.json is damaged.*gone"),
        (edit_config(lambda v: v["model"]["settings"].update(hiden=1)), "config.json is damaged.*hiden"),
        (edit_weights(lambda w: w.pop("lstm.weight_hh_l0")), "lstm.weight_hh_l0 is missing"),
        (edit_weights(lambda w: w.update(more=torch.zeros(1))), "more is unknown"),
        (
            edit_weights(lambda w: w.update({"lstm.weight_hh_l0": torch.zeros(2, 3)})),
            r"lstm.weight_hh_l0 is \(2, 3\) and should be \(1024, 256\)",
        ),
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


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run folder.*config\.yaml"):
        load(tmp_path)
    with pytest.raises(UserError, match="no such run folder"):
        load(tmp_path / "nowhere")


def test_writing_replaces_a_folder_as_a_whole(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with Writing(tmp_path / "last") as folder:
            (folder / content).write_text(content)
    assert [p.name for p in (tmp_path / "last").iterdir()] == ["two"]
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
    assert [p.name for p in (tmp_path / "last").iterdir()] == ["good"]


def test_a_crash_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    with Writing(tmp_path / "last") as folder:
        (folder / "good").write_text("good")
    (tmp_path / "last").rename(tmp_path / "last.old")  # where a crash can leave it
    assert (current(tmp_path / "last") / "good").read_text() == "good"
    with Writing(tmp_path / "last") as folder:
        (folder / "new").write_text("new")
    assert (current(tmp_path / "last") / "new").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["last"]
