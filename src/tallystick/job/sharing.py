"""Files that two run folders hold once, where the file system can: weights, states and data are large."""

from __future__ import annotations

import shutil

from tallystick.errors import JobError
from tallystick.job.folder import RunFolder
from tallystick.job.manifest import Manifest
from tallystick.store.trouble import explained

DEEPEST = 32  # folders in folders, against one that leads back to itself
FILES = ("program", "sources", "model", "receipt", "manifest")  # the manifest last: it says that the others are there


def share_run(source: RunFolder, target: RunFolder, deepest: int = DEEPEST) -> None:
    """Make a folder hold the same run as another, with the runs that it goes on from; what is there already stays.

    Files of a run are never written to after they have their name, so the two may share them; the journal is not one of
    those, and copied. Raises: JobError, ResourceError.
    """
    if not deepest:
        raise JobError(f"{source.path} lies more than {DEEPEST} runs deep")
    with explained("write", target.path):
        target.path.mkdir(parents=True, exist_ok=True)
    target.create()
    source.constants.share(source.constants.digests(), target.constants, copied=True)
    source.states.share(source.states.digests(), target.states, copied=True)
    manifest = source.read_manifest()
    if manifest is not None and goes_on(manifest, source):
        share_run(RunFolder(source.before), RunFolder(target.before), deepest - 1)
    with explained("write", target.path):
        if source.journal.path.is_file():
            shutil.copyfile(source.journal.path, target.journal.path)
    for name in FILES:
        source.share_file(name, target)


def goes_on(manifest: Manifest, folder: RunFolder) -> bool:
    """Whether a run goes on from another, which is there."""
    return manifest.after is not None and folder.before.is_dir()
