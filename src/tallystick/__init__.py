"""Machine learning on computers you do not trust, with every float accountable.

    import tallystick as ts

    job = ts.TrainingJob(model=..., loss=..., optimizer=ts.optim.AdamW(lr=3e-4), data={...}, batch_size=64, steps=2000)
    run = job.run("runs/mine")
    ts.verify("runs/mine/receipt.json", sample=0.05)

Names are imported when they are first used, so that importing the package is quick, and checking a receipt needs
neither PyTorch nor, until it re-runs something, a compiler.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from tallystick.capture import Greedy, Sample, capture_program, capture_training, optim, preprocess
    from tallystick.capture.storage import Storage
    from tallystick.engine import Engine, Target
    from tallystick.errors import (
        CaptureError,
        DecodingError,
        IntegrityError,
        JobError,
        ProgramError,
        ProtocolError,
        ReceiptError,
        ResourceError,
        TallystickError,
        UsageError,
        VerificationFailed,
    )
    from tallystick.ir.captured import Captured
    from tallystick.job import (
        GenerationJob,
        GenerationRun,
        Job,
        Manifest,
        PreprocessingJob,
        Progress,
        Receipt,
        Run,
        TrainingJob,
        VerificationReport,
        load_receipt,
        verify,
    )

_HOMES = {
    "tallystick.capture": ("Greedy", "Sample", "capture_program", "capture_training"),
    "tallystick.capture.storage": ("Storage",),
    "tallystick.engine": ("Engine", "Target"),
    "tallystick.errors": (
        "CaptureError",
        "DecodingError",
        "IntegrityError",
        "JobError",
        "ProgramError",
        "ProtocolError",
        "ReceiptError",
        "ResourceError",
        "TallystickError",
        "UsageError",
        "VerificationFailed",
    ),
    "tallystick.ir.captured": ("Captured",),
    "tallystick.job": (
        "GenerationJob",
        "GenerationRun",
        "Job",
        "Manifest",
        "PreprocessingJob",
        "Progress",
        "Receipt",
        "Run",
        "TrainingJob",
        "VerificationReport",
        "load_receipt",
        "verify",
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "CaptureError",
    "Captured",
    "DecodingError",
    "Engine",
    "GenerationJob",
    "GenerationRun",
    "Greedy",
    "IntegrityError",
    "Job",
    "JobError",
    "Manifest",
    "PreprocessingJob",
    "ProgramError",
    "Progress",
    "ProtocolError",
    "Receipt",
    "ReceiptError",
    "ResourceError",
    "Run",
    "Sample",
    "Storage",
    "TallystickError",
    "Target",
    "TrainingJob",
    "UsageError",
    "VerificationFailed",
    "VerificationReport",
    "capture_program",
    "capture_training",
    "load_receipt",
    "optim",
    "preprocess",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name in ("optim", "preprocess"):
        value: Any = import_module(f"tallystick.capture.{name}")
    elif name == "__version__":
        value = import_module("importlib.metadata").version("tallystick")
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module 'tallystick' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
