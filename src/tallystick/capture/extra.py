"""What only those who capture have to install."""

from __future__ import annotations

from types import TracebackType

from tallystick.errors import UsageError


class TorchExtra:
    """A block of imports that says how to install PyTorch if it is not there."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            raise UsageError(
                "Capturing needs PyTorch, which is not installed: pip install 'tallystick[torch]'"
            ) from error
