"""Contractions with few rows or columns: one operand streams past, read once, where and as it lies.

A product of a matrix with a vector, or with a handful of them, does one or a few multiply-adds per word of the matrix:
memory is what it waits for, and packing would move every word three times. Instead the words go straight from the
tensor to registers. Lanes always run over outputs, because each output is a chain in a fixed order:

    along   neighbours in memory are neighbouring outputs: vectors are what is loaded
    across  neighbours in memory are neighbouring steps: squares of lanes x lanes are transposed in registers

The *few* are the words of the other operand, broadcast one by one. Memory is asked for ahead of time, past the end of a
strip into the next one: strips are short, and the processor would start anew with each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from tallystick.engine.contraction import Contraction, Operand
from tallystick.engine.contraction_epilogue import epilogue_function
from tallystick.engine.contraction_forms import emit_form
from tallystick.engine.contraction_strip import strip_function
from tallystick.engine.gemm_control import advance, counted, i64, smaller
from tallystick.engine.gemm_pack import Over
from tallystick.engine.gemm_tiles import Side, TileFormat
from tallystick.engine.kernel_function import KernelFunction, Phase, declare_phase, load_operand
from tallystick.engine.storage import MEMORY_TYPE
from tallystick.engine.target import Target
from tallystick.engine.words import I1
from tallystick.spec.tensors import DType

MOST = {16: 8, 8: 4, 4: 4}  # by lanes: the few that are few enough
BUSY = 4  # chains that do not wait for each other; fewer of them leave the multipliers idle
ABREAST = 2  # squares turned at once where there are fewer,
NEAR = 1024  # and bytes between their rows: lines farther apart would drive each other out of the cache
TASK_BYTES = 1 << 16  # of the streaming operand that are worth a task
MOST_TASKS = 64  # in all batches together, if one has no more than a task
NS_PER_BYTE = 0.06


@dataclass(frozen=True, slots=True)
class Stream:
    """How a contraction streams. ``side`` is what lanes run over, ``over`` what neighbours in memory are."""

    side: Side
    over: Over
    many: Operand
    few: Operand
    outputs: int
    count: int  # of the few

    def vectors(self, lanes: int) -> int:
        """Vectors in a strip: across, as many as keep the multipliers busy; along, as many as registers can count."""
        if self.over == "steps":
            pitch = abs(self.many.address.panel.stride) * self.many.dtype.size
            abreast = ABREAST if self.count < BUSY and pitch <= NEAR else 1
            return min(abreast, -(-self.outputs // lanes))
        accumulators = 24 if lanes == 16 else 8
        return max(1, min(accumulators // self.count, 8, -(-self.outputs // lanes)))


def choose(contraction: Contraction, target: Target) -> Stream | None:
    """How to stream an operand, or None if packing is better or needed."""
    c = contraction
    sides: Sequence[tuple[Side, Operand, Operand, int, int]] = (
        ("columns", c.b, c.a, c.columns.size, c.rows.size),
        ("rows", c.a, c.b, c.rows.size, c.columns.size),
    )
    for side, many, few, outputs, count in sides:
        over = _plain(many)
        fits = count <= MOST[target.lanes] and outputs > count and _broadcasts(few)
        if fits and over is not None and (over == "panel" or c.steps.size >= target.lanes):
            return Stream(side, over, many, few, outputs, count)
    return None


def _plain(operand: Operand) -> Over | None:
    """What runs along memory in a matrix without guards."""
    panel, steps = operand.address.panel, operand.address.steps
    if operand.guards or not panel.is_linear or not steps.is_linear:
        return None
    if panel.stride == 1:
        return "panel"
    return "steps" if steps.stride == 1 else None


def _broadcasts(operand: Operand) -> bool:
    """Whether single words of it are found by two strides."""
    address = operand.address
    return operand.dtype == DType.F32 and not operand.guards and address.panel.is_linear and address.steps.is_linear


def emit_stream(
    module: ir.Module, name: str, contraction: Contraction, stream: Stream, target: Target
) -> KernelFunction:
    """The function of a contraction that streams: tasks are groups of strips of a batch entry."""
    return _StreamFunction(module, name, contraction, stream, target).emit()


class _StreamFunction:
    """The one phase of a streaming contraction."""

    def __init__(self, module: ir.Module, name: str, contraction: Contraction, stream: Stream, target: Target) -> None:
        self.module, self.name, self.contraction, self.stream, self.target = module, name, contraction, stream, target
        self.lanes = target.lanes
        self.width = stream.vectors(self.lanes) * self.lanes  # outputs of a strip
        self.strips = -(-stream.outputs // self.width)
        batches, steps = contraction.batch.size, contraction.steps.size
        self.nbytes = stream.outputs * steps * stream.many.dtype.size  # of a batch entry
        wanted = max(1, min(self.nbytes // TASK_BYTES, MOST_TASKS // batches, self.strips))
        self.per_task = -(-self.strips // wanted)
        self.groups = -(-self.strips // self.per_task)
        if stream.side == "columns":
            self.tiles = TileFormat(self.lanes, stream.count, self.width // self.lanes, stream.count)
        else:
            self.tiles = TileFormat(self.lanes, self.width, 1, self.lanes)

    def emit(self) -> KernelFunction:
        c = self.contraction
        finish = epilogue_function(self.module, f"{self.name}.epilogue", c, self.target, self.tiles)
        s, abreast = self.stream, self.stream.side == "columns"
        strip = strip_function(
            self.module, self.target, s.over, s.many.dtype, s.count, s.vectors(self.lanes), self.tiles.columns, abreast
        )
        function = declare_phase(self.module, f"{self.name}.run")
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        operands, task_lo, task_hi, step, _, totals = function.args
        many = load_operand(builder, self.stream.many.slot)
        few = load_operand(builder, self.stream.few.slot)
        with counted(builder, task_lo, task_hi) as task:
            batch, group = builder.udiv(task, i64(self.groups)), builder.urem(task, i64(self.groups))
            many_start = self._start(builder, many, self.stream.many, batch)
            few_start = self._start(builder, few, self.stream.few, batch)
            first = builder.mul(group, i64(self.per_task))
            last = smaller(builder, builder.add(first, i64(self.per_task)), i64(self.strips))
            with counted(builder, first, last) as number:
                start = builder.mul(number, i64(self.width))
                open = smaller(builder, builder.sub(i64(self.stream.outputs), start), i64(self.width))
                self._strip(builder, strip, few_start, many_start, start, open, totals)
                streamed, others = (start, open), (i64(0), i64(self.stream.count))
                rows, columns = (others, streamed) if self.stream.side == "columns" else (streamed, others)
                builder.call(finish, [operands, step, batch, *rows, *columns, totals, I1(0)])
        builder.ret_void()
        cost = NS_PER_BYTE * self.nbytes * c.batch.size * (1 if self.target.has_fma else 5 * self.stream.count)
        scratch = self.tiles.nbytes + 4 * self.width + 64
        return KernelFunction((Phase(function.name, c.batch.size * self.groups, cost),), scratch_bytes=scratch)

    def _start(self, builder: ir.IRBuilder, pointer: ir.Value, operand: Operand, batch: ir.Value) -> ir.Value:
        """Where an operand's batch entry lies."""
        offset = builder.add(emit_form(builder, operand.address.batch, batch), i64(operand.address.base))
        return advance(builder, pointer, offset, MEMORY_TYPE[operand.dtype])

    def _strip(
        self,
        builder: ir.IRBuilder,
        strip: ir.Function,
        few: ir.Value,
        many: ir.Value,
        start: ir.Value,
        open: ir.Value,
        totals: ir.Value,
    ) -> None:
        """All blocks of a strip."""
        steps, block = self.contraction.steps.size, self.contraction.block
        panel, along = self.stream.many.address.panel, self.stream.many.address.steps
        few_address = self.stream.few.address
        pitch = along.stride if self.stream.over == "panel" else panel.stride
        element = MEMORY_TYPE[self.stream.many.dtype]
        here = advance(builder, many, builder.mul(start, i64(panel.stride)), element)
        with counted(builder, i64(0), i64(steps), block) as k:
            left = builder.sub(i64(steps), k)
            arguments = [
                smaller(builder, left, i64(block)),
                advance(builder, few, builder.mul(k, i64(few_address.steps.stride))),
                i64(few_address.panel.stride),
                i64(few_address.steps.stride),
                advance(builder, here, builder.mul(k, i64(along.stride)), element),
                i64(pitch),
                left,
                i64(self.width * panel.stride),
                open,
                totals,
                builder.icmp_signed("==", k, i64(0)),
            ]
            builder.call(strip, arguments)
