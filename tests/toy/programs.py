"""Toy programs whose disputes take milliseconds; together they have every kind of kernel, tree and leaf."""

from __future__ import annotations

from dataclasses import dataclass

import sample_programs
from property.strategies import Case, fill
from sample_programs import ADD, TOTAL, code, f32, i32
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.instructions import Code
from tallystick.spec.kernels import Fold, Kernel, Scatter
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, Guard, View

SCALAR = Address(0, ())
INTEGER_SUM = code(lambda b: b.iadd(b.acc(0), b.acc(1)))


def counter() -> Program:
    """One integer that grows by one and the step's number."""
    body = code(lambda b: b.iadd(b.iadd(b.load(0), b.word(1)), b.step()))
    return Program((i32(),), (), (Kernel((), (), (View(0, SCALAR),), body, (DType.I32,)),), (1,))


def weighted_sum() -> Program:
    """Weighted sums of a vector: a fold of four lanes and two blocks, with an epilogue that reads the state."""
    loads = (
        View(1, Address(0, (11, 1))),
        View(0, Address(0, (0, 1), (), (Guard(0, (0, 1), 5),)), 0x3F800000),
        View(0, Address(0, (1, 0))),
    )
    body = code(lambda b: b.ffma(b.load(0), b.load(1), b.acc()))
    epilogue = code(lambda b: b.fadd(b.fmul(b.acc(), b.word(0x3E800000)), b.load(2)))
    kernel = Kernel((5,), (11,), loads, body, (DType.F32,), Fold((0,), 4, 8, ADD, epilogue))
    return Program((f32(5),), (f32(5, 11),), (kernel,), (2,))


def running_sum() -> Program:
    """Rows of a matrix become their running sums, twice, so that a later value depends on an earlier one."""
    body = code(lambda b: b.iadd(b.acc(), b.load(0)))
    scans = [
        Kernel(
            (2,),
            (7,),
            (View(value, Address(0, (7, 1))),),
            body,
            (DType.I32,),
            Fold((1,), 1, 7, INTEGER_SUM, TOTAL, True),
        )
        for value in (0, 1)
    ]
    return Program((i32(2, 7),), (), tuple(scans), (2,))


def scattered(merge: bool, base: bool) -> Program:
    """Words are placed where an index says: over a base or a fill, added or written over, some of them outside."""
    builder = CodeBuilder()
    place, word = builder.load(0), builder.load(1)
    body, registers = builder.build(word, keep=(place,))
    loads = (View(1, Address(0, (1,))), View(0, Address(2, (-1,), (), (Guard(2, (-1,), 6),)), 9))
    address = Address(0, (0,), ((1, registers[place]),))
    scatter = Scatter((6,), 0 if base else None, 0 if base else 5, address, INTEGER_SUM if merge else None)
    return Program((i32(6),), (i32(4),), (Kernel((4,), (), loads, body, (DType.I32,), None, scatter),), (2,))


def swapped() -> Program:
    """Three slots take each other's places; one is computed from a constant and another slot, in two types."""
    body = CodeBuilder()
    total = body.iadd(body.load(0), body.load(1))
    both = body.build(total, body.iadd(total, body.word(1)))[0]
    views = (View(2, Address(0, (1,))), View(4, Address(0, (1,))))
    kernel = Kernel((3,), (), views, both, (DType.I32, DType.U8))
    last = Kernel((3,), (), (View(5, Address(2, (-1,))),), code(lambda b: b.load(0)), (DType.I32,))
    return Program((i32(3), i32(3), i32(3)), (TensorType(DType.I8, (2,)), i32(3)), (kernel, last), (1, 2, 7))


def wide() -> Program:
    """A vector of three chunks, the last one short."""
    body = code(lambda b: b.fadd(b.load(0), b.load(1)))
    kernel = Kernel((1100,), (), (View(0, Address(0, (1,))), View(1, Address(0, (0,)))), body, (DType.BF16,))
    return Program((TensorType(DType.BF16, (1100,)),), (f32(),), (kernel,), (2,))


def chain() -> Program:
    """Many small values, one after the other."""
    body = code(lambda b: b.iadd(b.load(0), b.step()))
    kernels = [Kernel((), (), (View(value, SCALAR),), body, (DType.I32,)) for value in range(11)]
    return Program((i32(),), (), tuple(kernels), (11,))


def widest() -> Program:
    """As many accumulators as there can be, and a kernel of nearly as many bytes: what costs most to reveal."""
    sums = CodeBuilder()
    merge = sums.build(*(sums.iadd(sums.acc(at), sums.acc(at + 4)) for at in range(4)))[0]
    steps = CodeBuilder()
    body = steps.build(*(steps.iadd(steps.acc(at), steps.load(0)) for at in range(4)))[0]
    long = CodeBuilder()
    total = long.acc(0)
    for number in range(127):
        total = long.iadd(total, long.word(number))
    epilogue = long.build(total)[0]
    while len(epilogue.instructions) < 250:
        epilogue = Code((*epilogue.instructions, epilogue.instructions[0]), epilogue.results)
    body, merge = (
        Code((*code.instructions, *[code.instructions[0]] * (250 - len(code.instructions))), code.results)
        for code in (body, merge)
    )
    load = View(0, Address(0, (0, 1)))
    kernel = Kernel((5,), (70,), (load,), body, (DType.I32,), Fold((1, 2, 3, 4), 16, 64, merge, epilogue))
    take = Kernel((70,), (), (View(1, Address(0, (0,))),), code(lambda b: b.load(0)), (DType.I32,))
    return Program((i32(70),), (), (kernel, take), (2,))


@dataclass(frozen=True)
class Toy:
    """A program, where it starts, and the numbers of steps it is run for."""

    case: Case
    steps: tuple[int, ...]


def toy(program: Program, *steps: int) -> Toy:
    return Toy(fill(program, seed=11), steps)


def scatter_toy(merge: bool, base: bool) -> Toy:
    """One whose indices mean two elements, one of them twice, and one place outside."""
    made = toy(scattered(merge, base), 1, 5)
    for at, index in enumerate((2, 5, 2, 6)):
        made.case.constants[0].store(at, index)
    return made


TOYS = {
    "counter": toy(counter(), 1, 2, 3, 31, 32, 33, 1100),
    "weighted sum": toy(weighted_sum(), 1, 3),
    "running sum": toy(running_sum(), 1, 4),
    "scatter": scatter_toy(False, False),
    "scatter over a base": scatter_toy(False, True),
    "scatter with a merge": scatter_toy(True, False),
    "scatter with both": scatter_toy(True, True),
    "swapped": toy(swapped(), 1, 2, 6),
    "wide": toy(wide(), 1, 2),
    "chain": toy(chain(), 1, 4),
    "matmul": toy(sample_programs.MATMUL, 1, 2),
    "embedding gradient": toy(sample_programs.EMBEDDING_GRADIENT, 1, 2),
}
