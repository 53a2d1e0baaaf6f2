"""Scalar expressions over the axes of a loop nest, with reads of tensors as leaves.

All expressions of one lowering live in one ``ScalarGraph``: equal expressions have equal numbers, constants are
folded, and only identities that hold bit for bit are applied. A leaf ``INDEX`` is an affine form of the axes, a leaf
``LOAD`` reads a tensor at a point given by affine (or computed) forms.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tallystick.capture.dtypes import FLOATS
from tallystick.capture.tensors.affine import Affine, Bound, Scalar, constant
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.instructions import FLOAT_RESULT, SOURCES, Instruction, Op, compute, signed
from tallystick.spec.tensors import DType

ONE = 0x3F800000
MINUS_ZERO = 0x80000000


class Read(NamedTuple):
    """A tensor read at a point: one form per axis of the tensor; ``fill`` where a bound is closed."""

    node: int
    dtype: DType
    index: tuple[Affine, ...]
    bounds: tuple[Bound, ...] = ()
    fill: int = 0


class ScalarGraph(CodeBuilder):
    """Hash-consed scalar expressions. The immediate of INDEX numbers a form, that of LOAD a read."""

    def __init__(self) -> None:
        super().__init__()
        self.first_step = 0
        self._forms: list[Affine] = []
        self._reads: list[Read] = []
        self._read_scalars: list[tuple[Scalar, ...]] = []  # what each read computes its index with
        self._leaves: dict[Affine | Read, Scalar] = {}
        self._emitted: dict[tuple[Op, tuple[Scalar, ...], int], Scalar] = {}
        self._moved: dict[tuple[Scalar, tuple[Affine, ...], int], Scalar] = {}

    # LEAVES
    def step(self) -> Scalar:
        """The number of the step, counted from ``first_step`` on."""
        number = super().step()
        return self.iadd(number, self.word(self.first_step)) if self.first_step else number

    def affine(self, form: Affine) -> Scalar:
        """The value of a form, as an integer."""
        if form.computed:
            result = self.affine(form._replace(computed=()))
            for stride, scalar in form.computed:
                result = self.iadd(result, self.imul(scalar, self.word(stride)))
            return result
        if form.is_constant:
            return self.word(form.base)
        leaf = self._leaves.get(form)
        if leaf is None:
            leaf = self._leaves[form] = super().emit(Op.INDEX, imm=len(self._forms))
            self._forms.append(form)
        return leaf

    def read(self, read: Read) -> Scalar:
        """A read. A bound on a computed form becomes a choice after the read, for views have only affine bounds."""
        leaf = self._leaves.get(read)
        if leaf is not None:
            return leaf
        computed = [bound for bound in read.bounds if bound.form.computed]
        if computed:
            kept = tuple(bound for bound in read.bounds if not bound.form.computed)
            inside = self.inside(computed)
            return self.select(inside, self.read(read._replace(bounds=kept)), self.word(read.fill))
        leaf = self._leaves[read] = super().emit(Op.LOAD, imm=len(self._reads))
        self._reads.append(read)
        self._read_scalars.append(tuple(scalar for form in read.index for _, scalar in form.computed))
        return leaf

    def inside(self, bounds: Iterable[Bound]) -> Scalar:
        """1 where every bound is open, else 0."""
        result = self.word(1)
        for bound in bounds:
            # Unsigned: a negative number is a large one.
            open_here = self.ult(self.affine(bound.form), self.word(bound.limit))
            result = self.and_(result, open_here)
        return result

    def form_of(self, scalar: Scalar) -> Affine | None:
        """The affine form that a leaf stands for, if it is one."""
        instruction = self.instructions[scalar]
        return self._forms[instruction.imm] if instruction.op is Op.INDEX else None

    def read_of(self, scalar: Scalar) -> Read | None:
        """The read that a leaf stands for, if it is one."""
        instruction = self.instructions[scalar]
        return self._reads[instruction.imm] if instruction.op is Op.LOAD else None

    def constant_of(self, scalar: Scalar) -> int | None:
        """The word of a constant."""
        instruction = self.instructions[scalar]
        return instruction.imm if instruction.op is Op.CONST else None

    def as_affine(self, scalar: Scalar, axes: int) -> Affine:
        """A form equal to an integer expression: affine parts as strides, the rest computed."""
        instruction = self.instructions[scalar]
        form = self.form_of(scalar)
        if form is not None:
            return form
        if instruction.op is Op.CONST:
            return constant(signed(instruction.imm), axes)
        if instruction.op in (Op.IADD, Op.ISUB):
            left, right = (self.as_affine(arg, axes) for arg in instruction.args)
            return left.plus(right.scaled(-1 if instruction.op is Op.ISUB else 1))
        if instruction.op is Op.IMUL:
            left, right = (self.as_affine(arg, axes) for arg in instruction.args)
            if left.is_constant:
                return right.scaled(left.base)
            if right.is_constant:
                return left.scaled(right.base)
        return Affine(0, (0,) * axes, ((1, scalar),))

    # INSTRUCTIONS
    def emit(self, op: Op, *args: Scalar, imm: int = 0) -> Scalar:
        """An instruction, or something that always has the same value."""
        key = (op, args, imm)
        scalar = self._emitted.get(key)
        if scalar is None:
            scalar = None if op in SOURCES else self._simplified(op, args)
            if scalar is None:
                scalar = super().emit(op, *args, imm=imm)
            self._emitted[key] = scalar
        return scalar

    def _simplified(self, op: Op, args: tuple[Scalar, ...]) -> Scalar | None:
        words = [self.constant_of(arg) for arg in args]
        if all(word is not None for word in words):
            return self.word(compute(op, [word for word in words if word is not None]))
        if op is Op.SELECT:
            return self._simplified_select(args, words)
        if len(args) != 2:
            return None
        if op in (Op.IADD, Op.ISUB, Op.IMUL):
            return self._simplified_integer(op, args, words)
        return self._simplified_float(op, args, words)

    def _simplified_select(self, args: tuple[Scalar, ...], words: list[int | None]) -> Scalar | None:
        _, a, b = args
        if words[0] is not None:
            return a if words[0] else b
        return a if a == b else None

    def _simplified_integer(self, op: Op, args: tuple[Scalar, ...], words: list[int | None]) -> Scalar | None:
        x, y = args
        if words[1] == 0 and op is not Op.IMUL:
            return x
        if words[0] == 0 and op is Op.IADD:
            return y
        if op is Op.IMUL and (words[0] == 1 or words[1] == 1):
            return y if words[0] == 1 else x
        if op is Op.IMUL and (words[0] == 0 or words[1] == 0):
            return self.word(0)
        left, right = self.form_of(x), self.form_of(y)
        if op is Op.IMUL:
            if left is not None and words[1] is not None:
                return self.affine(left.scaled(signed(words[1])))
            if right is not None and words[0] is not None:
                return self.affine(right.scaled(signed(words[0])))
            return None
        sign = -1 if op is Op.ISUB else 1
        if left is not None and right is not None:
            return self.affine(left.plus(right.scaled(sign)))
        if left is not None and words[1] is not None:
            return self.affine(left.shifted(sign * signed(words[1])))
        if right is not None and words[0] is not None:
            return self.affine(right.scaled(sign).shifted(signed(words[0])))
        return None

    def _simplified_float(self, op: Op, args: tuple[Scalar, ...], words: list[int | None]) -> Scalar | None:
        x, y = args
        match op:
            case Op.FMUL if words[1] == ONE and self._is_float(x):
                return x
            case Op.FMUL if words[0] == ONE and self._is_float(y):
                return y
            case Op.FSUB if words[1] == 0 and self._is_float(x):
                return x
            case Op.FADD if words[1] == MINUS_ZERO and self._is_float(x):
                return x
            case Op.FADD if words[0] == MINUS_ZERO and self._is_float(y):
                return y
            case Op.FDIV if words[1] is not None:
                reciprocal = exact_reciprocal(words[1])
                return None if reciprocal is None else self.fmul(x, self.word(reciprocal))
            case Op.AND | Op.OR | Op.XOR if words[1] == 0:
                return self.word(0) if op is Op.AND else x
            case Op.AND | Op.OR | Op.XOR if words[0] == 0:
                return self.word(0) if op is Op.AND else y
            case Op.AND if words[1] == 1 and self.is_truth(x):
                return x
            case Op.AND if words[0] == 1 and self.is_truth(y):
                return y
        return None

    def _is_float(self, scalar: Scalar) -> bool:
        """Whether the word is certainly a binary32 whose NaN is the canonical one."""
        instruction = self.instructions[scalar]
        read = self.read_of(scalar)
        if read is not None:
            return read.dtype in FLOATS
        return instruction.op in FLOAT_RESULT

    def is_truth(self, scalar: Scalar) -> bool:
        """Whether the word is certainly 0 or 1."""
        instruction = self.instructions[scalar]
        match instruction.op:
            case Op.FLT | Op.FLE | Op.FEQ | Op.ILT | Op.ULT | Op.IEQ:
                return True
            case Op.CONST:
                return instruction.imm in (0, 1)
            case Op.LOAD:
                read = self._reads[instruction.imm]
                return read.dtype is DType.BOOL and read.fill in (0, 1)
            case Op.AND | Op.OR | Op.XOR:
                return all(self.is_truth(arg) for arg in instruction.args)
            case Op.SELECT:
                return all(self.is_truth(arg) for arg in instruction.args[1:])
        return False

    # REWRITING
    def reachable(self, roots: Iterable[Scalar]) -> list[Scalar]:
        """Every expression that the roots need, operands first."""
        seen: set[Scalar] = set()
        stack = list(roots)
        while stack:
            scalar = stack.pop()
            if scalar not in seen:
                seen.add(scalar)
                stack.extend(self.instructions[scalar].args)
        return sorted(seen)

    def closure(self, roots: Iterable[Scalar]) -> list[Scalar]:
        """Every expression that the roots need, also in computed indices of reads, operands first."""
        seen: set[Scalar] = set()
        stack = list(roots)
        instructions, read_scalars = self.instructions, self._read_scalars
        while stack:
            scalar = stack.pop()
            if scalar in seen:
                continue
            seen.add(scalar)
            instruction = instructions[scalar]
            if instruction.args:
                stack.extend(instruction.args)
            elif instruction.op is Op.LOAD:
                stack.extend(read_scalars[instruction.imm])
        return sorted(seen)

    def rewrite(self, root: Scalar, leaf: Callable[[Scalar, Instruction], Scalar]) -> Scalar:
        """The same expression with every source instruction replaced."""
        place: dict[Scalar, Scalar] = {}
        for scalar in self.reachable([root]):
            instruction = self.instructions[scalar]
            if instruction.op in SOURCES:
                place[scalar] = leaf(scalar, instruction)
            else:
                place[scalar] = self.emit(instruction.op, *(place[arg] for arg in instruction.args))
        return place[root]

    def move(self, root: Scalar, forms: Sequence[Affine], axes: int) -> Scalar:
        """The expression over other axes: its own axis i is ``forms[i]`` of them."""
        key = (root, tuple(forms), axes)
        if key not in self._moved:
            self._moved[key] = self.rewrite(root, lambda scalar, _: self._move_leaf(scalar, key[1], axes))
        return self._moved[key]

    def _move_leaf(self, scalar: Scalar, forms: tuple[Affine, ...], axes: int) -> Scalar:
        form = self.form_of(scalar)
        if form is not None:
            return self.affine(self.compose(form, forms, axes))
        read = self.read_of(scalar)
        if read is not None:
            return self.read(self.move_read(read, forms, axes))
        return scalar

    def move_read(self, read: Read, forms: Sequence[Affine], axes: int) -> Read:
        """The same read over other axes."""
        index = tuple([self.compose(form, forms, axes) for form in read.index])
        bounds = tuple([Bound(self.compose(bound.form, forms, axes), bound.limit) for bound in read.bounds])
        return Read(read.node, read.dtype, index, bounds, read.fill)

    def compose(self, form: Affine, forms: Sequence[Affine], axes: int) -> Affine:
        """A form over other axes: its own axis i is ``forms[i]`` of them."""
        assert len(form.strides) == len(forms), "one form per axis"
        base, strides = form.base, [0] * axes
        computed: list[tuple[int, Scalar]] = []
        for stride, inner in zip(form.strides, forms, strict=True):
            if stride:
                base += stride * inner.base
                for i, s in enumerate(inner.strides):
                    strides[i] += stride * s
                computed.extend((stride * s, scalar) for s, scalar in inner.computed)
        for stride, scalar in form.computed:
            moved = self.as_affine(self.move(scalar, forms, axes), axes).scaled(stride)
            base += moved.base
            strides = [a + b for a, b in zip(strides, moved.strides, strict=True)]
            computed.extend(moved.computed)
        return Affine(base, tuple(strides), tuple(computed))


def exact_reciprocal(word: int) -> int | None:
    """1/x for a power of two whose reciprocal is a normal number: dividing by x is multiplying by it, to the bit."""
    exponent = (word >> 23) & 0xFF
    if word & 0x7FFFFF or not 1 <= exponent <= 253:
        return None
    return struct.unpack("<I", struct.pack("<f", 1.0 / struct.unpack("<f", struct.pack("<I", word))[0]))[0]
