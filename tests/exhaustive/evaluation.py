"""Elementary functions on many words at once, through the engine."""

from __future__ import annotations

import numpy as np

from exhaustive.functions import Function
from exhaustive.measure import Words
from tallystick.engine import Engine
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, View

BLOCK_BITS = 15
BLOCK = 1 << BLOCK_BITS


def sweeping_program(function: Function) -> Program:
    """Step s applies a function to the words s * BLOCK ... (s + 1) * BLOCK - 1. Results are words, as they are."""
    b = CodeBuilder()
    word = b.or_(b.shl(b.step(), b.word(BLOCK_BITS)), b.index(0))
    body, _ = b.build(function.write(b, word))
    words = TensorType(DType.I32, (BLOCK,))
    return Program((words,), (), (Kernel((BLOCK,), (), (), body, (DType.I32,)),), (1,))


def applying_program(function: Function, count: int) -> Program:
    """Applies a function to constants, one per operand."""
    words = TensorType(DType.I32, (count,))
    loads = tuple(View(1 + operand, Address(0, (1,))) for operand in range(function.operands))
    kernel = Kernel((count,), (), loads, function.code, (DType.I32,))
    return Program((words,), (words,) * function.operands, (kernel,), (1 + function.operands,))


def apply(function: Function, *operands: Words) -> Words:
    """A function of words; results are words."""
    engine = Engine(applying_program(function, len(operands[0])), threads=1)
    start = np.zeros(len(operands[0]), np.int32)
    with engine.start([start], [operand.view(np.int32) for operand in operands]) as session:
        session.advance(1)
        return session.state()[0].view(np.uint32)
