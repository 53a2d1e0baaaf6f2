"""The source points that write an element, against running every one of them by the definition."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from disputes.stage import SpecComputation
from property.strategies import Case, cases
from tallystick.dispute.scatter_hits import scatter_hits
from tallystick.ir.builder import CodeBuilder
from tallystick.ir.verifier import verify
from tallystick.spec.instructions import run_registers
from tallystick.spec.kernels import Kernel, Scatter, StepEnvironment, TensorWords
from tallystick.spec.programs import Program, run_step
from tallystick.spec.scalar_steps import Place, unravel
from tallystick.spec.tensors import DType, Tensor, TensorType
from tallystick.spec.views import Address, Guard, View, locate
from torture_program import array_of, tensor_of

STEP = 9
I32 = DType.I32
always = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def by_definition(kernel: Kernel, place: Place, values: Sequence[Tensor]) -> list[int]:
    """Every source point, one by one."""
    scatter = kernel.scatter
    assert scatter is not None
    found = []
    for point in range(prod(kernel.out_shape)):
        indices = unravel(point, kernel.out_shape)
        words = TensorWords(kernel, values)
        registers = run_registers(kernel.body, StepEnvironment(indices, place.step, words))
        if locate(scatter.address, indices, registers, prod(scatter.shape)) == place.element:
            found.append(point)
    return found


def check(kernel: Kernel, values: Sequence[Tensor], step: int = STEP) -> int:
    """Compare for every element; returns how many points hit one."""
    types = [value.type for value in values]
    arrays = [array_of(value) for value in values]
    computation = SpecComputation(Program(tuple(types), (), (kernel,), tuple(range(len(types)))), [])
    hits = 0
    for element in range(kernel.output_types[0].elements):
        place = Place(0, element, step)
        found = scatter_hits(kernel, place, types, arrays, computation)
        assert found.tolist() == by_definition(kernel, place, values), f"element {element}"
        hits += len(found)
    return hits


def indices_tensor(numbers: Sequence[int]) -> Tensor:
    return tensor_of(TensorType(I32, (len(numbers),)), np.array(numbers, np.int64).astype(np.int32))


def scatter_kernel(
    shape: tuple[int, ...],
    out: tuple[int, ...],
    address: Callable[[list[int]], Address],
    views: Sequence[View],
    write: Callable[[CodeBuilder], list[int]],
) -> Kernel:
    """A scatter whose address may use the registers that ``write`` gives back; the last of them is what is placed."""
    builder = CodeBuilder()
    used = write(builder)
    body, place = builder.build(used[-1], keep=tuple(used))
    scatter = Scatter(out, None, 0, address([place[register] for register in used]), None)
    kernel = Kernel(shape, (), tuple(views), body, (I32,), None, scatter)
    values = 1 + max((view.value for view in views), default=-1)
    verify(Program((TensorType(I32, (40,)),) * values, (), (kernel,), tuple(range(values))))
    return kernel


def forty(seed: int, low: int, high: int) -> Tensor:
    rng = random.Random(seed)
    return indices_tensor([rng.randrange(low, high) for _ in range(40)])


DENSE = View(0, Address(0, (10, 1)))


def test_affine_addresses_alone() -> None:
    kernel = scatter_kernel((4, 10), (60,), lambda _: Address(55, (-13, -1)), [DENSE], lambda b: [b.load(0)])
    assert check(kernel, [forty(1, 0, 9)]) == 40


def test_guards_drop_points() -> None:
    guards = (Guard(-1, (1, 0), 2), Guard(0, (1, 2), 12))
    address = Address(0, (10, 1), (), guards)
    kernel = scatter_kernel((4, 10), (40,), lambda _: address, [DENSE], lambda b: [b.load(0)])
    assert 0 < check(kernel, [forty(1, 0, 9)]) < 40


@pytest.mark.parametrize("numbers", [(0, 8), (-20, 20), (-(1 << 31), 1 << 31)], ids=["near", "negative", "far"])
def test_computed_addresses(numbers: tuple[int, int]) -> None:
    kernel = scatter_kernel(
        (4, 10), (8, 5), lambda r: Address(-3, (0, 1), ((5, r[0]),)), [DENSE], lambda b: [b.load(0)]
    )
    hits = check(kernel, [forty(2, *numbers)])
    assert hits < 40 and (hits > 0 or numbers[1] > 100)


def test_several_registers_with_strides_of_either_sign_and_guards() -> None:
    def write(b: CodeBuilder) -> list[int]:
        first = b.load(0)
        second = b.iadd(b.load(1), b.step())
        return [first, second, b.imul(first, second)]

    views = [DENSE, View(1, Address(39, (-10, -1)), fill=3)]
    kernel = scatter_kernel(
        (4, 10),
        (7, 6),
        lambda r: Address(20, (1, -1), ((-6, r[0]), (4, r[1])), (Guard(0, (0, 1), 9),)),
        views,
        write,
    )
    assert 0 < check(kernel, [forty(3, -4, 5), forty(4, -12, 3)]) < 40


def test_the_same_register_twice_cancels() -> None:
    kernel = scatter_kernel(
        (4, 10), (40,), lambda r: Address(0, (10, 1), ((7, r[0]), (-7, r[0]))), [DENSE], lambda b: [b.load(0)]
    )
    assert check(kernel, [forty(5, -(1 << 31), 1 << 31)]) == 40


def test_registers_that_depend_on_closed_views_and_computed_views() -> None:
    def write(b: CodeBuilder) -> list[int]:
        index = b.load(0)
        return [index, b.load(1)]

    builder_place = {}

    def address(registers: list[int]) -> Address:
        builder_place["index"] = registers[0]
        return Address(0, (0, 0), ((1, registers[1]),))

    guard = (Guard(0, (0, 1), 8),)
    views = [DENSE, View(1, Address(0, (0, 0), ((1, 0),), guard), fill=11)]
    kernel = scatter_kernel((4, 10), (40,), address, views, write)
    assert builder_place["index"] == 0, "the view uses the register of the index"
    assert check(kernel, [forty(6, -5, 60), forty(7, 0, 40)]) >= 8


def test_no_loads_and_no_axes() -> None:
    def write(b: CodeBuilder) -> list[int]:
        return [b.irem(b.step(), b.word(4))]

    kernel = scatter_kernel((), (4,), lambda r: Address(0, (), ((1, r[0]),)), [], write)
    types: list[Tensor] = []
    assert check(kernel, types, step=6) == 1
    assert kernel.scatter is not None
    nothing = replace(kernel, scatter=replace(kernel.scatter, shape=(2,)))
    assert check(nothing, types, step=6) == 0


@settings(always, max_examples=60)
@given(case=cases())
def test_random_scatters(case: Case) -> None:
    values = run_step(case.program, case.state, case.constants, case.first_step)
    first = len(case.state) + len(case.constants)
    for kernel in case.program.kernels:
        if kernel.scatter is not None and prod(kernel.scatter.shape) <= 60:
            check(kernel, values[:first], case.first_step)
        first += len(kernel.outputs)
