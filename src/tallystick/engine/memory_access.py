"""Loads and stores through views: contiguous, broadcast, strided, guarded and computed addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from tallystick.engine import storage
from tallystick.engine.arithmetic import intrinsic, overloaded, type_name
from tallystick.engine.emit import Emitter, iota
from tallystick.engine.loops import i64
from tallystick.engine.points import Affine, Point, add, affine, extended, lane_offsets, reach, times, whole
from tallystick.engine.words import (
    I1,
    I32,
    I64,
    LaneNumbers,
    Literal,
    Word,
    constant_word,
    lane_numbers,
    lanes_of,
    splat_constant,
    vector,
)
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, Guard, View

_FAR = 1 << 42  # beyond every limit of a guard and every size of a tensor
Registers = Sequence[Word | None]


@dataclass(frozen=True, slots=True)
class Located:
    """An element address at a point, and where it is open: None everywhere, or an i1 for all lanes or for each."""

    place: Affine
    open: ir.Value | None

    @property
    def contiguous(self) -> bool:
        return self.place.step == 1 and self.place.wide is None


def _is_near(offsets: Sequence[int]) -> bool:
    """Whether two vectors hold everything from the first to the last of the elements."""
    return max(offsets) - min(offsets) < 2 * len(offsets)


class MemoryAccess:
    """Reads and writes tensors at points of a nest with the given extents."""

    def __init__(self, emitter: Emitter, extents: Sequence[int]) -> None:
        self.emitter = emitter
        self.builder = emitter.builder
        self.extents = tuple(extents)

    # ADDRESSES
    def locate(self, address: Address, elements: int, point: Point, registers: Registers) -> Located:
        """Where an address leads in a tensor of so many elements."""
        place = affine(self.builder, address.base, address.strides, point, self.extents)
        is_open: ir.Value | None = None
        for guard in address.guards:
            if not self._always_open(guard, point):
                value = affine(self.builder, guard.base, guard.strides, point, self.extents)
                is_open = self._both(is_open, self._in_range(value, guard.limit, point.lanes))
        if address.computed:
            for stride, register in address.computed:
                place = self._plus_term(place, stride, registers[register], point.lanes)
            is_open = self._both(is_open, self._in_range(place, elements, point.lanes))
        return Located(place, is_open)

    def _always_open(self, guard: Guard, point: Point) -> bool:
        low, high = reach(guard.base, guard.strides, point, self.extents)
        return low >= 0 and high < guard.limit

    def _always_closed(self, guard: Guard, point: Point) -> bool:
        low, high = reach(guard.base, guard.strides, point, self.extents)
        return high < 0 or low >= guard.limit

    def _plus_term(self, place: Affine, stride: int, register: Word | None, lanes: int) -> Affine:
        assert register is not None, "an address is used after the registers it is computed from"
        word = self.emitter.as_int(register)
        if lanes_of(word) == 1:
            term = times(self.builder, self.builder.sext(word, I64), stride)
            return Affine(add(self.builder, place.scalar, term), place.step, place.wide)
        wide = vector(I64, lanes)
        term = self.builder.sext(word, wide)
        if stride != 1:
            term = self.builder.mul(term, splat_constant(I64, stride, lanes))
        if place.wide is not None:
            term = self.builder.add(term, extended(self.builder, place.wide, wide))
        return Affine(place.scalar, place.step, term)

    def _in_range(self, value: Affine, limit: int, lanes: int) -> ir.Value:
        """Where 0 <= value < limit."""
        builder = self.builder
        if not value.varies:
            return builder.icmp_unsigned("<", value.scalar, i64(limit))
        if value.step == 1 and value.wide is None:
            # Lanes from -scalar up to limit - scalar, both brought within the lanes.
            start = self._clamp(value.scalar, -_FAR, _FAR)
            first = self._clamp(builder.sub(i64(0), start), 0, lanes)
            last = self._clamp(builder.sub(i64(limit), start), 0, lanes)
            first, last = (self.emitter.broadcast(builder.trunc(v, I32), lanes) for v in (first, last))
            at_least = builder.icmp_unsigned(">=", iota(lanes), first)
            return builder.and_(at_least, builder.icmp_unsigned("<", iota(lanes), last))
        exact = whole(builder, value, lanes, self.emitter.broadcast(value.scalar, lanes))
        return builder.icmp_unsigned("<", exact, splat_constant(I64, limit, lanes))

    def _clamp(self, value: ir.Value, low: int, high: int) -> ir.Value:
        value = overloaded(self.builder, "llvm.smax", value, i64(low))
        return overloaded(self.builder, "llvm.smin", value, i64(high))

    def _both(self, a: ir.Value | None, b: ir.Value) -> ir.Value:
        if a is None:
            return b
        lanes = max(lanes_of(a), lanes_of(b))
        return self.builder.and_(self.emitter.broadcast(a, lanes), self.emitter.broadcast(b, lanes))

    def _mask(self, is_open: ir.Value | None, point: Point) -> ir.Value | None:
        """Which lanes touch memory, as a vector; None for all."""
        if is_open is None:
            return point.mask
        is_open = self.emitter.broadcast(is_open, point.lanes)
        return is_open if point.mask is None else self.builder.and_(is_open, point.mask)

    # LOADS
    def load(self, view: View, type: TensorType, tensor: ir.Value, point: Point, registers: Registers) -> Word:
        """The word a view yields at a point; a single lane if it is the same in all of them."""
        if any(self._always_closed(guard, point) for guard in view.address.guards):
            return constant_word(view.fill)
        located = self.locate(view.address, type.elements, point, registers)
        word = self.load_at(type.dtype, tensor, located, point)
        return word if located.open is None else self._or_fill(located.open, word, view.fill)

    def load_at(self, dtype: DType, tensor: ir.Value, located: Located, point: Point) -> Word:
        """The word at a located address; where it is not open, any word."""
        if not located.place.varies:
            return self._load_one(dtype, tensor, located, point)
        if located.contiguous:
            return self._load_contiguous(dtype, tensor, located, point)
        return self._load_gather(dtype, tensor, located, point)

    def _load_one(self, dtype: DType, tensor: ir.Value, located: Located, point: Point) -> Word:
        address = located.place.scalar
        any_open = located.open
        if any_open is not None:  # a closed address may lie anywhere: read element 0 instead
            if lanes_of(any_open) > 1:
                any_open = any_open if point.mask is None else self.builder.and_(any_open, point.mask)
                name = f"llvm.vector.reduce.or.{type_name(any_open.type)}"
                any_open = intrinsic(self.builder, name, I1, [any_open])
            address = self.builder.select(any_open, address, i64(0))
        return storage.widen(self.emitter, dtype, self._read(self._element(tensor, dtype, address), dtype, 1))

    def _load_contiguous(self, dtype: DType, tensor: ir.Value, located: Located, point: Point) -> Word:
        pointer = self._element(tensor, dtype, located.place.scalar)
        mask = self._mask(located.open, point)
        if mask is None:
            return storage.widen(self.emitter, dtype, self._read(pointer, dtype, point.lanes))
        name = f"llvm.masked.load.v{point.lanes}{type_name(storage.MEMORY_TYPE[dtype])}.p0"
        return storage.widen(self.emitter, dtype, self._masked_read(name, pointer, mask, dtype))

    def _load_gather(self, dtype: DType, tensor: ir.Value, located: Located, point: Point) -> Word:
        builder, lanes = self.builder, point.lanes
        mask = self._mask(located.open, point)
        hardware = self.emitter.target.isa == "avx512" and dtype.size == 4
        if mask is None or hardware:
            tensor = self._element(tensor, dtype, located.place.scalar)
            offsets = lane_offsets(builder, located.place, lanes)
            if mask is None and dtype.size == 4 and isinstance(offsets, LaneNumbers) and _is_near(offsets.numbers):
                return storage.widen(self.emitter, dtype, self._load_window(dtype, tensor, offsets.numbers))
        else:  # one by one: lanes that must not read elsewhere read element 0
            exact = whole(builder, located.place, lanes, self.emitter.broadcast(located.place.scalar, lanes))
            offsets = builder.select(mask, exact, splat_constant(I64, 0, lanes))
            mask = None
        if mask is None:
            mask = splat_constant(I1, 1, lanes)
        pointers = self._elements(tensor, dtype, offsets)
        name = f"llvm.masked.gather.v{lanes}{type_name(storage.MEMORY_TYPE[dtype])}.v{lanes}p0"
        return storage.widen(self.emitter, dtype, self._masked_read(name, pointers, mask, dtype))

    def _load_window(self, dtype: DType, tensor: ir.Value, offsets: Sequence[int]) -> ir.Value:
        """Elements near each other: what lies between the first and the last, in two loads, then put in their lanes.

        Nothing outside is read: the loads overlap if the window is not twice a power of two.
        """
        builder, lanes, first = self.builder, len(offsets), min(offsets)
        width = max(offsets) - first + 1
        size = min(1 << (width.bit_length() - 1), lanes)
        low = self._read(self._element(tensor, dtype, i64(first)), dtype, size)
        second = width - size  # where in the window the second load begins
        high = self._read(self._element(tensor, dtype, i64(first + second)), dtype, size) if second else low
        places = [offset - first for offset in offsets]
        return builder.shuffle_vector(
            low, high, lane_numbers(tuple(p if p < size else p - second + size for p in places))
        )

    def _or_fill(self, is_open: ir.Value, word: Word, fill: int) -> Word:
        lanes = max(lanes_of(is_open), lanes_of(word.value))
        word, filler = self.emitter.widen(word, lanes), constant_word(fill, lanes)
        return self.emitter.select(Word(self.emitter.broadcast(is_open, lanes)), word, filler)

    # STORES
    def store(self, dtype: DType, tensor: ir.Value, strides: Sequence[int], point: Point, word: Word) -> None:
        """Put a word (of one lane or all) where dense strides over all axes lead."""
        address = Address(0, tuple(strides))
        self.store_at(dtype, tensor, self.locate(address, 0, point, ()), point, word)

    def store_at(self, dtype: DType, tensor: ir.Value, located: Located, point: Point, word: Word) -> None:
        """Put a word (of one lane or all) at a located address, where it is open."""
        builder, lanes = self.builder, point.lanes
        raw = storage.narrow(self.emitter, dtype, self.emitter.widen(word, lanes))
        mask = self._mask(located.open, point)
        if lanes == 1 or (located.contiguous and mask is None):
            assert mask is None, "a single lane is stored by branching"
            builder.store(raw, self._element(tensor, dtype, located.place.scalar), align=dtype.size)
            return
        if mask is None:
            mask = splat_constant(I1, 1, lanes)
        tensor = self._element(tensor, dtype, located.place.scalar)
        if located.contiguous:
            name, places = f"llvm.masked.store.{type_name(raw.type)}.p0", tensor
        else:
            places = self._elements(tensor, dtype, lane_offsets(builder, located.place, lanes))
            name = f"llvm.masked.scatter.{type_name(raw.type)}.v{lanes}p0"
        intrinsic(builder, name, ir.VoidType(), [raw, places, mask], {1: dtype.size})

    # MEMORY
    def _element(self, tensor: ir.Value, dtype: DType, address: ir.Value) -> ir.Value:
        return self.builder.gep(tensor, [address], source_etype=storage.MEMORY_TYPE[dtype])

    def _elements(self, tensor: ir.Value, dtype: DType, offsets: ir.Value) -> ir.Value:
        pointers = self.builder.gep(tensor, [offsets], source_etype=storage.MEMORY_TYPE[dtype])
        pointers.type = ir.VectorType(pointers.type, lanes_of(offsets))  # which llvmlite does not see by itself
        return pointers

    def _read(self, pointer: ir.Value, dtype: DType, lanes: int) -> ir.Value:
        return self.builder.load(pointer, typ=vector(storage.MEMORY_TYPE[dtype], lanes), align=dtype.size)

    def _masked_read(self, name: str, pointer: ir.Value, mask: ir.Value, dtype: DType) -> ir.Value:
        """A masked load or gather; lanes outside the mask are 0."""
        memory = vector(storage.MEMORY_TYPE[dtype], lanes_of(mask))
        zeros = Literal(memory, "zeroinitializer")
        return intrinsic(self.builder, name, memory, [pointer, mask, zeros], {0: dtype.size})
