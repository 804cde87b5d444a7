"""The exception for mistakes of the user, and the warning about results."""

from __future__ import annotations


class UserError(ValueError):
    """An input (setting, file, argument) is wrong. The message is one line: what is wrong, where, and what to do.

    The command line prints the message and exits with code 2. Any other exception is a bug in zforcing and keeps its
    traceback.
    """


class ResultWarning(RuntimeWarning):
    """A result is doubtful. The text is its `remark` too: who prints that ignores the warning."""
