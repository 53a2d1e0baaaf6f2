"""Exit codes, and which error has which.

0     done
1     verification failed: a receipt, a file or a result is not what it claims to be
2     not done: wrong arguments, a job that does not fit, user code that raises, no disk space, no chain
3     a bug in Tallystick; the traceback is printed
130   interrupted
141   the reader of standard output went away
"""

from __future__ import annotations

from tallystick.errors import ChainError, ProtocolError, UsageError

DONE = 0
NOT_VERIFIED = 1
NOT_DONE = 2
BUG = 3
INTERRUPTED = 130
NO_READER = 141


def exit_code(error: BaseException) -> int:
    """The exit code that tells a script what an error means."""
    if isinstance(error, ChainError):
        return NOT_DONE
    if isinstance(error, ProtocolError):
        return NOT_VERIFIED
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return NO_READER
    if isinstance(error, UsageError | OSError):
        return NOT_DONE
    return BUG
