"""Write the index of options and settings that help and typos are answered from (`zforcing.cli.index`)."""

from __future__ import annotations

from pathlib import Path

from zforcing.cli import index

if __name__ == "__main__":
    path = Path(index.__file__).with_name(index.FILE)
    path.write_text(index.index_text(index.made_index()), "utf-8")
    print(path)
