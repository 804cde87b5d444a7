"""Damage small files in thousands of ways, and see that each reader takes them or says what is wrong.

    python tools/fuzz.py READER|all [--mutants 2000] [--seed 0] [--keep FOLDER]

A mutant is a small sound file with some damage (fuzz_mutants.py); what it is depends on the seed and its number alone.
The reader (fuzz_readers.py) runs in a process of its own, in bounded memory. It must give data, or raise a UserError of
one line; no other exception, no warning, nothing on stderr, no signal, and in bounded time and memory. What breaks that
rule is printed and, with --keep, kept as a file. Ends with 1 where something did. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import multiprocessing
import os
import random
import re
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from fuzz_mutants import mutant
from fuzz_readers import READERS

SECONDS = 5.0  # of computing that a file of some kilobytes may take
WAIT = 120.0  # seconds until a reader counts as hanging: a busy machine may stop it for a while
MEMORY = 1_500_000_000  # bytes that reading may add
ROOM = 4_000_000_000  # bytes of address space beside what is taken already, for a reader and its threads
UNPACKED = "0.5"  # ZFORCING_MAX_GIGABYTES
LONGEST = 2000  # characters of a message


@dataclass(frozen=True)
class Outcome:
    """What came of one file. wrong: which rule it broke, or nothing; said: the error, or nothing of data."""

    wrong: str
    said: str
    seconds: float = 0.0
    memory: int = 0


@dataclass
class Findings:
    """Counts over the mutants of a reader; wrong: how often a rule was broken, by what was said."""

    mutants: int = 0
    data: int = 0
    seconds: float = 0.0
    memory: int = 0
    wrong: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """One more."""
        self.mutants += 1
        self.data += not outcome.said
        self.seconds, self.memory = max(self.seconds, outcome.seconds), max(self.memory, outcome.memory)
        if outcome.wrong:
            self.wrong[f"{outcome.wrong}: {outcome.said[-1500:]}"] += 1

    def line(self, name: str) -> str:
        """A row of the report."""
        return (
            f"{name:8} {self.mutants:6} mutants, {self.data:5} data, {self.mutants - self.data:5} refused, worst "
            f"{self.seconds:6.2f} s and {self.memory / 1e6:6.1f} MB, {self.wrong.total()} findings"
        )


def main() -> int:
    """Fuzz readers, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader", choices=[*READERS, "all"])
    parser.add_argument("--mutants", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the files that broke a rule")
    options = parser.parse_args()
    bad = 0
    for name in READERS if options.reader == "all" else [options.reader]:
        findings = fuzz(name, mutants=options.mutants, seed=options.seed, keep=options.keep)
        print(findings.line(name), flush=True)
        for said, count in findings.wrong.most_common():
            print(f"    {count} times {said}", flush=True)
        bad += findings.wrong.total()
    return 1 if bad else 0


def fuzz(name: str, *, mutants: int, seed: int, keep: Path | None = None) -> Findings:
    """What came of mutants of a reader's files."""
    findings = Findings()
    with tempfile.TemporaryDirectory() as place, child(name, Path(place)) as read:
        seeds = READERS[name].seeds(Path(place))
        for number in range(mutants):
            draw = random.Random(f"{name} {seed} {number}")
            content = mutant(draw.choice(seeds), seeds, draw) if number >= len(seeds) else seeds[number]
            outcome = read.outcome(content)
            findings.add(outcome)
            if keep is not None and outcome.wrong:
                keep.mkdir(parents=True, exist_ok=True)
                made = hashlib.sha256(content).hexdigest()[:10]
                (keep / f"{name}-{made}{READERS[name].suffix}").write_bytes(content)
    return findings


# ---- the child


class Child:
    """A process that reads files, one after the other; another takes its place where it ends or hangs."""

    def __init__(self, name: str, place: Path):
        self.name, self.place = name, place
        self.file = place / f"mutant{READERS[name].suffix}"
        self.process: multiprocessing.process.BaseProcess | None = None
        self.pipe: Connection | None = None

    def outcome(self, content: bytes) -> Outcome:
        """What comes of a file with this content."""
        self.file.write_bytes(content)
        if self.process is None:
            self._start()
        assert self.pipe is not None
        self.pipe.send(str(self.file))
        if not self.pipe.poll(WAIT):
            self.end()
            return Outcome("hangs", f"for {WAIT} seconds", WAIT)
        try:
            found: Outcome = self.pipe.recv()
        except EOFError:
            return self._ended()
        return found

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(self.name, other, str(self.place / "stderr")), daemon=True)
        self.process.start()
        other.close()
        self.pipe.recv()  # it is ready

    def _ended(self) -> Outcome:
        assert self.process is not None
        self.process.join()
        code = self.process.exitcode or 0
        self.end()
        return Outcome("ends Python", f"by {signal.Signals(-code).name}" if code < 0 else f"with {code}")

    def end(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
        self.process = None


@contextlib.contextmanager
def child(name: str, place: Path) -> Iterator[Child]:
    """A child that is ended at the end of a `with` block."""
    one = Child(name, place)
    try:
        yield one
    finally:
        one.end()


def serve(name: str, pipe: Connection, stderr: str) -> None:
    """In the child: read the files whose names come, and answer with outcomes."""
    os.environ["ZFORCING_MAX_GIGABYTES"] = UNPACKED
    import torch

    torch.set_num_threads(1)
    told = os.open(stderr, os.O_CREAT | os.O_RDWR | os.O_TRUNC)
    os.dup2(told, sys.__stderr__.fileno() if sys.__stderr__ else 2)
    with tempfile.TemporaryDirectory() as place, contextlib.suppress(Exception):
        sound = Path(place) / f"sound{READERS[name].suffix}"
        sound.write_bytes(READERS[name].seeds(Path(place))[0])
        READERS[name].read(sound)
    _limit()
    pipe.send("ready")
    while True:
        try:
            file = Path(pipe.recv())
        except EOFError:
            return
        os.ftruncate(told, 0)
        os.lseek(told, 0, os.SEEK_SET)
        pipe.send(judged(name, file, Path(stderr)))


def _limit() -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, resource.getrlimit(resource.RLIMIT_AS)[1]))


def judged(name: str, file: Path, stderr: Path | None = None) -> Outcome:
    """Read one file, in this process, and see whether it keeps the rules."""
    began, before = _computed(), _reset_memory()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        wrong, said = _read(name, file)
    seconds, memory = _computed() - began, max(0, _peak() - before)
    if not wrong and warned:
        wrong, said = "warns", str(warned[0])
    printed = "" if stderr is None else stderr.read_bytes()[:500].decode(errors="replace")
    if not wrong and any(not re.fullmatch(READERS[name].prints, line) for line in printed.splitlines()[:-1]):
        wrong, said = "prints", printed
    if not wrong and seconds > SECONDS:
        wrong = f"takes {seconds:.1f} seconds"
    if not wrong and memory > MEMORY:
        wrong = f"takes {memory / 1e6:.0f} MB"
    return Outcome(wrong, said, seconds, memory)


def _read(name: str, file: Path) -> tuple[str, str]:
    from zforcing import UserError

    try:
        READERS[name].read(file)
    except UserError as error:
        said = str(error)
        if len(said) >= LONGEST or "\n" in said or not said:
            return "is no line of some length", said[:LONGEST]
        return "", said
    except BaseException:  # noqa: BLE001  # that any other comes is what is looked for
        return "raises", traceback.format_exc(limit=-3)
    return "", ""


def _computed() -> float:
    """Seconds that this process and those it has started have computed."""
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system


def _reset_memory() -> int:
    """Make the peak what is taken now, and return that."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


if __name__ == "__main__":
    sys.exit(main())
