"""The state that says in which step something was wrong first; see ``watching.checks``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tallystick.capture.inputs import Input, Role, from_array
from tallystick.capture.tracing.provenance import SourceRecorder
from tallystick.capture.watching.checks import Check

LONGEST = 190  # characters of a slot's name


def check_names(checks: Sequence[Check]) -> list[str]:
    """A name for each check that no other has: its line, and a number where a line has several."""
    names: list[str] = []
    for check in checks:
        name = "".join(c if c.isprintable() else " " for c in check.name.replace("\n", " "))[:LONGEST]
        number, unique = 1, name
        while unique in names:
            number += 1
            unique = f"{name} ({number})"
        names.append(unique)
    return names


def check_input(name: str) -> Input:
    """The slot of a check: 0, or 1 + the first step in which something was wrong. Shape (1,), int32."""
    return from_array(name, Role.STATE, np.zeros(1, np.int32))


def noted(bad: Sequence[Tensor], before: Sequence[Tensor], step: Tensor) -> list[Tensor]:
    """The slots after a step. Shapes: ``bad`` (), ``before`` and ``step`` (1,)."""
    after = []
    recorder = SourceRecorder(noted.__code__)
    with recorder, recorder.section("check: first step in which it failed"):
        for truth, slot in zip(bad, before, strict=True):
            now = torch.where(truth, step + 1, torch.zeros_like(step)).to(slot.dtype)
            after.append(torch.where(slot == 0, now, slot))
    return after
