"""Nodes that are computed by one kernel."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from tallystick.capture.kernels.evaluation import Evaluation
from tallystick.capture.tensors.axes import Axes
from tallystick.capture.tensors.graph import FoldSpec


@dataclass(slots=True, eq=False)
class Cluster:
    """Nodes computed by one kernel.

    ``members`` are the maps and fold results at the kernel's points. ``outputs`` are those others need from memory.
    ``shape`` is the shape its outputs must have, if one of them is a state slot's next value. A ``linear`` kernel has
    one output axis and finds all indices by arithmetic: the way out where there would be too many axes.
    """

    number: int
    members: frozenset[int]
    out_extents: Axes
    reduce_extents: Axes = ()
    specs: tuple[FoldSpec, ...] = ()
    scatter: int | None = None
    shape: tuple[int, ...] | None = None
    linear: bool = False
    outputs: tuple[int, ...] = ()
    evaluation: Evaluation | None = None
    cost: float = 0.0
    out_points: int = field(init=False)
    points: int = field(init=False)

    def __post_init__(self) -> None:
        self.out_points = prod(self.out_extents)
        self.points = self.out_points * prod(self.reduce_extents)

    @property
    def loads(self) -> frozenset[int]:
        assert self.evaluation is not None, "a cluster is evaluated before it is asked for its loads"
        return self.evaluation.loads

    @property
    def is_map(self) -> bool:
        return not self.specs and self.scatter is None

    @property
    def is_contraction(self) -> bool:
        return any(spec.contraction for spec in self.specs)

    @property
    def is_scan(self) -> bool:
        return any(spec.scan for spec in self.specs)
