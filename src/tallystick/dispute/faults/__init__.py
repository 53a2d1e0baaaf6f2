"""Liars: computations that go wrong at one step, each in its own way.

A fault takes the true trace of a step and gives back what its author claims instead: one false trace, or several where
it concerns several steps. Everything a liar reveals follows from that, so a lie is always as consistent as it can be.
"""

from tallystick.dispute.faults import another_computation, commitments, values
from tallystick.dispute.faults.scene import FAULTS, Fault, Scene

__all__ = ["FAULTS", "Fault", "Scene", "another_computation", "commitments", "values"]
