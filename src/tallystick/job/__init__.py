"""Jobs on one machine: run, resume, sign, verify."""

from tallystick.job.generation import GenerationJob, GenerationRun
from tallystick.job.job import Job
from tallystick.job.manifest import Manifest
from tallystick.job.preprocessing import PreprocessingJob
from tallystick.job.progress import Progress
from tallystick.job.receipt import Receipt, load_receipt
from tallystick.job.report import Finding, VerificationReport
from tallystick.job.run import Run
from tallystick.job.signing import SigningKey, signing_key
from tallystick.job.training import TrainingJob
from tallystick.job.verification import verify

__all__ = [
    "Finding",
    "GenerationJob",
    "GenerationRun",
    "Job",
    "Manifest",
    "PreprocessingJob",
    "Progress",
    "Receipt",
    "Run",
    "SigningKey",
    "TrainingJob",
    "VerificationReport",
    "load_receipt",
    "signing_key",
    "verify",
]
