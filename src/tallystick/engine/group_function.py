"""The code of a group: its kernels for one entry after the other, with what only they see in memory of the thread.

A group is one phase whose tasks are its entries. In an entry, every kernel is called as the driver calls kernels: with
a table of pointers to where the entry lies in its operands, for all its tasks. Scratch memory of a group holds, in this
order, the inner values of one entry, the tables, and what kernels need as shared and scratch memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from llvmlite import ir

from tallystick.engine.dataflow import Group, may_overwrite
from tallystick.engine.entries import EntryKernel, entry_kernel
from tallystick.engine.kernel_function import KernelFunction, Phase, declare_phase, load_operand
from tallystick.engine.loops import Loop, i64, split_index
from tallystick.engine.placement import Buffer, padded, place
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import TensorType

I8 = ir.IntType(8)
WORD = 8  # bytes of a pointer

MakeKernel = Callable[[Kernel, tuple[TensorType, ...]], KernelFunction]


@dataclass(frozen=True, slots=True)
class _Member:
    """A kernel of a group, the values it is given (loads, then outputs), and its code."""

    entry: EntryKernel
    values: tuple[int, ...]
    function: KernelFunction


def emit_group(
    module: ir.Module, name: str, program: Program, outputs: Sequence[range], group: Group, make: MakeKernel
) -> KernelFunction:
    """The function of a group. ``outputs``: values that each kernel of the program makes; ``make`` emits a kernel."""
    types = program.value_types
    made = {value for kernel in group.kernels for value in outputs[kernel]}
    members: list[_Member] = []
    for number in group.kernels:
        kernel = program.kernels[number]
        entry = entry_kernel(kernel, group.extents, types, made)
        values = (*(view.value for view in kernel.loads), *outputs[number])
        members.append(_Member(entry, values, make(entry.kernel, entry.slots)))
    places, at = _place_inner(members, group)
    tables: list[int] = []
    for member in members:
        tables.append(at)
        at += padded(len(member.values) * WORD)
    shared = at
    at += padded(max(member.function.shared_bytes for member in members))
    scratch = at
    at += padded(max(member.function.scratch_bytes for member in members))
    entries = _Entries(module, name, group, types, places)
    entries.emit(members, tables, shared, scratch)
    cost = sum(phase.cost for member in members for phase in member.function.phases) * entries.count
    return KernelFunction((Phase(name, entries.count, cost),), 0, at)


def _place_inner(members: Sequence[_Member], group: Group) -> tuple[dict[int, int], int]:
    """Where the inner values of an entry lie in scratch memory, and where what lies there ends."""
    last: dict[int, int] = {value: at for at, member in enumerate(members) for value in member.values}
    types: dict[int, TensorType] = {}
    buffers: dict[int, Buffer] = {}
    for at, member in enumerate(members):
        kernel = member.entry.kernel
        made = member.values[len(kernel.loads) :]
        for number, (value, type) in enumerate(zip(made, kernel.output_types, strict=True)):
            types[value] = type
            if value not in group.inner:
                continue
            dying = [
                read
                for read in dict.fromkeys(member.values[: len(kernel.loads)])
                if read in buffers and buffers[read].last == at and may_overwrite(kernel, number, read, types)
            ]
            if dying and not any(buffers[dying[0]] is buffers.get(other) for other in made):
                buffers[value] = buffers[dying[0]]
                buffers[value].last = last[value]
            else:
                buffers[value] = Buffer(padded(type.nbytes), at, last[value])
    end = place(list({id(buffer): buffer for buffer in buffers.values()}.values()))
    return {value: buffer.offset for value, buffer in buffers.items()}, end


class _Entries:
    """Writes the loop over entries."""

    def __init__(
        self,
        module: ir.Module,
        name: str,
        group: Group,
        types: Sequence[TensorType],
        places: Mapping[int, int],
    ) -> None:
        self.module, self.group, self.types, self.places = module, group, types, places
        self.function = declare_phase(module, name)
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.count = prod(group.extents)

    def emit(self, members: Sequence[_Member], tables: Sequence[int], shared: int, scratch: int) -> None:
        builder = self.builder
        _, first, end, step, _, own = self.function.args
        bases = {value: load_operand(builder, number) for number, value in enumerate(self.group.operands)}
        room, work = self._after(own, i64(shared)), self._after(own, i64(scratch))
        loop = Loop(builder, first, end)
        digits = split_index(builder, loop.index, self.group.extents)
        for member, table in zip(members, tables, strict=True):
            start = self._after(own, i64(table))
            for number, (value, strides) in enumerate(zip(member.values, member.entry.strides, strict=True)):
                pointer = self._pointer(own, bases, digits, value, strides)
                builder.store(pointer, self._after(start, i64(number * WORD)), align=WORD)
            for phase in member.function.phases:
                function = self.module.get_global(phase.function)
                builder.call(function, [start, i64(0), i64(phase.tasks), step, room, work])
        loop.close()
        builder.ret_void()

    def _pointer(
        self,
        own: ir.Value,
        bases: Mapping[int, ir.Value],
        digits: Sequence[ir.Value],
        value: int,
        strides: Sequence[int],
    ) -> ir.Value:
        """Where an entry of a value lies."""
        if value in self.places:
            return self._after(own, i64(self.places[value]))
        offset: ir.Value = i64(0)
        for digit, stride in zip(digits, strides, strict=True):
            if stride:
                term = self.builder.mul(digit, i64(stride * self.types[value].dtype.size))
                offset = self.builder.add(offset, term)
        return self._after(bases[value], offset)

    def _after(self, pointer: ir.Value, offset: ir.Value) -> ir.Value:
        return self.builder.gep(pointer, [offset], source_etype=I8)
