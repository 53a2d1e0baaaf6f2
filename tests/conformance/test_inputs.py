"""What may be given to a program: exactly the bits that a program can store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conformance.implementations import NUMPY
from tallystick.engine import Engine
from tallystick.errors import IntegrityError
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType, is_storable

SPECIAL_32 = [0, 1, 2, 0x7F800000, 0x7F800001, 0x7FC00000, 0x7FC00001, 0xFF800000, 0xFFC00000, 0xFFFFFFFF]


@pytest.mark.parametrize("dtype", DType, ids=lambda dtype: dtype.name)
def test_only_bits_that_a_store_leaves_are_accepted(dtype: DType, code_cache: Path) -> None:
    slot = TensorType(dtype, ())
    engine = Engine(Program((slot,), (), (), (0,)), threads=1, cache=code_cache)
    patterns = SPECIAL_32 if dtype.size == 4 else range(0, 1 << (8 * dtype.size), 17 if dtype.size == 1 else 331)
    for bits in (*patterns, *(0x7C00, 0x7C01, 0x7E00, 0xFE00, 0x7F80, 0x7F81, 0x7FC0, 0xFFC0)):
        if bits >= 1 << (8 * dtype.size):
            continue
        array = np.frombuffer(bits.to_bytes(dtype.size, "little"), NUMPY[dtype]).reshape(())
        if is_storable(dtype, bits):
            engine.start([array], []).close()
        else:
            with pytest.raises(IntegrityError, match=r"state 0 holds .* \(element \[\]\)"):
                engine.start([array], [])
