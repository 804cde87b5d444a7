"""Run the tutorials, examples/*.ipynb, at full size, and keep what they print and draw: `make notebooks`.

python tools/notebooks.py [examples/known_likelihood.ipynb ...]

Each runs in a temporary folder with one thread and is written in place. What differs from run to run (times, progress,
versions, messages on stderr) isn't kept, so that a second run changes little. tests/test_notebooks.py runs the same
cells at the small size that a notebook's metadata gives, `zforcing.small`, in place of those tagged `parameters`.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "examples"
PROGRESS = re.compile(r"epoch +\d+  .*\n|(?<= updates), [\d:]+(?=\n|, \d)")  # lines of a training, and its time
ABSOLUTE = re.compile(r"(?:/home|/root|/tmp|/Users|/private|/var|[A-Z]:\\\\)[/\\]?[\w.-]*")
FAILED = re.compile(r"^(zforcing|zforcing \(process \d+\)): |^Traceback ", flags=re.MULTILINE)  # commands that failed
MOST_BYTES = 300_000
MINUTES = 20  # of a cell, on a busy machine
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}  # which knows lines that begin with !


def read(path: Path) -> dict[str, Any]:
    """A notebook as JSON."""
    notebook: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return notebook


def write(path: Path, notebook: dict[str, Any]) -> None:
    """A notebook as Jupyter writes it: keys in order, one space a level."""
    path.write_text(json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """Its cells of code, in order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def text(lines: str | list[str]) -> str:
    """What nbformat keeps as one text or as a list of lines."""
    return lines if isinstance(lines, str) else "".join(lines)


def tags(cell: dict[str, Any]) -> list[str]:
    """`parameters`: sizes, which tests replace; `jupyter`: shows something and needs IPython."""
    found: list[str] = cell["metadata"].get("tags", [])
    return found


def tidy(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook without what differs from run to run."""
    kept = {"kernelspec": KERNEL, "language_info": LANGUAGE}
    kept |= {"zforcing": notebook["metadata"]["zforcing"]} if "zforcing" in notebook["metadata"] else {}
    return notebook | {"metadata": kept, "cells": [_tidy_cell(cell) for cell in notebook["cells"]]}


def _tidy_cell(cell: dict[str, Any]) -> dict[str, Any]:
    cell = cell | {"metadata": {"tags": tags(cell)} if tags(cell) else {}}
    cell["source"] = text(cell["source"]).splitlines(keepends=True)
    if cell["cell_type"] == "code":
        cell["outputs"] = [_tidy_output(output) for output in _joined(cell["outputs"]) if _is_kept(output)]
    return cell


def _joined(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was printed in several parts as one output, without lines of progress and without stderr."""
    joined: list[dict[str, Any]] = []
    for output in (output for output in outputs if output.get("name") != "stderr"):
        if "text" in output and joined and "text" in joined[-1]:
            joined[-1] = output | {"text": text(joined[-1]["text"]) + text(output["text"])}
        else:
            joined.append(output)
    return joined


def _is_kept(output: dict[str, Any]) -> bool:
    return "text" not in output or bool(_printed(output).strip())


def _printed(output: dict[str, Any]) -> str:
    return PROGRESS.sub("", text(output["text"]).replace("\r\n", "\n"))


def _tidy_output(output: dict[str, Any]) -> dict[str, Any]:
    if "text" in output:
        return output | {"text": _printed(output).splitlines(keepends=True)}
    if "data" in output:
        data = {kind: _lines(kind, value) for kind, value in output["data"].items()}
        return output | {"data": data, "metadata": {}}
    return output


def _lines(kind: str, value: str | list[str]) -> str | list[str]:
    return text(value).splitlines(keepends=True) if kind.startswith("text/") else text(value).rstrip("\n")


def messages(notebook: dict[str, Any]) -> str:
    """What its cells wrote to stderr."""
    outputs = [output for cell in code_cells(notebook) for output in cell["outputs"]]
    return "".join(text(output["text"]) for output in outputs if output.get("name") == "stderr")


def faults(path: Path) -> list[str]:
    """What is wrong with a notebook as it is kept; none if it was run whole and can be shown."""
    notebook = read(path)
    counts = [cell["execution_count"] for cell in code_cells(notebook)]
    kinds = {output["output_type"] for cell in code_cells(notebook) for output in cell["outputs"]}
    found = [] if counts == list(range(1, len(counts) + 1)) else ["its cells weren't run in order, once each"]
    found += ["it holds an error"] if "error" in kinds else []
    found += ["a command of it failed"] if any(FAILED.search(part) for part in _shown(notebook)) else []
    found += [f"it names a path of one machine, {where}" for where in _machine_paths(notebook)]
    found += ["it holds what differs from run to run"] if tidy(notebook) != notebook else []
    size = path.stat().st_size
    return found + ([f"it has {size} bytes, more than {MOST_BYTES}"] if size > MOST_BYTES else [])


def _machine_paths(notebook: dict[str, Any]) -> list[str]:
    written = [text(cell["source"]) for cell in notebook["cells"]]
    return [found.group() for part in written + _shown(notebook) for found in ABSOLUTE.finditer(part)]


def _shown(notebook: dict[str, Any]) -> list[str]:
    """The texts that its cells printed or returned."""
    outputs = [output for cell in code_cells(notebook) for output in cell["outputs"]]
    returned = [text(output.get("data", {}).get("text/plain", "")) for output in outputs]
    return returned + [text(output.get("text", "")) for output in outputs]


def execute(path: Path) -> None:
    """Run one in a folder of its own, and keep what it shows."""
    import nbformat
    from nbclient import NotebookClient
    from traitlets.config import Config

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        sockets = Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/.kernel"}})  # files, not ports
        client = NotebookClient(
            notebook, timeout=60 * MINUTES, resources=resources, record_timing=False, config=sockets
        )
        client.execute(env=_environment(folder))
    print(messages(notebook), end="", file=sys.stderr)
    write(path, tidy(json.loads(json.dumps(notebook))))


def _environment(folder: str) -> dict[str, str]:
    """One thread, no bar of progress, `zforcing` of this Python, and nothing of the user's own settings."""
    commands = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    own = {"IPYTHONDIR": f"{folder}/.ipython", "OMP_NUM_THREADS": "1", "TTY_COMPATIBLE": "0", "PATH": commands}
    return dict(os.environ) | own | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def main(paths: list[Path]) -> int:
    """Run them, all without arguments; 1 if one has a fault."""
    found = []
    for path in paths or sorted(FOLDER.glob("*.ipynb")):
        begin = time.perf_counter()
        execute(path)
        found += [f"{path.name}: {fault}" for fault in faults(path)]
        print(f"{path.name}: {time.perf_counter() - begin:.0f} s, {path.stat().st_size // 1000} kB", flush=True)
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
