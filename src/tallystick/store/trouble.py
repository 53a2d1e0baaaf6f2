"""What the operating system's refusals mean to the person who asked."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tallystick.errors import JobError, ResourceError, UsageError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def explain(error: OSError, action: str, path: Path) -> UsageError:
    """The sentence for one refusal; ``action`` is "write" or "read"."""
    if error.errno in FULL:
        return ResourceError(
            f"the disk is full: could not write {path} ({error.strerror}). Free some space, or keep fewer states, and "
            "run again; everything finished so far is still there."
        )
    if error.errno in FORBIDDEN and action == "write":
        return JobError(f"cannot write {path} ({error.strerror}). Choose a folder you may write to.")
    return JobError(f"cannot {action} {path}: {error.strerror or error}.")


@contextmanager
def explained(action: str, path: Path) -> Iterator[None]:
    """Turn an OSError of the body into a UsageError that says what to do."""
    try:
        yield
    except OSError as error:
        raise explain(error, action, path) from error
