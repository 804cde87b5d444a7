"""Kill trainings and damage what they wrote, and count what comes of it.

    python tools/break_runs.py [--kills 100] [--writes 100] [--damages 5] [--seed 0]

A small run is killed (SIGKILL) at random moments and before writes, once or several times in a row, and resumed: its
checkpoints and rows must be those of a run that nobody killed, bit for bit. Then bits of each of its files are flipped,
blocks are zeroed and ends cut off: `train --resume`, `evaluate`, `table` and `info` must notice, or do as if nothing
were. Ends with 1 where one doesn't. Each command runs in a fork of this process: POSIX only.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zforcing.cli import main as zforcing

RECIPE = """\
data: {{name: arrays, path: {data}}}
model: {{name: zforcing, hidden_size: 4, embedding_size: 3, latent_size: 2, mlp_size: 3, dropout: 0.2}}
training: {{epochs: {epochs}, batch_size: 8, log_every: 1, checkpoint_every: 2, backend: reference}}
seed: 3
"""
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"}
LATE = (  # what commands import late, before they are forked
    "torch._dynamo",
    "zforcing.api",
    "zforcing.cli.evaluate",
    "zforcing.cli.info",
    "zforcing.cli.table",
    "zforcing.cli.train_runs",
    "zforcing.evaluation.runs",
    "zforcing.evaluation.side_by_side",
    "zforcing.evaluation.summary",
)
STAYING = {"lock": ".lock", "partial": "*.partial", "old": "*.old"}  # what no run leaves that came to its end


def main() -> int:
    """Break runs, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="at random moments")
    parser.add_argument("--writes", type=int, default=100, help="before a write, a rename or a removal, all in turn")
    parser.add_argument("--damages", type=int, default=5, help="of each kind, to each file")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for module in LATE:
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        work = Work(Path(place), random.Random(options.seed))
        bad = kills(work, options.kills, options.writes) + damages(work, options.damages)
    return 1 if bad else 0


class Work:
    """Data, recipes and a run that nobody kills, in a folder. seconds: that the run takes; events: of its files."""

    def __init__(self, place: Path, draw: random.Random):
        self.place, self.draw = place, draw
        generator = np.random.default_rng(0)
        np.savez("data.npz", x=generator.normal(size=(40, 5, 2)).cumsum(1), lengths=generator.integers(2, 6, 40))
        for epochs in (3, 4):
            Path(f"{epochs}.yaml").write_text(RECIPE.format(data=place / "data.npz", epochs=epochs))
        began = time.perf_counter()
        self.train("whole")
        self.seconds = time.perf_counter() - began
        self.events = int(commands([train_words("counted", resume=False)], count_in="counted")[1].split()[-1])
        self.whole = outcome(Path("whole"))

    def train(self, run: str, *, after: float = 0, at_event: float = 0) -> int:
        """Begin or go on; returns the exit code, -9 where it was killed."""
        return commands(
            [train_words(run, resume=(Path(run) / "config.yaml").is_file())],
            kill_in=run,
            after=after,
            at_event=at_event,
        )[0]


def train_words(run: str, *, resume: bool) -> list[str]:
    """The command that begins a run, or goes on with it."""
    return ["train", "3.yaml", "--run-dir", run, *(["--resume"] if resume else [])]


def commands(
    lines: list[list[str]], *, kill_in: str = "", at_event: float = 0, after: float = 0, count_in: str = ""
) -> tuple[int, str]:
    """Run commands one after the other in a fork. Returns the exit code (of the first that isn't 0) and what they said.

    kill_in: the folder whose `at_event`th event is the last thing before SIGKILL; or it comes after so many seconds.
    count_in: the folder whose events are counted; their number is said last.
    """
    said = Path("said.txt")
    child = os.fork()
    if child == 0:
        _in_fork(lines, said, kill_in or count_in, at_event, counting=bool(count_in))
    if after:
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, said.read_text("utf-8")


def _in_fork(lines: list[list[str]], said: Path, folder: str, at_event: float, *, counting: bool) -> None:
    code, events = 1, 0
    try:
        file = said.open("w", encoding="utf-8")
        sys.stdout = sys.stderr = file
        where = str(Path(folder).absolute())

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal events
            if (
                event in EVENTS
                and folder
                and str(arguments[0]).startswith((folder, where))
                and _writes(event, arguments)
            ):
                events += 1
                if events == at_event:
                    os.kill(os.getpid(), signal.SIGKILL)

        if folder:
            sys.addaudithook(count)
        code = next(filter(None, [zforcing(line) for line in lines]), 0)
        file.write(f"\n{events}" if counting else "")
        file.flush()
    finally:
        os._exit(code)


def _writes(event: str, arguments: tuple[object, ...]) -> bool:
    flags = arguments[2] if event == "open" else os.O_WRONLY
    return bool(isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def outcome(run: Path) -> dict[str, Any]:
    """What must be the same, bit for bit, and what must not be there."""
    rows = [json.loads(row) for row in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    found: dict[str, Any] = {"rows": [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]}
    for checkpoint in ("best", "last"):
        for name in ("model.safetensors", "training.safetensors", "config.json"):
            found[f"{checkpoint}/{name}"] = (run / "checkpoints" / checkpoint / name).read_bytes()
        progress = json.loads((run / "checkpoints" / checkpoint / "training.json").read_text("utf-8"))
        found[f"{checkpoint}/training.json"] = {
            k: v for k, v in progress.items() if k != "rows_sha256" and not k.endswith("seconds")
        }
    found |= {name: [*map(str, run.rglob(pattern))] for name, pattern in STAYING.items()}
    return found


def kills(work: Work, at_random: int, at_writes: int) -> int:
    """Kill and resume; prints the counts and returns how many ended otherwise."""
    at_events = [1 + i * work.events // at_writes for i in range(min(at_writes, work.events))]
    plans: dict[str, list[dict[str, float]]] = {
        "at random moments": [{"after": work.draw.uniform(0.01, work.seconds)} for _ in range(at_random)],
        f"at writes ({work.events} in a run)": [{"at_event": event} for event in dict.fromkeys(at_events)],
    }
    bad = 0
    for name, plan in plans.items():
        ends = Counter(killed_and_resumed(work, **kill) for kill in plan)
        print(f"killed {name}: {len(plan)}; {', '.join(f'{count} {end}' for end, count in ends.items())}", flush=True)
        bad += sum(count for end, count in ends.items() if not end.startswith(("equal", "over")))
    return bad


def killed_and_resumed(work: Work, **kill: float) -> str:
    """What came of it."""
    shutil.rmtree("killed", ignore_errors=True)
    times = 0
    while work.train("killed", **kill) == -signal.SIGKILL and times < 3:
        times += 1
        kill = (
            {"after": work.draw.uniform(0.01, work.seconds)}
            if "after" in kill
            else {"at_event": work.draw.randint(1, 60)}
        )
        if work.draw.random() < 0.7:
            break
    code = work.train("killed") if times else 0
    if code:
        return f"can't go on ({kill}: {Path('said.txt').read_text('utf-8').strip()})"
    found = outcome(Path("killed"))
    wrong = [name for name in work.whole if found[name] != work.whole[name]]
    return (
        f"unlike the other in {wrong} ({kill})" if wrong else "equal bit for bit" if times else "over before the kill"
    )


# ---- damages


def flip(content: bytearray, draw: random.Random) -> None:
    """Another bit."""
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def zero(content: bytearray, draw: random.Random) -> None:
    """A block of zeros, as a disk leaves it."""
    start, size = draw.randrange(len(content)), max(16, len(content) // 8)
    content[start : start + size] = bytes(len(content[start : start + size]))


def cut(content: bytearray, draw: random.Random) -> None:
    """No end."""
    del content[draw.randrange(len(content)) :]


KINDS: dict[str, Callable[[bytearray, random.Random], None]] = {"bit": flip, "zeros": zero, "cut": cut}


def damages(work: Work, tries: int) -> int:
    """Damage each file that is read back; prints a table and returns how many changed an outcome without a word."""
    assert commands([["evaluate", "whole", "--no-baselines"]])[0] == 0
    noticed, right = used(Path("whole"))
    assert not noticed, "a run that is whole is noticed as damaged"
    files = sorted(file.relative_to("whole") for file in Path("whole").rglob("*") if file.is_file())
    counts: dict[str, Counter[str]] = {}
    for file in files:
        for kind, damage in KINDS.items():
            for _ in range(tries):
                end = _damaged(work, file, damage, right)
                counts.setdefault(f"{file}", Counter())[end.partition(":")[0]] += 1
                if end.startswith("missed"):
                    print(f"  {file}, {kind}: {end}", flush=True)
    print(f"{'file':48s} {'tried':>6s} {'noticed':>8s} {'harmless':>9s} {'missed':>7s}")
    for name, found in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        print(f"{name:48s} {found.total():6d} {found['noticed']:8d} {found['harmless']:9d} {found['missed']:7d}")
    return sum(found["missed"] for found in counts.values())


def _damaged(work: Work, file: Path, damage: Callable[[bytearray, random.Random], None], right: dict[str, Any]) -> str:
    shutil.rmtree("damaged", ignore_errors=True)
    shutil.copytree("whole", "damaged")
    target = Path("damaged") / file
    content = bytearray(target.read_bytes())
    before = bytes(content)
    while bytes(content) == before:
        damage(content, work.draw)
    target.write_bytes(bytes(content))
    said, found = used(Path("damaged"))
    if said:
        return "noticed"
    return "harmless" if found == right else f"missed: {[k for k in right if found.get(k) != right[k]]}"


def used(run: Path) -> tuple[bool, dict[str, Any]]:
    """Whether a command that reads a run failed or warned, and all that they gave."""
    copied = f"{run.name}-on"
    shutil.rmtree(copied, ignore_errors=True)
    shutil.copytree(run, copied)
    how = ["--no-baselines", "--backend", "reference", "--json"]
    lines = [
        ["table", copied, "--json"],
        ["info", copied, "--json"],
        ["evaluate", copied, *how],
        ["evaluate", copied, "--checkpoint", "last", *how],
        ["train", "4.yaml", "--run-dir", copied, "--resume"],
    ]
    code, said = commands(lines)
    if code < 0 or "Traceback" in said:
        print(f"  a traceback or a signal ({code}): {said[-500:]}", flush=True)
    noticed = code != 0 or any(word in said for word in ("warning", "isn't as it was", "edited"))
    found: dict[str, Any] = {"said": said.replace(copied, "RUN").partition("epoch ")[0]}
    with contextlib.suppress(OSError, ValueError):
        found |= {name: value for name, value in outcome(Path(copied)).items() if name not in STAYING}
    return noticed, found


if __name__ == "__main__":
    sys.exit(main())
