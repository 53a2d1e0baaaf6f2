"""One program that does everything a program can do, with the data that go wrong first.

Folds of 1 to 16 lanes in several blocks, the last one short, with up to four accumulators and epilogues that load; a
scan; gathers in and out of range, behind open and closed guards; scatters that merge and that overwrite, with points
that are dropped; every storage type read and written; every instruction; state that trades places; subnormals, NaNs
and infinities. Every value that a kernel makes is kept in a slot of the state, so that none can be wrong unseen. It
has what faults look for: an order, data, a schedule, a weight and a moment.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from property.strategies import SPECIAL_WORDS, random_tensor, renumber
from tallystick.commitment import NUMPY_DTYPES
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.instructions import ARITY, FLOAT_RESULT, SOURCES, Code, Op
from tallystick.spec.kernels import Fold, Kernel, Scatter
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, Tensor, TensorType, is_storable
from tallystick.spec.views import Address, Guard, View

FIRST_STEP = 5
F32, I32 = DType.F32, DType.I32

STATES = {
    "model.weight": TensorType(F32, (20, 30)),  # three chunks: the tree over them has padding
    "optimizer.momentum": TensorType(F32, (20, 30)),
    "model.left": TensorType(F32, (5,)),
    "model.right": TensorType(F32, (5,)),
    "count": TensorType(I32, ()),
    "special": TensorType(F32, (40,)),
    "cells.I32": TensorType(I32, (40,)),
    "cells.U8": TensorType(DType.U8, (1100,)),
    "cells.I8": TensorType(DType.I8, (9,)),
    "cells.BOOL": TensorType(DType.BOOL, (10,)),
    "cells.BF16": TensorType(DType.BF16, (600,)),
    "cells.F16": TensorType(DType.F16, (11,)),
}
CONSTANTS = {
    "order": TensorType(I32, (16,)),
    "data.x": TensorType(F32, (12, 30)),
    "schedule.rate": TensorType(F32, (16,)),
    "table.never_read": TensorType(I32, (3,)),
}
BLOCKS = {1: 8, 2: 8, 4: 12, 8: 16, 16: 16}  # of 26 points each: the last block is always short
ACCUMULATORS = {1: 1, 2: 2, 4: 3, 8: 4, 16: 4}


@dataclass(frozen=True)
class Torture:
    """The program with its names, its start, and the number of every value by the name of what it is."""

    program: Program
    state: list[np.ndarray]
    constants: list[np.ndarray]
    state_names: list[str]
    constant_names: list[str]
    values: dict[str, int]


@cache
def torture() -> Torture:
    """The program. Its arrays are never written to."""
    writer = Writer()
    write_row(writer)
    for lanes in BLOCKS:
        write_fold(writer, lanes)
    write_training(writer)
    write_scan(writer)
    write_gather(writer)
    write_scatters(writer)
    write_instructions(writer)
    write_storage_types(writer)
    return writer.finish()


class Writer:
    """Collects kernels, and names what they make."""

    def __init__(self) -> None:
        self.types = {**STATES, **CONSTANTS}
        self.numbers = {name: number for number, name in enumerate(self.types)}
        self.kernels: list[Kernel] = []

    def view(
        self,
        name: str,
        *strides: int,
        base: int = 0,
        computed: tuple[tuple[int, int], ...] = (),
        guards: tuple[Guard, ...] = (),
        fill: int = 0,
    ) -> View:
        """A view of a value by its name."""
        return View(self.numbers[name], Address(base, strides, computed, guards), fill)

    def add(self, names: Sequence[str], kernel: Kernel) -> None:
        """The next kernel; the names are those of its outputs."""
        for name, type in zip(names, kernel.output_types, strict=True):
            self.numbers[name] = len(self.numbers)
            self.types[name] = type
        self.kernels.append(kernel)

    def finish(self) -> Torture:
        """A slot for every value that is not the next one of a named slot already."""
        made = {name: type for name, type in self.types.items() if name not in STATES and name not in CONSTANTS}
        following = {name: f"next {name}" for name in STATES}
        following.update({"model.left": "model.right", "model.right": "model.left"})
        records = [name for name in made if name not in following.values()]
        by = len(records)
        kernels = tuple(renumber(kernel, len(STATES), by) for kernel in self.kernels)
        values = {name: n + by * (name not in STATES) for name, n in self.numbers.items()}
        next_state = [values[following[name]] for name in STATES] + [values[name] for name in records]
        states = (*STATES.values(), *(made[name] for name in records))
        program = Program(states, tuple(CONSTANTS.values()), kernels, tuple(next_state))
        start, constants = data()
        state = start + [np.zeros(type.shape, NUMPY_DTYPES[type.dtype]) for type in states[len(start) :]]
        return Torture(
            program, state, constants, [*STATES, *(f"record.{name}" for name in records)], list(CONSTANTS), values
        )


def code(write: Callable[[CodeBuilder], Sequence[int]]) -> Code:
    builder = CodeBuilder()
    return builder.build(*write(builder))[0]


def addressed(write: Callable[[CodeBuilder], tuple[Sequence[int], Sequence[int]]]) -> tuple[Code, list[int]]:
    """Code, and the registers that addresses use."""
    builder = CodeBuilder()
    results, used = write(builder)
    body, place = builder.build(*results, keep=tuple(used))
    return body, [place[register] for register in used]


# TRAINING


def write_row(writer: Writer) -> None:
    """Row order[step % 16] of the data: a gather of a gather."""

    def write(b: CodeBuilder) -> tuple[Sequence[int], Sequence[int]]:
        turn = b.irem(b.step(), b.word(16))
        row = b.load(0)
        return [b.load(1)], [turn, row]

    body, (turn, row) = addressed(write)
    loads = (
        writer.view("order", 0, computed=((1, turn),)),
        writer.view("data.x", 1, computed=((30, row),)),
    )
    writer.add(["row"], Kernel((30,), (), loads, body, (F32,)))


def write_fold(writer: Writer, lanes: int) -> None:
    """Six rows of the weight, each against the row of the data, in 2 x 13 points; more lanes, more accumulators.

    The fourth accumulator is an address as well, of a load in the body and of one in the epilogue.
    """
    count = ACCUMULATORS[lanes]

    def body(b: CodeBuilder) -> tuple[Sequence[int], Sequence[int]]:
        w, x = b.load(0), b.load(1)
        total = b.ffma(w, x, b.acc(0))
        if count == 1:
            return [total], []
        largest = b.select(b.flt(b.acc(1), w), w, b.acc(1))
        mixed = [total, largest, b.fadd(b.acc(2), b.fabs(x))]
        if count < 4:
            return mixed[:count], []
        at = b.and_(b.acc(3), b.word(63))
        return [*mixed, b.xor(b.iadd(b.acc(3), b.load(3)), b.imul(w, b.word(lanes + 1)))], [at]

    def merge(b: CodeBuilder) -> Sequence[int]:
        left, right = [b.acc(n) for n in range(count)], [b.acc(count + n) for n in range(count)]
        merged = [b.fadd(left[0], right[0])]
        if count > 1:
            merged.append(b.select(b.flt(left[1], right[1]), right[1], left[1]))
        if count > 2:
            merged.append(b.fadd(left[2], right[2]))
        if count > 3:
            merged.append(b.xor(b.iadd(left[3], b.step()), right[3]))
        return merged

    def epilogue(b: CodeBuilder) -> tuple[Sequence[int], Sequence[int]]:
        total = b.fadd(b.acc(0), b.load(2))
        others = [b.fmul(b.acc(1), b.i2f(b.index(0))), b.acc(2)] if count > 2 else [b.fmul(b.acc(1), b.i2f(b.index(0)))]
        if count < 4:
            return [total, *others][:count], []
        at = b.and_(b.acc(3), b.word(63))
        return [total, *others, b.iadd(b.acc(3), b.load(4))], [at]

    inner = Guard(0, (0, 0, 1), 11)  # closed for the last two columns
    updated, in_body = addressed(body)
    finished, in_epilogue = addressed(epilogue)
    loads = [
        writer.view("model.weight", 90, 30, 2, base=3),
        writer.view("row", 0, 13, 1, guards=(inner,) if lanes > 2 else (), fill=0x3F000000),
        writer.view("model.left", 1, 0, 0, guards=(Guard(0, (1, 0, 0), 5),), fill=0x3E800000),
        *(writer.view("cells.I32", 0, 0, 0, computed=((1, register),), fill=9) for register in in_body + in_epilogue),
    ]
    outputs = (F32, DType.BF16, DType.F16, I32)[:count]
    init = (0, 0xFF800000, 0x80000000, lanes)[:count]
    fold = Fold(init, lanes, BLOCKS[lanes], code(merge), finished)
    names = [f"fold{lanes}.{n}" for n in range(count)]
    writer.add(names, Kernel((6,), (2, 13), tuple(loads), updated, outputs, fold))


def write_training(writer: Writer) -> None:
    """Momentum and weight, and a count of steps."""

    def momentum(b: CodeBuilder) -> Sequence[int]:
        gradient = b.fmul(b.load(1), b.fmul(b.load(2), b.float(0.01)))
        return [b.ffma(b.load(0), b.float(0.9), gradient)]

    def weight(b: CodeBuilder) -> tuple[Sequence[int], Sequence[int]]:
        turn = b.irem(b.step(), b.word(16))
        return [b.fsub(b.load(0), b.fmul(b.load(1), b.load(2)))], [turn]

    six = (Guard(0, (1, 0), 6),)
    loads = (
        writer.view("optimizer.momentum", 30, 1),
        writer.view("row", 0, 1),
        writer.view("fold1.0", 1, 0, guards=six, fill=0x3F800000),
    )
    writer.add(["next optimizer.momentum"], Kernel((20, 30), (), loads, code(momentum), (F32,)))
    body, (turn,) = addressed(weight)
    loads = (
        writer.view("model.weight", 30, 1),
        writer.view("next optimizer.momentum", 30, 1),
        writer.view("schedule.rate", 0, 0, computed=((1, turn),)),
    )
    writer.add(["next model.weight"], Kernel((20, 30), (), loads, body, (F32,)))
    counted = code(lambda b: [b.iadd(b.load(0), b.word(1))])
    writer.add(["next count"], Kernel((), (), (writer.view("count"),), counted, (I32,)))


# SCANS, GATHERS, SCATTERS


def write_scan(writer: Writer) -> None:
    """Running sums of four rows of nine, with a load and the index of the reduce axis in the epilogue."""
    body = code(lambda b: [b.fadd(b.acc(0), b.load(0)), b.iadd(b.acc(1), b.index(1))])
    merge = code(lambda b: [b.acc(0), b.acc(1)])
    epilogue = code(lambda b: [b.ffma(b.acc(0), b.load(1), b.i2f(b.index(1))), b.acc(1)])
    loads = (writer.view("model.weight", 90, -3, base=250), writer.view("row", 0, 1, base=2))
    fold = Fold((0x80000000, 7), 1, 9, merge, epilogue, scan=True)
    writer.add(["scan.0", "scan.1"], Kernel((4,), (9,), loads, body, (F32, I32), fold))


def write_gather(writer: Writer) -> None:
    """An index out of a tensor picks a byte; some indices are outside, and one guard is closed for some points."""

    def write(b: CodeBuilder) -> tuple[Sequence[int], Sequence[int]]:
        index = b.load(0)
        return [b.load(1), index], [index]

    body, (index,) = addressed(write)
    guards = (Guard(-1, (1, 1), 9),)
    loads = (
        writer.view("cells.I32", 8, 1),
        writer.view("cells.U8", 100, 0, base=-40, computed=((20, index),), guards=guards, fill=77),
    )
    writer.add(["gather.0", "gather.1"], Kernel((5, 8), (), loads, body, (DType.U8, I32)))


def write_scatters(writer: Writer) -> None:
    """Rows added to a base; words that overwrite each other in a narrow float; and every other element, reversed."""
    ten = (Guard(0, (0, 1), 9),)  # the last column is dropped

    def add(b: CodeBuilder) -> tuple[Sequence[int], Sequence[int]]:
        row = b.load(0)
        return [b.load(1)], [row]

    body, (row,) = addressed(add)
    loads = (writer.view("cells.I32", 1, 0), writer.view("special", 1, 1, base=1))
    merged = code(lambda b: [b.fadd(b.acc(0), b.acc(1))])
    address = Address(0, (0, 1), ((30, row),), ten)
    scatter = Scatter((20, 30), writer.numbers["model.weight"], 0, address, merged)
    writer.add(["scatter.add"], Kernel((12, 10), (), loads, body, (F32,), None, scatter))

    def place(b: CodeBuilder) -> tuple[Sequence[int], Sequence[int]]:
        return [b.fmul(b.load(1), b.load(1))], [b.load(0), b.index(0)]

    body, used = addressed(place)
    loads = (writer.view("cells.I32", 2), writer.view("special", -1, base=39))
    address = Address(-2, (0,), ((1, used[0]), (2, used[1])))
    scatter = Scatter((6, 4), None, 0x3FC00001, address, None)
    writer.add(["scatter.place"], Kernel((20,), (), loads, body, (DType.BF16,), None, scatter))

    body = code(lambda b: [b.iadd(b.load(0), b.step())])
    scatter = Scatter((80,), None, 5, Address(79, (-2,)), code(lambda b: [b.isub(b.acc(1), b.acc(0))]))
    writer.add(["scatter.stride"], Kernel((40,), (), (writer.view("special", 1),), body, (I32,), None, scatter))


# EVERY INSTRUCTION, EVERY STORAGE TYPE


def write_instructions(writer: Writer) -> None:
    """Four instructions to a kernel, each on words of three slots; a value is called like its instruction."""
    computing = [op for op in Op if op not in SOURCES]
    for four in (computing[at : at + 4] for at in range(0, len(computing), 4)):
        needed = max(ARITY[op] for op in four)

        def write(b: CodeBuilder, ops: list[Op] = four, needed: int = needed) -> Sequence[int]:
            operands = [b.load(slot) for slot in range(needed)]
            return [b.emit(op, *operands[: ARITY[op]]) for op in ops]

        loads = (
            writer.view("special", 1),
            writer.view("special", -1, base=39),
            writer.view("cells.I32" if Op.SELECT in four else "special", 1, base=0),
        )
        outputs = tuple(F32 if op in FLOAT_RESULT else I32 for op in four)
        writer.add([op.name for op in four], Kernel((40,), (), loads[:needed], code(write), outputs))
    sources = code(lambda b: [b.word(0xDEADBEEF), b.index(1), b.load(0), b.step()])
    names = [op.name for op in (Op.CONST, Op.INDEX, Op.LOAD, Op.STEP)]
    loads = (writer.view("special", 5, 1),)
    writer.add(names, Kernel((4, 5), (), loads, sources, (I32, I32, F32, I32)))


def write_storage_types(writer: Writer) -> None:
    """Every tensor of cells moves by one and changes a little."""
    changes: dict[str, Callable[[CodeBuilder, int], int]] = {
        "special": lambda b, word: word,
        "cells.I32": lambda b, word: b.isub(b.and_(b.iadd(word, b.word(13)), b.word(63)), b.word(5)),
        "cells.U8": lambda b, word: b.iadd(word, b.word(37)),
        "cells.I8": lambda b, word: b.imul(word, b.word(5)),
        "cells.BOOL": lambda b, word: b.xor(word, b.ilt(b.index(0), b.step())),
        "cells.BF16": lambda b, word: b.fmul(word, b.float(1.01)),
        "cells.F16": lambda b, word: b.fadd(word, b.float(0.1)),
    }
    for name, change in changes.items():
        elements = writer.types[name].elements

        def write(b: CodeBuilder, change=change, elements=elements) -> tuple[Sequence[int], Sequence[int]]:
            after = b.irem(b.iadd(b.index(0), b.word(1)), b.word(elements))
            return [change(b, b.load(0))], [after]

        body, (after,) = addressed(write)
        loads = (writer.view(name, 0, computed=((1, after),)),)
        writer.add([f"next {name}"], Kernel((elements,), (), loads, body, (writer.types[name].dtype,)))


# DATA


def data() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Named slots and constants: ordinary weights, and words of every kind everywhere else."""
    rng = random.Random(11)
    numbers = np.random.default_rng(11)
    arrays = {name: array_of(random_tensor(type, rng)) for name, type in {**STATES, **CONSTANTS}.items()}
    for name in ("model.weight", "data.x"):
        arrays[name] = numbers.normal(size=arrays[name].shape).astype(np.float32)
    arrays["optimizer.momentum"] = (numbers.normal(size=(20, 30)) * 0.1).astype(np.float32)
    arrays["model.left"] = np.array([1.5, -0.25, 1e-40, -0.0, 3.0], np.float32)
    arrays["model.right"] = np.array([-1.5, 0.75, -3e-45, 0.0, 1e-3], np.float32)
    arrays["schedule.rate"] = np.geomspace(0.1, 0.001, 16).astype(np.float32)
    arrays["order"] = numbers.permutation(12).astype(np.int32)[np.arange(16) % 12]
    arrays["cells.I32"] = numbers.integers(-5, 59, 40).astype(np.int32)
    storable = [word for word in SPECIAL_WORDS if is_storable(F32, word)]
    words = [*rng.sample(storable, 34), 0x7FC00000, 0x7F800000, 0xFF800000, 1, 0x80000001, 0x007FFFFF]
    arrays["special"] = np.array(words, np.uint32).view(np.float32)
    return [arrays[name] for name in STATES], [arrays[name] for name in CONSTANTS]


def array_of(tensor: Tensor) -> np.ndarray:
    """A tensor as an array."""
    return np.frombuffer(bytes(tensor.data), NUMPY_DTYPES[tensor.type.dtype]).reshape(tensor.type.shape)


def tensor_of(type: TensorType, array: np.ndarray) -> Tensor:
    """An array as a tensor."""
    return Tensor(type, np.ascontiguousarray(array).tobytes())
