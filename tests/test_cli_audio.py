"""Recordings from train to evaluate, sample and continue: numbers that add up, files that are heard, one line else."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from conftest import Command
from zforcing.cli import main

RATE, FRAME = 8000, 20
MODELS = {
    "rnn": ["--model.hidden_size", 6, "--model.embedding_size", 5],
    "vrnn": ["--model.hidden_size", 6, "--model.latent_size", 3, "--model.feature_size", 8, "--model.mlp_size", 8,
             "--model.mlp_layers", 1],
    "srnn": ["--model.hidden_size", 6, "--model.latent_size", 3, "--model.embedding_size", 5, "--model.mlp_size", 6,
             "--model.mlp_layers", 1],
    "zforcing": ["--model.hidden_size", 6, "--model.latent_size", 3, "--model.embedding_size", 5,
                 "--model.mlp_size", 6],
}  # fmt: skip
RECIPES = {"rnn": "rnn-gauss", "vrnn": "vrnn-gauss", "srnn": "srnn", "zforcing": "zforcing-aux"}
SHORT = ["--data.frame_size", FRAME, "--data.valid_fraction", 0.2, "--data.test_fraction", 0.2, "--device", "cpu"]


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


def wave(samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (3000 * np.sin(np.arange(samples) / 7 + seed) + 300 * rng.standard_normal(samples) + 50).astype(np.int16)


def recordings(root: Path, files: int = 12) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for n in range(files):
        soundfile.write(root / f"{n:02}.wav", wave(300 + 37 * n, n), RATE)
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recordings(tmp_path_factory.mktemp("recordings"))


def train(root: Path, run: Path, model: str, *words: object) -> Path:
    command = ["train", f"speech-small-{RECIPES[model]}", "--run-dir", run, "--data.root", root, *SHORT]
    assert main([str(word) for word in [*command, *MODELS[model], "--training.max_steps", 3, *words]]) == 0
    return run


@pytest.fixture(scope="module")
def runs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of each model, one that scores the first frame, and one of integers: to be read, not changed."""
    torch.set_default_dtype(torch.float32)
    runs = tmp_path_factory.mktemp("runs")
    for model in MODELS:
        train(folder, runs / model, model)
    train(folder, runs / "scored", "zforcing", "--data.first_observation", "scored")
    train(folder, runs / "mulaw", "rnn", "--data.encoding", "mulaw", "--model.min_std", 0)
    return runs


@pytest.fixture
def run(runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs / "rnn", tmp_path / "run"))


def frames_to_test(run: Path) -> list[int]:
    """How many whole frames the test recordings have."""
    from zforcing.training.runs.folder import read_run_config

    data = read_run_config(run).data
    return [int(n) for n in data.load("test", data.describe()).lengths]


# ---- numbers


@pytest.mark.parametrize(("name", "first"), [("rnn", 1), ("zforcing", 1), ("scored", 0), ("mulaw", 1)])
def test_counts_are_those_of_the_recordings(runs: Path, zf: Command, name: str, first: int) -> None:
    values = zf("evaluate", runs / name, "--json").json
    frames = frames_to_test(runs / name)
    steps = sum(frames) - first * len(frames)
    assert (values["num_sequences"], values["num_steps"], values["num_dims"]) == (len(frames), steps, steps * FRAME)
    assert (values["sample_rate"], values["num_skipped"], values["data"]) == (RATE, 0, "audio-folder")
    assert values["first_observation"] == ("conditioned" if first else "scored")
    assert (values["chunk_steps"], values["look_ahead"]) == (None, None)


@pytest.mark.parametrize("name", ["rnn", "vrnn", "scored", "mulaw"])
def test_nats_per_half_second_add_up(runs: Path, zf: Command, name: str) -> None:
    values = zf("evaluate", runs / name, "--json").json
    total = values["nats_per_sequence"] * values["num_sequences"]
    half_seconds = values["num_dims"] / (RATE / 2)
    assert math.isclose(values["nats_per_half_second"] * half_seconds, total, rel_tol=1e-12)
    assert math.isclose(values["nats_per_step"] * values["num_steps"], total, rel_tol=1e-12)


@pytest.mark.parametrize("name", ["rnn", "srnn", "scored"])
def test_raw_nats_are_those_of_the_samples_in_16_bits(runs: Path, folder: Path, zf: Command, name: str) -> None:
    values = zf("evaluate", runs / name, "--json").json
    scaling = json.loads((runs / name / "checkpoints" / "best" / "config.json").read_text())["data"]["normalization"]
    assert math.isclose(values["normalization_std"], scaling["std"][0], rel_tol=1e-12)
    assert 1500 < values["normalization_std"] < 3000  # of a sine of 3000: 2121
    total = values["nats_per_sequence"] * values["num_sequences"]
    raw = total - values["num_dims"] * math.log(values["normalization_std"])
    assert math.isclose(values["raw_nats_per_sequence"] * values["num_sequences"], raw, rel_tol=1e-9)
    half_seconds = values["num_dims"] / (RATE / 2)
    assert math.isclose(values["raw_nats_per_half_second"] * half_seconds, raw, rel_tol=1e-9)
    assert values["bits_per_sample"] is None


def test_integers_have_bits_per_sample_and_nothing_raw(runs: Path, zf: Command) -> None:
    values = zf("evaluate", runs / "mulaw", "--json").json
    assert values["bits_per_sample"] == values["bits_per_dim"]
    assert 0 < values["bits_per_sample"] < 12  # 8 would be every level alike
    assert [values[f"raw_nats_per_{of}"] for of in ("sequence", "half_second")] == [None, None]
    assert values["normalization_std"] is None


def test_data_that_is_no_audio_has_no_seconds(zf: Command, arrays: Path) -> None:
    values = zf("evaluate", arrays, "--json").json
    none = ("nats_per_half_second", "raw_nats_per_half_second", "bits_per_sample", "sample_rate")
    assert [values[name] for name in none] == [None] * 4


# ---- in chunks


@pytest.mark.parametrize("steps", [1, 5, 10000])
@pytest.mark.parametrize("model", MODELS)
def test_chunks_give_the_number_of_the_whole(runs: Path, zf: Command, model: str, steps: int) -> None:
    whole = zf("evaluate", runs / model, "--json", "--split", "valid").json
    chunked = zf("evaluate", runs / model, "--json", "--split", "valid", "--chunk-steps", steps).json
    for name in ("nats_per_sequence", "kl_per_sequence", "nats_per_half_second"):
        assert math.isclose(chunked[name], whole[name], rel_tol=1e-4)
    assert (chunked["chunk_steps"], chunked["look_ahead"]) == (steps, None)
    same = ("kind", "bound", "num_steps", "num_dims", "data_fingerprint")
    assert [chunked[name] for name in same] == [whole[name] for name in same]


def test_a_posterior_that_sees_less_gives_another_number_in_another_file(
    runs: Path, tmp_path: Path, zf: Command
) -> None:
    run = Path(shutil.copytree(runs / "zforcing", tmp_path / "run"))
    whole = zf("evaluate", run, "--json").json
    before = (run / "evaluation-test-elbo.json").read_text()
    less = zf("evaluate", run, "--json", "--chunk-steps", 5, "--look-ahead", 0).json
    assert (run / "evaluation-test-elbo.json").read_text() == before
    saved = json.loads((run / "evaluation-test-elbo-chunks-of-5-ahead-0.json").read_text())
    assert saved == less | {"sha256": saved["sha256"]}
    assert less["nats_per_sequence"] != whole["nats_per_sequence"]
    assert (less["chunk_steps"], less["look_ahead"]) == (5, 0)


def test_a_posterior_that_sees_far_enough_gives_the_number_of_the_whole(runs: Path, zf: Command) -> None:
    words = ["evaluate", runs / "zforcing", "--json", "--chunk-steps", 5, "--look-ahead"]
    far, everything = (zf(*words, ahead).json["nats_per_sequence"] for ahead in (1000, "all"))
    assert math.isclose(far, everything, rel_tol=1e-6)


@pytest.mark.parametrize("model", ["rnn", "vrnn"])
def test_what_doesnt_look_ahead_loses_nothing_without(runs: Path, zf: Command, model: str) -> None:
    words = ["evaluate", runs / model, "--json", "--split", "valid"]
    whole, less = (zf(*words, *more).json for more in ([], ["--chunk-steps", 4, "--look-ahead", 0]))
    assert math.isclose(less["nats_per_sequence"], whole["nats_per_sequence"], rel_tol=1e-4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--look-ahead", 0], "--look-ahead needs --chunk-steps"),
        (["--chunk-steps", 5, "--bound", "iwae"], "--chunk-steps takes the elbo, whose terms add up over time"),
        (["--chunk-steps", 0], "--chunk-steps is 0; it must be 1 or more"),
        (["--chunk-steps=-2"], "--chunk-steps is -2"),
        (["--chunk-steps", "x"], "--chunk-steps is x; it must be a whole number or null"),
        (["--chunk-steps", 5, "--look-ahead", "some"], "--look-ahead is 'some'; it must be a whole number"),
        (["--chunk-steps", 5, "--look-ahead=-1"], "--look-ahead is '-1'"),
        (["--chunk-steps", 5, "--look-ahead", 1.5], "--look-ahead is '1.5'"),
    ],
)  # fmt: skip
def test_chunks_that_cant_be_are_one_line(runs: Path, zf: Command, words: list[object], said: str) -> None:
    assert said in zf("evaluate", runs / "zforcing", *words).mistake


# ---- heard


def heard(file: str | Path) -> np.ndarray:
    samples, rate = soundfile.read(file, dtype="int16")
    assert rate == RATE
    return samples


def test_samples_are_recordings_of_the_datas_rate_and_16_bits(runs: Path, tmp_path: Path, zf: Command) -> None:
    result = zf("sample", runs / "scored", "--num", 3, "--steps", 7, "--out", tmp_path, "--seed", 2, "--json").json
    arrays, *wavs = result["files"]
    assert [Path(f).name for f in wavs] == [f"sample-seed2-00{i}.wav" for i in range(3)]
    drawn = np.load(arrays)["x"]
    for i, file in enumerate(wavs):
        about = soundfile.info(file)
        assert (about.samplerate, about.channels, about.subtype, about.format) == (RATE, 1, "PCM_16", "WAV")
        np.testing.assert_array_equal(heard(file), np.rint(drawn[i].reshape(-1)).astype(np.int16))
    assert len(heard(wavs[0])) == 7 * FRAME
    assert result["clipped_samples"] == 0


@pytest.mark.parametrize("name", ["rnn", "mulaw"])
def test_the_frame_that_was_conditioned_on_is_heard_first(runs: Path, tmp_path: Path, zf: Command, name: str) -> None:
    result = zf("sample", runs / name, "--num", 2, "--steps", 4, "--out", tmp_path, "--json")
    assert "x_1 is that of one of" in result.err
    arrays, *wavs = result.json["files"]
    with np.load(arrays) as drawn:
        for i, file in enumerate(wavs):
            samples = heard(file)
            assert len(samples) == (1 + 4) * FRAME
            np.testing.assert_array_equal(samples[:FRAME], np.rint(drawn["start"][i]))
            np.testing.assert_array_equal(samples[FRAME:], np.rint(drawn["x"][i].reshape(-1)))


def test_the_conditioned_frame_is_one_of_the_recordings(runs: Path, folder: Path, tmp_path: Path, zf: Command) -> None:
    files = zf("sample", runs / "rnn", "--num", 4, "--steps", 1, "--out", tmp_path, "--json").json["files"][1:]
    first = {tuple(heard(f)[:FRAME]) for f in folder.glob("*.wav")}
    assert {tuple(heard(f)[:FRAME]) for f in files} <= first


def test_a_length_in_seconds_is_whole_frames(runs: Path, tmp_path: Path, zf: Command) -> None:
    result = zf("sample", runs / "scored", "--num", 1, "--seconds", 0.0262, "--out", tmp_path, "--json").json
    assert result["steps"] == 10  # 0.0262 s are 209.6 samples, 10.48 frames
    assert len(heard(result["files"][1])) == 10 * FRAME


def loud(run: Path, factor: float) -> None:
    """The model's last layer, many times what it was."""
    path = run / "checkpoints" / "best" / "model.safetensors"
    weights = load_file(path)
    names = [name for name in weights if name.startswith("emission_net") and name.endswith("weight")]
    assert names
    save_file({name: value * (factor if name in names else 1) for name, value in weights.items()}, path)
    (path.parent / "SHA256SUMS").unlink()


def test_clipped_samples_are_counted(run: Path, tmp_path: Path, zf: Command) -> None:
    loud(run, 50)
    words = ["sample", run, "--num", 2, "--steps", 5, "--out", tmp_path]
    values = zf(*words, "--json").json
    with np.load(values["files"][0]) as drawn:
        beyond = int(((np.rint(drawn["x"]) > 32767) | (np.rint(drawn["x"]) < -32768)).sum())
    assert 0 < values["clipped_samples"] == beyond <= 2 * 5 * FRAME
    assert max(abs(heard(f).astype(int)).max() for f in values["files"][1:]) >= 32767
    assert f"{beyond} samples were clipped to 16 bits" in zf(*words).err


# ---- continued


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """8 whole frames and a rest of 13 samples."""
    file = tmp_path / "prefix.wav"
    soundfile.write(file, wave(8 * FRAME + 13, 99), RATE)
    return file


@pytest.mark.parametrize("model", [*MODELS, "scored"])
def test_a_continuation_begins_with_the_whole_frames_of_its_prefix(
    runs: Path, prefix: Path, tmp_path: Path, zf: Command, model: str
) -> None:
    result = zf("continue", runs / model, prefix, "--num", 2, "--steps", 5, "--out", tmp_path / "out", "--json").json
    assert (result["prefix_steps"], result["steps"], result["num"]) == ([8], 5, 2)
    arrays, *wavs = result["files"]
    names = [re.fullmatch(r"continue-prefix-[0-9a-f]{8}-seed0-00(\d).wav", Path(f).name) for f in wavs]
    assert [name and name[1] for name in names] == ["0", "1"]
    drawn = np.load(arrays)["x"]
    assert drawn.shape == (2, 5, FRAME)
    for i, file in enumerate(wavs):
        samples = heard(file)
        np.testing.assert_array_equal(samples[: 8 * FRAME], heard(prefix)[: 8 * FRAME])
        np.testing.assert_array_equal(samples[8 * FRAME :], np.rint(drawn[i].reshape(-1)))
    assert not np.array_equal(drawn[0], drawn[1])


def test_a_continuation_of_integers_begins_with_the_prefixs_levels(
    runs: Path, prefix: Path, tmp_path: Path, zf: Command
) -> None:
    from zforcing.observations import mulaw_decode, mulaw_encode

    file = zf("continue", runs / "mulaw", prefix, "--steps", 2, "--out", tmp_path / "o", "--json").json["files"][1]
    levels = np.rint(mulaw_decode(mulaw_encode(heard(prefix)[: 8 * FRAME])))
    np.testing.assert_array_equal(heard(file)[: 8 * FRAME], levels)


def test_a_continuation_is_one_second_unless_told_otherwise(
    runs: Path, prefix: Path, tmp_path: Path, zf: Command
) -> None:
    words = ["continue", runs / "rnn", prefix, "--num", 1, "--json", "--out"]
    assert zf(*words, tmp_path / "a").json["steps"] == RATE // FRAME
    assert zf(*words, tmp_path / "b", "--seconds", 0.05).json["steps"] == 0.05 * RATE / FRAME


def test_a_continuation_follows_the_seed_and_the_prefix(runs: Path, prefix: Path, tmp_path: Path, zf: Command) -> None:
    other = tmp_path / "other.wav"
    soundfile.write(other, wave(8 * FRAME, 5), RATE)

    def drawn(file: Path, seed: int, out: str) -> np.ndarray:
        words = ["continue", runs / "zforcing", file, "--seed", seed, "--steps", 3, "--out", tmp_path / out, "--json"]
        return np.load(zf(*words).json["files"][0])["x"]

    one, same = drawn(prefix, 0, "a"), drawn(prefix, 0, "b")
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, drawn(prefix, 1, "c"))
    assert not np.array_equal(one, drawn(other, 0, "d"))


def test_a_prefix_of_another_rate_is_resampled(runs: Path, tmp_path: Path, zf: Command) -> None:
    file = tmp_path / "slow.wav"
    soundfile.write(file, np.repeat(np.int16(1000), 20 * FRAME), 2 * RATE)  # a constant, at any rate
    values = zf("continue", runs / "rnn", file, "--steps", 2, "--out", tmp_path / "out", "--json").json
    assert values["prefix_steps"] == [10]
    samples = heard(values["files"][1])
    assert len(samples) == (10 + 2) * FRAME
    assert abs(samples[2 * FRAME : 8 * FRAME].astype(int) - 1000).max() < 100


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bad")
    soundfile.write(root / "nan.wav", np.full(400, np.nan), RATE, subtype="FLOAT")
    soundfile.write(root / "short.wav", wave(2 * FRAME - 1), RATE)
    soundfile.write(root / "nothing.wav", wave(FRAME - 1), RATE)
    (root / "text.wav").write_text("hello\n")
    (root / "empty.wav").touch()
    whole = wave(400)
    soundfile.write(root / "cut.wav", whole, RATE)
    (root / "cut.wav").write_bytes((root / "cut.wav").read_bytes()[:300])
    return root


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nan.wav", "nan.wav: holds NaN"),
        ("short.wav", "short.wav: is shorter than two frames, of which the first is not scored"),
        ("nothing.wav", "nothing.wav: is shorter than one frame"),
        ("missing.wav", "missing.wav: no such file"),
        ("text.wav", "text.wav: is not an audio file"),
        ("empty.wav", "empty.wav: is empty"),
        ("cut.wav", "cut.wav: is truncated"),
        (".", "is not a regular file"),
    ],
)
def test_a_prefix_that_cant_be_used_is_one_line(
    runs: Path, bad: Path, tmp_path: Path, zf: Command, name: str, said: str
) -> None:
    assert said in zf("continue", runs / "rnn", bad / name, "--out", tmp_path / "out").mistake
    assert not (tmp_path / "out").exists()


def test_one_frame_is_enough_where_the_first_is_scored(runs: Path, bad: Path, tmp_path: Path, zf: Command) -> None:
    values = zf("continue", runs / "scored", bad / "short.wav", "--steps", 1, "--out", tmp_path, "--json").json
    assert values["prefix_steps"] == [1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--steps", 3, "--seconds", 1], "--steps and --seconds say the same"),
        (["--seconds", 0], "--seconds is 0"),
        (["--seconds=-1"], "--seconds is -1"),
        (["--seconds", "nan"], "seconds"),
        (["--seconds", "1e300"], "--seconds is 1e+300"),
        (["--steps", 0], "--steps is 0"),
        (["--num", 0], "--num is 0"),
        (["--seed=-1"], "--seed is -1"),
        (["--checkpoint", "first"], "--checkpoint is first; it must be best or last"),
        (["--device", "tpu"], "device is 'tpu'"),
    ],
)
@pytest.mark.parametrize("command", ["sample", "continue"])
def test_generating_what_cant_be_is_one_line(
    runs: Path, prefix: Path, tmp_path: Path, zf: Command, command: str, words: list[object], said: str
) -> None:
    given = [runs / "scored", prefix] if command == "continue" else [runs / "scored"]
    assert said in zf(command, *given, *words, "--out", tmp_path / "out").mistake
    assert not (tmp_path / "out").exists()


# ---- other data


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on arrays in units of hundreds."""
    torch.set_default_dtype(torch.float32)
    root = tmp_path_factory.mktemp("arrays")
    rng = np.random.default_rng(0)
    np.savez(root / "mine.npz", x=100 + 5 * rng.normal(size=(20, 6, 2)))
    np.savez(root / "prefix.npz", x=100 + 5 * rng.normal(size=(3, 4, 2)), lengths=np.array([4, 2, 1]))
    np.savez(root / "wrong.npz", x=np.zeros((3, 4, 3)))
    small = ["--model.hidden_size", 4, "--model.embedding_size", 3, "--training.max_steps", 2, "--device", "cpu"]
    words = ["train", "arrays-rnn", "--data.path", root / "mine.npz", "--run-dir", root / "run", *small]
    assert main([str(word) for word in words]) == 0
    return root / "run"


def test_arrays_are_continued_in_their_units(arrays: Path, tmp_path: Path, zf: Command) -> None:
    file = arrays.parent / "prefix.npz"
    values = zf("continue", arrays, file, "--num", 2, "--out", tmp_path, "--json").json
    assert values["prefix_steps"] == [4, 2, 1]
    assert values["steps"] == 5  # what the shortest lacks of the longest trained on, 6
    found, table, _ = values["files"]
    drawn = np.load(found)["x"]
    assert len(Path(table).read_text().splitlines()) == 1 + 2 * (4 + 2 + 1) + 6 * 5  # what was given stands first
    assert drawn.shape == (6, 5, 2)
    assert abs(drawn.mean() - 100) < 10


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("wrong.npz", [], "has 3 features, the training split 2"),
        ("none.npz", [], "none.npz"),
        ("prefix.npz", ["--seconds", 1], "--seconds is for models of audio; use --steps"),
    ],
)
def test_arrays_that_cant_be_continued_are_one_line(
    arrays: Path, tmp_path: Path, zf: Command, name: str, words: list[object], said: str
) -> None:
    assert said in zf("continue", arrays, arrays.parent / name, *words, "--out", tmp_path / "out").mistake


def test_digits_are_no_recordings(tmp_path: Path, prefix: Path, zf: Command) -> None:
    small = ["--model.hidden_size", 4, "--model.embedding_size", 3, "--training.max_steps", 1, "--device", "cpu"]
    assert zf("train", "digits-rnn", "--run-dir", tmp_path / "run", *small).code == 0
    said = zf("continue", tmp_path / "run", prefix, "--out", tmp_path / "out").mistake
    assert "its suffix is '.wav'; images are read from .amat" in said


# ---- unreadable files


@pytest.fixture
def damaged(folder: Path, bad: Path, tmp_path: Path) -> Path:
    """Folders of the splits: 2 bad files of 8 to train on, 1 of 3 to validate on, 1 of 3 to test on."""
    root = tmp_path / "damaged"
    for split, files, broken in (("train", 6, ("cut", "nan")), ("valid", 2, ("text",)), ("test", 2, ("empty",))):
        recordings(root / split, files)
        for name in broken:
            shutil.copy(bad / f"{name}.wav", root / split)
    return root


def test_without_the_flag_unreadable_files_are_named(damaged: Path, tmp_path: Path, zf: Command) -> None:
    words = ["train", "speech-small-rnn-gauss", "--run-dir", tmp_path / "run", "--data.root", damaged, *SHORT]
    said = zf(*words, *MODELS["rnn"]).mistake
    assert "4 of 14 recordings can't be used" in said
    assert all(f"{name}.wav" in said for name in ("cut", "nan", "text", "empty"))
    assert "data.skip_unreadable" in said
    assert not (tmp_path / "run").exists()


def test_with_the_flag_they_are_left_out_and_counted(damaged: Path, tmp_path: Path, zf: Command) -> None:
    words = ["train", "speech-small-rnn-gauss", "--run-dir", tmp_path / "run", "--data.root", damaged, *SHORT]
    result = zf(*words, *MODELS["rnn"], "--training.max_steps", 1, "--skip-unreadable", "--json")
    assert result.json["updates"] == 1
    assert "3 files of the training and validation splits were left out as unreadable" in result.err
    skipped = {}
    for split in ("train", "valid", "test"):
        values = zf("evaluate", tmp_path / "run", "--split", split, "--json").json
        skipped[split] = (values["num_skipped"], values["num_sequences"])
    assert skipped == {"train": (2, 6), "valid": (1, 2), "test": (1, 2)}


def test_the_flag_is_short_for_the_setting(zf: Command, folder: Path) -> None:
    words = ["train", "speech-small-rnn-gauss", "--data.root", folder, "--print_config", "--json"]
    assert zf(*words).json["data"]["skip_unreadable"] is False
    assert zf(*words, "--skip-unreadable").json["data"]["skip_unreadable"] is True


def test_the_flag_is_for_data_that_has_files_to_leave_out(tmp_path: Path, zf: Command) -> None:
    said = zf("train", "digits-rnn", "--skip-unreadable", "--run-dir", tmp_path / "run").mistake
    assert "skip_unreadable" in said
    assert "data digits" in said


def test_the_normalization_is_one_number_whatever_the_batches(run: Path, zf: Command) -> None:
    one, other = (zf("evaluate", run, "--batch-size", n, "--json").json for n in (1, 128))
    assert one["normalization_std"] == other["normalization_std"]


def test_evaluate_leaves_out_what_broke_after_training(tmp_path: Path, zf: Command) -> None:
    root = recordings(tmp_path / "audio")
    run = train(root, tmp_path / "run", "rnn")
    (root / "zz.wav").write_bytes(b"")
    assert "zz.wav is empty" in zf("evaluate", run, "--split", "valid").mistake
    found = zf("evaluate", run, "--split", "valid", "--skip-unreadable", "--json").json
    assert found["num_sequences"] >= 1


def test_only_recordings_can_be_skipped(tmp_path: Path, zf: Command) -> None:
    words = ["--model.hidden_size", 4, "--model.embedding_size", 4, "--training.max_steps", 1, "--device", "cpu"]
    assert zf("train", "digits-rnn", "--run-dir", tmp_path / "run", *words).code == 0
    assert "--skip-unreadable is for recordings" in zf("evaluate", tmp_path / "run", "--skip-unreadable").mistake
