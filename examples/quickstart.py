"""Train a model on sequences in memory and say how well it explains sequences that it hasn't seen.

    python examples/quickstart.py

The data are scikit-learn's handwritten digits: an image is a sequence of 8 rows, a row is 8 pixels, black or white.
Nothing is written. Change `kind`, `hidden_size`, the model (`zf.VRNN`, `zf.SRNN`, `zf.RNN`) or the data.
"""

from __future__ import annotations

import argparse

from sklearn.datasets import load_digits

import zforcing as zf


def digits() -> zf.Sequences:
    """1797 sequences [8, 8] of 0 and 1; the digits are groups."""
    images, labels = load_digits(return_X_y=True)
    return zf.Sequences(images.reshape(-1, 8, 8) > 8, kind="binary", groups=labels)


def main(minutes: float) -> zf.Evaluation:
    """Train for so long, at most, and evaluate on the test split."""
    data = digits()
    print(data)
    train, valid, test = data.split(0.8, 0.1, 0.1, seed=0)
    model = zf.ZForcing.for_data(train, hidden_size=64, latent_size=16)
    history = zf.fit(model, train, valid, max_minutes=minutes, learning_rate=3e-3)
    print(history)
    evaluation = zf.evaluate(model, test, bound=zf.IWAE(64))
    print(evaluation)
    return evaluation


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--minutes", type=float, default=0.5, help="to train for, at most")
    main(options.parse_args().minutes)
