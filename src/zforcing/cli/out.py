"""Where commands write what they make: --out, by one rule, and how files are named.

A name that ends in a known suffix is that file; any other one, and a folder that is there, is a folder, in which the
command names its files. Folders, and those above them, are made. Without --out it is a folder of the run.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import UserError
from ..files.paths import user_path
from ..files.writing import make_folder, whole_files
from ..observations import DataDescription, Drawn, Written
from .parser import Parser
from .sources import OWN, is_path

OF_TABLES = (".csv", ".tsv", ".npz", ".npy", ".parquet", ".feather", ".json", ".jsonl", ".xlsx", ".pkl", ".txt")
SUFFIXES = (*OF_TABLES, ".png", ".jpg", ".svg", ".pdf", ".wav", ".flac", ".mp3", ".mid", ".midi")  # of no folder
TABLES = (".csv", ".npz")


def out_option(parser: Parser, *, writes: str, suffixes: str, folder: str) -> None:
    """--out.

    Args:
        parser: Of the command.
        writes: What is written.
        suffixes: Those of one file.
        folder: Of the run, where it goes without the option.
    """
    rule = f"where to write {writes}: a name that ends in {suffixes} is that file, any other one a folder"
    help_text = f"{rule}; it is made, with those above it; RUN/{folder} by default"
    parser.add_argument("--out", type=str | None, default=None, help=help_text)


def drawn_options(parser: Parser) -> None:
    """--out of commands that write sequences in all forms of their kind."""
    writes = "the files (a named one holds all sequences; of .wav and .mid several are NAME-000 and so on)"
    out_option(parser, writes=writes, suffixes=".npz, .csv, .png, .txt, .wav or .mid", folder="samples")


def check_out(options: Namespace, what: str, suffixes: Sequence[str] = TABLES) -> None:
    """Before anything is computed: raise UserError where --out is a file of another suffix, or can't be made."""
    if options.out is None:
        return
    path = _path_of(options.out)
    if path.suffix.lower() in (*SUFFIXES, *suffixes) and not path.is_dir():
        if path.suffix.lower() not in suffixes:
            allowed = " or ".join(suffixes)
            raise UserError(
                f"--out {options.out}: its suffix is {path.suffix!r}; {what} are written to {allowed}, or into a folder"
            )
        path = path.parent
    _refuse_unmakeable(path, options.out)


def file_for(options: Namespace, suffixes: Sequence[str] = TABLES, *, folder: Path, stem: str, ending: str) -> Path:
    """The file that --out names; or STEM.ENDING in the folder that it names, or without it in this one. Folders are
    made.
    """
    path = folder if options.out is None else _path_of(options.out)
    named = options.out is not None and path.suffix.lower() in suffixes and not path.is_dir()
    file = path if named else path / f"{stem}.{ending}"
    make_folder(file.parent)
    return file


def check_drawn(options: Namespace, description: DataDescription) -> None:
    """`check_out` of sequences of this kind."""
    check_out(options, f"sequences of format {description.format.name}", _endings(description))


def write_drawn(drawn: Drawn, description: DataDescription, options: Namespace, *, folder: Path, stem: str) -> Written:
    """Write sequences in all forms of their kind, into a folder; or in one form, where --out names a file.

    Args:
        drawn: The sequences.
        description: Of the model's data.
        options: Those of the command.
        folder: Where to without --out.
        stem: Of the files' names, unless --out names one.
    """
    out = None if options.out is None else _path_of(options.out)
    if out is None or out.is_dir() or out.suffix.lower() not in _endings(description):
        return description.format.write(out or folder, stem, drawn, description)
    make_folder(out.parent)
    with whole_files(out.parent) as made:  # a file that is there beside it stays as it is
        try:
            written = description.format.write(made / "all", "made", drawn, description)
        except UserError as error:  # of a full disk
            raise UserError(str(error).replace(str(made / "all"), str(out))) from error
        files = [Path(file) for file in written.files if Path(file).suffix.lower() == out.suffix.lower()]
        if not files:
            raise UserError(written.lacking or f"--out {out}: {description.format.name} wrote no such file")
        names = [out] if len(files) == 1 else [out.with_stem(f"{out.stem}-{i:03d}") for i in range(len(files))]
        for file, name in zip(files, names, strict=True):
            file.replace(name)
        shutil.rmtree(made / "all")
    return replace(written, files=tuple(map(str, names)), lacking=None)


def file_name(source: str) -> str:
    """Of what is made of a source: test:0-7 is test-0-7; a file its stem and text its first letters (40 bytes of them:
    a file's name has 255), and behind them the beginning of a hash of all of it.
    """
    if OWN.fullmatch(source) and len(source) <= 40:
        return source.replace(":", "-")
    name = re.sub(r"\W+", "-", Path(source).stem if is_path(source) else source)
    first = name.encode(errors="ignore")[:40].decode(errors="ignore").strip("-")
    digest = hashlib.sha256(source.encode(errors="surrogateescape")).hexdigest()
    return "-".join([*filter(None, [first]), digest[:8]])


def stem_of(options: Namespace, *parts: str) -> str:
    """The name of what is written, without its ending: the parts, the checkpoint unless it is the best, the seed."""
    checkpoint = [] if options.checkpoint == "best" else [options.checkpoint]
    return "-".join([*parts, *checkpoint, f"seed{options.seed}"])


def _path_of(out: str) -> Path:
    if not out:
        raise UserError("--out is empty; name a file or a folder")
    return user_path(out, "--out")


def _endings(description: DataDescription) -> tuple[str, ...]:
    """The suffixes of the files that sequences of this kind are written to."""
    return (".npz", *(f".{ending}" for ending in description.format.endings))


def _refuse_unmakeable(folder: Path, out: str) -> None:
    """Raise UserError where the folder isn't there and can't be made, or can't be written to."""
    there = next(above for above in (folder, *folder.absolute().parents) if above.exists())
    if not there.is_dir():
        raise UserError(f"--out {out}: {there} is a file, not a folder; name another one")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"--out {out}: permission denied in {there}; name another folder")
