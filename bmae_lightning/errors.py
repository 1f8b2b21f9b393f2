"""The one exception for a user's mistake; `__main__` prints it as a single line and exits with code 2."""


class BadInput(Exception):
    """Something the user gave (file, line, config key) cannot be used.

    The message is one sentence that names the file, line or config key, says what is wrong and what to do about it.
    """
