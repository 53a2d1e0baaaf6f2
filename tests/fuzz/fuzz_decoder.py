"""Fuzz target: whatever the bytes, decoding, verifying, pricing and printing them ends quickly and with a named error.

    python tests/fuzz/fuzz_decoder.py [runs] [seed]      mutates sample programs; needs nothing else
    python tests/fuzz/fuzz_decoder.py --atheris [folder] guided by coverage, if atheris is installed

The first prints what it did; a failure prints the bytes as hexadecimal and ends with status 1.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import sample_programs
from property.hostile import damage_bytes
from tallystick.errors import DecodingError, ProgramError
from tallystick.ir.accounting import program_work
from tallystick.ir.printer import format_program
from tallystick.ir.verifier import verify
from tallystick.spec.encoding import decode_program, encode_program

SLOW = 2.0  # seconds for one input
POOL = 500  # mutants kept to mutate again


def check(data: bytes) -> str:
    """Run everything a stranger's program goes through before it is compiled; say how far it got."""
    try:
        program = decode_program(data)
    except DecodingError as error:
        assert 0 <= error.offset <= len(data), f"{error} is not inside {len(data)} bytes"
        return "not a program"
    assert encode_program(program) == data, "a program has more than one encoding"
    format_program(program)
    try:
        verify(program)
    except ProgramError:
        return "invalid"
    assert program_work(program) >= 0
    return "valid"


def seeds() -> list[bytes]:
    """Programs to start from."""
    return [encode_program(program) for program in sample_programs.ALL.values()]


def mutate_and_check(runs: int, seed: int) -> Counter[str]:
    """Check mutants of the samples, and mutants of mutants that still are programs."""
    rng = random.Random(seed)
    pool = seeds()
    outcomes: Counter[str] = Counter()
    for _ in range(runs):
        data = damage_bytes(rng.choice(pool), rng)
        start = time.perf_counter()
        try:
            outcome = check(data)
        except BaseException:
            sys.stderr.write(f"failed on {data.hex()}\n")
            raise
        took = time.perf_counter() - start
        assert took < SLOW, f"{took:.1f} s for {data.hex()}"
        outcomes[outcome] += 1
        keep = outcome == "valid" or (outcome == "invalid" and rng.random() < 0.05)
        if keep and len(data) < 8192:
            if len(pool) < POOL:
                pool.append(data)
            else:
                pool[rng.randrange(len(pool))] = data
    return outcomes


def main() -> None:
    if sys.argv[1:2] == ["--atheris"]:
        import atheris  # pyright: ignore[reportMissingImports]  (optional: guided fuzzing on a developer's machine)

        atheris.instrument_all()
        atheris.Setup([sys.argv[0], *sys.argv[2:]], check)
        atheris.Fuzz()
        return
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    outcomes = mutate_and_check(runs, seed)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    sys.stdout.write(f"{runs} inputs: {counts}\n")


if __name__ == "__main__":
    main()
