"""The package's face: which names there are, and that looking at them costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tallystick
import tallystick.job

PUBLIC = {
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
}


def test_public_names_are_the_agreed_ones() -> None:
    assert set(tallystick.__all__) == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_public_names_exist_and_are_documented(name: str) -> None:
    value = getattr(tallystick, name)
    assert value.__doc__


def modules_loaded_by(statements: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after these statements."""
    program = f"{statements}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not modules_loaded_by("import tallystick") & {"torch", "numpy", "llvmlite", "pydantic", "rich", "typer"}


def test_verifying_loads_no_torch() -> None:
    """A worker or auditor installs without torch."""
    statements = "import tallystick as ts; ts.verify, ts.Job, ts.Run, ts.Engine, ts.load_receipt, ts.optim"
    assert "torch" not in modules_loaded_by(statements)
