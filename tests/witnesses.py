"""Witnesses for scalar steps, written straight from whole tensors with the definition's own functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tallystick.spec.digests import CHUNK, chunk_leaves, chunk_root
from tallystick.spec.instructions import Code, run_registers
from tallystick.spec.kernels import Kernel, StepEnvironment, TensorWords
from tallystick.spec.leaf import encode_nothing, encode_outside, encode_word, is_open, witnessed_values
from tallystick.spec.merkle import path
from tallystick.spec.scalar_steps import (
    Place,
    ScalarStep,
    Work,
    out_indices,
    scalar_step,
    store_code,
    store_indices,
    unravel,
)
from tallystick.spec.tensors import Tensor
from tallystick.spec.views import locate


class Recorder(TensorWords):
    """Words out of whole tensors, with a note of the address of each."""

    def __init__(self, kernel: Kernel, values: Sequence[Tensor]) -> None:
        super().__init__(kernel, values)
        self.addresses: dict[int, int | None] = {}

    def load(self, slot: int, indices: tuple[int, ...], registers: list[int]) -> int:
        view = self.kernel.loads[slot]
        if is_open(view, indices):
            elements = self.values[view.value].type.elements
            self.addresses[slot] = locate(view.address, indices, registers, elements)
        return super().load(slot, indices, registers)


def write_witness(
    kernel: Kernel,
    place: Place,
    position: int,
    accumulators: list[int],
    values: Sequence[Tensor],
    digests: list[bytes],
    trace_path: Callable[[int], list[bytes]] | None = None,
) -> bytes:
    """What proves the words of one scalar step; ``trace_path`` for a trace that is not the tree over ``digests``."""
    way = trace_path or (lambda value: path(digests, value))
    now = scalar_step(kernel, place.element, position)
    numbers = witnessed_values(kernel, now.work)
    if now.work is Work.START:
        return b"".join(entry(number, place.element, values, way) for number in numbers)
    if not numbers:
        return b""
    recorder = Recorder(kernel, values)
    code, indices, seen = environment(kernel, place, now, accumulators)
    run_registers(code, StepEnvironment(indices, place.step, recorder, seen))
    known = recorder.addresses
    return b"".join(
        entry(number, known[slot], values, way) if slot in known else encode_nothing()
        for slot, number in enumerate(numbers)
    )


def environment(
    kernel: Kernel, place: Place, now: ScalarStep, accumulators: list[int]
) -> tuple[Code, tuple[int, ...], list[int]]:
    """Which code a scalar step runs, at which indices, with which accumulators."""
    if now.work is Work.PLACE:
        return kernel.body, unravel(now.point, kernel.out_shape), []
    if now.work is Work.STORE:
        count = len(kernel.fold.init) if kernel.fold is not None else 0
        return store_code(kernel), store_indices(kernel, place.element), accumulators[len(accumulators) - count :]
    assert kernel.fold is not None
    count = len(kernel.fold.init)
    indices = out_indices(kernel, place.element) + unravel(now.point, kernel.reduce_shape)
    return kernel.body, indices, accumulators[now.left * count : (now.left + 1) * count]


def entry(value: int, at: int | None, values: Sequence[Tensor], way: Callable[[int], list[bytes]]) -> bytes:
    """One entry: the word at an address, or the proof that there is none."""
    tensor = values[value]
    trace_path = way(value)
    if at is None:
        return encode_outside(tensor.type, chunk_root(tensor.data), trace_path)
    index = at * tensor.type.dtype.size // CHUNK
    chunk = bytes(tensor.data[index * CHUNK : (index + 1) * CHUNK])
    return encode_word(tensor.type, at, chunk, path(list(chunk_leaves(tensor.data)), index), trace_path)
