"""Barriers only where data crosses threads, and memory reused only by what runs later."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine_kernels import code
from tallystick.engine.dataflow import Dataflow
from tallystick.engine.generate import generate
from tallystick.engine.memory_plan import make_plan
from tallystick.engine.placement import Buffer, place
from tallystick.engine.schedule import make_schedule
from tallystick.engine.target import Target
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, View

F32 = DType.F32
INCREMENT = code(lambda b: b.fadd(b.load(0), b.float(1.0)))


def chain(extent: int, reads: list[int]) -> Dataflow:
    """Maps over ``extent`` elements; the n-th reads the value ``reads[n]`` backwards: nothing is in place."""
    type = TensorType(F32, (extent,))
    turned = Address(extent - 1, (-1,))
    kernels = tuple(Kernel((extent,), (), (View(value, turned),), INCREMENT, (F32,)) for value in reads)
    return Dataflow(Program((type,), (), kernels, (len(reads),)))


def test_a_chain_of_small_kernels_needs_no_barrier():
    flow = chain(10, [0, 1, 2, 3])
    schedule = make_schedule(flow, generate(flow.program, Target.host())[1], 3)
    assert schedule.epochs == 1
    assert {item.chain for item in schedule.items} == {0}


def test_large_kernels_are_shared_and_separated():
    flow = chain(1_000_000, [0, 1, 1, 2])
    schedule = make_schedule(flow, generate(flow.program, Target.host())[1], 3)
    assert [item.chain for item in schedule.items] == [None] * 4
    assert [item.epoch for item in schedule.items] == [0, 1, 1, 2]


def test_independent_small_kernels_are_chains_of_their_own():
    flow = chain(2000, [0, 0, 0, 0])
    schedule = make_schedule(flow, generate(flow.program, Target.host())[1], 2)
    assert schedule.epochs == 1
    assert sorted(item.chain or 0 for item in schedule.items) == [0, 1, 2, 3]


def test_small_chains_that_meet_are_joined():
    """The last kernel reads what two chains made: one thread does them all, in order."""
    type = TensorType(F32, (100,))
    own, turned = Address(0, (1,)), Address(99, (-1,))
    add = code(lambda b: b.fadd(b.load(0), b.load(1)))
    steps = [Kernel((100,), (), (View(value, turned),), INCREMENT, (F32,)) for value in (0, 1, 0, 3)]
    meet = Kernel((100,), (), (View(2, own), View(4, turned)), add, (F32,))
    flow = Dataflow(Program((type,), (), (*steps, meet), (5,)))
    schedule = make_schedule(flow, generate(flow.program, Target.host())[1], 2)
    assert schedule.epochs == 1
    assert len({item.chain for item in schedule.items}) == 1


def test_no_kernel_runs_before_what_it_needs():
    flow = chain(100_000, [0, 0, 1, 2, 1, 3, 5, 6, 4])
    schedule = make_schedule(flow, generate(flow.program, Target.host())[1], 2)
    for kernel, values in enumerate(flow.reads):
        for value in values:
            if value in flow.maker:
                assert schedule.last_time[flow.maker[value]] < schedule.first_time[kernel]


def test_values_alive_together_lie_apart():
    flow = chain(100_000, [0, 0, 1, 2, 1, 3, 5, 6, 4])
    code_of = generate(flow.program, Target.host())[1]
    schedule = make_schedule(flow, code_of, 2)
    plan = make_plan(flow, code_of, schedule, 2)
    size = flow.types[0].nbytes
    spans = {}
    for value, offset in plan.even.items():
        first = schedule.first_time[flow.maker[value]] if value in flow.maker else 0
        last = max([first, *(schedule.last_time[reader] for reader in flow.readers.get(value, []))])
        spans[value] = (offset, first, last)
    for a, (offset_a, first_a, last_a) in spans.items():
        for b, (offset_b, first_b, last_b) in spans.items():
            if a < b and first_a <= last_b and first_b <= last_a:
                assert abs(offset_a - offset_b) >= size, f"values {a} and {b}"
    assert plan.arena_bytes < 6 * size


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(0, 20), st.integers(0, 6)), max_size=30))
def test_buffers_in_use_at_once_do_not_overlap(wanted: list[tuple[int, int, int]]):
    buffers = [Buffer(size, first, first + length) for size, first, length in wanted]
    total = place(buffers)
    for a in buffers:
        assert a.offset >= 0 and a.offset + a.size <= total
        for b in buffers:
            together = a is not b and a.first <= b.last and b.first <= a.last
            assert not together or a.offset + a.size <= b.offset or b.offset + b.size <= a.offset
    busiest = max((sum(b.size for b in buffers if b.first <= t <= b.last) for t in range(30)), default=0)
    assert busiest <= total
