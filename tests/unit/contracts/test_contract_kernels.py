"""The parsing of kernels on chain against the decoder: what is accepted, and what is read from it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("pyrevm")

import sample_programs
from evm.contracts import Deployed, Reverted
from property.hostile import damage
from property.strategies import Case, cases
from tallystick.errors import IllegalMove, ProgramError
from tallystick.spec.board import Game
from tallystick.spec.encoding import encode_kernel, encode_tensor_type
from tallystick.spec.game import read_kernel, remember_kernel
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program

always = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
DESCRIPTION = "(bytes,uint256,uint256,uint256,uint256,uint256,bytes32)"
Description = tuple[bytes, int, int, int, int, int, bytes]


@pytest.fixture(scope="module")
def contract() -> Deployed:
    return Deployed("Kernels")


def on_chain(contract: Deployed, data: bytes, output: int) -> Description | str:
    """What the contract reads, or why it does not."""
    try:
        return contract.call("describe(bytes,uint256)", [data, output], (DESCRIPTION, "uint256"))[0]
    except Reverted as reverted:
        return str(reverted)


def defined(data: bytes, output: int) -> Description | str:
    """What the definition reads, or why it does not."""
    try:
        kernel = read_kernel(data)
    except IllegalMove as error:
        return error.reason
    if output >= len(kernel.outputs):
        return "not an output of it"
    type, game = kernel.output_types[output], Game()
    remember_kernel(game, kernel, type)
    return (
        encode_tensor_type(type),
        *(game.nbytes, game.size, game.width, game.scan, game.scalar_steps),
        game.first_accumulators,
    )


def check(contract: Deployed, data: bytes) -> int:
    """How many outputs of a kernel are accepted, the same on both sides."""
    found = [defined(data, output) for output in range(5)]
    assert [on_chain(contract, data, output) for output in range(5)] == found
    return sum(not isinstance(each, str) for each in found)


def check_program(contract: Deployed, program: Program) -> None:
    for kernel in program.kernels:
        assert check(contract, encode_kernel(kernel)) == len(kernel.outputs)


@pytest.mark.parametrize("program", sample_programs.ALL.values(), ids=sample_programs.ALL.keys())
def test_sample_programs(contract: Deployed, program: Program) -> None:
    check_program(contract, program)


@settings(always, max_examples=100)
@given(case=cases())
def test_random_programs(contract: Deployed, case: Case) -> None:
    check_program(contract, case.program)


@settings(always, max_examples=150)
@given(case=cases(), seed=st.integers(0, 1 << 32))
def test_damaged_programs(contract: Deployed, case: Case, seed: int) -> None:
    for kernel in damage(case.program, random.Random(seed)).kernels:
        try:
            data = encode_kernel(kernel)
        except (ProgramError, OverflowError, ValueError, AttributeError, TypeError):
            continue  # nobody can write these bytes
        check(contract, data)


@settings(always, max_examples=60)
@given(case=cases(), seed=st.integers(0, 1 << 32))
def test_damaged_bytes(contract: Deployed, case: Case, seed: int) -> None:
    rng = random.Random(seed)
    data = encode_kernel(rng.choice(case.program.kernels)) if case.program.kernels else b"\0"
    for _ in range(12):
        at = rng.randrange(len(data))
        byte = bytes([rng.choice((0, 1, 2, 4, 5, 0x15, 0x80, 0xFF, data[at] ^ 1 << rng.randrange(8)))])
        check(contract, data[:at] + byte + data[at + 1 :])
    for end in {0, 1, 2, *(rng.randrange(len(data)) for _ in range(6))}:
        assert check(contract, data[:end]) == 0
    assert check(contract, data + b"\0") == 0


def largest_kernel() -> Kernel:
    """As many bytes as a kernel may have, nearly all of them instructions."""
    kernel = sample_programs.matmul(3, 4, 5)
    assert kernel.fold is not None
    body, merge, epilogue = kernel.body, kernel.fold.merge, kernel.fold.epilogue
    longer = [replace(code, instructions=code.instructions[:1] * 255 + code.instructions) for code in (merge, epilogue)]
    longer = [replace(code, instructions=code.instructions[:256]) for code in longer]
    body = replace(body, instructions=(body.instructions * 64)[:252])
    return replace(kernel, body=body, fold=replace(kernel.fold, merge=longer[0], epilogue=longer[1]))


def test_the_gas_of_reading_a_kernel_is_bounded(contract: Deployed) -> None:
    data = encode_kernel(largest_kernel())
    assert 3800 < len(data) <= 4096
    assert check(contract, data) == 1
    assert contract.call("describe(bytes,uint256)", [data, 0], (DESCRIPTION, "uint256"))[1] <= 300_000
    typical = encode_kernel(sample_programs.matmul(3, 4, 5))
    assert contract.call("describe(bytes,uint256)", [typical, 0], (DESCRIPTION, "uint256"))[1] <= 20_000
