"""Groups of parameters with an optimizer of their own, and phases of a step with a loss of their own.

With one loss, all groups are updated by their optimizers from one backward pass. With a loss for every group, as in
adversarial training, a step has a phase for each, in order: loss, backward pass, update; a later phase sees what the
earlier ones have updated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from tallystick.capture.optimizers.optimizer import Optimizer
from tallystick.capture.steps.loss import RESERVED, Loss, require_signature
from tallystick.capture.steps.update import Update
from tallystick.errors import CaptureError

REST = ("", "*")  # keys of a group that takes what no other does
Optimizers = Optimizer | Mapping[str, Optimizer]
Losses = Loss | Mapping[str, Loss]


@dataclass(frozen=True)
class Phase:
    """A loss, and the updates that follow its backward pass. ``name`` is "" where the step has only one."""

    name: str
    loss: Loss
    updates: tuple[Update, ...]

    @property
    def keys(self) -> list[str]:
        """The parameters that are updated."""
        return [key for update in self.updates for key in update.names]


def require_kinds(optimizer: object, loss: object) -> None:
    """Raises: CaptureError unless these are an optimizer or several by name, and a loss or several with these names."""
    for one in optimizer.values() if isinstance(optimizer, Mapping) else [optimizer]:
        if not isinstance(one, Optimizer):
            raise CaptureError(
                f"the optimizer is a {type(one).__name__}: describe it with ts.optim, such as "
                "ts.optim.AdamW(lr=3e-4), or "
                'several by the names of their parameters: {"generator": ts.optim.Adam(...), "critic": ...}'
            )
    if isinstance(optimizer, Mapping) and not optimizer:
        raise CaptureError("there is no optimizer: name at least one group of parameters")
    if not isinstance(loss, Mapping):
        return
    if not isinstance(optimizer, Mapping):
        raise CaptureError("there are several losses, and one optimizer: give optimizer={...} with the same names")
    if "" in loss:
        raise CaptureError('a phase needs a name: call the group of the other parameters "*"')
    if list(loss) != list(optimizer):
        raise CaptureError(
            f"the losses are called {', '.join(map(repr, loss))}, and the optimizers "
            f"{', '.join(map(repr, optimizer))}: the phases of a step are the optimizers' groups, with the same "
            "names in the same order"
        )


def group_parameters(names: Sequence[str], keys: Sequence[str]) -> dict[str, list[str]]:
    """Which parameters belong to which group: that with the longest name that is theirs, or begins theirs at a dot.

    Raises: CaptureError for a parameter without a group, and a group without parameters.
    """
    groups: dict[str, list[str]] = {name: [] for name in names}
    for key in keys:
        fitting = [name for name in names if name in REST or key == name or key.startswith(f"{name}.")]
        if not fitting:
            raise CaptureError(
                f"{key} is trained, and no optimizer is for it: there are {', '.join(map(repr, names))}. Name a "
                "group that "
                f'it begins with, such as {key.split(".")[0]!r}, or "*" for the rest; or freeze it'
            )
        groups[max(fitting, key=lambda name: 0 if name in REST else len(name) + 1)].append(key)
    for name, members in groups.items():
        if not members:
            raise CaptureError(
                f"no trained parameter is called {name!r} or {name}.*: the groups are the beginnings of names such as "
                f"{', '.join(list(keys)[:3])}"
            )
    return groups


def make_phases(
    optimizer: Optimizers,
    loss: Losses,
    parameters: Mapping[str, Tensor],
    make_update: Callable[[Optimizer, dict[str, Tensor], str, int], Update],
) -> list[Phase]:
    """The phases of a step. ``make_update(optimizer, parameters, prefix of its tables, number of its group)``."""
    if not isinstance(optimizer, Mapping):
        assert not isinstance(loss, Mapping), "checked before"
        return [Phase("", loss, (make_update(optimizer, dict(parameters), "", 0),))]
    groups = group_parameters(list(optimizer), list(parameters))
    updates = {
        name: make_update(optimizer[name], {key: parameters[key] for key in keys}, f"{name or '*'}.", number)
        for number, (name, keys) in enumerate(groups.items())
    }
    if not isinstance(loss, Mapping):
        return [Phase("", loss, tuple(updates.values()))]
    if RESERVED in loss:
        raise CaptureError(f"a phase cannot be called {RESERVED!r}: that is the record of the sum of all losses")
    return [Phase(name, loss[name], (update,)) for name, update in updates.items()]


def require_signatures(phases: Sequence[Phase], model: nn.Module, names: Sequence[str]) -> None:
    for phase in phases:
        require_signature(phase.loss, model, names)
