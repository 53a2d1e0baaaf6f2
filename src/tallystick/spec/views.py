"""Views: how a kernel finds an element of a tensor from its loop indices."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.spec.instructions import signed


@dataclass(frozen=True, slots=True)
class Guard:
    """A view is open only where ``0 <= base + sum(strides * indices) < limit``."""

    base: int
    strides: tuple[int, ...]
    limit: int


@dataclass(frozen=True, slots=True)
class Address:
    """An element address, affine in the loop indices and in words computed by earlier instructions.

    ``strides`` has one entry for every axis of the kernel, output axes first, then reduce axes. ``computed`` pairs a
    stride with a register of the code the address is used in, read as a signed integer. Sums are exact: they never
    wrap.
    """

    base: int
    strides: tuple[int, ...]
    computed: tuple[tuple[int, int], ...] = ()
    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """An address into a value, and the word it yields where a guard is closed or a computed address falls outside."""

    value: int
    address: Address
    fill: int = 0


def locate(address: Address, indices: tuple[int, ...], registers: list[int], elements: int) -> int | None:
    """The element an address means, or None where it is closed.

    Shapes: ``indices`` has one entry per axis; ``elements`` is the size of the tensor addressed.
    """
    for guard in address.guards:
        if not 0 <= affine(guard.base, guard.strides, indices) < guard.limit:
            return None
    at = affine(address.base, address.strides, indices)
    at += sum(stride * signed(registers[register]) for stride, register in address.computed)
    return at if 0 <= at < elements else None


def affine(base: int, strides: tuple[int, ...], indices: tuple[int, ...]) -> int:
    """base + sum(strides * indices)"""
    return base + sum(stride * index for stride, index in zip(strides, indices, strict=True))
