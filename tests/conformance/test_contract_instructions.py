"""The contracts' arithmetic, the definition and the engine on the same operands, many of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyrevm")

from conformance.implementations import NUMPY
from evm.arithmetic import Arithmetic
from evm.contracts import Reverted
from evm.operands import operands
from sample_programs import i32
from tallystick.engine import Engine
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.instructions import ARITY, SOURCES, Op, compute
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType, is_storable, narrow, widen
from tallystick.spec.views import Address, View

COMPUTING = [op for op in Op if op not in SOURCES]
CASES = pytest.mark.parametrize(
    "count", [20_000, pytest.param(250_000, marks=pytest.mark.slow)], ids=lambda count: f"{count}-cases"
)
BITS = {1: np.dtype("u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4")}
MOST_GAS = {  # of one instruction, dispatch included
    **dict.fromkeys(COMPUTING, 1_100),
    **dict.fromkeys((Op.FADD, Op.FSUB, Op.FMUL, Op.FDIV, Op.FSQRT, Op.FFMA, Op.FRINT, Op.I2F), 2_900),
}


@pytest.fixture(scope="module")
def contract() -> Arithmetic:
    return Arithmetic()


def assert_equal_words(who: str, got: np.ndarray, want: np.ndarray, rows: np.ndarray) -> None:
    different = np.flatnonzero(got != want)
    if len(different):
        first = different[0]
        arguments = ", ".join(f"{word:#010x}" for word in rows[first])
        raise AssertionError(
            f"{who}: {len(different)} of {len(want)} differ; first ({arguments}): {got[first]:#x}, not {want[first]:#x}"
        )


def on_engine(cache: Path, columns: np.ndarray, type: DType, ops: tuple[Op, ...], stored: DType) -> np.ndarray:
    """The bits a map stores that loads an element of every column and applies some instructions, one after the other.

    The first instruction takes what was loaded, the others what the one before gave. Shapes: (n, k) -> (n,)
    """
    count, width = columns.shape
    builder = CodeBuilder()
    registers = [builder.load(slot) for slot in range(width)]
    for op in ops:
        registers = [builder.emit(op, *registers)]
    body, _ = builder.build(registers[0])
    views = tuple(View(1 + slot, Address(0, (1,))) for slot in range(width))
    kernel = Kernel((count,), (), views, body, (stored,))
    program = Program((i32(1),), (TensorType(type, (count,)),) * width, (kernel,), (0,))
    constants = [np.ascontiguousarray(columns[:, k].astype(BITS[type.size])).view(NUMPY[type]) for k in range(width)]
    values = Engine(program, threads=1, cache=cache).trace([np.zeros(1, np.int32)], constants, 0)
    return values[-1].view(BITS[stored.size]).astype(np.uint32)


@CASES
@pytest.mark.parametrize("op", COMPUTING, ids=lambda op: op.name)
def test_instruction(contract: Arithmetic, code_cache: Path, op: Op, count: int) -> None:
    rows = operands(ARITY[op], count, seed=op)
    assert len(rows) >= count
    want = np.array([compute(op, row) for row in rows.tolist()], dtype=np.uint32)
    results = contract.compute(op, rows)
    assert_equal_words("contract", results.words, want, rows)
    assert_equal_words("engine", on_engine(code_cache, rows, DType.I32, (op,), DType.I32), want, rows)
    assert results.gas.max() <= MOST_GAS[op], f"{op.name} takes {results.gas.max()} gas"


def words_to_store(count: int) -> np.ndarray:
    """Special and drawn words, and for the narrow floats every midpoint between neighbours, with its neighbours."""
    halves = np.arange(1 << 16, dtype=np.int64)
    bfloat16 = (halves << 16)[:, None] + np.array([0x7FFF, 0x8000, 0x8001])
    float16 = (0x33000000 + (halves << 12))[:, None] + np.array([-1, 0, 1])
    subnormal16 = (0x32800000 + (halves << 9))[:, None] + np.array([-1, 0, 1])
    between = np.concatenate([bfloat16.ravel(), float16.ravel(), subnormal16.ravel()])
    some = between[:: max(1, 2 * len(between) // count)] & 0xFFFFFFFF
    return np.concatenate([some.astype(np.uint32), operands(1, count // 2, seed=1).ravel()])


@CASES
@pytest.mark.parametrize("dtype", DType, ids=lambda dtype: dtype.name)
def test_narrow(contract: Arithmetic, code_cache: Path, dtype: DType, count: int) -> None:
    words = words_to_store(count)
    assert len(words) >= count - 1
    want = np.array([narrow(dtype, word) for word in words.tolist()], dtype=np.uint32)
    assert_equal_words("contract", contract.narrow(dtype, words).words, want, words[:, None])
    assert_equal_words("engine", on_engine(code_cache, words[:, None], DType.I32, (), dtype), want, words[:, None])


@CASES
@pytest.mark.parametrize("dtype", DType, ids=lambda dtype: dtype.name)
def test_widen(contract: Arithmetic, code_cache: Path, dtype: DType, count: int) -> None:
    """All patterns of the narrow types, which are fewer than asked for."""
    bits = operands(1, count, seed=2).ravel() if dtype.size == 4 else np.arange(1 << 8 * dtype.size, dtype=np.uint32)
    want = np.array([widen(dtype, pattern) for pattern in bits.tolist()], dtype=np.uint32)
    assert_equal_words("contract", contract.widen(dtype, bits).words, want, bits[:, None])
    storable = np.array([is_storable(dtype, pattern) for pattern in bits.tolist()])
    bits, want = bits[storable], want[storable]
    assert_equal_words("engine", on_engine(code_cache, bits[:, None], dtype, (), DType.I32), want, bits[:, None])


@pytest.mark.parametrize("op", [*SOURCES, 0x0F, 0x1C, 0x1F, 0x2F, 0x31, 0xFF])
def test_only_instructions_compute(contract: Arithmetic, op: int) -> None:
    with pytest.raises(Reverted, match="no instruction"):
        contract.compute(op, np.zeros((1, 3), np.uint32))


@pytest.mark.parametrize("dtype", [0, 8, 255])
def test_only_storage_types_store(contract: Arithmetic, dtype: int) -> None:
    for convert in (contract.widen, contract.narrow):
        with pytest.raises(Reverted, match="no storage type"):
            convert(dtype, np.zeros(1, np.uint32))
    with pytest.raises(Reverted, match="no storage type"):
        contract.contract.call("size(uint256)", [dtype])


@pytest.mark.parametrize("dtype", DType, ids=lambda dtype: dtype.name)
def test_size(contract: Arithmetic, dtype: DType) -> None:
    assert contract.contract.call("size(uint256)", [dtype], ["uint256"]) == (dtype.size,)
