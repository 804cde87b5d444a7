"""Small runs on digits, speech, music, a table and text, which the tests of several commands share."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch

from zforcing.cli import main

SMALL = ["--model.hidden_size", "6", "--model.latent_size", "2", "--model.embedding_size", "4", "--model.mlp_size", "4"]
STEPS = ["--training.max_steps", "2", "--backend", "reference", "--device", "cpu"]
SENTENCES = ["a good film", "a bad film", "the good end", "a film of the end", "good and bad"]


def write_data(folder: Path) -> dict[str, list[str]]:
    """Small data of each kind, and the words that name it."""
    rng = np.random.default_rng(0)
    pieces = [[tuple(rng.integers(21, 109, size=3).tolist()) for _ in range(n)] for n in (9, 6, 7, 8)]
    (folder / "music.pickle").write_bytes(pickle.dumps(dict.fromkeys(("train", "valid", "test"), pieces), 2))
    for name in ("speech", "text"):
        (folder / name).mkdir()
    for n in range(12):
        samples = 3000 * np.sin(np.arange(300 + 37 * n) / 7 + n) + 300 * rng.standard_normal(300 + 37 * n)
        soundfile.write(folder / "speech" / f"{n:02}.wav", samples.astype(np.int16), 8000)
    for split in ("train", "valid", "test"):
        (folder / "text" / f"{split}.txt").write_text("\n".join(SENTENCES) + "\n")
        machine = np.repeat(["m0", "m1", "m2"], [6, 5, 6])
        table = {"machine": machine, "speed": 100 + 10 * rng.standard_normal(17), "heat": rng.standard_normal(17)}
        pd.DataFrame(table).to_csv(folder / f"{split}.csv", index=False)
    table_words = [
        f"--data.{s}path={folder}/{n}.csv" for s, n in (("", "train"), ("valid_", "valid"), ("test_", "test"))
    ]
    frames = ["--data.frame_size=20", "--data.valid_fraction=0.2", "--data.test_fraction=0.2"]
    return {
        "digits": ["digits-zforcing", *SMALL],
        "speech": ["speech-small-srnn", "--data.root", f"{folder}/speech", *frames, *SMALL, "--model.mlp_layers", "1"],
        "music": ["jsb-zforcing", "--data.path", f"{folder}/music.pickle", *SMALL],
        "table": [
            "table-zforcing-aux",
            *table_words,
            "--data.columns=[speed, heat]",
            "--data.sequence=machine",
            *SMALL,
        ],
        "text": ["imdb-small-zforcing", "--data.root", f"{folder}/text", *SMALL],
        "rnn": ["digits-rnn", *SMALL[:2], *SMALL[4:6]],
    }


def train_runs(folder: Path, *names: str) -> None:
    """A run of two updates of each kind of data, or of some of them."""
    torch.set_default_dtype(torch.float32)
    for name, words in write_data(folder).items():
        if not names or name in names:
            assert main(["train", *words, "--run-dir", str(folder / f"run-{name}"), *STEPS]) == 0
