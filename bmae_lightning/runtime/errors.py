"""What a run can end with apart from success; `__main__` turns each into one line and an exit code."""

import traceback


class BadInput(Exception):
    """Something the user gave (file, line, config key) cannot be used; exit code 2.

    The message is one sentence that names the file, line or config key, says what is wrong and what to do about it.
    """


class Told(BadInput):
    """A mistake that a child process has printed: the message is empty, `line` is what it printed."""

    def __init__(self, line: str) -> None:
        super().__init__("")
        self.line = line


class Absent(BadInput):
    """A checkpoint that is not on this machine, where downloads are turned off."""


class Interrupted(Exception):
    """The run was asked to stop (SIGTERM), has saved its state and continues when started again; exit code 75."""


class JobFailed(Exception):
    """A job of a sweep has failed or did not start, which was told: its reason and exit code.

    Whatever was raised in the job, this can be handed from process to process.
    """


def one_line(error: BaseException) -> str:
    """The kind of an error and its message."""
    return " ".join("".join(traceback.format_exception_only(error)).split())


EXIT_FAILED, EXIT_BAD_INPUT, EXIT_STOPPED = 1, 2, 130
EXIT_RESUME = 75
