"""Files of audio and what becomes of them: samples in 16-bit units, other rates, levels, frames, and audio again."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from zforcing.errors import UserError
from zforcing.files.audio import BLOCK, Header, blocks_of, read_header, read_resampled, read_samples, write_wav
from zforcing.observations import (
    AudioFormat,
    DataDescription,
    Example,
    Normalization,
    ObservationSpec,
    decode,
    encode,
    mulaw_decode,
    mulaw_encode,
)

RAMP = np.arange(-400, 600, dtype=np.int16)  # 1000 samples
ALL = np.arange(-32768, 32768)


def write(file: Path, samples: Any = RAMP, rate: int = 16000, **kind: str) -> Path:
    soundfile.write(file, samples, rate, **({"subtype": "PCM_16", "format": "WAV"} | kind))
    return file


def described(
    encoding: Any = "float", *, size: int = 4, rate: int = 16000, scaling: tuple[float, float] | None = None
) -> DataDescription:
    levels = {"float": None, "pcm": 65536, "mulaw": 256}[encoding]
    spec = ObservationSpec("real" if levels is None else "quantized", size, levels=levels)
    normalization = None if scaling is None else Normalization((scaling[0],) * size, (scaling[1],) * size)
    return DataDescription("audio-folder", spec, 10, normalization, format=AudioFormat(rate, encoding))


def read_recording(file: str | Path, description: DataDescription) -> Example:
    (example,) = description.format.read(str(file), description)
    return example


def to_samples(frames: Any, description: DataDescription) -> tuple[np.ndarray, int]:
    assert isinstance(description.format, AudioFormat)
    return description.format.to_samples(frames, description)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(samples) * 3000).astype(np.int16)


# ---- samples


@pytest.mark.parametrize("form", ["WAV", "NIST", "FLAC", "AIFF", "AU"])
def test_16_bit_audio_is_read_exactly(tmp_path: Path, form: str) -> None:
    file = write(tmp_path / "a", noise(5000), format=form)
    assert read_header(file) == Header(5000, 16000)
    np.testing.assert_array_equal(read_samples(file), noise(5000))


def test_audio_of_24_bits_keeps_its_fractional_digits(tmp_path: Path) -> None:
    file = write(tmp_path / "a.wav", np.array([1.5, -2.25, 32767.5]) / 32768, subtype="PCM_24")
    assert read_samples(file).tolist() == [1.5, -2.25, 32767.5]


def test_audio_of_floats_may_exceed_16_bits(tmp_path: Path) -> None:
    file = write(tmp_path / "a.wav", np.array([0.5, -2.0]), subtype="FLOAT")
    assert read_samples(file).tolist() == [16384, -65536]


@pytest.mark.parametrize("form", ["WAV", "NIST", "FLAC"])
def test_a_stretch_is_a_slice_of_the_whole(tmp_path: Path, form: str) -> None:
    file = write(tmp_path / "a", noise(5000), format=form)
    np.testing.assert_array_equal(read_samples(file, 1234, 4321), noise(5000)[1234:4321])


def test_all_blocks_are_the_whole_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zforcing.files.audio.STEP", 300)
    file = write(tmp_path / "a.wav")
    blocks = list(blocks_of(file, read_header(file), 16000))
    assert [len(b) for b in blocks] == [300, 300, 300, 100]
    np.testing.assert_array_equal(np.concatenate(blocks), RAMP)


@pytest.mark.parametrize(
    ("form", "subtype"), [("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", "PCM_16")]
)
def test_a_stretch_of_compressed_audio_is_a_slice_of_the_whole(tmp_path: Path, form: str, subtype: str) -> None:
    both = np.stack([noise(60000), noise(60000, 1)], axis=1)
    file = write(tmp_path / "a", both, 48000, format=form, subtype=subtype)
    header = read_header(file)
    assert (header.rate, header.channels, header.samples) == (48000, 2, 60000)
    whole = read_samples(file)
    for start, stop in [(0, 1), (12345, 23456), (59000, 60000)]:
        np.testing.assert_array_equal(read_samples(file, start, stop), whole[start:stop])
    left = read_samples(file, channel="left")
    np.testing.assert_allclose(whole, (left + read_samples(file, channel=1)) / 2, atol=0.01)


def test_a_channel_that_a_file_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.wav: has 1 channel, and data\.channel is right; set it to mix"):
        read_header(write(tmp_path / "a.wav"), channel="right")


# ---- other rates


@pytest.mark.parametrize(
    ("samples", "old", "new", "expected"),
    [
        (1000, 8000, 16000, 2000),
        (1001, 16000, 8000, 500),
        (1000, 44100, 16000, 362),
        (1, 44100, 16000, 0),
        (441, 44100, 16000, 160),
        (10**12, 44100, 16000, 362811791383),
    ],
)
def test_a_resampled_recording_has_as_many_samples_as_fit(samples: int, old: int, new: int, expected: int) -> None:
    assert Header(samples, old).resampled(new) == expected


@pytest.mark.parametrize(("old", "new"), [(8000, 16000), (16000, 8000), (44100, 16000), (11025, 16000), (48000, 16000)])
@pytest.mark.parametrize("samples", [7, 1000, 60001])
def test_resampling_in_blocks_is_resampling_the_whole(tmp_path: Path, old: int, new: int, samples: int) -> None:
    file = write(tmp_path / "a.wav", noise(samples), old)
    header = read_header(file)
    count = math.floor(samples * new / old)
    assert header.resampled(new) == count
    expected = soxr.resample(noise(samples).astype(np.float32), old, new)[:count]
    found = read_resampled(file, header, new, 0, count)
    assert found.shape == (count,)
    np.testing.assert_allclose(found, expected, atol=0.02)  # of a 16-bit step; the sound is 3000 steps loud


def test_a_resampled_stretch_is_a_slice_of_the_whole(tmp_path: Path) -> None:
    file = write(tmp_path / "a.wav", noise(60000), 44100)
    header = read_header(file)
    whole = read_resampled(file, header, 16000, 0, header.resampled(16000))
    for start, stop in [(0, 1), (BLOCK - 5, BLOCK + 5), (100, 21000), (21700, len(whole))]:
        np.testing.assert_array_equal(read_resampled(file, header, 16000, start, stop), whole[start:stop])


def test_a_resampled_tone_keeps_its_frequency_and_loudness(tmp_path: Path) -> None:
    def tone(rate: int, samples: int) -> np.ndarray:
        return 10000 * np.sin(2 * np.pi * 440 * np.arange(samples) / rate)

    file = write(tmp_path / "a.wav", tone(8000, 8000).round().astype(np.int16), 8000)
    found = read_resampled(file, read_header(file), 16000, 0, 16000)
    np.testing.assert_allclose(found[200:-200], tone(16000, 16000)[200:-200], atol=2)


# ---- levels


def test_mu_law_follows_its_formula() -> None:
    for sample, code in [(-32768, 0), (0, 128), (32767, 255), (100, 141), (-100, 114), (3000, 201)]:
        s = sample / 32768
        f = math.copysign(math.log(1 + 255 * abs(s)) / math.log(256), s)
        assert math.floor(255 * (f + 1) / 2 + 0.5) == code
        assert mulaw_encode(np.array([sample])).tolist() == [code]


def test_mu_law_decodes_by_the_inverse_formula() -> None:
    for code in range(256):
        y = -1 + 2 * code / 255
        sample = 32768 * math.copysign((256 ** abs(y) - 1) / 255, y)
        assert mulaw_decode(np.array([code]))[0] == pytest.approx(sample, rel=1e-12)


def test_mu_law_codes_come_back() -> None:
    codes = np.arange(256)
    np.testing.assert_array_equal(mulaw_encode(mulaw_decode(codes)), codes)
    rounded = np.clip(np.rint(mulaw_decode(codes)), -32768, 32767)
    np.testing.assert_array_equal(mulaw_encode(rounded), codes)


def test_mu_law_keeps_every_sample_to_a_few_percent() -> None:
    error = np.abs(mulaw_decode(mulaw_encode(ALL)) - ALL)
    assert (error <= 3 + 0.022 * np.abs(ALL)).all()  # half a step of 256^(2/255), and at 0 half of the least step


def test_mu_law_codes_rise_with_the_sample() -> None:
    codes = mulaw_encode(ALL)
    assert (np.diff(codes) >= 0).all()
    assert sorted(set(codes.tolist())) == list(range(256))


@pytest.mark.parametrize(("encoding", "levels"), [("pcm", 65536), ("mulaw", 256)])
def test_levels_are_equally_spaced_from_minus_1_to_1(encoding: Any, levels: int) -> None:
    x = np.unique(encode(ALL[:, None], AudioFormat(16000, encoding), None))
    np.testing.assert_allclose(x, np.linspace(-1, 1, levels), atol=1e-7)
    assert x.dtype == np.float32


def test_every_16_bit_sample_survives_pcm() -> None:
    audio = AudioFormat(16000, "pcm")
    np.testing.assert_array_equal(decode(encode(ALL[:, None], audio, None), audio, None)[:, 0], ALL)


def test_pcm_rounds_and_clips_what_is_no_16_bit_integer() -> None:
    audio = AudioFormat(16000, "pcm")
    x = encode(np.array([[0.4, 0.6, -70000.0, 40000.0]]), audio, None)
    assert decode(x, audio, None).tolist() == [[0, 1, -32768, 32767]]


# ---- one recording


def test_a_recording_is_read_in_whole_frames(tmp_path: Path) -> None:
    example = read_recording(write(tmp_path / "a.wav", RAMP[:11]), described())
    assert example.x.tolist() == RAMP[:8].reshape(2, 4).tolist()
    assert example.x.dtype == np.float32
    assert example.observed is None


def test_a_recording_is_normalized_as_the_description_says(tmp_path: Path) -> None:
    example = read_recording(str(write(tmp_path / "a.wav", RAMP[:8])), described(scaling=(-400, 2)))
    assert example.x.tolist() == [[0, 0.5, 1, 1.5], [2, 2.5, 3, 3.5]]


def test_a_recording_is_resampled_to_the_rate_of_the_description(tmp_path: Path) -> None:
    example = read_recording(write(tmp_path / "a.wav", noise(1000), 8000), described(size=200))
    assert example.x.shape == (10, 200)


@pytest.mark.parametrize("encoding", ["float", "pcm"])
def test_a_recording_that_is_read_and_written_is_the_same(tmp_path: Path, encoding: Any) -> None:
    description = described(encoding, scaling=(7.5, 548.0) if encoding == "float" else None)
    samples, clipped = to_samples(read_recording(write(tmp_path / "a.wav", noise(1000)), description).x, description)
    write_wav(tmp_path / "b.wav", samples, 16000)
    assert clipped == 0
    assert soundfile.info(tmp_path / "b.wav").samplerate == 16000
    assert soundfile.info(tmp_path / "b.wav").subtype == "PCM_16"
    np.testing.assert_array_equal(soundfile.read(tmp_path / "b.wav", dtype="int16")[0], noise(1000))


def test_mu_law_audio_comes_back_as_the_same_codes(tmp_path: Path) -> None:
    description = described("mulaw")
    x = read_recording(write(tmp_path / "a.wav", noise(1000)), description).x
    write_wav(tmp_path / "b.wav", to_samples(x, description)[0], 16000)
    np.testing.assert_array_equal(read_recording(tmp_path / "b.wav", description).x, x)


@pytest.mark.parametrize("encoding", ["pcm", "mulaw"])
def test_no_level_of_integer_audio_is_clipped(encoding: Any) -> None:
    """Mu-law's highest level stands for 32768, one more than fits, by rounding and not by the model's fault."""
    description = described(encoding)
    samples, clipped = to_samples(np.ones((1, description.spec.size)), description)
    assert (samples.tolist(), clipped) == ([32767] * description.spec.size, 0)


def test_samples_beyond_16_bits_are_clipped_and_counted() -> None:
    frames = np.array([[32767.4, 32768.0, -32768.0, -40000.0], [0.6, np.inf, 1, 2]])
    samples, clipped = to_samples(frames, described())
    assert samples.tolist() == [32767, 32767, -32768, -32768, 1, 32767, 1, 2]
    assert samples.dtype == np.int16
    assert clipped == 3


def test_frames_that_hold_nan_are_no_audio() -> None:
    with pytest.raises(UserError, match="NaN"):
        to_samples(np.full((1, 4), np.nan), described())


def test_only_16_bit_samples_are_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="float64"):
        write_wav(tmp_path / "a.wav", np.zeros(4), 16000)  # type: ignore[arg-type]  # the mistake


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.*can't be written"):
        write_wav(tmp_path / "nowhere" / "a.wav", RAMP, 16000)


# ---- files that can't be used


def changed(file: Path, change: Callable[[bytes], bytes]) -> Path:
    file.write_bytes(change(file.read_bytes()))
    return file


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def shortened(content: bytes) -> bytes:
    """As TIMIT's discs have it: a plain header and samples that only NIST's programs read."""
    header = content[:1024].replace(b"sample_coding -s3 pcm", b"sample_coding -s26 pcm,embedded-shorten-v2.00")
    return header[:1024] + content[1024:1800]


BAD: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "missing": (lambda f: None, ["no such file"]),
    "a folder": (lambda f: f.mkdir(), ["is not a regular file"]),
    "empty": (lambda f: f.write_bytes(b""), ["is empty (0 bytes)"]),
    "no samples": (lambda f: write(f, RAMP[:0]), ["holds no samples"]),
    "text": (lambda f: f.write_text("hello " * 100), ["not an audio file", "convert it to WAV"]),
    "Shorten": (
        lambda f: changed(write(f, format="NIST"), shortened),
        ["compressed by Shorten", "sph2pipe", "w_decode"],
    ),
    "cut WAV": (lambda f: changed(write(f), half), ["is truncated", "promises 2044 bytes", "has 1022"]),
    "cut WAV of several chunks": (
        lambda f: changed(write(f), lambda c: half(c[:12] + b"LIST\x03\0\0\0abc\0" + c[12:])),
        ["is truncated", "promises 2056 bytes", "has 1028"],
    ),
    "cut SPHERE": (lambda f: changed(write(f, format="NIST"), lambda c: c[:2000]), ["promises 3024 bytes", "2000"]),
    "cut FLAC": (lambda f: changed(write(f, noise(50000), format="FLAC"), half), ["is truncated", "50000 samples"]),
    "cut header": (lambda f: changed(write(f), lambda c: c[:20]), ["not an audio file"]),
    "NaN": (lambda f: write(f, np.array([0.5, np.nan, 1, 1]), subtype="FLOAT"), ["NaN", "write it again"]),
    "short": (lambda f: write(f, RAMP[:3]), ["shorter than one frame (4 samples at 16000 Hz)", "data.frame_size"]),
}


@pytest.mark.parametrize(("make", "fragments"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_in_one_line_that_says_what_to_do(
    tmp_path: Path, make: Callable[[Path], object], fragments: list[str]
) -> None:
    file = tmp_path / "a.wav"
    make(file)
    with pytest.raises(UserError) as error:
        read_recording(file, described())
    said = str(error.value)
    assert said.startswith(f"{file}: ")
    assert "\n" not in said
    assert [f for f in fragments if f not in said] == []


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.wav")
    monkeypatch.setattr("os.access", lambda *_: False)  # root may read everything
    with pytest.raises(UserError, match="permission denied"):
        read_header(file)


def test_a_file_that_shrinks_while_it_is_used_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.wav")
    header = read_header(file)
    write(file, RAMP[:600])
    with pytest.raises(UserError, match=r"a\.wav: .*copy it again"):
        read_resampled(file, header, 16000, 500, 1000)


@pytest.mark.parametrize("size", [b"\xff\xff\xff\xff", b"\x00\xf0\xff\x7f"])
def test_a_wav_file_that_was_written_to_a_pipe_is_read(tmp_path: Path, size: bytes) -> None:
    file = changed(write(tmp_path / "a.wav"), lambda c: c[:4] + size + c[8:40] + size + c[44:])
    assert read_header(file) == Header(1000, 16000)


@pytest.mark.parametrize("package", ["soundfile", "soxr"])
def test_without_the_optional_packages_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    file = write(tmp_path / "a.wav", rate=8000)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs {package}; pip install 'zforcing\[audio\]'"):
        read_recording(file, described())
