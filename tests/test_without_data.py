"""A run folder alone is enough to use its model: the training data is gone before anything here is asked of it."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from conftest import Command
from zforcing import RNN, Sequences, ZForcing, evaluate, load, sample, save
from zforcing.cli import main
from zforcing.data import Arrays
from zforcing.data.starts import first_observations
from zforcing.errors import UserError
from zforcing.observations import (
    DataDescription,
    Described,
    Drawn,
    Example,
    Format,
    ObservationSpec,
    TableFormat,
    Written,
    read_file,
)
from zforcing.saving.undrawn import Undrawn

FROZEN = Path(__file__).parent / "data" / "frozen"
SMALL = ["--model.hidden_size", "6", "--model.latent_size", "2", "--model.embedding_size", "4", "--model.mlp_size", "4"]
STEPS = ["--training.max_steps", "2", "--device", "cpu"]
RNG = np.random.default_rng(0)
SENTENCES = ["a good film", "a bad film", "the good end", "a film of the end", "good and bad"]


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


def tables(data: Path, own: Path) -> list[str]:
    """Trips with gaps; the user's file has its columns in another order, and one more."""
    for split in ("train", "valid", "test"):
        rows = [
            (f"{split}{trip}", f"{30 + 5 * v:.2f}", "" if step == 3 else f"{h:.2f}")
            for trip in range(6)
            for step, (v, h) in enumerate(RNG.normal(size=(7, 2)))
        ]
        (data / f"{split}.csv").write_text("\n".join(["trip,speed,heat", *map(",".join, rows)]) + "\n")
    (own / "mine.csv").write_text("\n".join(["heat,trip,note,speed", *(f"{h},{t},9,{v}" for t, v, h in rows)]) + "\n")
    first = [f"{h},one,9,{v}" for t, v, h in rows if t == "test0"]
    (own / "one.csv").write_text("\n".join(["heat,trip,note,speed", *first]) + "\n")
    paths = [f"--data.{name}={data / split}.csv" for name, split in PATHS.items()]
    return ["table-zforcing-aux", *paths, "--data.sequence=trip", "--data.missing=allow"]


PATHS = {"path": "train", "valid_path": "valid", "test_path": "test"}


def images(data: Path, own: Path) -> list[str]:
    bits = {split: RNG.integers(0, 2, size=(8, 28, 28)).astype(np.uint8) for split in ("train", "valid", "test")}
    np.savez(data / "images.npz", **bits)  # type: ignore[arg-type]  # its stub takes them for allow_pickle
    np.save(own / "mine.npy", bits["test"])
    np.save(own / "one.npy", bits["test"][:1])
    return [
        "mnist-small-zforcing",
        f"--data.root={data / 'images.npz'}",
        "--data.order=rows",
        "--data.check_known=false",
    ]


def recordings(data: Path, own: Path) -> list[str]:
    for split in ("train", "valid", "test"):
        (data / split).mkdir()
        for i in range(1 if split == "test" else 3):
            samples = (RNG.standard_normal(400) * 3000).astype(np.int16)
            soundfile.write(data / split / f"{i}.wav", samples, 8000, subtype="PCM_16")
    for name in ("mine", "one"):
        shutil.copy(data / "test" / "0.wav", own / f"{name}.wav")
    words = ["--data.frame_size=20", "--data.first_observation=conditioned", "--data.chunk_frames=null"]
    return ["speech-small-zforcing", f"--data.root={data}", *words]


def music(data: Path, own: Path) -> list[str]:
    pieces = [[tuple(RNG.integers(21, 109, size=3).tolist()) for _ in range(9)] for _ in range(4)]
    (data / "music.pickle").write_bytes(pickle.dumps(dict.fromkeys(("train", "valid", "test"), pieces), 2))
    rolls = np.zeros((4, 9, 88))
    for i, piece in enumerate(pieces):
        for t, step in enumerate(piece):
            rolls[i, t, np.array(step) - 21] = 1
    np.savez(own / "mine.npz", x=rolls)
    np.savez(own / "one.npz", x=rolls[0])
    return ["jsb-zforcing", f"--data.path={data / 'music.pickle'}"]


def text(data: Path, own: Path) -> list[str]:
    for split in ("train", "valid", "test"):
        (data / f"{split}.txt").write_text("\n".join(SENTENCES) + "\n")
    shutil.copy(data / "test.txt", own / "mine.txt")
    (own / "one.txt").write_text(f"{SENTENCES[0]}\n")
    return ["imdb-small-zforcing", f"--data.root={data}"]


KINDS: dict[str, Callable[[Path, Path], list[str]]] = {
    "table": tables,
    "image": images,
    "audio": recordings,
    "music": music,
    "text": text,
}
ENDINGS = {
    "table": ["csv", "png"],
    "image": ["png"],
    "audio": ["wav"] * 2,
    "music": ["png", "mid", "wav", "mid", "wav"],
    "text": ["txt"],
}


@dataclass(frozen=True)
class Moved:
    """A run on a machine without its data, what it gave where the data was, and two files of the user's own."""

    run: Path
    measured: dict[str, Any]
    mine: Path
    one: Path


@pytest.fixture(scope="module", params=KINDS)
def moved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Moved]:
    kind: str = request.param
    there, here = tmp_path_factory.mktemp("there"), tmp_path_factory.mktemp("here")
    torch.set_default_dtype(torch.float32)
    (there / "data").mkdir()
    recipe, *words = KINDS[kind](there / "data", here)
    assert main(["train", recipe, *words, "--run-dir", str(there / "run"), *SMALL, *STEPS]) == 0
    assert main(["evaluate", str(there / "run"), "--threads", "1", "--device", "cpu"]) == 0
    measured = json.loads((there / "run" / "evaluation-test-elbo.json").read_text())
    shutil.move(there / "run", here / "run")
    shutil.rmtree(there)
    (mine,), (one,) = here.glob("mine.*"), here.glob("one.*")
    return kind, Moved(here / "run", measured, mine, one)


def test_a_file_is_measured_as_the_same_sequences_of_the_data_were(moved: tuple[str, Moved], zf: Command) -> None:
    kind, found = moved
    values = zf("evaluate", found.run, found.mine, "--threads", 1, "--device", "cpu", "--json").json
    other = {name for name in values if values[name] != found.measured[name]}
    assert other <= {"split", "remark", "baselines"}
    assert found.measured["baselines"]
    assert values["baselines"] == []  # they are fitted to the training split
    assert values["split"] == found.mine.name
    (file,) = found.run.glob("evaluation-mine-????????-elbo.json")
    saved = json.loads(file.read_text())
    assert saved == values | {"sha256": saved["sha256"]}
    assert (values["num_unknown"] is None) == (kind != "text")


def test_samples_need_no_data(moved: tuple[str, Moved], tmp_path: Path, zf: Command) -> None:
    kind, found = moved
    result = zf("sample", found.run, "--num", 2, "--out", tmp_path, "--json")
    assert [file.rsplit(".", 1)[1] for file in result.json["files"]] == ["npz", *ENDINGS[kind]]
    assert ("x_1 is that of one of 3 training sequences" in result.err) == (kind == "audio")
    again = zf("sample", found.run, "--num", 2, "--out", tmp_path / "again", "--json").json["files"][0]
    with np.load(result.json["files"][0]) as a, np.load(again) as b:
        assert all(np.array_equal(a[name], b[name]) for name in a)


def test_continuations_need_no_data(moved: tuple[str, Moved], tmp_path: Path, zf: Command) -> None:
    kind, found = moved
    words = ["--num", 2, "--given", 2, "--steps", 3, "--out", tmp_path]
    values = zf("continue", found.run, found.one, *words, "--json").json
    endings = [] if kind == "image" else ENDINGS[kind]  # 2 + 3 rows are no image
    assert [file.rsplit(".", 1)[1] for file in values["files"]] == ["npz", *endings]
    assert values["prefix_steps"] == [3 if kind == "audio" else 2]
    assert np.load(values["files"][0])["x"].shape[:2] == (2, 3)


def test_interpolations_need_no_data(moved: tuple[str, Moved], tmp_path: Path, zf: Command) -> None:
    kind, found = moved
    values = zf("interpolate", found.run, found.one, found.one, "--num", 2, "--out", tmp_path, "--json").json
    assert [file.rsplit(".", 1)[1] for file in values["files"]] == ["npz", *ENDINGS[kind]]


def test_sequences_of_the_runs_own_data_need_it_and_say_so(moved: tuple[str, Moved], zf: Command) -> None:
    _, found = moved
    said = zf("continue", found.run, "test:0").mistake
    assert "test:0 is of the run's own data, which can't be read: data." in said
    assert "no such file" in said
    assert "no such f" in zf("evaluate", found.run).mistake


def test_a_file_has_no_splits(moved: tuple[str, Moved], zf: Command) -> None:
    _, found = moved
    assert "for the run's own data" in zf("evaluate", found.run, found.mine, "--split", "test").mistake
    assert "for the run's own data" in zf("evaluate", found.run, found.mine, "--skip-unreadable").mistake


# ---- runs of format version 1


@pytest.fixture
def frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Frozen runs whose data has been moved away, and `trips.csv` as the user's own file."""
    for run in ("zforcing-trips", "vrnn-recordings"):
        shutil.copytree(FROZEN / run, tmp_path / run)
    shutil.copy(FROZEN / "data" / "trips.csv", tmp_path / "mine.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_old_run_of_a_table_takes_its_columns_from_its_settings(frozen: Path, zf: Command) -> None:
    values = zf("evaluate", "zforcing-trips", "mine.csv", "--json").json
    assert values["num_sequences"] == len({line.split(",")[0] for line in Path("mine.csv").read_text().split()[1:]})
    names = ["trip,x0,x1"]
    files = zf("sample", "zforcing-trips", "--num", 1, "--steps", 2, "--json").json["files"]
    assert Path(files[1]).read_text().splitlines()[:1] == names


def test_an_old_run_that_conditions_on_the_first_observation_samples_where_its_data_is(
    frozen: Path, zf: Command
) -> None:
    said = zf("sample", "vrnn-recordings", "--num", 1).mistake
    assert "is of a version that kept none with it, and its data can't be read (data.root" in said
    shutil.copytree(FROZEN / "data", frozen / "data")
    assert "x_1 is taken from the validation split" in zf("sample", "vrnn-recordings", "--num", 1).err


# ---- a model of one's own loop


@dataclass(frozen=True)
class FixedDescription:
    """Data, as far as a model is made for it."""

    description: DataDescription


CONDITIONED = DataDescription("mine", ObservationSpec("real", 2, "conditioned"), 5)


def test_a_model_for_data_has_its_spec_and_its_description() -> None:
    model = ZForcing.for_data(FixedDescription(CONDITIONED), hidden_size=4)
    assert model.spec == CONDITIONED.spec
    assert model.description is CONDITIONED
    assert model.config == ZForcing.Config(hidden_size=4)


def test_settings_are_given_by_name_or_as_a_config() -> None:
    spec = CONDITIONED.spec
    assert RNN(spec, hidden_size=4).config == RNN(spec, RNN.Config(hidden_size=4)).config
    assert RNN(spec).config == RNN.Config()
    with pytest.raises(UserError, match=r"model rnn has no setting hiden_size; it has .*hidden_size"):
        RNN(spec, hiden_size=4)
    with pytest.raises(UserError, match="model rnn is given config and hidden_size"):
        RNN(spec, RNN.Config(), hidden_size=4)
    with pytest.raises(UserError, match="model rnn has no setting hiden_size"):
        RNN.for_data(FixedDescription(CONDITIONED), hiden_size=4)


def test_a_saved_model_gives_samples_from_the_starts_that_it_keeps(tmp_path: Path, zf: Command) -> None:
    model = RNN.for_data(FixedDescription(CONDITIONED), hidden_size=4, embedding_size=3)
    with pytest.raises(UserError, match="conditions on the first observation: give start"):
        sample(model, 2, steps=3)
    model.starts = torch.tensor([[1.0, 2.0], [float("nan"), 4.0]])
    save(tmp_path / "mine", model)
    again = load(tmp_path / "mine")
    assert again.description == CONDITIONED
    assert again.starts is not None
    torch.testing.assert_close(again.starts, model.starts, equal_nan=True)
    assert sample(again, 5, steps=3, seed=1).x.shape == (5, 3, 2)
    assert zf("info", tmp_path / "mine", "--json").json["recipe"] is None
    values = zf("sample", tmp_path / "mine", "--num", 9, "--json").json
    with np.load(values["files"][0]) as arrays:
        assert {row[1] for row in arrays["start"].tolist()} == {2.0, 4.0}
    model.starts = None
    save(tmp_path / "mine", model)
    assert load(tmp_path / "mine").starts is None
    assert "doesn't say where its data is: give a file" in zf("sample", tmp_path / "mine").mistake


def test_a_model_without_a_description_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this rnn has no description of its data: make it with for_data, or set"):
        save(tmp_path / "mine", RNN(CONDITIONED.spec, hidden_size=4))


def test_starts_of_another_model_are_refused(tmp_path: Path) -> None:
    for name, longest in (("a", 5), ("b", 6)):
        description = DataDescription("mine", CONDITIONED.spec, longest)
        model = RNN.for_data(FixedDescription(description), hidden_size=4, embedding_size=3)
        model.starts = torch.zeros(2, 2)
        save(tmp_path / name, model)
    shutil.copy(tmp_path / "a" / "starts.safetensors", tmp_path / "b" / "starts.safetensors")
    with pytest.raises(UserError, match=r"starts\.safetensors isn't as it was written"):
        load(tmp_path / "b")
    (tmp_path / "b" / "SHA256SUMS").unlink()  # as of version 0.1
    with pytest.raises(UserError, match="isn't that of the weights in its folder"):
        load(tmp_path / "b")


@pytest.mark.parametrize("starts", [torch.zeros(2, 3), torch.zeros(0, 2), torch.zeros(())])
def test_starts_that_no_model_of_the_kind_has_are_refused(tmp_path: Path, starts: torch.Tensor) -> None:
    model = RNN.for_data(FixedDescription(CONDITIONED), hidden_size=4, embedding_size=3)
    model.starts = starts
    save(tmp_path / "mine", model)
    with pytest.raises(UserError, match=r"starts\.safetensors is damaged: it holds .*; it must hold x \[n, 2\]"):
        load(tmp_path / "mine")


def test_the_starts_that_are_kept_are_at_most_64_of_the_training_data(tmp_path: Path) -> None:
    x = RNG.normal(size=(200, 3, 2))
    np.savez(tmp_path / "mine.npz", x=x)
    data = Arrays(str(tmp_path / "mine.npz"), first_observation="conditioned", normalize=False)
    description = data.describe()
    assert description.format == TableFormat()
    starts = first_observations(data.load("train", description), description)
    assert starts is not None
    assert starts.shape == (64, 2)
    first = {tuple(row) for row in x[:, 0].astype(np.float32).tolist()}
    assert {tuple(row) for row in starts.tolist()} <= first
    assert len({tuple(row) for row in starts.tolist()}) == 64
    scored = Arrays(str(tmp_path / "mine.npz")).describe()
    assert first_observations(data.load("train", description), scored) is None


# ---- folders, devices and formats that aren't there


def model_of_two() -> ZForcing:
    model = ZForcing.for_data(Sequences([[[1.0, 2.0], [3.0, 4.0]]]), hidden_size=6)
    return model


def test_where_a_model_can_not_be_kept_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "taken" / "model.safetensors").mkdir(parents=True)
    for folder in ("file", "file/below", "taken"):
        with pytest.raises(UserError, match=r"can't save the model in .*; name another folder"):
            save(tmp_path / folder, model_of_two())
    with pytest.raises(UserError, match=r"model is a str; it must be a model: save\(folder, model\)"):
        save(model_of_two(), "mine")  # type: ignore[arg-type]


def test_devices_are_named_as_fit_names_them(tmp_path: Path) -> None:
    save(tmp_path, model_of_two())
    assert next(load(tmp_path, device="auto").parameters()).device.type in ("cpu", "cuda")
    with pytest.raises(UserError, match="device is 'gpu'; it must be auto, or one of torch's"):
        load(tmp_path, device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="device cuda: torch finds no GPU here"):
            load(tmp_path, device="cuda")
        with pytest.raises(UserError, match="torch finds no GPU here"):
            evaluate(model_of_two(), Sequences([[[1.0, 2.0]]]), device="cuda:0")


def test_a_checkpoint_of_another_name_is_refused(tmp_path: Path) -> None:
    save(tmp_path, model_of_two())
    with pytest.raises(UserError, match="which is 'first'; it must be best or last"):
        load(tmp_path, which="first")


def test_a_format_that_nobody_registered_is_not_called_damage(tmp_path: Path) -> None:
    save(tmp_path, model_of_two())
    config = json.loads((tmp_path / "config.json").read_text())
    config["data"]["format"] = {"name": "levels"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "SHA256SUMS").unlink()
    with pytest.raises(UserError, match="names format 'levels', which isn't registered: import the module") as error:
        load(tmp_path)
    assert "damaged" not in str(error.value)


@dataclass(frozen=True)
class Lines(Format):
    """A number on each line, read by a library that says what is wrong in its own way."""

    name = "lines"

    def read(self, path: str, description: Described) -> list[Example]:
        return [Example(np.loadtxt(path, ndmin=2))]

    def show(self, path: Path, drawn: Drawn, description: Described) -> Written:
        return Written()


def test_a_file_that_a_format_of_ones_own_can_not_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("hello\n")
    description = DataDescription("lines", ObservationSpec("real", 1), 3, format=Lines())
    for name, said in (("words.txt", "could not convert"), ("gone.txt", "not found")):
        with pytest.raises(UserError, match=f"{name}: can't be read as lines: .*{said}"):
            read_file(description.format, str(tmp_path / name), description)


def test_weights_that_are_read_are_not_drawn() -> None:
    torch.manual_seed(0)
    with Undrawn():
        zeros = [torch.zeros(3).normal_(), torch.nn.init.normal_(torch.zeros(3)), torch.zeros(3).normal_(mean=2.0)]
    assert not any(values.any() for values in zeros)
    assert torch.zeros(3).normal_().all()


@pytest.mark.slow  # a process of its own
def test_a_table_of_categories_is_loaded_without_the_compiler(tmp_path: Path) -> None:
    save(tmp_path, RNN.for_data(Sequences([[0, 1, 2]], kind="categorical"), hidden_size=3, embedding_size=2))
    code = "import sys, zforcing; zforcing.load(sys.argv[1]); assert 'torch._dynamo' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=50)
