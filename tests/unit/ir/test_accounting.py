"""Work units, counted by hand and against what the definition really runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

import sample_programs
from sample_programs import code
from tallystick.ir.accounting import code_work, kernel_work, program_work
from tallystick.spec import instructions, kernels
from tallystick.spec.instructions import Code, Environment, Op
from tallystick.spec.kernels import Fold, Kernel, run_kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, Tensor


def test_sources_but_loads_are_free() -> None:
    free = code(lambda b: b.iadd(b.iadd(b.index(0), b.step()), b.iadd(b.acc(0), b.word(1))))
    assert code_work(free) == 3
    assert code_work(sample_programs.COPY) == 1


def test_matmul_costs_two_loads_and_a_multiply_add_per_step() -> None:
    assert kernel_work(sample_programs.matmul(5, 7, 11)) == 5 * 7 * 11 * 3


def test_blocks_and_lanes_are_merged() -> None:
    kernel = sample_programs.matmul(1, 1, 100)
    assert kernel.fold is not None
    for lanes, block, merges in ((1, 512, 0), (1, 50, 1), (1, 40, 2), (4, 100, 3), (4, 40, 3 * 3 + 2), (16, 512, 15)):
        assert kernel_work(replace(kernel, fold=replace(kernel.fold, lanes=lanes, block=block))) == 300 + merges


def test_a_scan_runs_its_epilogue_every_step_and_no_merge() -> None:
    kernel = sample_programs.cumulative_sum(3, 5)
    assert kernel.fold is not None
    doubled = replace(kernel, fold=replace(kernel.fold, epilogue=code(lambda b: b.fadd(b.acc(), b.acc()))))
    assert kernel_work(doubled) == 3 * 5 * (2 + 1)


def test_a_scatter_is_counted_per_source_point() -> None:
    kernel = sample_programs.embedding_gradient(1000, 5, 6)
    assert kernel.scatter is not None
    assert kernel_work(kernel) == 6 * 5 * (2 + 1)
    assert kernel_work(replace(kernel, scatter=replace(kernel.scatter, merge=None))) == 6 * 5 * 2


def test_the_work_of_a_program_is_the_sum_of_its_kernels() -> None:
    kernel = sample_programs.matmul(3, 3, 3)
    program = replace(sample_programs.MATMUL, kernels=(kernel, kernel))
    assert program_work(program) == 2 * 81
    assert program_work(Program((), (), (), ())) == 0


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("block", [4, 8, 64])
def test_work_is_what_the_definition_runs(lanes: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Count the instructions that are executed."""
    body = code(lambda b: b.fadd(b.acc(), b.i2f(b.index(1))))
    epilogue = code(lambda b: b.fsqrt(b.acc()))
    kernel = Kernel((3,), (21,), (), body, (DType.F32,), Fold((0,), lanes, block, sample_programs.ADD, epilogue))
    ran = 0

    def counting(code_run: Code, env: Environment) -> list[int]:
        nonlocal ran
        ran += sum(i.op not in (Op.CONST, Op.INDEX, Op.ACC, Op.STEP) for i in code_run.instructions)
        return instructions.execute(code_run, env)

    monkeypatch.setattr(kernels, "execute", counting)
    values: list[Tensor] = []
    run_kernel(kernel, values, 0)
    assert ran == kernel_work(kernel)
