"""The same bits for every thread count, vector width, instruction set and optimisation level."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import tallystick as ts
from tallystick.engine import Engine, Target
from tallystick.ir.captured import Captured

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

STEPS = 100
BASELINE_STEPS = 20


def capture_digits() -> Captured:
    import digits

    return digits.job().capture()


def capture_small_gpt() -> Captured:
    import torch

    import gpt

    torch.manual_seed(0)
    return ts.capture_training(
        model=gpt.GPT(width=32, heads=2, layers=2, context=32),
        loss=gpt.loss,
        optimizer=ts.optim.AdamW(lr=3e-3, weight_decay=0.1, clip_norm=1.0),
        data={"text": gpt.windows(gpt.encode("the tally stick was split in two halves. " * 200), context=32)},
        batch_size=8,
        steps=STEPS,
        seed=0,
    )


CAPTURES: dict[str, Callable[[], Captured]] = {"digits": cache(capture_digits), "gpt": cache(capture_small_gpt)}


def final_state(captured: Captured, target: Target, threads: int, steps: int, cache_folder: Path) -> list[np.ndarray]:
    engine = Engine(captured.program, threads=threads, target=target, cache=cache_folder)
    with engine.start(captured.state, captured.constants) as session:
        session.advance(steps)
        return session.state()


@cache
def reference(name: str, steps: int, cache_folder: Path) -> list[np.ndarray]:
    """The state after ``steps`` on one thread, for the narrowest target that has FMA."""
    return final_state(CAPTURES[name](), Target("avx2", 3), 1, steps, cache_folder)


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("code")


def assert_same(name: str, claimed: list[np.ndarray], expected: list[np.ndarray]) -> None:
    names = CAPTURES[name]().state_names
    for slot, mine, theirs in zip(names, claimed, expected, strict=True):
        assert mine.tobytes() == theirs.tobytes(), f"{slot} differs"


def runnable(isa: str) -> Target:
    if isa not in Target.available():
        pytest.skip(f"this processor has no {isa}")
    return Target(isa, 3)


@pytest.mark.parametrize("name", CAPTURES)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_thread_counts_agree(name: str, threads: int, cache_folder: Path) -> None:
    claimed = final_state(CAPTURES[name](), Target.host(), threads, STEPS, cache_folder)
    assert_same(name, claimed, reference(name, STEPS, cache_folder))


@pytest.mark.parametrize("name", CAPTURES)
@pytest.mark.parametrize("opt_level", [0, 3])
@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_instruction_sets_and_optimisation_levels_agree(
    name: str, isa: str, opt_level: int, cache_folder: Path
) -> None:
    target = Target(runnable(isa).isa, opt_level)
    claimed = final_state(CAPTURES[name](), target, 2, STEPS, cache_folder)
    assert_same(name, claimed, reference(name, STEPS, cache_folder))


def test_a_processor_without_fma_agrees(cache_folder: Path) -> None:
    claimed = final_state(CAPTURES["digits"](), runnable("baseline"), 2, BASELINE_STEPS, cache_folder)
    assert_same("digits", claimed, reference("digits", BASELINE_STEPS, cache_folder))


def test_training_changes_the_state(cache_folder: Path) -> None:
    """Guards the tests above: equal bits mean nothing if no step is ever taken."""
    for name, capture in CAPTURES.items():
        captured = capture()
        moved = [
            slot
            for slot, before, after in zip(
                captured.state_names, captured.state, reference(name, STEPS, cache_folder), strict=True
            )
            if before.tobytes() != after.tobytes()
        ]
        assert len(moved) == len(captured.state_names), "every slot of these jobs moves"
