"""The one exception for mistakes that the user can mend."""

from __future__ import annotations


class UserError(ValueError):
    """Something that was given is wrong; the message is one line that says what, where, and what to do.

    The command line prints the message and exits with code 2. Every other exception is a defect of ours
    and keeps its traceback.
    """
