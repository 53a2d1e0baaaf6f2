"""Print what every instruction costs on chain: PYTHONPATH=tests python -m evm.gas_of_instructions"""

from __future__ import annotations

import sys

import numpy as np

from evm.arithmetic import Arithmetic, Results
from evm.operands import operands
from tallystick.spec.instructions import ARITY, SOURCES, Op
from tallystick.spec.tensors import DType

CASES = 4_000


def row(name: str, results: Results) -> str:
    return f"{name:<12} {int(np.median(results.gas)):>8} {results.gas.max():>8}\n"


def table() -> str:
    """One line for each instruction and storage type, dispatch included."""
    contract = Arithmetic()
    lines = [f"{'gas':<12} {'median':>8} {'worst':>8}\n"]
    for op in Op:
        if op not in SOURCES:
            lines.append(row(op.name.lower(), contract.compute(op, operands(ARITY[op], CASES, seed=op))))
    words = operands(1, CASES, seed=0).ravel()
    for dtype in DType:
        bits = words >> np.uint32(32 - 8 * dtype.size)
        lines.append(row(f"widen {dtype.name.lower()}", contract.widen(dtype, bits)))
        lines.append(row(f"narrow {dtype.name.lower()}", contract.narrow(dtype, words)))
    return "".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table())
