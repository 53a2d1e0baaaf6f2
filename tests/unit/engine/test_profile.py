"""Profiles: every kernel is accounted for, time adds up, and nothing else is different."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine_kernels import floats
from sample_programs import CONTRACTION, MULTIPLY_ADD, convolution, double, embedding_gradient, f32, i32, matmul
from tallystick.engine import Engine, Target, roofs
from tallystick.engine.clock import clocked_driver_text
from tallystick.engine.driver import driver_text
from tallystick.engine.machine_code import LoadedCode, compile_object
from tallystick.engine.roofs import Roofs, measure_roofs
from tallystick.engine.workload import Workload, kind_of, workload
from tallystick.errors import UsageError
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType
from tallystick.spec.views import Address, View

SIZE = 200


@pytest.fixture(autouse=True)
def short_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Roofs that take milliseconds to measure."""
    monkeypatch.setattr(roofs, "STREAMED", 1 << 20)
    monkeypatch.setattr(roofs, "LEAST_STREAMED", 1 << 20)
    monkeypatch.setattr(roofs, "TURNS", 1 << 10)


def program() -> Program:
    """A product with itself, twice, and a small map: three kernels, two of one structure, and two slots that swap."""
    tiny = Kernel((3,), (), (View(2, Address(0, (1,))),), double(3).body, (DType.F32,))
    kernels = (matmul(SIZE, SIZE, SIZE, 0, 0), matmul(SIZE, SIZE, SIZE, 3, 1), tiny)
    return Program((f32(SIZE, SIZE), f32(SIZE, SIZE), f32(3)), (), kernels, (1, 4, 5))


def start() -> list[np.ndarray]:
    matrix = floats(SIZE, SIZE, special=0) / SIZE
    return [matrix, matrix.T.copy(), np.ones(3, np.float32)]


@pytest.mark.parametrize("threads", [1, 3])
def test_every_kernel_is_accounted_for_and_time_adds_up(threads: int, tmp_path: Path):
    engine = Engine(program(), threads, cache=tmp_path)
    found = engine.profile(start(), [], steps=20)
    assert [kernel.number for kernel in found.kernels] == [0, 1, 2]
    assert [kernel.kind for kernel in found.kernels] == ["contraction", "contraction", "map"]
    assert all(kernel.seconds > 0 for kernel in found.kernels)
    assert found.kernels[0].seconds > 5 * found.kernels[2].seconds
    for kernel in found.kernels:
        assert not kernel.phases or sum(kernel.phases.values()) == pytest.approx(kernel.seconds)
    assert found.steps == 20
    assert found.copying > 0  # a slot takes another's old value
    assert found.accounted <= found.step_seconds * 1.0001
    if threads == 1:  # the only thread is there from start to end
        assert found.accounted == pytest.approx(found.step_seconds)
        assert found.waiting == 0
    assert sum(found.by_kind().values()) == pytest.approx(sum(kernel.seconds for kernel in found.kernels))
    assert found.plan_bytes == engine.peak_memory


def test_kernels_of_one_structure_and_source_are_one_group(tmp_path: Path):
    found = Engine(program(), 1, cache=tmp_path).profile(start(), [], steps=1)
    together = found.groups(["line 1", "line 1", "line 2"])
    assert [[kernel.number for kernel in group.kernels] for group in together] == [[0, 1], [2]]
    assert together[0].work == found.kernels[0].work + found.kernels[1].work
    assert together[0].seconds == found.kernels[0].seconds + found.kernels[1].seconds
    apart = found.groups(["line 1", "line 2", "line 2"])
    assert sorted(len(group.kernels) for group in apart) == [1, 1, 1]


def test_a_profile_changes_nothing(tmp_path: Path):
    engine = Engine(program(), 2, cache=tmp_path)
    state = start()
    with engine.start(state, []) as session:
        session.advance(7)
        wanted = [array.tobytes() for array in session.state()]
    engine.profile(state, [], steps=3)
    assert [array.tobytes() for array in state] == [array.tobytes() for array in start()]
    machine = engine.machine(state, [], 0)
    clocked = LoadedCode(compile_object(clocked_driver_text(engine.target), engine.target), engine.target)
    ticks = machine.keep_time(clocked)
    machine.crew.advance(7)
    machine.crew.close()
    slots = zip(machine.plan.slots, engine.program.states, strict=True)
    assert [machine.view(offsets[1], type).tobytes() for offsets, type in slots] == wanted
    assert (ticks[:, : len(machine.commands)].sum(axis=1) > 0).all()


def test_only_profiles_read_the_clock():
    target = Target.host()
    assert "counter" not in driver_text(target).replace("%counter", "")
    assert "counter()" in clocked_driver_text(target)


def test_a_profile_needs_a_step(tmp_path: Path):
    with pytest.raises(UsageError, match="at least one step"):
        Engine(program(), 1, cache=tmp_path).profile(start(), [], steps=0)


def test_as_many_steps_as_fit_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from tallystick.engine import profile

    monkeypatch.setattr(profile, "TIMED_S", 0.05)
    assert 1 <= Engine(program(), 1, cache=tmp_path).profile(start(), []).steps <= profile.MOST_STEPS


# WORKLOADS


def test_the_workload_of_a_product():
    kernel = matmul(10, 20, 30)
    types = [f32(10, 30), f32(30, 20)]
    assert workload(kernel, types) == Workload(10 * 20 * 30, 2 * 10 * 20 * 30, 4 * (10 * 30 + 30 * 20), 4 * 10 * 20)
    assert kind_of(kernel, types) == "contraction"


def test_several_blocks_are_merged():
    kernel = matmul(1, 20, 1200)
    assert workload(kernel, [f32(1, 1200), f32(1200, 20)]).flops == 20 * (2 * 1200 + 2)


def test_windows_that_overlap_are_read_once():
    kernel = convolution((2, 3, 8, 8), (4, 3, 3, 3), 1, 1, 1)
    types = [f32(2, 3, 8, 8), f32(4, 3, 3, 3)]
    assert workload(kernel, types).read == 4 * (2 * 3 * 8 * 8 + 4 * 3 * 3 * 3)


def test_a_value_read_twice_counts_once():
    kernel = Kernel((5, 5), (5,), (View(0, Address(0, (5, 0, 1))), View(0, Address(0, (0, 1, 5)))), MULTIPLY_ADD,
                    (DType.F32,), CONTRACTION)  # fmt: skip
    assert workload(kernel, [f32(5, 5)]).read == 4 * 25


def test_a_scatter_fills_its_output_and_takes_words():
    kernel = embedding_gradient(100, 8, 30)
    types = [i32(30), f32(30, 8)]
    found = workload(kernel, types)
    assert (found.flops, found.written) == (30 * 8, 4 * (100 * 8 + 30 * 8))
    assert found.read == 4 * (30 + 30 * 8 + 30 * 8)
    assert kind_of(kernel, types) == "scatter"


# ROOFS


@pytest.mark.parametrize("isa", Target.available())
def test_roofs_are_measured_for_every_target(isa: str):
    found = measure_roofs(Target(isa), 2)  # pyright: ignore[reportArgumentType]
    assert found.threads == 2
    assert found.flops > 1e8
    assert found.read > 1e7
    assert found.written > 1e7


def test_the_nearer_roof_counts():
    found = Roofs(flops=200.0, read=10.0, written=5.0, threads=1)
    assert found.least_seconds(100, 0, 0) == 1.0  # an operation takes the place of two
    assert found.least_seconds(100, 10, 10) == 3.0
