"""Resuming from the start that a run folder holds, where the job as it is described now would start elsewhere.

Weights are drawn at random when a model is built. Whoever does not seed them builds another model every time, and even
with a seed the draws of PyTorch may differ from one processor to another: so a start is carried, never made again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from tallystick.errors import JobError, ProtocolError
from tallystick.job.folder import RunFolder
from tallystick.job.manifest import Manifest
from tallystick.job.model_file import PREFIX

if TYPE_CHECKING:
    from tallystick.job.job import Job

Resume = bool | Literal["stored"]
STORED: Literal["stored"] = "stored"


def check_resume(resume: Any) -> Resume:
    """Raises: JobError unless it is one of the three."""
    if not isinstance(resume, bool) and resume != STORED:
        raise JobError(
            f"resume={resume!r}: give True to go on with what the folder holds, False to start anew in it, or 'stored' "
            "to go on from the weights that are stored there, whatever the model has now"
        )
    return resume


def differs_in_start_alone(mine: Manifest, theirs: Manifest) -> bool:
    """Whether two jobs are one but for where they start: the state, and the weights that are not trained."""
    if mine == theirs or len(mine.constants) != len(theirs.constants):
        return False
    pairs = zip(mine.constants, theirs.constants, strict=True)
    if any(a != b and not (a.name.startswith(PREFIX) and (a.name, a.type) == (b.name, b.type)) for a, b in pairs):
        return False
    started = {"start_root": theirs.start_root, "constants_root": theirs.constants_root, "constants": theirs.constants}
    return mine.model_copy(update=started) == theirs


def from_stored_start(job: Job, folder: RunFolder) -> Job:
    """The job that the folder holds, if it is this one but for where it starts; else the job itself.

    Raises: ProtocolError if it is, and its files are damaged.
    """
    from tallystick.job.opening import open_job

    try:
        existing = folder.read_manifest()
    except ProtocolError:
        return job  # whoever reads it next says what is wrong
    if existing is None or not differs_in_start_alone(job.manifest, existing):
        return job
    return open_job(folder.path)


def another_start(path: object) -> str:
    """What to say to somebody whose job starts elsewhere than the run in the folder."""
    return (
        f"{path} holds this job with another start: the model has other weights now. If nothing was changed, the model "
        "is not seeded: call torch.manual_seed(0) before it is built (another kind of processor may draw other numbers "
        "all the same). To go on from the weights that are stored in the folder: resume='stored' (tally run "
        "--resume-stored)"
    )
