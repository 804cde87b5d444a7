"""Files of generated sequences: arrays in the data's own units, pictures of images, recordings of audio, text."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from ..errors import UserError
from ..files.audio import write_wav
from ..files.midi import import_symusic, write_midi
from ..files.pianoroll import write_pianoroll
from ..files.pictures import write_image_grid
from ..files.reading import Array
from ..observations import AudioFormat, DataDescription, MusicFormat, Vocabulary, decode, to_samples
from ..tasks.sample import Generated

PICTURED = 8  # piano rolls in one picture


@dataclass(frozen=True)
class Written:
    """The paths written, how many samples of audio were clipped to fit 16 bits, why a file isn't there, if so, and
    sentences, `...` behind one without an end.
    """

    files: tuple[str, ...] = ()
    clipped: int = 0
    lacking: str | None = None
    text: tuple[str, ...] = ()

    def __add__(self, other: Written) -> Written:
        return Written(
            self.files + other.files,
            self.clipped + other.clipped,
            self.lacking or other.lacking,
            self.text + other.text,
        )


def write_samples(
    folder: Path,
    stem: str,
    drawn: Generated,
    description: DataDescription,
    *,
    start: Tensor | None = None,
    before: list[Array] | None = None,
    sources: list[Array] | None = None,
) -> Written:
    """STEM.npz with `x` [n, T, D] (or [n, T] for categories, in the data's units) and `latents` [n, T, Z]; for images
    that are complete, STEM.png too, for audio STEM-I.wav of each, for music STEM-I.mid of each and STEM.png with the
    first of them as piano rolls, what was given in grey, and for text STEM.txt with a sentence on each line, up to its
    end symbol. What was under this stem before is removed.

    start:   the first observations [n, D] or [n] that x goes on from, as the model read them; written as `start` in the
             data's units (NaN, or -1 for categories, where one is missing), and heard first
    before:  what each of n sequences goes on from, [T_i, D] or [T_i], as the model read it: shown, heard, written first
    sources: the B sequences that the n = num B were cut from, copy after copy: of images they stand above
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{folder}: is no folder, or below a file; name another one to write samples to") from None
    _clear(folder, stem)
    path, x = folder / stem, drawn.x.cpu().numpy()
    given = before if start is None else list(start.cpu().numpy()[:, None])
    written = _write_arrays(path, drawn, description, start)
    if description.image_shape is not None:
        written += _write_images(path, x, description.image_shape, given, sources)
    if description.audio is not None:
        written += _write_audio(path, x, description, description.audio, given)
    if description.vocabulary is not None:
        written += _write_text(path, x, description.vocabulary, given)
    if description.music is not None:
        written += _write_music(path, x, description.music, given)
    return written


def _clear(folder: Path, stem: str) -> None:
    """Remove what another call wrote under this name: it may have been more, or of other kinds."""
    ours = re.compile(re.escape(stem) + r"(-\d{3,})?\.(npz|png|wav|mid|txt)")
    for file in folder.iterdir():
        if ours.fullmatch(file.name):
            file.unlink()


def _write_arrays(path: Path, drawn: Generated, description: DataDescription, start: Tensor | None) -> Written:
    def in_units(values: Tensor) -> Array:
        scaling, array = description.normalization, values.cpu().numpy()
        if description.audio is not None:
            return decode(array, description.audio, scaling)
        return array if scaling is None else scaling.invert(array)

    beside = {} if start is None else {"start": in_units(start)}
    np.savez_compressed(f"{path}.npz", x=in_units(drawn.x), latents=drawn.latents.cpu().numpy(), **beside)  # type: ignore[arg-type]  # its stub takes `beside` for allow_pickle
    return Written((f"{path}.npz",))


def _with(before: list[Array] | None, x: Array) -> list[Array]:
    """What was given and what was drawn, of each sequence."""
    return list(x) if before is None else [np.concatenate(parts) for parts in zip(before, x, strict=True)]


def _write_images(
    path: Path, x: Array, shape: tuple[int, int], before: list[Array] | None, sources: list[Array] | None
) -> Written:
    """A grid; below each source, if it is whole, what was given of it (the rest is grey) and its continuations."""
    pixels = shape[0] * shape[1]
    images = _with(before, x)
    if any(image.size != pixels for image in images):
        return Written(lacking=f"no picture was drawn: an image has {pixels} pixels, and these are not whole")
    columns = None
    if before is not None and sources is not None:
        columns = len(sources)
        kept = [np.concatenate([b.reshape(-1), np.full(pixels - b.size, 0.5)]) for b in before[:columns]]
        images = [*(sources if all(source.size == pixels for source in sources) else []), *kept, *images]
    write_image_grid(Path(f"{path}.png"), np.stack([image.reshape(shape) for image in images]), columns=columns)
    return Written((f"{path}.png",))


def _write_audio(
    path: Path, x: Array, description: DataDescription, audio: AudioFormat, before: list[Array] | None
) -> Written:
    files, clipped = [], 0
    for i, whole in enumerate(_with(before, x)):
        samples, _ = to_samples(whole, description)
        _, over = to_samples(x[i], description)  # what was drawn; the beginning was there before
        files.append(f"{path}-{i:03d}.wav")
        write_wav(Path(files[-1]), samples, audio.sample_rate)
        clipped += over
    return Written(tuple(files), clipped)


def _write_music(path: Path, x: Array, music: MusicFormat, before: list[Array] | None) -> Written:
    """A picture and n MIDI files, or why these can't be written."""
    rolls = list(x) if before is None else _with([0.5 * given for given in before], x)
    write_pianoroll(Path(f"{path}.png"), rolls[:PICTURED])
    files = [f"{path}.png"]
    try:
        import_symusic(f"{path}-000.mid")
    except UserError as error:  # what was drawn is kept all the same
        return Written(tuple(files), lacking=str(error))
    for i, roll in enumerate(_with(before, x)):
        files.append(f"{path}-{i:03d}.mid")
        write_midi(Path(files[-1]), roll, **asdict(music))
    return Written(tuple(files))


def _write_text(path: Path, x: Array, vocabulary: Vocabulary, before: list[Array] | None) -> Written:
    """n sentences, one on each line, up to their ends."""
    sentences = [ids.tolist() for ids in _with(before, x)]
    lines = [vocabulary.line(ids) for ids in sentences]
    Path(f"{path}.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
    ended = [vocabulary.end in ids for ids in sentences]
    shown = [line if is_whole else f"{line} ..." for line, is_whole in zip(lines, ended, strict=True)]
    return Written((f"{path}.txt",), text=tuple(shown))
