"""The file of metrics that a run writes, metrics.jsonl."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...files.paths import refuse_special
from ...saving.atomic import read_json, sync, write_text


class JsonLines:
    """A file with a JSON object on each line. A resumed run first drops the rows written after its checkpoint."""

    def __init__(self, path: Path):
        self.path = path

    def append(self, row: dict[str, Any]) -> None:
        """Append a row; a number that is not finite becomes a string, since JSON has no such numbers."""
        values = {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def sync(self) -> None:
        """Wait until the rows are on the disk."""
        if self.path.exists():
            sync(self.path)

    def digest(self, rows: int) -> str:
        """The SHA-256 digest of the first `rows` rows, in hexadecimal digits."""
        refuse_special(self.path, str(self.path))
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        return hashlib.sha256(b"".join(lines[:rows])).hexdigest()

    def truncate(self, step: int, rows: int) -> None:
        """Keep the first `rows` rows, and none past `step`. Raises UserError where a line is no such row."""
        if not self.path.exists():
            return
        refuse_special(self.path, str(self.path))
        try:
            first = self.path.read_text("utf-8").splitlines()[:rows]
            lines = [line for line in first if json.loads(line)["step"] <= step]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.path} is damaged ({error!r}): correct or remove it, then --resume again") from None
        write_text(self.path, "".join(line + "\n" for line in lines))


def other_rows(folder: Path, checkpoint: Path) -> list[Path]:
    """The files of a run's rows that lack some of before a checkpoint of it, or have others."""
    values = read_json(checkpoint / "training.json")
    digests, rows = values.get("rows_sha256"), values.get("rows")
    if not isinstance(digests, dict) or not isinstance(rows, int):
        return []  # of before there were digests
    return [folder / name for name, digest in digests.items() if JsonLines(folder / name).digest(rows) != digest]
