"""What a person who uses mien can mend."""


class UserError(ValueError):
    """Wrong data, configuration or state: its message is one sentence that says what would be right.

    Stages and commands print it and exit with 1, without a traceback.
    """
