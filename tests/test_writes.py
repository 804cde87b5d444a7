"""What can't be written ends a command with one line that names the file, and what was there stays whole."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from rich.console import Console

from conftest import Command
from zforcing import UserError
from zforcing.cli import main
from zforcing.cli import train as train_command
from zforcing.files.writing import whole_file, whole_files
from zforcing.runtime.ctrl_c import CtrlC
from zforcing.runtime.output import unfailing
from zforcing.saving.digests import SUMS, check_digests
from zforcing.training.runs import log
from zforcing.training.signals import stop_on
from zforcing.training.update import EagerUpdate

SMALL = ["--model.hidden_size", "3", "--model.embedding_size", "2", "--training.backend", "reference"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """20 sequences of 4 steps."""
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(20, 4, 2)))
    return tmp_path / "data.npz"


@pytest.fixture
def train(data: Path, zf: Command) -> Callable[..., Any]:
    """Trains data/run for so many epochs."""

    def run(epochs: int, *words: str) -> Any:
        place = data.parent / "run"
        batches = ["--training.epochs", epochs, "--training.batch_size", 8]
        return zf("train", "arrays-rnn", "--data.path", data, "--run-dir", place, *batches, *SMALL, *words)

    return run


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


# ---- a disk that is full


@pytest.mark.parametrize("what", ["fsync", "rows", "save_file"])
def test_a_full_disk_ends_training_with_one_line_and_a_whole_checkpoint(
    what: str, data: Path, train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(1).code == 0
    run = data.parent / "run"
    before = files_of(run / "checkpoints" / "last")
    with monkeypatch.context() as patch:
        where, name = {
            "fsync": (os, "fsync"),
            "rows": (log.JsonLines, "append"),
            "save_file": (sys.modules["zforcing.training.runs.checkpoint"], "save_file"),
        }[what]
        patch.setattr(where, name, full)
        said = train(2, "--resume").mistake
    assert re.search(rf"can't write {run}/\S+: No space left on device", said)
    assert files_of(run / "checkpoints" / "last") == before
    assert list(run.rglob("*.partial")) == []
    assert train(2, "--resume").code == 0
    check_digests(run / "checkpoints" / "last", {*before} - {SUMS})


def half_written(part: Path) -> None:
    part.write_text("half")
    full()


def test_a_file_stays_as_it_was_where_its_successor_cant_be_written(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("before")
    said = r"a\.txt: can't be written \(No space left on device\)"
    with pytest.raises(UserError, match=said), whole_file(file) as part:
        half_written(part)
    with pytest.raises(UserError, match="No space left"), whole_files(tmp_path) as made:
        half_written(made / "a.txt")
    assert files_of(tmp_path) == {"a.txt": b"before"}


def test_what_a_killed_write_has_left_goes_with_the_next_one(tmp_path: Path) -> None:
    """And not what another process is writing, which holds its lock or is about to, nor a folder of one's own."""
    killed, other, new, mine = (
        tmp_path / name
        for name in (".zforcing-1.partial", ".zforcing-2.partial", ".zforcing-3.partial", ".mine.partial")
    )
    for place in (killed, other, new, mine):
        place.mkdir()
        (place / ".lock").touch()
        (place / "half.npz").write_text("half")
        if place != new:
            (place / ".held").touch()
    with FileLock(other / ".lock"), whole_files(tmp_path):
        pass
    assert set(tmp_path.iterdir()) == {other, new, mine}
    assert all((place / "half.npz").read_text() == "half" for place in (other, new, mine))


def test_training_leaves_what_another_process_writes_into_its_folder(train: Callable[..., Any], data: Path) -> None:
    assert train(1).code == 0
    with whole_file(data.parent / "run" / "report.html") as part:
        part.write_text("a page")
        assert train(2, "--resume").code == 0
    assert (data.parent / "run" / "report.html").read_text() == "a page"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be another user")
def test_what_another_user_is_writing_hinders_nobody() -> None:
    with TemporaryDirectory() as shared:
        folder = Path(shared)
        folder.chmod(0o1777)
        with whole_file(folder / "a.txt") as part:
            part.write_text("a")
            os.seteuid(65534)
            try:
                with whole_file(folder / "b.txt") as other:
                    other.write_text("b")
            finally:
                os.seteuid(0)
        assert files_of(folder) == {"a.txt": b"a", "b.txt": b"b"}


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_systems_without_locks_are_written_to(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", flock)
    with whole_file(tmp_path / "a.txt") as part, whole_files(tmp_path) as made:
        part.write_text("a")
        (made / "b.txt").write_text("b")
    assert files_of(tmp_path) == {"a.txt": b"a", "b.txt": b"b"}


def test_a_link_leads_to_the_new_file(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "real.txt").write_text("before")
    (tmp_path / "a.txt").symlink_to("there/real.txt")
    with whole_file(tmp_path / "a.txt") as part:
        part.write_text("after")
    assert (tmp_path / "a.txt").is_symlink()
    assert (tmp_path / "there" / "real.txt").read_text() == "after"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sample", "--num", 1], "run/samples: can't be made (Operation not permitted)"),
        (["score"], "run/scores: can't be made (Operation not permitted)"),
        (["forecast", "--steps", 1], "run/forecasts: can't be made (Operation not permitted)"),
        (["plot", "--out", "run/curves.png"], "run/curves.png: can't be written (Operation not permitted)"),
    ],
)
def test_a_run_folder_that_cant_be_written_is_named(
    words: list[object],
    said: str,
    train: Callable[..., Any],
    zf: Command,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(1)

    def refused(path: object, *_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))

    monkeypatch.chdir(data.parent)
    monkeypatch.setattr(Path, "mkdir", refused)
    monkeypatch.setattr("tempfile.mkdtemp", lambda *_: refused("run"))
    remedy = "; name another place, or make this one writable"
    assert zf(words[0], "run", *words[1:]).mistake == f"zforcing: {said}{remedy}"


def test_samples_are_whole_or_those_of_before(
    train: Callable[..., Any], zf: Command, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(1)
    words = ["sample", data.parent / "run", "--num", 2]
    assert zf(*words).code == 0
    before = files_of(data.parent / "run" / "samples")
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", full)
        assert "samples: can't be written to (No space left on device)" in zf(*words).mistake
        named = data.parent / "mine.npz"
        assert f"zforcing: {named}: can't be written to (No space" in zf(*words, "--out", named).mistake
    assert files_of(data.parent / "run" / "samples") == before


def test_numbers_are_kept_where_nobody_reads_them(
    train: Callable[..., Any], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(1)

    def gone(*_: object, **__: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("builtins.print", gone)
    assert main(["evaluate", str(data.parent / "run"), "--no-baselines", "--backend", "reference"]) == 0
    assert json.loads((data.parent / "run" / "evaluation-test-elbo.json").read_text())["split"] == "test"


# ---- streams


class Failing(io.StringIO):
    """A stream whose reader is gone, or whose disk is full."""

    def __init__(self, error: Exception):
        super().__init__()
        self.error, self.tried = error, 0

    def write(self, text: str) -> int:
        self.tried += 1
        raise self.error


@pytest.mark.parametrize(
    ("error", "tries"), [(BrokenPipeError(), 1), (OSError(errno.ENOSPC, "full"), 2), (RuntimeError("reentrant"), 2)]
)
def test_words_that_cant_be_written_are_dropped(error: Exception, tries: int) -> None:
    stream = Failing(error)
    unfailing_stream = unfailing(stream)
    for _ in range(2):
        unfailing_stream.write("words")
    assert stream.tried == tries
    print("words", file=unfailing(None))


def test_a_closed_stream_is_no_terminal() -> None:
    Console(file=unfailing(unfailing(None))).print("words")


def test_help_that_cant_be_written_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    assert main(["train", "digits-rnn", "--help"]) == 2
    assert "standard output, or a file beside it, can't be written" in capsys.readouterr().err


def test_training_goes_on_where_nobody_reads_its_progress(
    train: Callable[..., Any], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Failing(BrokenPipeError()))
    assert train(2).code == 0
    assert len((data.parent / "run" / "metrics.jsonl").read_text().splitlines()) > 2


@pytest.mark.parametrize(
    ("encoding", "errors"),
    [("cp1252", "strict"), ("ascii", "strict"), ("ascii", "surrogateescape"), ("utf-8", "strict")],
)
def test_letters_that_an_encoding_lacks_are_escaped(
    encoding: str, errors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding=encoding, errors=errors))
    monkeypatch.setattr("zforcing.cli.overview", lambda: "≥ ± \udcff")
    assert main([]) == 0
    assert content.getvalue().startswith(
        {"cp1252": b"\\u2265 \xb1", "ascii": b"\\u2265 \\xb1", "utf-8": b"\xe2\x89\xa5"}[encoding]
    )


# ---- signals


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 75), ("SIGUSR1", 75)])
def test_a_signal_saves_and_the_exit_code_says_who_asked(
    name: str, code: int, train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, number = EagerUpdate.over, getattr(signal, name)

    def over(self: EagerUpdate, *arguments: Any, **named: Any) -> Any:
        os.kill(os.getpid(), number)
        if number != signal.SIGINT:  # schedulers send several
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(EagerUpdate, "over", over)
        stopped = train(2)
    assert (stopped.code, stopped.out) == (code, "")
    assert "go on with: zforcing train" in stopped.err
    assert train(2, "--resume").code == 0


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Presses Ctrl-C, which is listened to also where the tests run behind nohup."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("made", [ImportError("KeyboardInterrupt: <EMPTY MESSAGE>"), UserError("can't import pandas")])
def test_what_packages_make_of_ctrl_c_is_still_ctrl_c(
    zf: Command, monkeypatch: pytest.MonkeyPatch, ctrl_c: Callable[[], None], made: Exception
) -> None:
    def interrupted() -> str:
        try:
            ctrl_c()
        except KeyboardInterrupt:
            raise made from None
        return ""

    monkeypatch.setattr("zforcing.cli.overview", interrupted)
    result = zf()
    assert (result.code, result.err) == (130, "zforcing: stopped\n")


def test_ctrl_c_that_something_drops_stops_training_before_it_starts(
    train: Callable[..., Any], data: Path, monkeypatch: pytest.MonkeyPatch, ctrl_c: Callable[[], None]
) -> None:
    original = train_command.read_settings

    def dropping(*words: Any, **options: Any) -> Any:
        with suppress(KeyboardInterrupt):
            ctrl_c()
        return original(*words, **options)

    monkeypatch.setattr(train_command, "read_settings", dropping)
    stopped = train(1)
    assert (stopped.code, stopped.out, stopped.err) == (130, "", "zforcing: stopped\n")
    assert not (data.parent / "run").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def working_after(first: Callable[[], object]) -> None:
    """Work that Ctrl-C ends, and a deadline."""
    deadline = time.monotonic() + 20
    with CtrlC():
        first()
        while time.monotonic() < deadline:
            pass


def test_ctrl_c_waits_for_the_end_of_an_import_or_to_be_pressed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctrl_c: Callable[[], None]
) -> None:
    """As torch, which imports NumPy from C, and goes on without it where that import raises anything."""
    (tmp_path / "imports_from_c.py").write_text("import os\nos.kill(os.getpid(), 2)\nwhole = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        working_after(lambda: import_module("imports_from_c"))
    assert sys.modules.pop("imports_from_c").whole
    (tmp_path / "pressed_twice.py").write_text("import os\nos.kill(os.getpid(), 2)\nos.kill(os.getpid(), 2)\n")
    with pytest.raises(KeyboardInterrupt):
        working_after(lambda: import_module("pressed_twice"))
    assert "pressed_twice" not in sys.modules


def test_ctrl_c_after_an_import_ends_a_wait_for_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctrl_c: Callable[[], None]
) -> None:
    (tmp_path / "presses.py").write_text("import os\nos.kill(os.getpid(), 2)\n")
    monkeypatch.syspath_prepend(tmp_path)
    read, write = os.pipe()
    later = threading.Timer(10, os.write, (write, b"."))
    later.start()
    with pytest.raises(KeyboardInterrupt), CtrlC():
        _ = import_module("presses"), os.read(read, 1)
    assert later.is_alive()
    later.cancel()
    os.close(read)
    os.close(write)
    del sys.modules["presses"]


def test_ctrl_c_in_a_block_within_an_import_doesnt_wait_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctrl_c: Callable[[], None]
) -> None:
    """As of a program that calls a command while it is imported."""
    (tmp_path / "commands.py").write_text(
        "import os\nfrom zforcing.runtime.ctrl_c import CtrlC\n"
        "with CtrlC():\n    os.kill(os.getpid(), 2)\n    raise AssertionError('it waited')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        import_module("commands")


def test_signals_that_another_language_listens_to_stay_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has no name for their handlers: None, which it can't set again."""
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(signal, "getsignal", lambda number: None)
        with stop_on([signal.SIGINT], say=print):
            patch.undo()
            assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_in_a_finalizer_comes_again_and_other_errors_are_told(
    monkeypatch: pytest.MonkeyPatch, ctrl_c: Callable[[], None]
) -> None:
    class Finalized:
        def __init__(self, last: Callable[[], object]) -> None:
            self.last = last

        def __del__(self) -> None:
            self.last()

    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    with pytest.raises(KeyboardInterrupt):
        working_after(lambda: (Finalized(lambda: 1 / 0), Finalized(ctrl_c)))
    assert [what.exc_type for what in told] == [ZeroDivisionError]
    assert sys.unraisablehook == told.append


def test_other_errors_than_ctrl_c_are_bugs() -> None:
    with CtrlC() as ctrl_c:
        assert not ctrl_c.came


# ---- as a person meets it


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    zforcing = f"{sys.executable} -m zforcing"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line.replace('zforcing', zforcing)}"],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
def test_a_pipe_that_closes_ends_nothing(data: Path) -> None:
    words = f"--data.path {data} --run-dir {data.parent}/run --training.epochs 2 {' '.join(SMALL)}"
    found = shell(f"zforcing train arrays-rnn {words} 2>&1 | head -1")
    assert found.returncode == 0
    assert found.stderr == ""
    assert json.loads((data.parent / "run/checkpoints/last/training.json").read_text())["finished"] == "epochs 2"
    for line in ("zforcing recipes | head -1", "zforcing recipes 2>&- >&-", "zforcing info nowhere 2>&-"):
        assert "Traceback" not in shell(line).stderr
    full_disk = shell("zforcing recipes > /dev/full")
    assert full_disk.returncode == 2
    assert (
        full_disk.stderr
        == "zforcing: standard output, or a file beside it, can't be written: No space left on device\n"
    )


@pytest.mark.slow
def test_ctrl_c_while_starting_leaves_no_traceback(data: Path) -> None:
    for tenth in range(0, 30, 3):
        line = [sys.executable, "-m", "zforcing", "train", "arrays-rnn", "--data.path", str(data), *SMALL]
        with subprocess.Popen(
            [*line, "--run-dir", str(data.parent / f"run{tenth}"), "--training.epochs", "300"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        ) as process:
            try:
                process.wait(0.15 + tenth / 10)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[1]
        assert "Traceback" not in said or "zforcing" not in said, (tenth, said)  # Python itself starts before
        assert process.returncode in (130, -signal.SIGINT), (tenth, process.returncode, said)
