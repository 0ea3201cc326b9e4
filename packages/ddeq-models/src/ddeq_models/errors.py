"""What a user can put right: one sentence each, and the exit code the command ends with."""

from collections.abc import Sequence


class UserError(ValueError):
    """A problem that the user can put right; its text is one sentence with a remedy.

    The command line prints the text alone, without a traceback, and ends with `exit_code`.
    """

    exit_code = 2

    @property
    def lines(self) -> tuple[str, ...]:
        """The text line by line: a line end within a name is none of these."""
        return (str(self),)


class SeveralProblems(UserError):
    """More than one file is bad.

    Args:
        summary: What is the matter.
        problems: A sentence for each file.
    """

    def __init__(self, summary: str, problems: Sequence[str]) -> None:
        super().__init__("\n  ".join([summary, *problems]))
        self._lines = (summary, *problems)

    @property
    def lines(self) -> tuple[str, ...]:
        """See `UserError.lines`."""
        return self._lines


class Diverged(UserError):
    """Training met a loss that is not finite."""

    exit_code = 1


class Interrupted(UserError):
    """Training was stopped by a signal: Ctrl-C, or SIGTERM.

    Args:
        message: The sentence.
        code: Exit code: 128 and the signal's number.
    """

    exit_code = 130

    def __init__(self, message: str, code: int = exit_code) -> None:
        super().__init__(message)
        self.exit_code = code
