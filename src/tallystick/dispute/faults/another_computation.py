"""Faults in what is computed: other steps, other data, other kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from tallystick.dispute.faults.scene import Scene, fault
from tallystick.dispute.lies import FaultyTrace
from tallystick.dispute.step_trace import StepTrace, maker_of
from tallystick.dispute.tensors import ArrayWords
from tallystick.errors import UsageError
from tallystick.spec.instructions import Code, Op
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.scalar_steps import Place, accumulator_words, run_scalar_step

CHANGED_OP = {Op.FADD: Op.FSUB, Op.FSUB: Op.FADD, Op.FMUL: Op.FADD, Op.IADD: Op.ISUB, Op.FDIV: Op.FMUL}


@fault("swapped-steps")
def swapped_steps(scene: Scene) -> list[FaultyTrace]:
    """Two steps are run in the wrong order."""
    if scene.at + 1 >= scene.steps:
        raise UsageError(f"step {scene.at} is the last: there is none to swap it with")
    first, second = scene.honest(), scene.honest(scene.at + 1)
    computation = scene.replay.computation
    one = recomputed(first, computation.trace(first.state, second.step))
    two = recomputed(second, computation.trace(one.new_state, first.step))
    return [one, two]


@fault("wrong-batch")
def wrong_batch(scene: Scene) -> list[FaultyTrace]:
    """The step reads other rows of the data than the order says."""
    number = scene.constant("order")
    order = scene.replay.computation.constants[number]
    return [with_constant(scene, number, np.roll(order, 1), shown=False)]


@fault("wrong-data-row")
def wrong_data_row(scene: Scene) -> list[FaultyTrace]:
    """One row of the data that the step reads is another than the job's."""
    number = scene.constant("data.")
    data = np.array(scene.replay.computation.constants[number])
    row = row_read(scene, len(scene.program.states) + number)
    data[row] = np.roll(data, 1, axis=0)[row] if not np.array_equal(data[row], data[row - 1]) else data[row] * 0
    return [with_constant(scene, number, data, shown=True)]


@fault("learning-rate")
def learning_rate(scene: Scene) -> list[FaultyTrace]:
    """The step is made with another learning rate than the schedule's."""
    number = scene.constant("schedule.")
    rates = np.array(scene.replay.computation.constants[number])
    return [with_constant(scene, number, rates * rates.dtype.type(1.5), shown=False)]


@fault("different-program")
def different_program(scene: Scene) -> list[FaultyTrace]:
    """One instruction of one kernel is another than the program's; all shapes are the same."""
    trace = FaultyTrace(scene.honest())
    for number in scene.rng.sample(range(len(scene.program.kernels)), len(scene.program.kernels)):
        changed = with_changed_instruction(scene.program.kernels[number])
        if changed is not None and run_instead(trace, number, changed):
            return [trace]
    raise UsageError("no change of one instruction changes what this program computes")


@fault("fold-order")
def fold_order(scene: Scene) -> list[FaultyTrace]:
    """A sum is added up in another order."""
    trace = FaultyTrace(scene.honest())
    kernels = scene.program.kernels
    for number in scene.rng.sample(range(len(kernels)), len(kernels)):
        fold = kernels[number].fold
        if fold is None or fold.scan:
            continue
        other = replace(fold, lanes=4 if fold.lanes != 4 else 1, block=max(4, fold.block // 8 * 4))
        if run_instead(trace, number, replace(kernels[number], fold=other)):
            return [trace]
    raise UsageError("no sum of this program depends on its order: try another program")


def with_constant(scene: Scene, number: int, array: np.ndarray, shown: bool) -> FaultyTrace:
    """The step run with another constant; ``shown`` puts it into the trace as well."""
    honest, computation = scene.honest(), scene.replay.computation
    constants = list(computation.constants)
    constants[number] = np.asarray(array, constants[number].dtype, order="C")
    trace = recomputed(honest, computation.trace(honest.state, honest.step, constants))
    if shown:
        trace.replace_value(len(scene.program.states) + number, constants[number])
    return trace


def row_read(scene: Scene, value: int) -> int:
    """A row of a constant that the step reads."""
    honest = scene.honest()
    for made in range(scene.inputs, len(honest.types)):
        maker = maker_of(scene.program, made)
        slots = [slot for slot, view in enumerate(maker.kernel.loads) if view.value == value]
        if not slots or accumulator_words(maker.kernel):
            continue
        words = ArrayWords(maker.kernel, honest.types, honest.values)
        run_scalar_step(maker.kernel, Place(maker.output, 0, honest.step), 0, [], words)
        read = [words.addresses[slot] for slot in slots if words.addresses.get(slot) is not None]
        if read and read[0] is not None:
            return read[0] // prod(honest.types[value].shape[1:])
    raise UsageError(f"step {scene.at} reads no row of {scene.constant_names[value - len(scene.program.states)]}")


def with_changed_instruction(kernel: Kernel) -> Kernel | None:
    """The kernel with one operation exchanged for another, if it has one to exchange."""
    for number, instruction in enumerate(kernel.body.instructions):
        other = CHANGED_OP.get(instruction.op)
        if other is not None:
            instructions = list(kernel.body.instructions)
            instructions[number] = replace(instruction, op=other)
            return replace(kernel, body=Code(tuple(instructions), kernel.body.results))
    return None


def run_instead(trace: FaultyTrace, number: int, kernel: Kernel) -> bool:
    """Let another kernel make the values of kernel ``number``; says whether the new state is another."""
    first = first_output(trace.program, number)
    before = [array.copy() for array in trace.new_state]
    true = list(trace.values)
    kernels = (kernel, *trace.program.kernels[number + 1 :])
    made = trace.computation.evaluate(Program((), tuple(trace.types[:first]), kernels, ()), true[:first], trace.step)
    for value in range(first, len(trace.types)):
        trace.replace_value(value, made[value])
    if any(one.tobytes() != other.tobytes() for one, other in zip(before, trace.new_state, strict=True)):
        return True
    for value in range(first, len(trace.types)):
        trace.replace_value(value, true[value])
    return False


def follow(trace: FaultyTrace, value: int) -> None:
    """Compute what comes after a false value from it."""
    made = maker_of(trace.program, value)
    first = made.first_value + len(made.kernel.outputs)
    rest = trace.program.kernels[made.number + 1 :]
    if not rest:
        return
    values = trace.computation.evaluate(
        Program((), tuple(trace.types[:first]), rest, ()), trace.values[:first], trace.step
    )
    for later in range(first, len(trace.types)):
        trace.replace_value(later, values[later])


def needed_values(scene: Scene, wanted: Callable[[Kernel], bool]) -> list[int]:
    """The values of a wanted kind that the new state depends on, in random order."""
    needed = set(scene.program.next_state)
    for number in reversed(range(len(scene.program.kernels))):
        first = first_output(scene.program, number)
        kernel = scene.program.kernels[number]
        if needed & set(range(first, first + len(kernel.outputs))):
            needed.update(view.value for view in kernel.loads)
    made = sorted(value for value in needed if value >= scene.inputs)
    found = [value for value in made if wanted(maker_of(scene.program, value).kernel)]
    scene.rng.shuffle(found)
    return found


def first_output(program: Program, number: int) -> int:
    """The number of a kernel's first output."""
    made = sum(len(kernel.outputs) for kernel in program.kernels[:number])
    return len(program.states) + len(program.constants) + made


def recomputed(honest: StepTrace, values: Sequence[np.ndarray]) -> FaultyTrace:
    """A step whose kernels made other values; its inputs are shown as they are."""
    trace = FaultyTrace(honest)
    inputs = len(honest.program.states) + len(honest.program.constants)
    for value in range(inputs, len(values)):
        trace.replace_value(value, values[value])
    return trace
