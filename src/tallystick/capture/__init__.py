"""From plain PyTorch to a program.

``capture_training`` traces a whole training step and lowers it, ``capture_program`` any step from state to state.
Importing this package does not import PyTorch: the optimizers that a job is described with and the ways to choose
tokens do not need it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tallystick.capture.extra import TorchExtra

if TYPE_CHECKING:
    from tallystick.capture.sampling_rules import Greedy, Sample
    from tallystick.capture.steps.program import capture_program
    from tallystick.capture.training import capture_training

_HOME = {
    "Greedy": "sampling_rules",
    "Sample": "sampling_rules",
    "capture_program": "steps.program",
    "capture_training": "training",
}

__all__ = ["Greedy", "Sample", "capture_program", "capture_training"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with TorchExtra():
        module = import_module(f"tallystick.capture.{_HOME[name]}")
    return getattr(module, name)
