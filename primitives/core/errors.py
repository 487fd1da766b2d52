"""What a user can cause, as one exception type."""


class InvalidInput(ValueError):
    """A value, a file or a combination of settings that the user must change.

    The message is one line: the rule, the value, the way out. The command line prints it and
    exits with code 2.
    """
