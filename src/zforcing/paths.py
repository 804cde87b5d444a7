"""Names of files as users write them."""

from __future__ import annotations

from pathlib import Path

from .errors import UserError


def user_path(name: str, source: str) -> Path:
    """The path, ~ being the user's home. `source` is what a message calls it.

    Raises UserError about the home of a user that there isn't.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError as error:  # all that pathlib says of a home that it can't find
        raise UserError(
            f"{source}: has no home folder for {name.split('/')[0]}; write ./{name} if it is a name"
        ) from error
