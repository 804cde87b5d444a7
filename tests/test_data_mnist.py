"""MNIST: each layout gives the pixels that were written, other images than the known ones are refused by name."""

from __future__ import annotations

import gzip
import os
import signal
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from conftest import metrics_of, write_samples
from zforcing import SequenceModel, UserError
from zforcing.data import DATA, DynamicMnist, Mnist, SequenceDataset, Split
from zforcing.data.images import mnist
from zforcing.data.images import sequences as images
from zforcing.data.images.mnist import GREY, LAROCHELLE, PixelSums
from zforcing.data.images.sequences import BinaryImages, PixelOrder, binarize
from zforcing.data.own_files import read_own
from zforcing.models import Generated
from zforcing.observations import DataDescription, ImageFormat, ObservationSpec, collate
from zforcing.observations.formats import image
from zforcing.training.callbacks import Callback
from zforcing.training.progress import Progress
from zforcing.training.reporter import Reporter
from zforcing.training.runs import run as loop
from zforcing.training.runs.config import parse_config
from zforcing.training.update import EagerUpdate, Part, Updated

PACKED = Path(__file__).parents[2] / "shared" / "data" / "packed"
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
ORDERS: tuple[PixelOrder, ...] = ("pixels", "rows", "image")
COUNTS = {"train": 6, "valid": 3, "test": 2}
RNG = np.random.default_rng(0)
BITS = {split: (RNG.random((n, 784)) < 0.2).astype(np.uint8) for split, n in COUNTS.items()}
GREYS = {"train": RNG.integers(0, 256, (24, 28, 28)).astype(np.uint8), "test": np.full((4, 28, 28), 51, np.uint8)}


def amat(pixels: Any) -> bytes:
    return b"".join(" ".join(map(str, image)).encode() + b"\n" for image in pixels)


def idx(grey: Any, magic: bytes = b"\x00\x00\x08\x03") -> bytes:
    return bytes(magic + struct.pack(">III", *grey.shape) + grey.tobytes())


def write(file: Path, content: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def static(root: Path, **changed: Any) -> Path:
    """Larochelle's layout, of a few images; `changed` are the bytes of a split."""
    for split, pixels in BITS.items():
        write(root / f"binarized_mnist_{split}.amat", changed.get(split, amat(pixels)))
    return root


def grey(root: Path, **changed: Any) -> Path:
    """The idx files, of a few images."""
    for part, stem in (("train", "train-images"), ("test", "t10k-images")):
        write(root / f"{stem}-idx3-ubyte", changed.get(part, idx(GREYS[part])))
    return root


def unchecked(root: Path, **settings: Any) -> Mnist:
    return Mnist(str(root), check_known=False, **settings)


def dynamic(root: Path, **settings: Any) -> DynamicMnist:
    return DynamicMnist(str(root), check_known=False, **({"valid_images": 6} | settings))


def pixels(data: SequenceDataset) -> Any:
    """[N, 784]."""
    return np.stack([data[i].x.reshape(-1) for i in range(len(data))])


def load(data: Mnist | DynamicMnist, split: Split = "train") -> SequenceDataset:
    return data.load(split, data.describe())


def message(data: Mnist | DynamicMnist, split: Split = "train") -> str:
    with pytest.raises(UserError) as error:
        load(data, split)
    said = str(error.value)
    assert "\n" not in said
    return said


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The few images of these tests are the ones that everybody has."""
    monkeypatch.setattr(mnist, "LAROCHELLE", {split: PixelSums.of(bits) for split, bits in BITS.items()})
    monkeypatch.setattr(mnist, "GREY", {part: PixelSums.of(levels.reshape(-1, 784)) for part, levels in GREYS.items()})


# ---- static


def test_both_are_registered() -> None:
    assert (DATA["mnist"], DATA["mnist-dynamic"]) == (Mnist, DynamicMnist)


@pytest.mark.parametrize("folder", ["", "binarized_mnist"])
@pytest.mark.parametrize("packed", [False, True])
def test_amat_files_are_read(tmp_path: Path, folder: str, packed: bool) -> None:
    for split, bits in BITS.items():
        content = gzip.compress(amat(bits)) if packed else amat(bits)
        write(tmp_path / folder / f"binarized_mnist_{split}.amat{'.gz' if packed else ''}", content)
    for split in SPLITS:
        assert np.array_equal(pixels(load(unchecked(tmp_path), split)), BITS[split])


@pytest.mark.parametrize("shape", [(784,), (28, 28), (784, 1)])
@pytest.mark.parametrize("kind", [np.uint8, bool, np.float32, np.int64])
def test_one_npz_is_read(tmp_path: Path, shape: tuple[int, ...], kind: Any) -> None:
    file = tmp_path / "any.npz"
    arrays: dict[str, Any] = {split: bits.reshape(-1, *shape).astype(kind) for split, bits in BITS.items()}
    np.savez(file, **arrays)
    for split in SPLITS:
        data = load(unchecked(file), split)
        assert isinstance(data, BinaryImages)
        assert data.pixels.dtype == np.uint8
        assert np.array_equal(pixels(data), BITS[split])


@pytest.mark.parametrize("array", ["own", "x", "arr_0"])
def test_an_npz_for_each_split_is_read(tmp_path: Path, array: str) -> None:
    for split, bits in BITS.items():
        arrays: dict[str, Any] = {split if array == "own" else array: bits}
        np.savez(tmp_path / f"binarized_mnist_{split}.npz", **arrays)
    for split in SPLITS:
        assert np.array_equal(pixels(load(unchecked(tmp_path), split)), BITS[split])


def test_a_sequence_is_an_image_pixel_by_pixel_row_by_row_or_whole(tmp_path: Path) -> None:
    static(tmp_path)
    one, rows, whole = (load(unchecked(tmp_path, order=order)) for order in ORDERS)
    assert one[1].x.dtype == rows[1].x.dtype == np.float32
    assert np.array_equal(one[1].x, BITS["train"][1][:, None])
    assert np.array_equal(rows[1].x, BITS["train"][1].reshape(28, 28))
    assert one.lengths.tolist() == [784] * 6
    assert rows.lengths.tolist() == [28] * 6
    assert np.array_equal(whole[1].x, BITS["train"][1][None])
    assert whole.lengths.tolist() == [1] * 6


@pytest.mark.parametrize(("order", "steps", "size"), [("pixels", 784, 1), ("rows", 28, 28), ("image", 1, 784)])
def test_all_pixels_are_scored_after_a_blank_x_0(tmp_path: Path, order: PixelOrder, steps: int, size: int) -> None:
    data = unchecked(static(tmp_path), order=order)
    spec = ObservationSpec("binary", size)
    assert data.describe() == DataDescription("mnist-unchecked", spec, longest=steps, format=ImageFormat(28, 28))
    batch = collate([load(data)[0]], spec)
    assert batch.x.shape == (1, steps, size)
    assert batch.scored.all()
    assert not batch.start.any()


def test_tables_tell_the_data_sets_apart() -> None:
    given = (Mnist(), Mnist(check_known=False), DynamicMnist(), DynamicMnist(check_known=False))
    names = [data.describe().name for data in given]
    assert names == ["mnist", "mnist-unchecked", "mnist-dynamic", "mnist-dynamic-unchecked"]


@pytest.mark.parametrize(
    "ending", [lambda text: text.replace(b"\n", b"\r\n"), lambda text: text.replace(b"\n", b" \n"), bytes.rstrip]
)
def test_ends_of_lines_do_not_matter(tmp_path: Path, ending: Callable[[bytes], bytes]) -> None:
    static(tmp_path, train=ending(amat(BITS["train"])))
    assert np.array_equal(pixels(load(unchecked(tmp_path))), BITS["train"])


def test_pixels_written_as_real_numbers_are_read(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "a", BITS["train"])
    static(tmp_path, train=(tmp_path / "a").read_bytes().replace(b"\n", b"\n\n"))
    assert np.array_equal(pixels(load(unchecked(tmp_path))), BITS["train"])


def test_lines_of_many_blocks_keep_their_order(tmp_path: Path) -> None:
    many = (np.random.default_rng(1).random((1500, 784)) < 0.1).astype(np.uint8)  # 2.4 MB of text
    static(tmp_path, train=amat(many))
    assert np.array_equal(pixels(load(unchecked(tmp_path))), many)


def spoilt(line: int, column: int, word: str) -> bytes:
    """The training images with one word of the text changed; from 1."""
    lines = [[str(v) for v in image] for image in BITS["train"]]
    lines[line - 1][column - 1] = word
    return amat(lines)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (spoilt(3, 17, "2"), "line 3, column 17 is '2'; a pixel is 0 or 1"),
        (spoilt(6, 784, "x"), "line 6, column 784 is 'x'; a pixel is 0 or 1"),
        (spoilt(2, 1, "0.5"), "line 2, column 1 is '0.5'"),
        (spoilt(2, 1, "nan"), "line 2, column 1 is 'nan'"),
        (spoilt(5, 9, "1 0"), "line 5 has 785 numbers; an image has 784"),
        (spoilt(5, 9, ""), "line 5 has 783 numbers; an image has 784"),
        (spoilt(5, 9, "/"), "line 5, column 9 is '/'"),
        (amat(BITS["train"])[:-500], "line 6 has 534 numbers"),
        (b"\n\n", "is empty"),
        (b"", "is empty"),
        (gzip.compress(amat(BITS["train"]))[:-200], "cannot be read"),
    ],
)
def test_what_is_wrong_in_a_text_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    found = message(unchecked(static(tmp_path, train=content)))
    assert said in found
    assert "binarized_mnist_train.amat" in found


def test_a_mistake_far_down_is_named_by_its_line(tmp_path: Path) -> None:
    many = np.zeros((1500, 784), dtype=np.uint8)
    many[1234, 56] = 3
    assert "line 1235, column 57 is '3'" in message(unchecked(static(tmp_path, train=amat(many))))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": BITS["train"]}, "has no array train, it has x"),
        ({"train": BITS["train"] * 2}, "is 2; a pixel is 0 or 1"),
        ({"train": np.full((1, 784), np.nan)}, "pixel 0 of image 0 (counted from 0) is nan"),
        ({"train": np.zeros((2, 783))}, "array 'train': its images are 783x1; they must be 28x28"),
        ({"train": np.zeros((2, 14, 56))}, "its images are 14x56"),
        ({"train": np.zeros((2, 28, 28)), "lengths": np.array([28, 3])}, "several sizes"),
        ({"train": np.array([{}])}, "Python objects"),
    ],
)
def test_arrays_that_are_no_binary_images_are_refused(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    assert said in message(unchecked(tmp_path / "a.npz"))


def test_missing_files_are_listed(tmp_path: Path) -> None:
    assert "data.root is empty; name the folder of binarized_mnist_train.amat" in message(Mnist())
    assert "no such file or directory; a relative path starts at" in message(Mnist(str(tmp_path / "a")))
    said = message(Mnist(str(tmp_path)))
    assert "has no train split of binarized MNIST; looked for" in said
    for name in ("binarized_mnist_train.amat,", "binarized_mnist/binarized_mnist_train.npz"):
        assert name in said
    assert "but not an .npz" in message(Mnist(str(write(tmp_path / "a.amat", b""))))
    assert "cannot be read" in message(Mnist(str(write(tmp_path / "a.npz", b"no archive"))))
    (static(tmp_path) / "binarized_mnist_test.amat").unlink()
    assert "has no test split" in message(unchecked(tmp_path), "train")


def test_other_orders_are_refused() -> None:
    for data in (Mnist, DynamicMnist):
        with pytest.raises(UserError, match=r"data\.order is 'columns'; it must be pixels or rows or image"):
            data(order="columns")  # type: ignore[arg-type]  # wrong on purpose


def test_a_model_of_other_images_or_another_order_is_refused(tmp_path: Path) -> None:
    static(tmp_path), grey(tmp_path)
    for own, other in (
        (unchecked(tmp_path), unchecked(tmp_path, order="rows")),
        (unchecked(tmp_path), Mnist(str(tmp_path))),
        (dynamic(tmp_path), unchecked(tmp_path)),
    ):
        with pytest.raises(UserError, match=f"trained on data {other.describe().name}, .*name its own data"):
            own.load("train", other.describe())


# ---- the images that everybody has


def test_known_images_are_accepted(tmp_path: Path, known: None) -> None:
    static(tmp_path), grey(tmp_path)
    for split in SPLITS:
        assert len(load(Mnist(str(tmp_path)), split)) == COUNTS[split]
        load(DynamicMnist(str(tmp_path), valid_images=6), split)


def test_known_images_may_come_in_any_order(tmp_path: Path, known: None) -> None:
    load(Mnist(str(static(tmp_path, train=amat(BITS["train"][::-1])))))


def test_swapped_splits_are_named(tmp_path: Path, known: None) -> None:
    data = Mnist(str(static(tmp_path, valid=amat(BITS["test"]), test=amat(BITS["valid"]))))
    assert "this looks like the test split of Larochelle's binarized MNIST, not the valid split" in message(
        data, "valid"
    )
    assert "this looks like the valid split" in message(data, "test")
    swapped = DynamicMnist(str(grey(tmp_path, train=idx(GREYS["test"]))), valid_images=1)
    assert "this looks like the test split of MNIST's grey images, not the train split" in message(swapped)


def test_another_test_set_is_noticed_with_the_training_images(tmp_path: Path, known: None) -> None:
    data = Mnist(str(static(tmp_path, test=amat(BITS["valid"]))))
    assert "this looks like the valid split of Larochelle's binarized MNIST, not the test split" in message(data)
    other = DynamicMnist(str(grey(tmp_path, test=idx(GREYS["test"][:3]))), valid_images=1)
    assert "is not a split of MNIST's grey images: 3 images" in message(other)


def test_one_other_pixel_is_noticed(tmp_path: Path, known: None) -> None:
    word = str(1 - BITS["train"][3, 400])
    said = message(Mnist(str(static(tmp_path, train=spoilt(4, 401, word)))))
    mean = BITS["train"].mean()
    assert (
        f"is not a split of Larochelle's binarized MNIST: 6 images of mean {mean + (2 * int(word) - 1) / 4704:.6f}"
        in said
    )
    assert f"where the train split has 6 of {mean:.6f}" in said
    assert "data.check_known false" in said


def test_a_missing_image_is_noticed(tmp_path: Path, known: None) -> None:
    assert ": 5 images of mean" in message(Mnist(str(static(tmp_path, train=amat(BITS["train"][:-1])))))


def test_transposed_images_are_noticed(tmp_path: Path, known: None) -> None:
    columns = BITS["test"].reshape(-1, 28, 28).transpose(0, 2, 1).reshape(-1, 784)
    said = message(Mnist(str(static(tmp_path, test=amat(columns)))), "test")
    assert "looks like the test split of Larochelle's binarized MNIST with the pixels in another order" in said


def test_other_grey_images_are_noticed(tmp_path: Path, known: None) -> None:
    data = DynamicMnist(str(grey(tmp_path, train=idx(GREYS["train"] // 2))), valid_images=6)
    assert "is not a split of MNIST's grey images" in message(data)


def test_the_known_means_are_the_published_ones() -> None:
    assert {split: (k.count, round(k.mean, 4)) for split, k in LAROCHELLE.items()} == {
        "train": (50000, 0.1306),
        "valid": (10000, 0.1311),
        "test": (10000, 0.1325),
    }
    assert {part: (k.count, round(k.mean, 3)) for part, k in GREY.items()} == {
        "train": (60000, 33.318),
        "test": (10000, 33.791),
    }


@pytest.mark.skipif(not PACKED.is_dir(), reason="no shared/data beside the checkout")
@pytest.mark.parametrize("split", SPLITS)
def test_the_known_numbers_are_those_of_the_real_images(split: Split) -> None:
    with np.load(PACKED / "mnist_static_binarized.npz") as bits:
        assert PixelSums.of(np.unpackbits(bits[f"{split}_bits"], axis=-1, count=784)) == LAROCHELLE[split]
    if split != "valid":
        with np.load(PACKED / "mnist_uint8.npz") as levels:
            assert PixelSums.of(levels[f"{split}_images"].reshape(-1, 784)) == GREY[split]


# ---- dynamic


@pytest.mark.parametrize("folder", ["", "MNIST/raw/"])
@pytest.mark.parametrize("end", ["-idx3-ubyte", ".idx3-ubyte", "-idx3-ubyte.gz", ".idx3-ubyte.gz"])
def test_idx_files_are_read(tmp_path: Path, folder: str, end: str) -> None:
    black_and_white = {part: (levels > 99) * np.uint8(255) for part, levels in GREYS.items()}
    for part, stem in (("train", "train-images"), ("test", "t10k-images")):
        content = idx(black_and_white[part])
        write(tmp_path / f"{folder}{stem}{end}", gzip.compress(content) if end.endswith("gz") else content)
    bits = black_and_white["train"].reshape(-1, 784) // 255
    assert np.array_equal(pixels(load(dynamic(tmp_path))), bits[:-6])
    assert np.array_equal(pixels(load(dynamic(tmp_path), "valid")), bits[-6:])
    assert not pixels(load(dynamic(tmp_path), "test")).any()


@pytest.mark.parametrize("names", [("x_train", "x_test"), ("train", "test"), ("train_images", "test_images")])
@pytest.mark.parametrize("shape", [(28, 28), (784,)])
def test_npz_of_grey_images_gives_what_idx_files_give(
    tmp_path: Path, names: tuple[str, str], shape: tuple[int, ...]
) -> None:
    arrays: dict[str, Any] = dict(zip(names, (levels.reshape(-1, *shape) for levels in GREYS.values()), strict=True))
    np.savez(tmp_path / "mnist.npz", y_train=np.zeros(24), **arrays)
    grey(tmp_path / "idx")
    for split in SPLITS:
        expected = load(dynamic(tmp_path / "idx"), split).fingerprint()
        for root in (tmp_path, tmp_path / "mnist.npz"):
            assert load(dynamic(root), split).fingerprint() == expected


def test_black_and_white_are_certain_and_grey_has_its_probability() -> None:
    levels = np.repeat(np.array([0, 1, 51, 204, 254, 255], dtype=np.uint8), 4000)
    ones = binarize(levels, "train", 0, seed=0).reshape(6, 4000).mean(axis=1)
    assert ones[0] == 0
    assert ones[5] == 1
    p = np.array([1, 51, 204, 254]) / 255
    assert (np.abs(ones[1:5] - p) < 4 * np.sqrt(p * (1 - p) / 4000)).all()  # four standard errors


def test_draws_depend_on_split_epoch_image_and_seed_and_on_nothing_else() -> None:
    half = np.full(784, 128, dtype=np.uint8)
    cases: list[tuple[Split, int, int, int]] = [
        ("train", 0, 0, 0),
        ("valid", 0, 0, 0),
        ("test", 0, 0, 0),
        ("train", 1, 0, 0),
        ("train", 0, 1, 0),
        ("train", 0, 0, 1),
    ]
    first, again = (
        {binarize(half, split, index, seed=seed, epoch=epoch).tobytes() for split, index, seed, epoch in cases}
        for _ in range(2)
    )
    assert len(first) == len(cases)
    assert first == again


def test_draws_are_those_of_every_version() -> None:
    """Numbers measured on the test images would not be comparable otherwise."""
    half = np.full(784, 128, dtype=np.uint8)
    assert np.packbits(binarize(half, "test", 7, seed=0))[:6].tolist() == [20, 140, 243, 49, 64, 201]


def test_training_images_are_drawn_anew_each_epoch_and_others_once(tmp_path: Path) -> None:
    data = dynamic(grey(tmp_path))
    train = load(data)
    epochs = [pixels(train.at_epoch(epoch)) for epoch in range(3)]
    assert np.array_equal(pixels(train), epochs[0])
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[1], epochs[2])
    assert np.array_equal(pixels(train.at_epoch(2).at_epoch(1)), epochs[1])
    assert train.at_epoch(1).lengths.tolist() == train.lengths.tolist() == [784] * 18
    for split in ("valid", "test"):
        held_out = load(data, split)
        assert held_out.at_epoch(5) is held_out
        assert np.array_equal(pixels(held_out), pixels(load(dynamic(tmp_path), split)))


def test_fingerprints_follow_the_seed_alone(tmp_path: Path) -> None:
    grey(tmp_path)
    for split in SPLITS:
        data = load(dynamic(tmp_path), split)
        data.at_epoch(3)
        assert data.fingerprint() == load(dynamic(tmp_path), split).fingerprint()
        assert data.fingerprint() != load(dynamic(tmp_path, binarization_seed=1), split).fingerprint()


def test_the_last_training_images_validate(tmp_path: Path) -> None:
    grey(tmp_path, train=idx(np.arange(24, dtype=np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2)))
    data = dynamic(tmp_path, valid_images=5)
    assert load(data).grey[:, 0].tolist() == list(range(19))  # type: ignore[attr-defined]  # of this data set alone
    assert len(load(data, "valid")) == 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (idx(GREYS["train"])[:-1], "is truncated, 18831 bytes where 24 images of 28x28 take 18832"),
        (idx(GREYS["train"]) + b"\x00", "is too long, 18833 bytes"),
        (idx(GREYS["train"])[:10], "is truncated, it ends after 10 bytes, in its header"),
        (idx(GREYS["train"], b"\x00\x00\x08\x01"), "is an idx file of labels"),
        (idx(GREYS["train"], b"\x00\x00\x0d\x03"), "its magic number is 00000d03; an idx file of images has 00000803"),
        (b"", "its magic number is missing"),
        (idx(np.zeros((0, 28, 28), np.uint8)), "holds 0 images"),
        (idx(np.zeros((3, 32, 32), np.uint8)), "its images are 32x32; they must be 28x28"),
        (gzip.compress(idx(GREYS["train"]))[:-20], "cannot be read"),
    ],
)
def test_what_is_wrong_in_an_idx_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    found = message(dynamic(grey(tmp_path, train=content)))
    assert said in found
    assert "train-images-idx3-ubyte" in found


def test_wrong_settings_of_dynamic_mnist_are_refused(tmp_path: Path) -> None:
    grey(tmp_path)
    with pytest.raises(UserError, match=r"data\.valid_images is 0; it must be 1 or more"):
        DynamicMnist(valid_images=0)
    with pytest.raises(UserError, match=r"data\.binarization_seed is -1"):
        DynamicMnist(binarization_seed=-1)
    assert "data.valid_images is 24 of 24 training images" in message(dynamic(tmp_path, valid_images=24))
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    said = message(dynamic(tmp_path))
    assert "has no test images of MNIST; looked for t10k-images-idx3-ubyte" in said
    assert "mnist.npz" in said


def test_grey_levels_must_be_bytes(tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", train=GREYS["train"] / 255, test=GREYS["test"])
    assert "its train images are float64; grey levels are uint8, 0 to 255" in message(dynamic(tmp_path))


# ---- training


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., Any]:
    """18 images to train on, in 3 batches; 28 steps."""
    grey(tmp_path / "data")

    def make(**training: Any) -> Any:
        torch.set_default_dtype(torch.float32)
        data = {"name": "mnist-dynamic", "root": str(tmp_path / "data"), "order": "rows"}
        return parse_config(
            {
                "data": data | {"valid_images": 6, "check_known": False},
                "model": {"name": "rnn", "hidden_size": 4, "embedding_size": 3},
                "training": {"batch_size": 6, "epochs": 3, "log_every": 2} | training,
            }
        )

    return make


def train(config: Any, folder: Path, **options: Any) -> Any:
    return loop.train(config, folder, device="cpu", reporter=Reporter(quiet=True), **options)


@pytest.mark.parametrize(("training", "step"), [({}, 4), ({"truncated_bptt_steps": 10}, 11)])
def test_a_run_stopped_in_its_second_epoch_and_resumed_equals_the_uninterrupted_one(
    configure: Callable[..., Any], tmp_path: Path, training: dict[str, int], step: int
) -> None:
    class Stop(Callback):
        def on_update(self, at: Progress, updated: Updated, model: SequenceModel) -> None:
            if at.step == step + 1:
                assert at.epoch == 1
                assert at.batch > 1
                os.kill(os.getpid(), signal.SIGINT)

    config = configure(**training)
    train(config, tmp_path / "whole")
    with pytest.raises(loop.Interrupted):
        train(config, tmp_path / "parts", callbacks=[Stop()])
    train(config, tmp_path / "parts", resume=True)
    whole, parts = (load_file(tmp_path / name / "checkpoints/last/model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert metrics_of(tmp_path / "whole") == metrics_of(tmp_path / "parts")


@pytest.mark.parametrize("training", [{}, {"truncated_bptt_steps": 28}])
def test_each_epoch_trains_on_its_own_pixels(
    configure: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training: dict[str, int]
) -> None:
    seen: dict[int, set[bytes]] = {}
    images: list[bytes] = []
    original = EagerUpdate.over

    def over(self: EagerUpdate, parts: list[Part], *arguments: Any, **named: Any) -> Updated:
        images.extend(x.numpy().tobytes() for part in parts for x in part.batch.x)
        return original(self, parts, *arguments, **named)

    class Epochs(Callback):
        def on_update(self, at: Progress, updated: Updated, model: SequenceModel) -> None:
            seen.setdefault(at.epoch, set()).update(images)
            images.clear()

    monkeypatch.setattr(EagerUpdate, "over", over)
    config = configure(**training)
    train(config, tmp_path / "run", callbacks=[Epochs()])
    data = config.data.load("train", config.data.describe())
    for epoch in range(3):
        drawn = data.at_epoch(epoch)
        assert seen[epoch] == {drawn[i].x.tobytes() for i in range(18)}
    assert not seen[0] & seen[1]


# ---- files to go on from, and pictures


def beginnings(path: Path, order: PixelOrder = "pixels") -> list[Any]:
    description = Mnist(order=order).describe()
    return [example.x for example in description.format.read(str(path), description)]


@pytest.mark.parametrize("name", ["a.amat", "a.npy", "a.npz", "b.npz"])
def test_the_beginning_of_an_image_is_read(tmp_path: Path, name: str) -> None:
    bits, file = BITS["valid"][:, :56], tmp_path / name
    if name == "a.amat":
        write(file, amat(bits))
    elif name == "a.npy":
        np.save(file, bits)
    else:  # as `zforcing sample` writes them, rows or pixels
        np.savez(file, x=bits.reshape(3, *((2, 28) if name == "b.npz" else (56, 1))).astype(np.float32))
    steps: dict[PixelOrder, int] = {"pixels": 1, "rows": 28}
    for order, size in steps.items():
        found = beginnings(file, order)
        assert len(found) == 3
        assert all(x.dtype == np.float32 for x in found)
        assert np.array_equal(np.stack(found), bits.reshape(3, -1, size))


def test_where_an_image_is_one_step_the_rest_of_it_is_missing(tmp_path: Path) -> None:
    file, description = write(tmp_path / "a.amat", b"0 1 1\n" + amat(BITS["test"][:1])), Mnist(order="image").describe()
    part, whole = description.format.read(str(file), description)
    assert part.x.shape == whole.x.shape == (1, 784)
    assert part.observed is not None
    assert part.x[part.observed].tolist() == [0, 1, 1]
    assert whole.observed is None
    assert np.array_equal(whole.x[0], BITS["test"][0])


def test_beginnings_may_differ_in_length(tmp_path: Path) -> None:
    file = write(tmp_path / "a.amat", b"0 1 1\n\n1\n" + amat(BITS["test"]))
    assert [len(x) for x in beginnings(file)] == [3, 1, 784, 784]


@pytest.mark.parametrize(
    ("content", "order", "said"),
    [
        (b"0 1\n0 2\n", "pixels", "a.amat: line 2, column 2 is '2'"),
        (amat(np.zeros((1, 785), int)), "pixels", "line 1 has 785 pixels; a whole image has 784"),
        (b"0 1 1\n", "rows", "line 1 has 3 pixels; the model reads rows of 28: give it whole rows"),
        (b"", "pixels", "is empty"),
    ],
)
def test_what_is_wrong_in_a_beginning_is_named(tmp_path: Path, content: bytes, order: PixelOrder, said: str) -> None:
    with pytest.raises(UserError) as error:
        beginnings(write(tmp_path / "a.amat", content), order)
    assert said in str(error.value)
    assert str(error.value).startswith("file ")


def test_arrays_and_files_that_are_no_beginnings_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[0, 1], [1, 7]]))
    with pytest.raises(UserError, match=r"pixel 1 of image 1 .* is 7; a pixel is 0 or 1"):
        beginnings(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.array([[0, np.nan]]))
    with pytest.raises(UserError, match=r"pixel 1 of image 0 is missing; .*whole images: `zforcing impute` fills it"):
        beginnings(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.zeros((1, 785)))
    with pytest.raises(UserError, match="image 0 has 785 pixels"):
        beginnings(tmp_path / "b.npy")
    np.savez(tmp_path / "c.npz", y=np.zeros((1, 9)))
    with pytest.raises(UserError, match="has no array 'x', it has y; save the images as x"):
        beginnings(tmp_path / "c.npz")
    with pytest.raises(UserError, match=r"its suffix is '\.png'; images are read from \.amat"):
        beginnings(tmp_path / "a.png")
    for name in ("none.amat", "none.npy"):
        with pytest.raises(UserError, match="no such file"):
            beginnings(tmp_path / name)


@pytest.mark.parametrize("order", ORDERS)
def test_gaps_are_nan_or_what_a_mask_says_wasnt_observed(tmp_path: Path, order: PixelOrder) -> None:
    bits, seen = BITS["valid"].astype(np.float32), np.ones((3, 784), dtype=bool)
    seen[1, 100:200] = False
    np.save(tmp_path / "a.npy", np.where(seen, bits, np.nan).reshape(3, 28, 28))
    np.savez(tmp_path / "b.npz", x=bits.astype(bool), observed=seen)
    description = Mnist(order=order).describe()
    allowed = replace(description, spec=replace(description.spec, missing=True))
    for name in ("a.npy", "b.npz"):
        found = description.format.read(str(tmp_path / name), allowed)
        assert [example.observed is None for example in found] == [True, False, True]
        assert np.array_equal(np.ravel(found[1].observed), seen[1])
        assert np.array_equal(np.ravel(found[1].x), np.where(seen[1], bits[1], 0))
        with pytest.raises(UserError, match="pixel 100 of image 1 is missing"):
            description.format.read(str(tmp_path / name), description)


@pytest.mark.parametrize("size", [14, 56])
def test_steps_of_any_size_are_read_as_they_are_written(tmp_path: Path, size: int) -> None:
    description = Mnist(order="rows").describe()
    described = replace(description, spec=replace(description.spec, size=size))
    np.savez(tmp_path / "a.npz", x=BITS["valid"].reshape(3, -1, size))
    found = described.format.read(str(tmp_path / "a.npz"), described)
    assert np.array_equal(np.stack([example.x for example in found]), BITS["valid"].reshape(3, -1, size))


def test_a_part_of_an_image_that_is_one_step_is_no_sequence_to_measure(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", BITS["valid"][:, :56])
    description = Mnist(order="image").describe()
    with pytest.raises(UserError, match=r"a\.npy: observation 0 is not whole, .* whole ones: `zforcing continue`"):
        read_own(str(tmp_path / "a.npy"), description)
    parts = Mnist(order="rows").describe()
    assert len(read_own(str(tmp_path / "a.npy"), parts)[0].x) == 2
    allowed = replace(description, spec=replace(description.spec, missing=True))
    observed = read_own(str(tmp_path / "a.npy"), allowed)[0].observed
    assert observed is not None
    assert observed.sum() == 56


@pytest.mark.parametrize("shape", [(27, 27), (28, 14), (14, 56)])
def test_images_of_another_width_are_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, *shape)))
    with pytest.raises(UserError, match=rf"images are {shape[1]} pixels wide; the model's are 28: give it"):
        beginnings(tmp_path / "a.npy")


@pytest.mark.parametrize("order", ORDERS)
def test_samples_in_either_order_are_drawn_upright(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: PixelOrder
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(image, "write_image_grid", lambda path, x, **options: drawn.append(x))
    description = Mnist(order=order).describe()
    x = torch.as_tensor(BITS["valid"]).reshape(3, -1, images.STEP[order]).double()
    some = Generated(x, torch.zeros(3, len(x[0]), 0), torch.distributions.Bernoulli(x))
    assert write_samples(tmp_path, "s", some, description).files[1].endswith("s.png")
    assert np.array_equal(drawn[0], BITS["valid"].reshape(3, 28, 28))
    prefix = description.format.read(str(tmp_path / "s.npz"), description)
    assert np.array_equal(np.stack([p.x for p in prefix]), x)
