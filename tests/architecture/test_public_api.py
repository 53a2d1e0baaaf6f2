"""The public names are an interface, and importing them is cheap until they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tallystick as ts

NAMES = [
    "CaptureError",
    "Captured",
    "DecodingError",
    "Engine",
    "IntegrityError",
    "Job",
    "JobError",
    "Manifest",
    "ProgramError",
    "Progress",
    "ProtocolError",
    "Receipt",
    "ReceiptError",
    "ResourceError",
    "Run",
    "TallystickError",
    "Target",
    "TrainingJob",
    "UsageError",
    "VerificationFailed",
    "VerificationReport",
    "capture_training",
    "load_receipt",
    "optim",
    "verify",
]
OPTIM_NAMES = {"SGD", "Adam", "AdamW", "Optimizer", "Schedule", "warmup_cosine", "warmup_linear"}


def test_public_names_are_the_agreed_ones() -> None:
    assert ts.__all__ == NAMES
    assert set(ts.optim.__all__) == OPTIM_NAMES
    for name in NAMES:
        assert getattr(ts, name) is getattr(ts, name)
    assert set(NAMES) <= set(dir(ts))
    assert ts.__version__.count(".") >= 1
    with pytest.raises(AttributeError, match="no attribute 'trainingjob'"):
        _ = ts.trainingjob


def modules_after(code: str) -> set[str]:
    """The top-level modules a fresh interpreter has loaded after some code."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_loads_nothing() -> None:
    assert modules_after("import tallystick") & {"numpy", "pydantic", "torch", "llvmlite", "eth_account"} == set()


@pytest.mark.parametrize("code", ["from tallystick import verify, Run, load_receipt", "import tallystick.job"])
def test_who_only_reads_receipts_needs_no_compiler_and_no_torch(code: str) -> None:
    assert modules_after(code) & {"torch", "llvmlite", "eth_account"} == set()


def test_describing_a_job_needs_no_torch() -> None:
    code = "import tallystick as ts; ts.TrainingJob; ts.optim.AdamW(lr=1e-3); ts.Engine"
    assert "torch" not in modules_after(code)
