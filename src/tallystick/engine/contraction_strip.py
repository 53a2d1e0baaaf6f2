"""The innermost loops of a contraction that streams: all chains of one strip of outputs, one block of steps."""

from __future__ import annotations

from llvmlite import ir

from tallystick.engine import arithmetic
from tallystick.engine.emit import Emitter, iota
from tallystick.engine.gemm_control import advance, i64, masked_load, prefetch, reserve, smaller, splat, zeros
from tallystick.engine.gemm_pack import transposed, turned_fours
from tallystick.engine.kernel_function import POINTER
from tallystick.engine.loops import Loop
from tallystick.engine.storage import MEMORY_TYPE, widen
from tallystick.engine.target import Target
from tallystick.engine.words import F32, I1, I32, I64, lane_numbers, splat_constant, vector
from tallystick.spec.tensors import DType

STRIP = ir.FunctionType(ir.VoidType(), [I64, POINTER, I64, I64, POINTER, *[I64] * 4, POINTER, I1])
"""``void strip(i64 steps, ptr few, i64 few_pitch, i64 few_step, ptr many, i64 pitch, i64 left, i64 next, i64 open,
ptr totals, i1 fresh)``

``few``    words to broadcast: of number c and step k at ``c * few_pitch + k * few_step``
``many``   the streaming operand; ``pitch`` elements from one step (along) or output (across) to the next
``left``   steps in this and later blocks, ``next`` elements on lies the next strip: what to ask memory for
``open``   outputs that count
``fresh``  the ends of chains are the totals; else they are added to them
"""

LINE = 64  # bytes
AHEAD_STEPS = 12  # along: memory is asked for so many steps before it is needed
AHEAD_BYTES = 1536  # across: so many bytes before


class Strip:
    """Emits one strip function. ``outputs`` of the totals are ``pitch`` words apart, the ``count`` few next to each
    other; or the other way round, if ``abreast``.
    """

    def __init__(
        self, function: ir.Function, target: Target, dtype: DType, count: int, vectors: int, pitch: int, abreast: bool
    ) -> None:
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.emitter = Emitter(self.builder, target)
        self.target, self.dtype, self.count, self.vectors = target, dtype, count, vectors
        self.pitch_of_totals, self.abreast = pitch, abreast
        self.lanes, self.element = target.lanes, MEMORY_TYPE[dtype]
        self.float_vector, self.raw_vector = vector(F32, self.lanes), vector(self.element, self.lanes)
        self.steps, self.few, self.few_pitch, self.few_step, self.many, self.pitch = function.args[:6]
        self.left, self.next, self.open, self.totals, self.fresh = function.args[6:]

    # ALONG
    def along(self) -> None:
        """Neighbours in memory are outputs."""
        builder = self.builder
        whole, part = (builder.append_basic_block(name) for name in ("whole", "part"))
        full = builder.icmp_signed("==", self.open, i64(self.vectors * self.lanes))
        builder.cbranch(full, whole, part)
        for block, masked in ((whole, False), (part, True)):
            builder.position_at_end(block)
            self._along(masked)
            builder.ret_void()

    def _along(self, masked: bool) -> None:
        builder = self.builder
        numbers = [i64(vector * self.lanes) for vector in range(self.vectors)]
        masks = [self._mask(builder.sub(self.open, number)) if masked else None for number in numbers]
        loop = Loop(builder, i64(0), self.steps, carried=self._zeros())
        row = advance(builder, self.many, builder.mul(loop.index, self.pitch), self.element)
        words = [
            self._load(advance(builder, row, at, self.element), mask) for at, mask in zip(numbers, masks, strict=True)
        ]
        ahead = builder.add(loop.index, i64(AHEAD_STEPS))
        beyond = builder.sub(ahead, self.left)
        other = builder.add(builder.mul(beyond, self.pitch), self.next)
        wraps = builder.icmp_signed(">=", beyond, i64(0))
        soon = advance(builder, self.many, builder.select(wraps, other, builder.mul(ahead, self.pitch)), self.element)
        for byte in range(0, self.vectors * self.lanes * self.dtype.size, LINE):
            prefetch(builder, advance(builder, soon, i64(byte // self.dtype.size), self.element))
        self._finish(loop.close(self._multiplied(loop.index, words, loop.carried)))

    # ACROSS
    def across(self) -> None:
        """Neighbours in memory are steps: squares are turned, one for every vector of outputs."""
        builder, lanes = self.builder, self.lanes
        columns = reserve(builder, ir.ArrayType(F32, self.vectors * lanes * lanes), align=64)
        last = builder.sub(self.open, i64(1))  # outputs past it are the last one again, for which nobody asks
        rows = [builder.mul(smaller(builder, i64(row), last), self.pitch) for row in range(self.vectors * lanes)]
        places = [advance(builder, self.many, row, self.element) for row in rows]
        whole = builder.and_(self.steps, i64(-lanes))
        loop = Loop(builder, i64(0), whole, lanes, carried=self._zeros())
        self._announce(places, loop.index)
        values = list(loop.carried)
        for group in range(0, lanes, 4):
            at = builder.add(loop.index, i64(group))
            quads = [self._turned_quads(places[first : first + lanes], at) for first in range(0, len(places), lanes)]
            for number, words in enumerate(zip(*quads, strict=True)):
                values = self._multiplied(builder.add(at, i64(number)), list(words), values)
        values = loop.close(values)
        self._finish(self._rest(places, columns, whole, values))
        builder.ret_void()

    def _turned_quads(self, places: list[ir.Value], at: ir.Value) -> list[ir.Value]:
        """Four columns of a square: vectors are put together from four words each, which loading does on its way, so
        that only the squares of four are left to turn.
        """
        builder, apart = self.builder, self.lanes // 4
        rows: list[ir.Value] = []
        for row in range(4):
            mine = [advance(builder, place, at, self.element) for place in places[row::4]]
            parts = [builder.load(place, align=self.dtype.size, typ=vector(self.element, 4)) for place in mine]
            while len(parts) > 1:
                both = lane_numbers(tuple(range(2 * parts[0].type.count)))
                parts = [builder.shuffle_vector(a, b, both) for a, b in zip(parts[::2], parts[1::2], strict=True)]
            rows.append(self._widened(parts[0]))
        assert len(places) == 4 * apart, "a square has as many rows as columns"
        return turned_fours(builder, rows)

    def _announce(self, places: list[ir.Value], at: ir.Value) -> None:
        """Ask for the square so many bytes on, or as many into the next strip."""
        builder, ahead = self.builder, AHEAD_BYTES // self.dtype.size
        soon = builder.add(at, i64(ahead))
        beyond = builder.sub(soon, self.left)
        wraps = builder.icmp_signed(">=", beyond, i64(0))
        offset = builder.select(wraps, builder.add(beyond, self.next), soon)
        for place in places:
            prefetch(builder, advance(builder, place, offset, self.element))

    def _rest(
        self, places: list[ir.Value], columns: ir.Value, whole: ir.Value, values: list[ir.Value]
    ) -> list[ir.Value]:
        """The steps that fill no square: it is turned in memory, and its columns are taken one by one."""
        builder, lanes, width = self.builder, self.lanes, self.vectors * self.lanes
        rest = builder.sub(self.steps, whole)
        before = builder.block
        with builder.if_then(builder.icmp_signed("!=", rest, i64(0))):
            mask = self._mask(rest)
            for first in range(0, width, lanes):
                mine = [advance(builder, place, whole, self.element) for place in places[first : first + lanes]]
                for number, column in enumerate(transposed(builder, [self._load(place, mask) for place in mine])):
                    place = advance(builder, columns, i64(number * width + first))
                    builder.store(column, place, align=4 * lanes)
            loop = Loop(builder, i64(0), rest, carried=values)
            row = advance(builder, columns, builder.mul(loop.index, i64(width)))
            words = [
                builder.load(advance(builder, row, i64(first)), align=4 * lanes, typ=self.float_vector)
                for first in range(0, width, lanes)
            ]
            after = loop.close(self._multiplied(builder.add(whole, loop.index), words, loop.carried))
            inside = builder.block
        merged: list[ir.Value] = []
        for old, new in zip(values, after, strict=True):
            phi = builder.phi(self.float_vector)
            phi.add_incoming(new, inside)
            phi.add_incoming(old, before)
            merged.append(phi)
        return merged

    # BOTH
    def _zeros(self) -> list[ir.Value]:
        """The chains' start: of the few in turn, all their vectors."""
        return [splat_constant(F32, 0.0, self.lanes)] * (self.count * self.vectors)

    def _mask(self, count: ir.Value) -> ir.Value:
        """The first so many lanes; none, or all, if it is out of range."""
        builder = self.builder
        return builder.icmp_signed("<", iota(self.lanes), splat(builder, builder.trunc(count, I32), self.lanes))

    def _load(self, place: ir.Value, mask: ir.Value | None) -> ir.Value:
        if mask is None:
            raw = self.builder.load(place, align=self.dtype.size, typ=self.raw_vector)
        else:
            raw = masked_load(self.builder, place, mask, zeros(self.raw_vector))
        return self._widened(raw)

    def _widened(self, raw: ir.Value) -> ir.Value:
        return raw if self.dtype == DType.F32 else self.emitter.as_float(widen(self.emitter, self.dtype, raw))

    def _multiplied(self, step: ir.Value, words: list[ir.Value], values: list[ir.Value]) -> list[ir.Value]:
        """All chains one step further."""
        builder = self.builder
        here = advance(builder, self.few, builder.mul(step, self.few_step))
        after: list[ir.Value] = []
        for number in range(self.count):
            place = advance(builder, here, builder.mul(self.few_pitch, i64(number)))
            factor = splat(builder, builder.load(place, align=4, typ=F32), self.lanes)
            for which, word in enumerate(words):
                value = values[number * self.vectors + which]
                after.append(arithmetic.fused_multiply_add(builder, self.target, factor, word, value))
        return after

    def _finish(self, values: list[ir.Value]) -> None:
        """Store the chains' ends, or add them to the totals."""
        builder = self.builder
        for place, value in enumerate(values):
            number, which = divmod(place, self.vectors)
            if self.abreast:
                at = advance(builder, self.totals, i64(number * self.pitch_of_totals + which * self.lanes))
                self._merge(at, value, 4 * self.lanes)
                continue
            for lane in range(self.lanes):
                at = advance(builder, self.totals, i64((which * self.lanes + lane) * self.pitch_of_totals + number))
                self._merge(at, builder.extract_element(value, ir.Constant(I32, lane)), 4)

    def _merge(self, place: ir.Value, value: ir.Value, align: int) -> None:
        builder = self.builder
        old = builder.load(place, align=align, typ=value.type)
        builder.store(builder.select(self.fresh, value, builder.fadd(old, value)), place, align=align)


def strip_function(
    module: ir.Module, target: Target, over: str, dtype: DType, count: int, vectors: int, pitch: int, abreast: bool
) -> ir.Function:
    """A function of type `STRIP`, shared by all contractions that stream in the same way."""
    name = f"stream.{over}.{dtype.name.lower()}.{count}x{vectors}.{pitch}{'.abreast' if abreast else ''}"
    known = module.globals.get(name)
    if known is not None:
        return known
    function = ir.Function(module, STRIP, name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    function.attributes.add("noinline")
    strip = Strip(function, target, dtype, count, vectors, pitch, abreast)
    if over == "panel":
        strip.along()
    else:
        strip.across()
    return function
