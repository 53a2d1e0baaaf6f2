"""What the generated code consists of: nothing contracted, nothing called, nothing beyond the instruction set."""

from __future__ import annotations

import re

import llvmlite.binding as llvm
import pytest

from engine_kernels import CompiledKernel, code
from tallystick.engine.driver import driver_text
from tallystick.engine.generate import generate
from tallystick.engine.machine_code import compile_assembly
from tallystick.engine.target import Isa, Target, runnable
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, View

X86 = runnable()[-1] == "baseline"
pytestmark = pytest.mark.skipif(not X86, reason="looks at x86-64 instructions")


def assembly(target: Target, write, slots: int = 3, dtype: DType = DType.F32) -> str:
    """The instructions of a map over 1000 elements."""
    loads = tuple(View(number, Address(0, (1,))) for number in range(slots))
    kernel = Kernel((1000,), (), loads, code(write), (dtype,))
    compiled = CompiledKernel(kernel, [TensorType(dtype, (1000,))] * slots, target)
    return compile_assembly(compiled.text, target)


@pytest.mark.parametrize("isa", ["avx512", "avx2"])
@pytest.mark.parametrize("opt_level", [1, 2, 3])
def test_products_and_sums_are_not_contracted(isa: Isa, opt_level: int):
    if isa not in runnable():
        pytest.skip(f"this machine has no {isa}")
    separate = assembly(Target(isa, opt_level), lambda b: b.fadd(b.fmul(b.load(0), b.load(1)), b.load(2)))
    assert "vmulps" in separate and "vaddps" in separate and "vfm" not in separate
    fused = assembly(Target(isa, opt_level), lambda b: b.ffma(b.load(0), b.load(1), b.load(2)))
    assert re.search(r"vfmadd\d+ps", fused)


def test_the_baseline_has_no_fma_and_calls_nothing():
    def write(b):
        return b.frint(b.ffma(b.fsqrt(b.load(0)), b.fdiv(b.load(1), b.load(2)), b.i2f(b.f2i(b.load(0)))))

    for level in (0, 3):
        text = assembly(Target("baseline", level), write)
        half = assembly(Target("baseline", level), lambda b: b.fadd(b.load(0), b.load(1)), 2, DType.F16)
        for instructions in (text, half):
            assert not re.search(r"\bcall|\bjmp\s+[a-z_]+@|%[yz]mm|\bvf?m", instructions)


def test_avx2_code_stays_within_avx2():
    if "avx2" not in runnable():
        pytest.skip("this machine has no avx2")
    for level in (0, 3):
        text = assembly(Target("avx2", level), lambda b: b.ffma(b.load(0), b.load(1), b.f2i(b.load(2))))
        assert "%ymm" in text and "%zmm" not in text and "%k1" not in text


def test_wide_vectors_are_used():
    if "avx512" not in runnable():
        pytest.skip("this machine has no avx512")
    assert "%zmm" in assembly(Target("avx512", 3), lambda b: b.fadd(b.load(0), b.load(1)), 2)


def test_code_for_arm_is_complete():
    """Generated on any machine, though nothing here runs it: every function called is in the code."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(cpu="generic", opt=3)

    def write(b):
        product = b.fmul(b.load(0), b.load(1))
        fused = b.ffma(b.load(0), b.load(1), b.frint(b.fsqrt(product)))
        return [b.fadd(product, b.load(0)), fused, b.idiv(b.f2i(fused), b.f2i(product))]

    loads = (View(0, Address(0, (1,))), View(0, Address(99, (-1,))))
    kernel = Kernel((100,), (), loads, code(write), (DType.F32, DType.F16, DType.U8))
    program = Program((TensorType(DType.F32, (100,)),), (), (kernel,), (1,))
    text, _ = generate(program, Target("neon", 3))
    instructions = machine.emit_assembly(llvm.parse_assembly(text))
    called = set(re.findall(r"\bbl\s+(\w+)", instructions))
    assert called <= set(re.findall(r"^(\w+):", instructions, re.MULTILINE))
    fused = len(re.findall(r"\b(fmla|fmadd)\b", instructions))
    assert fused == len(re.findall(r"\bfmul\b", instructions)) > 0, "only what asks for it is fused"


def test_the_driver_calls_only_what_it_is_given():
    for isa in runnable():
        text = compile_assembly(driver_text(Target(isa)), Target(isa))
        assert not re.search(r"call\w*\s+(memset|memcpy|memmove)", text)
