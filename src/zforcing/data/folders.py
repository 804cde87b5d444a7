"""Folders of recordings: which audio files there are, and which split each of them is in."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ..errors import UserError
from .base import Split
from .recordings import is_sphere, printable

AUDIO = frozenset((".wav", ".flac", ".ogg", ".sph", ".nist", ".aif", ".aiff", ".au"))
WAV = frozenset((".wav",))
# What lies beside recordings, in thousands: not opened to see whether it is a SPHERE file.
TEXT = frozenset((".txt", ".phn", ".wrd", ".lab", ".csv", ".tsv", ".json", ".md", ".pdf", ".doc", ".htm", ".html"))
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test",),
}
DIALECT = re.compile(r"dr[1-8]", re.IGNORECASE)
FORMATS = f"{', '.join(sorted(AUDIO))}, or NIST SPHERE under any name"

SHOWN = 8  # names in one message

Files = dict[Split, list[str]]  # relative to the root, with slashes, sorted


# ---- what there is


def find_audio(folder: Path, root: Path, suffixes: frozenset[str] = AUDIO) -> list[str]:
    """The audio files below a folder, by suffix, or as SPHERE where the suffix says nothing; hidden ones are left out.

    Links are followed, each folder once. Raises UserError for a folder that may not be listed.
    """
    found = []
    for parent, names in walk(folder):
        for name in names:
            file, suffix = parent / name, PurePosixPath(name).suffix.lower()
            if name.startswith(".") or (file.exists() and not file.is_file()):  # a link to nothing is worth a word
                continue
            if suffix in suffixes or (suffix not in AUDIO | TEXT and file.is_file() and is_sphere(file)):
                found.append(file.relative_to(root).as_posix())
    return sorted(found)


def walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder below this one, itself included, and the names of its files. Links are followed, each folder once."""

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: can't be listed ({error.strerror}); check its permissions") from error

    seen = set()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        real = os.path.realpath(parent)
        if real in seen:  # a link to a folder that was here already, or that this one is in
            folders.clear()
            continue
        seen.add(real)
        yield Path(parent), files


def folders_in(root: Path, setting: str = "data.root") -> list[Path]:
    """The folders directly in a folder, hidden ones left out; a message about it names its setting."""
    try:
        return sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"{setting} {root}: can't be listed ({error.strerror}); check its permissions") from error


def split_folders(root: Path, setting: str = "data.root") -> dict[Split, Path]:
    """The folders of splits, by their names in any case; those that there are. Two for one split are refused."""
    found: dict[Split, Path] = {}
    for split, names in NAMES.items():
        folders = [folder for folder in folders_in(root, setting) if folder.name.lower() in names]
        if len(folders) > 1:
            raise UserError(
                f"{setting} {root}: {' and '.join(f.name for f in folders)} are both the folder of the {split} split; "
                f"leave one of them"
            )
        if folders:
            found[split] = folders[0]
    return found


def is_timit(found: Mapping[Split, Path]) -> bool:
    """Whether the folders of splits are TIMIT's: TRAIN and TEST hold folders DR1 to DR8."""
    return all(
        split in found and any(DIALECT.fullmatch(folder.name) for folder in folders_in(found[split]))
        for split in ("train", "test")
    )


# ---- layouts


def timit(root: Path, *, include_sa: bool) -> Files:
    """TIMIT's tree, TRAIN|TEST/DR1..8/SPEAKER/UTTERANCE.WAV, and VALID if there is one.

    Copies that hold each utterance twice, as SA1.WAV and SA1.WAV.wav, count it once.
    """
    found = split_folders(root)
    if not is_timit(found):
        raise UserError(
            f"data.root {root}: has no folders TRAIN and TEST with DR1 to DR8 in them, as TIMIT has; mend data.root or "
            f"data.layout"
        )
    files: Files = {}
    for split, folder in found.items():
        utterances: dict[str, str] = {}
        for name in find_audio(folder, root):
            path = PurePosixPath(name)
            stem = path.name.split(".")[0].upper()
            if include_sa or stem not in ("SA1", "SA2"):
                utterances.setdefault(str(path.parent / stem), name)
        files[split] = list(utterances.values())
    return files


def folders(root: Path) -> Files:
    """A folder train, and valid and test if there are; what lies beside them is left out."""
    found = split_folders(root)
    if "train" not in found:
        raise UserError(
            f"data.root {root}: has no folder train{_there(root)}; mend data.root, or set data.layout files to split "
            f"what is below it at random"
        )
    return {split: find_audio(folder, root) for split, folder in found.items()}


def blizzard(root: Path) -> Files:
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
    return (
        f" but {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}" if names else " and no other folder"
    )


# ---- splits


def told_cut(split: Split, what: str) -> str:
    """For a data set's remark: that a split was cut at random from `what` is trained on."""
    return f"cut at random from {what} (data.{split}_fraction)"


def told_unread(names: Sequence[str]) -> str:
    """For a data set's remark: files and folders beside those of the splits, which may be misspelt; empty without."""
    some = ", ".join([*map(printable, names[:SHOWN]), *(["..."] if len(names) > SHOWN else [])])
    return f"{some} isn't read: no split is called so" if names else ""


def split_off(files: Sequence[str], shares: Mapping[Split, float], *, seed: int, root: Path) -> Files:
    """Splits at random by file, in the order of `shares`; the rest is the training split.

    The sorted files are shuffled by `random.Random(seed)`; the first max(1, round(share * N)) are the first split.
    """
    if len(files) < 1 + len(shares):
        raise UserError(
            f"data.root {root}: has {len(files)} recording(s) to split into train, {' and '.join(shares)}, at least "
            f"one each; add recordings, or folders {', '.join(SPLITS)} and data.layout folders"
        )
    shuffled = sorted(files)
    random.Random(seed).shuffle(shuffled)
    result: Files = {}
    for split, share in shares.items():
        count = max(1, round(share * len(files)))
        result[split], shuffled = sorted(shuffled[:count]), shuffled[count:]
    return _with_rest(result, shuffled, root)


def split_off_speakers(
    files: Sequence[str], shares: Mapping[Split, float], speakers: Mapping[str, str], *, seed: int, root: Path
) -> Files:
    """Splits at random by speaker, in the order of `shares`, at least one each; the rest is the training split.

    The sorted speakers are shuffled; one joins the first split if that brings its number of files nearer to its share.
    """
    by_speaker: dict[str, list[str]] = {}
    for name in sorted(files):
        by_speaker.setdefault(speakers[name], []).append(name)
    if len(by_speaker) < 1 + len(shares):
        raise UserError(
            f"data.root {root}: has {len(by_speaker)} speaker(s) by data.speaker ({', '.join(sorted(by_speaker))}) for "
            f"train, {' and '.join(shares)}, at least one each; mend data.speaker, or leave it out to split by file"
        )
    order = sorted(by_speaker)
    random.Random(seed).shuffle(order)
    result: Files = {}
    for number, (split, share) in enumerate(shares.items(), start=1):
        needed = len(shares) - number + 1  # speakers that the splits after this one need, training among them
        chosen = _nearest(order, by_speaker, share * len(files), most=len(order) - needed)
        order = [speaker for speaker in order if speaker not in chosen]
        result[split] = sorted(name for speaker in chosen for name in by_speaker[speaker])
    return _with_rest(result, [name for speaker in order for name in by_speaker[speaker]], root)


def _nearest(order: Sequence[str], by_speaker: Mapping[str, list[str]], wanted: float, *, most: int) -> list[str]:
    """Speakers whose files are nearly as many as wanted; where each has too many, the one with the fewest."""
    chosen: list[str] = []
    total = 0
    for speaker in order:
        count = len(by_speaker[speaker])
        if len(chosen) < most and abs(total + count - wanted) < abs(total - wanted):
            chosen.append(speaker)
            total += count
    return chosen or [min(order, key=lambda speaker: len(by_speaker[speaker]))]


def _with_rest(held_out: Files, rest: Sequence[str], root: Path) -> Files:
    if not rest:
        raise UserError(
            f"data.root {root}: all recordings are held out and none is left to train on; lower "
            f"{' or '.join(f'data.{split}_fraction' for split in held_out)}"
        )
    return held_out | {"train": sorted(rest)}


def name_speakers(files: Sequence[str], pattern: re.Pattern[str], root: Path) -> dict[str, str]:
    """Who speaks in each file: group `speaker`, or else group 1, of the pattern's first match in its relative path."""
    group: str | int = "speaker" if "speaker" in pattern.groupindex else 1
    speakers: dict[str, str] = {}
    for name in files:
        match = pattern.search(name)
        if match is None or not match.group(group):
            raise UserError(
                f"data.root {root}: data.speaker {pattern.pattern!r} names no speaker in {name!r}; mend data.speaker"
            )
        speakers[name] = match.group(group)
    return speakers
