"""Numbers that the encoder and the decoder share."""

from __future__ import annotations

from enum import IntEnum

from tallystick.spec.instructions import Op

MAGIC = b"TALY"
VERSION = 2
INSTRUCTION = 5  # bytes

IMMEDIATES = frozenset({Op.CONST, Op.INDEX, Op.LOAD, Op.ACC})


class Kind(IntEnum):
    """What a kernel is."""

    MAP = 0
    FOLD = 1
    SCAN = 2
    SCATTER = 3
