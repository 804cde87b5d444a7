"""Where recordings lie below a folder, and which split each of them is in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from ...errors import UserError
from ...files.audio import unread_suffixes
from ...files.audio_bytes import is_sphere
from ...observations import AudioFormat
from ..folders import SHOWN, find_files, folders_in, refuse_two_forms, split_folders
from ..splits import SPLITS, Split, SplitFiles, split_off
from .remarks import passed_over

AUDIO = frozenset(AudioFormat.reads)
WAV = frozenset((".wav",))
# Files that lie among recordings, in thousands: not opened to see whether it is a SPHERE file.
TEXT = frozenset((".txt", ".phn", ".wrd", ".lab", ".csv", ".tsv", ".json", ".md", ".pdf", ".doc", ".htm", ".html"))
DIALECT = re.compile(r"dr[1-8]", re.IGNORECASE)
FORMATS = f"{', '.join(sorted(AUDIO))}, or NIST SPHERE under any name"


# ---- what there is


def find_audio(folder: Path, root: Path, suffixes: frozenset[str] = AUDIO) -> list[str]:
    """The audio files below a folder, by suffix, or as SPHERE where the suffix says nothing; hidden ones are left out.

    Raises UserError for a folder that may not be listed.
    """
    readable, closed = suffixes - unread_suffixes(), AUDIO | TEXT | unread_suffixes()

    def is_audio(file: Path) -> bool:
        suffix = file.suffix.lower()
        return suffix in readable or (suffix not in closed and file.is_file() and is_sphere(file))

    return find_files(folder, root, is_audio)


def is_timit(by_split: Mapping[Split, Sequence[Path]]) -> bool:
    """Whether the folders of splits are TIMIT's: TRAIN and TEST hold folders DR1 to DR8."""
    return all(
        any(DIALECT.fullmatch(inside.name) for folder in by_split.get(split, ()) for inside in folders_in(folder))
        for split in ("train", "test")
    )


# ---- trees


def timit(root: Path, *, include_sa: bool) -> SplitFiles:
    """TIMIT's tree, TRAIN|TEST/DR1..8/SPEAKER/UTTERANCE.WAV, and VALID if there is one.

    Copies that hold each utterance twice, as SA1.WAV and SA1.WAV.wav, count it once.
    """
    by_split = split_folders(root)
    if not is_timit(by_split):
        raise UserError(
            f"data.root {root}: has no folders TRAIN and TEST with DR1 to DR8 in them, as TIMIT has; correct "
            f"data.root, or set another data.name"
        )
    files: SplitFiles = {}
    for split, of_split in by_split.items():
        utterances: dict[str, str] = {}
        for name in (name for folder in of_split for name in find_audio(folder, root)):
            path = PurePosixPath(name)
            stem = path.name.split(".")[0].upper()
            if include_sa or stem not in ("SA1", "SA2"):
                utterances.setdefault(str(path.parent / stem), name)
        files[split] = list(utterances.values())
    return files


def folders(root: Path) -> SplitFiles:
    """A folder train, and valid and test if there are; everything else is left out."""
    by_split = split_folders(root)
    if "train" not in by_split:
        raise UserError(
            f"data.root {root}: has no folder train but {_there(root)}; correct data.root, or set data.random_split "
            f"true to split what is below it at random"
        )
    return {split: [name for one in some for name in find_audio(one, root)] for split, some in by_split.items()}


def blizzard(root: Path) -> SplitFiles:
    """All .wav files below the root, in one split. Blizzard 2013 comes whole and in segments: the same speech twice."""
    names = [folder.name for folder in folders_in(root) if "segmented" in folder.name.lower()]
    whole = [name for name in names if "unsegmented" in name.lower()]
    if whole and len(whole) < len(names):
        raise UserError(
            f"data.root {root}: holds {' and '.join(names)}, the same recordings whole and in segments, and would test "
            f"on what it trained on; set data.root to one of them"
        )
    return {"train": find_audio(root, root, WAV)}


def _there(root: Path) -> str:
    names = [folder.name for folder in folders_in(root)]
    return f"{', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"


def name_speakers(files: Sequence[str], pattern: re.Pattern[str], root: Path) -> dict[str, str]:
    """Who speaks in each file: group `speaker`, or else group 1, of the pattern's first match in its relative path."""
    group: str | int = "speaker" if "speaker" in pattern.groupindex else 1
    speakers: dict[str, str] = {}
    for name in files:
        match = pattern.search(name)
        if match is None or not match.group(group):
            raise UserError(
                f"data.root {root}: data.speaker {pattern.pattern!r} names no speaker in {name!r}; correct data.speaker"
            )
        speakers[name] = match.group(group)
    return speakers


def split_recordings(files: Sequence[str], shares: Mapping[Split, float], *, seed: int, root: Path) -> SplitFiles:
    """Splits at random by recording; what is left is the training split. Raises UserError about recordings that may be
    there twice.
    """
    refuse_two_forms(files, f"data.root {root}")
    if len(files) < 1 + len(shares):
        raise UserError(
            f"data.root {root}: has {len(files)} recording(s) to split into train, {' and '.join(shares)}, at least "
            f"one each; add recordings, or folders {', '.join(SPLITS)}"
        )
    return split_off(files, shares, seed=seed, what=f"data.root {root}: recordings")


def refuse_empty(files: SplitFiles, root: Path) -> SplitFiles:
    """The files, if each split has some. Raises UserError about one that has none."""
    for split, names in files.items():
        if not names:
            where = "below it" if len(files) == 1 else f"in its folder of the {split} split"
            unread = passed_over(root)
            raise UserError(f"data.root {root}: no audio {where}; audio is {FORMATS}{unread and f'; {unread}'}")
    return files
