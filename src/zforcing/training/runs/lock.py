"""One process, or one group of them, trains in a run's folder at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ...errors import UserError

LOCK = ".lock"
BEGINNING = (LOCK, "config.yaml.partial")


class Held(UserError):
    """Another process trains in a run's folder."""


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but a lock, or the start of a first file: of a run that is about to begin, or was
    killed then.
    """
    return folder.is_dir() and all(file.name in BEGINNING for file in folder.iterdir())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder, if it isn't there, and hold it; the system lets go of it when the process ends, however it does.

    Raises:
        Held: Another process holds it.
        UserError: It can't be written.
    """
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK).acquire(blocking=False)
    except Timeout:
        raise Held(f"another process trains in {folder}: wait for it, or name another --run-dir") from None
    except OSError as error:
        raise UserError(f"can't write into {folder}: {error.strerror}; name another --run-dir") from None
    with lock:
        try:
            yield
        finally:
            with suppress(OSError):  # of a folder that may only be read meanwhile
                (folder / LOCK).unlink(missing_ok=True)  # whoever has opened it sees that it is gone, and makes another
            with suppress(OSError):  # of a run that wrote nothing; a folder that holds something stays
                for place in new:
                    place.rmdir()
