"""What only those who use a chain have to install."""

from __future__ import annotations

from types import TracebackType

from tallystick.errors import UsageError


class ChainExtra:
    """A block of imports that says how to install what it does not find."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("tallystick"):
            package = error.name.partition(".")[0]
            raise UsageError(
                f"Contracts and chains need {package}, which is not installed: pip install 'tallystick[chain]'"
            ) from error
