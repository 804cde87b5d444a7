"""How much memory an epoch over many hours of recordings takes.

    python benchmarks/audio_memory.py [--hours 20] [--every 10] [--folder FOLDER]

Writes so many hours of 16 kHz 16-bit noise, in files of about 10 s, into a temporary folder (115 MB an hour; inside
FOLDER if there is one), trains a small RNN on all of them for one epoch in pieces of 40 frames (half a second), with an
update at every `--every`th batch, and prints the peak of resident memory. The folder is removed at the end.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from zforcing.bounds import ELBO
from zforcing.data import AudioFolder
from zforcing.data.batches import load_batches, training_batches
from zforcing.models import RNN, RNNConfig

RATE = 16000
FILES_PER_FOLDER = 1000
BATCH = 128


def write_recordings(root: Path, hours: float) -> None:
    """Files of 8 to 12 s, each another stretch of one block of noise."""
    rng = np.random.default_rng(0)
    noise = (rng.standard_normal(60 * RATE) * 1000).astype(np.int16)
    left, number = round(hours * 3600 * RATE), 0
    while left > 0:
        samples = min(left, int(rng.integers(8 * RATE, 12 * RATE)))
        start = int(rng.integers(len(noise) - samples + 1))
        folder = root / f"{number // FILES_PER_FOLDER:03}"
        folder.mkdir(exist_ok=True)
        soundfile.write(folder / f"{number:06}.wav", noise[start : start + samples], RATE, subtype="PCM_16")
        left, number = left - samples, number + 1


def peak_mib() -> float:
    """The largest resident memory of this process so far; the kernel counts in KiB, on macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def measure(root: Path, every: int) -> None:
    """One epoch; prints what it took."""
    before, start = peak_mib(), time.perf_counter()
    data = AudioFolder(str(root), chunk_frames=40)
    description = data.describe()
    train = data.load("train", description)
    described = time.perf_counter() - start
    model = RNN(description.spec, RNNConfig(hidden_size=64, embedding_size=64))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    bound = ELBO()
    plan = training_batches(train.lengths, BATCH, seed=0, epoch=0)
    for number, batch in enumerate(load_batches(train, plan, description.spec)):
        if number % every == 0:
            optimizer.zero_grad()
            bound(model, batch).loss.mean().backward()
            optimizer.step()
    hours = float(data.load("train", description).recordings.samples.sum()) / RATE / 3600
    print(f"hours trained on            {hours:.2f}")
    print(f"files                       {len(train.recordings.names)}")
    print(f"sequences                   {len(train)}")
    print(f"seconds to describe         {described:.1f}")
    print(f"seconds in all              {time.perf_counter() - start:.1f}")
    print(f"peak memory before, MiB     {before:.0f}")
    print(f"peak resident memory, MiB   {peak_mib():.0f}")


def main() -> None:
    """Write, measure, remove."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hours", type=float, default=20.0, help="hours of recordings, a tenth of them held out")
    parser.add_argument("--every", type=int, default=10, help="batches read for each one that is trained on")
    parser.add_argument("--folder", type=Path, default=None, help="where the temporary folder is made")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        write_recordings(Path(folder), options.hours)
        measure(Path(folder), options.every)


if __name__ == "__main__":
    main()
