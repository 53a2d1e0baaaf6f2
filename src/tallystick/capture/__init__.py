"""From plain PyTorch to a program.

``capture_training`` traces a whole training step and lowers it. Importing this package does not import PyTorch: the
optimizers that a job is described with (``tallystick.capture.optim``) do not need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tallystick.capture.training import capture_training

__all__ = ["capture_training"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tallystick.capture import training

    return getattr(training, name)
