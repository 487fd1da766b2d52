"""What a user can cause, as one exception type, and what they may have meant."""

import difflib
from collections.abc import Iterable


class InvalidInput(ValueError):
    """A value, a file or a combination of settings that the user must change.

    The message is one line: the rule, the value, the way out. The command line prints it and
    exits with code 2.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the closest known name, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
