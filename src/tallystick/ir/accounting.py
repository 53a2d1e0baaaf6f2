"""Work: how many instructions a program runs, known before it does. It is the unit of price.

Reading a constant, an index, an accumulator or the step costs nothing; a load and every other instruction costs 1.
"""

from __future__ import annotations

from math import prod

from tallystick.spec.instructions import Code, Op
from tallystick.spec.kernels import Fold, Kernel
from tallystick.spec.programs import Program

FREE = frozenset({Op.CONST, Op.INDEX, Op.ACC, Op.STEP})


def code_work(code: Code) -> int:
    """Work of running straight-line code once."""
    return sum(instruction.op not in FREE for instruction in code.instructions)


def kernel_work(kernel: Kernel) -> int:
    """Work of running a kernel: its codes times how often each runs.

    A scatter counts its merge for every source point, as if no address were closed.
    """
    body = code_work(kernel.body) * prod(kernel.out_shape) * prod(kernel.reduce_shape)
    if kernel.fold is not None:
        return body + fold_work(kernel, kernel.fold)
    if kernel.scatter is not None and kernel.scatter.merge is not None:
        return body + code_work(kernel.scatter.merge) * prod(kernel.out_shape)
    return body


def fold_work(kernel: Kernel, fold: Fold) -> int:
    """Work of a fold's merges and epilogue."""
    out_points, reduce_points = prod(kernel.out_shape), prod(kernel.reduce_shape)
    if fold.scan:
        return code_work(fold.epilogue) * out_points * reduce_points
    # Every block, also a short one, merges all its lanes; all blocks but the first are merged into the total.
    blocks = -(-reduce_points // fold.block)
    merges = blocks * (fold.lanes - 1) + blocks - 1
    return out_points * (code_work(fold.merge) * merges + code_work(fold.epilogue))


def program_work(program: Program) -> int:
    """Work of one step of a program."""
    return sum(kernel_work(kernel) for kernel in program.kernels)
