"""What is fuzzed: of each reader small sound files, and how it is used."""

from __future__ import annotations

import gzip
import io
import pickle
import shutil
import struct
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

MPG123 = r"(Note|Warning): .*|\[src/libmpg123/.*"  # MP3's decoder tells of damage, whatever libsndfile asks of it


@dataclass(frozen=True)
class Reader:
    """suffix: of its files. seeds: writes sound files into a folder, and returns their content. read: uses one.
    prints: what a C library may write to stderr, line by line, as a regular expression.
    """

    suffix: str
    seeds: Callable[[Path], list[bytes]]
    read: Callable[[Path], object]
    prints: str = r"(?!)"


def _generator() -> np.random.Generator:
    return np.random.default_rng(0)


def _all_of(module: Any) -> None:
    """Every split as a training run reads it."""
    description = module.describe()
    for split in ("train", "valid", "test"):
        data = module.load(split, description)
        for index in range(min(len(data), 20)):
            data[index]
        module.suspicions() if split == "train" and hasattr(module, "suspicions") else None


# ---- tables and arrays


def _csv_seeds(_: Path) -> list[bytes]:
    x = _generator().normal(size=(24, 2))
    rows = [
        f"{i // 4},2024-01-{1 + i % 28:02},{a:.4f},{b:.4f},{'red' if a > 0 else 'blue'}" for i, (a, b) in enumerate(x)
    ]
    named = "\n".join(["trip,day,x,y,colour", *rows, ""])
    plain = "\n".join(["x,y", *(f"{a:.3f},{b:.3f}" for a, b in x)])
    gaps = plain.replace(",0.", ",", 3)
    quoted = named.replace("red", '"r, ed"').replace("\n", "\r\n")
    timed = "\n".join(
        ["t,x", *(f"{i * 10},{a:.3f}" for i, a in enumerate(x[:, 0])), *(f"{900 + i},{i}" for i in range(0, 90, 10))]
    )
    return [text.encode() for text in (named, plain, gaps, quoted, timed)]


def _read_table(file: Path) -> None:
    from zforcing.data import DATA
    from zforcing.files.sequences import column_names

    names = column_names(file, str(file))
    settings: dict[str, Any] = {"path": str(file), "missing": "allow", "valid_fraction": 0.2, "test_fraction": 0.2}
    if "trip" in names:
        settings |= {"sequence": "trip", "kind": "mixed", "kinds": "auto"}
        settings |= {"order": "day", "gaps": "fill"} if "day" in names else {}
    elif "t" in names:
        settings |= {"order": "t", "gaps": "split", "split": "time"}
    else:
        settings |= {"split": "time"}
    _all_of(DATA["table"](**settings))


def _parquet_seeds(folder: Path) -> list[bytes]:
    import pyarrow as pa
    from pyarrow import parquet

    draw, found = _generator(), []
    x = draw.normal(size=(24, 2))
    columns = {
        "trip": [f"t{i // 4}" for i in range(24)],
        "x": x[:, 0],
        "y": [None, *x[1:, 1]],
        "colour": ["a", "b"] * 12,
    }
    day = pa.array(range(24), type=pa.timestamp("us", tz="UTC"))
    for number, (table, packing) in enumerate(
        [
            (pa.table(columns | {"day": day}), "snappy"),
            (pa.table({"x": x[:, 0].astype(np.float32), "y": np.arange(24)}), "none"),
            (pa.table({"t": np.arange(24) * 10, "x": x[:, 0]}), "zstd"),
        ]
    ):
        parquet.write_table(table, folder / f"{number}.parquet", compression=packing, row_group_size=13)
        found.append((folder / f"{number}.parquet").read_bytes())
    return found


def _npz_seeds(folder: Path) -> list[bytes]:
    draw = _generator()
    x, lengths = draw.normal(size=(8, 5, 2)), np.array([5, 4, 3, 5, 1, 2, 5, 5])
    found = []
    for number, arrays in enumerate(
        (
            {"x": x, "lengths": lengths, "observed": draw.random(size=x.shape) < 0.9, "inputs": x[..., :1]},
            {"x": x.reshape(-1, 2).astype(np.float32)[: lengths.sum()], "lengths": lengths.astype(np.uint8)},
            {"x": x.astype(">f8"), "other": np.arange(3)},
        )
    ):
        save = np.savez_compressed if number == 0 else np.savez
        save(folder / f"{number}.npz", **arrays)  # type: ignore[arg-type]  # its stub takes them for allow_pickle
        found.append((folder / f"{number}.npz").read_bytes())
    return found


def _read_arrays(file: Path) -> None:
    from zforcing.data import Arrays

    _all_of(Arrays(path=str(file), missing="allow", valid_fraction=0.2, test_fraction=0.2))


def _npy_seeds(_: Path) -> list[bytes]:
    x, found = _generator().normal(size=(8, 5, 2)), []
    for array in (x, x.astype(np.float32)[..., 0], np.asfortranarray(x), x > 0, (x * 10).astype(np.int8)):
        made = io.BytesIO()
        np.save(made, array)
        found.append(made.getvalue())
    return found


# ---- images


def _idx_seeds(_: Path) -> list[bytes]:
    pixels = _generator().integers(0, 256, size=(6, 4, 5), dtype=np.uint8)
    raw = b"\x00\x00\x08\x03" + struct.pack(">III", *pixels.shape) + pixels.tobytes()
    return [raw, gzip.compress(raw, mtime=0)]


def _read_idx(file: Path) -> None:
    from zforcing.files.idx import read_idx

    read_idx(file, str(file))


def _amat_seeds(_: Path) -> list[bytes]:
    bits = _generator().integers(0, 2, size=(9, 12))
    text = "".join(" ".join(map(str, row)) + "\n" for row in bits.tolist()).encode()
    return [text, text.replace(b"1 ", b"1.0\t"), gzip.compress(text, mtime=0)]


def _read_amat(file: Path) -> None:
    from zforcing.files.amat import read_amat

    read_amat(file, 12, str(file))


# ---- music


def _music() -> dict[str, list[list[tuple[int, ...]]]]:
    draw = _generator()
    return {
        split: [[tuple(sorted({*draw.integers(30, 90, size=3).tolist()})) for _ in range(6)] for _ in range(2)]
        for split in ("train", "valid", "test")
    }


def _pickle_seeds(_: Path) -> list[bytes]:
    shared = _music()
    shared["test"] = shared["valid"]
    return [pickle.dumps(_music(), protocol) for protocol in (0, 2, 4)] + [pickle.dumps(shared, 1)]


def _read_pickle(file: Path) -> None:
    from zforcing.data.music.polyphonic import read_pickled_music

    read_pickled_music(file, str(file))


def _mat_seeds(folder: Path) -> list[bytes]:
    from scipy.io import savemat  # type: ignore[import-untyped]  # it ships no types

    draw, found = _generator(), []
    content = {}
    for split in ("train", "valid", "test"):
        cells = np.empty((1, 2), dtype=object)
        cells[0, :] = [(draw.random(size=(steps, 88)) < 0.05).astype(float) for steps in (3, 4)]
        content[f"{split}data"] = cells
    for packed in (False, True):
        savemat(folder / "seed.mat", content, do_compression=packed)
        found.append((folder / "seed.mat").read_bytes())
    savemat(folder / "seed.mat", {"traindata": np.zeros((2, 3, 88))}, format="5")
    return [*found, (folder / "seed.mat").read_bytes()]


def _read_mat(file: Path) -> None:
    from zforcing.data.music.polyphonic import read_mat_music

    read_mat_music(file, str(file))


def _midi_seeds(folder: Path) -> list[bytes]:
    from zforcing.files.midi import write_midi

    roll = (_generator().random(size=(20, 88)) < 0.05).astype(np.uint8)
    write_midi(folder / "seed.mid", roll, lowest_pitch=21, steps_per_quarter=4, quarters_per_minute=100)
    track = b"\0\xff\x51\3\7\xa1\x20" + b"".join(bytes((0, 0x90, p, 64, 96, 0x80, p, 0)) for p in range(40, 60))
    track += b"\0\xc0\5\0\xb0\7\x64\0\x99\x24\x40\x60\x24\0\0\xff\x2f\0"
    by_hand = b"MThd" + struct.pack(">IHHH", 6, 1, 1, 96) + b"MTrk" + struct.pack(">I", len(track)) + track
    return [(folder / "seed.mid").read_bytes(), by_hand, by_hand.replace(b"\0\x60MTrk", b"\xe7\x28MTrk")]


def _read_midi(file: Path) -> None:
    from zforcing.files.midi import TimeStep, read_midi, read_tempo

    read_tempo(file)
    read_midi(file, TimeStep(4))
    read_midi(file, TimeStep(4, 0.05), drums=True)


# ---- audio


def _audio_seeds(format_: str, *subtypes: str) -> Callable[[Path], list[bytes]]:
    def seeds(_: Path) -> list[bytes]:
        import soundfile

        t, found = np.arange(4000) / 8000, []
        for number, subtype in enumerate(subtypes):
            wave_ = np.stack([np.sin(2000 * t), np.cos(900 * t)], 1)[:, : 1 + number % 2] * 0.4
            made = io.BytesIO()
            soundfile.write(made, wave_, 8000, format=format_, subtype=subtype)
            found.append(made.getvalue())
        return found

    return seeds


def _wav_seeds(folder: Path) -> list[bytes]:
    made = io.BytesIO()
    with wave.open(made, "wb") as audio:
        audio.setparams((1, 2, 8000, 0, "NONE", ""))
        audio.writeframes((_generator().normal(size=2000) * 3000).astype("<i2").tobytes())
    return [made.getvalue(), *_audio_seeds("WAV", "PCM_16", "PCM_24", "FLOAT", "ULAW", "GSM610", "IMA_ADPCM")(folder)]


def _read_audio(file: Path) -> None:
    from zforcing.files.audio import blocks_of, read_header, read_resampled

    header = read_header(file)
    rate = 8000
    if header.unscaled or not header.resampled(rate):
        return
    read_resampled(file, header, rate, 0, min(1000, header.resampled(rate)))
    next(blocks_of(file, header, rate))  # a damaged rate of 1 sample a second makes a lot of the rest


# ---- settings, text, models


def _yaml_seeds(_: Path) -> list[bytes]:
    from zforcing.training.runs.recipes import _folder

    found = [(_folder() / f"{name}.yaml").read_bytes() for name in ("digits-rnn", "digits-zforcing-aux")]
    anchors = b"about: &x 'text'\nrecipe: *x\nmodel: {name: rnn, hidden_size: 8}\ndata: {name: digits}\nseed: 3\n"
    return [*found, anchors]


def _read_settings(file: Path) -> None:
    from zforcing.training.runs.config import parse_config
    from zforcing.training.runs.recipes import read_facts, read_recipe

    values = read_recipe(str(file))
    read_facts(str(file))
    config = parse_config(values, where=str(file))
    config.to_yaml()


def _text_seeds(_: Path) -> list[bytes]:
    lines = [
        "the cat sat on the mat .",
        "Isn't it? It's well-made, he said...",
        "a\u0301 caf\u00e9 cafe\u0301 \u201cq\u201d",
        "1,000 at 8:30",
    ]
    text = "\n".join(lines * 8)
    return [text.encode(), b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()]


def _read_text(file: Path) -> None:
    from zforcing.data import Text
    from zforcing.observations.vocabulary import Tokens

    for tokens in get_args(Tokens):
        _all_of(Text(root=str(file), tokens=tokens, tokenize=True, lowercase=True))


MEMBERS = ("config.json", "model.safetensors", "SHA256SUMS")


def _model_seeds(folder: Path) -> list[bytes]:
    """A saved model in one piece: its files, each with its name and size before it."""
    import zforcing as zf

    x = _generator().normal(size=(6, 4, 2))
    found = []
    for number, name in enumerate(("rnn", "zforcing")):
        data = zf.Sequences(list(x))
        config = {"hidden_size": 4} | ({"latent_size": 2, "mlp_size": 3} if number else {})
        place = folder / name
        zf.save(place, zf.MODELS[name].for_data(data, **config))
        members = MEMBERS if number else MEMBERS[:2]
        found.append(b"".join(_packed(member, (place / member).read_bytes()) for member in members))
    return found


def _packed(name: str, content: bytes) -> bytes:
    return b"\n==== %s\n%s" % (name.encode(), content)


def _read_model(file: Path) -> None:
    import zforcing as zf

    place = file.with_suffix(".folder")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for part in file.read_bytes().split(b"\n==== ")[1:]:
        name, _, content = part.partition(b"\n")
        if name.decode("latin-1") in MEMBERS:
            (place / name.decode()).write_bytes(content)
    model = zf.load(place)
    assert model.description is not None


READERS = {
    "csv": Reader(".csv", _csv_seeds, _read_table),
    "parquet": Reader(".parquet", _parquet_seeds, _read_table),
    "npz": Reader(".npz", _npz_seeds, _read_arrays),
    "npy": Reader(".npy", _npy_seeds, _read_arrays),
    "idx": Reader(".idx", _idx_seeds, _read_idx),
    "amat": Reader(".amat", _amat_seeds, _read_amat),
    "pickle": Reader(".pickle", _pickle_seeds, _read_pickle),
    "mat": Reader(".mat", _mat_seeds, _read_mat),
    "midi": Reader(".mid", _midi_seeds, _read_midi),
    "wav": Reader(".wav", _wav_seeds, _read_audio, MPG123),
    "flac": Reader(".flac", _audio_seeds("FLAC", "PCM_16", "PCM_24"), _read_audio, MPG123),
    "ogg": Reader(".ogg", _audio_seeds("OGG", "VORBIS", "OPUS"), _read_audio, MPG123),
    "mp3": Reader(".mp3", _audio_seeds("MP3", "MPEG_LAYER_III", "MPEG_LAYER_III"), _read_audio, MPG123),
    "yaml": Reader(".yaml", _yaml_seeds, _read_settings),
    "text": Reader(".txt", _text_seeds, _read_text),
    "model": Reader(".model", _model_seeds, _read_model),
}
