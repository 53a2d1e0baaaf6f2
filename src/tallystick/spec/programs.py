"""Programs: kernels in order, from the state slots of one step to those of the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tallystick.spec.kernels import Kernel, run_kernel
from tallystick.spec.tensors import Tensor, TensorType


@dataclass(frozen=True, slots=True)
class Program:
    """One step of a computation.

    Values are numbered: state slots first, then constants, then the outputs of every kernel in order. A kernel reads
    only values with smaller numbers than its own outputs. ``next_state[i]`` is the value that slot i holds after the
    step; its type equals the slot's. State and constants that a program is given hold only storable bits
    (``tensors.is_storable``).
    """

    states: tuple[TensorType, ...]
    constants: tuple[TensorType, ...]
    kernels: tuple[Kernel, ...]
    next_state: tuple[int, ...]

    @property
    def value_types(self) -> tuple[TensorType, ...]:
        """Types of all values by number."""
        made = (type for kernel in self.kernels for type in kernel.output_types)
        return (*self.states, *self.constants, *made)


def run_step(program: Program, state: Sequence[Tensor], constants: Sequence[Tensor], step: int) -> list[Tensor]:
    """All values of one step, by number. ``next_state`` picks the new state out of them."""
    values = [*state, *constants]
    for kernel in program.kernels:
        values.extend(run_kernel(kernel, values, step))
    return values


def run(
    program: Program, state: Sequence[Tensor], constants: Sequence[Tensor], first_step: int, steps: int
) -> list[Tensor]:
    """The state after ``steps`` steps, the first of which has number ``first_step``."""
    state = list(state)
    for step in range(first_step, first_step + steps):
        values = run_step(program, state, constants, step)
        state = [values[number] for number in program.next_state]
    return state
