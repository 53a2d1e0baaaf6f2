"""Engines and sessions: same bits however they run, clear errors, nothing lost when interrupted."""

from __future__ import annotations

import gc
import signal
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from engine_kernels import all_targets, code, floats
from sample_programs import ADD, TOTAL, matmul
from tallystick.engine import Engine, Session, Target, arrays, engine
from tallystick.errors import IntegrityError, ProgramError, ResourceError, UsageError
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.kernels import Fold, Kernel, Scatter
from tallystick.spec.programs import Program, run, run_step
from tallystick.spec.tensors import DType, Tensor, TensorType
from tallystick.spec.views import Address, View

F32 = DType.F32


def training_program() -> Program:
    """A step like one of training: products, a record, updates in place, slots that swap, alternate and stay."""
    matrix, seven = TensorType(F32, (8, 5)), TensorType(F32, (7,))
    states = (matrix, matrix, TensorType(DType.I32, (1,)), seven, seven, TensorType(F32, (10,)), TensorType(F32, (3,)))
    constants = (TensorType(F32, (16, 8)),)
    weights, momentum, counter, left, right, record, turned, data = range(8)
    dense = Address(0, (5, 1))
    relu = code(lambda b: b.select(b.flt(b.word(0), b.load(0)), b.load(0), b.word(0)))
    mean = Fold((0,), 16, 512, ADD, code(lambda b: b.fdiv(b.acc(0), b.float(80.0))))
    total = code(lambda b: b.fadd(b.acc(0), b.load(0)))

    def update(b: CodeBuilder) -> list[int]:
        moved = b.fadd(b.fmul(b.float(0.9), b.load(1)), b.load(2))
        return [b.fsub(b.load(0), b.fmul(b.float(0.001), moved)), moved]

    builder = CodeBuilder()
    word, at = builder.load(0), builder.step()
    written, place = builder.build(word, keep=(at,))
    gradient = Kernel(
        (8, 5),
        (16,),
        (View(data, Address(0, (1, 0, 8))), View(9, Address(0, (0, 1, 5)))),
        matmul(1, 1, 1).body,
        (F32,),
        Fold((0,), 1, 512, ADD, TOTAL),
    )
    kernels = (
        matmul(16, 5, 8, data, weights),  # 8
        Kernel((16, 5), (), (View(8, dense),), relu, (F32,)),  # 9
        gradient,  # 10
        Kernel((), (16, 5), (View(9, dense),), total, (F32,), mean),  # 11
        Kernel(
            (),
            (),
            (View(11, Address(0, ())),),
            written,
            (F32,),
            None,
            Scatter((10,), record, 0, Address(0, (), ((1, place[at]),)), None),
        ),  # 12
        Kernel((8, 5), (), (View(weights, dense), View(momentum, dense), View(10, dense)), code(update), (F32, F32)),
        Kernel((1,), (), (View(counter, Address(0, (1,))),), code(lambda b: b.iadd(b.load(0), b.step())), (DType.I32,)),
        Kernel((3,), (), (View(turned, Address(2, (-1,))),), code(lambda b: b.fadd(b.load(0), b.float(1.5))), (F32,)),
    )
    return Program(states, constants, kernels, (13, 14, 15, right, left, 12, 16))


def start_arrays(program: Program) -> tuple[list[np.ndarray], list[np.ndarray]]:
    state = [
        floats(*type.shape, seed=slot, special=0) if type.dtype == F32 else np.zeros(type.shape, np.int32)
        for slot, type in enumerate(program.states)
    ]
    return state, [floats(*type.shape, seed=9, special=0) for type in program.constants]


def tensors(types: tuple[TensorType, ...], given: list[np.ndarray]) -> list[Tensor]:
    return [Tensor(type, array.tobytes()) for type, array in zip(types, given, strict=True)]


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_state_and_trace_are_the_specification_s(threads: int, tmp_path: Path):
    program = training_program()
    state, constants = start_arrays(program)
    given = tensors(program.states, state), tensors(program.constants, constants)
    wanted = [bytes(tensor.data) for tensor in run(program, *given, 3, 5)]
    values = [bytes(tensor.data) for tensor in run_step(program, *given, 3)]
    for target in all_targets():
        made = Engine(program, threads, target, tmp_path)
        with made.start(state, constants, 3) as session:
            for steps in (2, 0, 3):
                session.advance(steps)
            assert session.step == 8
            assert [array.tobytes() for array in session.state()] == wanted
            assert session.slot(2).tobytes() == wanted[2]
        assert [array.tobytes() for array in made.trace(state, constants, 3)] == values


def test_many_more_threads_than_cores(tmp_path: Path):
    """Short epochs, shared and chained, with threads that are put aside at any moment."""
    large = TensorType(F32, (40_000,))
    back, own = Address(39_999, (-1,)), Address(0, (1,))
    halve = code(lambda b: b.ffma(b.load(0), b.float(0.5), b.load(1)))
    mixed = [Kernel(large.shape, (), (View(v, back), View(0, own)), halve, (F32,)) for v in range(5)]
    few = Kernel((1,), (), (View(5, Address(7, (1,))),), code(lambda b: b.fneg(b.load(0))), (F32,))
    last = Kernel(large.shape, (), (View(5, back), View(6, Address(0, (0,)))), halve, (F32,))
    program = Program((large,), (), (*mixed, few, last), (7,))
    state = [floats(40_000, special=0)]
    results = []
    for threads in (1, 9):
        with Engine(program, threads, cache=tmp_path).start(state, []) as session:
            for steps in (150, 1, 99):
                session.advance(steps)
            results.append(session.state()[0].tobytes())
    assert results[0] == results[1]


def test_memory_is_reused_and_state_updated_in_place(tmp_path: Path):
    """A chain of maps over one large value needs the slot and one buffer, however long it is."""
    large = TensorType(F32, (100_000,))
    own = Address(0, (1,))
    double = code(lambda b: b.fadd(b.load(0), b.load(0)))
    turn = Kernel(large.shape, (), (View(0, Address(99_999, (-1,))),), double, (F32,))
    chain = [Kernel(large.shape, (), (View(value, own),), double, (F32,)) for value in range(1, 9)]
    made = Engine(Program((large,), (), (turn, *chain), (9,)), 2, cache=tmp_path)
    assert large.nbytes * 3 < made.peak_memory < large.nbytes * 3.2  # the slot alternates
    in_place = Engine(Program((large,), (), (Kernel(large.shape, (), (View(0, own),), double, (F32,)),), (1,)), 2)
    assert large.nbytes < in_place.peak_memory < large.nbytes * 1.2


def test_flush_to_zero_outside_changes_nothing_inside(tmp_path: Path):
    """Threads inherit the caller's floating-point environment; the driver sets its own and restores theirs."""
    tiny = np.array([1e-40, 3e-39, -2e-45, 1.5e-38], np.float32)
    type = TensorType(F32, (4,))
    halve = code(lambda b: b.fmul(b.load(0), b.float(0.5)))
    program = Program((type,), (), (Kernel((4,), (), (View(0, Address(0, (1,))),), halve, (F32,)),), (1,))
    wanted = run(program, tensors((type,), [tiny]), [], 0, 1)[0].data
    made = Engine(program, 1, cache=tmp_path)
    try:
        assert torch.set_flush_denormal(True)
        with made.start([tiny], []) as session:
            session.advance(1)
            assert session.state()[0].tobytes() == wanted
            assert session._machine is not None
            session._machine._run_thread(0, 0, 1, 0)  # on this very thread
            flushed = torch.tensor([1e-40]) * 1.0
            assert flushed.item() == 0.0, "the caller's environment is restored"
    finally:
        torch.set_flush_denormal(False)


def slow_session(tmp_path: Path) -> tuple[Engine, Session, list[np.ndarray]]:
    """A session of many short steps."""
    type = TensorType(F32, (20_000,))
    grow = code(lambda b: b.fadd(b.load(0), b.float(1.0)))
    program = Program((type,), (), (Kernel(type.shape, (), (View(0, Address(0, (1,))),), grow, (F32,)),), (1,))
    made = Engine(program, 2, cache=tmp_path)
    state = [np.zeros(type.shape, np.float32)]
    return made, made.start(state, []), state


def test_an_interruption_ends_between_two_steps(tmp_path: Path):
    _, session, _ = slow_session(tmp_path)
    with session:
        for _ in range(3):
            before = session.step
            timer = threading.Timer(0.05, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                session.advance(1_000_000)
            timer.join()
            done = session.step
            assert before < done < before + 1_000_000
            assert (session.state()[0] == done).all()
        session.advance(7)
        assert session.step == done + 7
        assert (session.state()[0] == done + 7).all()


def test_other_threads_go_on_while_steps_run(tmp_path: Path):
    """The interpreter lock is free during a run."""
    _, session, _ = slow_session(tmp_path)
    ticks: list[float] = []
    running = threading.Event()

    def tick() -> None:
        running.wait()
        while running.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    counter = threading.Thread(target=tick)
    counter.start()
    running.set()
    with session:
        session.advance(10_000)
    running.clear()
    counter.join()
    assert len(ticks) > 3


def test_a_closed_session_says_so(tmp_path: Path):
    _, session, _ = slow_session(tmp_path)
    session.close()
    session.close()
    with pytest.raises(UsageError, match=r"closed"):
        session.advance(1)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_closed_session_gives_its_memory_back_at_once(threads: int, tmp_path: Path):
    """Not when Python next looks for objects that hold each other: many sessions would pile up until then."""
    program = training_program()
    made = Engine(program, threads=threads, cache=tmp_path)
    state, constants = start_arrays(program)
    machine = made.machine(state, constants, 0)
    session, there = Session(program, machine), weakref.ref(machine)
    del machine
    gc.disable()
    try:
        session.advance(2)
        session.close()
        assert there() is None
    finally:
        gc.enable()


def test_a_session_that_nobody_closes_ends_its_threads(tmp_path: Path):
    gc.collect()  # sessions of other tests
    before = threading.active_count()
    _, session, _ = slow_session(tmp_path)
    session.advance(3)
    assert threading.active_count() == before + 2
    del session
    gc.collect()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_step_numbers_have_a_range(tmp_path: Path):
    made, session, state = slow_session(tmp_path)
    with session:
        for steps in ((1 << 31) + 1, -1):
            with pytest.raises(UsageError, match="2147483647"):
                session.advance(steps)
    with pytest.raises(UsageError, match="-1"):
        made.start(state, [], -1)


WRONG_ARRAYS = [
    ([], "1 state slots, but 0"),
    ([np.zeros(20_000)], "float64"),
    ([np.zeros(3, np.float32)], r"float32\[3\].*float32\[20000\]"),
    ([np.zeros(40_000, np.float32)[::2]], "ascontiguousarray"),
    ([[0.0]], "list"),
]


@pytest.mark.parametrize(("given", "message"), WRONG_ARRAYS)
def test_arrays_must_be_what_slots_hold(given: list[np.ndarray], message: str, tmp_path: Path):
    made, session, _ = slow_session(tmp_path)
    session.close()
    with pytest.raises(UsageError, match=message):
        made.start(given, [])


def test_words_no_program_could_have_stored_are_refused(tmp_path: Path):
    made, session, (state,) = slow_session(tmp_path)
    session.close()
    state.view(np.uint32)[123] = 0x7FC00001
    with pytest.raises(IntegrityError, match=r"0x7fc00000.*\[123\]"):
        made.start([state], [])
    state.view(np.uint32)[123] = 0x7FC00000
    made.start([state], []).close()
    with pytest.raises(IntegrityError, match="neither 0 nor 1"):
        arrays.check_words("flags", np.array([0, 1, 2], np.uint8).view(np.bool_), DType.BOOL)


def test_what_does_not_fit_is_refused_with_need_and_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made, session, (state,) = slow_session(tmp_path)
    session.close()
    monkeypatch.setattr(arrays, "available_memory", lambda: 10_000)
    with pytest.raises(ResourceError, match=r"needs 0\.00 GB .* 0\.00 GB are available"):
        made.start([state], [])
    with pytest.raises(ResourceError):
        Engine(made.program, 1, cache=tmp_path)


def test_memory_is_known():
    have = arrays.available_memory()
    assert have is None or have > 1 << 20


def test_a_program_that_breaks_a_rule_is_not_compiled():
    type = TensorType(F32, (4,))
    outside = Kernel((5,), (), (View(0, Address(0, (1,))),), code(lambda b: b.load(0)), (F32,))
    with pytest.raises(ProgramError):
        Engine(Program((type,), (), (outside,), (0,)))


def test_targets_and_threads_that_do_not_exist():
    program = training_program()
    with pytest.raises(UsageError, match="neon" if all_targets()[0].isa != "neon" else "avx2"):
        Engine(program, target=Target("neon" if all_targets()[0].isa != "neon" else "avx2"))
    with pytest.raises(UsageError, match="0"):
        Engine(program, threads=0)


def test_facts(tmp_path: Path):
    facts = Engine(training_program(), 2, cache=tmp_path).describe()
    assert facts["threads"] == 2 and facts["isa"] == Target.host().isa
    assert all(isinstance(fact, str | int) for fact in facts.values())


def test_constants_may_be_read_only_files(tmp_path: Path):
    program = training_program()
    state, constants = start_arrays(program)
    np.save(tmp_path / "x.npy", constants[0])
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for array in state:
        array.flags.writeable = False
    results = []
    for given in (constants[0], mapped):
        with Engine(program, 2, cache=tmp_path).start(state, [given]) as session:
            session.advance(2)
            results.append([array.tobytes() for array in session.state()])
    assert results[0] == results[1]


def test_cores_are_counted():
    assert engine.usable_cores() >= 1
