"""Polynomials in one register."""

from __future__ import annotations

from tallystick.ir.builder import CodeBuilder, Register


def horner(b: CodeBuilder, x: Register, coefficients: tuple[float, ...]) -> Register:
    """c0 + c1 x + c2 x^2 + ..., one fused multiply-add per coefficient after the last."""
    value = b.float(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = b.ffma(value, x, b.float(coefficient))
    return value
