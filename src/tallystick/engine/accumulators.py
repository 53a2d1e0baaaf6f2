"""Accumulators of folds, scans and scatters: how they are carried, and how two sets of them merge."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from tallystick.engine.emit import float_accumulator
from tallystick.engine.kernel_context import KernelContext
from tallystick.engine.words import CANONICAL_NAN, F32, I32, NEVER, SIGN, Word, constant_word, vector
from tallystick.spec.instructions import FLOAT_RESULT, Code, Op
from tallystick.spec.kernels import Kernel
from tallystick.spec.tensors import DType, TensorType

_FLOATS = frozenset({DType.F32, DType.BF16, DType.F16})


class Accumulators:
    """The accumulators of a fold: each carried as a float whose NaNs are repaired when seen, or as exact 32 bits."""

    def __init__(self, context: KernelContext, init: Sequence[int], merge: Code, floats: Sequence[bool]) -> None:
        self.context = context
        self.init = tuple(init)
        self.merge_code = merge
        self.floats = tuple(floats)

    def __len__(self) -> int:
        return len(self.init)

    def start(self, lanes: int) -> list[ir.Value]:
        """The initial words in every lane."""
        return self.values([constant_word(word) for word in self.init], lanes)

    def values(self, words: Sequence[Word], lanes: int) -> list[ir.Value]:
        """Words as they are carried."""
        emitter = self.context.emitter
        words = [emitter.widen(word, lanes) for word in words]
        for word, is_float in zip(words, self.floats, strict=True):
            assert not is_float or word.exact or word.nan == CANONICAL_NAN, "a float accumulator has one NaN"
        return [emitter.as_float(w) if f else emitter.as_int(w) for w, f in zip(words, self.floats, strict=True)]

    def words(self, values: Sequence[ir.Value]) -> list[Word]:
        """Carried values as words."""
        return [float_accumulator(v) if f else Word(v) for v, f in zip(values, self.floats, strict=True)]

    def types(self, lanes: int) -> list[ir.Type]:
        return [vector(F32 if is_float else I32, lanes) for is_float in self.floats]

    def dtype(self, number: int) -> DType:
        """What an accumulator is kept as in memory."""
        return DType.F32 if self.floats[number] else DType.I32

    def merge(self, left: Sequence[ir.Value], right: Sequence[ir.Value], lanes: int) -> list[ir.Value]:
        """Two sets of carried values combined."""
        accumulators = self.words(left) + self.words(right)
        words = self.context.run(self.merge_code, self.context.origin(), accumulators=accumulators)
        return self.values(words, lanes)


def float_accumulators(kernel: Kernel, slots: Sequence[TensorType]) -> tuple[bool, ...]:
    """Which accumulators of a fold are never a NaN but the canonical one, so that they can be carried as floats."""
    assert kernel.fold is not None, "only folds have accumulators"
    floats = [_one_nan(constant_word(word)) for word in kernel.fold.init]
    while True:
        after_body = _results(kernel.body, floats, kernel, slots)
        after_merge = _results(kernel.fold.merge, floats + floats, kernel, slots)
        smaller = [a and b and c for a, b, c in zip(floats, after_body, after_merge, strict=True)]
        if smaller == floats:
            return tuple(floats)
        floats = smaller


def _results(code: Code, accumulators: Sequence[bool], kernel: Kernel, slots: Sequence[TensorType]) -> list[bool]:
    """For every result of a code: whether the only NaN it can be is the canonical one."""
    known: list[bool] = []
    for instruction in code.instructions:
        args = [known[register] for register in instruction.args]
        match instruction.op:
            case Op.CONST:
                fine = _one_nan(constant_word(instruction.imm))
            case Op.LOAD:
                fill = constant_word(kernel.loads[instruction.imm].fill)
                fine = slots[instruction.imm].dtype in _FLOATS and _one_nan(fill)
            case Op.ACC:
                fine = accumulators[instruction.imm]
            case Op.SELECT:
                fine = args[1] and args[2]
            case Op.AND:
                operands = [code.instructions[register] for register in instruction.args]
                magnitude = [operand.op == Op.CONST and operand.imm == SIGN - 1 for operand in operands]
                fine = (magnitude[0] and args[1]) or (magnitude[1] and args[0])
            case op:
                fine = op in FLOAT_RESULT
        known.append(fine)
    return [known[register] for register in code.results]


def _one_nan(word: Word) -> bool:
    return word.nan in (NEVER, CANONICAL_NAN)
