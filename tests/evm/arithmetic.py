"""The contracts' arithmetic over arrays of operands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from eth_abi.abi import encode

from evm.contracts import Deployed, selector

BATCH = 2048  # cases per call, as in the harness contract


@dataclass(frozen=True)
class Results:
    """Words, and the gas each took."""

    words: np.ndarray
    gas: np.ndarray


class Arithmetic:
    """`Arithmetic.vy` behind arrays of uint32."""

    def __init__(self) -> None:
        self.contract = Deployed("Arithmetic")

    def compute(self, op: int, operands: np.ndarray) -> Results:
        """One instruction on every row of operands. Shapes: (n, 1 to 3) -> (n,)"""
        return self._batches("compute(uint256,uint256[])", op, operands)

    def widen(self, dtype: int, bits: np.ndarray) -> Results:
        """Shapes: (n,) -> (n,)"""
        return self._batches("widen(uint256,uint256[])", dtype, bits[:, None])

    def narrow(self, dtype: int, words: np.ndarray) -> Results:
        """Shapes: (n,) -> (n,)"""
        return self._batches("narrow(uint256,uint256[])", dtype, words[:, None])

    def _batches(self, signature: str, number: int, operands: np.ndarray) -> Results:
        parts = [
            self._batch(signature, number, operands[start : start + BATCH]) for start in range(0, len(operands), BATCH)
        ]
        answers = np.concatenate(parts)
        return Results(answers[:, 7].astype(np.uint32), answers[:, 6].astype(np.uint32))

    def _batch(self, signature: str, number: int, operands: np.ndarray) -> np.ndarray:
        """Both directions are arrays of 256-bit words, here as rows of eight 32-bit ones, highest first."""
        rows = np.zeros((len(operands), 8), dtype=">u4")
        for place in range(operands.shape[1]):
            rows[:, 7 - place] = operands[:, place]
        head = encode(["uint256", "uint256", "uint256"], [number, 64, len(rows)])
        answer = self.contract.call_raw(selector(signature) + head + rows.tobytes())
        return np.frombuffer(answer, ">u4").reshape(-1, 8)[2:]
