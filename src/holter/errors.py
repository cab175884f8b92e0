"""
The errors that set-up calls raise.

    HolterError
    ├── ConfigurationError    (also a ValueError)    an argument that cannot work
    ├── MissingExtraError     (also an ImportError)  an optional package is not installed
    ├── RecordingError        (also a ValueError)    a file that cannot be read as a recording
    │   └── NewerFormatError                         one that a newer holter has written
    └── RecordingUnavailable  (also an OSError)      no file for a recording; the monitor goes on without

Nothing here is ever raised on the hot path, where trouble is counted instead.
"""

from __future__ import annotations


class HolterError(Exception):
    """
    What every error of holter can be caught as.

    >>> import holter
    >>> try:
    ...     holter.start("sentiment", interval_seconds=-1)
    ... except holter.HolterError as error:
    ...     print(type(error).__name__)
    ConfigurationError
    """


class ConfigurationError(HolterError, ValueError):
    """
    An argument that cannot work: says what was expected, what came and what to do.

    >>> import holter
    >>> holter.watch(42)
    Traceback (most recent call last):
        ...
    holter.errors.ConfigurationError: ...
    """


class MissingExtraError(HolterError, ImportError):
    """
    An optional package that is not installed: names the line that installs it.

    >>> print(MissingExtraError("rich", "console"))
    rich is not installed; install it with: pip install 'holter[console]'
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; install it with: pip install 'holter[{extra}]'")


class RecordingError(HolterError, ValueError):
    """
    A file that cannot be read as a recording: says what it is instead, or which holter wrote it.

    >>> import holter, pathlib
    >>> size = pathlib.Path("notes.holter").write_text("buy milk")
    >>> holter.read_recording("notes.holter")
    Traceback (most recent call last):
        ...
    holter.errors.RecordingError: notes.holter is no recording of holter: it does not begin as one
    """


class NewerFormatError(RecordingError):
    """A recording of a format that this holter does not know, because a newer one wrote it."""


class RecordingUnavailable(HolterError, OSError):  # noqa: N818 - it is an answer, which the monitor takes
    """No file can be had for a recording: says why."""
