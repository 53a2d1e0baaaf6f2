"""What a transaction pays for."""

from __future__ import annotations

TRANSACTION = 21_000
ZERO_BYTE, OTHER_BYTE = 4, 16  # of call data
FLOOR_PER_TOKEN = 10  # EIP-7623; a zero byte is one token, any other four


def call_data_gas(data: bytes) -> int:
    """What the bytes cost, besides what is done with them."""
    zeros = data.count(0)
    return ZERO_BYTE * zeros + OTHER_BYTE * (len(data) - zeros)


def floor_gas(data: bytes) -> int:
    """The least that a transaction with these bytes pays, however little it does."""
    return TRANSACTION + FLOOR_PER_TOKEN * call_data_gas(data) // ZERO_BYTE


def transaction_gas(data: bytes, gas_used: int) -> int:
    """What a transaction pays that carries these bytes and, by the rules before EIP-7623, uses this much."""
    return max(gas_used, floor_gas(data))
