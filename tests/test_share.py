"""A model handed over: a folder that holds what is needed and says what it is, and the way to the Hub and back."""

from __future__ import annotations

import getpass
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard, constants
from huggingface_hub.utils import filter_repo_objects

import zforcing as zf
from conftest import Command
from zforcing import from_pretrained, load, save
from zforcing.errors import UserError
from zforcing.saving.digests import read_digests
from zforcing.sharing.facts import evaluations_in
from zforcing.sharing.places import without_places

FROZEN = Path(__file__).parent / "data" / "frozen"
NEEDED = ["README.md", "SHA256SUMS", "config.json", "model.safetensors"]
LICENSED = ("--license", "cc-by-4.0")


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def run(table_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a table whose settings name absolute paths, with an evaluation that mentions one."""
    folder = tmp_path_factory.mktemp("runs") / "machines"
    shutil.copytree(table_runs / "table", folder)
    values = json.loads((FROZEN / "zforcing-trips" / "evaluation-test-iwae3.json").read_text())
    baseline = {"name": "independent Gaussian", "nats_per_sequence": -20.0, "raw_nats_per_sequence": -40.0}
    values |= {"remark": f"2 files of {table_runs}/test.csv were left out", "baselines": [baseline]}
    (folder / "evaluation-test-iwae3.json").write_text(json.dumps(values))
    (folder / "evaluation-test-elbo-last.json").write_text(json.dumps(values | {"checkpoint": "last", "bound": "elbo"}))
    return folder


@pytest.fixture(scope="module")
def shared(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_default_dtype(torch.float32)
    return zf.share(run, tmp_path_factory.mktemp("shared") / "mine", license_id="cc-by-4.0").folder


def front_matter(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((folder / "README.md").read_text("utf-8").split("---\n")[1])
    return values


def small_model() -> zf.ZForcing:
    torch.manual_seed(0)
    return zf.ZForcing.for_data(zf.Sequences(np.ones((3, 5, 2)), names=["speed", "heat"]), hidden_size=6)


# ---- the folder


def test_a_shared_folder_holds_what_is_needed_and_says_what_of_the_data_is_in_it(
    run: Path, tmp_path: Path, zf: Command
) -> None:
    values = zf("share", run, "--out", tmp_path / "mine", *LICENSED, "--json").json
    assert values["files"] == NEEDED == sorted(path.name for path in (tmp_path / "mine").iterdir())
    assert values["holds"][1:] == ["the mean and the standard deviation of each number", "the names of its 2 columns"]


def test_nothing_in_it_tells_of_the_machine(run: Path, shared: Path, table_runs: Path) -> None:
    assert str(table_runs) in (run / "config.yaml").read_text()  # what must not go along
    for path in shared.iterdir():
        content = path.read_bytes()
        for place in (run.parent, table_runs, Path.home(), Path.cwd()):
            assert str(place).encode() not in content, path
        assert f"/{getpass.getuser()}/".encode() not in content, path
    assert "path: train.csv" in (shared / "README.md").read_text("utf-8")


def test_the_model_in_it_is_the_runs(run: Path, shared: Path) -> None:
    before, after = zf.load(run), zf.load(shared)
    assert before.description == after.description
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name]), name


def test_the_last_checkpoint_has_its_own_numbers(run: Path, tmp_path: Path) -> None:
    zf.share(run, tmp_path / "last", which="last")
    (result,) = front_matter(tmp_path / "last")["model-index"][0]["results"]
    assert result["metrics"][0]["name"] == "nats per sequence (lower bound, elbo 3)"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda place: place.write_text(""), "is a file; name a folder"),
        (lambda place: (place.mkdir(), (place / "thesis.tex").write_text("")), r"holds other files \(thesis.tex\)"),
        (lambda place: (place.mkdir(), (place / "README.md").write_text("")), "exists already: name another folder"),
    ],
)
def test_what_stands_there_is_not_replaced(make: Callable[[Path], Any], said: str, tmp_path: Path) -> None:
    make(tmp_path / "taken")
    with pytest.raises(UserError, match=said):
        zf.share(small_model(), tmp_path / "taken")


def test_a_folder_made_before_is_replaced_if_that_is_wanted(tmp_path: Path) -> None:
    for _ in range(2):
        zf.share(small_model(), tmp_path / "mine", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


def test_folders_of_the_user_beside_it_stay(tmp_path: Path) -> None:
    for name in ("mine.old", "mine.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.tex").touch()
    for _ in range(2):
        zf.share(small_model(), tmp_path / "mine", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "mine.old", "mine.partial"]
    assert len(list(tmp_path.glob("mine.*/thesis.tex"))) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--license", "My Own"], "license_id is 'My Own'; it must be written as the Hub does"),
        (["--push", "name"], "'name' is no name on the Hub; it must be user/name"),
        (["--private"], "--private goes with --push"),
    ],
)
def test_mistakes_are_one_line(words: list[str], said: str, run: Path, tmp_path: Path, zf: Command) -> None:
    assert said in zf("share", run, "--out", tmp_path / "mine", *words).mistake
    assert not (tmp_path / "mine").exists()


def test_what_is_no_model_is_not_shared(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="source is a dict; it must be a run folder or a model"):
        zf.share({}, tmp_path / "mine")  # type: ignore[arg-type]  # the mistake
    model = small_model()
    model.description = None
    with pytest.raises(UserError, match="has no description of its data"):
        zf.share(model, tmp_path / "mine")


# ---- the card


def test_the_hub_reads_the_card(shared: Path) -> None:
    data = ModelCard.load(shared / "README.md").data
    assert (data.license, data.library_name) == ("cc-by-4.0", "zforcing")
    assert data.pipeline_tag == "time-series-forecasting"
    assert {"zforcing", "table", "real"} <= set(data.tags)
    names = {result.metric_name: result.metric_value for result in data.eval_results}
    assert names["nats per sequence (lower bound, iwae 3)"] == pytest.approx(-20.734559)


def test_the_card_says_what_a_stranger_must_know(shared: Path) -> None:
    text = (shared / "README.md").read_text("utf-8")
    for said in (
        "- train: 12 sequences of 12 steps (144 in all); 2 real columns (speed, heat)",
        "; fingerprint ",
        "2 updates in all",
        "(lower bound, elbo) after",  # the validation that chose the checkpoint
        "log p(x) ≥ -20.73 ± 7.91 nats per sequence (lower bound, iwae 3; zforcing on 2 sequences of arrays, test",
        "baselines: independent Gaussian -20.00 nats per sequence, exact",
        "independent Gaussian, a simple baseline, explains this data better",
        "the data: 2 files of test.csv were left out",
        "learning_rate:",
        "Z-Forcing: Training Stochastic Recurrent Networks",
    ):
        assert said in text, said


def test_the_cards_python_runs(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(shared, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    code = (shared / "README.md").read_text("utf-8").split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(code.replace("steps=12", "steps=3"), names)
    assert names["x"].shape == (4, 3, 2)


def test_a_card_says_where_data_is_gone(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    gone = tmp_path / "moved"
    shutil.copytree(run, gone)
    config = (gone / "config.yaml").read_text()
    (gone / "config.yaml").write_text(config.replace("/train.csv", "/gone.csv"))
    zf.share(gone, tmp_path / "mine", say=said.append)
    assert "the training data isn't counted on the card: data.path" in said[0]
    assert "not counted: the data wasn't there" in (tmp_path / "mine" / "README.md").read_text("utf-8")


def test_numbers_of_other_weights_and_of_files_are_not_on_the_card(run: Path) -> None:
    place, said = run / "evaluation-test-iwae3.json", []
    values = json.loads(place.read_text())
    others = {"elbo": {"weights": "0" * 64}, "0123abcd-iwae3": {"nats_per_sequence": -7.0}}
    files = [run / f"evaluation-test-{name}.json" for name in others]
    for file, changed in zip(files, others.values(), strict=True):
        file.write_text(json.dumps(values | changed))
    try:
        found = list(evaluations_in(run, which="best", say=said.append))
    finally:
        for file in files:
            file.unlink()
    assert [e.nats_per_sequence for e in found] == [values["nats_per_sequence"]]
    assert len(said) == 1
    assert "evaluation-test-elbo.json isn't on the card: it is of weights that the run doesn't have" in said[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rnn-lines", ["its vocabulary of 18 symbols", "vocabulary.line(ids)", "pipeline_tag: text-generation"]),
        ("vrnn-recordings", ["keeps none: it goes on from sequences of yours alone", "'zforcing[audio]'"]),
        ("srnn-chords", ["'zforcing[midi]'", "Sequential Neural Models with Stochastic Layers"]),
    ],
)
def test_cards_of_other_kinds(name: str, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FROZEN)
    zf.share(name, tmp_path / name)
    text = (tmp_path / name / "README.md").read_text("utf-8")
    assert [words for words in said if words not in text] == []
    assert ("zforcing sample" in text) == (name != "vrnn-recordings")


def test_a_model_in_memory_has_a_card_of_what_is_given(tmp_path: Path) -> None:
    model, data = small_model(), zf.Sequences(np.ones((3, 5, 2)), names=["speed", "heat"])
    model.backend = "reference"
    measured = zf.evaluate(model, data, split="test")
    made = zf.share(model, tmp_path / "mine", data=data, evaluations=[measured])
    text = (made.folder / "README.md").read_text("utf-8")
    assert f"log p(x) ≥ {measured.nats_per_sequence:.2f}" in text
    assert "train: 3 sequences of 5 steps (15 in all)" in text
    assert 'model = zf.load("mine")' in text


class Mine(zf.RNN):
    name = "mine"


def test_a_card_says_that_a_model_of_ones_own_must_be_registered(tmp_path: Path) -> None:
    model = Mine.for_data(zf.Sequences(np.ones((3, 5, 2))), hidden_size=4)
    text = (zf.share(model, tmp_path / "mine").folder / "README.md").read_text("utf-8")
    assert "Import the module that registers `mine` first" in text


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("can't read /home/anna/data/x.csv: gone", "can't read x.csv: gone"),
        ("of ~/data/x.csv, C:\\Users\\anna\\x.csv", "of x.csv, x.csv"),
        ("of file:///home/anna/x.csv, \\\\server\\anna\\x.csv", "of x.csv, x.csv"),
        ("/mnt/data/recordings/", "..."),
        ("km/h, 1/2, https://arxiv.org/abs/1711.05411 and data/x.csv", None),
    ],
)
def test_paths_of_a_machine_are_names_alone(text: str, public: str | None) -> None:
    assert without_places(text) == (text if public is None else public)


# ---- the Hub


class FakeHub:
    """What `push_to_hub` asks of huggingface_hub.HfApi, with a folder for the Hub."""

    def __init__(self, root: Path):
        self.root = root

    def __call__(self, **_: Any) -> FakeHub:
        return self

    def create_repo(self, repo: str, *, private: bool, exist_ok: bool) -> str:
        (self.root / repo).mkdir(parents=True, exist_ok=exist_ok)
        return f"https://hub.example/{repo}{'?private' if private else ''}"

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, allow_patterns: list[str], delete_patterns: list[str], **_: Any
    ) -> None:
        there, names = self.root / repo_id, [path.name for path in folder_path.iterdir()]
        for name in filter_repo_objects([path.name for path in there.iterdir()], allow_patterns=delete_patterns):
            (there / name).unlink()
        for name in filter_repo_objects(names, allow_patterns=allow_patterns):
            shutil.copy(folder_path / name, there / name)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.HfApi", FakeHub(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_run_goes_to_the_hub_and_comes_back(run: Path, tmp_path: Path, hub: Path, zf: Command) -> None:
    out = zf("share", run, "--out", tmp_path / "mine", "--push", "anna/machines", "--private").out.splitlines()
    assert out[0].startswith(f"{tmp_path / 'mine'}: README.md, SHA256SUMS, config.json, model.safetensors (")
    assert out[2] == "https://hub.example/anna/machines?private"
    there = hub / "anna" / "machines"
    assert sorted(path.name for path in there.iterdir()) == NEEDED
    assert 'zf.from_pretrained("anna/machines")' in (there / "README.md").read_text("utf-8")
    assert from_pretrained(there).description == load(run).description


def test_a_model_in_memory_goes_to_the_hub_in_the_place_of_what_was_there(hub: Path) -> None:
    (hub / "anna" / "mine").mkdir(parents=True)
    (hub / "anna" / "mine" / "starts.safetensors").write_text("of another model")
    assert zf.push_to_hub(small_model(), "anna/mine", license_id="mit") == "https://hub.example/anna/mine"
    assert sorted(path.name for path in (hub / "anna" / "mine").iterdir()) == NEEDED
    with pytest.raises(UserError, match="has a card already: write its license there"):
        zf.push_to_hub(hub / "anna" / "mine", "anna/other", license_id="mit")


def test_a_card_that_was_edited_goes_as_it_stands(shared: Path, tmp_path: Path, hub: Path, zf: Command) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(shared, mine)
    (mine / "README.md").write_text("---\nlicense: mit\n---\nby hand")
    assert sorted(read_digests(mine) or {}) == ["config.json", "model.safetensors"]  # `sha256sum --check` is content
    (mine / "secret.csv").write_text("1")
    assert zf("share", mine, "--push", "anna/mine").out == "https://hub.example/anna/mine\n"
    assert (hub / "anna" / "mine" / "README.md").read_text() == "---\nlicense: mit\n---\nby hand"
    assert sorted(path.name for path in (hub / "anna" / "mine").iterdir()) == NEEDED
    assert "--license: " in zf("share", mine, "--push", "anna/mine", *LICENSED).mistake


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """huggingface_hub's folder of what was fetched before, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_was_fetched_before_is_loaded_offline(shared: Path, offline: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    (offline / "models--anna--mine" / "refs").mkdir(parents=True)
    (offline / "models--anna--mine" / "refs" / "main").write_text(commit)
    shutil.copytree(shared, offline / "models--anna--mine" / "snapshots" / commit)
    assert zf.from_pretrained("anna/mine").description == zf.load(shared).description
    (offline / "models--anna--mine" / "snapshots" / commit / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"anna/mine, as the Hub has it, can't be loaded: .* no model.safetensors"):
        zf.from_pretrained("anna/mine")


@pytest.mark.usefixtures("offline")
def test_what_was_not_fetched_is_one_line(shared: Path) -> None:
    with pytest.raises(UserError, match=r"^anna/gone: the Hub can't be asked: [^\n]*$"):
        zf.from_pretrained("anna/gone")
    with pytest.raises(UserError, match=r"^anna/gone: the Hub can't be asked: [^\n]*$"):
        zf.push_to_hub(shared, "anna/gone")
    with pytest.raises(UserError, match="'gone' is neither a folder nor a name on the Hub"):
        zf.from_pretrained("gone")
    with pytest.raises(UserError, match="is a folder, which has none: leave it out"):
        zf.from_pretrained(shared, revision="main")


def test_loading_a_name_of_the_hub_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no such run folder: anna/mine .*zforcing.from_pretrained\('anna/mine'\)"):
        zf.load("anna/mine")
    (tmp_path / "runs").mkdir()
    with pytest.raises(UserError, match=r"no such run folder: runs/mine$"):
        zf.load("runs/mine")


def test_commands_say_how_a_model_of_the_hub_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zf: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["sample", "anna/mine"], ["score", "anna/mine", "rows.csv"], ["info", "anna/mine"]):
        assert "by `hf download anna/mine --local-dir runs/mine --exclude config.yaml`" in zf(*words).mistake
    (tmp_path / "runs").mkdir()
    assert "hf download" not in zf("sample", "runs/mine").mistake


# ---- folders of others


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"config.json": '{"model_type": "bert"}', "model.safetensors": ""}, "is of another library"),
        ({"config.json": '{"model_type": "bert"}', "pytorch_model.bin": "cos\nsystem"}, "in another form are never"),
        ({"pytorch_model.bin": "cos\nsystem"}, "neither config.json nor model.safetensors"),
        ({}, "neither config.json nor model.safetensors"),
        ({"config.json": "<html>", "model.safetensors": ""}, "config.json can't be read"),
    ],
)
def test_a_folder_of_another_kind_is_one_line(files: dict[str, str], said: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for way in (load, from_pretrained):
        with pytest.raises(UserError, match=said) as caught:
            way(tmp_path)
        assert "\n" not in str(caught.value)


def test_a_model_that_was_handed_over_runs_no_code(tmp_path: Path, zf: Command) -> None:
    small = small_model()
    save(tmp_path / "theirs", small)
    (tmp_path / "theirs" / "config.yaml").write_text("imports: [theirs.py]\n")
    (tmp_path / "theirs" / "theirs.py").write_text("raise SystemExit('their code runs')\n")
    assert "would run Python code" in zf("sample", tmp_path / "theirs").mistake


def test_commands_on_a_card_are_words_of_a_shell(tmp_path: Path) -> None:
    zf.share(small_model(), tmp_path / "my model")
    assert "zforcing sample 'my model' --num 4" in (tmp_path / "my model" / "README.md").read_text("utf-8")


def test_a_shared_folder_is_copied_and_not_shared_again(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder that share made, and has a README\.md already: copy it"):
        zf.share(shared, tmp_path / "again")


def test_arguments_of_a_wrong_type_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"folder is a int; it must be a folder's name: share\(run, folder\)"):
        zf.share(small_model(), 3)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(UserError, match="name is a int; it must be user/name of the Hub, or a folder"):
        from_pretrained(3)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(UserError, match="'3' is no name on the Hub; it must be user/name"):
        zf.push_to_hub(small_model(), "3")
